"""Control: the largest object of the frame, known from the annotation, whatever sounds."""

from dataclasses import dataclass

import torch
from torch import nn

from avbench.nets.oracle import objects_of, union_on_grid
from avbench.registry import register_method
from avbench.types import Batch, Box, Frontend, Prediction


@dataclass(frozen=True)
class OracleLargestConfig:
    """The grid on which the box is drawn."""

    cells: int = 7  # the native map of most methods, so that the row shows what a size prior would score


@register_method("oracle-largest", config=OracleLargestConfig, needs=("objects",), control=True, trainable=False)
class OracleLargest(nn.Module):
    """Oracle "largest object": sees the boxes of everything in the frame, points at the largest, does not hear."""

    frontend: Frontend | None = None

    def __init__(self, config: OracleLargestConfig) -> None:
        super().__init__()
        self.config = config

    def localize(self, batch: Batch) -> Prediction:
        """``[B, cells, cells]``: the share of each cell that the largest box covers; the first of equals."""
        largest = [tuple(sorted(boxes, key=_area, reverse=True)[:1]) for boxes in objects_of(batch)]
        return Prediction(torch.stack([union_on_grid(boxes, self.config.cells) for boxes in largest]))


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
