"""Recipe files: one recipe each, or one per training set with what the sets share written once."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from avbench.data.regular import require_file
from avbench.errors import UsageError, unknown_name

PARTS = ("values", "method_values")
"""The tables of a recipe: values of the training, and settings of the method."""

COLUMNS = ("paper", "official", "used", "why")
"""Cells of a value: what the paper says, what the official code says, what is used, and why that differs."""

FILE = re.compile(r"(?P<path>.+\.toml)(?::(?P<set>.+))?")
"""``FILE.toml``, or ``FILE.toml:SET`` for one recipe of several."""

Content = dict[str, Any]


@cache
def packaged() -> dict[str, Content]:
    """Content of each recipe in the package by name, sorted; not to be changed."""
    found: dict[str, Content] = {}
    for entry in files("avbench.recipes").iterdir():
        if entry.name.endswith(".toml"):
            text = entry.read_text(encoding="utf-8")
            found |= unfolded(entry.name.removesuffix(".toml"), tomllib.loads(text))
    return dict(sorted(found.items()))


def unfolded(stem: str, content: Content) -> dict[str, Content]:
    """The recipes of a file by name: ``<stem>-<set>`` per table under ``sets``, else the file itself as ``stem``.

    A table's own texts and cells stand in the place of those that the sets share; a cell is replaced as a whole.

    Raises:
        UsageError: for ``sets``, or a value's cells, that are no tables.
    """
    if "sets" not in content:
        return {stem: content}
    sets = content["sets"]
    if not isinstance(sets, dict) or not sets or not all(isinstance(own, dict) for own in sets.values()):
        raise UsageError(f"the recipe file {stem} expects tables under sets, got {sets!r}: write [sets.NAME]")
    shared = {key: value for key, value in content.items() if key != "sets"}
    return {f"{stem}-{title}": _joined(f"{stem}-{title}", shared, own) for title, own in sets.items()}


def _joined(name: str, shared: Content, own: Content) -> Content:
    return {**shared, **own, **{part: {**cells(name, shared, part), **cells(name, own, part)} for part in PARTS}}


def is_file(text: str) -> bool:
    """Whether ``text`` names a file rather than a recipe of the package."""
    return FILE.fullmatch(text) is not None


def find(text: str) -> tuple[str, Content]:
    """Name and content of a recipe: of the package by its whole name, else in a file as :data:`FILE` has it.

    Raises:
        UsageError: for an unknown name, a file that cannot be read, or a set that the file does not have.
    """
    match = FILE.fullmatch(text)
    if match is None:
        if text not in packaged():
            raise unknown_name("recipe", text, packaged(), "avbench list recipes")
        return text, packaged()[text]
    path, title = Path(match["path"]), match["set"]
    found = unfolded(path.stem, _read(path))
    name = f"{path.stem}-{title}" if title else path.stem
    if name not in found:
        sets = sorted(key.removeprefix(f"{path.stem}-") for key in found if key != path.stem)
        advice = f"name one of its sets, as in {path}:{sets[0]}" if sets else f"it holds one recipe, {path}"
        came = f"the set {title!r}" if title else "no set"
        raise UsageError(f"{came} was asked of {path}, which has {', '.join(sets) or 'no sets'}: {advice}")
    return name, found[name]


def cells(name: str, content: Content, title: str) -> dict[str, Any]:
    """The table ``title`` of a recipe, empty where it has none.

    Raises:
        UsageError: if something else stands there.
    """
    table = content.get(title, {})
    if not isinstance(table, dict):
        raise UsageError(f"the recipe {name} expects a table under {title}, got {table!r}: write [{title}]")
    return table


def used(name: str, content: Content, title: str) -> dict[str, Any]:
    """The values in use of the table ``title``.

    Raises:
        UsageError: for a cell without one.
    """
    return {key: _used(name, key, cell) for key, cell in cells(name, content, title).items()}


def columns(name: str, content: Content) -> list[tuple[str, ...]]:
    """Each value of a recipe and its :data:`COLUMNS` as texts, below a row that names them; what lacks is empty."""
    rows = [
        (key, *(_shown(cell.get(column, "")) for column in COLUMNS))
        for part in PARTS
        for key, cell in cells(name, content, part).items()
    ]
    return [("value", *COLUMNS), *rows]


def _used(name: str, key: str, cell: Any) -> Any:
    if not isinstance(cell, dict) or "used" not in cell:
        raise UsageError(
            f"the recipe {name} gives {key} no value: write {key} = {{ paper = ..., official = ..., used = ... }}"
        )
    if unknown := cell.keys() - set(COLUMNS):
        raise unknown_name(
            f"column of the recipe {name}", min(unknown), COLUMNS, "avbench list recipes --show jsa-demo"
        )
    return cell["used"]


def _shown(value: Any) -> str:
    return ", ".join(map(_shown, value)) if isinstance(value, list) else str(value)


def _read(path: Path) -> Content:
    try:
        require_file(path)
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"expected a recipe file, found nothing at {path}") from None
    except OSError as problem:
        raise UsageError(f"expected a recipe file at {path}, which cannot be read ({problem.strerror})") from None
    except (ValueError, RecursionError) as problem:
        raise UsageError(f"expected TOML in the recipe {path}, which has an error ({problem})") from None
