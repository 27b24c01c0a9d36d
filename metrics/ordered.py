"""Maps sorted once, so that every threshold rule, ranking measure and curve is a look-up.

A normalisation that keeps the order of a map's pixels acts on the sorted values as it does on the map. So one sort of
the upsampled map serves all protocols that agree on the upsampling, whatever they do after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.metrics.protocols import Operator

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Sorted:
    """The pixels of some maps in ascending order."""

    values: NDArray[np.floating]
    """``[B, N]``, NaN last."""
    order: Indices
    """``[B, N]``: the pixel that stands at each place."""

    @classmethod
    def of(cls, maps: Tensor) -> Sorted:
        """Sort ``[B, H, W]`` float32 or float64 maps."""
        cells = maps.flatten(1).numpy()
        if cells.dtype == np.float32 and np.isfinite(cells).all():
            return cls(*_sorted_singles(cells))
        order = np.argsort(cells, axis=1)
        return cls(np.take_along_axis(cells, order, axis=1), order)

    @cached_property
    def finite(self) -> bool:
        """Whether all values, and each map's range, are finite: only then do normalisations keep the order."""
        with np.errstate(invalid="ignore", over="ignore"):
            return bool(np.isfinite(self.values[:, -1] - self.values[:, 0]).all())

    def as_maps(self) -> Tensor:
        """``[B, 1, N]``, to be normalised as maps are."""
        return torch.from_numpy(self.values)[:, None]

    def in_order(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """``[B, N]`` values of the pixels, in the maps' order; one map may serve all."""
        found = np.empty_like(pixels)
        for row, (pixel, order) in enumerate(zip(pixels, np.broadcast_to(self.order, pixels.shape), strict=True)):
            found[row] = pixel[order]
        return found


class Ranked:
    """Where the pixels of the truth stand among a map's sorted ones.

    Those of all samples lie in one array, sample after sample, so that numpy is called once for all.
    """

    def __init__(self, pixels: Sorted, truth: Tensor) -> None:
        weights = pixels.in_order(truth.flatten(1).numpy())
        self.pixels, self.values = pixels, np.broadcast_to(pixels.values, weights.shape)
        self.samples, self.count = weights.shape
        self.rows = self.count * np.arange(self.samples)
        self.flat = np.flatnonzero(weights.astype(bool, copy=False))
        self.ends = np.searchsorted(self.flat, self.count * np.arange(self.samples + 1))
        self.positives: Indices = np.diff(self.ends)
        self.weights = None if weights.dtype == bool else weights.ravel()[self.flat].astype(np.float64)
        self.summed = self._summed()

    def ciou(self, first: Indices) -> Floats:
        """``[B]``: :func:`~avbench.metrics.consensus_iou.consensus_iou` of the pixels from the place ``first`` on."""
        before = np.searchsorted(self.flat, self.rows + first) - self.ends[:-1]
        false = (self.count - first) - (self.positives - before)
        total = self._weight(self.positives)
        whole = total + false
        with np.errstate(invalid="ignore"):
            found: Floats = (total - self._weight(before)) / whole
        return found

    def ranking(self) -> dict[str, Floats]:
        """``pixel_ap`` and ``pixel_roc_auc``, ``[B]`` each, as :mod:`avbench.metrics.pixelwise` defines them."""
        bounds = zip(self.values, self.rows, self.ends[:-1], self.ends[1:], strict=True)
        both = np.array([_ranking(values, self.flat[low:high] - row) for values, row, low, high in bounds])
        precision, area = both.reshape(-1, 2).T
        return {"pixel_ap": precision.copy(), "pixel_roc_auc": area.copy()}

    def pointing(self) -> Floats:
        """``[B]``: the share of the pixels at the map's maximum that lie in the truth."""
        top = first_at(self.pixels.values, np.ascontiguousarray(self.values[:, -1]), ">=")
        hits = self.ends[1:] - np.searchsorted(self.flat, self.rows + top)
        share: Floats = hits / (self.count - top)
        return share

    def energy(self) -> Floats:
        """``[B]``: the truth's share of the sum of the map above its smallest value."""
        low, total = self.values[:, 0].astype(np.float64), self._weight(self.positives)
        inside = self.values.ravel()[self.flat].astype(np.float64)
        above = self._per_sample(inside if self.weights is None else inside * self.weights) - low * total
        whole = self.values.sum(axis=1, dtype=np.float64) - low * self.count
        flat = self.values[:, 0] == self.values[:, -1]
        return np.where(flat, total / self.count, above / np.where(flat, 1, whole))

    def _summed(self) -> Floats | None:
        """The weights of each sample's pixels of the truth summed from the lowest of them on; None where all are 1."""
        if self.weights is None:
            return None
        parts = [self.weights[low:high].cumsum() for low, high in zip(self.ends[:-1], self.ends[1:], strict=True)]
        return np.concatenate([*parts, np.zeros(1)])

    def _weight(self, lowest: Indices) -> Floats:
        """``[B]``: the weight of so many of each sample's pixels of the truth, from the lowest on."""
        if self.summed is None:
            return lowest.astype(np.float64)
        return np.where(lowest > 0, self.summed[self.ends[:-1] + lowest - 1], 0.0)

    def _per_sample(self, values: NDArray[Any]) -> Floats:
        """``[B]`` sums over each sample's pixels of the truth, each a function of its own alone."""
        pairs = zip(self.ends[:-1], self.ends[1:], strict=True)
        return np.array([values[low:high].sum() for low, high in pairs], dtype=np.float64)


class Finished:
    """The finished values of sorted pixels, taken where they are looked at: each follows from its map's extremes."""

    def __init__(self, values: NDArray[np.floating], finish: Callable[[Tensor], Tensor], samples: int) -> None:
        self.values, self.finish = values, finish
        self.rows = np.arange(samples) if len(values) > 1 else np.zeros(samples, dtype=np.int64)
        self.last = values.shape[1] - 1

    def at(self, places: Indices) -> NDArray[np.floating]:
        """``[B]``: the finished value at each sample's place."""
        raw = [self.values[self.rows, place] for place in (0, places, self.last)]
        found: NDArray[np.floating] = self.finish(torch.from_numpy(np.stack(raw, axis=1))[:, None])[:, 0, 1].numpy()
        return found

    def first_at_rank(self, ranks: Indices, operator: Operator) -> Indices:
        """``[B]``: the first place whose finished value is ``operator`` the one at the rank.

        That is the first of equal raw values, or where finishing made neighbouring values equal, of those.
        """
        edge, place = self.at(ranks), self._first_raw(ranks, operator)
        while True:
            beyond = place - 1 if operator == ">=" else place
            looked = np.clip(beyond, 0, self.last)
            level = (beyond == looked) & (self.at(looked) == edge)
            if not level.any():
                return place
            place = np.where(level, self._first_raw(looked, operator), place)

    def first_at(self, edge: float, operator: Operator) -> Indices:
        """``[B]``: the first place whose finished value is ``operator`` the edge; N where none is."""
        low, high = np.zeros(len(self.rows), dtype=np.int64), np.full(len(self.rows), self.last + 1)
        level = self.values.dtype.type(edge)
        while (low < high).any():
            middle = (low + high) // 2
            found = self.at(np.minimum(middle, self.last))
            passes = (found > level) if operator == ">" else (found >= level)
            low, high = np.where(passes | (low == high), low, middle + 1), np.where(passes, middle, high)
        return low

    def _first_raw(self, places: Indices, operator: Operator) -> Indices:
        return first_at(self.values, self.values[self.rows, places], operator)


def first_at(ascending: NDArray[np.floating], edges: NDArray[np.floating], operator: Operator) -> Indices:
    """``[B]``: the first place of each sorted map whose value is ``operator`` its edge.

    Args:
        ascending: ``[B, N]``, or ``[1, N]`` for all samples.
        edges: ``[B]``.
        operator: Between a value and the edge.
    """
    right = operator == ">"
    if len(ascending) == 1:
        return np.searchsorted(ascending[0], edges, side="right" if right else "left")
    found = torch.searchsorted(torch.from_numpy(ascending), torch.from_numpy(edges)[:, None], right=right)
    return found[:, 0].numpy()


def _ranking(values: NDArray[np.floating], places: Indices) -> tuple[float, float]:
    """Average precision and area under the ROC curve of the pixels at ``places`` of sorted ``values``.

    Counts are taken at each place as if no values were equal, and then at the ends of runs of equal values, whose order
    means nothing: pixels at or above, pixels of the truth among them, and twice the others below, ties a half each. Map
    by map all of it stays in the cache.
    """
    count, wanted = len(values), len(places)
    if not wanted:
        return 0.0, np.nan
    before = _numbers(count)[:wanted]
    reached, hits, below = count - places, wanted - before, 2 * (places - before)
    twins = np.flatnonzero(values[1:] == values[:-1])
    if len(twins):
        opens = np.flatnonzero(np.diff(twins, prepend=-2) > 1)
        start, size = twins[opens], np.diff(opens, append=len(twins)) + 1
        low, high = np.searchsorted(places, start), np.searchsorted(places, start + size)
        members = high - low
        each = np.repeat(high - np.cumsum(members), members) + np.arange(members.sum())
        reached[each], hits[each] = np.repeat(count - start, members), np.repeat(wanted - low, members)
        below[each] = np.repeat(2 * (start - low) + size - members, members)
    against = count - wanted
    area = int(below.sum()) / (2 * wanted * against) if against else np.nan
    return float((hits / reached).mean()), area


def _sorted_singles(cells: NDArray[np.float32]) -> tuple[NDArray[np.float32], Indices]:
    """Of finite values: one sort of doubles, which hold the pixel's number in mantissa bits that singles leave free.

    That takes half the time of sorting indices by their values; map by map all of it stays in the cache.
    """
    values, order = np.empty_like(cells), np.empty(cells.shape, dtype=np.int64)
    numbers = _numbers(cells.shape[1])
    for row, cell in enumerate(cells):
        wide = cell.astype(np.float64)
        bits = wide.view(np.int64)
        bits |= numbers
        wide.sort()
        values[row] = wide
        np.bitwise_and(bits, 0x1FFFFFFF, out=order[row])
    return values, order


@lru_cache(maxsize=4)
def _numbers(count: int) -> Indices:
    return np.arange(count)
