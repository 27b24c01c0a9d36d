"""Trainings that are interrupted end with the weights of those that are not, bit for bit."""

import errno
import json
import os
import random
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from avbench.checkpoints import load_weights
from avbench.data.places import Packed
from avbench.data.splits import load_split
from avbench.errors import AvbenchError, UsageError
from avbench.monitoring import Unwatched
from avbench.recipe import load_recipe
from avbench.registry import find_method
from avbench.trained import checkpoint_folder
from avbench.training import Judging, Keeping, Training, broken_samples, engine, judging, train
from avbench.training.loop import Loop
from avbench.training.states import states

NARROW = {"width": 1 / 16, "out_dim": 8}
SETTINGS = {
    "alignment": {"width": 1 / 16, "head_hidden": 6, "head_dim": 4, "k": 2},
    "ezvsl": NARROW,
    "fnac": {**NARROW, "dropout_img": 0.5, "warmup": 1},
    "jsa": {"width": 1 / 16, "dim": 8, "iters": 2, "reciprocal_k": 1, "spectrogram_pool": 2, "mask_ratio": 0.3},
    "lvs": {"width": 1 / 16},
    "slavc": {**NARROW, "dropout_img": 0.5, "supervised": "corrected"},
}
STEPS = 8
"""Of two epochs of four."""


@pytest.fixture(scope="module")
def noise(tmp_path_factory, noise_set):
    return load_split(str(noise_set(tmp_path_factory.mktemp("noise"), 9)))


def recipe_of(name, **values):
    given = {"epochs": 2, "batch_size": 2, "images": "crop", "augment": ("flip", "jitter", "masks"), **values}
    near = {"image_neighbours": "colours", "audio_neighbours": "spectrum"} if name == "alignment" else {}
    return replace(load_recipe("any", "demo"), name=f"{name}-test", method=name, **near, **given)


def training_of(name, split, out, **values):
    keeping = Keeping(every_steps=3)
    settings = SETTINGS[name]
    recipe = recipe_of(name, **values)
    return Training(find_method(name), recipe, split, out, settings, torch.device("cpu"), keeping=keeping)


class StopError(Exception):
    """What ends a training here."""


class Stop(Unwatched):
    def __init__(self, step):
        self.at = step

    def step(self, row, pairs, waited):
        if row["step"] == self.at:
            raise StopError


def interrupted(training, steps):
    """The training, stopped at each of ``steps``, and gone on with."""
    for step in steps:
        with pytest.raises(StopError):
            train(training, resume=True, watch=lambda whole, done, step=step: Stop(step))
    return train(training, resume=True)


def assert_same(one, other):
    for name in ("model.safetensors", "log.jsonl", "evaluations.jsonl"):
        if (one / name).exists() or (other / name).exists():
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_method_goes_on_as_if_nothing_had_happened(name, noise, tmp_path, store):
    steps = sorted(random.Random(name).sample(range(1, STEPS + 1), 3))
    whole = train(training_of(name, noise, tmp_path / "whole"))
    assert_same(interrupted(training_of(name, noise, tmp_path / "parts"), steps), whole)
    assert states(tmp_path / "parts") == []


@pytest.mark.parametrize(
    "values",
    [
        {"ema": 0.9, "schedule": "cosine", "warmup_epochs": 0.5},
        {"precision": "fp16", "schedule": "step"},
        {"precision": "bf16", "optimizer": "adamw"},
        {"accumulate": 2},
    ],
    ids=lambda values: next(iter(values.items())),
)
def test_so_does_each_way_to_train(values, noise, tmp_path):
    whole = train(training_of("ezvsl", noise, tmp_path / "whole", **values))
    parts = interrupted(training_of("ezvsl", noise, tmp_path / "parts", **values), [2, 6])
    assert_same(parts, whole)
    if "ema" in values:
        assert_same(parts / "ema", whole / "ema")
        assert not torch.equal(*(load_file(f / "model.safetensors")["aud_proj.bias"] for f in (whole, whole / "ema")))


def test_what_was_best_so_far_is_not_forgotten(noise, noise_set, tmp_path, store):
    test = replace(load_split(str(noise_set(tmp_path / "test", 4, seed=1))), name="other")
    judged = [
        replace(
            training_of("ezvsl", noise, tmp_path / name, epochs=4, lr=0.1),
            judging=Judging(validation=test, oracle=(noise,)),
        )
        for name in ("whole", "parts")
    ]
    whole, parts = train(judged[0]), interrupted(judged[1], [5, 9, 14])
    assert_same(parts, whole)
    for rule in ("validation", "oracle"):
        assert_same(parts / f"best-{rule}", whole / f"best-{rule}")
        assert load_weights(parts / f"best-{rule}").meta["selected"]["rule"] == rule


KILLED = """
import json, os, signal, sys, torch
from avbench.cli import main
from avbench.monitoring import TrainingMonitor

step = TrainingMonitor.step
def killed(self, row, pairs, waited):
    step(self, row, pairs, waited)
    if row["step"] == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
TrainingMonitor.step = killed
sys.exit(main(["train", *sys.argv[2:]]))
"""


def test_kill_9_at_several_steps_changes_no_bit(noise_set, tmp_path, store):
    split = noise_set(tmp_path / "noise", 9)
    settings = ["--set", "width=0.0625", "--set", "out_dim=8", "--recipe-set", "batch_size=2"]
    command = ["--method", "ezvsl", "--split", str(split), "--epochs", "2", "--save-every", "2", *settings]
    out = tmp_path / "parts"

    def run(step, folder):
        given = [sys.executable, "-c", KILLED, str(step), *command, "--out", str(folder), "--resume"]
        return subprocess.run(given, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)

    for step in (1, 4, 7):
        assert run(step, out).returncode == -9
    assert run(0, out).returncode == 0
    assert run(0, tmp_path / "whole").returncode == 0
    assert_same(out, tmp_path / "whole")
    assert len((out / "log.jsonl").read_text().splitlines()) == STEPS


def test_a_full_disk_leaves_the_last_good_state(noise, tmp_path, monkeypatch):
    training = training_of("ezvsl", noise, tmp_path / "parts")
    sync, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AvbenchError, match=r"cannot be written \(No space left on device\): free space"):
        train(training)
    monkeypatch.undo()
    assert [state.name for state in states(training.out)] == ["state-000000003"]
    assert list(training.out.glob(".*")) == []
    assert_same(train(training, resume=True), train(replace(training, out=tmp_path / "whole")))


@pytest.mark.parametrize(("keep", "kept"), [(1, [6]), (2, [4, 6])])
def test_the_newest_states_stay(noise, tmp_path, keep, kept):
    training = replace(training_of("ezvsl", noise, tmp_path), keeping=Keeping(every_steps=3, states=keep))
    with pytest.raises(StopError):
        train(training, watch=lambda steps, done: Stop(8))
    assert [int(state.name[6:]) for state in states(tmp_path)] == kept


def test_the_weights_of_every_so_many_epochs_stay(noise, tmp_path):
    training = replace(training_of("ezvsl", noise, tmp_path, epochs=4), keeping=Keeping(every_epochs=2))
    train(training)
    assert sorted(path.name for path in (tmp_path / "epochs").iterdir()) == ["epoch-0002", "epoch-0004"]
    last = load_file(tmp_path / "epochs" / "epoch-0004" / "model.safetensors")
    assert all(torch.equal(tensor, last[key]) for key, tensor in load_file(tmp_path / "model.safetensors").items())


def test_a_second_state_stands_in_for_a_damaged_one(noise, tmp_path):
    training = replace(training_of("ezvsl", noise, tmp_path / "parts"), keeping=Keeping(every_steps=3, states=2))
    with pytest.raises(StopError):
        train(training, watch=lambda steps, done: Stop(8))
    newest = states(training.out)[-1]
    (newest / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(AvbenchError, match=r"which is damaged .*: delete that folder, to train from the state before"):
        train(training, resume=True)
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    assert_same(train(training, resume=True), train(replace(training, out=tmp_path / "whole")))


def test_broken_samples_are_remembered(noise_set, tmp_path):
    place = noise_set(tmp_path / "noise", 101)
    (tmp_path / "noise" / "audio" / "clip_003.wav").write_bytes(b"")
    training = training_of(
        "ezvsl", load_split(str(place)), tmp_path / "parts", batch_size=10, epochs=1, images="squash"
    )
    training = replace(training, keeping=Keeping(every_steps=1))
    log = json.loads
    with pytest.raises(StopError):
        train(training, watch=lambda steps, done: Stop(10))
    whole = train(replace(training, out=tmp_path / "whole"))
    assert_same(train(training, resume=True), whole)
    assert set(broken_samples(whole)) == {"clip_003"}
    rows = [log(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert len([row for row in rows if "total" in row]) == 10


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own reading
def test_a_compiled_loss_is_the_same_loss(noise, tmp_path, monkeypatch):
    """Through the part of torch.compile that reads the code; what writes another is torch's, and slow on a CPU."""
    compile_module = torch.nn.Module.compile
    compiled = []

    def read_only(module):
        compiled.append(module)
        compile_module(module, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", read_only)
    training = training_of("fnac", noise, tmp_path / "plain", epochs=1)
    plain, other = train(training), train(replace(training, out=tmp_path / "compiled", compiled=True))
    assert len(compiled) == 1
    assert_same(plain, other)


def test_a_term_that_would_be_zero_all_along_is_refused(noise, tmp_path):
    bare = replace(noise, samples=tuple(replace(sample, boxes=()) for sample in noise.samples))
    with pytest.raises(UsageError, match=r"slavc as it is set learns from boxes too, and tiny has none"):
        train(replace(training_of("slavc", noise, tmp_path), split=bare))


def test_a_pack_for_training_is_not_judged_by(noise, tmp_path):
    packed = Packed(tmp_path / "shard.tar", 512, 100, "jpeg", "clip_000")
    lists = replace(noise, samples=tuple(replace(sample, image=packed) for sample in noise.samples))
    training = replace(training_of("ezvsl", noise, tmp_path / "out"), judging=Judging(validation=lists))
    with pytest.raises(UsageError, match=r"tiny lies in a pack made for training, .*--judge-data"):
        train(training)
    assert not training.out.exists()


def test_moments_have_the_layout_of_their_weights(noise, tmp_path):
    """Wide enough to lie channels last on the CPU; a fused optimiser reads weight and moments alike."""
    training = training_of("ezvsl", noise, tmp_path, epochs=1)
    training = replace(training, overrides={"width": 1 / 4, "out_dim": 8}, keeping=Keeping(every_steps=1))
    with pytest.raises(StopError):
        train(training, watch=lambda steps, done: Stop(2))
    seen = []

    class Look(Unwatched):
        def step(self, row, pairs, waited):
            frame = sys._getframe()
            while "self" not in frame.f_locals or not isinstance(frame.f_locals["self"], Loop):
                frame = frame.f_back
            seen.append(frame.f_locals["self"].parts.optimizer)

    train(training, resume=True, watch=lambda steps, done: Look())
    entries = seen[0].state.items()
    apart = [p.shape for p, entry in entries for key in ("exp_avg", "exp_avg_sq") if entry[key].stride() != p.stride()]
    assert apart == []
    assert any(p.ndim == 4 and not p.is_contiguous() for p, _ in entries)


def stopped(*given):
    raise StopError


def test_what_an_attempt_without_a_state_left_is_not_taken_over(noise, noise_set, tmp_path, monkeypatch):
    """Killed in its first evaluation; then another seed in the same folder."""
    validation = load_split(str(noise_set(tmp_path / "many", 300, seed=1)))
    judged = replace(
        training_of("ezvsl", noise, tmp_path / "one", epochs=2),
        keeping=Keeping(),
        judging=Judging(validation=validation),
    )
    with monkeypatch.context() as patch:
        patch.setattr(judging, "complete", stopped)
        with pytest.raises(StopError):
            train(judged)
    assert list((judged.out / ".judging").rglob("part-*"))
    for name in ("best-oracle", "ema", "epochs"):
        (judged.out / name).mkdir()
    other = replace(judged, recipe=replace(judged.recipe, seed=5))
    assert_same(train(other), train(replace(other, out=tmp_path / "two")))
    left = sorted(path.name for path in other.out.iterdir())
    expected = ["best-validation", "config.json", "curve.png", "evaluations.jsonl", "evaluations.png", "log.jsonl"]
    assert left == [*expected, "model.safetensors"]


def test_a_kill_between_state_and_best_is_made_up_for(noise, tmp_path, monkeypatch):
    training = training_of("ezvsl", noise, tmp_path / "parts", epochs=3)
    training = replace(training, judging=Judging(validation=noise))
    whole = train(replace(training, out=tmp_path / "whole"))
    keep = engine._Session._keep_best

    def killed(self, method, position):
        if position.step:
            raise StopError
        keep(self, method, position)

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(engine._Session, "_keep_best", killed)
            with pytest.raises(StopError):
                train(training, resume=True)
    parts = train(training, resume=True)
    assert_same(parts, whole)
    assert_same(parts / "best-validation", whole / "best-validation")


def test_the_number_of_processes_counts_where_each_has_its_own(noise, tmp_path, monkeypatch, store):
    own, shared = recipe_of("ezvsl"), recipe_of("ezvsl", batch_norm="synchronised")
    alone = [checkpoint_folder(find_method("ezvsl"), recipe, noise, {}) for recipe in (own, shared)]
    for name, value in {"TORCHELASTIC_RUN_ID": "a", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    several = [checkpoint_folder(find_method("ezvsl"), recipe, noise, {}) for recipe in (own, shared)]
    assert several[0] != alone[0]
    assert several[1] == alone[1]
    assert training_of("ezvsl", noise, tmp_path).meta(1)["processes"] == 2


@pytest.mark.parametrize(("epoch", "rule"), [(1, "unknown"), (2, "last")])
def test_an_earlier_epoch_does_not_say_that_it_is_the_last(noise, tmp_path, epoch, rule):
    train(replace(training_of("ezvsl", noise, tmp_path), keeping=Keeping(every_epochs=1)))
    assert load_weights(tmp_path / "epochs" / f"epoch-{epoch:04d}").meta["selected"]["rule"] == rule
