"""Which differences between methods mean something: intervals, paired tests, ranks with tie groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import isnan
from statistics import median
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from avbench.errors import UsageError, unknown_name
from avbench.leaderboards.compared import LEVEL, Comparison, Entrant, Pair, Part, Plan, Result, Standing
from avbench.leaderboards.contestants import Contestant, aligned, rankable, require_versions
from avbench.leaderboards.measures import DETECTIONS, MEASURES, Rows, column_of, comparable, measured, sounding
from avbench.leaderboards.parts import Portion, parts_of
from avbench.leaderboards.rows import DETECTION
from avbench.leaderboards.selections import ranked_selections
from avbench.leaderboards.sensitivity import is_control
from avbench.metrics.catalogue import METRICS
from avbench.metrics.protocols import Protocol, get_protocol
from avbench.metrics.ranking import ranks, tie_groups
from avbench.metrics.resampling import Bootstrap, bootstrap, detections, means
from avbench.metrics.statistics import Z_80, Z_95, detectable_rate_difference, holm, mcnemar_exact, wilson_interval
from avbench.records import Record


@dataclass(frozen=True)
class _Field:
    """The rows that are compared, of the same samples, in the order of their titles."""

    contestants: tuple[Contestant, ...]
    plan: Plan
    ranked: tuple[int, ...]

    @property
    def records(self) -> list[Record]:
        return [one.record for one in self.contestants]

    @property
    def tables(self) -> list[pd.DataFrame]:
        return [one.samples for one in self.contestants]

    @property
    def protocol(self) -> Protocol:
        return get_protocol(self.records[0].protocol)

    @property
    def titles(self) -> list[str]:
        return [record.title for record in self.records]

    def column(self, name: str, rows: Rows) -> Tensor:
        """``[M, n]``: one column of all rows."""
        return torch.stack([column_of(table, name) for table in self.tables])[:, torch.from_numpy(rows)]

    def clusters(self, rows: Rows) -> list[str] | None:
        """The pictures of samples, where some share one."""
        pictures: list[str] = self.tables[0]["image"][rows].tolist()
        return pictures if len(set(pictures)) < len(pictures) else None


class _Drawn(NamedTuple):
    """A metric of all rows: over which samples, on which resamples, and what each sample adds where it is a mean."""

    rows: Rows
    clusters: list[str] | None
    draws: Bootstrap
    numbers: Tensor | None = None
    rate: bool = False

    @property
    def flags(self) -> Tensor | None:
        """``[M, n]`` bool: the successes of a rate whose samples are independent."""
        return self.numbers.bool() if self.numbers is not None and self.rate and self.clusters is None else None


def compare(contestants: Sequence[Contestant], plan: Plan) -> Comparison:
    """Compare rows on the same samples.

    Controls are neither ranked nor tested, unless the plan names them or fewer than two other rows are there. Rows of
    one selection of checkpoints are compared, with those that were never trained, and the others left out; the plan may
    name the selection, and ``unknown`` beside ``last`` or ``validation``. The
    result depends on neither the order of the contestants nor that of their samples.

    Args:
        contestants: With titles of their own, see :func:`~avbench.leaderboards.contestants.told_apart`.
        plan: What is wanted.

    Raises:
        UsageError: for rows that cannot be compared (:func:`~avbench.leaderboards.contestants.aligned`), selections
            that are not there or never ranked together, or a metric that their per-sample values do not give.
        AvbenchError: for rows of different versions of the split, its truth, the protocol or a metric.
    """
    selections = ranked_selections([one.record for one in contestants], plan.selections)
    kept, rest = rankable(contestants, selections)
    found = sorted(aligned(kept, common=plan.common), key=lambda one: one.record.title)
    field = _Field(tuple(found), plan, _ranked([one.record for one in found], plan))
    metrics = _metrics(field)
    require_versions(field.records, metrics)
    drawn = dict([*_means(field, metrics), *_detections(field, metrics)])
    results = [_result(field, metric, drawn[metric]) for metric in metrics]
    order = sorted(range(len(found)), key=lambda n: _place(field, results[0], n))
    record, samples = found[0].record, found[0].samples
    return Comparison(
        split=record.split,
        protocol=record.protocol,
        version=record.provenance["protocol"]["version"],
        n=len(samples),
        n_expected=record.n_expected,
        n_positive=int(sounding(samples).sum()),
        common=any(one.n_scored > len(samples) for one in field.records),
        entrants=tuple(_entrant(field, n) for n in order),
        results=tuple(replace(one, standings=tuple(one.standings[n] for n in order)) for one in results),
        selections=selections,
        left_out=tuple(sorted((one.record.title, one.record.selection) for one in rest)),
        parts=_parts(field, drawn, [n for n in order if n in field.ranked]) if plan.parts else (),
        resamples=plan.resamples,
        seed=plan.seed,
    )


def _ranked(records: Sequence[Record], plan: Plan) -> tuple[int, ...]:
    own = [n for n, record in enumerate(records) if not is_control(record)]
    named = [n for n, record in enumerate(records) if is_control(record) and _name(record) in plan.ranked]
    return tuple(sorted([*own, *named])) if len(own) + len(named) > 1 else tuple(range(len(records)))


def _name(record: Record) -> str:
    """The method without what tells it apart."""
    return str(record.provenance["method"]["name"])


def _metrics(field: _Field) -> list[str]:
    there = comparable(field.tables)
    for name in field.plan.metrics:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS, "avbench list metrics")
        if name not in there:
            raise UsageError(
                f"the metric {name} cannot be compared, as the per-sample values of these rows do not give it: choose "
                f"from {', '.join(there)}"
            )
    return list(field.plan.metrics) or [m for m in (*field.protocol.headline, *DETECTION) if m in there]


def _means(field: _Field, metrics: Sequence[str]) -> Iterator[tuple[str, _Drawn]]:
    """The metrics that are means; those over the same samples have their resamples in common."""
    found = {name: measured(name, field.tables, field.protocol) for name in metrics if name in MEASURES}
    together: dict[bytes, list[str]] = {}
    for name, one in found.items():
        together.setdefault(one.rows.tobytes(), []).append(name)
    for names in together.values():
        rows = found[names[0]].rows
        _require_samples(rows, names[0])
        clusters, plan = field.clusters(rows), field.plan
        statistic = means({name: found[name].numbers for name in names})
        draws = bootstrap([statistic], int(rows.sum()), resamples=plan.resamples, seed=plan.seed, clusters=clusters)
        for name in names:
            yield name, _Drawn(rows, clusters, draws[name], found[name].numbers, found[name].rate)


def _detections(field: _Field, metrics: Sequence[str]) -> Iterator[tuple[str, _Drawn]]:
    doubtful = field.tables[0]["doubtful"].to_numpy(dtype=bool)
    for clean, rows in ((False, np.ones_like(doubtful)), (True, ~doubtful)):
        names = [name for name in metrics if DETECTIONS.get(name) == clean]
        if not names:
            continue
        heard = torch.from_numpy(sounding(field.tables[0])[rows])
        statistic = detections(field.column("confidence", rows), field.column("ciou", rows), sounding=heard)
        clusters, plan = field.clusters(rows), field.plan
        draws = bootstrap([statistic], int(rows.sum()), resamples=plan.resamples, seed=plan.seed, clusters=clusters)
        for name in names:
            yield name, _Drawn(rows, clusters, draws[name.removesuffix("_clean")])


def _require_samples(rows: Rows, metric: str) -> None:
    if not rows.any():
        raise UsageError(f"the metric {metric} has none of the compared samples to go by: leave it out")


def _result(field: _Field, metric: str, drawn: _Drawn) -> Result:
    values: list[float] = drawn.draws.estimate.tolist()
    higher = METRICS[metric].direction == "higher"
    placed = [n for n in field.ranked if not isnan(values[n])]
    placed.sort(key=lambda n: -values[n] if higher else values[n])
    pairs = _pairs(field, drawn, placed)
    ranked = [values[n] for n in placed]
    places = dict(zip(placed, ranks(ranked, higher_is_better=higher), strict=True))
    ties = tie_groups(ranked, _indistinct(pairs, len(placed)), higher_is_better=higher)
    groups = dict(zip(placed, ties, strict=True))
    standings = [
        Standing(title, values[n], *_interval(drawn, n), places.get(n), groups.get(n))
        for n, title in enumerate(field.titles)
    ]
    return Result(
        metric,
        int(drawn.rows.sum()),
        drawn.flags is not None,
        drawn.clusters is not None,
        tuple(standings),
        pairs,
        *_detectable(drawn, placed),
    )


def _interval(drawn: _Drawn, row: int) -> tuple[float, float]:
    if drawn.flags is None:
        return drawn.draws.interval(row)
    return wilson_interval(int(drawn.flags[row].sum()), drawn.flags.shape[1])


def _pairs(field: _Field, drawn: _Drawn, placed: Sequence[int]) -> tuple[Pair, ...]:
    found = [_pair(field, drawn, *rows) for rows in combinations(placed, 2)]
    adjusted = holm([pair.p for pair in found])
    return tuple(replace(pair, p_holm=p) for pair, p in zip(found, adjusted, strict=True))


def _pair(field: _Field, drawn: _Drawn, first: int, second: int) -> Pair:
    """Before the correction."""
    value, low, high, p = drawn.draws.difference(first, second)
    only: tuple[int, int] | tuple[None, None] = (None, None)
    if drawn.flags is not None:
        one, other = drawn.flags[first], drawn.flags[second]
        only = int((one & ~other).sum()), int((other & ~one).sum())
        p = mcnemar_exact(*only)
    return Pair(field.titles[first], field.titles[second], value, low, high, p, p, *only)


def _indistinct(pairs: Sequence[Pair], count: int) -> Tensor:
    """``[M, M]`` bool, of rows in the order in which ``pairs`` combines them."""
    found = torch.eye(count, dtype=torch.bool)
    for (row, column), pair in zip(combinations(range(count), 2), pairs, strict=True):
        found[row, column] = found[column, row] = pair.p_holm > LEVEL
    return found


def _detectable(drawn: _Drawn, placed: Sequence[int]) -> tuple[float | None, float | None, float | None]:
    """The least difference found at the pairs' median, the one at worst, and the median discordance of a rate."""
    pairs = list(combinations(placed, 2))
    if not pairs:
        return None, None, None
    flags, draws = drawn.flags, drawn.draws.draws
    if flags is None:
        spreads = [(Z_95 + Z_80) * float((draws[one] - draws[other]).std()) for one, other in pairs]
        return median(spreads), max(spreads), None
    count = flags.shape[1]
    discordance = median(float((flags[one] ^ flags[other]).double().mean()) for one, other in pairs)
    typical = detectable_rate_difference(count, discordance=discordance)
    return typical, max(typical, detectable_rate_difference(count)), discordance


def _place(field: _Field, result: Result, row: int) -> tuple[bool, bool, float, str]:
    """Ranked rows first, then the others, each from the best."""
    value = result.standings[row].value
    signed = -value if METRICS[result.metric].direction == "higher" else value
    return row not in field.ranked, isnan(value), 0.0 if isnan(value) else signed, field.titles[row]


def _entrant(field: _Field, row: int) -> Entrant:
    record = field.records[row]
    return Entrant(record.title, is_control(record), row in field.ranked, str(record.path), record.selection)


def _parts(field: _Field, drawn: dict[str, _Drawn], order: Sequence[int]) -> tuple[Part, ...]:
    """Of the first metric that is a mean."""
    for metric, one in drawn.items():
        if one.numbers is not None:
            samples = field.tables[0][one.rows]
            portion = Portion(
                metric=metric,
                titles=tuple(field.titles[n] for n in order),
                numbers=one.numbers[list(order)],
                exact=one.flags is not None,
                samples=samples,
                clusters=one.clusters,
            )
            return parts_of(portion, flips=field.plan.resamples, seed=field.plan.seed)
    return ()
