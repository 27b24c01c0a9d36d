"""Which of the processes that torchrun started this one is. Imports no torch at first."""

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


def meet(shard: Shard) -> None:
    """Wait until every process has come here; alone, go on."""
    if shard.world == 1:
        return
    import torch.distributed as dist

    if not dist.is_initialized():
        dist.init_process_group("gloo")
    dist.barrier()
