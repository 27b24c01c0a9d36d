"""The papers' tables: every printed value with its marker and note, in the papers' order of rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from avbench.errors import AvbenchError, unknown_name
from avbench.leaderboards.published_index import FILE, FOLDER, ORIENTATION, Content, Paper, read_index
from avbench.leaderboards.published_lines import FLAGS, Line, read_lines
from avbench.leaderboards.sweep_tables import STOREYS

ORIGINAL = "original_paper"
"""Marker of the first of two values of a cell, as the original paper has it; the second is the authors' re-run."""
VISION = "Pre. Vision"
"""The row header whose cells tell whether the vision encoder was pretrained."""
MARKS = {True: "✓", False: "✗", None: "\N{EN DASH}"}
TEST_HEADERS = ("Testset", "Test Set", "Test Class", "Test class")
"""Row headers whose cells are the beginning of the index's groups."""


@dataclass(frozen=True)
class Printed:
    """A value of a cell."""

    text: str
    """As printed; empty for a dash."""
    markers: tuple[str, ...]
    """Keys into :attr:`~avbench.leaderboards.published_index.Index.markers`."""
    note: str


@dataclass(frozen=True)
class Cell:
    """A cell and what it was measured with, in the words of the index; a text is empty where the paper tells none."""

    printed: tuple[Printed, ...]
    """One, or two where the paper prints ``a*/b``, in that order."""
    metric: str
    unit: str
    train_set: str
    test_set: str
    protocol: str
    uses_ogl: bool
    pretrained_vision: bool | None
    """None where the table has no such column, or prints a dash."""


@dataclass(frozen=True)
class Column:
    """A column of values; test set and protocol are empty where they are not the column's but the row's or table's."""

    header: str
    """With ``GROUP / HEADER`` under a common heading."""
    metric: str
    test_set: str
    protocol: str


@dataclass(frozen=True)
class Row:
    """A row."""

    labels: tuple[str, ...]
    """As wide as the table's row header."""
    group: str
    """The line above the rows of a block; empty for none."""
    method: str
    """Name in the index, which is not the printed one."""
    variant: str
    test_set: str
    """Empty where it is not the row's."""


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper."""

    id: str
    number: str
    title: str
    subject: str
    """The same in few words."""
    paper: Paper
    row_header: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    cells: tuple[tuple[Cell, ...], ...]
    """By row and column."""
    footnotes: tuple[str, ...]
    checks: tuple[str, ...]
    """What was found when the numbers were held against each other, other texts and official code."""
    transposed: bool
    """Whether rows are printed as columns and columns as rows."""
    run: Mapping[str, Any]
    """What it takes to measure the table again, in the index's words."""


def table_ids() -> tuple[str, ...]:
    """Ids of all tables, in the papers' order."""
    return tuple(read_index().tables)


def published_table(name: str) -> PublishedTable:
    """The table with an id.

    Raises:
        UsageError: for an id that no table has.
        AvbenchError: if the files of the package are not as they came.
    """
    if name not in table_ids():
        raise unknown_name("published table", name, table_ids(), "avbench list tables")
    return read_table(FOLDER, name)


def published_tables() -> tuple[PublishedTable, ...]:
    """All tables, in the papers' order."""
    return tuple(map(published_table, table_ids()))


@cache
def read_table(folder: Path, name: str) -> PublishedTable:
    """A table of a folder with an index and CSV files.

    Raises:
        AvbenchError: if index and CSV file do not fit each other: a cell without a line or with too many, a line
            without a cell, or one that is not what its columns hold.
    """
    index = read_index(folder)
    table = index.tables[name]
    path = folder / table["file"]
    lines = read_lines(path, index, table=name, paper=table["paper"])
    columns = tuple(_column(column) for column in table["columns"])
    cells = _cells(path, table, columns, lines)
    return PublishedTable(
        id=name,
        number=table["number"],
        title=table["title"],
        subject=lines[min(lines)].caption_short,
        paper=index.papers[table["paper"]],
        row_header=tuple(table["row_header"]),
        columns=columns,
        rows=tuple(_row(folder, table, row, of_row) for row, of_row in zip(table["rows"], cells, strict=True)),
        cells=cells,
        footnotes=tuple(table["footnotes"]),
        checks=tuple(table["checks"]),
        transposed=ORIENTATION in table,
        run=table["avbench_run"],
    )


def _column(column: Content) -> Column:
    return Column(column["header"], column["metric"], column.get("test_set", ""), column.get("protocol", ""))


def _row(folder: Path, table: Content, row: Content, cells: Sequence[Cell]) -> Row:
    labels, group = _labels(table["row_header"], row, cells[0].pretrained_vision)
    where = f"{folder / FILE}, table {table['id']}, row {row['label']!r}"
    if len(labels) != len(table["row_header"]):
        raise AvbenchError(f"{where}: expected {len(table['row_header'])} labels, got {len(labels)}: restore the file")
    if len({cell.pretrained_vision for cell in cells}) > 1:
        raise AvbenchError(
            f"{where}: expected one mark of pretrained vision for the row, got several: restore the file"
        )
    return Row(labels, group, row["method"], row.get("method_variant", ""), row.get("test_set", ""))


def _labels(header: Sequence[str], row: Content, vision: bool | None) -> tuple[tuple[str, ...], str]:
    """What stands in the first cells of a row, and the group without what of it stands there."""
    group = row.get("group", "")
    first: tuple[str, ...] = ()
    if header[0] in TEST_HEADERS:
        test_set, _, group = group.partition(STOREYS)
        first = (test_set,)
    last = (MARKS[vision],) if header[-1] == VISION else ()
    keys = tuple(map(str, row.get("row_keys", ())))
    own = keys if len(keys) == len(header) else (row["label"], *keys)
    return (*first, *own, *last), group


def _cells(
    path: Path, table: Content, columns: Sequence[Column], lines: Mapping[int, Line]
) -> tuple[tuple[Cell, ...], ...]:
    claimed: dict[int, str] = {}
    rows = tuple(tuple(_cell(path, row, column, lines, claimed) for column in columns) for row in table["rows"])
    for number, line in lines.items():
        if number not in claimed:
            raise AvbenchError(
                f"{path}, line {number}: expected a line of one cell of the index, got {_told(line)}, which no cell "
                "has: restore the file"
            )
    return rows


def _cell(path: Path, row: Content, column: Column, lines: Mapping[int, Line], claimed: dict[int, str]) -> Cell:
    """The cell of a row and a column; what it takes of the lines is noted in ``claimed``."""
    name = f"row {row['label']!r}, column {column.header!r}"
    found = {number: line for number, line in lines.items() if _belongs(row, column, line)}
    _check_count(path, name, found)
    for number in found:
        if number in claimed:
            raise AvbenchError(
                f"{path}, line {number}: expected a line of one cell of the index, got one of {claimed[number]} and "
                f"of {name}: restore the file"
            )
        claimed[number] = name
    kinds = {_kind(line) for line in found.values()}
    if len(kinds) > 1:
        raise AvbenchError(
            f"{path}, line {max(found)}: expected a second value measured as the first one of {name}, got another "
            "data set, protocol, unit or mark: restore the file"
        )
    return Cell(tuple(Printed(line.value, line.markers, line.note) for line in found.values()), *kinds.pop())


def _belongs(row: Content, column: Column, line: Line) -> bool:
    test_set = row.get("test_set", column.test_set)
    return (
        (line.method, line.method_variant, line.metric) == (row["method"], row.get("method_variant", ""), column.metric)
        and test_set in {"", line.test_set}
        and column.protocol in {"", line.protocol}
    )


def _check_count(path: Path, name: str, found: Mapping[int, Line]) -> None:
    """Raise unless there is one line, or one of the original paper and one without that marker."""
    if not found:
        raise AvbenchError(f"{path}: expected a line for {name}, got none: restore the file")
    original = [ORIGINAL in line.markers for line in found.values()]
    if len(found) > 1 and original != [True, False]:
        raise AvbenchError(
            f"{path}, line {max(found)}: expected one line for {name}, or one with the marker {ORIGINAL} and one "
            f"without, got {len(found)} lines: restore the file"
        )


def _kind(line: Line) -> tuple[str, str, str, str, str, bool, bool | None]:
    """The fields of a cell but its values."""
    vision = FLAGS.get(line.pretrained_vision)
    return line.metric, line.unit, line.train_set, line.test_set, line.protocol, FLAGS[line.uses_ogl], vision


def _told(line: Line) -> str:
    setting = (line.method, line.method_variant, line.test_set, line.protocol, line.metric)
    return ", ".join(filter(None, setting))
