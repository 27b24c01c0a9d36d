"""How sure a number is."""

from __future__ import annotations

from math import sqrt

Z_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


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
    return max(centre - half, 0.0), min(centre + half, 1.0)
