"""What EZ-VSL, SLAVC and FNAC share: two trunks with projections, compared cell by cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.nets.resnet import Trunk, reset_convolutions

BLOCK = 64
"""Images whose cells are compared with all sounds at once in a table of similarities: bounds the memory alone."""


def reset_two_encoders(audnet: Trunk, pictures: Sequence[nn.Conv2d], sounds: Sequence[nn.Linear]) -> None:
    """Draw the projections' weights and the audio batch norms as the official code of the three methods does.

    Convolutions kaiming-normal (fan-out, ReLU), linear weights from N(0, 0.01), batch-norm weights from N(1, 0.02);
    biases stay as constructed. ``audnet``'s convolutions are kaiming-normal already.
    """
    for projection in pictures:
        reset_convolutions(projection)
    for line in sounds:
        nn.init.trunc_normal_(line.weight, mean=0.0, std=0.01)
    for part in audnet.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, mean=1.0, std=0.02)


def compare(cells: Tensor, sounds: Tensor) -> Tensor:
    """``[N, C, h, w]`` cells with ``[M, C]`` sounds: inner products ``[N, M, h, w]``."""
    return torch.einsum("nchw,mc->nmhw", cells, sounds)


def compare_own(cells: Tensor, sounds: Tensor) -> Tensor:
    """``[B, C, h, w]`` cells with the ``[B, C]`` sounds of their own rows: inner products ``[B, h, w]``."""
    return torch.einsum("nchw,nc->nhw", cells, sounds)


def pool_cells(cosines: Tensor, temperature: float) -> Tensor:
    """``[N, M, h, w]`` to ``[N, M]``: the best cell, or the log of the mean exponential at ``temperature`` > 0.

    The maximum passes gradient to one cell alone.
    """
    if temperature == 0:
        return cosines.flatten(2).max(dim=2).values
    cells = cosines.flatten(2) / temperature
    return temperature * (cells.logsumexp(dim=2) - math.log(cells.shape[2]))


def best_cell_similarity(cells: Tensor, sounds: Tensor) -> Tensor:
    """``[N, C, h, w]`` unit cells against ``[M, C]`` unit sounds: the best cell's cosine, ``[N, M]``."""
    return torch.cat([compare(block, sounds).amax(dim=(2, 3)) for block in torch.split(cells, BLOCK)])


def mean_cell_similarity(cells: Tensor, sounds: Tensor) -> Tensor:
    """``[N, C, h, w]`` unit cells against ``[M, C]`` unit sounds: the cosine of the mean cell, ``[N, M]``."""
    return F.normalize(cells.mean(dim=(2, 3)), dim=1) @ sounds.T


def projected_size(state: Mapping[str, Tensor], key: str) -> dict[str, int]:
    """The setting ``out_dim`` that the projection ``key`` of a state dict gives away; empty where it is missing."""
    return {"out_dim": len(state[key])} if key in state else {}
