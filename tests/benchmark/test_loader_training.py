"""Training pairs: crops and order follow seed, epoch and index, whatever decodes or keeps them."""

import multiprocessing
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from avbench.data.batches import Decoded, RawBatch
from avbench.data.decoding import cut, decode_audio, decode_image, decode_image_short_side
from avbench.data.splits import Sample, Split
from avbench.data.training_set import Neighbours, TrainingOptions, TrainingSet, iterate_training
from avbench.errors import AvbenchError, UsageError
from avbench.types import Window

WINDOW = Window(0.2)
N = 9
PLENTY = 10**9


@pytest.fixture
def split(tmp_path: Path) -> Split:
    rng = np.random.default_rng(0)
    samples = []
    for i in range(N):
        image, audio = tmp_path / f"{i}.png", tmp_path / f"{i}.wav"
        Image.fromarray(rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)).save(image)
        soundfile.write(audio, rng.standard_normal(4000) * 0.1, 16000)
        samples.append(Sample(f"s{i}", image, audio, ((0.0, 0.0, 1.0, 1.0),), "bell"))
    return Split("pairs", "", tuple(samples), "", N, has_media=True, source="")


def pairs(split: Split, *, seed: int = 0, **options) -> TrainingSet:
    return TrainingSet(split, [WINDOW], seed=seed, options=TrainingOptions(**options))


def epoch_of(training_set: TrainingSet, *, epoch: int = 0, batch_size: int = 4, workers: int = 0) -> list[RawBatch]:
    return list(iterate_training(training_set, epoch=epoch, batch_size=batch_size, workers=workers))


def images(batches: list[RawBatch]) -> torch.Tensor:
    return torch.cat([b.image for b in batches if b.image is not None])


def assert_same(one: list[RawBatch], two: list[RawBatch]) -> None:
    assert [b.indices for b in one] == [b.indices for b in two]
    for a, b in zip(one, two, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.tensors(), b.tensors(), strict=True))


def test_an_epoch_is_a_shuffle_without_its_remainder(split: Split) -> None:
    batches = epoch_of(pairs(split))
    seen = [i for b in batches for i in b.indices]
    assert [len(b.ids) for b in batches] == [4, 4]
    assert len(set(seen)) == 8
    assert seen != sorted(seen)
    assert batches[0].ids == [f"s{i}" for i in batches[0].indices]
    assert sorted(pairs(split).order(3)) == list(range(N))


def test_workers_and_cache_change_nothing(split: Split) -> None:
    for epoch in (0, 1):
        expected = epoch_of(pairs(split), epoch=epoch)
        for options, workers in (({}, 2), ({"cache_bytes": PLENTY}, 0), ({"cache_bytes": PLENTY}, 2)):
            assert_same(epoch_of(pairs(split, **options), epoch=epoch, workers=workers), expected)


def test_later_epochs_from_the_cache_are_the_same(split: Split) -> None:
    kept = pairs(split, cache_bytes=PLENTY)
    for epoch in (2, 0, 1, 2):
        assert_same(epoch_of(kept, epoch=epoch), epoch_of(pairs(split), epoch=epoch))
    assert kept.cached


def test_the_cache_spares_the_files(split: Split) -> None:
    kept = pairs(split, cache_bytes=PLENTY)
    first = epoch_of(kept)
    for sample in split.samples:
        assert sample.image is not None
        sample.image.unlink()
    assert_same(epoch_of(kept), first)
    with pytest.raises(AvbenchError, match=r"1 of 9 samples of pairs cannot be decoded, .* found nothing"):
        epoch_of(pairs(split))


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_set_that_does_not_fit_is_not_kept(split: Split, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avbench.data.training_set.FILL_BATCH", 3)
    needed = N * (3 * 246 * 287 + 4 * 3200)
    small, enough = pairs(split, cache_bytes=int(share * needed)), pairs(split, cache_bytes=needed)
    assert_same(epoch_of(small), epoch_of(enough))
    assert not small.cached
    assert enough.cached


def test_seed_and_epoch_move_order_and_crops(split: Split) -> None:
    base, other_epoch, other_seed = (
        epoch_of(pairs(split)),
        epoch_of(pairs(split), epoch=1),
        epoch_of(pairs(split, seed=1)),
    )
    orders = [tuple(i for b in batches for i in b.indices) for batches in (base, other_epoch, other_seed)]
    assert len(set(orders)) == 3
    crops = [pairs(split, seed=s).pair(0, epoch=e).image for s, e in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert not np.array_equal(crops[0], crops[1])
    assert not np.array_equal(crops[0], crops[2])
    np.testing.assert_array_equal(crops[0], crops[3])


def test_crops_are_parts_of_the_resized_picture(split: Split) -> None:
    image = split.samples[2].image
    assert image is not None
    whole = decode_image_short_side(image)
    crop = pairs(split).pair(2, epoch=5).image
    assert crop is not None
    assert crop.shape == (3, 224, 224)
    windows = np.lib.stride_tricks.sliding_window_view(whole, (3, 224, 224))[0]
    assert any(np.array_equal(window, crop) for row in windows for window in row)


def test_without_crop_pictures_are_as_in_testing(split: Split) -> None:
    (batch, *_) = epoch_of(pairs(split, crop=False))
    assert batch.image is not None
    for row, index in enumerate(batch.indices):
        image, audio = split.samples[index].image, split.samples[index].audio
        assert image is not None
        assert audio is not None
        np.testing.assert_array_equal(batch.image[row], decode_image(image))
        np.testing.assert_array_equal(batch.waveforms[WINDOW][row], cut(*decode_audio(audio), WINDOW))


def test_pairs_may_be_silent(split: Split) -> None:
    (batch, *_) = epoch_of(TrainingSet(split, [], seed=0))
    assert (batch.waveforms, batch.rate) == ({}, 0)


@pytest.mark.parametrize(("batch_size", "n"), [(10, 9), (0, 9)])
def test_a_batch_that_cannot_be_filled_is_refused(split: Split, batch_size: int, n: int) -> None:
    with pytest.raises(UsageError, match=f"a batch of {batch_size} cannot be drawn from {n} pairs"):
        iterate_training(pairs(split), epoch=0, batch_size=batch_size)


WAYS = [({}, 0), ({}, 2), ({"cache_bytes": PLENTY}, 0), ({"cache_bytes": PLENTY}, 2)]
"""Options and workers that must not change a batch."""

EVERYWHERE = Window(0.1, "random")
MANY = 200
NEIGHBOURS = Neighbours(
    image=np.array([[(i + step) % MANY for step in (1, 2)] for i in range(MANY)], dtype=np.int32),
    audio=np.array([[(i + step) % MANY for step in (3, 4)] for i in range(MANY)], dtype=np.int32),
)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small pictures and sounds of many pairs; ``3`` has no good picture, ``77`` no good sound."""
    root = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    for folder in ("frames", "audio"):
        (root / folder).mkdir()
    for i in range(MANY):
        Image.fromarray(rng.integers(0, 256, (9, 10, 3), dtype=np.uint8)).save(root / f"frames/{i}.png")
        soundfile.write(root / f"audio/{i}.wav", rng.standard_normal(2000) * 0.1, 16000)
    (root / "frames/3.png").write_bytes(b"no picture")
    (root / "audio/77.wav").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def many(media: Path) -> Split:
    return split_of([f"{i}" for i in range(MANY)], media)


@pytest.fixture(scope="module")
def whole(many: Split) -> list[RawBatch]:
    """An epoch without workers or cache."""
    return list(iterate_training(many_pairs(many), epoch=3, batch_size=9))


def split_of(names: list[str], root: Path) -> Split:
    samples = tuple(Sample(f"s{n}", root / f"frames/{n}.png", root / f"audio/{n}.wav", (), "bell") for n in names)
    return Split("many", "", samples, "", len(samples), has_media=True, source="")


def many_pairs(split: Split, *, neighbours: Neighbours | None = NEIGHBOURS, **options) -> TrainingSet:
    windows = (Window(0.1), EVERYWHERE)
    options = {"crop": False, **options}
    return TrainingSet(split, windows, seed=5, options=TrainingOptions(**options), neighbours=neighbours)


def assert_all_same(one: list[RawBatch], two: list[RawBatch]) -> None:
    assert_same(one, two)
    assert [(b.ids, b.places, b.broken, b.rate) for b in one] == [(b.ids, b.places, b.broken, b.rate) for b in two]
    assert all((a.partner is None) == (b.partner is None) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(("options", "workers"), WAYS)
def test_an_epoch_goes_on_from_any_batch(many: Split, whole: list[RawBatch], options: dict, workers: int) -> None:
    start = max(step for step, batch in enumerate(whole) if batch.broken)
    assert 0 < start < len(whole) - 1
    pairs = many_pairs(many, **options)
    for begin in (start, len(whole) - 1, len(whole)):
        rest = list(iterate_training(pairs, epoch=3, batch_size=9, start=begin, workers=workers))
        assert_all_same(rest, whole[begin:])


def test_crops_are_the_same_after_going_on(split: Split) -> None:
    whole = epoch_of(pairs(split), batch_size=2)
    rest = list(iterate_training(pairs(split), epoch=0, batch_size=2, start=2))
    assert_all_same(rest, whole[2:])
    assert rest[0].places != whole[0].places


def test_batches_passed_over_open_no_file(split: Split) -> None:
    first, *rest = epoch_of(pairs(split))
    for index in first.indices:
        image = split.samples[index].image
        assert isinstance(image, Path)
        image.unlink()
    assert_same(list(iterate_training(pairs(split), epoch=0, batch_size=4, start=1)), rest)


@pytest.mark.parametrize("start", [-1, 3])
def test_an_epoch_cannot_begin_outside_itself(split: Split, start: int) -> None:
    with pytest.raises(UsageError, match=f"an epoch of 2 batches cannot begin at batch {start}: begin at 0 to its end"):
        iterate_training(pairs(split), epoch=0, batch_size=4, start=start)


def test_a_broken_pair_leaves_its_batch_one_shorter(many: Split, media: Path) -> None:
    """And every other pair is what it is without it."""
    training_set = many_pairs(many, neighbours=None)
    batches = list(iterate_training(training_set, epoch=0, batch_size=10))
    order = training_set.order(0)
    for step, batch in enumerate(batches):
        expected = [i for i in order[10 * step : 10 * step + 10] if i not in {3, 77}]
        assert batch.indices == expected
        assert len(batch.ids) + len(batch.broken) == 10
        assert batch.image is not None
        for row, index in enumerate(expected):
            np.testing.assert_array_equal(batch.image[row], decode_image(media / f"frames/{index}.png"))
    assert training_set.broken.reasons == dict(b for batch in batches for b in batch.broken)
    reasons = training_set.broken.reasons
    assert reasons.keys() == {"s3", "s77"}
    assert re.match(r".*/frames/3.png cannot be read as a picture .* replace it$", reasons["s3"])
    assert (
        training_set.broken.reasons["s77"]
        == f"{media}/audio/77.wav is empty: expected a wav or flac file, fetch it again"
    )


@pytest.mark.parametrize(("options", "workers"), WAYS)
def test_a_pair_whose_partner_is_broken_is_left_out(many: Split, options: dict, workers: int) -> None:
    """A good picture of a pair without sound is still a partner, and the other way round."""
    batches = list(iterate_training(many_pairs(many, **options), epoch=1, batch_size=10, workers=workers))
    drawn = NEIGHBOURS.partners(seed=5, epoch=1)
    lost = {3, 77} | {i for i in range(MANY) if drawn[i, 0] == 3 or drawn[i, 1] == 77}
    assert lost > {3, 77}
    assert {i for b in batches for i in b.indices} == set(range(MANY)) - lost
    assert {name for b in batches for name, _ in b.broken} == {"s3", "s77"}
    assert sum(len(b.broken) for b in batches) == len(lost)


def test_a_batch_may_lose_all(many: Split) -> None:
    training_set = many_pairs(many, neighbours=None)
    batches = list(iterate_training(training_set, epoch=0, batch_size=1))
    (place,) = (step for step, batch in enumerate(batches) if batch.broken and batch.broken[0][0] == "s3")
    assert training_set.order(0)[place] == 3
    assert (batches[place].ids, batches[place].tensors()) == ([], [])
    assert len(batches) == MANY


@pytest.mark.parametrize(("options", "workers"), WAYS)
def test_more_than_a_hundredth_broken_fail_the_run(media: Path, options: dict, workers: int) -> None:
    split = split_of([f"{i}" for i in range(199)], media)
    with pytest.raises(AvbenchError) as caught:
        list(iterate_training(many_pairs(split, neighbours=None, **options), epoch=0, batch_size=10, workers=workers))
    assert caught.type is AvbenchError
    assert re.fullmatch(
        rf"2 of 199 samples of many cannot be decoded, more than 1% \(s\d+, s\d+; {media}/.*\): "
        rf"mend {media}/audio and {media}/frames, or take these samples off the list",
        str(caught.value),
    )
    assert multiprocessing.active_children() == []


def test_the_same_broken_pair_counts_once(many: Split) -> None:
    training_set = many_pairs(many, neighbours=None)
    for epoch in range(2):
        list(iterate_training(training_set, epoch=epoch, batch_size=10))
    assert len(training_set.broken.reasons) == 2


def test_broken_pairs_known_before_count(many: Split) -> None:
    training_set = many_pairs(many, neighbours=None)
    training_set.broken.reasons["s9"] = "seen before the interruption"
    with pytest.raises(AvbenchError, match=r"3 of 200 samples of many cannot be decoded, more than 1% \(s9, "):
        list(iterate_training(training_set, epoch=0, batch_size=10))


class DyingSet(TrainingSet):
    """Whose decoding kills the process that does it."""

    def pair(self, index: int, **options) -> Decoded:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_dying_worker_is_no_broken_sample(split: Split) -> None:
    training_set = DyingSet(split, [WINDOW], seed=0)
    with pytest.raises(AvbenchError, match="a decoding process died"):
        epoch_of(training_set, workers=1)
    assert training_set.broken.reasons == {}


@pytest.mark.parametrize("options", [{}, {"cache_bytes": PLENTY}])
def test_pairs_without_media_are_refused(options: dict) -> None:
    bare = Split("bare", "", (Sample("s", None, None, ()),), "", 1, has_media=False, source="")
    with pytest.raises(UsageError, match="s was loaded without media: pass --data"):
        epoch_of(TrainingSet(bare, [WINDOW], seed=0, options=TrainingOptions(**options)), batch_size=1)


def test_sounds_mixed_of_two_are_for_testing(split: Split) -> None:
    samples = (replace(split.samples[0], mixed=split.samples[1].audio), *split.samples[1:])
    with pytest.raises(UsageError, match="the sounds of pairs are mixed of two each, for testing"):
        pairs(replace(split, samples=samples))
