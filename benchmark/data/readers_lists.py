"""Splits that are lists of ids: VGG-SS and its parts, Flickr-SoundNet, training lists. Nothing here imports torch."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from avbench.data.annotations import Annotation, read_annotations, read_negatives, require_distinct
from avbench.data.readers_strict import csv_rows, file_hash, text_lines
from avbench.errors import AvbenchError

Files = Mapping[str, Path]
"""Official files by their role in a split, each of the hash that the definition states."""

Options = Mapping[str, str]

VIDEO = r"[A-Za-z0-9_-]{11}"
"""Id of a YouTube video; it may begin with ``-`` or ``_`` and contain both, so that ids are cut by length."""


VIDEO_LENGTH = 11
"""Characters of such an id, and the most that an id of Flickr has."""

SALT = "avbench-validation:"
"""Stands before an id where its place in the draw of a validation list is hashed."""


def read_ids(path: Path, naming: str) -> list[str]:
    """The ids of a list, one a line, in its order.

    Args:
        path: the list.
        naming: ``vggsound`` (``<video>_000030``, the start in seconds), ``vggsound-jpg`` (the same with ``.jpg``, as
            SSL-TIE lists them), ``vggsound-ms`` (``<video>_30000_40000``, start and end in milliseconds, as Alignment
            and HTF do; the ids that come out have the start in seconds), or ``flickr`` (digits).

    Raises:
        AvbenchError: for a line of another form, or an id that stands there twice.
    """
    parse = _NAMINGS[naming]
    ids = []
    for number, line in enumerate(text_lines(path), start=1):
        found = parse(line)
        if found is None:
            raise AvbenchError(f"{path}, line {number}: expected {_FORMS[naming]}, got {line[:50]!r}: fetch it again")
        ids.append(found)
    require_distinct(path, ids)
    return ids


def read_vggss(files: Files, options: Options) -> list[Annotation]:
    """VGG-SS, or a part of it.

    Args:
        files: ``boxes`` is the VGG-SS file, whose boxes are taken as they are. Optional: ``list``, the ids wanted in
            their order; ``excluded``, ids not wanted; ``negatives``, pairs in which nothing in sight sounds, which
            follow the rest.
        options: ``naming`` of the ids in ``list``, ``vggsound`` without.

    Raises:
        AvbenchError: for a file of another form, or a listed id without boxes.
    """
    boxes = read_annotations(files["boxes"], official=file_hash(files["boxes"]))
    if "list" in files:
        known = {a.id: a for a in boxes}
        boxes = [
            known[name] for name in _known(files, read_ids(files["list"], options.get("naming", "vggsound")), known)
        ]
    if "excluded" in files:
        without = set(read_ids(files["excluded"], "vggsound"))
        boxes = [a for a in boxes if a.id not in without]
    if "negatives" in files:
        boxes = boxes + read_negatives(files["negatives"], {a.id: a.label for a in boxes})
    return boxes


def read_flickr(files: Files, options: Options) -> list[Annotation]:
    """Flickr-SoundNet: the ids alone, since the boxes come with the media, one XML file a clip.

    Args:
        files: ``list``, CSV of an id and an integer that nobody reads, or ids alone; optional ``negatives`` as for
            VGG-SS.
        options: none.

    Returns:
        Annotations without boxes, those that sound marked as the consensus of several annotators.

    Raises:
        AvbenchError: for a file of another form.
    """
    ids = _flickr_ids(files["list"])
    found = [replace(_unlabelled(name), consensus=True) for name in ids]
    return found + (read_negatives(files["negatives"], dict.fromkeys(ids)) if "negatives" in files else [])


def read_training(files: Files, options: Options) -> list[Annotation]:
    """Clips to train on: sounding, without class or boxes.

    Args:
        files: ``list``, the ids.
        options: ``naming`` of the ids, ``vggsound`` without.

    Raises:
        AvbenchError: for a file of another form.
    """
    return [_unlabelled(name) for name in read_ids(files["list"], options.get("naming", "vggsound"))]


def read_partly_annotated(files: Files, options: Options) -> list[Annotation]:
    """Clips of Flickr to train on, some of them with boxes, which come with the media as in :func:`read_flickr`.

    Args:
        files: ``list``, the ids to train on; ``annotated``, those with boxes, be they in the other list or not.
        options: none.

    Returns:
        The first list in its order, and after it what the second adds; without boxes, those of the second list marked
        as the consensus of several annotators.

    Raises:
        AvbenchError: for a file of another form.
    """
    plain = [_unlabelled(name) for name in read_ids(files["list"], "flickr")]
    annotated = read_flickr({"list": files["annotated"]}, options)
    return list({a.id: a for a in (*plain, *annotated)}.values())


def read_validation(files: Files, options: Options) -> list[Annotation]:
    """The part of a training list that is kept to validate on, in the list's order.

    The draw depends on nothing but the ids: the n of them whose SHA-256 of :data:`SALT` and the id is smallest, those
    passed over whose video is tested on. Of these only such are named as would have been drawn else.

    Args:
        files: as for :func:`read_training`.
        options: ``n``, how many; ``excluded``, YouTube ids parted by white space; ``naming`` as there.

    Raises:
        AvbenchError: for a file of another form.
    """
    return _drawn(read_training(files, options), options)


def read_flickr_validation(files: Files, options: Options) -> list[Annotation]:
    """The same of a list that :func:`read_flickr` reads, whose boxes come with the media."""
    return _drawn(read_flickr(files, options), options)


def _drawn(annotations: list[Annotation], options: Options) -> list[Annotation]:
    excluded = set(options.get("excluded", "").split())
    free = (a.id for a in annotations if a.id[:VIDEO_LENGTH] not in excluded)
    drawn = set(heapq.nsmallest(int(options["n"]), free, key=_place_in_draw))
    return [a for a in annotations if a.id in drawn]


def _place_in_draw(name: str) -> str:
    return hashlib.sha256((SALT + name).encode()).hexdigest()


def _known(files: Files, ids: list[str], known: Mapping[str, Annotation]) -> list[str]:
    for name in ids:
        if name not in known:
            raise AvbenchError(
                f"{files['list']} lists {name}, of which {files['boxes']} has no boxes: fetch both again"
            )
    return ids


def _flickr_ids(path: Path) -> list[str]:
    if path.suffix != ".csv":
        return read_ids(path, "flickr")
    ids = []
    for number, row in enumerate(csv_rows(path), start=1):
        if len(row) != 2 or not all(re.fullmatch("[0-9]+", cell) for cell in row):
            raise AvbenchError(f"{path}, row {number}: expected an id and an integer, got {','.join(row)[:50]!r}")
        ids.append(row[0])
    require_distinct(path, ids)
    return ids


def _unlabelled(name: str) -> Annotation:
    return Annotation(id=name, label=None, boxes=(), image=name, audio=name, sounding=True)


def _plain(pattern: str) -> Callable[[str], str | None]:
    form = re.compile(pattern)

    def parse(line: str) -> str | None:
        match = form.fullmatch(line)
        return match[1] if match else None

    return parse


def _milliseconds(line: str) -> str | None:
    match = re.fullmatch(f"({VIDEO})_([0-9]+)_([0-9]+)", line)
    if match is None:
        return None
    start, end = int(match[2]), int(match[3])
    return f"{match[1]}_{start // 1000:06d}" if start % 1000 == 0 and end == start + 10_000 else None


_NAMINGS: dict[str, Callable[[str], str | None]] = {
    "vggsound": _plain(f"({VIDEO}_[0-9]{{6}})"),
    "vggsound-jpg": _plain(f"({VIDEO}_[0-9]{{6}})[.]jpg"),
    "vggsound-ms": _milliseconds,
    "flickr": _plain("([0-9]+)"),
}

_FORMS = {
    "vggsound": "a clip such as -0BIyqJj9ZU_000030",
    "vggsound-jpg": "a picture such as -0BIyqJj9ZU_000030.jpg",
    "vggsound-ms": "ten seconds such as -0BIyqJj9ZU_30000_40000",
    "flickr": "a number such as 10000130166",
}
