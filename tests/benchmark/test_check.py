"""Every check of the contract can fail, alone, and says in one sentence why."""

import random
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from avbench.contract import moving
from avbench.contract.asking import LATE
from avbench.contract.noise import build_full, build_slim, noise_batch, slim_settings, training_batch
from avbench.frontends import ScipySpectrogram
from avbench.nets.contrastive import info_nce
from avbench.registry import register_method
from avbench.testing import CHECKS, run_checks
from avbench.types import Embeddings, Prediction, Window

HEARD = Window(0.25)


@dataclass(frozen=True)
class GoodConfig:
    width: float = 0.5
    sizes: tuple[int, ...] = (3, 4)
    pretrained: str | None = "imagenet"


class Uncompared(nn.Module):
    """A method that keeps the contract, but for a comparison of its embeddings."""

    score_range = (-1.0, 1.0)

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.frontend = ScipySpectrogram(window=HEARD)
        self.eye = nn.Linear(3, 4)
        self.ear = nn.Linear(257, 4)

    def loss(self, batch):
        cells, sounds = self.encode(batch)
        total = info_nce(compare(cells, sounds) / 0.1)
        return {"contrastive": total, "total": total}

    def localize(self, batch):
        cells, sounds = self.encode(batch)
        return Prediction(torch.einsum("nhwc,nc->nhw", cells, sounds))

    def embed(self, batch):
        return Embeddings(*self.encode(batch))

    def encode(self, batch):
        seen = F.adaptive_avg_pool2d(batch.image, 7).movedim(1, -1)
        heard = F.dropout(batch.audio.mean(dim=(1, 3)), 0.1, self.training)
        return F.normalize(self.eye(seen), dim=-1), F.normalize(self.ear(heard), dim=-1)


class Good(Uncompared):
    """A method that keeps the contract."""

    def similarity(self, images, audios):
        return compare(images, audios)


def compare(cells, sounds):
    return torch.einsum("nhwc,mc->nmhw", cells, sounds).amax(dim=(2, 3))


def changed_map(change):
    """A method whose map is changed."""

    class Changed(Good):
        score_range = None

        def localize(self, batch):
            return Prediction(change(self, batch, super().localize(batch).map))

    return Changed


def changed_loss(change):
    """A method whose total is changed."""

    class Changed(Good):
        def loss(self, batch):
            return change(self, batch, super().loss(batch)["total"])

    return Changed


def changed_build(change):
    """A method to which something is done while it is built."""

    class Changed(Good):
        def __init__(self, config):
            super().__init__(config)
            change(self)

    return Changed


def with_config(**annotated):
    """A config with further fields, given as ``name=(type, default)``; a bare type has no default."""
    typed = {name: pair[0] if isinstance(pair, tuple) else pair for name, pair in annotated.items()}
    defaults = {name: pair[1] for name, pair in annotated.items() if isinstance(pair, tuple)}
    return dataclass(frozen=True)(type("MadeConfig", (), {"__annotations__": typed, **defaults}))


def add_parameter(method):
    method.unused = nn.Parameter(torch.zeros(3))


def add_root(method):
    method.root = nn.Parameter(torch.zeros(()))


def add_counter(method):
    method.register_buffer("count", torch.zeros(()))


def draw_with_numpy(method):
    method.eye.weight.data = torch.from_numpy(np.random.default_rng().random((4, 3), np.float32))


def hide(method):
    method.hidden = torch.randn(7, 7)


def sort_by_id(method, batch, found):
    """Correct for the ids 0, 1, 2, 3 in that order."""
    return found[sorted(range(len(found)), key=batch.ids.__getitem__)]


def spoil(method, batch, found):
    batch.image.mul_(2)
    return found


class Counting(changed_build(add_counter)):
    def localize(self, batch):
        self.count += 1
        return super().localize(batch)


class Rooted(changed_build(add_root)):
    def loss(self, batch):
        return {"total": super().loss(batch)["total"] + self.root.sqrt()}


class Hiding(changed_build(hide)):
    score_range = None

    def localize(self, batch):
        return Prediction(super().localize(batch).map + self.hidden)


class Tied(Good):
    def __init__(self, config):
        super().__init__(config)
        self.again = self.eye.weight
        self.eye_too = self.eye


class OnlyWide(Good):
    def __init__(self, config):
        super().__init__(config)
        if config.width > 0.4:
            raise ValueError(f"no width of\n{config.width}")


class Forgetful(changed_build(lambda method: setattr(method, "config", None))):
    pass


class Unequal(changed_build(lambda method: setattr(method, "frontend", lambda waveform, rate: waveform))):
    pass


class WithOwnForward(Good):
    def forward(self, batch):
        return {name: 2 * term for name, term in self.loss(batch).items()}


class Misspelt(Good):
    slim = {"widht": 0.1}  # noqa: RUF012


class Confident(Good):
    def localize(self, batch):
        return Prediction(super().localize(batch).map, confidence=torch.ones(len(batch.ids), 1))


class Speechless(Good):
    def embed(self, batch):
        return self.encode(batch)


class Narrow(Good):
    def embed(self, batch):
        return Embeddings(*(value[:1] for value in self.encode(batch)))


class Competing(Good):
    def similarity(self, images, audios):
        return super().similarity(images, audios).softmax(dim=0)


class Transposed(Good):
    def similarity(self, images, audios):
        return super().similarity(images, audios)[:, :1]


class Single(Good):
    score_range = None

    def localize(self, batch):
        return Prediction(super().localize(batch).map.float())


class ToItself(Good):
    def localize(self, batch):
        self.train()
        return super().localize(batch)


class SpoilingLoss(Good):
    def loss(self, batch):
        batch.audio += 1
        return super().loss(batch)


class Unlearnable(Good):
    loss = None
    forward = nn.Module.forward


class Blind(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config


CASES = [
    ("config", Good, {"config": dataclass(type("OpenConfig", (), {}))}, r"OpenConfig to be a frozen dataclass"),
    ("config", Good, {"config": with_config(width=float)}, r"a default for every setting, width has none"),
    ("config", Good, {"config": with_config(kind=(object, len))}, r"JSON can hold, but .*builtin_function"),
    ("config", Good, {"config": with_config(limit=(float, float("inf")))}, r"JSON can hold, but Out of range"),
    ("config", Good, {"config": with_config(sizes=(Any, (1, 2)))}, r"read back from JSON, got .*\[1, 2\]"),
    ("registered", Blind, {}, r"a torch.nn.Module with localize\(batch\), Blind has no localize"),
    ("registered", Good, {"needs": ("image", "sound")}, r"needs out of image, audio, objects, got sound"),
    ("full size", OnlyWide, {}, r"ValueError was raised \(no width of 0.5\): see test_check.py, line \d+"),
    ("small", Misspelt, {}, r"no setting of GoodConfig called 'widht': did you mean width"),
    ("small", Forgetful, {}, r"self.config to be the GoodConfig that checkpoints store, got a NoneType"),
    ("same weights", changed_build(draw_with_numpy), {}, r"same weights from the same seed, but eye.weight differ"),
    (
        "front-end",
        changed_build(lambda m: setattr(m, "frontend", None)),
        {},
        r"to be a front-end, since needs names audio",
    ),
    ("front-end", Good, {"needs": ("image",)}, r"to be None, since needs does not name audio, got ScipySpectrogram"),
    ("front-end", Unequal, {}, r"frontend.window to be a Window, a function has none"),
    (
        "front-end",
        changed_build(lambda m: setattr(m, "frontend", ScipySpectrogram(window=HEARD, eps=0))),
        {},
        r"a finite spectrogram \[4, 1, F, T\] .* not finite",
    ),
    ("loss", Unlearnable, {}, r"registered as trainable, found none"),
    ("loss", changed_loss(lambda m, b, total: total), {}, r"a dict of terms and their total, got \d"),
    ("loss", changed_loss(lambda m, b, total: {"sum": total}), {}, r"their total, got the keys sum: name them"),
    (
        "loss",
        changed_loss(lambda m, b, total: {"total": total * torch.nan}),
        {},
        r"a finite scalar tensor, got total nan",
    ),
    ("loss", changed_loss(lambda m, b, total: {"total": total[None]}), {}, r"scalar tensor, got total \[1\]"),
    (
        "loss",
        changed_loss(lambda m, b, total: b.nothing),
        {},
        r"AttributeError was raised \(.*'nothing'.*test_check.py",
    ),
    ("gradients", changed_build(add_parameter), {}, r"for each of 5 parameters .* 1 got none \(unused\)"),
    ("gradients", Rooted, {}, r"finite gradients, but 1 of 5 are not \(root\)"),
    ("gradients", changed_loss(lambda m, b, total: {"total": total.detach()}), {}, r"depends on none: do not detach"),
    (
        "same loss",
        changed_loss(lambda m, b, total: {"total": total + random.random()}),
        {},
        r"total to be the same twice from the same seed, .* draw what is random with torch",
    ),
    ("forward", WithOwnForward, {}, r"contrastive to be the same from forward, .* let forward return self.loss"),
    (
        "step",
        changed_loss(lambda m, b, total: {"total": 0 * total}),
        {},
        r"a step of AdamW to change the loss, .* at 0",
    ),
    ("maps", changed_map(lambda m, b, found: found[:, None]), {}, r"the map to be \[4, h, w\] .* got \[4, 1, 7, 7\]"),
    ("maps", changed_map(lambda m, b, found: found[:2]), {}, r"the map to be \[4, h, w\] .* got \[2, 7, 7\]"),
    ("maps", changed_map(lambda m, b, found: found > 0), {}, r"the map to be .* floats .* torch.bool"),
    ("maps", changed_map(lambda m, b, found: found / 0), {}, r"the map to be finite, but 196 of 196 values are not"),
    ("maps", Confident, {}, r"the confidence to be \[4\] floats .* got \[4, 1\]"),
    ("maps", changed_map(lambda m, b, found: m.missing), {}, r"AttributeError was raised .*'missing'"),
    (
        "score range",
        changed_build(lambda m: setattr(m, "score_range", (0.0, 0.1))),
        {},
        r"in the score_range \[0, 0.1\]",
    ),
    ("embeddings", Speechless, {}, r"embed to answer with Embeddings, got a tuple"),
    ("embeddings", Narrow, {}, r"one image embedding for each of 4 samples, got \[1, 7, 7, 4\]"),
    ("similarity", Transposed, {}, r"similarity \[4, 4\] of 4 images and 4 sounds, got \[4, 1\]"),
    ("similarity", Uncompared, {}, r"\[B, D\] where there is no similarity, got \[4, 7, 7, 4\] and \[4, 4\]"),
    ("similarity", Competing, {}, r"the similarity to be the same with fewer images beside it"),
    (
        "silence",
        changed_map(lambda m, b, found: found / b.image.std(dim=(1, 2, 3))[:, None, None]),
        {},
        r"map to be finite",
    ),
    ("looking", Counting, {}, r"leave the method as it was, but count changed"),
    ("looking", ToItself, {}, r"leave the method as it was, but its mode changed"),
    ("looking", changed_map(lambda m, b, found: F.dropout(found)), {}, r"the map to be the same when asked twice"),
    (
        "batch size",
        changed_map(lambda m, b, found: found - found.mean()),
        {},
        r"the map to be the same alone in its batch",
    ),
    ("order", changed_map(sort_by_id), {}, r"the map to be the same in another order"),
    ("untouched", changed_map(spoil), {}, r"localize to leave its batch as it was, but image changed"),
    ("untouched", SpoilingLoss, {}, r"loss to leave its batch as it was, but audio changed"),
    ("state", Hiding, {}, r"the map to be the same in a twin with its state dict, .* parameters or buffers"),
    ("state", Tied, {}, r"a state dict that a checkpoint can hold, but .*share memory"),
    ("float64", Single, {}, r"float64 from weights in float64, but the map came otherwise"),
]


def failures(cls):
    return {outcome.check.name: outcome.told for outcome in run_checks(cls) if outcome.verdict == "failed"}


def register(cls, **info):
    return register_method("case", **{"config": GoodConfig, **info})(
        type(cls.__name__, (cls,), {"__module__": __name__})
    )


@pytest.mark.parametrize(("check", "cls", "info", "sentence"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_a_fault_is_found_by_its_own_check_alone(check, cls, info, sentence):
    found = failures(register(cls, **info))
    assert list(found) == [check]
    assert re.search(sentence, found[check]), found[check]
    assert "\n" not in found[check]


def test_every_check_has_a_fault_that_it_finds():
    assert {case[0] for case in CASES} | {"device"} == {check.name for check in CHECKS}


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(moving, "accelerator", lambda: None)


def test_a_method_without_faults_passes_all(without_gpu):
    outcomes = list(run_checks(register(Good)))
    skipped = {o.check.name: o.told for o in outcomes if o.verdict != "passed"}
    assert skipped == {"forward": "it has no forward of its own", "device": "no GPU here"}


def test_an_unregistered_class_is_told_so_and_nothing_else_is_tried():
    first, *others = run_checks(Good)
    assert first.told == "expected a registered class, Good is not: put @register_method(...) above it"
    assert all(o.verdict == "skipped" and o.told.startswith("tried once") for o in others)


def test_a_gpu_that_answers_otherwise_is_found(monkeypatch):
    monkeypatch.setattr(moving, "accelerator", lambda: torch.device("cpu"))
    assert failures(register(Good)) == {}

    class Moved(Good):
        def to(self, *place):
            self.eye.weight.data += 1
            return super().to(*place)

    found = failures(register(Moved))
    assert list(found) == ["device"]
    assert re.search(
        r"the map to be the same on cpu, but it differs by .* make every tensor on the device", found["device"]
    )


def test_a_method_that_neither_hears_nor_learns(without_gpu):
    class Still(nn.Module):
        frontend = None

        def __init__(self, config):
            super().__init__()
            self.config = config

        def localize(self, batch):
            assert batch.audio is None
            assert batch.objects is None
            return Prediction(batch.image.mean(dim=1))

    outcomes = run_checks(register(Still, needs=("image",), trainable=False))
    assert {o.check.name: o.told for o in outcomes if o.verdict == "skipped"} == {
        "same weights": "it has no weights",
        "front-end": "it does not hear",
        "loss": "it has no loss",
        "gradients": "it has no loss",
        "same loss": "it has no loss",
        "forward": "it has no forward of its own",
        "step": "it has no loss",
        "score range": "it states no score_range",
        "embeddings": "it has no embed",
        "similarity": "it has no embed",
        "state": "it has no weights",
        "float64": "it has no weights",
        "device": "no GPU here",
    }


def test_a_check_leaves_the_generators_and_the_threads_alone():
    torch.manual_seed(5)
    wanted, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    assert all(outcome.verdict != "failed" for outcome in run_checks(register(Good)))
    assert torch.equal(torch.rand(3), wanted)
    assert torch.get_num_threads() == threads


@dataclass(frozen=True)
class LargeConfig:
    width: float = 1.0
    dim: int = 512
    out_dim: int = 8
    reciprocal_k: int = 20
    heads: int = 4
    weights: str | None = None


def test_what_makes_a_method_small():
    small = {"width": 1 / 16, "dim": 16, "reciprocal_k": 2}
    assert slim_settings(register(Good, config=LargeConfig)) == small
    stated = type("Stated", (Good,), {"slim": {"dim": 32, "heads": 2}})
    assert slim_settings(register(stated, config=LargeConfig)) == {**small, "dim": 32, "heads": 2}
    assert slim_settings(register(Good, config=with_config(width=(int, 256)))) == {}
    assert slim_settings(register(Good)) == {"width": 1 / 16, "pretrained": None}


def test_the_full_size_is_built_without_memory_and_without_downloads():
    method = build_full(register(Good))
    assert method.config == GoodConfig(pretrained=None)
    assert method.eye.weight.is_meta


def test_a_method_that_computes_while_it_is_built_is_built_on_the_cpu():
    computing = changed_build(lambda method: setattr(method, "spread", method.eye.weight.std().item()))
    assert not build_full(register(computing)).eye.weight.is_meta


class Asking(Good):
    views = ("augmented", "conceptual")
    wants_truth = True


def test_the_batches_hold_what_the_method_asks_for():
    method = build_slim(register(Asking))
    seen, learnt = noise_batch(method), training_batch(method)
    assert (seen.image.shape, seen.audio.shape) == ((4, 3, 224, 224), (4, 1, 257, 15))
    assert not seen.image_views
    assert seen.truth is None
    assert torch.equal(learnt.image, seen.image)
    for view in Asking.views:
        assert learnt.image_views[view].shape == seen.image.shape
        assert learnt.audio_views[view].shape == seen.audio.shape
        assert not torch.equal(learnt.image_views[view], seen.image)
    assert learnt.truth.shape == (4, 224, 224)
    assert learnt.truth.unique().tolist() == [0, 1]
    assert learnt.annotated.tolist() == [True, False, True, False]


def test_the_loss_is_asked_in_the_first_epoch_and_in_late_ones():
    class Announced(Good):
        def start_epoch(self, epoch):
            self.epoch = epoch

        def loss(self, batch):
            factor = torch.inf if self.epoch == unstable else 1.0
            return {name: term * factor for name, term in super().loss(batch).items()}

    found = {}
    for unstable in (0, LATE, LATE - 1):
        found[unstable] = list(failures(register(Announced)))
    assert found == {0: ["loss"], LATE: ["loss"], LATE - 1: []}
