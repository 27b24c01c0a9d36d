"""The per-sample values of an entry: of all its records in one table, or each record's own beside it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from avbench.errors import AvbenchError
from avbench.leaderboards.contestants import TRUTH
from avbench.leaderboards.entries import Entry, in_order
from avbench.leaderboards.measures import sounding
from avbench.records import Record

COLUMNS = ("id", *TRUTH)
"""What an entry's table has once, for all records."""

VALUES = ("ciou", "confidence", "iou", "piap")
"""What it has of each record, where the record's own file has it: what metrics that lead a table come from."""


def own_samples(record: Record) -> pd.DataFrame:
    """The per-sample values that lie beside a record.

    Raises:
        AvbenchError: if they cannot be read.
    """
    return _read(record.path.with_name(record.per_sample), "score again")


def read_samples(path: Path) -> pd.DataFrame:
    """The table of an accepted entry.

    Raises:
        AvbenchError: if it cannot be read.
    """
    return _read(path, "restore the file")


def samples_of(table: pd.DataFrame, record: Record) -> pd.DataFrame:
    """The columns of one record in the table of its entry, named as in a record's own file.

    Raises:
        AvbenchError: if the table lacks a column that all have, or has none of the record.
    """
    named = {name: table[_column(record, name)] for name in VALUES if _column(record, name) in table}
    lacking = [name for name in COLUMNS if name not in table]
    if lacking or not named:
        raise AvbenchError(
            f"the per-sample values of {record.path} lack {', '.join(lacking) or 'those'} of {record.variant} under "
            f"{record.protocol}: restore the file"
        )
    return pd.DataFrame({**{name: table[name] for name in COLUMNS}, **named}, copy=False)


def columns_of(records: Sequence[Record]) -> set[str]:
    """All columns that the table of an entry with these records may have."""
    return {*COLUMNS, *(_column(record, name) for record in records for name in VALUES)}


def table_bytes(entry: Entry) -> bytes:
    """The Parquet file of an entry's per-sample values: the same bytes for the same values.

    Raises:
        AvbenchError: for records of other samples, or values that cannot be read.
    """
    found: pd.DataFrame | None = None
    values: dict[str, NDArray[np.float64]] = {}
    for record in in_order(entry.records):
        table = entry.contestant(record).samples
        found = table[list(COLUMNS)] if found is None else found
        if not found.equals(table[list(COLUMNS)]):
            raise AvbenchError(
                f"the records of {record.title} on {record.split} are not of the same samples, {record.protocol} among "
                "them: score them again"
            )
        values |= {_column(record, name): table[name].to_numpy(np.float64) for name in VALUES if name in table}
    buffer = io.BytesIO()
    whole = pd.concat([pd.DataFrame(found).reset_index(drop=True), pd.DataFrame(values)], axis=1)
    # Measured numbers hardly repeat, so that a dictionary of them makes the file larger.
    whole.to_parquet(buffer, index=False, compression="zstd", use_dictionary=["label"], write_statistics=False)
    return buffer.getvalue()


def positive_rows(table: pd.DataFrame, record: Record) -> NDArray[np.bool_]:
    """``[n]``: the samples with a sounding object, by boxes or, where masks tell the truth, by the pixels of it."""
    if record.n_positive == len(table):
        return np.ones(len(table), dtype=bool)
    return sounding(table) | (table["area"].to_numpy() > 0)


def _column(record: Record, name: str) -> str:
    return f"{record.variant}/{record.protocol}/{name}"


def _read(path: Path, remedy: str) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as problem:  # pyarrow's errors are of the second kind
        raise AvbenchError(f"the per-sample values {path} cannot be read ({problem}): {remedy}") from None
