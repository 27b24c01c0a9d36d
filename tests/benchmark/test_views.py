"""Further positives, truth and epochs in training: whose they are, and that chance follows seed, epoch and index."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import load_file

from avbench.augment import IMAGENET_MEAN, IMAGENET_STD, augment_images, normalise
from avbench.cli import main
from avbench.data.decoding import cut_at_random
from avbench.data.splits import Sample, Split, load_split
from avbench.data.training_set import Neighbours, TrainingOptions, TrainingSet, iterate_training
from avbench.errors import AvbenchError, UsageError
from avbench.frontends import ScipySpectrogram
from avbench.monitoring import Unwatched
from avbench.preparing import prepare, training_windows
from avbench.recipe import load_recipe
from avbench.registry import find_method, load_class
from avbench.training import Training, train
from avbench.types import Window

N, RATE = 9, 16_000
WINDOW = Window(0.2)
ANYWHERE = Window(0.2, "random")
PLENTY = 10**9
NEIGHBOURS = Neighbours(
    image=np.array([[(i + step) % N for step in (1, 2, 3)] for i in range(N)], dtype=np.int32),
    audio=np.array([[(i + step) % N for step in (4, 5)] for i in range(N)], dtype=np.int32),
)


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Sample ``i`` is a picture of the grey level ``20 * i``, white in its box, and a ramp from ``i`` to ``i + 1``."""
    samples = []
    for i in range(N):
        image, audio = tmp_path / f"{i}.png", tmp_path / f"{i}.wav"
        pixels = np.full((100, 130, 3), 20 * i, dtype=np.uint8)
        pixels[20:60, 10:50] = 255
        Image.fromarray(pixels).save(image)
        soundfile.write(audio, (i + np.linspace(0, 1, 8000, endpoint=False)) / N, RATE, subtype="FLOAT")
        box = (10 / 130, 0.2, 50 / 130, 0.6)
        samples.append(Sample(f"s{i}", image, audio, (box,) if i != 4 else (), "bell"))
    return Split("ramps", "", tuple(samples), "", N, has_media=True, source="")


def epoch_of(split, *, epoch=0, workers=0, neighbours=NEIGHBOURS, windows=(WINDOW, ANYWHERE), seed=0, **options):
    pairs = TrainingSet(split, windows, seed=seed, options=TrainingOptions(**options), neighbours=neighbours)
    return list(iterate_training(pairs, epoch=epoch, batch_size=4, workers=workers))


def assert_same(one, two):
    assert [(b.indices, b.places, b.partner.places) for b in one] == [
        (b.indices, b.places, b.partner.places) for b in two
    ]
    for a, b in zip(one, two, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.tensors(), b.tensors(), strict=True))


@pytest.mark.parametrize("crop", [True, False])
def test_workers_and_cache_change_nothing(split, crop):
    for epoch in (0, 1):
        expected = epoch_of(split, epoch=epoch, crop=crop)
        for options, workers in (({}, 2), ({"cache_bytes": PLENTY}, 0), ({"cache_bytes": PLENTY}, 2)):
            assert_same(epoch_of(split, epoch=epoch, crop=crop, workers=workers, **options), expected)


def test_later_epochs_from_the_cache_are_the_same(split):
    options = TrainingOptions(cache_bytes=PLENTY)
    kept = TrainingSet(split, (WINDOW, ANYWHERE), seed=0, options=options, neighbours=NEIGHBOURS)
    for epoch in (2, 0, 2):
        found = list(iterate_training(kept, epoch=epoch, batch_size=4))
        assert_same(found, epoch_of(split, epoch=epoch))
    assert kept.cached


def seen_and_heard(batches):
    """Pairs of a sample's index and its partners' by picture and by sound, told from what they look and sound like."""
    found = []
    for batch in batches:
        pictures = batch.partner.image[:, 0, -1, -1] / 20
        sounds = (batch.partner.waveforms[WINDOW].mean(1) * N).floor()
        assert batch.partner.indices == pictures.tolist()
        found += list(zip(batch.indices, pictures.int().tolist(), sounds.int().tolist(), strict=True))
    return found


def test_partners_are_neighbours_each_as_likely_and_drawn_apart(split):
    found = [p for epoch in range(40) for p in seen_and_heard(epoch_of(split, epoch=epoch, crop=False))]
    steps = [((seen - i) % N, (heard - i) % N) for i, seen, heard in found]
    kinds = {kind: steps.count(kind) for kind in set(steps)}
    assert set(kinds) == {(s, h) for s in (1, 2, 3) for h in (4, 5)}
    assert min(kinds.values()) > 0.6 * len(steps) / 6
    assert max(kinds.values()) < 1.4 * len(steps) / 6


def test_partners_follow_seed_and_epoch(split):
    drawn = [NEIGHBOURS.partners(seed=seed, epoch=epoch).tolist() for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert drawn[0] == drawn[3]
    assert drawn[0] != drawn[1]
    assert drawn[0] != drawn[2]


def test_partners_are_cropped_with_chances_of_their_own(split):
    (batch, *_) = epoch_of(split)
    assert batch.partner.image.shape == (4, 3, 224, 224)
    assert all(a != b for a, b in zip(batch.places, batch.partner.places, strict=True))


def test_pairs_alone_are_what_they_are_beside_partners(split):
    alone = epoch_of(split, neighbours=None, windows=(WINDOW,))
    for plain, full in zip(alone, epoch_of(split), strict=True):
        assert plain.partner is None
        assert torch.equal(plain.image, full.image)
        assert torch.equal(plain.waveforms[WINDOW], full.waveforms[WINDOW])


def test_a_window_at_random_is_a_part_of_the_clip(split):
    starts = set()
    for epoch in range(30):
        for batch in epoch_of(split, epoch=epoch, crop=False, neighbours=None):
            heard = batch.waveforms[ANYWHERE] * N - torch.tensor(batch.indices)[:, None]
            begin = (heard[:, 0] * 8000).round()
            assert torch.equal(((heard - heard[:, :1]) * 8000).round(), torch.arange(3200.0).expand(4, -1))
            starts |= set(begin.int().tolist())
    assert 0 <= min(starts) < 300
    assert 4500 < max(starts) <= 4800
    assert len(starts) > 200


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_clip_that_is_not_longer_goes_round(n):
    ramp = np.arange(n, dtype=np.float32)
    starts = set()
    for seed in range(100):
        heard = cut_at_random(ramp, 10, Window(1.0, "random"), rng=np.random.default_rng(seed))
        np.testing.assert_array_equal(heard, (heard[0] + np.arange(10)) % n)
        starts.add(int(heard[0]))
    assert starts == set(range(n))


class Learner:
    """What :func:`prepare` asks of a method."""

    frontend = ScipySpectrogram(window=WINDOW)
    views = ("augmented", "conceptual")
    wants_truth = True


class Plain:
    frontend = ScipySpectrogram(window=WINDOW)


def recipe(**changes):
    return replace(load_recipe("any", "demo"), **{"images": "crop", **changes})


def batch_of(split, method, *, raw=None, seed=0, **changes):
    raw = raw or epoch_of(split, windows=training_windows(method), crop=changes.get("images", "crop") == "crop")[0]
    torch.manual_seed(seed)
    return prepare(raw, method, recipe(**changes), split.samples)


def pixels(pictures):
    """uint8 levels of normalised pictures."""
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((pictures * deviation + mean) * 255).round()


def test_the_batch_has_the_views_that_the_method_asks_for(split):
    batch, plain = batch_of(split, Learner()), batch_of(split, Plain())
    assert list(batch.image_views) == list(batch.audio_views) == ["augmented", "conceptual"]
    for picture, sound in zip(batch.image_views.values(), batch.audio_views.values(), strict=True):
        assert (picture.shape, sound.shape) == (batch.image.shape, batch.audio.shape)
        assert (picture.dtype, sound.dtype) == (torch.float32, torch.float32)
        assert not torch.equal(picture, batch.image)
        assert not torch.equal(sound, batch.audio)
    assert (plain.image_views, plain.audio_views, plain.truth, plain.annotated) == ({}, {}, None, None)
    assert torch.equal(plain.image, batch.image), "what a method asks for does not move the chances of the pairs"
    assert torch.equal(plain.audio, batch.audio)


def test_pictures_are_augmented_as_the_recipe_says(split):
    raw = epoch_of(split, windows=training_windows(Plain()), neighbours=None)[0]
    names = ("flip", "blur", "jitter", "grayscale")
    batch = batch_of(split, Plain(), raw=raw, seed=5, augment=names)
    torch.manual_seed(5)
    assert torch.equal(batch.image, normalise(augment_images(raw.image, names)))


def test_views_are_drawn_anew_and_again(split):
    first, again, other = (batch_of(split, Learner(), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.image_views["augmented"], again.image_views["augmented"])
    assert not torch.equal(first.image_views["augmented"], other.image_views["augmented"])


def test_the_augmented_sound_is_the_window_at_random(split):
    raw = epoch_of(split, windows=training_windows(Learner()))[0]
    batch = batch_of(split, Learner(), raw=raw)
    assert torch.equal(batch.audio_views["augmented"], Learner.frontend(raw.waveforms[ANYWHERE], RATE))
    assert torch.equal(batch.audio_views["conceptual"], Learner.frontend(raw.partner.waveforms[WINDOW], RATE))


def test_conceptual_pictures_are_treated_like_the_originals(split):
    raw = epoch_of(split, windows=training_windows(Learner()))[0]
    plain = batch_of(split, Learner(), raw=raw, augment=())
    assert torch.equal(pixels(plain.image_views["conceptual"]), raw.partner.image.float())
    flips = {tuple(flipped_rows(batch_of(split, Learner(), raw=raw, seed=s), raw)) for s in range(20)}
    assert len(flips) > 5
    assert any(own != conceptual for own, conceptual in flips)


def flipped_rows(batch, raw):
    """Which rows of the pictures and of the conceptual ones are flipped, as two tuples."""
    for shown, stored in ((batch.image, raw.image), (batch.image_views["conceptual"], raw.partner.image)):
        yield tuple(not torch.equal(a, b) for a, b in zip(pixels(shown), stored.float(), strict=True))


def test_masks_are_drawn_for_every_sound(split):
    raw = epoch_of(split, windows=training_windows(Learner()))[0]
    masked, whole = (batch_of(split, Learner(), raw=raw, augment=names) for names in (("masks_fixed",), ()))
    for one, other in (
        (masked.audio, whole.audio),
        *((masked.audio_views[v], whole.audio_views[v]) for v in Learner.views),
    ):
        changed = one != other
        assert changed.any()
        assert (one[changed] == 0).all()


def test_fixed_masks_reach_the_last_frames(split):
    """The spectrograms have 257 bins and 12 frames: counted the official way, frequency masks stay in the lowest."""
    raw = epoch_of(split, windows=training_windows(Plain()), neighbours=None)[0]
    rows = {"masks": set(), "masks_fixed": set()}
    for name, found in rows.items():
        for seed in range(40):
            batch = batch_of(split, Plain(), raw=raw, augment=(name,), seed=seed)
            found |= set((batch.audio == 0).all(dim=3).nonzero()[:, 2].tolist())
    assert max(rows["masks"]) < 22
    assert max(rows["masks_fixed"]) > 200


@pytest.mark.parametrize("images", ["crop", "squash"])
@pytest.mark.parametrize("augment", [(), ("flip",)])
def test_the_truth_is_where_the_picture_is_white(split, images, augment):
    """Where the crop cuts the box, and where the picture is flipped."""
    for seed in range(3):
        batch = batch_of(split, Learner(), images=images, augment=augment, seed=seed)
        white = pixels(batch.image)[:, 0] > 200
        assert batch.truth.shape == (4, 224, 224)
        assert set(batch.truth.unique().tolist()) == {0.0, 1.0}
        for row, name in enumerate(batch.ids):
            assert batch.annotated[row] == (name != "s4")
            if name == "s4":
                assert batch.truth[row].max() == 0
            else:
                assert (white[row] != batch.truth[row].bool()).float().mean() < 0.012, "but for blurred borders"


def test_the_truth_is_on_the_left_unless_flipped(split):
    sides = set()
    for seed in range(10):
        batch = batch_of(split, Learner(), images="squash", seed=seed)
        left, right = batch.truth[..., :112].sum((1, 2)), batch.truth[..., 112:].sum((1, 2))
        sides |= set((left > right)[batch.annotated].tolist())
    assert sides == {True, False}


def test_pairs_without_neighbours_have_no_conceptual_views(split):
    raw = epoch_of(split, windows=training_windows(Learner()), neighbours=None)[0]
    with pytest.raises(UsageError, match="conceptual views are drawn from neighbours, and the training has none"):
        batch_of(split, Learner(), raw=raw)


def test_a_view_that_there_is_not():
    learner = Learner()
    learner.views = ("augmented", "conceptional")
    with pytest.raises(UsageError, match="no view called 'conceptional': did you mean conceptual"):
        training_windows(learner)


VIEWS_LOSS = """
    views = ("augmented", "conceptual")
    neighbours = 2
    wants_truth = True
    seen = []

    def start_epoch(self, epoch):
        Tiny.seen.append(epoch)
        self.epoch = epoch

    def loss(self, batch):
        pictures = [batch.image, *batch.image_views.values()]
        sounds = [batch.audio, *batch.audio_views.values()]
        total = sum((self.weight * p.mean() * s.mean() - self.epoch).square() for p in pictures for s in sounds)
        return {"total": total + self.weight * batch.truth.mean() + self.frozen}
"""


@pytest.fixture
def training(trainable_plugin, tiny_set, store, tmp_path) -> Training:
    text = trainable_plugin.read_text()
    before, rest = text.split("    def loss(self, batch):")
    after = rest[rest.index("    def localize") :]
    frozen = "        self.frozen = nn.Parameter(torch.ones(3).sum(), requires_grad=False)\n"
    trainable_plugin.write_text(before.rstrip() + "\n" + frozen + VIEWS_LOSS + "\n" + after)
    changes = {"image_neighbours": "colours", "audio_neighbours": "spectrum", "epochs": 3, "batch_size": 2}
    made = recipe(name="any-test", method="learner", **changes)
    ref = find_method(f"{trainable_plugin}:Tiny")
    load_class(ref).seen.clear()
    return Training(ref, made, load_split(str(tiny_set)), tmp_path / "out", {}, torch.device("cpu"))


def weights(folder):
    return load_file(folder / "model.safetensors")


class StopError(Exception):
    """What ends a training in these tests."""


class Stop(Unwatched):
    def step(self, row, pairs, waited):
        if row["step"] == 4:
            raise StopError


def stop(steps, done):
    return Stop()


def test_an_interrupted_training_ends_with_the_same_weights(training, tmp_path):
    whole = train(replace(training, out=tmp_path / "whole"))
    with pytest.raises(StopError):
        train(training, watch=stop)
    train(training, resume=True)
    assert torch.equal(weights(training.out)["weight"], weights(whole)["weight"])
    assert (training.out / "log.jsonl").read_text() == (whole / "log.jsonl").read_text()


def test_workers_train_the_same_weights(training, tmp_path):
    one, two = (train(replace(training, workers=n, out=tmp_path / f"{n}")) for n in (0, 2))
    assert torch.equal(weights(one)["weight"], weights(two)["weight"])


def test_each_epoch_is_announced(training):
    seen = load_class(training.ref).seen
    with pytest.raises(StopError):
        train(training, watch=stop)
    assert seen == [0, 1]
    train(training, resume=True)
    assert seen == [0, 1, 1, 2]


def test_what_is_frozen_is_left_alone(training):
    found = weights(train(training))
    assert found["frozen"] == 3
    assert found["weight"] != 1


def test_nothing_to_train_is_said(training, monkeypatch):
    build = load_class(training.ref).__init__

    def frozen(self, config):
        build(self, config)
        self.requires_grad_(False)

    monkeypatch.setattr(load_class(training.ref), "__init__", frozen)
    with pytest.raises(UsageError, match="no parameter of Tiny has requires_grad: there is nothing to train"):
        train(training)


def test_a_checkpoint_says_whose_neighbours_were_used(training, tmp_path):
    meta = json.loads((train(training) / "config.json").read_text())["meta"]
    assert meta["neighbours"] == {"image": "colours", "audio": "spectrum"}
    vectors = tmp_path / "mine.npy"
    np.save(vectors, np.eye(5))
    given = replace(training, neighbours={"image": str(vectors)}, out=tmp_path / "other")
    meta = json.loads((train(given) / "config.json").read_text())["meta"]
    assert len(meta["neighbours"]["image"]) == 64, "the hash of the file's contents"
    np.save(vectors, np.eye(5)[::-1])
    with pytest.raises(UsageError, match="holds a training of another"):
        train(given)


def test_neighbours_that_nobody_names(training):
    nameless = replace(training, recipe=replace(training.recipe, audio_neighbours=""))
    with pytest.raises(
        UsageError, match=r"by audio, and none are named: run avbench neighbours --split tiny --encoder E"
    ):
        train(nameless)
    assert not training.out.exists()


def test_more_neighbours_than_samples(training, monkeypatch):
    monkeypatch.setattr(load_class(training.ref), "neighbours", 5)
    with pytest.raises(UsageError, match=r"has 4 others to resemble, and k is 5"):
        train(training)


def test_neighbours_for_a_method_without_conceptual_views(training, monkeypatch):
    monkeypatch.setattr(load_class(training.ref), "views", ("augmented",))
    with pytest.raises(UsageError, match="learner as it is set reads no conceptual views: leave --neighbours out"):
        train(replace(training, neighbours={"image": "colours"}))
    untrained = replace(training.recipe, epochs=0)
    with pytest.raises(UsageError, match="reads no conceptual views"):
        train(replace(training, recipe=untrained, neighbours={"image": "colours"}))


RECIPE = """
method = "learner"
split = ""
selection = "last epoch"
summary = "a test"
[values]
epochs = { used = 1 }
batch_size = { used = 2 }
optimizer = { used = "adam" }
lr = { used = 0.1 }
weight_decay = { used = 0.0 }
schedule = { used = "constant" }
images = { used = "squash" }
augment = { used = [] }
image_neighbours = { used = "colours" }
"""


def test_the_command_takes_neighbours(capsys, training, tiny_set, tmp_path):
    place, table = tmp_path / "mine.toml", tmp_path / "table.safetensors"
    place.write_text(RECIPE)
    plugin = f"{training.ref.source}:Tiny"
    command = ["train", "--method", plugin, "--split", str(tiny_set), "--recipe", str(place), "--device", "cpu"]
    assert main(command) == 2
    assert (
        "by audio, and none are named: run avbench neighbours --split tiny --encoder E -k 2" in capsys.readouterr().err
    )
    assert main(["neighbours", "--split", str(tiny_set), "--encoder", "spectrum", "-k", "2", "--out", str(table)]) == 0
    named = [*command, "--neighbours", f"audio={table}"]
    assert main(named) == 0
    assert "training learner on tiny (1 epochs): 2" in capsys.readouterr().err
    assert main(named) == 0
    assert "trained already" in capsys.readouterr().err
    assert main([*command, "--neighbours", f"image={table}", "--neighbours", "audio=spectrum"]) == 1
    assert f"expected neighbours by image in {table}, which holds those by audio" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["image"], ["image="], ["smell=x"], ["image=x", "image=y"]])
def test_neighbours_that_cannot_be_read(capsys, training, tiny_set, given):
    command = ["train", "--method", f"{training.ref.source}:Tiny", "--split", str(tiny_set)]
    assert main([*command, *(part for item in given for part in ("--neighbours", item))]) == 2
    assert (
        f"expected --neighbours image=SOURCE and audio=SOURCE, each once, got {given[-1]!r}" in capsys.readouterr().err
    )


def test_a_window_at_random_is_refused_in_testing(split):
    from avbench.data.loader import iterate_batches

    with pytest.raises(AvbenchError, match="a window at random is for training alone"):
        list(iterate_batches(split, [0], windows=[ANYWHERE]))
