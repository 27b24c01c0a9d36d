"""Qualitative grids by the size of what sounds: a block of samples for each (SLAVC, supplement, figures 2 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf, isqrt
from pathlib import Path

import numpy as np
import torch

from avbench.errors import UsageError
from avbench.figures.choice import FigureChoice
from avbench.figures.grid import Gathered, GridData, data_of, draw, gather_samples, picked_of
from avbench.figures.picking import named
from avbench.leaderboards.measures import column_of
from avbench.metrics.sizes import BUCKETS, bucket_members
from avbench.opening import Progress, silent

__all__ = ["draw", "gather"]

ROWS = 2
"""Samples of a block, unless told otherwise."""


def gather(places: Sequence[Path], choice: FigureChoice, progress: Progress = silent) -> GridData:
    """Samples with stored maps, by the area of their truth; a size that no sample has is left out.

    Args:
        places: As of :func:`avbench.figures.grid.gather`.
        choice: As there; named samples stand in the blocks of their sizes.
        progress: As there.

    Raises:
        UsageError: as there, and for a named sample without a box.
        AvbenchError: as there.
    """
    found = gather_samples(places, choice, progress)
    members = bucket_members(column_of(found.tables[0], "area"), torch.from_numpy(found.sounding))
    eligible = {title_of(name): np.flatnonzero(flags.numpy()) for name, flags in members.items()}
    if isinstance(choice.samples, tuple):
        picked = _named(found, choice.samples, eligible)
    else:
        picked = {title: picked_of(found, choice, those, count=ROWS) for title, those in eligible.items() if len(those)}
    return data_of(found, {title: those for title, those in picked.items() if those})


def title_of(size: str) -> str:
    """A size with its bounds, which are squares, in pixels of the 224 x 224 canvas."""
    least, bound = BUCKETS[size]
    if isinf(bound):
        return f"{size}\n\u2265 {isqrt(int(least))}\u00b2"
    below = f"{isqrt(int(bound))}\u00b2"
    return f"{size}\n{isqrt(int(least))}\u00b2 to {below}" if least else f"{size}\n< {below}"


def _named(found: Gathered, samples: Sequence[str], eligible: dict[str, np.ndarray]) -> dict[str, list[int]]:
    chosen = named(samples, found.truth.ids, found.truth.split)
    without = next((place for place in chosen if not found.sounding[place]), None)
    if without is not None:
        raise UsageError(
            f"the sample {found.truth.ids[without]} of {found.truth.split} has no box and so no size: leave it out"
        )
    return {title: [place for place in chosen if place in those] for title, those in eligible.items()}
