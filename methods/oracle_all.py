"""Control: every object of the frame, known from the annotation, whatever sounds."""

from dataclasses import dataclass

import torch
from torch import nn

from avbench.nets.oracle import objects_of, union_on_grid
from avbench.registry import register_method
from avbench.types import Batch, Frontend, Prediction


@dataclass(frozen=True)
class OracleAllConfig:
    """The grid on which the boxes are drawn."""

    cells: int = 7  # the native map of most methods, so that the row shows what perfect saliency would score


@register_method("oracle-all", config=OracleAllConfig, needs=("objects",), control=True, trainable=False)
class OracleAll(nn.Module):
    """Oracle "all objects": sees the boxes of everything in the frame, does not hear."""

    frontend: Frontend | None = None

    def __init__(self, config: OracleAllConfig) -> None:
        super().__init__()
        self.config = config

    def localize(self, batch: Batch) -> Prediction:
        """``[B, cells, cells]``: the share of each cell that any object covers."""
        return Prediction(torch.stack([union_on_grid(boxes, self.config.cells) for boxes in objects_of(batch)]))
