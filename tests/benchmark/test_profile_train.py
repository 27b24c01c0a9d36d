"""``avbench profile train``: stages add up, our loop trains as a bare one does, the official step is EZ-VSL's."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from avbench import profiling_training
from avbench.cli import main
from avbench.clock import Clock
from avbench.commands import profile_train
from avbench.methods.ezvsl import EZVSL, EZVSLConfig
from avbench.opening import Places, open_split
from avbench.profiling import load_oracle
from avbench.profiling_samples import draw_samples
from avbench.profiling_stages import AROUND, STAGES, Setup, Stages
from avbench.profiling_training import (
    OVERHEAD,
    OfficialProfile,
    Oracle,
    TrainingProfile,
    at_work,
    profile_official,
)
from avbench.profiling_ways import Way
from avbench.types import Batch

ORACLES = Path(__file__).parents[1] / "oracles"
CPU = torch.device("cpu")
TINY = ["--width", "0.0625", "--batch-size", "2", "--samples", "3", "--steps", "2", "--repeats", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    files = ("official_loading.py", "official_evaluation.py", "official_training.py")
    return Oracle(*(load_oracle(ORACLES / file, ()) for file in files))


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return open_split(str(draw_samples(tmp_path_factory.mktemp("noise"), 3)), Places())


class Ticks:
    """A clock that goes on only when told to; in binary fractions, which add up without error."""

    def __init__(self):
        self.time = 8.0

    def __call__(self):
        return self.time

    def pass_by(self, seconds):
        self.time += seconds


class Slow(nn.Module):
    """A method whose loss takes a quarter of a second."""

    def __init__(self, ticks):
        super().__init__()
        self.ticks, self.weight = ticks, nn.Parameter(torch.ones(()))

    def loss(self, batch):
        self.ticks.pass_by(0.25)
        return {"total": self.weight * batch}


def test_stages_last_as_long_as_what_happens_in_them_and_add_up_to_the_step():
    ticks = Ticks()
    method = Slow(ticks)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.0)
    optimizer.register_step_pre_hook(lambda *_: ticks.pass_by(4.0))
    stages = Stages(CPU, now=ticks)

    def batches():
        for number in range(2):
            ticks.pass_by(1.0 + number)
            yield number

    with stages.watching(method, optimizer):
        for raw in stages.over(batches()):
            ticks.pass_by(0.5)
            terms = method.loss(raw)
            ticks.pass_by(2.0)
            terms["total"].backward()
            optimizer.step()
            ticks.pass_by(0.125)
    front = {"front-end": 0.5, "forward": 0.25}
    rest = {"backward": 6.0, "optimiser": 0.0, "loop": 0.125}
    assert stages.steps == [{"data": waited, "host to device": 0.0, **front, **rest} for waited in (1.0, 2.0)]
    assert tuple(stages.steps[0]) == STAGES
    assert sum(sum(step.values()) for step in stages.steps) == ticks.time - 8.0


def test_a_method_is_left_as_it_was():
    ticks = Ticks()
    method, stages = Slow(ticks), Stages(CPU, now=ticks)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.0)
    with stages.watching(method, optimizer):
        pass
    method.loss(1.0)["total"].backward()
    optimizer.step()
    assert stages.steps == []
    assert "loss" not in vars(method)


def way(name, wall, *, beside=None, **more):
    return Way(name, beside, load=len, rounds=[Clock(wall=w, cpu=2 * w, items=8) for w in wall], **more)


def made_up(method="ezvsl") -> TrainingProfile:
    stage = dict.fromkeys(STAGES, 0.25) | {"host to device": 0.5}
    return TrainingProfile(
        method=method,
        setup=Setup(CPU, batch_size=8, steps=2, repeats=3),
        seconds=(1.0, 3.0),
        waiting=(0.25, 0.75),
        stages=(stage, {**stage, "data": 0.75, "loop": 0.375}),
        ways=(
            way("bare", (0.5, 0.5, 0.5)),
            way("bare with front-end", (1.0, 1.0, 2.0)),
            way("ours", (1.01, 1.02, 2.2), beside="bare with front-end", goal=OVERHEAD),
        ),
        peak_bytes=2_500_000_000,
        epochs=20,
    )


def test_figures_follow_from_what_was_measured():
    found = made_up()
    assert found.per_second == 4.0
    assert found.step_ms == 2000.0
    assert found.waiting_share == 0.25
    assert found.floor == 0.25
    assert found.epoch_seconds == 36_000
    assert found.ms("data") == 500.0
    assert found.share("data") == pytest.approx(1.0 / (2.0 + 2.625))
    assert sum(map(found.share, STAGES)) == pytest.approx(1)
    assert found.limit == "data"
    copying = replace(found, stages=found.stages[:1])
    assert copying.limit == "host to device"
    network = dict.fromkeys(STAGES, 0.25) | {"backward": 9.0, "front-end": 0.5}
    assert replace(found, stages=(network,)).limit == "front-end"
    assert set(AROUND) == set(STAGES) - {"forward", "backward", "optimiser"}


def run_json(capsys, *arguments):
    assert main(["profile", "train", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_report_has_every_stage_and_every_way(capsys, tmp_path):
    kept = tmp_path / "profile.json"
    found = run_json(capsys, *TINY, "--oracle", "none", "--out", str(kept))
    assert json.loads(kept.read_text()) == found
    assert found["official"] is None
    assert found["setup"]["batch_size"] == 2
    assert found["machine"]["device"] == "cpu"
    one = found["methods"]["ezvsl"]
    assert list(one["stages"]) == list(STAGES)
    assert sum(stage["share"] for stage in one["stages"].values()) == pytest.approx(1)
    assert all(one["stages"][name]["ms"] > 0 for name in ("data", "front-end", "forward", "backward", "optimiser"))
    assert one["per_second"] == pytest.approx(2000 / one["step_ms"])
    assert one["epoch_seconds"] == pytest.approx(144_000 / one["per_second"])
    assert (one["epochs"], one["goal_per_second"]) == (20, 2000.0)
    assert one["training_hours"] == pytest.approx(20 * one["epoch_seconds"] / 3600)
    bare, preparing, ours = one["ways"].values()
    assert (bare["ratio"], preparing["ratio"], ours["beside"]) == (None, None, "bare loop, front-end included")
    assert (ours["goal"]["most"], len(ours["ratios"])) == (1.03, 2)
    assert one["floor"] == pytest.approx(bare["step_ms"] / one["step_ms"])
    assert one["limit"] in AROUND
    assert one["peak_bytes"] > 1_000_000


def test_a_method_with_further_views_trains_from_shards(capsys):
    few = [*TINY, "--width", "0.015625", "--steps", "1", "--repeats", "1"]
    found = run_json(capsys, *few, "--method", "alignment", "--packed")
    assert list(found["methods"]) == ["alignment"]
    assert found["methods"]["alignment"]["goal_per_second"] is None


def test_all_stands_for_the_six_methods(capsys, monkeypatch):
    asked = []

    def profile(name, split, setup, *, advance):
        asked.append((name, setup.batch_size, setup.steps, setup.workers, len(split.samples)))
        return made_up(name)

    monkeypatch.setattr(profiling_training, "profile_training", profile)
    monkeypatch.setattr(profile_train, "FEWEST", 3)
    options = ["--method", "all", "--device", "cpu", "--batch-size", "4", "--oracle", "none"]
    assert main(["profile", "train", *options]) == 0
    assert [name for name, *_ in asked] == ["ezvsl", "slavc", "fnac", "lvs", "alignment", "jsa"]
    assert asked[0][1:] == (4, 3, 0, 8)
    shown = capsys.readouterr().out
    assert "4.0 pairs a second (goal on an H100: 2000), 2000.0 ms a step, 25.0 % of it waiting for data" in shown
    assert "4.0 pairs a second (goal on an H100: 1500)" in shown
    assert "10.0 h an epoch of vggsound-144k, 200.0 h for the recipe's 20 epochs" in shown
    assert "takes 500.0 ms a step, 25.0 % of the step; of what it does without, data takes longest" in shown
    assert "1.020 times as long as the bare one with the same front-end, median of 1.010, 1.020, 1.100" in shown
    assert "At most 2.50 GB of tensors" in shown
    assert "Nothing was compared with the official steps: --oracle none." in shown


def test_losses_that_differ_are_not_passed_over(capsys, monkeypatch):
    ways = (way("official steps", (4.0,)), way("our loop", (2.0,), beside="official steps"))
    monkeypatch.setattr(profiling_training, "profile_training", lambda name, *given, **options: made_up(name))
    for difference, code in ((1e-6, 0), (1e-3, 1)):
        official = OfficialProfile(ways, difference)
        monkeypatch.setattr(profiling_training, "profile_official", lambda *given, **options: official)  # noqa: B023
        options = ["--batch-size", "8", "--samples", "8", "--device", "cpu", "--oracle", str(ORACLES)]
        assert main(["profile", "train", *options]) == code
        shown = capsys.readouterr()
        assert "an official step of EZ-VSL takes 4000 ms (least 4000) and one of ours 2000" in shown.out
        assert ("the official loss and ours are not the same" in shown.err) == bool(code)


def test_an_official_step_and_one_of_ours_are_timed_from_files_on(split, oracle):
    told = []
    found = profile_official(split, Setup(CPU, 2, 1, 1), oracle, advance=told.append)
    assert [(way.name, way.rounds[0].items) for way in found.ways] == [
        ("official steps", 2),
        ("our loop, loading included", 2),
    ]
    assert all(way.ms > 0 for way in found.ways)
    assert found.agrees
    assert found.difference < 1e-4
    assert sum(told) == 1


def test_the_official_step_is_ez_vsls(oracle):
    torch.manual_seed(0)
    ours = EZVSL(EZVSLConfig()).train()
    network = oracle.evaluation.METHODS["ezvsl"]()
    network.load_state_dict(ours.state_dict())
    image, audio = torch.randn(3, 3, 224, 224), torch.randn(3, 1, 257, 60)
    optimizer = oracle.training.optimizer_of(network)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    loss = oracle.training.training_step(network, optimizer, (image, audio.double()))
    total = ours.loss(Batch(["a", "b", "c"], image, audio))["total"]
    total.backward()
    assert loss == pytest.approx(float(total.detach()), rel=1e-5)
    for (name, theirs), own in zip(network.named_buffers(), ours.buffers(), strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-5, msg=name)
    assert int(network.imgnet.bn1.num_batches_tracked) == 1
    gradients = {name: weight.grad for name, weight in ours.named_parameters()}
    for name, weight in network.named_parameters():
        largest = float(weight.grad.abs().max())
        torch.testing.assert_close(gradients[name], weight.grad, rtol=0, atol=1e-3 * largest, msg=name)
        moved = (weight.detach() - before[name]).abs().max()
        assert float(moved) == pytest.approx(1e-4, rel=0.01)


def test_the_official_loader_loads_each_pair_alone_for_training_and_drops_the_rest(oracle):
    asked = []

    def load(picture, sound, mode):
        asked.append((picture, sound, mode))
        return torch.full((1,), float(picture.name)), torch.zeros(1)

    files = [(Path(f"frames/{n}"), Path(f"audio/{n}")) for n in range(40)]
    batches = list(oracle.training.loader(files, load, 16))
    seen = [int(n) for pictures, _ in batches for n in pictures.flatten()]
    assert [len(sounds) for _, sounds in batches] == [16, 16]
    assert len(set(seen)) == 32
    assert seen != sorted(seen)
    assert asked == [(Path(f"frames/{n}"), Path(f"audio/{n}"), "train") for n in seen]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_bare_step_trains_as_our_loop_does(split, precision):
    found = []
    for way in ("bare", "ours"):
        with at_work("ezvsl", split, Setup(CPU, 2, 1, 1, precision, width=0.0625)) as trained:
            raw = trained.first(1)
            torch.manual_seed(0)
            if way == "bare":
                trained.bare(trained.prepared(raw[0]))
            else:
                trained.ours(raw)
            found.append(trained.method.state_dict())
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--method", "ezvls"], "there is no method called 'ezvls': did you mean"),
        (["--method", "square"], "square learns nothing step by step: name one of ezvsl"),
        (["--method", "ogl"], "ogl learns nothing step by step"),
        (["--batch-size", "8", "--samples", "7"], "a batch of 8 needs as many samples, and --samples draws 7"),
        (["--batch-size", "1"], "expected --batch-size of at least 2, got 1"),
        (["--precision", "fp8"], "expected --precision of fp32, bf16, fp16, got 'fp8'"),
        (["--width", "2"], "expected --width above 0 and at most 1, got 2"),
        (["--steps", "0"], "expected --steps of at least 1"),
        (["--device", "tpu"], "expected --device auto, cpu"),
        (["--out", "profile.txt"], "expected --out FILE ending in .json, got 'profile.txt'"),
        (["--oracle", "nowhere"], "expected the official steps as a Python file at nowhere/official_loading.py"),
        (["--oracle", "x", "--width", "0.5"], "cannot be timed, since they know full width alone: change that"),
        (["--oracle", "x", "--method", "lvs"], "cannot be timed, since they train EZ-VSL"),
    ],
)
def test_what_cannot_be_timed_is_refused_in_one_sentence(capsys, arguments, sentence):
    assert main(["profile", "train", *arguments]) == 2
    shown = capsys.readouterr()
    assert sentence in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
