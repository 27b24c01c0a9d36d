"""Batched augmentation on the device, each sample with chances of its own.

All chances are drawn from the generator that the caller passes; one on the CPU gives the same augmentation on every
device. Random cropping happens where pictures are decoded (:mod:`avbench.data.training_set`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as TF

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

BLUR_REACH = 2  # kernel of 5 pixels
BLUR_SIGMA = (0.1, 2.0)
JITTER = (0.8, 0.8, 0.8, 0.2)  # brightness, contrast, saturation, hue


@dataclass(frozen=True)
class ImageAugment:
    """Probabilities of what happens to a picture after the crop, in this order.

    The defaults are those of EZ-VSL, SLAVC and FNAC (``datasets.py``); :data:`HARD_IMAGE` is JSA's ``hard_img``.
    Torchvision's transforms do the same one picture at a time on 8-bit values; here values stay floats, so a blurred
    or jittered picture differs by up to half a level per step.
    """

    blur: float = 0.0
    """Gaussian of 5 x 5 pixels, sigma uniform in [0.1, 2], borders reflected."""
    flip: float = 0.5
    """Left and right exchanged."""
    jitter: float = 0.0
    """Brightness, contrast, saturation (factors uniform in [0.2, 1.8]) and hue (shift in [-0.2, 0.2]), any order."""
    grey: float = 0.0
    """Colours to luminance."""

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Augment a batch.

        Args:
            images: ``[B, 3, H, W]``, uint8 or floats in [0, 1].
            generator: source of chance.

        Returns:
            ``[B, 3, H, W]`` in [0, 1], float32 for uint8 input, else in the input's dtype.
        """
        images = as_unit(images)
        if self.blur:
            images = _blur(images, _chosen(images, self.blur, generator), generator)
        if self.flip:
            images = torch.where(_chosen(images, self.flip, generator), images.flip(-1), images)
        if self.jitter:
            images = _jitter(images, _uniform(len(images), generator) < self.jitter, generator)
        if self.grey:
            grey = TF.rgb_to_grayscale(images, num_output_channels=3)
            images = torch.where(_chosen(images, self.grey, generator), grey, images)
        return images


HARD_IMAGE = ImageAugment(blur=0.8, jitter=0.8, grey=0.2)


@dataclass(frozen=True)
class SpectrogramMask:
    """One frequency and one time mask per spectrogram, as FNAC and JSA (``hard_aud``) train.

    Each mask covers 0 to ``most - 1`` neighbouring rows or columns, which are set to 0: in the log domain, before
    the division by 12, and hence after it as well.

    ``axes="official"`` draws the start of the frequency mask from the number of frames and that of the time mask
    from the number of bins, as the official code does: with 257 bins and 501 frames about half of the frequency
    masks are empty and the last frames are never masked. ``"fixed"`` draws each from its own axis.
    """

    most: int = 10
    axes: Literal["official", "fixed"] = "official"

    def __call__(self, spectrograms: Tensor, generator: Generator) -> Tensor:
        """Mask ``[B, 1, F, T]``, which is left as it is; the result has the same shape."""
        bins, frames = spectrograms.shape[-2:]
        ranges = (frames, bins) if self.axes == "official" else (bins, frames)
        rows = self._band(spectrograms, size=bins, start_below=ranges[0], generator=generator)
        columns = self._band(spectrograms, size=frames, start_below=ranges[1], generator=generator)
        return spectrograms.masked_fill(rows[:, None, :, None] | columns[:, None, None, :], 0.0)

    def _band(self, like: Tensor, *, size: int, start_below: int, generator: Generator) -> Tensor:
        """``[B, size]``, True where masked."""
        shape, device = (len(like), 1), generator.device
        start = torch.randint(start_below, shape, generator=generator, device=device)
        width = torch.randint(self.most, shape, generator=generator, device=device)
        place = torch.arange(size, device=device)
        return ((place >= start) & (place < start + width)).to(like.device)


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
    return as_unit(images).sub(mean).div_(std).to(dtype)


@cache
@torch.inference_mode(False)
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return mean, std


def _uniform(n: int, generator: Generator) -> Tensor:
    return torch.rand(n, generator=generator, device=generator.device)


def _chosen(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """``[B, 1, 1, 1]``, True with ``probability``."""
    return (_uniform(len(images), generator) < probability).to(images.device).view(-1, 1, 1, 1)


def _blur(images: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    low, high = BLUR_SIGMA
    sigma = (low + (high - low) * _uniform(len(images), generator)).to(images.device, images.dtype)
    place = torch.arange(-BLUR_REACH, BLUR_REACH + 1, device=images.device)
    weights = torch.exp(-0.5 * (place / sigma[:, None]).square())
    weights = torch.where(chosen.view(-1, 1), weights / weights.sum(1, keepdim=True), place == 0)
    kernels = (weights[:, :, None] * weights[:, None, :]).repeat_interleave(images.shape[1], 0)
    padded = F.pad(images, [BLUR_REACH] * 4, mode="reflect").flatten(0, 1)
    return F.conv2d(padded, kernels.unsqueeze(1), groups=len(padded)).view_as(images)


def _jitter(images: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    """Torchvision's ``ColorJitter``: the four changes in an order of each sample's own."""
    n = len(images)
    spread = torch.tensor(JITTER, device=generator.device)
    centre = torch.tensor([1.0, 1.0, 1.0, 0.0], device=generator.device)
    factors = centre + spread * (2 * torch.rand(n, 4, generator=generator, device=generator.device) - 1)
    order = torch.rand(n, 4, generator=generator, device=generator.device).argsort(1)
    images = images.clone()
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
    return TF.rgb_to_grayscale(images)


def _hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by ``shift`` of the circle, keeping value and chroma (the HSV hexagon)."""
    red, green, blue = images.split(1, dim=1)
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
