"""Selections of checkpoints beside each other: a line for each method, of each metric a column for each selection.

As in Table 1 of SLAVC's supplement (Mo and Morgado 2022), which prints "early stop" beside "no early stop".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avbench.errors import UsageError
from avbench.leaderboards.rows import Row, samples_of, value_of
from avbench.leaderboards.selections import cautions, selections_of
from avbench.metrics.catalogue import METRICS
from avbench.records import Record, Selection

TITLES: dict[Selection, str] = {
    "oracle": "early stop (oracle)",
    "validation": "early stop (validation)",
    "last": "no early stop (last)",
    "unknown": "selection unknown",
    "none": "nothing trained",
}
"""Of the columns, in their order."""


@dataclass(frozen=True)
class SideBySide:
    """A table.

    Attributes:
        headings: ``method``, of each metric a title for each selection, ``samples``.
        rows: as wide as these.
        notes: what must be known of it, one line each.
    """

    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def cells(self) -> list[tuple[str, ...]]:
        """Of the rows."""
        return [row.cells for row in self.rows]


def side_by_side(records: Sequence[Record], shown: Sequence[str]) -> SideBySide:
    """The records with the metrics ``shown``, lines in the order of the first record of each.

    What was never trained has its one value in all columns, as the reference that it is. Empty where there is no record
    of a selection. Intervals and times are those of :func:`avbench.leaderboards.rows.rows` and left to it.

    Raises:
        UsageError: for two records of one line and selection.
    """
    there = selections_of(records) or ("none",)
    order = [selection for selection in TITLES if selection in there]
    lines: dict[tuple[str, str, str], dict[Selection, Record]] = {}
    for record in records:
        line = lines.setdefault((record.split, record.protocol, record.title), {})
        if record.selection in line:
            raise UsageError(
                f"there are two rows of {record.title} with the selection {record.selection}, and side by side there "
                "is place for one: leave --side-by-side out"
            )
        line[record.selection] = record
    headings = [f"{METRICS[name].display} % {TITLES[selection]}" for name in shown for selection in order]
    untrained = dict.fromkeys(title for (_, _, title), line in lines.items() if [*line] == ["none"])
    reference = f"Never trained, the same in all columns: {', '.join(untrained)}."
    return SideBySide(
        ("method", *headings, "samples"),
        tuple(
            Row(split, protocol, (title, *_cells(line, shown, order)))
            for (split, protocol, title), line in lines.items()
        ),
        (*cautions(records), *([reference] if untrained and len(order) > 1 else [])),
    )


def _cells(line: dict[Selection, Record], shown: Sequence[str], order: Sequence[Selection]) -> tuple[str, ...]:
    records = [line.get(selection, line.get("none")) for selection in order]
    values = ["" if record is None else value_of(record, name) for name in shown for record in records]
    return (*values, " and ".join(dict.fromkeys(samples_of(record) for record in line.values())))
