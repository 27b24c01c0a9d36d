"""Ranks, and which of them mean something."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import isnan

import torch
from torch import Tensor

from avbench.metrics.statistics import holm


def ranks(values: Sequence[float], *, higher_is_better: bool) -> list[int | None]:
    """The place of each value, 1 for the best; equal values share the better place, and the next place is skipped.

    Args:
        values: One per method; NaN has no place.
        higher_is_better: The metric's direction.

    Returns:
        Places from 1, None for NaN.
    """
    signed = _best_is_highest(values, higher_is_better)
    return [None if isnan(value) else 1 + sum(other > value for other in signed) for value in signed]


def indistinct_pairs(p_values: Tensor, *, level: float = 0.05) -> Tensor:
    """Which methods cannot be told apart, after Holm's correction over all pairs.

    Args:
        p_values: ``[M, M]`` symmetric, one test per pair; the diagonal is not read.
        level: A pair is told apart if its adjusted p-value is ``<=`` it.

    Returns:
        ``[M, M]`` bool, symmetric, true on the diagonal.

    Raises:
        ValueError: if the matrix is not square, or not symmetric with all p-values off the diagonal in [0, 1].
    """
    _refuse_asymmetric(p_values.clone().fill_diagonal_(0) if p_values.ndim == 2 else p_values)
    pairs = list(combinations(range(len(p_values)), 2))
    adjusted = holm([float(p_values[pair]) for pair in pairs])
    indistinct = torch.eye(len(p_values), dtype=torch.bool)
    for (row, column), p in zip(pairs, adjusted, strict=True):
        indistinct[row, column] = indistinct[column, row] = p > level
    return indistinct


def tie_groups(values: Sequence[float], indistinct: Tensor, *, higher_is_better: bool) -> list[int | None]:
    """Groups for a table: of each, no member can be told apart from the group's best.

    Group 1 is the best method and every other that cannot be told apart from it, group 2 the best of the rest and
    every one of the rest that cannot be told apart from that, and so on: a method can be told apart from the best of
    each group before its own. Two members of a group may well differ from each other, and a method with a wide
    interval may belong to an earlier group than one above it. Equal values stand together: a group's best are all of
    the highest value, and a method joins if it, or one of its value, cannot be told apart from any of them.

    Args:
        values: One per method, in any order; NaN has no group.
        indistinct: ``[M, M]`` bool, symmetric; the diagonal is not read.
        higher_is_better: The metric's direction.

    Returns:
        Group numbers from 1, None for NaN.

    Raises:
        ValueError: if the matrix is not ``[M, M]`` and symmetric.
    """
    if indistinct.shape != (len(values), len(values)):
        raise ValueError(f"expected a matrix for {len(values)} methods, got {list(indistinct.shape)}")
    _refuse_asymmetric(indistinct)
    signed = _best_is_highest(values, higher_is_better)
    group_of: dict[float, int] = {}
    left = {value for value in signed if not isnan(value)}
    while left:
        leaders = [index for index, value in enumerate(signed) if value == max(left)]
        tied = indistinct[leaders].any(dim=0).tolist()
        members = {value for value, joins in zip(signed, tied, strict=True) if joins and value in left} | {max(left)}
        group_of |= dict.fromkeys(members, 1 + max(group_of.values(), default=0))
        left -= members
    return [group_of.get(value) for value in signed]


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-b: how far two lists of values put the same methods in the same order.

    ``(C - D) / sqrt((C + D + T1) (C + D + T2))`` over the pairs of methods: C in the same order, D in opposite orders,
    T1 equal in the first list alone, T2 equal in the second alone.

    Args:
        first: One value per method.
        second: The same methods under another protocol, in the same direction.

    Returns:
        In [-1, 1], 1 for the same order with the same ties; NaN where a list holds fewer than two different values,
        as there is no order to agree with.

    Raises:
        ValueError: if the lengths differ or a value is NaN.

    References:
        Kendall, The treatment of ties in ranking problems, Biometrika 1945.
    """
    if len(first) != len(second) or any(map(isnan, [*first, *second])):
        raise ValueError(f"expected values of the same methods and no NaN, got {list(first)} and {list(second)}")
    one, other = (_pair_signs(values) for values in (first, second))
    agreement, informative = (one * other).sum(), one.abs().sum() * other.abs().sum()
    return float(agreement / informative.double().sqrt()) if informative else float("nan")


def _best_is_highest(values: Sequence[float], higher_is_better: bool) -> list[float]:
    return [value if higher_is_better else -value for value in values]


def _pair_signs(values: Sequence[float]) -> Tensor:
    numbers = torch.tensor(values, dtype=torch.float64)
    above, below = numbers[:, None] > numbers, numbers[:, None] < numbers
    return (above.long() - below.long()).flatten()


def _refuse_asymmetric(matrix: Tensor) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not torch.equal(matrix, matrix.T):
        raise ValueError(f"expected a square symmetric matrix, got {list(matrix.shape)}")
