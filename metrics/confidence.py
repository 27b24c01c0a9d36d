"""How sure a map is that anything sounds: what extended sets rank samples by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def top_quarter(maps: Tensor) -> Tensor:
    """The mean of the largest quarter of the pixels of each map: ``ceil(n / 4)`` of n, 12,544 of 50,176.

    Args:
        maps: ``[B, H, W]`` float32 or float64, on a scale that all samples share: normalised per map they would all say
            the same.

    Returns:
        ``[B]`` float64, on the scale of the maps; the sum is taken in float64. One NaN pixel makes it NaN. A constant
        map has its own value.

    Raises:
        ValueError: if the maps are not ``[B, H, W]`` with at least one pixel.

    References:
        stoneMo/SLAVC test.py, ``validate`` (the slice ``[-n // 4:]`` of the ascending sort).
    """
    if maps.ndim != 3 or 0 in maps.shape[1:]:
        raise ValueError(f"maps must be [B, H, W] with at least one pixel, got {list(maps.shape)}")
    cells = maps.flatten(1)
    return _largest(cells, -(-cells.shape[1] // 4)).double().mean(dim=1)


def _largest(cells: Tensor, count: int) -> Tensor:
    """``[B, N]`` to the ``count`` largest of each row, in any order, NaN before all."""
    if cells.device.type == "cpu":  # numpy's partition takes a fifth of the time of torch's selection
        rest = cells.shape[1] - count
        return torch.from_numpy(np.partition(cells.detach().numpy(), rest, axis=1)[:, rest:])
    return cells.topk(count, dim=1, sorted=False).values
