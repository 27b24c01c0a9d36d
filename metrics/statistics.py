"""How sure a number is, and a difference between two numbers from the same samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import sqrt

import numpy as np
import torch
from torch import Tensor

Z_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""
Z_80 = 0.8416212335729143
"""The 80 % point of the normal distribution."""
EXACT_UP_TO = 20
"""The most differences whose sign patterns are all tried."""
TOLERANCE = 1e-12
"""How far below the observed mean a mean of flipped differences may lie and still count as equal to it."""
FLIPPED_AT_ONCE = 1 << 20
"""Signs held in memory at a time."""


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """The Wilson score interval of a success rate, at 95 % confidence and without continuity correction.

    Args:
        successes: In [0, ``total``].
        total: Number of samples, at least 1.

    Returns:
        The lower and the upper end, in [0, 1].

    Raises:
        ValueError: if the counts are out of range.

    References:
        Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927.
    """
    if not (total >= 1 and 0 <= successes <= total):
        raise ValueError(f"expected 0 <= successes <= total and total >= 1, got {successes} of {total}")
    rate, spread = successes / total, Z_95**2 / total
    centre = (rate + spread / 2) / (1 + spread)
    half = Z_95 * sqrt(rate * (1 - rate) / total + spread / (4 * total)) / (1 + spread)
    return centre - half if successes else 0.0, centre + half if successes < total else 1.0


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """The two-sided exact McNemar test that two methods succeed equally often on the same samples.

    Under the hypothesis each sample on which just one of the two succeeds is as likely to be the first's as the
    second's; the p-value is twice the smaller tail of that binomial, at most 1, in exact integers until the end.

    Args:
        only_first: Samples on which the first method alone succeeds, at least 0.
        only_second: Samples on which the second method alone succeeds, at least 0.

    Returns:
        The p-value in (0, 1]; 1 where both are 0. It may underflow to 0 above a thousand samples.

    Raises:
        ValueError: if a count is negative.

    References:
        McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 1947.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"expected counts of at least 0, got {only_first} and {only_second}")
    total = only_first + only_second
    steps = range(1, min(only_first, only_second) + 1)
    tail = sum(accumulate(steps, lambda ways, k: ways * (total - k + 1) // k, initial=1))
    return min(2 * tail / (1 << total), 1.0)


def sign_flip_test(differences: Tensor, *, flips: int = 10_000, seed: int = 0) -> float:
    """The two-sided randomisation test that paired differences are symmetric about 0.

    The p-value is the share of sign patterns whose absolute mean is ``>=`` the observed one less 1e-12: of all ``2**n``
    patterns up to n = 20, and above that of ``flips`` random ones, as ``(1 + count) / (1 + flips)``.

    Args:
        differences: ``[n]``, n at least 1, finite; one per sample, the first method less the second.
        flips: Random patterns, at least 1.
        seed: Of the random patterns.

    Returns:
        The p-value in (0, 1]; 1 where all differences are 0.

    Raises:
        ValueError: if the differences are not ``[n]``, are none, or hold NaN or an infinity; if flips is below 1.

    References:
        Fisher, The Design of Experiments, 1935, section 21; the rule of 1 after Phipson & Smyth, 2010.
    """
    values = differences.double().cpu()
    if values.ndim != 1 or not len(values) or not values.isfinite().all():
        raise ValueError(f"expected one or more differences [n] without NaN or infinity, got {differences}")
    if flips < 1:
        raise ValueError(f"flips must be 1 or more, got {flips}")
    least = abs(float(values.mean())) - TOLERANCE
    if len(values) <= EXACT_UP_TO:
        return float((_all_flipped_sums(values).abs() / len(values) >= least).double().mean())
    means = (sums.abs() / len(values) for sums in _random_flipped_sums(values, flips, seed))
    return (1 + sum(int((found >= least).sum()) for found in means)) / (1 + flips)


def _all_flipped_sums(values: Tensor) -> Tensor:
    """The sums of half of the sign patterns; the other half are their negatives."""
    sums = values[:1]
    for value in values[1:]:
        sums = torch.cat([sums + value, sums - value])
    return sums


def _random_flipped_sums(values: Tensor, flips: int, seed: int) -> Iterator[Tensor]:
    generator = np.random.default_rng(seed)
    rows = max(FLIPPED_AT_ONCE // len(values), 1)
    for start in range(0, flips, rows):
        shape = (min(rows, flips - start), len(values))
        signs = 2 * generator.integers(0, 2, size=shape, dtype=np.int8) - 1
        yield torch.from_numpy(signs).double() @ values


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of the p-values of several tests, which bounds the chance of any false finding.

    In ascending order the k-th of m (from 0) is multiplied by ``m - k``; none falls below one before it or exceeds 1.

    Args:
        p_values: In [0, 1], in any order; may be empty.

    Returns:
        The adjusted values in the order given; equal ones stay equal.

    Raises:
        ValueError: if a value is NaN or outside [0, 1].

    References:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 1979.
    """
    wrong = [p for p in p_values if not 0 <= p <= 1]
    if wrong:
        raise ValueError(f"p-values must lie in [0, 1], got {wrong[0]}")
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    scaled = (p_values[index] * (len(order) - step) for step, index in enumerate(order))
    adjusted = dict(zip(order, accumulate((min(p, 1.0) for p in scaled), max), strict=True))
    return [adjusted[index] for index in range(len(order))]


def detectable_rate_difference(total: int, *, discordance: float = 0.5) -> float:
    """The least difference of two paired success rates that McNemar's test finds: 80 % power, 5 % level, two-sided.

    It solves ``d * sqrt(n) = z_95 * sqrt(q) + z_80 * sqrt(q - d**2)`` for the difference d at n samples and the share q
    of samples on which just one method succeeds; as no difference exceeds that share, q is raised to d where it is
    below it. Independent methods with a success rate p have ``q = 2 p (1 - p)``, at most 0.5, which is also the answer
    for unpaired rates; 1 is the worst case of all, two methods that never agree.

    Args:
        total: Number of samples n, at least 1.
        discordance: q in [0, 1], as observed or as feared.

    Returns:
        A fraction in (0, 1], 0.061 at 400 samples and a discordance of 0.19; 1 at fewer than 4 samples, which find
        nothing.

    Raises:
        ValueError: if total or discordance is out of range.

    References:
        Connor, Sample size for testing differences in proportions for the paired-sample design, Biometrics 1987.
    """
    if total < 1 or not 0 <= discordance <= 1:
        raise ValueError(f"expected total >= 1 and discordance in [0, 1], got {total} and {discordance}")
    room = total + Z_80**2 - Z_95**2
    if room < 0:
        return 1.0
    worst = (Z_95 * sqrt(total) + Z_80 * sqrt(room)) / (total + Z_80**2)
    return min(max(sqrt(discordance), worst) * worst, 1.0)


def detectable_mean_difference(differences: Tensor) -> float:
    """The least difference of two paired means that is found at 80 % power and a 5 % level, two-sided.

    ``(z_95 + z_80) * s / sqrt(n)``, with s the standard deviation (n - 1) of the n differences: the normal
    approximation, some percent too small below 20 samples.

    Args:
        differences: ``[n]``, one per sample.

    Returns:
        In the unit of the differences, 0 where they are all equal; NaN for fewer than two, or if one is NaN.
    """
    if len(differences) < 2:
        return float("nan")
    return (Z_95 + Z_80) * float(differences.double().std()) / sqrt(len(differences))
