"""Annotation files in the VGG-SS form: a JSON list of ``{"file": id, "class": name, "bbox": [[x0, y0, x1, y1], ...]}``.

Four keys may be added: ``image`` and ``audio`` (names of the media files where they are not the id), ``sounding``
(false: the sound in the clip comes from nothing in the frame; ``bbox`` is then empty) and ``objects`` (all that
is visible, sounding or not: a list of ``{"class": name, "bbox": [x0, y0, x1, y1], "sounding": bool}``). The extended
sets of SLAVC add a list of negatives in CSV.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.data.readers_strict import csv_rows, file_name, four_numbers, json_entries, kind, read_bytes, text
from avbench.errors import AvbenchError, unknown_name
from avbench.types import Box

KEYS = ("file", "class", "bbox", "image", "audio", "sounding", "objects")
REQUIRED = KEYS[:3]
OBJECT_KEYS = ("class", "bbox", "sounding")
NEGATIVE = ("image", "audio", "non-sounding")


@dataclass(frozen=True)
class Source:
    """One sounding object: its class and its boxes."""

    label: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Annotation:
    """One entry of an annotation file; ``image`` and ``audio`` are file names without folder and suffix.

    ``label`` is the class of the sound, None where it is not known. Of ``objects``, ``sources`` are those that sound,
    one each even where two are of one class, and ``visible`` are the classes of all. Samples of one ``group`` show one
    picture, each under a name of its own. ``mask`` names the mask's file where it is not the id, ``mixed`` a second
    sound that is added to the first. With ``consensus`` the boxes are those of several annotators.
    """

    id: str
    label: str | None
    boxes: tuple[Box, ...]
    image: str
    audio: str
    sounding: bool
    objects: tuple[Box, ...] | None = None
    sources: tuple[Source, ...] = ()
    visible: tuple[str, ...] = ()
    group: str | None = None
    mask: str | None = None
    mixed: str | None = None
    consensus: bool = False

    @property
    def doubtful(self) -> bool:
        """True where nothing in the frame is said to sound, and yet something in it is of the sound's class."""
        return not self.sounding and self.label in self.visible


def read_annotations(path: Path, *, official: str | None = None) -> list[Annotation]:
    """Read an annotation file strictly, in its own order.

    Args:
        path: the JSON file.
        official: SHA-256 of the one file whose boxes are taken as they are. VGG-SS has 14 coordinates of
            -2.88e16 and 18 boxes of no area, which the official evaluators clip; anywhere else a box outside
            [0, 1], of no area or with NaN is refused.

    Raises:
        AvbenchError: naming the file and the entry, for anything that is not the form above, a duplicate id, or an
            id that is no plain file name.
    """
    content = read_bytes(path)
    entries = json_entries(path, content)
    lenient = official is not None and hashlib.sha256(content).hexdigest() == official
    annotations = [_annotation(f"{path}, entry {i}", entry, lenient) for i, entry in enumerate(entries)]
    require_distinct(path, [a.id for a in annotations])
    return annotations


def read_negatives(path: Path, classes: Mapping[str, str | None]) -> list[Annotation]:
    """Read the negatives of an extended set: a list in CSV of ``image,audio,non-sounding``, in its own order.

    A negative is called ``<image>+<audio>``. Its label is the class of the audio where ``classes`` has it, which
    holds the classes of the positives by their id, and visible is the class of the image, likewise: it is doubtful
    where the two are one. The first row may be a header; SLAVC's loader passes over it too, since its third field is
    not ``non-sounding``.

    Raises:
        AvbenchError: naming the file and the row, for anything that is not the form above, or a row that stands there
            twice.
    """
    rows = csv_rows(path)
    begin = 1 if rows and len(rows[0]) == len(NEGATIVE) and rows[0][-1] != NEGATIVE[-1] else 0
    if not rows[begin:]:
        raise AvbenchError(f"{path} holds no row of {','.join(NEGATIVE)}: fetch the file again")
    negatives: dict[str, Annotation] = {}
    for number, row in enumerate(rows[begin:], start=begin + 1):
        negative = _negative(f"{path}, row {number}", row, classes)
        if negative.id in negatives:
            raise AvbenchError(f"{path}, row {number}: {','.join(row)} stands there twice: keep one row of each pair")
        negatives[negative.id] = negative
    return list(negatives.values())


def require_distinct(path: Path, ids: Sequence[str]) -> None:
    """Refuse entries of one id.

    Raises:
        AvbenchError: naming the first entry, counted from 0, whose id an earlier one has.
    """
    seen: set[str] = set()
    for i, name in enumerate(ids):
        if name in seen:
            raise AvbenchError(f"{path}, entry {i}: the id {name!r} stands there twice: keep one entry per id")
        seen.add(name)


def _annotation(where: str, entry: Any, lenient: bool) -> Annotation:
    if not isinstance(entry, dict):
        raise AvbenchError(f"{where}: expected an object with the keys {', '.join(REQUIRED)}, got {kind(entry)}")
    _check_keys(where, entry, KEYS, REQUIRED)
    name = file_name(where, "file", entry["file"])
    sounding = _flag(where, entry.get("sounding", True))
    boxes = tuple(_box(where, box, lenient) for box in _list(where, "bbox", entry["bbox"]))
    if boxes and not sounding:
        raise AvbenchError(f"{where}: a sample in which nothing sounds has boxes: empty 'bbox', or say it sounds")
    if sounding and not boxes:
        raise AvbenchError(f'{where}: a sounding sample without any box: add one or say "sounding": false')
    things = _objects(where, entry["objects"]) if "objects" in entry else None
    return Annotation(
        id=name,
        label=text(where, "class", entry["class"]),
        boxes=boxes,
        image=file_name(where, "image", entry.get("image", name)),
        audio=file_name(where, "audio", entry.get("audio", name)),
        sounding=sounding,
        objects=None if things is None else tuple(box for thing, _ in things for box in thing.boxes),
        sources=tuple(thing for thing, sounds in things or () if sounds),
        visible=tuple(thing.label for thing, _ in things or ()),
    )


def _negative(where: str, row: list[str], classes: Mapping[str, str | None]) -> Annotation:
    if len(row) != len(NEGATIVE) or row[-1] != NEGATIVE[-1]:
        raise AvbenchError(f"{where}: expected {','.join(NEGATIVE)}, got {','.join(row)!r}: fetch the file again")
    image, audio = (file_name(where, key, name) for key, name in zip(NEGATIVE[:2], row[:2], strict=True))
    seen = classes.get(image)
    return Annotation(
        id=f"{image}+{audio}",
        label=classes.get(audio),
        boxes=(),
        image=image,
        audio=audio,
        sounding=False,
        visible=() if seen is None else (seen,),
    )


def _objects(where: str, value: Any) -> list[tuple[Source, bool]]:
    """The visible objects, each with whether it sounds."""
    things = []
    for i, item in enumerate(_list(where, "objects", value)):
        here = f"{where}, object {i}"
        if not isinstance(item, dict):
            raise AvbenchError(f"{here}: expected an object with the keys {', '.join(OBJECT_KEYS)}, got {kind(item)}")
        _check_keys(here, item, OBJECT_KEYS, OBJECT_KEYS)
        thing = Source(text(here, "class", item["class"]), (_box(here, item["bbox"], False),))
        things.append((thing, _flag(here, item["sounding"])))
    return things


def _check_keys(where: str, entry: dict[str, Any], known: Sequence[str], required: Sequence[str]) -> None:
    for key in required:
        if key not in entry:
            raise AvbenchError(f"{where}: the key {key!r} is missing; an entry has {', '.join(required)}")
    for key in entry:
        if key not in known:
            problem = unknown_name("annotation key", key, known, f"of {', '.join(known)} the form")
            raise AvbenchError(f"{where}: {problem}")


def _flag(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise AvbenchError(f"{where}: 'sounding' is true or false, got {value!r}")
    return value


def _list(where: str, key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise AvbenchError(f"{where}: expected a list under {key!r}, got {kind(value)}")
    return value


def _box(where: str, value: Any, lenient: bool) -> Box:
    box = four_numbers(where, value)
    if not lenient:
        _check_box(where, box)
    return box


def _check_box(where: str, box: Box) -> None:
    if not all(math.isfinite(v) for v in box):
        raise AvbenchError(f"{where}: a box holds a number that is not finite, {list(box)}: correct it")
    if not all(0 <= v <= 1 for v in box):
        raise AvbenchError(f"{where}: the box {list(box)} leaves the frame: coordinates are fractions in [0, 1]")
    if box[0] >= box[2] or box[1] >= box[3]:
        raise AvbenchError(
            f"{where}: the box {list(box)} has no area: corners go [x0, y0, x1, y1] with x0 < x1, y0 < y1"
        )
