"""Names of samples, as the data sets and their mirrors write them. Nothing here imports torch."""

from __future__ import annotations

import re
from typing import Literal

Style = Literal["six", "padded", "unpadded", "milliseconds", "seconds", "other"]
"""How a name is written; all but the last are VGGSound's, see :data:`STYLES`."""

STYLES: dict[Style, str] = {
    "six": "<YouTube id>_<start in seconds, six digits>",
    "padded": "<YouTube id>_<start in seconds, zeros before it>",
    "unpadded": "<YouTube id>_<start in seconds>",
    "milliseconds": "<YouTube id>_<start>_<end>, in milliseconds",
    "seconds": "<YouTube id>_<start>_<end>, in seconds",
    "other": "names of their own",
}
"""What each style looks like, for people."""

CLIP_SECONDS = 10
"""Every clip of VGGSound lasts so long: it tells a range in seconds from one in milliseconds, and both from others."""

OFFICIAL_DIGITS = 6
"""Of the start in seconds."""

# A YouTube id has 11 characters and may hold, or begin with, "-" and "_": it is cut at position 11, never split.
_VGGSOUND = re.compile(r"([A-Za-z0-9_-]{11})_(\d{1,10})(?:_(\d{1,10}))?")
_FRAME_OF_VIDEO = re.compile(r"\.mp4(?=_\d+$)")
_VIDEO_FOLDER = ".mp4"


def vggsound_key(name: str) -> str | None:
    """The official name of a VGGSound clip, ``<YouTube id>_<start second, six digits>``, from any way to write it.

    Known are the start in seconds with any number of zeros before it, and a start and an end that lie 10 s apart, in
    milliseconds (Alignment, HTF) or in seconds.

    Returns:
        The official name; None for a name that is written in none of these ways.
    """
    return _taken_apart(name)[1]


def style(name: str) -> Style:
    """How ``name`` is written."""
    return _taken_apart(name)[0]


def wanted_key(name: str) -> str | None:
    """As :func:`vggsound_key`, for the name that an annotation file gives a sample.

    Only a name of six digits or a range in milliseconds is surely VGGSound's: ``<id>_1`` may be the first frame of an
    AVSBench clip, and ``<id>_000_00010`` a frame of MUSIC. Such a name is looked for as it stands and no other way.
    """
    how, key = _taken_apart(name)
    return key if how in {"six", "milliseconds"} else None


def plain(stem: str) -> str:
    """The name behind a file's stem: AVSBench MS3 calls frame k of a clip ``<id>.mp4_<k>``, its annotations do not."""
    return _FRAME_OF_VIDEO.sub("", stem) if _VIDEO_FOLDER in stem else stem


def folder_name(name: str) -> str:
    """The sample whose frames a folder holds; those of Flickr-SoundNet are called ``<id>.mp4``."""
    return name.removesuffix(_VIDEO_FOLDER)


def loose_key(name: str) -> str:
    """What remains of a name without style: no case, no punctuation, no zeros before a number.

    Two names of one key probably mean the same sample; they are never taken for each other, only suggested.
    """
    words = re.findall(r"\d+|[^\W\d_]+", (vggsound_key(name) or plain(folder_name(name))).casefold())
    return "".join(str(int(word)) if word.isdecimal() and word.isascii() else word for word in words)


def _taken_apart(name: str) -> tuple[Style, str | None]:
    found = _VGGSOUND.fullmatch(name) if name[11:12] == "_" else None  # most names need no more than a look
    if found is None:
        return "other", None
    video, start, end = found.groups()
    if end is None:
        return _start_style(start), f"{video}_{int(start):06d}"
    length = int(end) - int(start)
    if length == CLIP_SECONDS * 1000 and int(start) % 1000 == 0:
        return "milliseconds", f"{video}_{int(start) // 1000:06d}"
    if length == CLIP_SECONDS:
        return "seconds", f"{video}_{int(start):06d}"
    return "other", None


def _start_style(start: str) -> Style:
    if len(start) == OFFICIAL_DIGITS:
        return "six"
    return "padded" if start.startswith("0") and len(start) > 1 else "unpadded"
