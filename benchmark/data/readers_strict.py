"""Strict reading of the files that annotations come in: JSON, CSV, lists of names. Every error names file and place."""

from __future__ import annotations

import csv
import hashlib
import json
from io import StringIO
from pathlib import Path
from typing import Any

from avbench.data.regular import require_file
from avbench.errors import AvbenchError
from avbench.types import Box

LONGEST = 200
"""Characters of a name: with a suffix it still is a file name on every system."""


def read_bytes(path: Path) -> bytes:
    """The bytes of an annotation file.

    Raises:
        AvbenchError: if it cannot be read.
    """
    try:
        require_file(path)
        return path.read_bytes()
    except OSError as problem:
        raise AvbenchError(f"expected an annotation file at {path}: {problem.strerror}") from problem


def file_hash(path: Path) -> str:
    """SHA-256 of the bytes of ``path``.

    Raises:
        AvbenchError: if it cannot be read.
    """
    return hashlib.sha256(read_bytes(path)).hexdigest()


def json_entries(path: Path, content: bytes) -> list[Any]:
    """The list that a JSON file holds.

    Raises:
        AvbenchError: for anything but a list with something in it.
    """
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise AvbenchError(
            f"{path} is not JSON or is cut off ({problem}): expected a list of entries, correct it or fetch it again"
        ) from problem
    if not isinstance(entries, list):
        raise AvbenchError(f"{path} holds {kind(entries)} where a list of entries is expected: see the VGG-SS form")
    if not entries:
        raise AvbenchError(f"{path} holds an empty list: expected at least one entry")
    return entries


def csv_rows(path: Path) -> list[list[str]]:
    """All rows of a CSV file, quotes and commas understood.

    Raises:
        AvbenchError: if it is not CSV.
    """
    try:
        return list(csv.reader(StringIO(read_bytes(path).decode(), newline=""), strict=True))
    except UnicodeDecodeError as problem:
        raise AvbenchError(f"{path} is not CSV in UTF-8 ({problem}): save it as that, or fetch it again") from problem
    except (ValueError, csv.Error) as problem:
        raise AvbenchError(f"{path} is not CSV or is cut off ({problem}): correct it or fetch it again") from problem


def text_lines(path: Path) -> list[str]:
    """The lines of a list, of which nothing but the line ends is stripped.

    Raises:
        AvbenchError: if it is no text, or empty.
    """
    try:
        lines = read_bytes(path).decode().splitlines()
    except ValueError as problem:
        raise AvbenchError(f"{path} is no text in UTF-8 ({problem}): fetch the file again") from problem
    if not lines:
        raise AvbenchError(f"{path} is empty: expected a list of one name per line, fetch the file again")
    return lines


def file_name(where: str, key: str, value: Any) -> str:
    """``value`` if it can be the name of a file, without folder and suffix.

    Raises:
        AvbenchError: if not, which keeps names such as ``../../etc`` from leading anywhere.
    """
    name = text(where, key, value)
    if name in {".", ".."} or any(c in name for c in "/\\") or not name.isprintable() or len(name) > LONGEST:
        raise AvbenchError(
            f"{where}: {key} {name[:LONGEST]!r} is no plain file name: give the name without folder and suffix, no '/' "
            "or '..'"
        )
    return name


def text(where: str, key: str, value: Any) -> str:
    """``value`` if it is a text with something in it.

    Raises:
        AvbenchError: if not.
    """
    if not isinstance(value, str) or not value:
        raise AvbenchError(f"{where}: expected a text under {key!r}, got {value!r}: put names in quotes")
    return value


def keys_of(where: str, entry: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    """``entry`` if it is an object of exactly these keys.

    Raises:
        AvbenchError: if not.
    """
    if not isinstance(entry, dict) or set(entry) != set(keys):
        came = f"the keys {', '.join(sorted(map(str, entry)))}" if isinstance(entry, dict) else kind(entry)
        raise AvbenchError(f"{where}: expected an object with the keys {', '.join(keys)}, got {came}")
    return entry


def four_numbers(where: str, value: Any, form: str = "[x0, y0, x1, y1]") -> Box:
    """``value`` if it is a list of four numbers, finite or not; ``form`` is how an error calls them.

    Raises:
        AvbenchError: if not.
    """
    if not isinstance(value, list) or len(value) != 4 or not all(type(v) in {int, float} for v in value):
        raise AvbenchError(f"{where}: a box is four numbers {form}, got {value!r}")
    x, y, z, w = (float("inf") if abs(v) >= 1e300 else float(v) for v in value)  # JSON integers know no limit
    return x, y, z, w


def kind(value: Any) -> str:
    """What ``value`` is called in JSON."""
    names = {dict: "an object (dict)", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
