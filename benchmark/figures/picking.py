"""Which samples a figure shows: named ones, evenly over the list, at random, or those on which methods differ most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from avbench.errors import UsageError
from avbench.figures.choice import FigureChoice

Indices = NDArray[np.intp]


def pick(choice: FigureChoice, eligible: Indices, scores: NDArray[np.float64], *, count: int) -> list[int]:
    """Some of the samples, by ``choice.samples`` where that is a way to choose them.

    ``even``: the middles of as many equal parts of the list. ``random``: without replacement, by NumPy's default
    generator from ``choice.seed``, in the list's order. ``differ``: the largest range of scores first, NaN being 0, of
    equals the earlier in the list first.

    Args:
        choice: With the way, and the count where it has one.
        eligible: Places in the list, ascending.
        scores: ``[M, N]`` of the methods that differ, for all samples of the list.
        count: How many where the choice does not say; all where there are fewer.

    Returns:
        Places, in the order of the figure.
    """
    wanted = min(choice.count or count, len(eligible))
    if choice.samples == "differ":
        known = np.nan_to_num(scores[:, eligible])
        order = np.argsort(-np.ptp(known, axis=0), kind="stable")
        return [int(place) for place in eligible[order[:wanted]]]
    if choice.samples == "random":
        drawn = np.random.default_rng(choice.seed).choice(eligible, size=wanted, replace=False)
        return sorted(int(place) for place in drawn)
    return [int(eligible[(2 * number + 1) * len(eligible) // (2 * wanted)]) for number in range(wanted)]


def named(samples: Sequence[str], ids: Sequence[str], split: str) -> list[int]:
    """The places of samples that are named, in the order in which they are.

    Args:
        samples: Their ids.
        ids: Of all samples.
        split: What errors call the list.

    Raises:
        UsageError: for one that is not there, or named twice.
    """
    places = {name: place for place, name in enumerate(ids)}
    for name in samples:
        if name not in places:
            raise UsageError(f"expected ids of {split} to show, such as {ids[0]}, got {name!r}: name others")
        if samples.count(name) > 1:
            raise UsageError(f"the sample {name} is named twice for a figure: name it once")
    return [places[name] for name in samples]
