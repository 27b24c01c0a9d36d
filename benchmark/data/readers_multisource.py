"""Sets of several sources, in the lists of AVGN and T-VSL: MUSIC and what is mixed of VGGSound's clips.

Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from avbench.data.annotations import Annotation, Source, read_annotations, require_distinct
from avbench.data.readers_lists import Files, Options
from avbench.data.readers_strict import (
    csv_rows,
    file_hash,
    file_name,
    four_numbers,
    json_entries,
    keys_of,
    read_bytes,
    text,
)
from avbench.errors import AvbenchError
from avbench.types import Box

SOLO = ("file", "class", "bbox")
DUET = ("file", "class_src1", "bbox_src1", "class_src2", "bbox_src2")

CLIP = len("_000_00007")
"""What follows the video's id in the name of a frame of MUSIC: clip and frame."""


def read_music(files: Files, options: Options) -> list[Annotation]:
    """Frames of MUSIC with the box of each instrument; all frames of a video share its sound.

    Args:
        files: ``boxes``, JSON of one instrument a frame or of two.
        options: ``boxes`` is ``xywh``, which is what the four numbers are: left, top, width, height; or ``corners``,
            which is how AVGN and T-VSL read them, so that many a box has no area (data of DSOL shows the former).

    Raises:
        AvbenchError: for a file of another form, or a box that leaves the frame.
    """
    path, corners = files["boxes"], options["boxes"] == "corners"
    entries = json_entries(path, read_bytes(path))
    found = [_frame(f"{path}, entry {i}", entry, corners=corners) for i, entry in enumerate(entries)]
    require_distinct(path, [a.id for a in found])
    return found


def read_instruments(files: Files, options: Options) -> list[Annotation]:
    """Clips of VGGSound-Instruments, whose truth is a mask with the media.

    Args:
        files: ``list``, CSV of id and class.
        options: none.

    Raises:
        AvbenchError: for a file of another form.
    """
    path = files["list"]
    found = [_masked(f"{path}, row {n}", row) for n, row in enumerate(csv_rows(path), start=1)]
    require_distinct(path, [a.id for a in found])
    return found


def read_duets(files: Files, options: Options) -> list[Annotation]:
    """Pairs of clips whose sounds are mixed: each row gives two samples, one per picture, both hearing the plain sum.

    The samples of a row ``x, y`` are ``x+y+1``, the picture of x, and ``x+y+2``, the picture of y.

    Args:
        files: ``list``, CSV of id, class, partner, its class; ``boxes``, the VGG-SS file, or without it the truth is
            the mask of the picture's clip.
        options: ``truth`` is ``own``, the boxes of the picture's own clip, or ``partner``: AVGN and T-VSL look the
            boxes up by the partner's id, so that a picture is scored against the boxes of the clip it is mixed with
            (and the partner's picture against those of the partner's partner).

    Raises:
        AvbenchError: for a file of another form, or an id without boxes.
    """
    path = files["list"]
    rows = [_duet_row(f"{path}, row {n}", row) for n, row in enumerate(csv_rows(path), start=1)]
    partners = {x: y for x, _, y, _ in rows}
    found = []
    for x, x_class, y, y_class in rows:
        found += [_mixed(f"{x}+{y}+1", x, x_class, y), _mixed(f"{x}+{y}+2", y, y_class, x)]
    require_distinct(path, [a.id for a in found])
    if "boxes" not in files:
        return found
    clips = {a.id: a for a in read_annotations(files["boxes"], official=file_hash(files["boxes"]))}
    looked_up = {a.image: a.image if options["truth"] == "own" else partners.get(a.image, a.image) for a in found}
    for name in {*looked_up, *looked_up.values()} - clips.keys():
        raise AvbenchError(f"{path} mixes {name}, of which {files['boxes']} has no boxes: fetch both again")
    return [replace(a, label=clips[a.image].label, boxes=clips[looked_up[a.image]].boxes, mask=None) for a in found]


def _frame(where: str, entry: Any, *, corners: bool) -> Annotation:
    two = isinstance(entry, dict) and DUET[1] in entry
    entry = keys_of(where, entry, DUET if two else SOLO)
    name = file_name(where, "file", entry["file"])
    if len(name) <= CLIP:
        raise AvbenchError(f"{where}: expected a frame such as HnUOaSfTA6c_000_00007, got {name!r}")
    pairs = [(entry[c], entry[b]) for c, b in ((DUET[1:3], DUET[3:5]) if two else (SOLO[1:3],))]
    sources = tuple(Source(text(where, "class", label), (_box(where, box, corners),)) for label, box in pairs)
    return Annotation(
        id=name,
        label=" and ".join(source.label for source in sources),
        boxes=tuple(box for source in sources for box in source.boxes),
        image=name,
        audio=file_name(where, "file", name[:-CLIP]),
        sounding=True,
        sources=sources,
    )


def _box(where: str, value: Any, corners: bool) -> Box:
    x, y, width, height = four_numbers(where, value, "[x, y, width, height]")
    if not (0 <= x <= x + width <= 1 and 0 <= y <= y + height <= 1):
        raise AvbenchError(f"{where}: the box {value} leaves the frame: expected fractions [x, y, width, height]")
    return (x, y, width, height) if corners else (x, y, x + width, y + height)


def _masked(where: str, row: list[str]) -> Annotation:
    if len(row) != 2:
        raise AvbenchError(f"{where}: expected an id and a class, got {','.join(row)[:50]!r}: fetch the file again")
    name = file_name(where, "id", row[0])
    return Annotation(id=name, label=text(where, "class", row[1]), boxes=(), image=name, audio=name, sounding=True)


def _duet_row(where: str, row: list[str]) -> tuple[str, str, str, str]:
    if len(row) != 4:
        raise AvbenchError(f"{where}: expected id,class,partner,class, got {','.join(row)[:80]!r}: fetch it again")
    x, y = file_name(where, "id", row[0]), file_name(where, "partner", row[2])
    return x, text(where, "class", row[1]), y, text(where, "class", row[3])


def _mixed(name: str, own: str, label: str, other: str) -> Annotation:
    return Annotation(id=name, label=label, boxes=(), image=own, audio=own, sounding=True, mask=own, mixed=other)
