"""Looking at media files one by one: decoded in full as the loader does it, hashed and measured."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from PIL import Image

from avbench.data.decoding import decode_audio, decode_image, decode_image_short_side
from avbench.data.places import Packed, Place
from avbench.errors import AvbenchError

Kind = Literal["picture", "sound", "mask"]

FULL_SCALE = 0.999
"""From which a sample counts as clipped, full scale being 1; 16-bit samples end at 32767 / 32768."""

BLANK_RANGE = 2
"""Grey levels that the channels of a blank picture may span, for the noise of JPEG."""

COMMON_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
"""Hz, of sounds that are surely brought to the loader's rate."""

CHUNK = 16
"""Files that a process takes at a time."""

FILES_PER_PROCESS = 200
"""Fewer are not worth the start of another process."""


@dataclass(frozen=True)
class Facts:
    """What a file holds; of one that cannot be decoded ``problem`` alone.

    Attributes:
        problem: the sentence of the loader, None where it decodes.
        content: SHA-256 of its bytes; of what it decodes to where it is packed.
        decoded: SHA-256 of what it decodes to: the picture at 224 x 224, the samples with their rate.
        size: width and height of a picture in pixels; None for a packed one.
        blank: whether a picture is of a single colour.
        rate: of a sound, in Hz.
        channels: of a sound.
        seconds: that a sound lasts.
        rms: root of the mean square of the mono mix, full scale 1.
        clipped: share of its samples at full scale or above, in [0, 1].
    """

    problem: str | None = None
    content: str = ""
    decoded: str = ""
    size: tuple[int, int] | None = None
    blank: bool = False
    rate: int = 0
    channels: int = 0
    seconds: float = 0.0
    rms: float = 0.0
    clipped: float = 0.0


def examine(kind: Kind, place: Place) -> Facts:
    """Decode one file in full and measure it; nothing is raised for a broken one."""
    try:
        facts = _sound(place) if kind == "sound" else _picture(place)
        content = facts.decoded if isinstance(place, Packed) else sha256(place.read_bytes()).hexdigest()
    except AvbenchError as problem:
        return Facts(problem=str(problem))
    except OSError as problem:
        return Facts(problem=f"{place} cannot be read ({problem.strerror}): complete the media")
    return replace(facts, content=content)


def examine_all(
    files: Sequence[tuple[Kind, Place]], *, workers: int | None = None, progress: Callable[[int], None]
) -> list[Facts]:
    """:func:`examine` of all ``files``, in their order.

    Args:
        files: what to look at.
        workers: processes; 0 and 1 stand for this one, None for as many as the processors and the files are worth.
        progress: called with 1 for each file that is done.

    Raises:
        AvbenchError: if a process dies.
    """
    processes = _processes(len(files)) if workers is None else workers
    if processes <= 1:
        return [_counted(examine(*file), progress) for file in files]
    kinds, places = zip(*files, strict=True)
    try:
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            return [_counted(facts, progress) for facts in pool.map(examine, kinds, places, chunksize=CHUNK)]
    except BrokenProcessPool as problem:
        raise AvbenchError(
            "a process that decodes files died, probably for want of memory: check again with --workers 1"
        ) from problem


def _counted(facts: Facts, progress: Callable[[int], None]) -> Facts:
    progress(1)
    return facts


def _processes(files: int) -> int:
    return min(len(os.sched_getaffinity(0)), files // FILES_PER_PROCESS)


def _picture(place: Place) -> Facts:
    if isinstance(place, Packed):
        pixels = decode_image_short_side(place) if place.form == "jpeg" else decode_image(place)
    else:
        pixels = decode_image(place)
    spans = pixels.max(axis=(1, 2)).astype(int) - pixels.min(axis=(1, 2))
    return Facts(
        decoded=sha256(pixels.tobytes()).hexdigest(),
        size=None if isinstance(place, Packed) else _size(place),
        blank=bool(spans.max() <= BLANK_RANGE),
    )


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def _sound(place: Place) -> Facts:
    samples, rate = decode_audio(place, rate=None)
    if rate not in COMMON_RATES:
        decode_audio(place)  # the loader may refuse to resample it
    return Facts(
        decoded=sha256(rate.to_bytes(8, "little") + samples.tobytes()).hexdigest(),
        rate=rate,
        channels=place.channels if isinstance(place, Packed) else soundfile.info(place).channels,
        seconds=len(samples) / rate,
        rms=float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))),
        clipped=float(np.mean(np.abs(samples) >= FULL_SCALE)),
    )
