"""The index of the published tables: what their names mean, and how each printed table is put together again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from avbench.data.regular import require_file
from avbench.errors import AvbenchError

FOLDER = Path(__file__).resolve().parent / "published"
"""The tables of the package."""
FILE = "tables.yaml"

Content = Mapping[str, Any]

TABLE = ("id", "file", "number", "title", "paper", "paper_title", "year", "venue", "row_header", "columns", "rows")
TABLE_NOTES = ("avbench_run", "footnotes", "checks")
ORIENTATION = "orientation"
"""The one key that a table may lack."""
COLUMN, COLUMN_MORE = ("header", "metric"), ("test_set", "protocol")
ROW, ROW_MORE = ("label", "method"), ("group", "row_keys", "method_variant", "test_set")


@dataclass(frozen=True)
class Paper:
    """Where tables come from; a text is empty where the index has none."""

    id: str
    title: str
    venue: str
    year: int
    status: str
    """Which of its tables are here, and how good the text was that they were read from."""
    authors: str = ""
    arxiv: str = ""


@dataclass(frozen=True)
class Index:
    """The index; what the CSV files may hold is by key, with its meaning."""

    about: str
    csv_columns: dict[str, str]
    markers: dict[str, str]
    conventions: list[str]
    papers: dict[str, Paper]
    train_sets: dict[str, str]
    test_sets: dict[str, str]
    metrics: dict[str, str]
    methods: dict[str, dict[str, str]]
    """By the name that rows use: ``key``, the name's short form, and ``ref``, where the method was published."""
    tables: dict[str, Content]
    """By id, in the papers' order."""


@cache
def read_index(folder: Path = FOLDER) -> Index:
    """The index of a folder of tables, read once; not to be changed.

    Raises:
        AvbenchError: if it cannot be read, or a key is missing or unknown.
    """
    path = folder / FILE
    content = _read_yaml(path)
    check_keys(f"{path}", content, [field.name for field in fields(Index)])
    papers = {}
    for key, paper in content["papers"].items():
        check_keys(f"{path}, paper {key}", paper, ["title", "venue", "year", "status"], ["authors", "arxiv"])
        papers[key] = Paper(id=key, **paper)
    for table in content["tables"]:
        _check_table(path, table, content)
    return Index(**{**content, "papers": papers, "tables": {table["id"]: table for table in content["tables"]}})


def text_of(path: Path) -> str:
    """What a file of the folder holds.

    Raises:
        AvbenchError: if it cannot be read.
    """
    try:
        require_file(path)
        return path.read_text(encoding="utf-8")
    except OSError as problem:
        raise AvbenchError(
            f"expected a file of published tables at {path}, which cannot be read ({problem.strerror}): restore it"
        ) from problem
    except ValueError as problem:
        raise AvbenchError(f"expected text in {path}, which is no UTF-8 ({problem}): restore it") from problem


def check_keys(where: str, found: Any, required: list[str], optional: list[str] | None = None) -> None:
    """Raise AvbenchError unless ``found`` is a table with the keys required, and none beyond the optional ones."""
    if not isinstance(found, dict):
        raise AvbenchError(f"{where}: expected the keys {', '.join(required)}, got {found!r}: restore the file")
    for key in required:
        if key not in found:
            raise AvbenchError(f"{where}: expected the key {key!r}, which is not there: restore the file")
    for key in found:
        if key not in {*required, *(optional or [])}:
            raise AvbenchError(
                f"{where}: expected the keys {', '.join([*required, *(optional or [])])}, got {key!r}: restore the file"
            )


def _read_yaml(path: Path) -> Any:
    import yaml

    # ten times as fast, where the library was built with it
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text_of(path), loader)  # noqa: S506 - a safe loader either way
    except yaml.YAMLError as problem:
        told = " ".join(str(problem).split())
        raise AvbenchError(f"{path} is not YAML ({told}): restore the file") from problem


def _check_table(path: Path, table: Any, content: Content) -> None:
    check_keys(f"{path}, a table", table, [*TABLE, *TABLE_NOTES], [ORIENTATION])
    where = f"{path}, table {table['id']}"
    _check_known(where, "paper", table["paper"], content["papers"])
    for column in table["columns"]:
        check_keys(f"{where}, a column", column, [*COLUMN], [*COLUMN_MORE])
        _check_known(where, "metric", column["metric"], content["metrics"])
    for row in table["rows"]:
        check_keys(f"{where}, a row", row, [*ROW], [*ROW_MORE])
        _check_known(where, "method", row["method"], content["methods"])
    for part in (*table["columns"], *table["rows"]):
        if "test_set" in part:
            _check_known(where, "test set", part["test_set"], content["test_sets"])


def _check_known(where: str, kind: str, name: str, known: Content) -> None:
    if name not in known:
        raise AvbenchError(f"{where}: expected a {kind} of {', '.join(known)}, got {name!r}: restore the file")
