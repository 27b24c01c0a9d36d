"""Control: a random map."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from avbench.registry import register_method
from avbench.types import Batch, Frontend, Prediction


@dataclass(frozen=True)
class RandomConfig:
    """What the draw depends on, together with the sample's id."""

    seed: int = 0
    cells: int = 7  # the native map of most methods: ResNet-18 at 224 pixels


@register_method("random", config=RandomConfig, needs=(), control=True, trainable=False)
class Random(nn.Module):
    """A random map: uniform cells, drawn from the sample's id and a seed, whatever the batch."""

    frontend: Frontend | None = None

    def __init__(self, config: RandomConfig) -> None:
        super().__init__()
        self.config = config

    def localize(self, batch: Batch) -> Prediction:
        """``[B, cells, cells]`` in [0, 1), the same for the same id."""
        return Prediction(torch.stack([self._draw(name) for name in batch.ids]))

    def _draw(self, name: str) -> Tensor:
        digest = hashlib.sha256(f"{self.config.seed}/{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        return torch.rand(self.config.cells, self.config.cells, generator=generator)
