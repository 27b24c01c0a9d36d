"""From files to pixels and samples, by the exact paths of the official loaders."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from avbench.data.packed import packed_picture, packed_pixels, packed_samples
from avbench.data.places import Packed, Place
from avbench.errors import AvbenchError, UsageError
from avbench.types import CANVAS, Box, Window

if TYPE_CHECKING:
    from torchaudio.transforms import Resample

Pixels = NDArray[np.uint8]
Waveform = NDArray[np.float32]

AUDIO_RATE = 16000
"""Hz. The official loaders but JSA's keep the file's own rate; one rate for all makes the spectrograms comparable."""

TRAIN_SHORT_SIDE = 246
"""``int(224 * 1.1)``: the side from which EZ-VSL, SLAVC, FNAC and JSA crop in training."""

MAX_RESAMPLE_KERNEL = 2**24
"""Elements; a rate that shares no factor with 16 kHz (44,099 Hz) would need a kernel of gigabytes."""


def decode_image(place: Place, *, size: int = CANVAS) -> Pixels:
    """The picture as a method sees it in testing: RGB, squashed to a square by Pillow's bicubic filter.

    This is ``Image.open(path).convert("RGB").resize((size, size), BICUBIC)`` of EZ-VSL, SLAVC, FNAC and JSA, to the
    bit; as there, an EXIF orientation is not applied.

    Returns:
        uint8 ``[3, size, size]``.

    Raises:
        AvbenchError: for a file that is missing, cut off, no picture, or of an absurd size.
    """
    if isinstance(place, Packed):
        return packed_pixels(place, size=size)
    with _image_errors(place):
        return square(open_rgb(place), size=size)


def decode_image_short_side(place: Place, *, short_side: int = TRAIN_SHORT_SIDE) -> Pixels:
    """The whole picture with its shorter side at ``short_side`` (bicubic) and the longer one truncated to int.

    Returns:
        uint8 ``[3, h, w]``.

    Raises:
        AvbenchError: as :func:`decode_image`.
    """
    if isinstance(place, Packed):
        return _channels_first(packed_picture(place, short_side=short_side))
    with _image_errors(place):
        image = open_rgb(place)
        shorter = min(image.size)
        width, height = (short_side * side // shorter for side in image.size)
        return _channels_first(image.resize((width, height), Image.Resampling.BICUBIC))


def random_crop(image: Pixels, *, rng: np.random.Generator, size: int = CANVAS) -> tuple[Pixels, Box]:
    """A square of ``size`` from ``[3, h, w]``, every position equally likely, and which part of the picture it is."""
    _, height, width = image.shape
    top = int(rng.integers(height - size + 1))
    left = int(rng.integers(width - size + 1))
    place = (left / width, top / height, (left + size) / width, (top + size) / height)
    return np.ascontiguousarray(image[:, top : top + size, left : left + size]), place


def open_rgb(path: Path) -> Image.Image:
    """The decoded picture, its EXIF orientation not applied; Pillow's own errors."""
    with Image.open(path) as image:
        return image.convert("RGB")


def square(image: Image.Image, *, size: int = CANVAS) -> Pixels:
    """An RGB picture squashed to uint8 ``[3, size, size]``."""
    return _channels_first(image.resize((size, size), Image.Resampling.BICUBIC))


def decode_audio(place: Place, *, rate: int | None = AUDIO_RATE) -> tuple[Waveform, int]:
    """The sound of a wav or flac file, or of a shard: mean of the channels, then torchaudio's default resampling.

    Returns:
        float32 ``[n]``, full scale 1 (16-bit samples / 32768), and the rate in Hz: ``rate``, or the file's own
        where that is None.

    Raises:
        AvbenchError: for a file that is missing, empty, cut off, no wav or flac, without a sample, or with samples
            that are not finite.
    """
    if isinstance(place, Packed):
        return mono(place, packed_samples(place, rate=rate), native=place.rate, rate=rate)
    samples, native = read_sound(place)
    return mono(place, samples, native=native, rate=rate)


def read_sound(path: Path) -> tuple[Waveform, int]:
    """All channels of a wav or flac file, float32 ``[n, channels]`` with full scale 1, and its rate in Hz.

    Raises:
        AvbenchError: for a file that is missing, empty, cut off, or no wav or flac.
    """
    _check_complete(path)
    try:
        samples, native = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, ValueError) as problem:
        raise AvbenchError(f"{path} cannot be read as sound ({problem}): expected a wav or flac file") from problem
    return samples, native


def mono(path: Place, samples: Waveform, *, native: int, rate: int | None) -> tuple[Waveform, int]:
    """Mean over channels of ``[n, channels]``, checked, at ``rate`` Hz (None: as it is); ``path`` is for the errors.

    Raises:
        AvbenchError: for no samples, samples that are not finite, or a rate that cannot be resampled.
    """
    if not len(samples):
        raise AvbenchError(f"{path} holds no sample of sound: fetch it again")
    mixed = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mixed).all():
        raise AvbenchError(f"{path} holds samples that are not finite (NaN or infinite): convert the sound again")
    if rate is None or rate == native:
        return np.ascontiguousarray(mixed), native
    return _resample(path, mixed, native=native, rate=rate), rate


def cut(samples: Waveform, rate: int, window: Window) -> Waveform:
    """The part of a clip that ``window`` hears, by the rules of :class:`avbench.types.Window`.

    Returns:
        float32 ``[int(window.seconds * rate)]``.

    Raises:
        UsageError: for a window at random, which :func:`cut_at_random` cuts.
    """
    if window.anchor == "random":
        raise UsageError("a window at random is for training alone: hear the centre or the start in testing")
    n, need = len(samples), int(window.seconds * rate)
    if n < need:
        return np.tile(samples, -(-need // n))[:need]
    if window.anchor == "start":
        start = 0
    elif window.anchor == "centre":
        start = (n - need) // 2
    else:
        start = min(int(max(n / rate / 2 - window.seconds / 2, 0) * rate), n - need)
    return samples[start : start + need]


def cut_at_random(samples: Waveform, rate: int, window: Window, *, rng: np.random.Generator) -> Waveform:
    """A part of a clip of ``window.seconds``, wherever ``rng`` says, by the rules of :class:`avbench.types.Window`.

    Returns:
        float32 ``[int(window.seconds * rate)]``.
    """
    n, need = len(samples), int(window.seconds * rate)
    if n > need:
        start = int(rng.integers(n - need + 1))
        return samples[start : start + need]
    return samples[(int(rng.integers(n)) + np.arange(need)) % n]


@contextmanager
def _image_errors(path: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise AvbenchError(
            f"{path} claims more than {Image.MAX_IMAGE_PIXELS} pixels: expected a video frame, replace it"
        ) from problem
    except FileNotFoundError as problem:
        raise AvbenchError(f"expected a picture at {path}, found nothing: complete the media") from problem
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as problem:
        raise AvbenchError(
            f"{path} cannot be read as a picture ({problem}): it is cut off or no picture, replace it"
        ) from problem


def _channels_first(image: Image.Image) -> Pixels:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _check_complete(path: Path) -> None:
    """Refuse a wav file whose RIFF header promises more bytes than there are; libsndfile reads such files silently."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
            size = file.seek(0, 2)
    except OSError as problem:
        raise AvbenchError(f"expected a sound at {path}: {problem.strerror}, complete the media") from problem
    if not size:
        raise AvbenchError(f"{path} is empty: expected a wav or flac file, fetch it again")
    promised = int.from_bytes(head[4:8], "little") + 8
    streamed = head[4:8] in {b"\0\0\0\0", b"\xff\xff\xff\xff"}  # written to a pipe, the length was not known
    if head[:4] == b"RIFF" and not streamed and size + 1 < promised:
        raise AvbenchError(f"{path} is cut off: its header promises {promised} bytes, there are {size}; fetch it again")


def _resample(path: Place, samples: Waveform, *, native: int, rate: int) -> Waveform:
    common = gcd(native, rate)
    if (native // common) * (rate // common) > MAX_RESAMPLE_KERNEL:
        raise AvbenchError(
            f"{path} has an odd sampling rate of {native} Hz, which cannot be brought to {rate} Hz: convert the file"
        )
    import torch

    with torch.inference_mode():
        resampled: Waveform = _resampler(native, rate)(torch.from_numpy(samples)).numpy()
    return resampled


@cache
def _resampler(native: int, rate: int) -> Resample:
    """JSA ``dataset.py``: ``torchaudio.transforms.Resample`` with its defaults."""
    from torchaudio.transforms import Resample

    return Resample(native, rate)
