"""From a normalised map to the predicted pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avbench.metrics.protocols import Operator

_COMPARE = {">=": torch.ge, ">": torch.gt}


def rank_mask(maps: Tensor, below: float = 0.5, *, operator: Operator = ">=") -> Tensor:
    """The pixels at or above a quantile of their own map.

    The threshold is the value at ``int(below * h * w)`` of the ascending sort. Pixels tied with it are all in with
    ``>=`` and all out with ``>``: a constant map predicts everything or nothing. NaN sorts last and is never predicted;
    a map of nothing but NaN predicts nothing.

    Args:
        maps: ``[B, h, w]`` float32 or float64; only the order of a map's pixels matters.
        below: Share of the pixels left under the threshold, in [0, 1).
        operator: Between a pixel and the threshold.

    Returns:
        ``[B, h, w]`` bool.

    Raises:
        ValueError: if ``below`` is out of range.

    References:
        stoneMo/EZ-VSL test.py, ``validate`` (``>=``); kaistmm/SSLalignment test.py (``>``).
    """
    if not 0 <= below < 1:
        raise ValueError(f"below must be in [0, 1), got {below}")
    cells = maps.flatten(1)
    threshold = _ascending(cells, int(below * cells.shape[1]))
    return _COMPARE[operator](maps, threshold[:, None, None])


def saturating_mask(maps: Tensor, below: float = 0.5, *, operator: Operator = ">") -> Tensor:
    """As :func:`rank_mask`, and pixels of value 1 or more besides, whatever the threshold is.

    So they come through LVS's two assignments: what exceeds the threshold is set to 1, what is then below 1 to 0. Where
    over half of a map stands at its largest value, 1, the strict threshold alone would leave nothing.

    Args:
        maps: ``[B, h, w]`` float32 or float64, normalised.
        below: As in :func:`rank_mask`.
        operator: As in :func:`rank_mask`.

    Returns:
        ``[B, h, w]`` bool.

    Raises:
        ValueError: if ``below`` is out of range.

    References:
        hche11/Localizing-Visual-Sounds-the-Hard-Way test.py, ``main``.
    """
    return rank_mask(maps, below, operator=operator) | (maps >= 1)


def absolute_mask(maps: Tensor, threshold: float, *, operator: Operator = ">=") -> Tensor:
    """The pixels at or above a fixed value, compared in the map's own type; NaN pixels are never predicted.

    Args:
        maps: ``[B, h, w]`` floating, normalised.
        threshold: On the scale of the maps.
        operator: Between a pixel and the threshold.

    Returns:
        ``[B, h, w]`` bool.

    References:
        InhoKim429/JSA utils.py, ``Evaluator.cal_CIOU`` (0.6, ``>=``).
    """
    return _COMPARE[operator](maps, threshold)


def _ascending(cells: Tensor, rank: int) -> Tensor:
    """``[B, N]`` to the ``rank``-th smallest of each row, counted from 0, NaN last."""
    if cells.device.type == "cpu":  # numpy's partition takes a sixth of the time of torch's selection
        return torch.from_numpy(np.partition(cells.detach().numpy(), rank, axis=1)[:, rank])
    return cells.kthvalue(rank + 1, dim=1).values
