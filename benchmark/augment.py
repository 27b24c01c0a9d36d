"""Batched augmentation on the device, each sample with chances of its own.

All chances are drawn from the generator that the caller passes; one on the CPU gives the same augmentation on every
device. Processes that share a batch (:mod:`avbench.nets.company`) draw for all of it, from generators in the same
state, so that a row's augmentation does not depend on their number. Random cropping happens where pictures are decoded
(:mod:`avbench.data.training_set`).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as TF

from avbench.errors import unknown_name
from avbench.nets.company import drawn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PROBABILITY = {"flip": 0.5, "blur": 0.8, "jitter": 0.8, "grayscale": 0.2}
"""Per sample. EZ-VSL, SLAVC and FNAC only flip (``datasets.py``); JSA's ``hard_img`` does all (``dataset.py``)."""

ELSEWHERE = {"crop", "masks", "masks_fixed"}
"""Names in recipes that are not for :func:`augment_images`: cropping is part of decoding, masks are for sounds."""

BLUR_REACH = 2  # kernel of 5 pixels
BLUR_SIGMA = (0.1, 2.0)
JITTER = (0.8, 0.8, 0.8, 0.2)  # brightness, contrast, saturation, hue
MASK_MOST = 10
AREA, RATIO, TRIES = (0.08, 1.0), 4 / 3, 10  # of a random part of a picture


def draw_flips(n: int, names: Collection[str], generator: Generator | None = None) -> Tensor | None:
    """Which of ``n`` pictures are flipped, bool ``[n]``; None, and nothing is drawn, where ``names`` lack ``flip``.

    These are the chances that :func:`augment_images` draws first.
    """
    if "flip" not in names:
        return None
    return _uniform((n,), generator or torch.default_generator) < PROBABILITY["flip"]


def flipped(images: Tensor, chosen: Tensor) -> Tensor:
    """``images``, or maps, with left and right of the ``chosen`` rows exchanged; the last axis is x."""
    return torch.where(chosen.to(images.device).view(-1, *[1] * (images.ndim - 1)), images.flip(-1), images)


def simclr_view(images: Tensor, generator: Generator | None = None) -> Tensor:
    """Another view of each picture, as SimCLR makes one (Chen et al., 2020, appendix A).

    A random part of it (:func:`random_resized_crop`), then flip, blur, jitter and grayscale with the chances and
    ranges of :func:`augment_images`: SimCLR's own but for the blur, which there has a kernel of 23 pixels and a chance
    of a half.

    Args:
        images: ``[B, 3, H, W]``, uint8 or floats in [0, 1].
        generator: as for :func:`augment_images`.

    Returns:
        Floats in [0, 1], ``[B, 3, H, W]``.
    """
    return augment_images(random_resized_crop(images, generator), tuple(PROBABILITY), generator)


def random_resized_crop(images: Tensor, generator: Generator | None = None) -> Tensor:
    """A part of each picture at the size of the whole, as torchvision's ``RandomResizedCrop`` draws it.

    The part's share of the area is uniform in [0.08, 1], its ratio of width to height log-uniform in [3/4, 4/3]; of
    ten such sizes the first that fits is taken, the whole picture where none does, at a place uniform over all that
    are possible. Resampled bilinearly at real-valued places without antialiasing, where torchvision cuts at whole
    pixels.

    Args:
        images: ``[B, 3, H, W]`` with H = W, uint8 or floats in [0, 1].
        generator: as for :func:`augment_images`.

    Returns:
        Floats in [0, 1], ``[B, 3, H, W]``.
    """
    sizes, corners = _parts(len(images), generator or torch.default_generator)
    images = as_unit(images)
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = sizes.unbind(1)
    theta[:, :, 2] = 2 * corners + sizes - 1  # its centre, in a frame from -1 to 1
    grid = F.affine_grid(theta.to(images.device, images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def augment_images(images: Tensor, names: Collection[str], generator: Generator | None = None) -> Tensor:
    """What happens to pictures between crop and normalisation, each with its :data:`PROBABILITY`.

    ``flip``: left and right exchanged. ``blur``: Gaussian of 5 x 5 pixels, sigma uniform in [0.1, 2], borders
    reflected. ``jitter``: brightness, contrast and saturation by factors uniform in [0.2, 1.8], hue by a shift
    uniform in [-0.2, 0.2] of the circle, in an order of each sample's own. ``grayscale``: colours to luminance.
    They follow each other in this order. Torchvision's transforms do the same to one 8-bit picture at a time; here
    values stay floats, so results differ from theirs by up to half a level per step.

    Args:
        images: ``[B, 3, H, W]``, uint8 or floats in [0, 1].
        names: any of the four; those of :data:`ELSEWHERE` are passed over.
        generator: source of chance; None is torch's global one on the CPU.

    Returns:
        ``[B, 3, H, W]``: uint8 where uint8 was only flipped, else floats in [0, 1].

    Raises:
        UsageError: for another name.
    """
    for name in names:
        if name not in PROBABILITY and name not in ELSEWHERE:
            known = [*PROBABILITY, *sorted(ELSEWHERE)]
            raise unknown_name("augmentation", name, known, f"of {', '.join(known)} the list")
    generator = generator or torch.default_generator
    for name, change in _CHANGES.items():
        if name in names:
            images = change(images, _uniform((len(images),), generator) < PROBABILITY[name], generator)
    return images


def mask_spectrograms(
    spectrograms: Tensor, generator: Generator | None = None, *, axes: Literal["official", "fixed"] = "official"
) -> Tensor:
    """One frequency and one time mask per spectrogram, as FNAC and JSA (``hard_aud``) train.

    Each mask covers 0 to 9 neighbouring rows or columns, which are set to 0: in the log domain, before the division
    by 12, and hence after it as well.

    Args:
        spectrograms: ``[B, 1, F, T]``, left as they are.
        generator: as for :func:`augment_images`.
        axes: ``"official"`` draws the start of the frequency mask from the number of frames and that of the time
            mask from the number of bins, as the official code does: with 257 bins and 501 frames about half of the
            frequency masks are empty and the last frames are never masked. ``"fixed"`` draws each from its own axis.

    Returns:
        ``[B, 1, F, T]``.
    """
    bins, frames = spectrograms.shape[-2:]
    starts = (frames, bins) if axes == "official" else (bins, frames)
    generator = generator or torch.default_generator
    rows, columns = (
        _band(spectrograms, size=size, start_below=below, generator=generator)
        for size, below in zip((bins, frames), starts, strict=True)
    )
    return spectrograms.masked_fill(rows[:, None, :, None] | columns[:, None, None, :], 0.0)


def as_unit(images: Tensor) -> Tensor:
    """uint8 to float32 in [0, 1]; floats are returned as they are."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def normalise(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """ImageNet normalisation as torchvision's ``ToTensor`` and ``Normalize`` do it.

    Args:
        images: ``[B, 3, H, W]``, uint8 or floats in [0, 1].
        dtype: of the result; uint8 input is computed in float32 and cast.

    Returns:
        ``(images - mean) / std``.
    """
    mean, std = _statistics(images.device)
    unit = as_unit(images)
    centred = unit.sub(mean) if unit is images else unit.sub_(mean)
    return centred.div_(std).to(dtype)


@cache
@torch.inference_mode(False)
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return mean, std


def _uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """In [0, 1); the first axis of ``shape`` counts the samples."""
    return drawn(shape[0], lambda n: torch.rand(n, *shape[1:], generator=generator, device=generator.device))


def _below(most: int, n: int, generator: Generator) -> Tensor:
    """Whole numbers in [0, most), ``[n, 1]``."""
    return drawn(n, lambda rows: torch.randint(most, (rows, 1), generator=generator, device=generator.device))


def _band(like: Tensor, *, size: int, start_below: int, generator: Generator) -> Tensor:
    """``[B, size]`` on the device of ``like``, True where masked."""
    start = _below(start_below, len(like), generator)
    width = _below(MASK_MOST, len(like), generator)
    place = torch.arange(size, device=generator.device)
    return ((place >= start) & (place < start + width)).to(like.device)


def _parts(n: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Width and height of a part of each picture, and its left and top: two of ``[n, 2]``, in shares of the frame."""
    chance = _uniform((n, TRIES, 2), generator).cpu()
    area = AREA[0] + (AREA[1] - AREA[0]) * chance[..., 0]
    ratio = torch.exp(math.log(RATIO) * (2 * chance[..., 1] - 1))
    sizes = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], dim=2)
    fits = (sizes <= 1).all(2)
    sizes = torch.where(fits[..., None], sizes, 1.0)
    first = sizes[torch.arange(n), fits.int().argmax(1)]
    return first, _uniform((n, 2), generator).cpu() * (1 - first)


def _flip(images: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    return flipped(images, chosen)


def _grayscale(images: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    images = as_unit(images)
    return torch.where(_per_picture(chosen, images), _luminance(images), images)


def _per_picture(chosen: Tensor, images: Tensor) -> Tensor:
    return chosen.to(images.device).view(-1, 1, 1, 1)


def _blur(images: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    images = as_unit(images)
    low, high = BLUR_SIGMA
    sigma = (low + (high - low) * _uniform((len(images),), generator)).to(images.device, images.dtype)
    place = torch.arange(-BLUR_REACH, BLUR_REACH + 1, device=images.device)
    weights = torch.exp(-0.5 * (place / sigma[:, None]).square())
    weights = torch.where(chosen.to(images.device)[:, None], weights / weights.sum(1, keepdim=True), place == 0)
    kernels = (weights[:, :, None] * weights[:, None, :]).repeat_interleave(images.shape[1], 0)
    padded = F.pad(images, [BLUR_REACH] * 4, mode="reflect").flatten(0, 1)
    return F.conv2d(padded, kernels.unsqueeze(1), groups=len(padded)).view_as(images)


def _jitter(images: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    """Torchvision's ``ColorJitter``: the four changes in an order of each sample's own."""
    images, n = as_unit(images).clone(), len(images)
    spread = torch.tensor(JITTER, device=generator.device)
    centre = torch.tensor([1.0, 1.0, 1.0, 0.0], device=generator.device)
    factors = centre + spread * (2 * _uniform((n, 4), generator) - 1)
    order = _uniform((n, 4), generator).argsort(1)
    for turn in range(4):
        for kind, change in enumerate((_brightness, _contrast, _saturation, _hue)):
            rows = (chosen & (order[:, turn] == kind)).nonzero().squeeze(1)
            factor = factors[rows, kind].to(images.device, images.dtype).view(-1, 1, 1, 1)
            rows = rows.to(images.device)
            images[rows] = change(images[rows], factor)
    return images


def _brightness(images: Tensor, factor: Tensor) -> Tensor:
    return (images * factor).clamp_(0, 1)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(_luminance(images).mean((1, 2, 3), keepdim=True), images, factor).clamp_(0, 1)


def _saturation(images: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(_luminance(images), images, factor).clamp_(0, 1)


def _luminance(images: Tensor) -> Tensor:
    grey: Tensor = TF.rgb_to_grayscale(images)
    return grey


def _hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by ``shift`` of the circle, keeping value and chroma (the HSV hexagon)."""
    red, green, blue = images.unsqueeze(2).unbind(1)
    value = images.amax(1, keepdim=True)
    chroma = value - images.amin(1, keepdim=True)
    scale = torch.where(chroma == 0, 1, chroma)
    sector = torch.where(
        value == red,
        (green - blue) / scale,
        torch.where(value == green, 2 + (blue - red) / scale, 4 + (red - green) / scale),
    )
    offset = torch.tensor([5.0, 3.0, 1.0], device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    place = (offset + sector + 6 * shift) % 6
    return value - chroma * torch.minimum(place, 4 - place).clamp_(0, 1)


_CHANGES = {"flip": _flip, "blur": _blur, "jitter": _jitter, "grayscale": _grayscale}
"""In the order in which they happen. JSA flips after the blur, which changes nothing: the kernel is symmetric."""
