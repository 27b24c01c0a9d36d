"""Augmentation against torchvision one picture at a time, and its chances against what is promised."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from avbench import augment
from avbench.augment import augment_images, mask_spectrograms, normalise
from avbench.errors import UsageError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 4, height: int = 20, width: int = 24) -> Tensor:
    return torch.rand(n, 3, height, width, generator=seeded(9))


def column(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("ours", "torchvision", "factors"),
    [
        (augment._brightness, TF.adjust_brightness, (0.2, 0.7, 1.0, 1.8)),
        (augment._contrast, TF.adjust_contrast, (0.2, 0.7, 1.0, 1.8)),
        (augment._saturation, TF.adjust_saturation, (0.2, 0.7, 1.0, 1.8)),
        (augment._hue, TF.adjust_hue, (-0.2, -0.05, 0.0, 0.2)),
    ],
)
def test_jitter_equals_torchvision_per_picture(ours, torchvision, factors) -> None:
    images = pictures()
    images[:, :, :3] = 0.4  # grey cells have no hue
    expected = torch.stack([torchvision(image, factor) for image, factor in zip(images, factors, strict=True)])
    torch.testing.assert_close(ours(images, column(*factors)), expected, rtol=0, atol=2e-6)


def test_blur_equals_torchvision_per_picture() -> None:
    images = pictures(6)
    chosen = torch.tensor([True, True, False, True, True, True])
    came = augment._blur(images, chosen, seeded(3))
    sigmas = 0.1 + 1.9 * torch.rand(6, generator=seeded(3))
    for image, blurred, sigma, is_chosen in zip(images, came, sigmas, chosen, strict=True):
        expected = TF.gaussian_blur(image, [5, 5], [float(sigma)] * 2) if is_chosen else image
        torch.testing.assert_close(blurred, expected, rtol=0, atol=1e-6)


def test_jitter_applies_the_four_changes_in_each_pictures_own_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """With changes that append a digit, a picture's value spells the order in which it met them."""

    def append(digit: int, images: Tensor, factor: Tensor) -> Tensor:
        return images * 10 + digit

    for digit, name in enumerate(("_brightness", "_contrast", "_saturation", "_hue"), start=1):
        monkeypatch.setattr(augment, name, partial(append, digit))
    chosen = torch.tensor([True] * 40 + [False])
    came = augment._jitter(torch.zeros(41, 3, 1, 1), chosen, seeded())[:, 0, 0, 0].int().tolist()
    assert came[-1] == 0
    assert all(sorted(str(value)) == ["1", "2", "3", "4"] for value in came[:-1])
    assert len(set(came[:-1])) > 12


@pytest.mark.parametrize(("name", "probability"), [("flip", 0.5), ("blur", 0.8), ("jitter", 0.8), ("grayscale", 0.2)])
def test_each_change_meets_its_share_of_pictures(name: str, probability: float) -> None:
    images = pictures(1, 6, 6).expand(600, -1, -1, -1)
    changed = (augment_images(images, [name], seeded()) != images).flatten(1).any(1)
    assert abs(changed.float().mean().item() - probability) < 0.06


def test_flipped_pictures_are_mirrored() -> None:
    images = pictures(40)
    came = augment_images(images, ["flip", "crop", "masks"], seeded())
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(came, images, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(came, images, strict=True)]
    assert [a != b for a, b in zip(mirrored, kept, strict=True)] == [True] * 40
    assert 10 < sum(mirrored) < 30


def test_grayscale_has_three_equal_channels() -> None:
    came = augment_images(pictures(60), ["grayscale"], seeded())
    grey = (came[:, :1] == came).flatten(1).all(1)
    torch.testing.assert_close(came[grey], TF.rgb_to_grayscale(pictures(60), 3)[grey])
    assert 0 < grey.sum() < 40


def test_all_stays_in_range_and_follows_the_generator_alone() -> None:
    images = (pictures(8) * 255).to(torch.uint8)
    names = ["flip", "blur", "jitter", "grayscale"]
    first, second = (augment_images(images, names, seeded(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, augment_images(images, names, seeded(6)))
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(images, (pictures(8) * 255).to(torch.uint8)), "the input was changed"


def test_without_a_generator_the_global_one_is_used() -> None:
    torch.manual_seed(4)
    came = augment_images(pictures(), ["flip", "jitter"])
    assert torch.equal(came, augment_images(pictures(), ["flip", "jitter"], torch.Generator().manual_seed(4)))


def test_only_flipped_bytes_stay_bytes() -> None:
    images = (pictures(3) * 255).to(torch.uint8)
    assert augment_images(images, ["flip"], seeded()).dtype == torch.uint8
    assert augment_images(images, [], seeded()) is images


def test_an_unknown_augmentation_names_the_closest() -> None:
    with pytest.raises(UsageError, match="no augmentation called 'grayscal': did you mean grayscale"):
        augment_images(pictures(), ["grayscal"])


def test_normalise_is_torchvisions() -> None:
    images = (pictures() * 255).to(torch.uint8)
    expected = TF.normalize(images.float() / 255, list(augment.IMAGENET_MEAN), list(augment.IMAGENET_STD))
    assert torch.equal(normalise(images), expected)
    assert torch.equal(normalise(images.float() / 255), expected)
    assert torch.equal(normalise(images, torch.float64), expected.double())
    assert normalise(images, torch.bfloat16).dtype == torch.bfloat16


def masked(came: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns that are wholly zero, ``[B, F]`` and ``[B, T]``."""
    zero = came[:, 0] == 0
    return zero.all(2), zero.all(1)


@pytest.mark.parametrize("axes", ["official", "fixed"])
def test_masks_are_single_bands_of_nought_to_nine(axes) -> None:
    came = mask_spectrograms(torch.ones(300, 1, 40, 60), seeded(), axes=axes)
    assert set(came.unique().tolist()) == {0.0, 1.0}
    for bands in masked(came):
        widths = bands.sum(1)
        edges = (bands[:, 1:] != bands[:, :-1]).sum(1) + bands[:, 0] + bands[:, -1]
        assert set(widths.tolist()) == set(range(10))
        assert set(edges.tolist()) == {0, 2}
    rows, columns = masked(came)
    assert torch.equal(came[:, 0] == 0, rows[:, :, None] | columns[:, None, :])


def test_official_axes_are_swapped() -> None:
    """With 20 bins and 60 frames, starts of the frequency mask reach 59, those of the time mask end at 19."""
    tall = torch.ones(2000, 1, 20, 60)
    rows, columns = masked(mask_spectrograms(tall, seeded(), axes="official"))
    assert not columns[:, 19 + 9 :].any()
    assert (rows.sum(1) == 0).float().mean() > 0.6
    rows, columns = masked(mask_spectrograms(tall, seeded(), axes="fixed"))
    assert columns[:, -1].any()
    assert (rows.sum(1) == 0).float().mean() < 0.2


def test_masking_leaves_its_input() -> None:
    spectrograms = torch.full((4, 1, 30, 30), -1.3)
    mask_spectrograms(spectrograms, seeded())
    assert (spectrograms == np.float32(-1.3)).all()


def parts_drawn(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Corners of the parts that are cropped, read from pictures whose first two channels are x and y in pixels."""
    side = 32
    x = (torch.arange(side) + 0.5).expand(side, side)
    ramps = torch.stack([x, x.T, torch.zeros(side, side)]) / side
    came = augment.random_resized_crop(ramps.expand(n, 3, side, side), seeded(seed))
    inner = torch.stack([came[:, 0, 0, 8], came[:, 1, 8, 0], came[:, 0, 0, 23], came[:, 1, 23, 0]], dim=1)
    step = (inner[:, 2:] - inner[:, :2]) / 15  # in shares of the frame, away from the borders
    begin = inner[:, :2] - 8.5 * step
    return begin, begin + side * step


def test_a_random_part_lies_in_the_picture_with_the_promised_sizes() -> None:
    begin, end = parts_drawn(3000)
    width, height = (end - begin).unbind(1)
    area, ratio = width * height, width / height
    assert begin.min() > -1e-4
    assert end.max() < 1 + 1e-4
    assert 0.08 - 1e-3 < area.min() < 0.09
    assert 0.95 < area.max() < 1 + 1e-3
    assert 0.74 < ratio.min() < 0.76
    assert 1.32 < ratio.max() < 1.34
    assert abs((area < 0.4).float().mean() - 0.37) < 0.04, "of 0.08 to 1 a third, and large parts rarely fit"
    free = 1 - (end - begin)
    share = (begin / free)[free > 0.05]
    assert share.min() < 0.02
    assert share.max() > 0.98
    assert abs(share.mean() - 0.5) < 0.02


def test_a_random_part_is_magnified() -> None:
    image = pictures(1, 20, 20)
    ((left, top),), ((right, bottom),) = augment._parts(1, seeded(4))[1], sum(augment._parts(1, seeded(4)))
    came = augment.random_resized_crop(image, seeded(4))
    for row, column_ in ((0, 0), (7, 12), (19, 19)):
        x = float(left + (right - left) * (column_ + 0.5) / 20) * 20 - 0.5
        y = float(top + (bottom - top) * (row + 0.5) / 20) * 20 - 0.5
        at = [min(max(v, 0), 19) for v in (x, y)]
        x0, y0 = (min(int(v), 18) for v in at)
        dx, dy = at[0] - x0, at[1] - y0
        upper = image[0, :, y0, x0] * (1 - dx) + image[0, :, y0, x0 + 1] * dx
        lower = image[0, :, y0 + 1, x0] * (1 - dx) + image[0, :, y0 + 1, x0 + 1] * dx
        torch.testing.assert_close(came[0, :, row, column_], upper * (1 - dy) + lower * dy, atol=1e-4, rtol=0)


def test_another_view_is_cropped_and_then_augmented() -> None:
    images = (pictures(8, 32, 32) * 255).to(torch.uint8)
    came = augment.simclr_view(images, seeded(1))
    generator = seeded(1)
    cropped = augment.random_resized_crop(images, generator)
    assert torch.equal(came, augment_images(cropped, ["flip", "blur", "jitter", "grayscale"], generator))
    assert came.dtype == torch.float32
    assert came.min() >= 0
    assert came.max() <= 1
    assert torch.equal(came, augment.simclr_view(images, seeded(1)))
    assert not torch.equal(came, augment.simclr_view(images, seeded(2)))


def test_flips_can_be_drawn_apart_for_the_truth() -> None:
    images, maps = pictures(50), torch.rand(50, 20, 24)
    chosen = augment.draw_flips(50, ["blur", "flip"], seeded(2))
    assert chosen is not None
    assert torch.equal(augment.flipped(images, chosen), augment_images(images, ["flip"], seeded(2)))
    for row, turned in enumerate(chosen.tolist()):
        assert torch.equal(augment.flipped(maps, chosen)[row], maps[row].flip(-1) if turned else maps[row])
    assert 10 < int(chosen.sum()) < 40


def test_no_flips_draw_nothing() -> None:
    generator = seeded(5)
    assert augment.draw_flips(9, ["blur"], generator) is None
    assert torch.equal(torch.rand(3, generator=generator), torch.rand(3, generator=seeded(5)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_another_view_is_the_same_on_a_gpu() -> None:
    images = pictures(6, 64, 64)
    came = augment.simclr_view(images.cuda(), seeded(3)).cpu()
    torch.testing.assert_close(came, augment.simclr_view(images, seeded(3)), rtol=0, atol=1e-4)
