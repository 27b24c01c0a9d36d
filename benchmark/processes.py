"""Which of the processes that torchrun started this one is. Imports no torch."""

from __future__ import annotations

import os

from avbench.data.sharding import ALONE, Shard


def is_launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def shard_of_process() -> Shard:
    """Which of torchrun's processes this is; alone without torchrun."""
    return Shard(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])) if is_launched() else ALONE


def leads() -> bool:
    """Whether this is the process that writes and reports."""
    return shard_of_process().rank == 0
