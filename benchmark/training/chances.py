"""Random numbers of a training: seeded by the epoch, kept in its states, untouched by what goes on beside it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST = 2**32
"""Seeds of NumPy are below it."""


@dataclass(frozen=True)
class Chances:
    """The state of every generator that a method may draw from: torch's, one per device, NumPy's and Python's.

    Attributes:
        tensors: ``cpu``, and ``cuda`` where the training runs on one, uint8; ``numpy``, its 624 words.
        numbers: the rest of the states of NumPy and Python, as JSON has it.
    """

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


def seed_epoch(seed: int, epoch: int) -> None:
    """Begin an epoch: what is drawn in it depends on the recipe's seed and its number alone."""
    mixed = seed * 1_000_003 + epoch
    torch.manual_seed(mixed)
    random.seed(mixed)
    np.random.seed(mixed % MOST)


def note(device: torch.device) -> Chances:
    """The states as they are."""
    kind, words, *rest = np.random.get_state(legacy=True)
    tensors = {"cpu": torch.get_rng_state(), "numpy": torch.from_numpy(np.asarray(words, dtype=np.int64))}
    if device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    version, inner, gauss = random.getstate()
    return Chances(tensors, {"numpy": [kind, *rest], "python": [version, list(inner), gauss]})


def restore(chances: Chances, device: torch.device) -> None:
    """Bring the states back."""
    tensors, (kind, *rest) = chances.tensors, chances.numbers["numpy"]
    torch.set_rng_state(tensors["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["cuda"], device)
    np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), *rest))
    version, inner, gauss = chances.numbers["python"]
    random.setstate((version, tuple(inner), gauss))


@contextmanager
def apart(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside leaves the generators as they were."""
    before = note(device)
    try:
        yield
    finally:
        restore(before, device)
