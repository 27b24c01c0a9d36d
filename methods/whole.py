"""Control: the whole image, a map without any information."""

from dataclasses import dataclass

import torch

from avbench.nets.fixed import FixedMap
from avbench.registry import register_method
from avbench.types import CANVAS


@dataclass(frozen=True)
class WholeConfig:
    """Nothing to set."""


@register_method("whole", config=WholeConfig, needs=(), control=True, trainable=False)
class Whole(FixedMap):
    """The whole image: a constant map, which every rule with ``>=`` predicts entirely."""

    def __init__(self, config: WholeConfig) -> None:
        super().__init__(torch.ones(CANVAS, CANVAS))
        self.config = config
