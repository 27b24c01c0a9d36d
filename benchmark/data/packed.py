"""Reading pictures and sounds out of packed shards."""

from __future__ import annotations

import io
import os
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from avbench.data.places import Packed
from avbench.errors import AvbenchError, UsageError
from avbench.types import CANVAS, Channels

OPEN_SHARDS = 256
"""Shards that a process keeps open at a time, well below the 1,024 files that most systems allow it."""

MEANS: frozenset[Channels] = frozenset(("mean", "pyav"))
"""Ways of mixing that come to the mean of the channels once the rate is changed."""

PACKED_SHORT_SIDE = 246
"""Pixels of the shorter side in a pack for training: that from which :mod:`avbench.data.decoding` crops."""


def packed_pixels(place: Packed, *, size: int) -> NDArray[np.uint8]:
    """The picture as a method sees it in testing, uint8 ``[3, size, size]``.

    Raises:
        AvbenchError: for a picture packed for training, another size, or a shard that was cut off.
    """
    if place.form != "pixels":
        raise AvbenchError(
            f"{place} is packed for training, as {place.form}: evaluate from plain folders or from a pack made with "
            "--for evaluation"
        )
    if size != CANVAS:
        raise AvbenchError(f"{place} has {CANVAS} pixels a side, not {size}: take plain folders for other sizes")
    return _content(place).reshape(3, size, size)


def packed_picture(place: Packed, *, short_side: int = PACKED_SHORT_SIDE) -> Image.Image:
    """The whole picture with its shorter side at ``short_side``.

    Raises:
        AvbenchError: for a picture packed for evaluation, of another size, or a shard that was cut off.
    """
    if place.form != "jpeg":
        raise AvbenchError(
            f"{place} is packed for evaluation, squashed: train from plain folders or from a pack made with "
            "--for training"
        )
    try:
        with Image.open(io.BytesIO(_content(place).data), formats=["JPEG"]) as image:
            if min(image.size) != short_side:
                raise AvbenchError(f"{place} is {image.size} pixels, not {short_side} on its shorter side: pack again")
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as problem:
        raise AvbenchError(f"{place} cannot be read as a picture ({problem}): pack again") from problem


def packed_sound(place: Packed, ways: Collection[Channels], *, rate: int | None) -> tuple[NDArray[np.float32], int]:
    """The sound as it is written, or with its channels apart where that is asked for, and its rate in Hz.

    Args:
        place: of the sound.
        ways: in which its channels will be mixed.
        rate: as for :func:`packed_samples`.

    Raises:
        UsageError: where the channels were not kept, and as :func:`packed_samples`.
        AvbenchError: as :func:`packed_samples`.
    """
    if place.apart is not None and (rate != place.rate or not MEANS.issuperset(ways)):
        place = place.apart
    if place.mixed and not MEANS.issuperset(ways):
        raise UsageError(
            f"{place} was packed as the mean of its channels and cannot be heard as {min(set(ways) - MEANS)!r}: take "
            "plain folders, or a pack made with --for evaluation"
        )
    return packed_samples(place, rate=rate), place.rate


def packed_samples(place: Packed, *, rate: int | None) -> NDArray[np.float32]:
    """The sound as it is written, float32 ``[n, channels]`` with full scale 1, at ``place.rate``.

    Args:
        place: of the sound.
        rate: in Hz at which the sound will be heard, None for that of the file it was packed from.

    Raises:
        UsageError: where the sound was resampled in packing, to another rate than ``rate``.
        AvbenchError: for a shard that was cut off, or samples that cannot be read.
    """
    if place.native != place.rate != rate:
        asked = f"its native {place.native} Hz" if rate is None else f"{rate} Hz"
        raise UsageError(
            f"{place} was packed at {place.rate} Hz and cannot be heard at {asked}: "
            f"leave --audio-rate at {place.rate}, or pack again with --audio-rate native"
        )
    samples = _flac(place) if place.form == "flac" else _raw(place)
    if samples.shape[1] != place.channels:
        raise AvbenchError(f"{place} has {samples.shape[1]} channels where {place.channels} are expected: pack again")
    return samples


def close_shards() -> None:
    """Forget the shards that are open, so that those that replaced them are opened anew."""
    _opened.cache_clear()


def _raw(place: Packed) -> NDArray[np.float32]:
    content = _content(place)
    width = 2 if place.form == "pcm16" else 4
    if place.form not in {"pcm16", "float32"} or not place.channels or len(content) % (width * place.channels):
        raise AvbenchError(f"{place} is no sound of {place.channels} channels, but {place.form}: pack again")
    if place.form == "float32":
        return content.view("<f4").reshape(-1, place.channels)
    samples: NDArray[np.float32] = np.multiply(content.view("<i2"), np.float32(2**-15), dtype=np.float32)
    return samples.reshape(-1, place.channels)


def _flac(place: Packed) -> NDArray[np.float32]:
    try:
        samples: NDArray[np.float32]
        samples, rate = soundfile.read(io.BytesIO(_content(place).data), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, ValueError) as problem:
        raise AvbenchError(f"{place} cannot be read as sound ({problem}): pack again") from problem
    if rate != place.rate:
        raise AvbenchError(f"{place} is a sound at {rate} Hz, not at {place.rate}: pack again")
    return samples


def _content(place: Packed) -> NDArray[np.uint8]:
    """The bytes of ``place``, in memory of their own that may be written to."""
    content = np.empty(place.size, dtype=np.uint8)
    try:
        got = os.preadv(_opened(place.shard).descriptor, [content.data], place.offset)
    except OSError as problem:
        raise AvbenchError(f"expected a shard at {place.shard}: {problem.strerror}, pack again") from problem
    if got != place.size:
        raise AvbenchError(f"{place.shard} is cut off: {place.name} ends behind its end, pack again")
    return content


class _Open:
    """A file that is open until nothing reads it any more; reading by position, forked processes may share it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


@lru_cache(maxsize=OPEN_SHARDS)
def _opened(path: Path) -> _Open:
    return _Open(path)
