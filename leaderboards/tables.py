"""Tables as text: Markdown, CSV and LaTeX, pure functions of the records."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import groupby

from tabulate import tabulate

from avbench.leaderboards.rows import Row, columns, headings, place_of, rows
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
        return _csv(headings(shown), rows(records, shown))
    blocks = []
    for (split, _, protocol), group in groupby(sorted(records, key=place_of), key=place_of):
        found = list(group)
        shown = columns(found, detail=detail)
        titles, cells = headings(shown), [row.cells for row in rows(found, shown)]
        table = tabulate(cells, titles, tablefmt=STYLES[form], disable_numparse=True, colalign=_alignment(titles))
        blocks.append(f"{_caption(split, protocol, form)}\n\n{table}\n")
    return "\n".join(blocks)


def caption(split: str, protocol: str) -> str:
    """What stands above a table."""
    return f"{split}, protocol {protocol}"


def _caption(split: str, protocol: str, form: str) -> str:
    return f"**{caption(split, protocol)}**" if form == "md" else f"% {caption(split, protocol)}"


def _alignment(titles: Sequence[str]) -> list[str]:
    return ["left", *["right"] * (len(titles) - 1)]


def _csv(titles: Sequence[str], lines: Sequence[Row]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["split", "protocol", *titles])
    writer.writerows([row.split, row.protocol, *row.cells] for row in lines)
    return buffer.getvalue()
