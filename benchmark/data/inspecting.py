"""Looking for files that the loader could not read: by their headers and ends, or decoded in full."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from math import gcd
from pathlib import Path
from typing import Literal

import soundfile
from PIL import Image

from avbench.data.decoding import AUDIO_RATE, MAX_RESAMPLE_KERNEL, decode_audio, decode_image, decode_image_short_side
from avbench.data.places import Packed, Place
from avbench.data.readers_xml import read_boxes
from avbench.data.regular import require_file
from avbench.errors import AvbenchError

FileKind = Literal["picture", "sound", "mask", "annotation", "video"]

ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB\x60\x82"}
"""The last bytes of a whole picture."""

FILES_PER_PROCESS = 1000
"""Fewer headers are not worth the start of another process."""

DECODES_PER_PROCESS = 100
CHUNK = 32
"""Files that a process takes at a time."""


def problem(kind: FileKind, place: Place, *, decode: bool = False) -> str | None:
    """What is wrong with one file, by the loader's own words without its path; None where nothing is.

    A picture's header and end are read, a sound's header, its end where the format allows to go there, and the length
    that RIFF promises, a video's tracks, an annotation as a whole. Whatever looks odd is then decoded by the loader,
    whose verdict counts: nothing is called broken that can be read.

    Args:
        kind: what it should be.
        place: where it lies.
        decode: True decodes pictures, masks and sounds in full.
    """
    try:
        if kind == "annotation":
            read_boxes(Path(str(place)))
        elif kind == "video":
            _look_at_video(Path(str(place)))
        elif kind == "sound":
            _look_at_sound(place, decode)
        else:
            _look_at_picture(place, decode)
    except AvbenchError as found:
        return str(found).removeprefix(f"{place} ").replace(f" '{place}'", "")
    return None


def problems(
    files: Sequence[tuple[FileKind, Place]],
    *,
    decode: bool = False,
    workers: int | None = None,
    progress: Callable[[int], None],
) -> list[str | None]:
    """:func:`problem` of all ``files``, in their order.

    Args:
        files: what to look at.
        decode: see :func:`problem`.
        workers: processes; 0 and 1 stand for this one, None for as many as the processors and the files are worth.
        progress: called with 1 for each file that is done.

    Raises:
        AvbenchError: if a process dies.
    """
    worth = len(files) // (DECODES_PER_PROCESS if decode else FILES_PER_PROCESS)
    processes = min(len(os.sched_getaffinity(0)), worth) if workers is None else workers
    look = partial(_look, decode=decode)
    if processes <= 1:
        return [_counted(look(file), progress) for file in files]
    try:
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            return [_counted(found, progress) for found in pool.map(look, files, chunksize=CHUNK)]
    except BrokenProcessPool as died:
        raise AvbenchError(
            "a process that looks at files died, probably for want of memory: try again with --workers 1"
        ) from died


def _look(file: tuple[FileKind, Place], *, decode: bool) -> str | None:
    return problem(*file, decode=decode)


def _counted(found: str | None, progress: Callable[[int], None]) -> str | None:
    progress(1)
    return found


def _look_at_picture(place: Place, decode: bool) -> None:
    if isinstance(place, Packed):
        _look_at_packed(place, decode)
    elif place.is_file() and not place.stat().st_size:
        raise AvbenchError(f"{place} is empty: expected a picture, fetch it again")
    elif decode or not _looks_whole(place):
        decode_image(place)


def _look_at_packed(place: Packed, decode: bool) -> None:
    """Decode a part of a shard; where it ends was seen when the pack was opened."""
    if decode and place.rate:
        decode_audio(place)
    elif decode:
        decode_image_short_side(place) if place.form == "jpeg" else decode_image(place)


def _looks_whole(path: Path) -> bool:
    try:
        require_file(path)
        with warnings.catch_warnings(action="error"), Image.open(path) as image:
            end, pixels = ENDS[image.format or ""], image.width * image.height
        with path.open("rb") as file:
            file.seek(-len(end), os.SEEK_END)
            tail = file.read()
    except Exception:  # Pillow raises anything on a damaged header; the loader says what
        return False
    return tail == end and pixels <= (Image.MAX_IMAGE_PIXELS or pixels)


def _look_at_sound(place: Place, decode: bool) -> None:
    if isinstance(place, Packed):
        _look_at_packed(place, decode)
    elif decode or not _sounds_whole(place):
        decode_audio(place)


def _sounds_whole(path: Path) -> bool:
    try:
        require_file(path)
        with soundfile.SoundFile(path) as sound:
            frames, rate = sound.frames, sound.samplerate
            sound.seek(max(frames - 1, 0))  # fails in a FLAC that ends before
        with path.open("rb") as file:
            head = file.read(8)
    except (soundfile.LibsndfileError, OSError, ValueError):
        return False
    promised = int.from_bytes(head[4:], "little") + 8
    is_short = head[:4] == b"RIFF" and path.stat().st_size + 1 < promised
    common = gcd(rate, AUDIO_RATE) or 1
    return frames > 0 and not is_short and (rate // common) * (AUDIO_RATE // common) <= MAX_RESAMPLE_KERNEL


def _look_at_video(path: Path) -> None:
    """Open a container and look for its tracks; both a picture and a sound are needed to make a sample of it."""
    import av

    try:
        require_file(path)
        if not path.stat().st_size:
            raise AvbenchError(f"{path} is empty: fetch it again")
        with av.open(str(path)) as container:
            lacking = [kind for kind in ("video", "audio") if not getattr(container.streams, kind)]
    except (av.FFmpegError, ValueError, OSError) as found:
        raise AvbenchError(f"{path} cannot be opened ({found}): it is cut off or no video, fetch it again") from found
    if lacking:
        raise AvbenchError(f"{path} has no {' and no '.join(lacking)} track: fetch it again")
