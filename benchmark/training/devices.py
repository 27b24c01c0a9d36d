"""The devices that a training runs on: one process each, under torchrun or alone, through Lightning Fabric."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from avbench.processes import shard_of_process
from avbench.training.chances import note, restore
from avbench.types import Batch

MIXED = {"bf16": "bf16-mixed", "fp16": "16-mixed"}
"""Fabric's names of the precisions that compute in 16 bits and keep weights in 32."""


def open_fabric(device: torch.device, precision: str) -> Fabric:
    """Fabric over ``device``, or over one device per process where torchrun started several; they have met then."""
    shard = shard_of_process()
    if shard.world > 1:
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        spread: dict[str, Any] = {
            "devices": here,
            "num_nodes": shard.world // here,
            "strategy": DDPStrategy(),
        }
    else:
        spread = {"devices": [device.index or 0] if device.type == "cuda" else 1}
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # who has met whom
    plugin = MixedPrecision(cast(Any, MIXED[precision]), device.type) if precision in MIXED else Precision()
    fabric = Fabric(accelerator=device.type, plugins=plugin, **spread)
    fabric.launch()
    return fabric


class Given:
    """A batch on its way through the wrappers around a method, which would cast what they can look into."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


class Loss(nn.Module):
    """A method's loss as the ``forward`` that the wrappers around it expect."""

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, given: Given) -> dict[str, Tensor]:
        """The terms of ``method.loss``."""
        terms: dict[str, Tensor] = self.method.loss(given.batch)
        return terms


def share_buffers(method: nn.Module) -> None:
    """Bring every process to the running statistics of the first, whose weights are everyone's already."""
    if dist.is_initialized():
        for buffer in method.buffers():
            dist.broadcast(buffer, 0)


def share_chances(device: torch.device) -> None:
    """Bring the generators of every process to the state of the first's."""
    states = [note(device)]
    dist.broadcast_object_list(states, 0)
    restore(states[0], device)


def everyones(counts: Sequence[int], device: torch.device) -> list[list[int]]:
    """The whole numbers that each process gives, by rank; as many on each."""
    own = torch.tensor(counts, device=device)
    found = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(found, own)
    return [one.tolist() for one in found]


def everyones_objects(own: Any) -> list[Any]:
    """What each process gives, by rank."""
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, own)
    return found
