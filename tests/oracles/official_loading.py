"""Loading as the official EZ-VSL and SLAVC programs do it: one sample at a time, with PIL, PyAV and SciPy.

The second implementation that the loader is tested against and timed beside, written from the description of those
programs: nothing of the package is imported. Pictures are float32, spectrograms float64, as there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import InterpolationMode

Samples = NDArray[np.float64]

SIDE, SHORT_SIDE = 224, 246
"""Of the pictures in testing, and of those that training crops, in pixels."""
SECONDS = 3.0
"""Heard of each clip, from its middle."""

_NORMALISED = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
_CROPPED = [transforms.Resize(SHORT_SIDE, InterpolationMode.BICUBIC), transforms.RandomCrop(SIDE)]
_JITTER = transforms.RandomApply([transforms.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8)
_BLUR = transforms.RandomApply([transforms.GaussianBlur(5)], p=0.8)

PICTURES: dict[str, Any] = {
    "test": [transforms.Resize((SIDE, SIDE), InterpolationMode.BICUBIC), *_NORMALISED],
    "train": [*_CROPPED, transforms.RandomHorizontalFlip(), *_NORMALISED],
    "hard": [
        *_CROPPED,
        _BLUR,
        transforms.RandomHorizontalFlip(),
        _JITTER,
        transforms.RandomGrayscale(0.2),
        *_NORMALISED,
    ],
}
"""What is done to a picture in testing, in EZ-VSL's training, and in JSA's with ``hard_img``."""


def load_sample(picture: Path, sound: Path, mode: str = "test") -> tuple[Tensor, Tensor]:
    """A sample as a network gets it.

    Args:
        picture: A file that PIL reads.
        sound: A file that FFmpeg reads.
        mode: One of :data:`PICTURES`.

    Returns:
        ``[3, 224, 224]``, ImageNet-normalised, and the log spectrogram ``[1, 257, T]`` over 12.
    """
    return load_picture(picture, mode), load_spectrogram(sound)


def load_picture(path: Path, mode: str = "test") -> Tensor:
    """The picture, through the steps of ``mode``."""
    image: Any = Image.open(path).convert("RGB")
    for step in PICTURES[mode]:
        image = step(image)
    found: Tensor = image
    return found


def load_spectrogram(path: Path) -> Tensor:
    """The log of the power density of the clip's middle, over 12; a clip that is too short is repeated."""
    samples, rate = read_middle(path)
    need = int(rate * SECONDS)
    if len(samples) < need:
        samples = np.tile(samples, need // len(samples) + 1)[:need]
    heard = np.clip(samples[:need], -1.0, 1.0)
    density = scipy.signal.spectrogram(heard, rate, nperseg=512, noverlap=274)[2]
    return torch.from_numpy(np.log(density + 1e-7)[None]).sub_(0.0).div_(12.0)


def read_middle(path: Path) -> tuple[Samples, int]:
    """At most 3 s from the middle of a sound as 16-bit mono over 32767, and the file's rate in Hz.

    The container is asked to seek; frames are decoded until one starts behind the end, and cut at whole samples. What
    was asked for before the first frame is silence.
    """
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate = int(stream.rate)
        start = max(float(stream.duration * stream.time_base) / 2 - SECONDS / 2, 0.0)
        container.seek(int(start * 1_000_000))
        frames, first = _frames(container, rate, until=start + SECONDS)
    joined = np.concatenate(frames, axis=1)[0]
    skipped = int((start - first) * rate)
    joined = joined[skipped:] if skipped >= 0 else np.concatenate([np.zeros(-skipped, joined.dtype), joined])
    return joined[: int(SECONDS * rate)] / 32767, rate


def _frames(container: Any, rate: int, *, until: float) -> tuple[list[NDArray[np.int16]], float]:
    """Decoded and mixed to one channel, each ``[1, n]``; and the time of the first in seconds."""
    mixer = av.AudioResampler(format="s16p", layout="mono", rate=rate)
    frames: list[NDArray[np.int16]] = []
    first = 0.0
    for frame in container.decode(audio=0):
        if frame.time > until:
            break
        first = first if frames else float(frame.time)
        frame.pts = None
        frames += [mixed.to_ndarray() for mixed in mixer.resample(frame)]
    return frames, first
