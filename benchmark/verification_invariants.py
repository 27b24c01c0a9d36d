"""What holds of every record whatever the method, each with a sentence of its own for one that breaks it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from avbench.metrics.protocols import Protocol
from avbench.records import Record
from avbench.request import PART, protocol_called
from avbench.truth import Truth
from avbench.types import CANVAS

CLOSE = 1e-9
RATES = (("locacc_30", "locacc"), ("locacc", "locacc_75"))
"""Success rates at a threshold and at a higher one."""

STEPS = 20
"""Steps of the AUC's thresholds from 0 to 1."""


@dataclass(frozen=True)
class Ceiling:
    """What the half of the canvas that a rank rule predicts leaves to reach: ``[n]`` float64, the largest cIoU."""

    reachable: Tensor
    positive: Tensor

    def locacc(self, protocol: Protocol) -> float:
        """The share of the samples with truth that can succeed; see :func:`ceiling_of`."""
        at = self.reachable[self.positive]
        reached = at >= 0.5 - CLOSE if protocol.success == ">=" else at > 0.5 - CLOSE
        return float(reached.double().mean())


def ceiling_of(truth: Truth) -> Ceiling:
    """The largest cIoU of each sample for a mask of at least half of the canvas.

    The consensus IoU is ``sum(m g) / (sum(g) + count(m = 1, g = 0))`` for a mask m and weights g. It has the sum A of
    the weights at most above, and at least ``P - S`` false pixels below, where S pixels have a weight and P are
    predicted: at most ``A / (A + max(0, P - S))``. With weights of 0 and 1, and P half of the canvas, 0.5 is within
    reach where the truth covers a quarter of it, and nowhere else.
    """
    reachable = []
    for start in range(0, len(truth), PART):
        weights = truth.union_maps(slice(start, start + PART)).flatten(1)
        area, seen = weights.double().sum(dim=1), (weights > 0).sum(dim=1).double()
        missed = (CANVAS * CANVAS / 2 - seen).clamp(min=0)
        reachable.append(torch.where(area > 0, area / (area + missed), 0.0))
    return Ceiling(torch.cat(reachable), truth.positive)


def has_ceiling(protocol: Protocol) -> bool:
    """Whether a protocol's masks have half of the canvas at least: the pixels at or above the middle one.

    Those above the middle alone may be any fewer, where many are equal.
    """
    rule = protocol.threshold
    return (rule.rule, rule.at, protocol.operator, protocol.truth) == ("rank", 0.5, ">=", "boxes")


def invariant_problems(record: Record, ceiling: Ceiling, truth: Truth) -> list[str]:
    """The invariants that a record breaks, one sentence each."""
    name = record.path
    problems = [
        f"{name} says that {key} is {value:.6g}, which is no fraction"
        for key, value in record.metrics.items()
        if not math.isnan(value) and not -CLOSE <= value <= 1 + CLOSE
    ]
    problems += [f"{name} has an interval of {key} that does not hold its value" for key in _loose(record)]
    problems += [f"{name} {said}" for said in _counts(record, truth)]
    return [*problems, *(f"{name} {said}" for said in _impossible(record, ceiling))]


def _loose(record: Record) -> Iterator[str]:
    for key, (low, high) in record.intervals.items():
        if not low - CLOSE <= record.metrics.get(key, math.nan) <= high + CLOSE:
            yield key


def _counts(record: Record, truth: Truth) -> Iterator[str]:
    positive = int(truth.positive.sum())
    if record.n_positive != positive:
        yield f"counts {record.n_positive} samples with truth, and {positive} have one"
    if record.partial or record.n_scored != record.n_expected or record.n_scored != len(truth):
        yield f"is of {record.n_scored} of {record.n_expected} samples, and the list has {len(truth)}"
    if not 0 <= record.n_nan <= record.n_positive:
        yield f"counts {record.n_nan} values that are no numbers among {record.n_positive}"


def _impossible(record: Record, ceiling: Ceiling) -> Iterator[str]:
    metrics, protocol = record.metrics, protocol_called(record.protocol)
    for lower, higher in RATES:
        if metrics.get(higher, 0.0) > metrics.get(lower, 1.0) + CLOSE:
            rates = f"{lower} {metrics[lower]:.6g} to {higher} {metrics[higher]:.6g}"
            yield f"has a success rate that rises with the threshold, {rates}"
    if {"auc", "locacc_30", "locacc_75"} <= set(metrics):
        low, high = auc_bounds(metrics["locacc_30"], metrics["locacc_75"])
        if not low - CLOSE <= metrics["auc"] <= high + CLOSE:
            yield f"says that auc is {metrics['auc']:.6g}, and its success rates allow {low:.6g} to {high:.6g}"
    if has_ceiling(protocol) and metrics.get("locacc", 0.0) > (most := ceiling.locacc(protocol)) + CLOSE:
        yield f"says that locacc is {metrics['locacc']:.6g}, and masks of half the canvas reach {most:.6g} at most"


def auc_bounds(at_30: float, at_75: float) -> tuple[float, float]:
    """The least and the largest area under a success curve with these rates at 0.3 and 0.75.

    The curve falls from 1 at most, and its 21 thresholds weigh 1/20 each, the two at the ends half of that. One of them
    lies a rounding above 0.3, so that its rate may be anything below.
    """
    rates_low = [at_75 if step <= 15 else 0.0 for step in range(STEPS + 1)]
    rates_low = [max(rate, at_30) if step < 6 else rate for step, rate in enumerate(rates_low)]
    rates_high = [1.0 if step < 6 else at_30 if step < 15 else at_75 for step in range(STEPS + 1)]
    low, high = (_area(rates) for rates in (rates_low, rates_high))
    return low, high


def _area(rates: list[float]) -> float:
    return (sum(rates) - (rates[0] + rates[-1]) / 2) / STEPS
