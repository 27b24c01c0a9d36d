"""``avbench profile evaluation``: the official loop and a run of ours score alike; object maps are made once."""

import json
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from avbench import profiling_evaluation
from avbench.building import build_request
from avbench.cli import main
from avbench.clock import Clock
from avbench.methods.ogl import OGL
from avbench.profiling import load_oracle
from avbench.profiling_evaluation import EvaluationProfile
from avbench.profiling_ways import Goal, Timed
from avbench.runner import request_for

ORACLES = Path(__file__).parents[1] / "oracles"


@pytest.fixture
def asked_of_ogl(monkeypatch) -> list[str]:
    """Ids of the samples that the object network was asked for."""
    ids: list[str] = []
    localize = OGL.localize

    def watched(self, batch):
        ids.extend(batch.ids)
        return localize(self, batch)

    monkeypatch.setattr(OGL, "localize", watched)
    return ids


@pytest.mark.parametrize("method", ["ezvsl", "slavc"])
def test_the_official_loop_and_a_run_of_ours_score_alike(capsys, asked_of_ogl, method):
    options = ["--method", method, "--samples", "2", "--repeats", "1", "--device", "cpu", "--json"]
    assert main(["profile", "evaluation", *options, "--oracle", str(ORACLES)]) == 0
    found = json.loads(capsys.readouterr().out)["methods"][method]
    assert found["samples"] == 2
    assert found["differences"].keys() == {"av", "objects", "av+objects"}
    assert max(map(abs, found["differences"].values())) < 1e-3
    loop, *ours = found["ways"].values()
    assert list(found["ways"]) == ["official loop", "ours", "ours, object maps stored before"]
    assert (loop["ratio"], loop["goal"]["least"]) == (None, None)
    goal = {"ezvsl": 110 / 70, "slavc": 151 / 70}[method]
    assert all(way["ratio"] > 0 and way["goal"]["least"] == pytest.approx(goal) for way in ours)
    assert all(way["ms"] > 0 and way["cpu_ms"] > 0 for way in found["ways"].values())
    assert asked_of_ogl == ["noise_00000", "noise_00001"]


def test_scores_that_differ_are_not_passed_over(capsys, monkeypatch):
    loop = Timed("official loop", rounds=[Clock(wall=1.0, cpu=2.0, items=10)])
    ours = Timed("ours", "official loop", Goal(1.5), [Clock(wall=0.5, cpu=1.0, items=10)])
    made = EvaluationProfile("ezvsl", 10, (loop, ours), {"av": 0.0, "objects": -0.01})
    monkeypatch.setattr(profiling_evaluation, "profile_evaluation", lambda *given, **options: made)
    assert main(["profile", "evaluation", "--method", "ezvsl", "--samples", "1", "--oracle", str(ORACLES)]) == 1
    shown = capsys.readouterr()
    assert "2.00 times as fast (at worst 2.00)   1.50" in shown.out
    assert "+0.0e+00 (av), -1.0e-02 (objects)" in shown.out
    assert "the official scores and ours are not the same" in shown.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--samples", "0"], "--samples of at least 1"),
        (["--repeats", "0"], "--repeats of at least 1"),
        (["--device", "tpu"], "expected --device auto, cpu"),
        (["--method", "lvs"], "method whose official loop can be profiled"),
        (["--oracle", "nowhere"], "expected the official steps as a Python file at nowhere/official_loading.py"),
    ],
)
def test_what_cannot_be_timed_is_refused(capsys, arguments, sentence):
    assert main(["profile", "evaluation", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_second_method_of_a_split_does_not_ask_the_object_network_again(
    capsys, asked_of_ogl, tiny_set, plugin_file, tmp_path
):
    weights = tmp_path / "resnet18.pth"
    torch.save(resnet18(weights=None).state_dict(), weights)
    where = ["--split", str(tiny_set), "--runs", str(tmp_path / "runs"), "--controls", "false", "--json"]
    for gain in ("1.0", "2.0"):
        how = ["--refine", "ogl", "--protocol", "ezvsl", "--set", f"gain={gain}"]
        method = ["--method", f"{plugin_file}:Tiny", "--set", f"ogl.weights={weights}"]
        assert main(["run", *method, *where, *how]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert {(row["method"], row["variant"]) for row in rows} >= {("tiny-plugin", "av+ogl")}
        assert len(asked_of_ogl) == 5


def test_networks_of_a_run_lie_channels_last_and_answer_as_before():
    request = request_for("ezvsl", None, {"width": "0.25"})
    method = build_request(request, "cpu")
    weight = method.imgnet.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    image = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        cells = method.imgnet(image)
        ordinary = method.imgnet.to(memory_format=torch.contiguous_format)(image)
    torch.testing.assert_close(cells, ordinary, rtol=0, atol=1e-3)


def test_the_official_networks_have_as_many_parameters_as_the_papers_say():
    module = load_oracle(ORACLES / "official_evaluation.py", ("METHODS",))
    counts = {name: sum(p.numel() for p in made().parameters()) for name, made in module.METHODS.items()}
    assert counts == {"ezvsl": 22_872_064, "slavc": 46_794_752}
