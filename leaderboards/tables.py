"""Tables as text: Markdown, CSV and LaTeX, pure functions of the records."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import groupby

from tabulate import tabulate

from avbench.leaderboards.rows import Row, columns, headings, place_of, rows
from avbench.leaderboards.selections import cautions, tells_selection
from avbench.leaderboards.side_by_side import side_by_side
from avbench.records import Record

STYLES = {"md": "github", "tex": "latex_booktabs"}


def table_text(records: Sequence[Record], form: str, *, detail: bool = False) -> str:
    """The records as one table per split and protocol.

    Args:
        records: At least one.
        form: ``md``, ``csv`` or ``tex``; CSV is one table with split and protocol as its first columns.
        detail: Also the metrics that tables leave out unless asked for them.
    """
    if form == "csv":
        shown = columns(records, detail=detail)
        return _csv(headings(shown, selection=tells_selection(records)), rows(records, shown))
    blocks = []
    for (split, _, protocol), group in groupby(sorted(records, key=place_of), key=place_of):
        found = list(group)
        shown = columns(found, detail=detail)
        titles, cells = headings(shown, selection=tells_selection(found)), [row.cells for row in rows(found, shown)]
        blocks.append(_block(caption(split, protocol), titles, cells, cautions(found), form))
    return "\n".join(blocks)


def side_by_side_text(records: Sequence[Record], form: str, *, detail: bool = False) -> str:
    """The same with a line for each method, and of each metric a column for each selection of checkpoints.

    Arguments as for :func:`table_text`.
    """
    if form == "csv":
        found = side_by_side(records, columns(records, detail=detail))
        return _csv(found.headings, found.rows)
    blocks = []
    for (split, _, protocol), group in groupby(sorted(records, key=place_of), key=place_of):
        there = list(group)
        found = side_by_side(there, columns(there, detail=detail))
        blocks.append(_block(caption(split, protocol), found.headings, found.cells, found.notes, form))
    return "\n".join(blocks)


def caption(split: str, protocol: str) -> str:
    """What stands above a table."""
    return f"{split}, protocol {protocol}"


def _block(title: str, titles: Sequence[str], cells: Sequence[Sequence[str]], notes: Sequence[str], form: str) -> str:
    """A captioned table with notes below."""
    table = tabulate(cells, titles, tablefmt=STYLES[form], disable_numparse=True, colalign=_alignment(titles))
    head, said = (f"**{title}**", "- ") if form == "md" else (f"% {title}", "% ")
    below = "".join(f"{said}{note}\n" for note in notes)
    return f"{head}\n\n{table}\n" + (f"\n{below}" if below else "")


def _alignment(titles: Sequence[str]) -> list[str]:
    names = 2 if "selection" in titles else 1
    return [*["left"] * names, *["right"] * (len(titles) - names)]


def _csv(titles: Sequence[str], lines: Sequence[Row]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["split", "protocol", *titles])
    writer.writerows([row.split, row.protocol, *row.cells] for row in lines)
    return buffer.getvalue()
