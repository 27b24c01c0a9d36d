"""The table at the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table

from avbench.leaderboards.rows import columns, further, headings, leading, place_of, rows, value_of
from avbench.leaderboards.selections import cautions, marked, tells_selection
from avbench.leaderboards.side_by_side import side_by_side
from avbench.leaderboards.tables import caption
from avbench.metrics.catalogue import METRICS
from avbench.records import Record

WIDE = 1000
"""Columns assumed where the output is a file or a pipe, so that nothing is cut."""


def print_table(records: Sequence[Record], *, detail: bool = False) -> None:
    """Print one table per split and protocol on stdout, and one of the further metrics where there are any.

    ``detail`` adds the metrics that tables leave out unless asked for them.
    """
    console = _console()
    ordered = sorted(records, key=place_of)
    for (split, _, protocol), group in groupby(ordered, key=place_of):
        found = list(group)
        console.print(_main_table(found, caption(split, protocol)))
        if further(found, detail=detail):
            console.print(_further_table(found, detail=detail))
        for note in notes(found):
            console.print(note)


def print_side_by_side(records: Sequence[Record], *, detail: bool = False) -> None:
    """The same with a line for each method, and of each metric a column for each selection of checkpoints.

    ``detail`` adds the metrics beyond the leading ones.
    """
    console = _console()
    for (split, _, protocol), group in groupby(sorted(records, key=place_of), key=place_of):
        there = list(group)
        found = side_by_side(there, columns(there, detail=True) if detail else leading(there))
        console.print(_table(found.headings, found.cells, caption(split, protocol)))
        for note in dict.fromkeys((*notes(there), *found.notes)):
            console.print(note)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)


def _main_table(records: Sequence[Record], title: str) -> Table:
    shown = leading(records)
    cells = [row.cells for row in rows(records, shown)]
    return _table(headings(shown, selection=tells_selection(records)), cells, title)


def _table(titles: Sequence[str], lines: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """With text in the columns of methods and selections, and numbers in the others."""
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for number, heading in enumerate(titles):
        table.add_column(heading, justify="right" if number and heading != "selection" else "left", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def _further_table(records: Sequence[Record], *, detail: bool) -> Table:
    """The methods that have any of the further metrics, against these; the fewer of the two stand side by side."""
    told = [marked(record) for record in records] if tells_selection(records) else records
    having = [record for record in told if further([record], detail=detail)]
    metrics = further(records, detail=detail)
    names = [METRICS[name].display for name in metrics]
    cells = [[record.title, *[value_of(record, name) for name in metrics]] for record in having]
    lines = [["%", *names], *cells]
    if len(having) <= len(metrics):
        lines = [list(line) for line in zip(*lines, strict=True)]
    return _table(lines[0], lines[1:])


def _doubt(record: Record) -> str:
    """What label noise the negatives hold."""
    count = record.provenance.get("doubtful", 0)
    if not count:
        return "No negative's sound is of a class in sight: there is no label noise to leave out."
    return (
        f"{count} negatives have a sound of a class in sight: AP and max-F1 without these are among the further ones."
    )


def notes(records: Sequence[Record]) -> list[str]:
    """What a reader must know of the numbers above."""
    first, found = records[0], []
    if first.n_positive != first.n_scored and "locacc" in first.metrics:
        found.append(f"cIoU, AUC and mean cIoU are over the {first.n_positive} samples with a sounding object.")
        if any("ap" in record.metrics for record in records):
            negatives = first.n_scored - first.n_positive
            found.append(
                f"AP and max-F1 are over all {first.n_scored}: in {negatives} nothing that sounds is in sight."
            )
    if "miou" in first.metrics and first.n_positive != first.n_scored:
        found.append("Of an image without truth mIoU counts the share kept empty; the F-scores leave it out.")
    if "ap" in first.metrics:
        found.append(_doubt(first))
    unplaced = [record.title for record in records if record.provenance.get("scale") == "own extremes"]
    if unplaced:
        found.append(f"Without a score range, scaled by the extremes of each map: {', '.join(unplaced)}.")
    found += cautions(records)
    if any(record.partial for record in records):
        found.append("Partial results cover less than the split and are not to be ranked.")
    return found
