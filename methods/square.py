"""Control: a centred square."""

from dataclasses import dataclass

import torch

from avbench.nets.fixed import FixedMap, offsets
from avbench.registry import register_method


@dataclass(frozen=True)
class SquareConfig:
    """Nothing to set: the protocol's threshold sets the area."""


@register_method("square", config=SquareConfig, needs=(), control=True, trainable=False)
class Square(FixedMap):
    """A centred square: minus the larger of the two distances to the centre; half the image under a half-rank rule."""

    def __init__(self, config: SquareConfig) -> None:
        down, right = offsets()
        super().__init__(-torch.maximum(down.abs(), right.abs()))
        self.config = config
