"""From a normalised map to the predicted pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avbench.metrics.protocols import Operator

_COMPARE = {">=": torch.ge, ">": torch.gt}
_COMPARE_ON_CPU = {">=": np.greater_equal, ">": np.greater}


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
    _check_share(below)
    cells = maps.flatten(1)
    threshold = _at_rank(cells, int(below * cells.shape[1]))
    return _compared(maps, threshold[:, None, None], operator)


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
    return rank_mask(maps, below, operator=operator) | absolute_mask(maps, 1)


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
    return _compared(maps, torch.tensor(threshold, dtype=maps.dtype, device=maps.device), operator)


def adaptive_mask(maps: Tensor, truth: Tensor, *, operator: Operator = ">") -> Tensor:
    """As many pixels of each map as its truth has: a threshold that knows the size of the answer.

    The threshold is the value at ``N - n`` of the ascending sort of the map's N pixels, n the number of pixels whose
    truth is not 0 (half weights count whole), ``N // 2`` where there is none. NaN and ties as in :func:`rank_mask`:
    officially the strict comparison drops the pixel at the threshold, so that n - 1 are left without ties.

    Args:
        maps: ``[B, h, w]`` float32 or float64; only the order of a map's pixels matters. One map may serve all samples.
        truth: ``[B, h, w]`` of any type.
        operator: Between a pixel and the threshold; ``">="`` is the corrected option, which keeps n pixels.

    Returns:
        ``[B, h, w]`` bool.

    Raises:
        ValueError: if the shapes do not fit.

    References:
        kaistmm/SSLalignment test.py, ``validate`` and ``validate_lvs``; utils.py, ``cal_CIOU_adap``.
    """
    if maps.ndim != 3 or maps.shape[1:] != truth.shape[1:] or len(maps) not in {1, len(truth)}:
        raise ValueError(
            f"maps and truth must both be [B, h, w], or one map for all, got {list(maps.shape)} and {list(truth.shape)}"
        )
    threshold = _at_ranks(maps.flatten(1), _adaptive_ranks(truth))
    return _compared(maps, threshold[:, None, None], operator)


def sorted_pixels(maps: Tensor) -> Tensor:
    """The pixels of each map in ascending order, NaN last, for callers that need more than one of its thresholds.

    Args:
        maps: ``[B, h, w]`` float32 or float64.

    Returns:
        ``[B, h * w]``, same type.
    """
    cells = maps.detach().flatten(1)
    if cells.device.type == "cpu":  # numpy's sort takes a tenth of the time of torch's
        return torch.from_numpy(np.sort(cells.numpy(), axis=1))
    return cells.sort(dim=1).values


def rank_threshold(ascending: Tensor, below: float = 0.5) -> Tensor:
    """The threshold of :func:`rank_mask`, from maps that are sorted already.

    Args:
        ascending: ``[B, N]``, as from :func:`sorted_pixels`.
        below: As in :func:`rank_mask`.

    Returns:
        ``[B]``, same type: NaN where that many pixels are NaN.

    Raises:
        ValueError: if ``below`` is out of range.
    """
    _check_share(below)
    return ascending[:, int(below * ascending.shape[1])]


def adaptive_threshold(ascending: Tensor, truth: Tensor) -> Tensor:
    """The threshold of :func:`adaptive_mask`, from maps that are sorted already.

    Args:
        ascending: ``[B, N]``, as from :func:`sorted_pixels`; one row may serve all samples.
        truth: ``[B, h, w]`` of any type, N pixels each, on the same device.

    Returns:
        ``[B]``, same type as ``ascending``.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if ascending.shape[1:] != truth.flatten(1).shape[1:] or len(ascending) not in {1, len(truth)}:
        raise ValueError(
            f"expected sorted maps [B, N] and a truth [B, h, w] of N pixels, got {list(ascending.shape)} and "
            f"{list(truth.shape)}"
        )
    return ascending.expand(len(truth), -1).gather(1, _adaptive_ranks(truth)[:, None])[:, 0]


def _check_share(below: float) -> None:
    if not 0 <= below < 1:
        raise ValueError(f"below must be in [0, 1), got {below}")


def _compared(maps: Tensor, threshold: Tensor, operator: Operator) -> Tensor:
    if maps.device.type == "cpu":  # numpy's comparison takes a fifth of the time of torch's
        return torch.from_numpy(_COMPARE_ON_CPU[operator](maps.detach().numpy(), threshold.numpy()))
    return _COMPARE[operator](maps, threshold)


def _adaptive_ranks(truth: Tensor) -> Tensor:
    """``[B, h, w]`` to the place of each threshold in the ascending sort, ``[B]`` int64."""
    weights = truth.detach().flatten(1)
    if weights.device.type == "cpu":  # numpy compares and counts in a tenth of the time of torch
        counts = torch.tensor([np.count_nonzero(row != 0) for row in weights.numpy()], dtype=torch.int64)
    else:
        counts = weights.count_nonzero(dim=1)
    pixels = weights.shape[1]
    return pixels - counts.where(counts > 0, max(pixels // 2, 1))


def _at_rank(cells: Tensor, rank: int) -> Tensor:
    """``[B, N]`` to the ``rank``-th smallest of each row, counted from 0, NaN last."""
    if cells.device.type == "cpu":  # numpy's partition takes a sixth of the time of torch's selection
        return torch.from_numpy(np.partition(cells.detach().numpy(), rank, axis=1)[:, rank])
    return cells.kthvalue(rank + 1, dim=1).values


def _at_ranks(cells: Tensor, ranks: Tensor) -> Tensor:
    """As :func:`_at_rank` with a rank for each row; one row may serve all ranks."""
    rows = cells.detach().expand(len(ranks), -1)
    if rows.device.type == "cpu":
        pairs = zip(rows.numpy(), ranks.tolist(), strict=True)
        return torch.tensor([np.partition(row, rank)[rank] for row, rank in pairs], dtype=rows.dtype)
    return rows.sort(dim=1).values.gather(1, ranks[:, None])[:, 0]
