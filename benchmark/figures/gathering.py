"""The stored results of a figure: the rows of one split, one protocol, one selection and one list of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.errors import AvbenchError, UsageError
from avbench.figures.choice import FigureChoice
from avbench.opening import Progress
from avbench.records import SELECTIONS, Record
from avbench.rescoring import Choice, chosen, rescore
from avbench.stored import find_stored

if TYPE_CHECKING:
    from avbench.leaderboards.contestants import Contestant


def gather_rows(
    places: Sequence[Path], choice: FigureChoice, progress: Progress, *, columns: Sequence[str] = ("ciou",)
) -> list[Contestant]:
    """The rows of a figure with their per-sample values, which are of the same samples in the order of their ids.

    Args:
        places: Runs folders, folders below their ``predictions/``, or records.
        choice: What is wanted of them.
        progress: For a bar where something has to be scored first.
        columns: Of the per-sample values, that the figure needs.

    Returns:
        At least one, in the order of ``choice.methods``, else methods by name before controls by name.

    Raises:
        UsageError: for a choice that leaves nothing, several splits or selections, other samples, or rows without one
            of ``columns``.
        AvbenchError: for files that are broken or do not belong together.
    """
    from avbench.leaderboards.contestants import aligned

    records = gather_records(places, choice, [choice.protocol], progress)
    rows = [_contestant(record) for record in records]
    rows = aligned(rows, common=False) if len(rows) > 1 else rows
    for name in columns:
        lacking = next((row.record for row in rows if name not in row.samples.columns), None)
        if lacking is not None:
            raise UsageError(
                f"this figure needs the {name} of each sample, and under the protocol {lacking.protocol} the values of "
                f"{lacking.title} on {lacking.split} have none: {_where[name]}"
            )
    return rows


_where = {
    "ciou": "choose a protocol that scores against boxes, such as common",
    "confidence": "choose a split with samples in which nothing sounds, such as demo-extended",
}
"""What has each column."""


def gather_records(
    places: Sequence[Path], choice: FigureChoice, protocols: Sequence[str], progress: Progress
) -> list[Record]:
    """The records of a figure under ``protocols``, of one split and one selection, with titles of their own.

    The plain map with the sample's own sound is what a figure shows.

    Raises:
        UsageError: for a choice that leaves nothing, or several splits or selections.
        AvbenchError: for files that are broken, or a method that was predicted for a part of the split.
    """
    from avbench.leaderboards.contestants import told_apart

    wanted = Choice(choice.methods, choice.splits, audio=("true",), protocols=tuple(protocols))
    predictions = chosen(find_stored(places), wanted)
    splits = sorted({stored.split for stored in predictions})
    if len(splits) > 1:
        raise UsageError(f"expected results of one split for a figure, got {', '.join(splits)}: choose with --split")
    there = {stored.selection for stored in predictions} - {"none"}
    if choice.selection is None and len(there) > 1:
        found = " and ".join(selection for selection in SELECTIONS if selection in there)
        raise UsageError(f"expected checkpoints of one selection in a figure, got {found}: choose with --selection")
    records, _ = told_apart(_of_selection(rescore(places, wanted, progress), choice))
    return sorted(records, key=lambda record: _place(record, choice.methods))


def sounding_rows(rows: Sequence[Contestant]) -> list[Contestant]:
    """The rows on the samples with a box alone.

    Raises:
        UsageError: where there is none.
    """
    from avbench.leaderboards.measures import sounding

    if not sounding(rows[0].samples).any():
        raise UsageError(f"this figure is of samples with a box, and {rows[0].record.split} has none: choose another")
    return [replace(row, samples=row.samples[sounding(row.samples)].reset_index(drop=True)) for row in rows]


def about(rows: Sequence[Contestant], what: str) -> str:
    """What a figure is of: the split, the protocol, how many samples, and a selection that must be told."""
    from avbench.leaderboards.selections import selections_of, title_of

    record = rows[0].record
    less = f", {record.n_scored} of the {record.n_expected} listed" if record.partial else ""
    selections = selections_of([row.record for row in rows])
    return f"{record.split}, protocol {record.protocol}, {len(rows[0].samples)} {what}{less}{title_of(selections)}"


def _of_selection(records: Sequence[Record], choice: FigureChoice) -> list[Record]:
    from avbench.leaderboards.selections import ranked_records, ranked_selections, selections_of

    asked = selections_of(records) if choice.selection is None else (choice.selection,)
    return ranked_records(records, ranked_selections(records, asked))


def _place(record: Record, methods: Sequence[str]) -> tuple[int, bool, str]:
    from avbench.leaderboards.sensitivity import is_control

    name = record.provenance["method"]["name"]
    return methods.index(name) if name in methods else len(methods), is_control(record), record.title


def _contestant(record: Record) -> Contestant:
    import pandas as pd

    from avbench.leaderboards.contestants import Contestant
    from avbench.scoring import per_sample_path

    path = per_sample_path(record)
    try:
        return Contestant(record, pd.read_parquet(path))
    except (OSError, ValueError) as problem:  # pyarrow's errors are of the second kind
        raise AvbenchError(
            f"the per-sample values {path} cannot be read ({problem}): delete them and draw again"
        ) from None
