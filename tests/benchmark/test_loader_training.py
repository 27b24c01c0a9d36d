"""Training pairs: crops and order follow seed, epoch and index, whatever decodes or keeps them."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from avbench.data.batches import RawBatch
from avbench.data.decoding import cut, decode_audio, decode_image, decode_image_short_side
from avbench.data.splits import Sample, Split
from avbench.data.training_set import TrainingOptions, TrainingSet, iterate_training
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
    with pytest.raises(AvbenchError, match="found nothing"):
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


@pytest.mark.parametrize("options", [{}, {"cache_bytes": PLENTY}])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_pair_is_one_sentence(split: Split, options: dict, workers: int) -> None:
    path = split.samples[4].audio
    assert path is not None
    path.write_bytes(b"")
    with pytest.raises(AvbenchError) as caught:
        epoch_of(pairs(split, **options), batch_size=N, workers=workers)
    assert str(caught.value) == f"{path} is empty: expected a wav or flac file, fetch it again"
    assert multiprocessing.active_children() == []


def test_pairs_without_media_are_refused(split: Split) -> None:
    bare = Split("bare", "", (Sample("s", None, None, ()),), "", 1, has_media=False, source="")
    with pytest.raises(UsageError, match="s was loaded without media: pass --data"):
        epoch_of(TrainingSet(bare, [WINDOW], seed=0), batch_size=1)
