"""Sets of one's own: a YAML file, a table, or a folder of media with its truth. Nothing here imports torch."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from avbench.data.annotations import Annotation, read_annotations
from avbench.data.layouts import IMAGE_SUFFIXES, MASK_SUFFIXES, MediaFolders, MediaIndex, index_media
from avbench.data.readers_strict import file_name
from avbench.data.regular import require_file
from avbench.data.user_tables import read_table
from avbench.errors import AvbenchError, UsageError, unknown_name

MEDIA_KEYS = ("frames", "audio", "masks")
YAML_KEYS = ("name", "format", "annotations", *MEDIA_KEYS)
OPTIONAL = {"masks": "masks"}
FORMATS = ("vggss", "csv", "folder")

YAML_SUFFIXES = (".yaml", ".yml")
TABLE_SUFFIX = ".csv"
SUFFIXES = (*YAML_SUFFIXES, TABLE_SUFFIX)

JSON, TABLE = "annotations.json", "annotations.csv"
"""What the truth in a folder is called."""

PLAIN = re.compile(r"[\w.-]*\w")


@dataclass(frozen=True)
class UserSet:
    """A set as its owner describes it; ``source`` is the file or the folder that does."""

    name: str
    annotations: list[Annotation]
    media: MediaIndex
    source: str


def is_user_set(text: str) -> bool:
    """Whether ``text`` is the path of a set of one's own, where it is no built-in name."""
    return Path(text).suffix in SUFFIXES or "/" in text or Path(text).is_dir()


def read_user_set(path: Path, *, data: Path | None, taken: Collection[str], official: str) -> UserSet:
    """Read a set of one's own, strictly.

    Args:
        path: a YAML file, whose paths are relative to itself; a CSV file with ``frames/``, ``audio/`` and ``masks/``
            beside it; or a folder that holds these with ``annotations.json``, ``annotations.csv`` or neither. The
            last two are called as the file or the folder is.
        data: folder that holds the media instead.
        taken: names of the built-in splits, which the set may not have.
        official: SHA-256 of the one annotation file whose boxes are taken as they are.

    Raises:
        UsageError: for an unknown or missing key, a name that is taken, a folder that is not there.
        AvbenchError: for annotations that cannot be read, or a sounding sample without any truth.
    """
    if data is not None and not data.is_dir():
        raise UsageError(f"expected the folder of media at {data}, found none: check --data")
    if path.suffix in YAML_SUFFIXES and not path.is_dir():
        return _by_yaml(path, data, taken, official)
    if not path.is_dir() and path.suffix != TABLE_SUFFIX:
        raise UsageError(
            f"expected a set of one's own at {path}, a folder or a file that ends in {', '.join(SUFFIXES)}"
        )
    return _by_path(path, data, taken, official)


def _by_yaml(path: Path, data: Path | None, taken: Collection[str], official: str) -> UserSet:
    values = _read_yaml(path, taken)
    base = data or path.parent
    own = _folders(path.parent, values)
    media = _pack_in(base) or MediaIndex(_folders(base, values))
    if values["format"] == "folder":
        annotations = _masked(own, media)
    else:
        annotations = _read(path.parent / values["annotations"], values["format"], media, official)
    return UserSet(values["name"], annotations, media, str(path))


def _by_path(path: Path, data: Path | None, taken: Collection[str], official: str) -> UserSet:
    base = path if path.is_dir() else path.parent
    own = MediaFolders.below(base)
    media = index_media(data) if data is not None else _pack_in(base) or MediaIndex(own)
    truth = _truth_in(path) if path.is_dir() else path
    if truth is None:
        annotations = _masked(own, media)
    else:
        annotations = _read(truth, "csv" if truth.suffix == TABLE_SUFFIX else "vggss", media, official)
    return UserSet(_name_of(path, taken), annotations, media, str(path))


def _pack_in(folder: Path) -> MediaIndex | None:
    from avbench.data.packs import is_pack, open_pack  # they import numpy, which listing splits does not need

    return open_pack(folder) if is_pack(folder) else None


def _read(truth: Path, form: str, media: MediaIndex, official: str) -> list[Annotation]:
    if form == "csv":
        return read_table(truth, lambda name: media.mask(name) is not None)
    return read_annotations(truth, official=official)


def _truth_in(folder: Path) -> Path | None:
    """The file of annotations in a folder; None where masks alone are the truth."""
    found = [folder / name for name in (JSON, TABLE) if (folder / name).is_file()]
    if len(found) > 1:
        raise AvbenchError(f"{folder} holds both {JSON} and {TABLE}: keep one of them")
    if not found and not (folder / "masks").is_dir():
        raise AvbenchError(f"{folder} holds no truth: expected {JSON}, {TABLE} or masks/ beside frames/ and audio/")
    return found[0] if found else None


def _masked(own: MediaFolders, media: MediaIndex) -> list[Annotation]:
    """A sample for each picture and each mask, by name; its sounding pixels are those of the mask."""
    names = sorted(_names(own.frames, IMAGE_SUFFIXES) | _names(own.masks, MASK_SUFFIXES))
    if not names:
        raise AvbenchError(f"{own.masks} holds no mask: expected a PNG for every picture in {own.frames}")
    for name in names:
        if media.mask(name) is None:
            raise AvbenchError(f"the picture {name} in {own.frames} has no mask: add {media.folders.masks / name}.png")
    return [Annotation(name, None, (), image=name, audio=name, sounding=True) for name in names]


def _names(folder: Path, suffixes: tuple[str, ...]) -> set[str]:
    found = [p for p in folder.iterdir() if p.suffix.lower() in suffixes] if folder.is_dir() else []
    return {file_name(str(folder), "file", p.stem) for p in found if not p.name.startswith(".")}


def _name_of(path: Path, taken: Collection[str]) -> str:
    """What a set is called that does not say so itself: as its folder or its file, with ``-`` for what is no word."""
    whole = path.resolve()
    name = re.sub(r"[^\w.-]+", "-", whole.name if path.is_dir() else whole.stem)
    if not PLAIN.fullmatch(name) or name in taken:
        reason = "belongs to a built-in split" if name in taken else "is no plain word"
        raise UsageError(
            f"the set {path} would be called {name!r}, which {reason}: rename it, or name it in a YAML file"
        )
    return name


def _folders(base: Path, values: dict[str, str]) -> MediaFolders:
    return MediaFolders(base / values["frames"], base / values["audio"], base / values["masks"], base / "Annotations")


def _read_yaml(path: Path, taken: Collection[str]) -> dict[str, str]:
    import yaml

    try:
        require_file(path)
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise UsageError(f"expected a split file at {path}: {problem.strerror}") from problem
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise UsageError(f"{path} is not YAML ({' '.join(str(problem).split())}): correct it") from problem
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds no keys: expected {', '.join(YAML_KEYS)}")
    values = OPTIONAL | values
    _check_keys(path, values)
    if not PLAIN.fullmatch(values["name"]):
        raise UsageError(f"{path}: the name {values['name']!r} is no plain word: use letters, digits, '-', '_' and '.'")
    if values["name"] in taken:
        raise UsageError(f"{path}: the name {values['name']!r} belongs to a built-in split: choose another")
    return values


def _check_keys(path: Path, values: dict[Any, Any]) -> None:
    for key in values:
        if key not in YAML_KEYS:
            problem = unknown_name("key of a split file", str(key), YAML_KEYS, f"of {', '.join(YAML_KEYS)} the form")
            raise UsageError(f"{path}: {problem}")
    masked = values.get("format") == "folder"
    for key in YAML_KEYS:
        if not isinstance(values.get(key), str) and not (masked and key == "annotations" and key not in values):
            came = f"got {shortened(values[key])}" if key in values else "it is missing"
            raise UsageError(f"{path}: expected a text under {key!r}, {came}; the keys are {', '.join(YAML_KEYS)}")
    if values["format"] not in FORMATS:
        raise UsageError(f"{path}: the format {values['format']!r} is unknown: write format: {', '.join(FORMATS)}")
    if masked and "annotations" in values:
        raise UsageError(
            f"{path}: with format: folder masks are the truth: leave annotations out, or name their format"
        )
