"""Maps sorted once, so that every threshold rule, ranking measure and curve is a look-up.

A normalisation that keeps the order of a map's pixels acts on the sorted values as it does on the map. So one sort of
the upsampled map serves all protocols that agree on the upsampling, whatever they do after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.metrics.protocols import Operator

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_SIDE = {">=": "left", ">": "right"}


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


class Ranked:
    """Where the pixels of the truth stand among a map's sorted ones."""

    def __init__(self, pixels: Sorted, truth: Tensor) -> None:
        weights = truth.flatten(1).numpy()
        self.pixels = pixels
        self.count = weights.shape[1]
        self.places: list[Indices] = []
        self.gained: list[Floats] = []
        for order, weight in zip(np.broadcast_to(pixels.order, weights.shape), weights, strict=True):
            in_order = weight[order]
            places = np.flatnonzero(in_order.astype(bool, copy=False))
            self.places.append(places)
            self.gained.append(_summed(in_order, places))

    @property
    def positives(self) -> Indices:
        """``[B]``: pixels of the truth of any weight."""
        return np.array([len(places) for places in self.places])

    def ciou(self, first: Indices) -> Floats:
        """``[B]``: :func:`~avbench.metrics.consensus_iou.consensus_iou` of the pixels from the place ``first`` on."""
        found = np.empty(len(first))
        for row, (places, gained, start) in enumerate(zip(self.places, self.gained, first, strict=True)):
            before = np.searchsorted(places, start)
            false = (self.count - start) - (len(places) - before)
            whole = gained[-1] + false
            found[row] = (gained[-1] - gained[before]) / whole if whole else np.nan
        return found

    def hits(self, row: int, first: Indices) -> Indices:
        """Pixels of the truth among those from each of the places ``first`` on."""
        return len(self.places[row]) - np.searchsorted(self.places[row], first)

    def ranking(self) -> dict[str, Floats]:
        """``pixel_ap`` and ``pixel_auc``, ``[B]`` each, as :mod:`avbench.metrics.pixelwise` defines them."""
        both = [_ranking(v, p) for v, p in zip(self._values(), self.places, strict=True)]
        return {"pixel_ap": np.array([ap for ap, _ in both]), "pixel_roc_auc": np.array([auc for _, auc in both])}

    def pointing(self) -> Floats:
        """``[B]``: the share of the pixels at the map's maximum that lie in the truth."""
        found = np.empty(len(self.places))
        for row, values in enumerate(self._values()):
            top = np.searchsorted(values, values[-1])
            found[row] = self.hits(row, top) / (self.count - top)
        return found

    def energy(self) -> Floats:
        """``[B]``: the truth's share of the sum of the map above its smallest value."""
        found = np.empty(len(self.places))
        for row, (values, places, gained) in enumerate(zip(self._values(), self.places, self.gained, strict=True)):
            low, inside = float(values[0]), values[places]
            if gained[-1] != len(places):  # some pixels weigh less than 1
                inside = inside * np.diff(gained)
            above = inside.sum(dtype=np.float64) - low * gained[-1]
            whole = values.sum(dtype=np.float64) - low * self.count
            found[row] = gained[-1] / self.count if values[0] == values[-1] else above / whole
        return found

    def _values(self) -> NDArray[np.floating]:
        return np.broadcast_to(self.pixels.values, (len(self.places), self.count))


def first_at_rank(ascending: NDArray[np.floating], ranks: Indices, operator: Operator) -> Indices:
    """The first place whose value is ``operator`` the value at each map's rank."""
    edges = np.take_along_axis(ascending, ranks[:, None], axis=1)[:, 0]
    return first_at(ascending, edges, operator)


def first_at(ascending: NDArray[np.floating], edges: NDArray[np.floating], operator: Operator) -> Indices:
    """``[B]``: the first place of each sorted map, ``[B, N]``, whose value is ``operator`` its edge."""
    side = _SIDE[operator]
    return np.array([np.searchsorted(v, edge, side=side) for v, edge in zip(ascending, edges, strict=True)])  # type: ignore[call-overload]


def _summed(in_order: NDArray[Any], places: Indices) -> Floats:
    """The weights of the truth's pixels summed from the lowest of them on, beginning with 0."""
    if in_order.dtype == bool:
        return np.arange(len(places) + 1, dtype=np.float64)
    return np.concatenate([[0.0], np.cumsum(in_order[places], dtype=np.float64)])


def _sorted_singles(cells: NDArray[np.float32]) -> tuple[NDArray[np.float32], Indices]:
    """Of finite values: one sort of doubles, which hold the pixel's number in mantissa bits that singles leave free.

    That takes half the time of sorting indices by their values.
    """
    wide = cells.astype(np.float64)
    bits = wide.view(np.int64)
    bits |= np.arange(cells.shape[1], dtype=np.int64)
    wide.sort(axis=1)
    return wide.astype(np.float32), bits & 0x1FFFFFFF


def _ranking(values: NDArray[np.floating], places: Indices) -> tuple[float, float]:
    """Average precision and area under the ROC curve of the pixels at ``places`` of sorted ``values``.

    Counts are taken at each place as if no values were equal, and then at the ends of runs of equal values, whose order
    means nothing: pixels at or above, pixels of the truth among them, and twice the others below, ties a half each.
    """
    count, wanted = len(values), len(places)
    if not wanted:
        return 0.0, np.nan
    before = np.arange(wanted)
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
