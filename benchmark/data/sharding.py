"""What each of several processes takes of a list: parts that never overlap and together are all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from avbench.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """One of ``world`` processes that share the work.

    Nothing is padded or repeated: a padded sampler counts its padding twice and moves every mean.

    Attributes:
        rank: which one, counted from 0.
        world: how many there are.

    Raises:
        UsageError: for a rank that is not one of them.
    """

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise UsageError(f"expected a rank of 0 to {self.world - 1} among {self.world} processes, got {self.rank}")

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of ``items``: neighbours in their order, rank after rank.

        The parts of all ranks, one after the other, are ``items``; their lengths differ by at most one.
        """
        n = len(items)
        return items[n * self.rank // self.world : n * (self.rank + 1) // self.world]


ALONE = Shard()
"""The only process."""


def batches_of(order: Sequence[int], batch_size: int, shard: Shard = ALONE) -> list[list[int]]:
    """This process's part of every whole batch of ``order``; what is left after the last one is dropped.

    Batch ``s`` of all processes together is ``order[s * batch_size : (s + 1) * batch_size]``, whatever their number.

    Raises:
        UsageError: for a batch that ``order`` cannot fill, or that leaves a process without a sample.
    """
    n = len(order)
    if not 0 < batch_size <= n:
        raise UsageError(f"a batch of {batch_size} cannot be drawn from {n} pairs: choose a batch size of 1 to {n}")
    if batch_size < shard.world:
        raise UsageError(
            f"a batch of {batch_size} leaves some of {shard.world} processes without a sample: choose a batch size of "
            f"{shard.world} or more"
        )
    return [list(shard.of(order[i : i + batch_size])) for i in range(0, n - batch_size + 1, batch_size)]
