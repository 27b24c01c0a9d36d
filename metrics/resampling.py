"""The paired bootstrap: several methods, several statistics, the same resamples.

A resample is a row of counts, how often each sample was drawn. A statistic maps a block of such rows to one value per
method and resample, so that no sample is ever copied: a mean is a matrix product, and a precision-recall curve one
ordering of the samples followed by cumulative sums.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.metrics.success import success_curve

RESAMPLES = 10_000
COUNTS_AT_ONCE = 1 << 16
"""Counts in a block: one fits into a processor's cache."""
TAILS = (0.025, 0.975)
HALF, WHOLE = 2.0**26, 2.0**53
"""Steps of the halves of a value: a sum of up to 2**27 of either half is exact in float64."""

Counts = NDArray[np.int32]
Draws = NDArray[np.float64]
Statistic = Callable[[Counts], dict[str, Draws]]
"""From ``[R, n]`` counts to ``[M, R]`` values of M methods, by the statistic's name."""


class Difference(NamedTuple):
    """The first method less the second, with the 95 % percentile interval and the two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Bootstrap:
    """One statistic of several methods, in the order in which they were given."""

    estimate: Draws
    """``[M]``, on the samples as they are."""
    draws: Draws
    """``[M, resamples]``; column k of every method and statistic comes from the same resample."""

    def interval(self, method: int) -> tuple[float, float]:
        """The 2.5 and 97.5 % points of a method's draws, linearly interpolated; NaN if any draw is."""
        return _percentiles(self.draws[method])

    def difference(self, first: int, second: int) -> Difference:
        """How far ``first`` lies above ``second``, resample by resample.

        With B resamples the p-value is ``2 (1 + k) / (1 + B)``, at most 1, where k is the smaller of the numbers of
        differences ``<= 0`` and ``>= 0``. Methods that never differ have a difference of exactly 0 and p = 1; where a
        draw is NaN, all but the value is.
        """
        gaps = self.draws[first] - self.draws[second]
        beyond = min(int((gaps <= 0).sum()), int((gaps >= 0).sum()))
        p = np.nan if np.isnan(gaps).any() else min(2 * (1 + beyond) / (1 + len(gaps)), 1.0)
        return Difference(float(self.estimate[first] - self.estimate[second]), *_percentiles(gaps), p)


def bootstrap(
    statistics: Sequence[Statistic],
    samples: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
) -> dict[str, Bootstrap]:
    """All statistics on the same resamples.

    The order of the samples decides which are drawn, so that runs to be compared with each other later have to keep it;
    the order of the methods decides nothing.

    Args:
        statistics: From :func:`means` and :func:`detections`, for the same samples in the same order.
        samples: How many there are.
        resamples: As in :func:`resample_counts`.
        seed: As in :func:`resample_counts`.
        clusters: As in :func:`resample_counts`.

    Returns:
        The draws of each statistic by its name.

    Raises:
        ValueError: as :func:`resample_counts`, if two statistics have a name in common, or if one is of another number
            of samples.

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 (percentile intervals) and 16.
    """
    blocks = resample_counts(samples, resamples, seed=seed, clusters=clusters)
    found = [_evaluate(statistics, counts) for counts in blocks]
    whole = _evaluate(statistics, np.ones((1, samples), dtype=np.int32))
    return {
        name: Bootstrap(values[:, 0], np.concatenate([block[name] for block in found], axis=1))
        for name, values in whole.items()
    }


def resample_counts(
    samples: int,
    resamples: int = RESAMPLES,
    *,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
    block: int | None = None,
) -> Iterator[Counts]:
    """How often each sample is drawn, with replacement, in blocks of resamples.

    Args:
        samples: At least 1; as many are drawn, each as likely as any other.
        resamples: At least 1.
        seed: Of NumPy's default generator; the counts are a function of it and of the numbers of samples or clusters.
        clusters: One value per sample, equal for samples that are drawn together, such as the frames of a video; then
            as many clusters are drawn as there are, and the number of samples varies.
        block: The most resamples at a time, which changes no count; by default about 65,536 counts.

    Yields:
        ``[r, samples]`` int32, ``resamples`` rows in all.

    Raises:
        ValueError: if a number is below 1 or the clusters are not one per sample.
    """
    if min(samples, resamples, 1 if block is None else block) < 1:
        raise ValueError(f"samples, resamples and block must be 1 or more, got {samples}, {resamples} and {block}")
    if clusters is not None and len(clusters) != samples:
        raise ValueError(f"expected a cluster for each of {samples} samples, got {len(clusters)}")
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters or range(samples)))}
    members = None if clusters is None else np.array([numbers[cluster] for cluster in clusters])
    generator = np.random.default_rng(seed)
    rows = block or max(COUNTS_AT_ONCE // samples, 1)
    for start in range(0, resamples, rows):
        counts = _draw(generator, min(rows, resamples - start), len(numbers))
        yield counts if members is None else counts.take(members, axis=1)


def success_area_per_sample(ciou: Tensor) -> Tensor:
    """What each sample adds to the area under the success curve, whose 21 points are means over the samples.

    Args:
        ciou: ``[...]``, per-sample values.

    Returns:
        ``[...]`` float64 in [0, 1]; over the samples, its mean is :func:`~avbench.metrics.success.area_under_success`.
        NaN has an area of 0.
    """
    thresholds, _ = success_curve(ciou.flatten())
    return torch.trapezoid((ciou.double()[..., None] >= thresholds).double(), thresholds, dim=-1)


def means(values: Mapping[str, Tensor]) -> Statistic:
    """Means of per-sample values: mean cIoU, success rates (of flags), the area under the success curve, and the like.

    Sums are exact (of values rounded to about 1e-16 of a method's largest), so that neither the order of the methods,
    the block nor the number of threads changes a bit, and equal methods have equal draws.

    Args:
        values: ``[M, n]`` by name; a method with NaN or an infinity has NaN everywhere, drawn or not.

    Raises:
        ValueError: if values are not ``[M, n]``, of the same n.
    """
    tables = {name: _as_table(value, name) for name, value in values.items()}
    if len({table.shape[1] for table in tables.values()}) != 1:
        raise ValueError(f"expected values of the same samples, got {[list(table.shape) for table in tables.values()]}")
    halves = _halves(np.concatenate(list(tables.values())))
    ends = np.cumsum([len(table) for table in tables.values()])[:-1]

    def statistic(counts: Counts) -> dict[str, Draws]:
        _refuse_others(counts, halves.shape[2])
        sums = (halves @ counts.T.astype(np.float64)).sum(axis=0)
        return dict(zip(tables, np.split(sums / counts.sum(axis=1), ends), strict=True))

    return statistic


def detections(confidence: Tensor, ciou: Tensor, *, sounding: Tensor, success: float = 0.5) -> Statistic:
    """``ap`` and ``max_f1`` of extended sets, on the full curve, as :mod:`avbench.metrics.extended` defines them.

    Each resample's values are those of :func:`~avbench.metrics.extended.average_precision` and
    :func:`~avbench.metrics.extended.max_f1` on the samples as drawn: equal confidences move together, NaN stays
    undetected, and both are 0 where no sounding sample was drawn.

    Args:
        confidence: ``[M, n]``, any scale.
        ciou: ``[M, n]`` in [0, 1] or NaN.
        sounding: ``[n]`` bool, false for the negatives.
        success: The least overlap that counts as right.

    Raises:
        ValueError: if the shapes do not fit.
    """
    scores, overlaps = _as_table(confidence, "confidence"), _as_table(ciou, "ciou")
    if not scores.shape == overlaps.shape == (len(scores), *sounding.shape):
        shapes = (list(scores.shape), list(overlaps.shape), list(sounding.shape))
        raise ValueError(f"confidence and ciou must be [M, n] and sounding [n], got {', '.join(map(str, shapes))}")
    heard = sounding.cpu().numpy()
    methods = [_Ranking.of(row, heard, own >= success) for row, own in zip(scores, overlaps, strict=True)]

    def statistic(counts: Counts) -> dict[str, Draws]:
        _refuse_others(counts, len(heard))
        total = counts[:, heard].sum(axis=1, dtype=np.int32)
        found = np.array([ranking.measure(counts, total) for ranking in methods])
        return {"ap": found[:, 0], "max_f1": found[:, 1]}

    return statistic


@dataclass(frozen=True)
class _Ranking:
    """The detectable samples of a method from the highest confidence, as indices.

    Thresholds below which no sounding sample lies, before the next, are left out: recall stays as it is at them and
    precision falls, so that they add nothing to the area and F1 is no larger.
    """

    everything: NDArray[np.intp]
    sounding: NDArray[np.intp]
    right: NDArray[np.int32]
    """Of the sounding samples, 1 where the place is right."""
    ends: NDArray[np.intp]
    """Of each threshold, the index of the last detected sample in ``everything``."""
    sounding_ends: NDArray[np.intp]
    """The same in ``sounding``."""

    @classmethod
    def of(cls, confidence: Draws, heard: NDArray[np.bool_], right: NDArray[np.bool_]) -> _Ranking:
        order = np.argsort(-confidence, kind="stable")[: int((~np.isnan(confidence)).sum())]
        ranked = confidence[order]
        last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
        met = np.cumsum(heard[order])[last]
        new = np.diff(met, prepend=0) > 0
        sounding = order[heard[order]]
        return cls(order, sounding, right[sounding].astype(np.int32), last[new], met[new] - 1)

    def measure(self, counts: Counts, total: NDArray[np.int32]) -> tuple[Draws, Draws]:
        """AP and max-F1, ``[R]`` each, given how many sounding samples each resample holds."""
        if len(self.ends) == 0:
            return np.zeros(len(counts)), np.zeros(len(counts))
        sounding = counts.take(self.sounding, axis=1)
        detected = _so_far(counts.take(self.everything, axis=1), self.ends)
        met = _so_far(sounding, self.sounding_ends)
        hits = _so_far(sounding * self.right, self.sounding_ends)
        wanted = hits + total[:, None] - met
        recall = hits / np.maximum(wanted, 1)
        steps = np.diff(recall, axis=1, prepend=0)
        f1 = 2 * hits / np.maximum(detected + wanted, 1)
        return (hits / np.maximum(detected, 1) * steps).sum(axis=1), f1.max(axis=1)


def _so_far(counts: Counts, ends: NDArray[np.intp]) -> Counts:
    return counts.cumsum(axis=1, dtype=np.int32).take(ends, axis=1)


def _draw(generator: np.random.Generator, rows: int, samples: int) -> Counts:
    drawn = generator.integers(0, samples, size=(rows, samples), dtype=np.int32).astype(np.intp)
    drawn += samples * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.int32)


def _evaluate(statistics: Sequence[Statistic], counts: Counts) -> dict[str, Draws]:
    found: dict[str, Draws] = {}
    for statistic in statistics:
        values = statistic(counts)
        if found.keys() & values.keys():
            raise ValueError(f"expected statistics of different names, got {', '.join(found.keys() & values)} twice")
        found |= values
    return found


def _halves(values: Draws) -> Draws:
    """``[M, n]`` values as the sum over the first dimension of ``[2, M, n]``: their leading and their trailing bits."""
    finite = np.where(np.isfinite(values), values, np.nan)
    _, exponent = np.frexp(np.fmax.reduce(np.abs(finite), axis=1, keepdims=True))
    unit = np.ldexp(1.0, exponent)
    leading = np.rint(finite / unit * HALF) / HALF * unit
    trailing = np.rint((finite - leading) / unit * WHOLE) / WHOLE * unit
    return np.stack([leading, trailing])


def _refuse_others(counts: Counts, samples: int) -> None:
    if counts.shape[1] != samples:
        raise ValueError(f"expected statistics of {counts.shape[1]} samples, got values of {samples}")


def _percentiles(draws: Draws) -> tuple[float, float]:
    low, high = np.quantile(draws, TAILS)
    return float(low), float(high)


def _as_table(values: Tensor, name: str) -> Draws:
    if values.ndim != 2:
        raise ValueError(f"{name} must be [M, n], got {list(values.shape)}")
    return values.detach().double().cpu().numpy()
