"""The published tables as grids, with room for further numbers in each cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import groupby

from avbench.leaderboards.grids import Grid, GridCell, GridGroup, GridRow, best_and_second
from avbench.leaderboards.published_index import read_index
from avbench.leaderboards.published_lines import DASH
from avbench.leaderboards.published_names import higher_is_better, training_split_of
from avbench.leaderboards.published_tables import ORIGINAL, Cell, Printed, PublishedTable

Further = Callable[[int, int], tuple[GridCell, ...]]
"""Lines below the published one in the cell of a row and a column, by their places in the table."""
Lines = tuple[GridCell, ...]
"""A cell: the published value, and what ``Further`` gives."""

PRINTED_AS = "printed as "
DASHED = "\N{EN DASH}"
RANKED = (
    "Bold and underlined: the best and the second printed value of each metric among rows with the same training and "
    "test set, as far as these are told; the papers' own bold marks are not recorded."
)
"""What the marks of published values mean."""


def published_grid(
    table: PublishedTable,
    further: Further | None = None,
    *,
    lines: Sequence[str] = (),
    remarks: Sequence[str] = (),
) -> Grid:
    """A table as its paper prints it, with all that is known against its numbers in notes.

    Args:
        table: The table.
        further: Adds lines to its cells; None for the published numbers alone.
        lines: What these lines are, as many as ``further`` gives.
        remarks: To stand before those on the printed numbers.
    """
    columns, groups = _as_printed(table, _cells(table, further))
    return Grid(
        name=table.id,
        caption=caption_of(table),
        row_header=table.row_header,
        columns=columns,
        groups=groups,
        lines=("published", *lines),
        remarks=(*remarks, RANKED, *table.footnotes, *(f"Checked: {check}" for check in table.checks)),
    )


def caption_of(table: PublishedTable) -> str:
    """What stands above a table: its title and where it was printed."""
    return f"{table.title} ({table.number} of {table.paper.title}, {table.paper.venue})"


def _cells(table: PublishedTable, further: Further | None) -> list[list[Lines]]:
    """By row and column."""
    cells = [
        [_published(cell, {*row.labels, row.group}) for cell in of_row]
        for row, of_row in zip(table.rows, table.cells, strict=True)
    ]
    for column in range(len(table.columns)):
        _mark(table, column, cells)
    return [[(cell, *(further(i, j) if further else ())) for j, cell in enumerate(row)] for i, row in enumerate(cells)]


def _published(cell: Cell, labels: Collection[str]) -> GridCell:
    """The value of a cell; that its row is ``printed as`` one of the labels goes without saying."""
    meanings = read_index().markers
    notes = [
        note
        for value in cell.printed
        for note in (*(meanings[marker] for marker in value.markers if marker != DASH), *value.note.split("; "))
        if note and note.removeprefix(PRINTED_AS) not in labels
    ]
    setting = (cell.metric, cell.test_set and f"on {cell.test_set}", cell.train_set and f"trained on {cell.train_set}")
    return GridCell(
        text="/".join(map(_shown, cell.printed)),
        notes=tuple(dict.fromkeys(notes)),
        title=", ".join(filter(None, (*setting, cell.protocol, cell.unit))),
    )


def _shown(value: Printed) -> str:
    return (value.text or DASHED) + ("*" if ORIGINAL in value.markers else "")


def _mark(table: PublishedTable, column: int, cells: list[list[GridCell]]) -> None:
    """Mark the best and the second of a column among equal data sets; of two values in a cell the re-run counts."""
    places = defaultdict(list)
    for number, (row, cells_of_row) in enumerate(zip(table.rows, table.cells, strict=True)):
        cell = cells_of_row[column]
        places[cell.test_set, training_split_of(cell.train_set, row.variant)].append(number)
    for rows in places.values():
        texts = [table.cells[number][column].printed[-1].text for number in rows]
        values = [float(text) if text else None for text in texts]
        marks = best_and_second(values, higher=higher_is_better(table.columns[column].metric))
        for number, best, second in zip(rows, *marks, strict=True):
            cells[number][column] = replace(cells[number][column], best=best, second=second)


def _as_printed(table: PublishedTable, cells: list[list[Lines]]) -> tuple[tuple[str, ...], tuple[GridGroup, ...]]:
    """Headings of the columns and blocks of rows."""
    headings = tuple(column.header for column in table.columns)
    if table.transposed:
        rows = tuple(_row((heading,), column) for heading, *column in zip(headings, *cells, strict=True))
        return tuple(", ".join(row.labels) for row in table.rows), (GridGroup("", rows),)
    groups = [
        GridGroup(title, tuple(_row(row.labels, of_row) for row, of_row in block))
        for (title, _), block in groupby(
            zip(table.rows, cells, strict=True), lambda pair: (pair[0].group, pair[0].test_set)
        )
    ]
    return headings, tuple(groups)


def _row(labels: tuple[str, ...], cells: Sequence[Lines]) -> GridRow:
    """A row, where notes that all its published values share are the row's."""
    common = tuple(note for note in cells[0][0].notes if all(note in published.notes for published, *_ in cells))
    own = tuple(
        (replace(first, notes=tuple(note for note in first.notes if note not in common)), *rest)
        for first, *rest in cells
    )
    return GridRow(labels, own, common)
