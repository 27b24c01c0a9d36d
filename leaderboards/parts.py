"""Sizes and classes: in which of them methods can be told apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from avbench.leaderboards.compared import LEVEL, By, Part, PartPair
from avbench.leaderboards.measures import Rows, column_of, sounding
from avbench.metrics.catalogue import METRICS
from avbench.metrics.ranking import tie_groups
from avbench.metrics.sizes import bucket_members
from avbench.metrics.statistics import holm, mcnemar_exact, sign_flip_test

NO_CLASS = "(none)"
"""Stands for the class of samples that have none."""


@dataclass(frozen=True)
class Portion:
    """A metric of the ranked rows, sample by sample.

    Attributes:
        titles: of the M rows.
        numbers: ``[M, n]``, whose means are the metric.
        exact: whether they are successes of independent samples, for McNemar's test; else signs are flipped.
        samples: of the n samples ``label``, ``area`` and ``boxes``.
        clusters: ``[n]``, equal for samples that are not independent; None where all are.
    """

    metric: str
    titles: tuple[str, ...]
    numbers: Tensor
    exact: bool
    samples: pd.DataFrame
    clusters: list[str] | None


@dataclass(frozen=True)
class _Tested:
    """A part whose p-values are not yet corrected."""

    by: By
    name: str
    rows: Rows
    values: list[float]
    pairs: list[tuple[int, int]]
    p_values: list[float]


def parts_of(portion: Portion, *, flips: int, seed: int) -> tuple[Part, ...]:
    """The sizes, then the classes, that have samples.

    Every pair of rows is tested in every part: by McNemar's exact test, or for means by flipping the signs of the
    paired differences (of the clusters' sums), which holds for few samples too. Holm's correction is over all pairs of
    all sizes, and again over all pairs of all classes.

    Args:
        portion: What is divided.
        flips: Random sign patterns of a test of more than 20 samples.
        seed: Of the sign patterns.
    """
    tested = [
        _tested(portion, by, name, rows, flips=flips, seed=seed) for by, name, rows in _divided(portion) if rows.any()
    ]
    found: list[Part] = []
    for _, group in groupby(tested, key=lambda one: one.by):
        found += _corrected(portion, list(group))
    return tuple(found)


def _divided(portion: Portion) -> Iterator[tuple[By, str, Rows]]:
    samples = portion.samples
    annotated = torch.from_numpy(sounding(samples))
    for name, members in bucket_members(column_of(samples, "area"), annotated).items():
        yield "size", name, members.numpy()
    labels = samples["label"].fillna(NO_CLASS).to_numpy(dtype=str)
    for name in sorted(set(labels.tolist())):
        yield "class", name, labels == name


def _tested(portion: Portion, by: By, name: str, rows: Rows, *, flips: int, seed: int) -> _Tested:
    numbers = portion.numbers[:, torch.from_numpy(rows)]
    values: list[float] = numbers.mean(dim=1).tolist()
    pairs = [pair for pair in combinations(range(len(values)), 2) if all(values[n] == values[n] for n in pair)]
    if portion.exact:
        p_values = [_mcnemar(numbers[one].bool(), numbers[other].bool()) for one, other in pairs]
    else:
        sums = _summed(numbers, portion.clusters, rows)
        p_values = [sign_flip_test(sums[one] - sums[other], flips=flips, seed=seed) for one, other in pairs]
    return _Tested(by, name, rows, values, pairs, p_values)


def _mcnemar(first: Tensor, second: Tensor) -> float:
    return mcnemar_exact(int((first & ~second).sum()), int((second & ~first).sum()))


def _summed(numbers: Tensor, clusters: list[str] | None, rows: Rows) -> Tensor:
    """``[M, clusters]``: the sums over samples that are not independent; the numbers themselves where all are."""
    if clusters is None:
        return numbers
    _, places = np.unique(np.array(clusters)[rows], return_inverse=True)
    sums = numbers.new_zeros(len(numbers), int(places.max()) + 1)
    return sums.index_add(1, torch.from_numpy(places), numbers)


def _corrected(portion: Portion, tested: Sequence[_Tested]) -> Iterator[Part]:
    adjusted = iter(holm([p for one in tested for p in one.p_values]))
    higher = METRICS[portion.metric].direction == "higher"
    for one in tested:
        indistinct = torch.ones(len(one.values), len(one.values), dtype=torch.bool)
        pairs = []
        for (first, second), p in zip(one.pairs, one.p_values, strict=True):
            difference, p_holm = one.values[first] - one.values[second], next(adjusted)
            indistinct[first, second] = indistinct[second, first] = p_holm > LEVEL
            pairs.append(PartPair(portion.titles[first], portion.titles[second], difference, p, p_holm))
        groups = tie_groups(one.values, indistinct, higher_is_better=higher)
        count = int(one.rows.sum())
        yield Part(portion.metric, one.by, one.name, count, tuple(one.values), tuple(groups), tuple(pairs))
