"""Records to rows of plain cells: the one place where a table's columns are decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avbench.leaderboards.selections import tells_selection
from avbench.metrics.catalogue import METRICS, Metric
from avbench.metrics.protocols import PROTOCOLS, get_protocol
from avbench.records import Record

DETECTION = ("ap", "max_f1")
"""Metrics that stand beside the leading ones on splits with samples in which nothing sounds."""


@dataclass(frozen=True)
class Row:
    """One line of a table; ``cells`` are as wide as :func:`headings`, empty where a method offers no value."""

    split: str
    protocol: str
    cells: tuple[str, ...]


def headings(shown: Sequence[str], *, selection: bool = False) -> tuple[str, ...]:
    """Column titles of the table with the metrics ``shown``, the first of which has its interval beside it.

    ``selection`` is what :func:`~avbench.leaderboards.selections.tells_selection` says of its records.
    """
    metrics = [f"{METRICS[name].display} %" for name in shown]
    metrics.insert(1, "95 % interval")
    return ("method", *(["selection"] if selection else []), *metrics, "samples", "seconds", "samples/s")


def leading(records: Sequence[Record]) -> tuple[str, ...]:
    """Ids of the metrics that come first: the protocols' own, and those of detection where any record has them."""
    own = dict.fromkeys(name for record in records for name in get_protocol(record.protocol).headline)
    return (*own, *(name for name in DETECTION if any(name in record.metrics for record in records)))


def place_of(record: Record) -> tuple[str, int, str]:
    """What tables are ordered by: split, then protocol as listings have them."""
    return record.split, list(PROTOCOLS).index(record.protocol.partition(":")[0]), record.protocol


def further(records: Sequence[Record], *, detail: bool = False) -> tuple[str, ...]:
    """Ids of the metrics beyond the leading ones that any record has, in the catalogue's order.

    ``detail`` adds those that tables leave out unless asked for them.
    """
    present, first = {name for record in records for name in record.metrics}, leading(records)
    shown = [name for name, metric in METRICS.items() if detail or not metric.detail]
    return tuple(name for name in shown if name in present and name not in first)


def columns(records: Sequence[Record], *, detail: bool = False) -> tuple[str, ...]:
    """Ids of all metrics shown: the leading ones, then the further ones."""
    return (*leading(records), *further(records, detail=detail))


def rows(records: Sequence[Record], shown: Sequence[str]) -> list[Row]:
    """One row per record, in the order given, with the metrics ``shown``; the selection where it must be told."""
    told = tells_selection(records)
    return [Row(record.split, record.protocol, _cells(record, shown, selection=told)) for record in records]


def samples_of(record: Record) -> str:
    """How many of how many samples, and whether that makes the result partial."""
    return f"{record.n_scored}/{record.n_expected}{' partial' if record.partial else ''}"


def _cells(record: Record, shown: Sequence[str], *, selection: bool) -> tuple[str, ...]:
    name = (record.title, record.selection) if selection else (record.title,)
    values = [_value(record, METRICS[name]) for name in shown]
    values.insert(1, _interval(record, shown[0]))
    speed = f"{record.n_scored / record.seconds:.0f}" if record.seconds > 0 else ""
    return (*name, *values, samples_of(record), f"{record.seconds:.1f}", speed)


def value_of(record: Record, name: str) -> str:
    """One metric of a record as it is shown; empty where the record has none, or not a number."""
    return _value(record, METRICS[name])


def _value(record: Record, metric: Metric) -> str:
    value = record.metrics.get(metric.id)
    return "" if value is None or value != value else percent(value, metric.decimals)


def percent(value: float, decimals: int, sign: str = "") -> str:
    """A fraction as percent; what ends in a 5 but for the last bit is rounded up, however it was summed."""
    return f"{100 * value + 1e-9:{sign}.{decimals}f}"


def _interval(record: Record, name: str) -> str:
    if name not in record.intervals:
        return ""
    low, high = record.intervals[name]
    return f"{100 * low:.1f} to {100 * high:.1f}"
