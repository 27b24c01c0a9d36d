"""Chance and waves for the demo world, bit for bit the same on every machine.

What is guaranteed to be equal everywhere is used alone: the raw 64-bit words of PCG64 (the derived distributions of
NumPy may change between releases), integer arithmetic, and element-wise ``+ - * /`` and square root of IEEE floats.
Sums of floats, BLAS, ``numpy.interp`` and the sine, power and arc tangent of the C library are left out: their last
bit depends on the processor, and one flipped bit would change the hash of a split.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Item = TypeVar("Item")

TABLE = 4096
"""Entries of one period in a wave table."""


def floats(values: Any) -> Floats:
    """An array of 32-bit floats."""
    return np.asarray(values, dtype=np.float32)


class Dice:
    """A stream of chance that is a function of its key alone."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, low: float, high: float) -> float:
        """A float in [low, high)."""
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def below(self, n: int) -> int:
        """An integer in [0, n)."""
        return (int(self._bits.random_raw()) >> 11) * n >> 53

    def coin(self, share: float = 0.5) -> bool:
        """True with probability ``share``."""
        return self.uniform(0, 1) < share

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """The items in a random order."""
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(len(left))]

    def factor(self, octaves: float) -> float:
        """A number around 1, log-uniform in ``2**[-octaves, octaves)``."""
        return exp2(self.uniform(-octaves, octaves))

    def noise(self, *shape: int) -> Floats:
        """Independent uniform values in [-1, 1), steps of 2**-15."""
        n = int(np.prod(shape))
        words = np.asarray(self._bits.random_raw(-(-n // 4)), dtype="<u8").view("<u2")[:n]
        return (words.astype(np.float32) * np.float32(2.0**-15) - np.float32(1)).reshape(shape)


def exp2(x: float) -> float:
    """``2**x`` for ``|x| < 64``, from multiplications only."""
    whole = int(x) - (x < 0)
    power, term = 1.0, 1.0
    for k in range(1, 20):
        term *= (x - whole) * 0.6931471805599453 / k
        power += term
    return power * (2.0**whole)


def _sine_table() -> Floats:
    quarter = []
    for i in range(TABLE // 4 + 1):
        angle = i * 6.283185307179586 / TABLE
        term = total = angle
        for k in range(1, 12):
            term *= -angle * angle / (2 * k * (2 * k + 1))
            total += term
        quarter.append(total)
    half = quarter + quarter[-2:0:-1]
    return np.array(half + [-x for x in half], dtype=np.float32)


SINE = _sine_table()
"""One period of a sine, ``[TABLE]`` in [-1, 1]."""


def sine(turns: Floats) -> Floats:
    """Sine of an angle in turns, by the nearest lower table entry."""
    return floats(SINE[(turns * np.float32(TABLE)).astype(np.int32) & (TABLE - 1)])


def turn(y: Floats, x: Floats) -> Floats:
    """Angle of ``(x, y)`` in turns, [-0.5, 0.5]; a polynomial with an error under 2e-4 turns."""
    across, along = np.abs(x), np.abs(y)
    ratio = np.minimum(across, along) / np.maximum(np.maximum(across, along), np.float32(1e-9))
    square = ratio * ratio
    angle = ratio * (0.158756 + square * (-0.049476 + square * (0.022036 - square * 0.006325)))
    angle = np.where(along > across, 0.25 - angle, angle)
    angle = np.where(x < 0, 0.5 - angle, angle)
    return floats(np.where(y < 0, -angle, angle))
