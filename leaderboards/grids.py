"""Tables as papers print them, whatever fills them: headings in two storeys, blocks of rows, marks and footnotes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class GridCell:
    """One line of a cell."""

    text: str = ""
    best: bool = False
    second: bool = False
    tie: str = ""
    """Letter of the group of rows that are as good as each other; empty for none."""
    notes: tuple[str, ...] = ()
    """What must be known of the number; shown as footnotes, which are numbered in the order of reading."""
    missing: bool = False
    """Whether something belongs here that is not there."""
    title: str = ""
    """What a page shows while the pointer is on it."""


@dataclass(frozen=True)
class GridRow:
    """One row."""

    labels: tuple[str, ...]
    """As many as the grid's ``row_header``."""
    cells: tuple[tuple[GridCell, ...], ...]
    """One per column, each of as many lines as the grid names."""
    notes: tuple[str, ...] = ()
    """What must be known of the whole row; footnotes too."""


@dataclass(frozen=True)
class GridGroup:
    """A block of rows."""

    title: str
    """On a line of its own above them; empty for none."""
    rows: tuple[GridRow, ...]


@dataclass(frozen=True)
class Grid:
    """A table."""

    name: str
    """Its id: plain letters, digits and hyphens."""
    caption: str
    row_header: tuple[str, ...]
    columns: tuple[str, ...]
    """Headings, with ``GROUP / HEADING`` under a common one."""
    groups: tuple[GridGroup, ...]
    lines: tuple[str, ...] = ("published",)
    """What the lines of a cell are."""
    remarks: tuple[str, ...] = ()
    """Printed below the footnotes."""

    @cached_property
    def rows(self) -> tuple[GridRow, ...]:
        """Those of all groups."""
        return tuple(row for group in self.groups for row in group.rows)

    @cached_property
    def footnotes(self) -> tuple[str, ...]:
        """Each note once, in the order of reading."""
        found: dict[str, None] = {}
        for row in self.rows:
            found |= dict.fromkeys(row.notes)
            for cell in row.cells:
                found |= dict.fromkeys(note for line in cell for note in line.notes)
        return tuple(found)

    def numbers(self, notes: Sequence[str]) -> list[int]:
        """Numbers of footnotes, from 1, in ascending order."""
        return sorted(self.footnotes.index(note) + 1 for note in notes)


def best_and_second(values: Sequence[float | None], *, higher: bool) -> tuple[list[bool], list[bool]]:
    """Which values are the best and which the second.

    Args:
        values: None for none; equal values share their mark.
        higher: Whether the largest is the best.

    Returns:
        Two lists as long as ``values``. Nothing is the best of fewer than two values, or of equal ones alone.
    """
    order = sorted({value for value in values if value is not None}, reverse=higher)
    if len(order) == 1:
        order = []
    first, second = [*order[:2], None, None][:2]
    return (
        [value is not None and value == first for value in values],
        [value is not None and value == second for value in values],
    )
