"""From official files to annotations: how each kind of built-in split is read. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from avbench.data.annotations import Annotation
from avbench.data.official import DataSet, OfficialFile, data_set, data_set_names
from avbench.data.readers_lists import (
    Files,
    Options,
    read_flickr,
    read_flickr_validation,
    read_partly_annotated,
    read_training,
    read_validation,
    read_vggss,
)
from avbench.data.readers_multisource import read_duets, read_instruments, read_music
from avbench.data.readers_pairs import read_pairs
from avbench.data.readers_strict import file_hash
from avbench.data.readers_xml import read_boxes
from avbench.errors import AvbenchError, UsageError

Reader = Callable[[Files, Options], list[Annotation]]
"""From official files by role, and the options of a definition, to annotations in the split's order."""

READERS: dict[str, Reader] = {
    "vggss": read_vggss,
    "flickr": read_flickr,
    "training": read_training,
    "flickr-partly-annotated": read_partly_annotated,
    "validation": read_validation,
    "flickr-validation": read_flickr_validation,
    "pairs": read_pairs,
    "music": read_music,
    "duets": read_duets,
    "instruments": read_instruments,
}

SHOWN = 3
"""Ids that an error names."""


@dataclass(frozen=True)
class Wanted:
    """An official file that a split is made of.

    Attributes:
        sha256: empty for a file that nobody had at hand when the split was defined: its name alone is checked.
    """

    name: str
    sha256: str = ""


def find_official(wanted: Wanted, metadata: Path) -> Path:
    """The official file in ``metadata`` or anywhere below, under any of the names that repositories give it.

    Raises:
        UsageError: for a folder that is not there.
        AvbenchError: if no such file is there, or none of the hash.
    """
    if not metadata.exists():
        raise UsageError(f"expected the folder of official files at {metadata}, found nothing: check --metadata")
    found = official_copies(wanted, metadata)
    for path in found:
        if not wanted.sha256 or file_hash(path) == wanted.sha256:
            return path
    if not found:
        raise AvbenchError(f"there is no {wanted.name} in {metadata} or below: {where_to_get(wanted, metadata)}")
    raise AvbenchError(
        f"{found[0]} is not the official {wanted.name}: expected SHA-256 {wanted.sha256[:16]}..., got "
        f"{file_hash(found[0])[:16]}...; {where_to_get(wanted, metadata)}, or describe your own version in a YAML file"
    )


def official_copies(wanted: Wanted, metadata: Path) -> list[Path]:
    """The files in ``metadata`` or below that are called as the official one is, here or in a repository.

    ``metadata`` may be the file itself.
    """
    known = _catalogued(wanted)
    names = dict.fromkeys([wanted.name, *(known[1].names if known else ())])
    if metadata.is_file():
        return [metadata] if metadata.name in names else []
    return [path for name in names for path in sorted(metadata.rglob(name)) if path.is_file()]


def where_to_get(wanted: Wanted, folder: Path | None = None) -> str:
    """What to do for want of an official file, in ``folder`` or else in the store."""
    known = _catalogued(wanted)
    if known is None:
        return "take it from the official repository"
    to = "" if folder is None else f" --to {folder}"
    return f"avbench data fetch {known[0].name}{to} brings it"


def read_all_boxes(annotations: Iterable[Annotation], find: Callable[[str], Path | None]) -> list[Annotation]:
    """Annotations of several annotators' consensus with the boxes that stand in a file a sample, others as they are.

    Args:
        annotations: of a split.
        find: the file of a picture's boxes by its name, None where there is none.

    Raises:
        AvbenchError: if any file is missing or cannot be read.
    """
    annotations = list(annotations)
    places = {a.id: find(a.image) for a in annotations if a.consensus}
    missing = [name for name, place in places.items() if place is None]
    if missing:
        first = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        raise AvbenchError(
            f"{len(missing)} of {len(places)} samples lack the file of their boxes ({first}): expected "
            f"Annotations/{missing[0]}.xml and so on in the folder of --data, or anywhere below that of --metadata; "
            "they come with the media (avbench data where flickr-soundnet), and no flag goes without them"
        )
    boxes = {name: read_boxes(place) for name, place in places.items() if place is not None}
    return [replace(a, boxes=boxes.get(a.id, a.boxes)) for a in annotations]


def xml_files(metadata: Path) -> Mapping[str, Path]:
    """All XML files in ``metadata`` or below by name without suffix; of several the first in order of paths."""
    return {path.stem: path for path in sorted(metadata.rglob("*.xml"), reverse=True)}


def _catalogued(wanted: Wanted) -> tuple[DataSet, OfficialFile] | None:
    """The data set that has the file, if any has."""
    sets = map(data_set, data_set_names())
    return next(((one, file) for one in sets for file in one.files if file.sha256 == wanted.sha256), None)
