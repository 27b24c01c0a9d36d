"""The table at the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table

from avbench.leaderboards.rows import headings, rows
from avbench.leaderboards.tables import caption
from avbench.records import Record

WIDE = 200
"""Columns assumed where the output is a file or a pipe, so that nothing is cut."""


def print_table(records: Sequence[Record]) -> None:
    """Print one table per split and protocol on stdout."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    lines = sorted(zip(rows(records), records, strict=True), key=lambda pair: (pair[0].split, pair[0].protocol))
    for (split, protocol), group in groupby(lines, key=lambda pair: (pair[0].split, pair[0].protocol)):
        pairs = list(group)
        table = Table(title=caption(split, protocol), box=box.SIMPLE, title_justify="left")
        for number, heading in enumerate(headings(records)):
            table.add_column(heading, justify="right" if number else "left", no_wrap=True)
        for row, _ in pairs:
            table.add_row(*row.cells)
        console.print(table)
        for note in notes([record for _, record in pairs]):
            console.print(note)


def notes(records: Sequence[Record]) -> list[str]:
    """What a reader must know of the numbers above."""
    first, found = records[0], []
    if first.n_positive != first.n_scored:
        found.append(f"cIoU, AUC and mean cIoU are over the {first.n_positive} samples with a sounding object.")
    if any(record.partial for record in records):
        found.append("Partial results cover less than the split and are not to be ranked.")
    return found
