"""Sets of one's own: what a YAML file of a user says. Nothing here imports torch."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.data.annotations import Annotation, read_annotations
from avbench.data.layouts import MediaFolders, MediaIndex
from avbench.data.packs import is_pack, open_pack
from avbench.errors import UsageError, unknown_name

YAML_KEYS = ("name", "format", "annotations", "frames", "audio")
YAML_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class UserSet:
    """A set as its owner describes it; ``source`` is the file that does."""

    name: str
    annotations: list[Annotation]
    media: MediaIndex
    source: str


def is_user_set(text: str) -> bool:
    """Whether ``text`` is the path of a set of one's own, where it is no built-in name."""
    return Path(text).suffix in YAML_SUFFIXES


def read_user_set(path: Path, *, data: Path | None, taken: Collection[str], official: str) -> UserSet:
    """Read a set of one's own, strictly.

    Args:
        path: a YAML file; its paths are relative to itself.
        data: folder that holds the media instead of the file's own.
        taken: names of the built-in splits, which the set may not have.
        official: SHA-256 of the one annotation file whose boxes are taken as they are.

    Raises:
        UsageError: for an unknown or missing key, a name that is taken, a folder that is not there.
        AvbenchError: for annotations that cannot be read.
    """
    values = _read_yaml(path, taken)
    base = path.parent
    if data is not None and not data.is_dir():
        raise UsageError(f"expected the folder of media at {data}, found none: check --data")
    media = data if data is not None else base
    folders = MediaFolders(media / values["frames"], media / values["audio"], media / "masks", media / "Annotations")
    annotations = read_annotations(base / values["annotations"], official=official)
    found = open_pack(media) if is_pack(media) else MediaIndex(folders)
    return UserSet(values["name"], annotations, found, str(path))


def _read_yaml(path: Path, taken: Collection[str]) -> dict[str, str]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise UsageError(f"expected a split file at {path}: {problem.strerror}") from problem
    except (yaml.YAMLError, ValueError) as problem:
        raise UsageError(f"{path} is not YAML ({' '.join(str(problem).split())}): correct it") from problem
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds no keys: expected {', '.join(YAML_KEYS)}")
    _check_yaml(path, values, taken)
    return values


def _check_yaml(path: Path, values: dict[Any, Any], taken: Collection[str]) -> None:
    for key in values:
        if key not in YAML_KEYS:
            problem = unknown_name("key of a split file", str(key), YAML_KEYS, f"of {', '.join(YAML_KEYS)} the form")
            raise UsageError(f"{path}: {problem}")
    for key in YAML_KEYS:
        if not isinstance(values.get(key), str):
            came = f"got {values[key]!r}" if key in values else "it is missing"
            raise UsageError(f"{path}: expected a text under {key!r}, {came}; the keys are {', '.join(YAML_KEYS)}")
    if values["format"] != "vggss":
        raise UsageError(f"{path}: the format {values['format']!r} is unknown: write format: vggss")
    if not re.fullmatch(r"[\w.-]*\w", values["name"]):
        raise UsageError(f"{path}: the name {values['name']!r} is no plain word: use letters, digits, '-', '_' and '.'")
    if values["name"] in taken:
        raise UsageError(f"{path}: the name {values['name']!r} belongs to a built-in split: choose another")
