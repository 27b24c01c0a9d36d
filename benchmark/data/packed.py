"""Reading pictures and sounds out of packed shards."""

from __future__ import annotations

import io
import os
from functools import lru_cache

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from avbench.data.places import Packed
from avbench.errors import AvbenchError
from avbench.types import CANVAS

OPEN_SHARDS = 64
"""Shards that a process keeps open at a time."""


def packed_pixels(place: Packed, *, size: int) -> NDArray[np.uint8]:
    """The picture as a method sees it in testing, uint8 ``[3, size, size]``.

    Raises:
        AvbenchError: for a picture packed for training, another size, or a shard that was cut off.
    """
    if place.form != "pixels" or size != CANVAS:
        raise AvbenchError(
            f"{place} is packed for training, as {place.form}: evaluate from plain folders or from a pack made with "
            "--for evaluation"
        )
    return np.frombuffer(_content(place), dtype=np.uint8).reshape(3, size, size)


def packed_picture(place: Packed, *, short_side: int) -> Image.Image:
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
        image = Image.open(io.BytesIO(_content(place))).convert("RGB")
    except (OSError, SyntaxError, ValueError) as problem:
        raise AvbenchError(f"{place} cannot be read as a picture ({problem}): pack again") from problem
    if min(image.size) != short_side:
        raise AvbenchError(f"{place} has a shorter side of {min(image.size)} pixels, not {short_side}: pack again")
    return image


def packed_samples(place: Packed) -> NDArray[np.float32]:
    """The sound, float32 ``[n]`` with full scale 1, at ``place.rate``.

    Raises:
        AvbenchError: for a shard that was cut off.
    """
    content = _content(place)
    if place.form == "pcm16":
        return np.frombuffer(content, dtype="<i2").astype(np.float32) / np.float32(32768)
    if place.form == "float32":
        return np.frombuffer(content, dtype="<f4")
    try:
        samples: NDArray[np.float32] = soundfile.read(io.BytesIO(content), dtype="float32")[0]
    except (soundfile.LibsndfileError, OSError, ValueError) as problem:
        raise AvbenchError(f"{place} cannot be read as sound ({problem}): pack again") from problem
    return samples


def _content(place: Packed) -> bytes:
    try:
        content = os.pread(_descriptor(str(place.shard)), place.size, place.offset)
    except OSError as problem:
        raise AvbenchError(f"expected a shard at {place.shard}: {problem.strerror}, pack again") from problem
    if len(content) != place.size:
        raise AvbenchError(f"{place.shard} is cut off: {place.name} ends behind its end, pack again")
    return content


@lru_cache(maxsize=OPEN_SHARDS)
def _descriptor(path: str) -> int:
    return os.open(path, os.O_RDONLY)
