"""Control: where sounding objects stood in the training set."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from avbench.nets.fixed import FixedMap
from avbench.registry import register_method
from avbench.types import CANVAS


@dataclass(frozen=True)
class TrainingPriorConfig:
    """Nothing to set."""


@register_method("training-prior", config=TrainingPriorConfig, needs=(), control=True)
class TrainingPrior(FixedMap):
    """The training-set prior: the mean of the training set's ground-truth maps, the same for every test sample."""

    def __init__(self, config: TrainingPriorConfig) -> None:
        super().__init__(torch.zeros(CANVAS, CANVAS))
        self.config = config

    def fit(self, truths: Iterable[Tensor]) -> None:
        """Set the map to the mean of ``truths``, each ``[224, 224]``; needs at least one.

        Raises:
            ValueError: if there is none.
        """
        total, count = torch.zeros(CANVAS, CANVAS, dtype=torch.float64), 0
        for truth in truths:
            total += truth
            count += 1
        if not count:
            raise ValueError("the prior is a mean over annotated samples, and there is none: name a split with boxes")
        self.map.copy_(total / count)
