"""Maps that are the same for every sample: the controls that neither see nor hear."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avbench.types import CANVAS, Batch, Frontend, Prediction


class FixedMap(nn.Module):
    """Answers every sample with one map ``[224, 224]``, handed out as an expanded view of a single copy."""

    frontend: Frontend | None = None
    map: Tensor

    def __init__(self, shape: Tensor) -> None:
        super().__init__()
        self.register_buffer("map", shape)

    def localize(self, batch: Batch) -> Prediction:
        """The same ``[224, 224]`` map for each of the batch's ids."""
        return Prediction(self.map.expand(len(batch.ids), CANVAS, CANVAS))


def offsets() -> tuple[Tensor, Tensor]:
    """Distance of each pixel's centre from the canvas's, in pixels: down ``[224, 1]`` and right ``[1, 224]``."""
    line = torch.arange(CANVAS, dtype=torch.float32) - (CANVAS - 1) / 2
    return line[:, None], line[None, :]
