"""What the oracle controls share: boxes drawn on a coarse grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.errors import AvbenchError
from avbench.types import CANVAS, Batch, Box


def objects_of(batch: Batch) -> list[tuple[Box, ...]]:
    """The boxes of all objects of each sample.

    Raises:
        AvbenchError: where the split does not know them.
    """
    if batch.objects is None:
        raise AvbenchError(
            "the oracle controls need the boxes of all objects, which this split does not list: use a demo split"
        )
    return batch.objects


def union_on_grid(boxes: tuple[Box, ...], cells: int) -> Tensor:
    """``[cells, cells]`` in [0, 1]: the covered share of each cell; ``cells`` must divide 224."""
    canvas = torch.zeros(CANVAS, CANVAS)
    for x0, y0, x1, y1 in boxes:
        canvas[int(y0 * CANVAS) : int(y1 * CANVAS), int(x0 * CANVAS) : int(x1 * CANVAS)] = 1
    return F.avg_pool2d(canvas[None], CANVAS // cells)[0]
