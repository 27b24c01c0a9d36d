"""Two processes train as one: the same losses and weights for the same global batch, and equal evaluations."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from avbench.cli import main
from avbench.monitoring import Unwatched
from avbench.training import broken_samples, train

SCRIPT = Path(__file__).with_name("trained_together.py")
NARROW = {"width": 1 / 16, "out_dim": 8}
VALUES = {
    "epochs": 1,
    "batch_size": 4,
    "images": "crop",
    "augment": ["flip", "jitter", "masks"],
    "batch_norm": "synchronised",
    "lr": 1e-3,
}
METHODS = {
    "ezvsl": NARROW,
    "jsa": {"width": 1 / 16, "dim": 8, "iters": 2, "reciprocal_k": 2, "spectrogram_pool": 2, "mask_ratio": 0.3},
    "slavc": {**NARROW, "dropout_img": 0.5, "supervised": "corrected"},
}


def script():
    spec = importlib.util.spec_from_file_location("trained_together", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class StopError(Exception):
    """What ends a training here."""


class Stop(Unwatched):
    def step(self, row, pairs, waited):
        if row["step"] == 2:
            raise StopError


@pytest.fixture(scope="module")
def folder(tmp_path_factory, noise_set):
    """Where trainings go, and sets of noise: ``noise`` (9), ``many`` (520), ``broken`` (101, of which one is)."""
    place = tmp_path_factory.mktemp("together")
    for name, samples in (("noise", 9), ("many", 520), ("broken", 101)):
        noise_set(place / name, samples)
    (place / "broken" / "audio" / "clip_050.wav").write_bytes(b"")
    return place


def told(folder, name, processes, **changed):
    """What is trained in so many processes; ``name`` begins with the method's."""
    method = name.partition("+")[0]
    own = {
        "method": method,
        "settings": METHODS.get(method, {}),
        "split": folder / "noise" / "tiny.yaml",
        "validation": "",
    }
    own |= {key: changed.pop(key) for key in own.keys() & changed.keys()}
    paths = {key: str(own[key]) for key in ("method", "split", "validation")}
    return {**own, **paths, "name": method, "out": str(folder / f"{name}-{processes}"), "values": {**VALUES, **changed}}


CHANGED = {
    **{name: {} for name in METHODS},
    "ezvsl+accumulate": {"accumulate": 2},
    "ezvsl+per-device": {"negatives": "per-device"},
    "ezvsl+broken": {"batch_size": 50, "images": "squash"},
    "ezvsl+resumed": {},
    "learner": {"lr": 1e-30},
}


@pytest.fixture(scope="module")
def trained(folder, learner_in):
    """All trainings in one process, and in two; ``ezvsl+resumed`` is begun by one and ended by two."""
    plugin, many = learner_in(folder), folder / "many" / "tiny.yaml"
    further = {
        "ezvsl+broken": {"split": folder / "broken" / "tiny.yaml"},
        "learner": {"method": f"{plugin}:Tiny", "validation": many},
    }
    training_of = script().training_of
    for name, changed in CHANGED.items():
        train(training_of(told(folder, name, 1, **changed, **further.get(name, {}))))
    begun = told(folder, "ezvsl+resumed", 2)
    with pytest.raises(StopError):
        train(training_of(begun), watch=lambda steps, done: Stop())
    together = [told(folder, name, 2, **changed, **further.get(name, {})) for name, changed in CHANGED.items()]
    listed = folder / "together.json"
    listed.write_text(json.dumps(together))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    evaluated = evaluation(folder, plugin, many)
    done = subprocess.run(
        [*launch, str(SCRIPT), str(listed), *evaluated, "--runs", str(folder / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 1, "one process prints"
    assert main([*evaluated, "--runs", str(folder / "one")]) == 0
    return folder


def evaluation(folder, plugin, split):
    """The evaluation of a trained checkpoint, without a folder of runs."""
    checkpoint = ["--checkpoint", str(folder / "learner-1"), "--retrieval"]
    return ["run", "--method", f"{plugin}:Tiny", "--split", str(split), "--controls", "false", *checkpoint, "--json"]


def logged(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


SAME = [*METHODS, "ezvsl+resumed", "ezvsl+broken"]


@pytest.mark.parametrize("name", SAME)
def test_two_processes_have_the_losses_of_one(trained, name):
    """The second step's follow from weights that Adam moved by the signs of gradients, some of which are rounding."""
    one, two = (logged(trained / f"{name}-{processes}") for processes in (1, 2))
    assert [row.keys() for row in one] == [row.keys() for row in two]
    (first, second), (also_first, also_second) = ([row for row in rows if "total" in row] for rows in (one, two))
    assert first == pytest.approx(also_first, rel=2e-5)
    assert second == pytest.approx(also_second, rel=2e-3)


@pytest.mark.parametrize("name", SAME)
def test_two_processes_have_the_weights_of_one(trained, name):
    """But for those whose gradient is rounding, which Adam moves by the rate all the same."""
    one, two = (load_file(trained / f"{name}-{processes}" / "model.safetensors") for processes in (1, 2))
    assert one.keys() == two.keys()
    apart = torch.cat([(one[key].double() - two[key].double()).abs().flatten() for key in one])
    moved = VALUES["lr"]
    assert float((apart > moved / 20).double().mean()) < 0.05
    assert apart.max() < 5 * moved


def test_negatives_of_a_device_alone_are_another_loss(trained):
    alone, gathered, apart = (
        logged(trained / name)[0]["contrastive"] for name in ("ezvsl-1", "ezvsl-2", "ezvsl+per-device-2")
    )
    assert alone == pytest.approx(gathered, rel=1e-4)
    assert abs(apart - alone) > 0.1, "two samples are contrasted with each other, not four"


def test_evaluations_are_equal_bit_for_bit(trained):
    one, two = ((trained / f"learner-{processes}" / "evaluations.jsonl").read_text() for processes in (1, 2))
    assert json.loads(one)["n"] == 520
    assert "locacc" in json.loads(one)
    assert one == two


def test_an_evaluation_by_two_processes_is_that_of_one_bit_for_bit(trained):
    kinds = ("predictions/**/part-*", "predictions/**/retrieval*", "records/**/*.parquet")
    for kind in kinds:
        one, two = ([path.read_bytes() for path in sorted((trained / name).glob(kind))] for name in ("one", "two"))
        assert one
        assert one == two
    (record,), (also,) = (list((trained / name).glob("records/*/*.json")) for name in ("one", "two"))
    assert json.loads(record.read_text())["metrics"] == json.loads(also.read_text())["metrics"]


def test_a_broken_sample_of_one_process_is_told_once(trained):
    assert broken_samples(trained / "ezvsl+broken-2") == broken_samples(trained / "ezvsl+broken-1")
    rows = logged(trained / "ezvsl+broken-2")
    assert [row["broken"] for row in rows if "broken" in row] == ["clip_050"]


def test_a_batch_in_parts_goes_through_processes_too(trained):
    """Two parts of two samples in one process are one part each, of both, in two: batch norms see the same samples."""
    one, two = (logged(trained / f"ezvsl+accumulate-{processes}")[0] for processes in (1, 2))
    assert abs(one["contrastive"] - logged(trained / "ezvsl-1")[0]["contrastive"]) > 1e-3, "parts have own statistics"
    assert one["contrastive"] > 2
    assert two["contrastive"] > 2
