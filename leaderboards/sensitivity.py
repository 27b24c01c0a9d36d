"""How much a ranking owes to the protocol: the same maps under each, with the ranks that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

from avbench.leaderboards.selections import ranked_selections, selections_of
from avbench.metrics.catalogue import METRICS
from avbench.metrics.ranking import kendall_tau, ranks
from avbench.records import Record, Selection

BASE = "common"
"""The protocol that the others are compared with, where it is among them."""


@dataclass(frozen=True)
class Sensitivity:
    """One metric of the same maps under several protocols.

    Attributes:
        metric: its id.
        protocols: in the records' order.
        rows: titles of methods, controls last.
        values: by row and protocol; None where a row is not defined, or no number.
        places: rank of each ranked row under each protocol, 1 the best, equals sharing the better one; controls and
            rows without a value under some protocol have None.
        tau: Kendall's tau-b of each protocol's values with those under ``base``, over the ranked rows; NaN where one
            of the two ties all.
        base: the protocol that tau compares with.
        selections: how the checkpoints behind the rows were chosen; empty where none was trained.
    """

    split: str
    metric: str
    protocols: tuple[str, ...]
    rows: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    places: tuple[tuple[int | None, ...], ...]
    tau: tuple[float, ...]
    base: str
    selections: tuple[Selection, ...]


def sensitivity(records: Sequence[Record], metric: str = "locacc") -> Sensitivity | None:
    """The table of one split's records, or None where fewer than two protocols or methods have the metric.

    Partial results are left out: they are not to be ranked.

    Raises:
        UsageError: for selections of checkpoints that are never ranked together; see
            :func:`avbench.leaderboards.selections.ranked_selections`.
        ValueError: for two records of one title and protocol; see :func:`avbench.leaderboards.contestants.told_apart`.
    """
    having = [record for record in records if not isnan(record.metrics.get(metric, nan)) and not record.partial]
    selections = ranked_selections(having, selections_of(having))
    protocols = tuple(dict.fromkeys(record.protocol for record in having))
    rows = tuple(dict.fromkeys(record.title for record in sorted(having, key=is_control)))
    cells = {(record.title, record.protocol): record.metrics[metric] for record in having}
    if len(cells) < len(having):
        raise ValueError("expected one record for each title and protocol, got several: tell them apart first")
    values = tuple(tuple(cells.get((row, protocol)) for protocol in protocols) for row in rows)
    controls = {record.title for record in having if is_control(record)}
    ranked = [n for n, row in enumerate(rows) if row not in controls and None not in values[n]]
    if len(protocols) < 2 or len(ranked) < 2:
        return None
    columns = [[_number(values[n][p]) for n in ranked] for p in range(len(protocols))]
    higher = METRICS[metric].direction == "higher"
    order = [dict(zip(ranked, ranks(column, higher_is_better=higher), strict=True)) for column in columns]
    base = BASE if BASE in protocols else protocols[0]
    first = columns[protocols.index(base)]
    return Sensitivity(
        split=having[0].split,
        metric=metric,
        protocols=protocols,
        rows=rows,
        values=values,
        places=tuple(tuple(column.get(n) for column in order) for n in range(len(rows))),
        tau=tuple(kendall_tau(first, column) for column in columns),
        base=base,
        selections=selections,
    )


def is_control(record: Record) -> bool:
    """Whether the record is of a control, which is shown but never ranked."""
    return bool(record.provenance["method"]["info"]["control"])


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
