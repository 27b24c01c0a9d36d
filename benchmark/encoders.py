"""What tells which samples resemble each other: encoders of pictures and of sounds, two of them without weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.augment import normalise
from avbench.data.loader import LoaderOptions, RawBatch, iterate_batches
from avbench.data.splits import Split
from avbench.errors import AvbenchError, UsageError, unknown_name
from avbench.frontends import PowerSpectrogram
from avbench.nets.resnet import Trunk, imagenet_weights
from avbench.opening import Progress, silent

Modality = Literal["image", "audio"]
MODALITIES: tuple[Modality, ...] = ("image", "audio")
Vectors = NDArray[np.float64]
Encode = Callable[[RawBatch], Tensor]

ENCODERS: dict[str, Modality] = {"resnet18": "image", "colours": "image", "spectrum": "audio"}
"""Encoders by name, and what they encode; any other is a ``.npy`` file."""

SPECTROGRAM = PowerSpectrogram()


@dataclass(frozen=True)
class Encoder:
    """What turns the samples of a split into vectors.

    Attributes:
        name: one of :data:`ENCODERS`, or the path of a ``.npy`` file ``[N, D]`` in the split's order.
        modality: what it sees or hears.
        weights: for ``resnet18`` a file of torchvision's ImageNet weights; None takes it from torchvision's cache.
    """

    name: str
    modality: Modality
    weights: Path | None = None


@dataclass(frozen=True)
class Machine:
    """Where encoders and searches run, with how many decoding processes, and who is told of the progress."""

    device: torch.device
    workers: int = 0
    progress: Progress = silent


def encoder_called(name: str, modality: Modality | None = None, weights: Path | None = None) -> Encoder:
    """The encoder that a request names.

    Raises:
        UsageError: for an unknown name, one of the other modality, a file without a modality, or weights for an
            encoder that has none.
    """
    if weights is not None and name != "resnet18":
        raise UsageError(f"--weights are for resnet18, and {name} has none: leave them out")
    if name.endswith(".npy"):
        if modality is None:
            raise UsageError(f"{name} could hold pictures or sounds: say --modality image or --modality audio")
        if not Path(name).is_file():
            raise UsageError(f"expected the vectors of samples in {name}, found no file there: save it with numpy.save")
        return Encoder(name, modality)
    if name not in ENCODERS:
        raise unknown_name("encoder", name, ENCODERS, "avbench neighbours --help")
    if modality not in {None, ENCODERS[name]}:
        raise UsageError(f"{name} encodes {ENCODERS[name]}, not {modality}: choose another encoder")
    return Encoder(name, ENCODERS[name], weights)


def vectors_of(split: Split, encoder: Encoder, machine: Machine) -> Vectors:
    """A vector of every sample, ``[N, D]``, in the split's order, none of them zero.

    ``resnet18`` is the mean over the cells of the last block, 512-d, of the picture as in testing. ``colours`` is
    :func:`colours`; ``spectrum`` :func:`spectrum` of the middle five seconds at 16 kHz, each dimension standardised
    over the split.

    Raises:
        AvbenchError: for media that cannot be decoded, weights that cannot be had, a file that does not fit the
            split, or a vector that is zero or not finite.
    """
    if encoder.name.endswith(".npy"):
        found = _supplied(Path(encoder.name), len(split.samples))
    else:
        found = _encoded(split, encoder, machine)
    for what, wrong in (("not finite", ~np.isfinite(found).all(1)), ("zero", ~found.any(1))):
        if wrong.any():
            first = split.samples[int(wrong.argmax())].id
            raise AvbenchError(
                f"{encoder.name} gives {int(wrong.sum())} vectors that are {what}, of {first} first: a resemblance to "
                "them means nothing, mend them or choose another encoder"
            )
    return found


def colours(images: Tensor) -> Tensor:
    """How a picture's colours are spread, without where: the joint histogram of four levels per channel.

    Args:
        images: uint8 ``[B, 3, H, W]``.

    Returns:
        float32 ``[B, 64]``: roots of the shares, so that the cosine of two is their Bhattacharyya coefficient.
    """
    level = (images >> 6).long()
    bins = (level[:, 0] * 16 + level[:, 1] * 4 + level[:, 2]).flatten(1)
    counts = torch.zeros(len(bins), 64, device=images.device).scatter_add_(1, bins, torch.ones_like(bins).float())
    return (counts / bins.shape[1]).sqrt()


def spectrum(waveform: Tensor, rate: int) -> Tensor:
    """How loud a sound is per frequency, and how much that changes.

    Args:
        waveform: ``[B, N]`` at ``rate`` Hz.
        rate: in Hz.

    Returns:
        ``[B, 2 * 257]``: mean over time of each band of JSA's log spectrogram, then standard deviation.
    """
    log = SPECTROGRAM(waveform, rate)[:, 0]
    return torch.cat([log.mean(2), log.std(2, correction=0)], dim=1)


def _encoded(split: Split, encoder: Encoder, machine: Machine) -> Vectors:
    encode = _encode(encoder, machine.device)
    heard = [SPECTROGRAM.window] if encoder.modality == "audio" else []
    found: list[Tensor] = []
    n = len(split.samples)
    batches = iterate_batches(
        split, range(n), windows=heard, needs=(encoder.modality,), device=machine.device,
        options=LoaderOptions(workers=machine.workers),
    )  # fmt: skip
    with machine.progress(f"encoding {split.name} with {encoder.name}", n) as advance, torch.inference_mode():
        for raw in batches:
            found.append(encode(raw).cpu())
            advance(len(raw.ids))
    vectors = torch.cat(found).double().numpy()
    return _standardised(vectors) if encoder.name == "spectrum" else vectors


def _encode(encoder: Encoder, device: torch.device) -> Encode:
    if encoder.name == "spectrum":
        return lambda raw: spectrum(raw.waveforms[SPECTROGRAM.window], raw.rate)
    if encoder.name == "colours":
        return lambda raw: colours(_pictures(raw))
    net = Trunk()
    net.load_state_dict(imagenet_weights(encoder.weights))
    net.to(device).eval()
    return lambda raw: net(normalise(_pictures(raw))).mean(dim=(2, 3))


def _pictures(raw: RawBatch) -> Tensor:
    if raw.image is None:
        raise AvbenchError("resemblance by picture needs images, and the split has none: name a folder with --data")
    return raw.image


def _standardised(vectors: Vectors) -> Vectors:
    """Mean 0 and deviation 1 per dimension; one that is the same everywhere becomes 0."""
    centred = vectors - vectors.mean(0)
    deviation = centred.std(0)
    standard: Vectors = centred / np.where(deviation > 0, deviation, 1)
    return standard


def _supplied(path: Path, n: int) -> Vectors:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        raise AvbenchError(
            f"expected an array of numbers in {path}, which cannot be read as one ({problem}): save it with numpy.save"
        ) from problem
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in "fiu" or len(found) != n:
        came = f"{found.dtype} {list(found.shape)}" if isinstance(found, np.ndarray) else "an archive"
        raise AvbenchError(f"expected numbers [{n}, D] in {path}, a row per sample of the split, got {came}")
    return found.astype(np.float64)
