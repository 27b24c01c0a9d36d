"""AVSBench, IS3 and VPO as SSLalignment lists them: ``{"image": path, "audio": path, "gt_box": corners}`` in JSON.

The paths are those of the authors' server: names are taken from their last components and nothing is opened there. A
box is in pixels of a 224 x 224 frame; one that is all zero is empty truth and stays. Nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nextafter
from pathlib import PurePosixPath
from typing import Any

from avbench.data.annotations import Annotation, require_distinct
from avbench.data.readers_lists import Files, Options
from avbench.data.readers_strict import file_name, four_numbers, json_entries, keys_of, read_bytes, text
from avbench.errors import AvbenchError
from avbench.types import CANVAS, Box

KEYS = ("image", "audio", "gt_box")


@dataclass(frozen=True)
class _Names:
    """What the paths of a pair say."""

    image: str
    audio: str
    label: str | None = None
    group: str | None = None


def read_pairs(files: Files, options: Options) -> list[Annotation]:
    """The pairs of a set in the order of its file.

    Args:
        files: ``boxes``, the JSON.
        options: ``layout``, how the paths are read: ``avsbench-s4`` (the class of a frame is its clip's folder),
            ``avsbench-ms3``, ``is3`` (the class is the last word of the name, pictures that share the rest are one) or
            ``vpo`` (pictures of one COCO number are one).

    Raises:
        AvbenchError: for a file of another form, a path that the layout does not have, a box out of the frame, or a
            pair that stands there twice.
    """
    path = files["boxes"]
    entries = json_entries(path, read_bytes(path))
    found = [_pair(f"{path}, entry {i}", entry, _LAYOUTS[options["layout"]]) for i, entry in enumerate(entries)]
    require_distinct(path, [a.id for a in found])
    return found


def canvas_fraction(pixel: int) -> float:
    """A coordinate of the 224-pixel canvas as the least fraction that becomes ``pixel`` again.

    Coordinates are drawn at ``int(fraction * 224)``, and ``61 / 224 * 224`` is a little less than 61 in floats.
    """
    fraction = pixel / CANVAS
    while int(fraction * CANVAS) < pixel:
        fraction = nextafter(fraction, inf)
    return fraction


def _pair(where: str, entry: Any, layout: Callable[[PurePosixPath, PurePosixPath], _Names | None]) -> Annotation:
    entry = keys_of(where, entry, KEYS)
    image, audio = (PurePosixPath(text(where, key, entry[key])) for key in KEYS[:2])
    names = layout(image, audio)
    if names is None:
        raise AvbenchError(f"{where}: {image} and {audio} are not named as those of this set are: fetch it again")
    return Annotation(
        id=file_name(where, "image", names.image),
        label=names.label,
        boxes=(_box(where, entry["gt_box"]),),
        image=names.image,
        audio=file_name(where, "audio", names.audio),
        sounding=True,
        group=names.group,
    )


def _box(where: str, value: Any) -> Box:
    corners = four_numbers(where, value)
    if not all(0 <= v <= CANVAS for v in corners):
        raise AvbenchError(
            f"{where}: the box {list(corners)} leaves the frame of {CANVAS} pixels: fetch the file again"
        )
    x0, y0, x1, y1 = (canvas_fraction(int(v)) for v in corners)
    return x0, y0, x1, y1


def _avsbench(image: PurePosixPath, audio: PurePosixPath) -> _Names | None:
    """``<clip>/<clip>_<k>.png``, in MS3 ``<clip>/<clip>.mp4_<k>.png``, with ``<clip>.wav``."""
    clip = image.parent.name
    frame = re.fullmatch(re.escape(clip) + r"(?:[.]mp4)?_([1-5])[.]png", image.name)
    return _Names(f"{clip}_{frame[1]}", clip) if frame and audio.name == f"{clip}.wav" else None


def _avsbench_s4(image: PurePosixPath, audio: PurePosixPath) -> _Names | None:
    names, category = _avsbench(image, audio), image.parent.parent.name
    return _Names(names.image, names.audio, category) if names and category and audio.parent.name == category else None


def _is3(image: PurePosixPath, audio: PurePosixPath) -> _Names | None:
    """``<picture>_<object>.jpg``; most pictures, not all, are called ``<a>_<b>_<number>`` after their two objects."""
    picture, _, thing = image.stem.rpartition("_")
    return _Names(image.stem, image.stem, thing, picture) if picture and thing and audio.stem == image.stem else None


def _vpo(image: PurePosixPath, audio: PurePosixPath) -> _Names | None:
    """``<number in COCO>_<annotation>.jpg``."""
    parts = re.fullmatch(r"([0-9]+)_[0-9]+", image.stem)
    return _Names(image.stem, image.stem, None, parts[1]) if parts and audio.stem == image.stem else None


_LAYOUTS: dict[str, Callable[[PurePosixPath, PurePosixPath], _Names | None]] = {
    "avsbench-s4": _avsbench_s4,
    "avsbench-ms3": _avsbench,
    "is3": _is3,
    "vpo": _vpo,
}
