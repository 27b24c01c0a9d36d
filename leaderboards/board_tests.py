"""The numbers of a board: values, intervals, and ranks and tie groups by paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan

from avbench.leaderboards.board_pools import Pool
from avbench.leaderboards.compared import Comparison, Plan
from avbench.leaderboards.comparison import compare
from avbench.leaderboards.contestants import Contestant
from avbench.leaderboards.measures import comparable
from avbench.leaderboards.selections import selections_of
from avbench.leaderboards.sensitivity import is_control
from avbench.records import Record


@dataclass(frozen=True)
class Measured:
    """What is said of a row, by metric."""

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    ranks: dict[str, int | None]
    groups: dict[str, int | None]


@dataclass(frozen=True)
class Outcome:
    """What is said of a board's rows by title, which of its metrics were tested, and the tests."""

    rows: dict[str, Measured]
    tested: tuple[str, ...]
    comparisons: tuple[Comparison, ...]


def measure(pool: Pool, resamples: int) -> Outcome:
    """Compare the rows of a board, each metric over the rows that have it.

    A metric that the per-sample values of some row do not give has the records' values, without ranks: no test would
    stand behind these. A method that is alone has rank 1.

    Raises:
        AvbenchError: for per-sample values that cannot be read, or truths that differ.
    """
    known = {row.shown.title: Contestant(row.shown, row.entry.contestant(row.record).samples) for row in pool.rows}
    rows = {title: _recorded(one.record, pool.metrics) for title, one in known.items()}
    sets = _sets(pool.metrics, rows, known)
    comparisons = []
    for titles, metrics in sets.items():
        having = [known[title] for title in titles]
        methods = [one.record.title for one in having if not is_control(one.record)]
        found = [_compared(having, metrics, pool, resamples)] if len(having) > 1 else []
        for one in found:
            _enter(rows, one)
        if len(methods) > 1:
            comparisons += found
        else:
            _rank_alone(rows, titles, metrics, methods)
    tested = {metric for metrics in sets.values() for metric in metrics}
    return Outcome(rows, tuple(metric for metric in pool.metrics if metric in tested), tuple(comparisons))


def _recorded(record: Record, metrics: Sequence[str]) -> Measured:
    values = {name: record.metrics[name] for name in metrics if not isnan(record.metrics.get(name, nan))}
    return Measured(
        values=values,
        intervals={name: record.intervals[name] for name in values if name in record.intervals},
        ranks=dict.fromkeys(metrics),
        groups=dict.fromkeys(metrics),
    )


def _sets(
    metrics: Sequence[str], rows: Mapping[str, Measured], known: Mapping[str, Contestant]
) -> dict[tuple[str, ...], list[str]]:
    """The metrics that per-sample values give, by the titles of the rows that have them."""
    sets: dict[tuple[str, ...], list[str]] = {}
    for metric in metrics:
        having = tuple(title for title, row in rows.items() if metric in row.values)
        if having and metric in comparable([known[title].samples for title in having]):
            sets.setdefault(having, []).append(metric)
    return sets


def _compared(having: Sequence[Contestant], metrics: Sequence[str], pool: Pool, resamples: int) -> Comparison:
    there = selections_of([one.record for one in having])
    ranked = tuple(one for one in pool.selections if one in there)
    plan = Plan(metrics=tuple(metrics), resamples=resamples, selections=ranked, parts=False)
    return compare(having, plan)


def _enter(rows: Mapping[str, Measured], found: Comparison) -> None:
    for result in found.results:
        for one in result.standings:
            row = rows[one.title]
            row.values[result.metric] = one.value
            if not isnan(one.low):
                row.intervals[result.metric] = one.low, one.high
            row.ranks[result.metric], row.groups[result.metric] = one.rank, one.group


def _rank_alone(
    rows: Mapping[str, Measured], titles: Sequence[str], metrics: Sequence[str], methods: Sequence[str]
) -> None:
    """Rank the one method, if there is one, and none of the controls, which were compared for their intervals."""
    for title in titles:
        place = dict.fromkeys(metrics, 1 if title in methods else None)
        rows[title].ranks.update(place)
        rows[title].groups.update(place)
