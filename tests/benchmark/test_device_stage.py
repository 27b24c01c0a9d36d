"""What happens to a training batch on the device: each row for itself, and the same whoever decoded it."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch import Tensor

from avbench.augment import augment_images, mask_spectrograms, normalise, random_resized_crop, simclr_view
from avbench.data.batches import RawBatch
from avbench.data.splits import Sample, Split
from avbench.data.training_set import Neighbours, TrainingOptions, TrainingSet, iterate_training
from avbench.frontends import ScipySpectrogram
from avbench.preparing import prepare, training_windows
from avbench.recipe import load_recipe
from avbench.types import Batch, Window

N = 10
ALL = ("flip", "blur", "jitter", "grayscale", "masks")
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")


class Learner:
    """What :func:`prepare` asks of a method that reads every view."""

    frontend = ScipySpectrogram(window=Window(0.2))
    views = ("augmented", "conceptual")
    wants_truth = True


RECIPE = replace(load_recipe("any", "demo"), images="crop", augment=ALL)


@pytest.fixture
def split(tmp_path) -> Split:
    rng = np.random.default_rng(0)
    samples = []
    for i in range(N):
        image, audio = tmp_path / f"{i}.png", tmp_path / f"{i}.wav"
        Image.fromarray(rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)).save(image)
        soundfile.write(audio, rng.standard_normal(6000) * 0.1, 16000)
        samples.append(Sample(f"s{i}", image, audio, ((0.1, 0.1, 0.7, 0.8),), "bell"))
    return Split("pairs", "", tuple(samples), "", N, has_media=True, source="")


def raw_batches(split: Split, *, workers: int = 0, device: str = "cpu", **options) -> list[RawBatch]:
    near = np.array([[(i + step) % N for step in (1, 2)] for i in range(N)], dtype=np.int32)
    pairs = TrainingSet(
        split,
        training_windows(Learner()),
        seed=1,
        options=TrainingOptions(**options),
        neighbours=Neighbours(near, near),
    )
    return list(iterate_training(pairs, epoch=0, batch_size=4, workers=workers, device=device))


def prepared(split: Split, raws: list[RawBatch]) -> list[Batch]:
    torch.manual_seed(3)
    return [prepare(raw, Learner(), RECIPE, split.samples) for raw in raws]


def tensors(batch: Batch) -> list[Tensor]:
    assert batch.audio is not None
    assert batch.truth is not None
    return [batch.image, batch.audio, batch.truth, *batch.image_views.values(), *batch.audio_views.values()]


@pytest.mark.parametrize(("options", "workers"), [({}, 2), ({"cache_bytes": 10**9}, 0), ({"cache_bytes": 10**9}, 2)])
def test_batches_are_the_same_whoever_decoded_them(split, options, workers) -> None:
    expected, came = (prepared(split, raw_batches(split, **how)) for how in ({}, {**options, "workers": workers}))
    for one, two in zip(expected, came, strict=True):
        assert one.ids == two.ids
        assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(two), strict=True))


def rows_exchanged(values: Tensor, kept: int) -> Tensor:
    """With other values in all rows but one."""
    others = values.flip(0).clone()
    others[kept] = values[kept]
    return others


PICTURE_CHANGES = {
    "all": lambda images, generator: augment_images(images, ALL, generator),
    **{name: lambda images, generator, name=name: augment_images(images, [name], generator) for name in ALL},
    "part": random_resized_crop,
    "view": simclr_view,
    "normalise": lambda images, generator: normalise(images),
}


@pytest.mark.parametrize("change", PICTURE_CHANGES.values(), ids=PICTURE_CHANGES)
def test_a_picture_is_changed_whatever_lies_beside_it(change) -> None:
    images = torch.randint(256, (6, 3, 32, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = images[..., :32]
    whole = change(images, torch.Generator().manual_seed(5))
    for row in range(len(images)):
        came = change(rows_exchanged(images, row), torch.Generator().manual_seed(5))
        assert torch.equal(came[row], whole[row])


@pytest.mark.parametrize("axes", ["official", "fixed"])
def test_a_spectrogram_is_masked_whatever_lies_beside_it(axes) -> None:
    spectrograms = torch.randn(6, 1, 40, 50, generator=torch.Generator().manual_seed(0))
    whole = mask_spectrograms(spectrograms, torch.Generator().manual_seed(5), axes=axes)
    for row in range(6):
        came = mask_spectrograms(rows_exchanged(spectrograms, row), torch.Generator().manual_seed(5), axes=axes)
        assert torch.equal(came[row], whole[row])


def test_rows_have_chances_of_their_own() -> None:
    """The same picture in every row comes out in as many ways."""
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).expand(16, -1, -1, -1)
    for change in (simclr_view, lambda images, generator: augment_images(images, ["jitter"], generator)):
        came = change(picture, torch.Generator().manual_seed(5)).flatten(1)
        assert len(came.unique(dim=0)) > 10


def test_a_batch_keeps_what_was_broken_on_its_way() -> None:
    broken = (("s1", "s1.png is empty"),)
    assert RawBatch([], [], None, broken=broken).to(torch.device("cpu")).broken == broken


@NEEDS_GPU
@pytest.mark.parametrize("workers", [0, 2])
def test_training_batches_on_a_gpu_are_the_same(split, workers) -> None:
    expected, came = raw_batches(split), raw_batches(split, workers=workers, device="cuda")
    for one, two in zip(expected, came, strict=True):
        assert (one.ids, one.places, one.broken) == (two.ids, two.places, two.broken)
        assert all(t.is_cuda for t in two.tensors())
        assert all(torch.equal(a, b.cpu()) for a, b in zip(one.tensors(), two.tensors(), strict=True))


@NEEDS_GPU
def test_the_stage_gives_the_same_on_a_gpu(split) -> None:
    expected, came = (prepared(split, raw_batches(split, device=device)) for device in ("cpu", "cuda"))
    for one, two in zip(expected, came, strict=True):
        for a, b in zip(tensors(one), tensors(two), strict=True):
            torch.testing.assert_close(a, b.cpu(), rtol=0, atol=2e-3)
