"""Selections in tables and rankings: which are told, what must be known of them, which may be ranked together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from avbench.errors import UsageError
from avbench.records import SELECTIONS, Record, Selection

RANKED: tuple[Selection, ...] = ("last", "validation", "unknown", "oracle")
"""Those with a ranking of their own; unless one is asked for, the first that is there is ranked."""

TITLES: dict[Selection, str] = {
    "last": "checkpoints of the last epoch",
    "validation": "checkpoints best on a validation list",
    "unknown": "checkpoints that do not say how they were chosen",
    "oracle": "checkpoints best on a test set (oracle)",
}
"""What a ranking says of its rows."""

CAUTIONS: dict[Selection, str] = {
    "oracle": "oracle: chosen on the test set: not comparable, ranked among themselves alone.",
    "unknown": "unknown: the checkpoint does not say how it was chosen, which may have been on the test set.",
}
"""What stands under a table with such rows."""


def selections_of(records: Sequence[Record]) -> tuple[Selection, ...]:
    """Those that the records tell but ``none``, which goes with every other, in a fixed order."""
    there = {record.selection for record in records}
    return tuple(selection for selection in SELECTIONS if selection in there and selection != "none")


def tells_selection(records: Sequence[Record]) -> bool:
    """Whether a table of the records must tell the selection of each: they differ, or one is worth a caution."""
    return must_tell([record.selection for record in records])


def must_tell(selections: Sequence[Selection]) -> bool:
    """Whether selections differ, but for ``none``, or one is worth a caution."""
    return len({*selections} - {"none"}) > 1 or any(selection in CAUTIONS for selection in selections)


def cautions(records: Sequence[Record]) -> list[str]:
    """What must be known of the selections of the records, one line each."""
    there = selections_of(records)
    return [caution for selection, caution in CAUTIONS.items() if selection in there]


def belongs(record: Record, selections: Sequence[Selection]) -> bool:
    """Whether a ranking of these selections has the record; what was never trained goes with every selection."""
    return record.selection in {*selections, "none"}


def ranked_selections(records: Sequence[Record], asked: Sequence[Selection] = ()) -> tuple[Selection, ...]:
    """The selections whose records are ranked with each other: one, or ``unknown`` beside ``last`` or ``validation``.

    Args:
        records: All that there are.
        asked: What is wanted; empty for the first of :data:`RANKED` that is there.

    Raises:
        UsageError: for selections that are never ranked together, or that no record has.
    """
    there = selections_of(records)
    told = {*asked} - {"unknown"}
    if len(told) > 1 or ("oracle" in told and len(asked) > 1):
        raise UsageError(
            f"the selections {' and '.join(asked)} are never ranked together, since checkpoints chosen on other data "
            "are no match: choose one, or unknown beside last or validation"
        )
    for selection in asked:
        if selection not in there:
            raise UsageError(
                f"no row has the selection {selection}: choose from {', '.join(there) or 'rows of trained methods'}"
            )
    return tuple(asked) or tuple(selection for selection in RANKED if selection in there)[:1]


def ranked_records(records: Sequence[Record], selections: Sequence[Selection]) -> list[Record]:
    """Those that a ranking of these selections has, as it shows them."""
    return [as_ranked(record, selections) for record in records if belongs(record, selections)]


def as_ranked(record: Record, selections: Sequence[Selection]) -> Record:
    """The record as a ranking of these selections shows it: ``unknown`` is marked among others."""
    return marked(record) if len(selections) > 1 and record.selection == "unknown" else record


def title_of(selections: Sequence[Selection]) -> str:
    """What stands behind the title of a ranking; empty for the last epoch, and where nothing was trained."""
    if tuple(selections) in {(), ("last",)}:
        return ""
    return f", {' and '.join(TITLES[selection] for selection in selections)}{', mixed' if len(selections) > 1 else ''}"


def marked(record: Record) -> Record:
    """The record with its selection behind the method's name."""
    return replace(record, method=f"{record.method}@{record.selection}")
