"""From files to pixels and samples, by the exact paths of the official loaders."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avbench.data.packed import packed_picture, packed_pixels, packed_sound
from avbench.data.places import Packed, Place
from avbench.data.regular import require_file
from avbench.data.sound_files import MOST_SAMPLES as MOST_SAMPLES
from avbench.data.sound_files import Written, read_sound
from avbench.errors import AvbenchError, UsageError
from avbench.types import CANVAS, Box, Channels, Picture, Window

if TYPE_CHECKING:
    from torchaudio.transforms import Resample

Pixels = NDArray[np.uint8]
Waveform = NDArray[np.float32]
"""``[n]``, or ``[channels, n]`` where the channels are kept apart."""
Shown = NDArray[np.uint8] | NDArray[np.float32]
"""A :data:`avbench.types.Picture`, ``[3, 224, 224]``: uint8, or for ``tensor`` floats near [0, 1], not clamped."""

AUDIO_RATE = 16000
"""Hz. The official loaders but JSA's keep the file's own rate; one rate for all makes the spectrograms comparable."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
"""What is opened as a picture, whatever it is called. Pillow's plugins for others run programs, as that for EPS."""

TRAIN_SHORT_SIDE = 246
"""``int(224 * 1.1)``: the side from which EZ-VSL, SLAVC, FNAC and JSA crop in training."""

FULL_SCALE = np.float32(2**-15)
"""Of a step of 16-bit samples; a power of two, so that products with it are exact."""

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


def decode_pictures(place: Place, kinds: Collection[Picture]) -> dict[Picture, Shown]:
    """The picture in all ways that the methods of a run look at it; a file is decoded once for all.

    Returns:
        for each of ``kinds`` what :data:`avbench.types.Picture` says, ``[3, 224, 224]``.

    Raises:
        AvbenchError: as :func:`decode_image`, and for a packed picture in another way than squashed.
    """
    if isinstance(place, Packed):
        for kind in kinds:
            _check_packed(place, kind)
        return {kind: packed_pixels(place, size=CANVAS) for kind in kinds}
    with _image_errors(place):
        image = open_rgb(place)
        return {kind: _MAKERS[kind](image) for kind in kinds}


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
        return _channels_first(_with_short_side(open_rgb(place), short_side))


def random_crop(image: Pixels, *, rng: np.random.Generator, size: int = CANVAS) -> tuple[Pixels, Box]:
    """A square of ``size`` from ``[3, h, w]``, every position equally likely, and which part of the picture it is."""
    _, height, width = image.shape
    top = int(rng.integers(height - size + 1))
    left = int(rng.integers(width - size + 1))
    place = (left / width, top / height, (left + size) / width, (top + size) / height)
    return np.ascontiguousarray(image[:, top : top + size, left : left + size]), place


def open_rgb(path: Path) -> Image.Image:
    """The decoded picture, its EXIF orientation not applied; Pillow's own errors."""
    require_file(path)
    with Image.open(path, formats=FORMATS) as image:
        image.load()
        return image if image.mode == "RGB" else image.convert("RGB")  # convert() would copy


def square(image: Image.Image, *, size: int = CANVAS) -> Pixels:
    """An RGB picture squashed to uint8 ``[3, size, size]``."""
    return _channels_first(image.resize((size, size), Image.Resampling.BICUBIC))


def centre_crop(image: Image.Image) -> Pixels:
    """The middle square of an RGB picture at shorter side 224: torchvision's ``Resize`` and ``CenterCrop``, uint8."""
    small = _with_short_side(image, CANVAS)
    left, top = (round((side - CANVAS) / 2) for side in small.size)
    return _channels_first(small.crop((left, top, left + CANVAS, top + CANVAS)))


def as_tensor(image: Image.Image) -> NDArray[np.float32]:
    """An RGB picture in [0, 1], then resized: torchvision's ``ToTensor`` and antialiased ``Resize((224, 224))``.

    Returns:
        float32 ``[3, 224, 224]``; the filter overshoots, and nothing is clamped.
    """
    import torch

    with torch.inference_mode():
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float().div_(255)
        small = torch.nn.functional.interpolate(pixels, (CANVAS, CANVAS), mode="bicubic", antialias=True)
        shown: NDArray[np.float32] = small[0].contiguous().numpy()
    return shown


_MAKERS: dict[Picture, Callable[[Image.Image], Shown]] = {
    "squash": square, "centre-crop": centre_crop, "tensor": as_tensor,
}  # fmt: skip


def decode_audio(place: Place, *, rate: int | None = AUDIO_RATE, channels: Channels = "mean") -> tuple[Waveform, int]:
    """The sound of a wav or flac file, or of a shard, in one of the ways of :func:`decode_sounds`.

    Returns:
        float32 ``[n]``, full scale 1 (16-bit samples / 32768), and the rate in Hz: ``rate``, or the file's own
        where that is None.

    Raises:
        AvbenchError: as :func:`decode_sounds`.
    """
    sounds, rate = decode_sounds(place, (channels,), rate=rate)
    return sounds[channels], rate


def decode_sounds(
    place: Place, ways: Collection[Channels], *, rate: int | None = AUDIO_RATE
) -> tuple[dict[Channels, Waveform], int]:
    """The sound of a wav or flac file, or of a shard, its channels mixed in all ``ways``, the file read once.

    Returns:
        for each way float32 ``[n]``, full scale 1 (16-bit samples / 32768), or ``[channels, n]`` for several channels
        kept apart; and the rate in Hz, ``rate`` or the file's own where that is None. Ways that agree share memory.

    Raises:
        AvbenchError: for a file that is missing, empty, cut off, no wav or flac, without a sample, or with samples
            that are not finite.
    """
    if isinstance(place, Packed):
        samples, native = packed_sound(place, ways, rate=rate)
        return mixed(place, samples, ways, native=native, rate=rate)
    written, native = read_sound(place)
    return mixed(place, written, ways, native=native, rate=rate)


def mixed(
    path: Place, samples: Written, ways: Collection[Channels], *, native: int, rate: int | None
) -> tuple[dict[Channels, Waveform], int]:
    """``[n, channels]`` mixed in all ``ways``, checked, then at ``rate`` Hz by torchaudio's default resampling.

    16-bit samples may come as such, others with full scale 1. ``rate`` None leaves the rate as it is; ``path`` is for
    the errors. The result is that of :func:`decode_sounds`.

    Raises:
        AvbenchError: for no samples, samples that are not finite, or a rate that cannot be resampled.
    """
    if not len(samples):
        raise AvbenchError(f"{path} holds no sample of sound: fetch it again")
    rate = native if rate is None else rate
    kept = rate == native
    made: dict[str, Waveform] = {}
    for mixer in {_mixer(way, samples.shape[1], kept=kept) for way in ways}:
        sound = _floats(_MIXERS[mixer](samples))
        if not np.isfinite(sound).all():
            raise AvbenchError(f"{path} holds samples that are not finite (NaN or infinite): convert the sound again")
        made[mixer] = np.ascontiguousarray(sound) if kept else _resample(path, sound, native=native, rate=rate)
    sounds = {way: made[_mixer(way, samples.shape[1], kept=kept)] for way in ways}
    return sounds, rate


def cut(samples: Waveform, rate: int, window: Window) -> Waveform:
    """The part of a clip that ``window`` hears, by the rules of :class:`avbench.types.Window`.

    Returns:
        float32 ``[window.samples(rate)]``, a view wherever nothing is repeated; of ``[channels, n]`` for each channel.

    Raises:
        UsageError: for a window at random, which :func:`cut_at_random` cuts, or one whose ``part`` lies beyond its end.
    """
    if window.anchor == "random":
        raise UsageError("a window at random is for training alone: hear the centre or the start in testing")
    return _part(_clip(samples, rate, window), window)


def _clip(samples: Waveform, rate: int, window: Window) -> Waveform:
    n, need = samples.shape[-1], int(window.seconds * rate)
    if n < need:
        repeated = np.tile(samples, -(-need // n))[..., :need]
        return np.roll(repeated, need // 2 - n // 2, axis=-1) if window.anchor == "rolled" else repeated
    if window.anchor in {"start", "rolled"}:
        start = 0
    elif window.anchor == "centre":
        start = (n - need) // 2
    else:
        start = min(int(max(n / rate / 2 - window.seconds / 2, 0) * rate), n - need)
    return samples[..., start : start + need]


def _part(clip: Waveform, window: Window) -> Waveform:
    if window.part is None:
        return clip
    if clip.shape[-1] < window.part[1]:
        raise UsageError(
            f"samples {window.part[0]} to {window.part[1]} are heard whatever the rate, but {window.seconds:g} s are "
            f"{clip.shape[-1]} samples at the sound's: take a higher --audio-rate"
        )
    return clip[..., slice(*window.part)]


def cut_at_random(samples: Waveform, rate: int, window: Window, *, rng: np.random.Generator) -> Waveform:
    """A part of a clip of ``window.seconds``, wherever ``rng`` says, by the rules of :class:`avbench.types.Window`.

    Returns:
        float32 ``[window.samples(rate)]``; of ``[channels, n]`` for each channel.
    """
    n, need = samples.shape[-1], int(window.seconds * rate)
    if n > need:
        start = int(rng.integers(n - need + 1))
        return _part(samples[..., start : start + need], window)
    return _part(samples[..., (int(rng.integers(n)) + np.arange(need)) % n], window)


@contextmanager
def _image_errors(path: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of corrupt EXIF and the like, beside pixels that are whole
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise AvbenchError(
            f"{path} claims more than {Image.MAX_IMAGE_PIXELS} pixels: expected a video frame, replace it"
        ) from problem
    except FileNotFoundError as problem:
        raise AvbenchError(f"expected a picture at {path}, found nothing: complete the media") from problem
    except Exception as problem:  # whatever Pillow's parsers stumble over
        raise AvbenchError(
            f"{path} cannot be read as a picture ({problem}): it is cut off or no picture, replace it"
        ) from problem


def _channels_first(image: Image.Image) -> Pixels:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _with_short_side(image: Image.Image, short_side: int) -> Image.Image:
    shorter = min(image.size)
    width, height = (short_side * side // shorter for side in image.size)
    if width * height > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise ValueError(f"{image.width} by {image.height} pixels are too narrow for a shorter side of {short_side}")
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _check_packed(place: Packed, kind: Picture) -> None:
    if kind != "squash":
        raise AvbenchError(
            f"{place} is packed squashed, and a method was set to look at it as {kind!r}: evaluate from plain folders, "
            'or set its picture to "squash"'
        )


def _mixer(way: Channels, channels: int, *, kept: bool) -> Channels:
    """The mixer that ``way`` comes to for so many channels, at the file's own rate or not."""
    if channels == 1:
        return "first"
    return "mean" if way == "pyav" and (channels > 2 or not kept) else way


def _floats(samples: Written) -> Waveform:
    """With full scale 1."""
    return samples * FULL_SCALE if samples.dtype == np.int16 else samples.astype(np.float32, copy=False)


def _mean(samples: Written) -> Waveform:
    """Column by column: twenty times as fast as numpy's mean over a short last axis."""
    total = _floats(samples[:, 0]).copy()
    for channel in range(1, samples.shape[1]):
        total += _floats(samples[:, channel])
    total /= np.float32(samples.shape[1])
    return total


def _rounded_up(samples: Written) -> Written:
    """``(left + right + 1) >> 1`` of 16-bit steps; samples between the steps go to the nearest, as PyAV's do."""
    if samples.dtype != np.int16:
        samples = np.rint(samples * np.float32(2**15)).clip(-(2**15), 2**15 - 1).astype(np.int16)
    left, right = samples.astype(np.int32).T
    rounded: NDArray[np.int16] = ((left + right + 1) >> 1).astype(np.int16)
    return rounded


_MIXERS: dict[Channels, Callable[[Written], Written]] = {
    "mean": _mean, "pyav": _rounded_up, "first": lambda samples: samples[:, 0], "each": lambda samples: samples.T,
}  # fmt: skip


def _resample(path: Place, samples: Waveform, *, native: int, rate: int) -> Waveform:
    common = math.gcd(native, rate)
    if (native // common) * (rate // common) > MAX_RESAMPLE_KERNEL:
        raise AvbenchError(
            f"{path} has an odd sampling rate of {native} Hz, which cannot be brought to {rate} Hz: convert the file"
        )
    if samples.shape[-1] * rate / native > MOST_SAMPLES:
        raise AvbenchError(f"{path} claims to last {samples.shape[-1] / native:.0f} s: expected a clip, cut it")
    import torch

    with torch.inference_mode():
        resampled: Waveform = _resampler(native, rate)(torch.from_numpy(samples)).numpy()
    return resampled


@cache
def _resampler(native: int, rate: int) -> Resample:
    """JSA ``dataset.py``: ``torchaudio.transforms.Resample`` with its defaults."""
    from torchaudio.transforms import Resample

    return Resample(native, rate)
