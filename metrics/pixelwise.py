"""What a map is worth without a threshold: how well it ranks a frame's pixels, and where its weight and its peak lie.

A pixel is inside the truth where its weight is above 0. A map with a NaN pixel predicts nothing, as under min-max
normalisation: it scores 0. So does any map on an empty truth, but for :func:`pixel_roc_auc`, which is undefined there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.metrics.ordered import Ranked, Sorted


def pixel_average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    """``sum of P_k * (R_k - R_{k-1})`` over the distinct scores of each map from the highest, from a recall of 0.

    A pixel is predicted if its score is ``>=`` the threshold, so that equal scores enter together; nothing is
    interpolated. A constant map scores the share of the frame that is inside.

    Args:
        scores: ``[B, N]`` or ``[B, H, W]`` floating, any scale; infinities are ranked, -0.0 equals 0.0.
        labels: Same shape, true (or not 0) inside the truth.

    Returns:
        ``[B]`` float64 in [0, 1]; 0 where the map has a NaN or no pixel is inside.

    Raises:
        ValueError: if the shapes differ or there is no pixel.

    References:
        ``sklearn.metrics.average_precision_score``, for one frame.
    """
    return ranked_measures(scores, labels)["pixel_ap"]


def pixel_roc_auc(scores: Tensor, labels: Tensor) -> Tensor:
    """The share of (inside, outside) pairs of pixels that each map ranks rightly; equal scores count half.

    Args:
        scores: As in :func:`pixel_average_precision`.
        labels: As in :func:`pixel_average_precision`.

    Returns:
        ``[B]`` float64 in [0, 1], 1/2 for a constant map, 0 for a map with a NaN; NaN where all pixels are inside or
        all outside, whatever the map.

    Raises:
        ValueError: if the shapes differ or there is no pixel.

    References:
        ``sklearn.metrics.roc_auc_score``, for one frame; Mann & Whitney 1947.
    """
    return ranked_measures(scores, labels)["pixel_roc_auc"]


def ranked_measures(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """:func:`pixel_average_precision` and :func:`pixel_roc_auc` from one sort.

    Args:
        scores: As in :func:`pixel_average_precision`.
        labels: As in :func:`pixel_average_precision`.

    Returns:
        ``pixel_ap`` and ``pixel_roc_auc``, ``[B]`` float64 each, on the device of ``scores``.

    Raises:
        ValueError: if the shapes differ or there is no pixel.
    """
    if scores.shape != labels.shape or scores.ndim < 2 or 0 in scores.shape[1:]:
        shapes = f"{list(scores.shape)} and {list(labels.shape)}"
        raise ValueError(f"scores and labels must both be [B, N] with at least one pixel, got {shapes}")
    cells = scores.detach().flatten(1)
    cells = cells if cells.dtype in (torch.float32, torch.float64) else cells.float()
    inside = labels.flatten(1).bool()
    # numpy sorts a row in a tenth of the time of torch
    precision, area = (_ranked_rows if cells.device.type == "cpu" else _ranked_batch)(cells, inside)
    return {"pixel_ap": precision, "pixel_roc_auc": area}


def pointing_hit(maps: Tensor, truth: Tensor, *, tolerance: int = 0) -> Tensor:
    """Whether the largest value of each map lies inside the truth: the pointing game.

    Where several pixels hold the largest value, the share of them that lie inside: what a fair draw among them would
    hit. A constant map scores the share of the frame that is inside.

    Args:
        maps: ``[B, H, W]`` floating, any scale.
        truth: ``[B, H, W]`` weights in [0, 1].
        tolerance: A peak this many pixels or less (between centres) from the truth counts as inside; the
            original game has 15.

    Returns:
        ``[B]`` float64 in [0, 1]; 0 for a map with a NaN and for empty truth.

    Raises:
        ValueError: if the shapes differ or are not ``[B, H, W]``, or the tolerance is negative.

    References:
        Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, section 4.1.
    """
    _expect_frames(maps, truth)
    if tolerance < 0:
        raise ValueError(f"tolerance must be a number of pixels, 0 or more, got {tolerance}")
    inside = _within(truth > 0, tolerance) if tolerance else truth > 0
    peak = maps == maps.flatten(1).amax(dim=1)[:, None, None]
    return ((peak & inside).sum(dim=(1, 2)).double() / peak.sum(dim=(1, 2))).nan_to_num(nan=0.0)


def energy_inside(maps: Tensor, truth: Tensor) -> Tensor:
    """``sum(p * g) / sum(p)`` of each map p, min-max normalised, and truth g: the energy-based pointing game.

    A constant map is uniform: it scores the mean weight of the truth. Pixels of weight 1/2 count half.

    Args:
        maps: ``[B, H, W]`` floating, any scale.
        truth: ``[B, H, W]`` weights in [0, 1].

    Returns:
        ``[B]`` float64 in [0, 1]; 0 for a map with a NaN or an infinity, which has no finite scale.

    Raises:
        ValueError: if the shapes differ or are not ``[B, H, W]``.

    References:
        Wang et al., Score-CAM, CVPR Workshops 2020, section 4.3 (with a truth of zeros and ones).
    """
    _expect_frames(maps, truth)
    low, high = (edge(maps.flatten(1), dim=1).double()[:, None, None] for edge in (torch.amin, torch.amax))
    flat = high == low
    share = (maps - low).add_(flat).div_(high - low + flat)
    total = _total(share)
    energy = _total(share.mul_(truth)) / total
    return energy.masked_fill(~(high - low).isfinite().flatten(), 0)


def _total(pixels: Tensor) -> Tensor:
    """The sum of each frame, row by row, so that it is the same to the last bit in a batch of any size."""
    return pixels.sum(dim=2).sum(dim=1)


def _ranked_rows(scores: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """AP and ROC-AUC by the sort that serves everything else; a map with a NaN predicts nothing."""
    found = Ranked(Sorted.of(scores[:, None]), inside).ranking()
    precision, area = (torch.from_numpy(found[name]) for name in ("pixel_ap", "pixel_roc_auc"))
    nan = scores.isnan().any(dim=1)
    return precision.masked_fill(nan, 0), area.masked_fill(nan & ~area.isnan(), 0)


def _ranked_batch(scores: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """AP and ROC-AUC of all maps at once, read where the runs of equal scores end."""
    pixels, positives = scores.shape[1], inside.sum(dim=1)
    ordered, order = scores.sort(dim=1, descending=True)
    hits = inside.gather(1, order).cumsum(dim=1)
    retrieved = torch.arange(1, pixels + 1, device=scores.device)
    ends = F.pad(ordered[:, 1:] != ordered[:, :-1], (0, 1), value=True)
    passed = F.pad((hits * ends).cummax(dim=1).values, (1, 0))[:, :-1]
    passed_all = F.pad((retrieved * ends).cummax(dim=1).values, (1, 0))[:, :-1]
    gained, missed = (hits - passed) * ends, (retrieved - passed_all - hits + passed) * ends
    nan, empty = scores.isnan().any(dim=1), positives == 0
    precision = (gained * (hits.double() / retrieved)).sum(dim=1) / positives
    area = (missed * (hits + passed)).sum(dim=1).double() / (2 * positives * (pixels - positives))
    undefined = empty | (positives == pixels)
    return precision.masked_fill(nan | empty, 0), area.masked_fill(nan, 0).masked_fill(undefined, torch.nan)


def _within(inside: Tensor, tolerance: int) -> Tensor:
    """``[B, H, W]`` bool grown by a disc of this radius in pixels, one row offset at a time."""
    height = inside.shape[1]
    beside = torch.minimum(_steps_since(inside, tolerance), _steps_since(inside.flip(2), tolerance).flip(2))
    grown = torch.zeros_like(inside)
    for down in range(max(-tolerance, 1 - height), min(tolerance, height - 1) + 1):
        below, above = max(down, 0), max(-down, 0)
        near = beside[:, above : height - below] <= math.isqrt(tolerance**2 - down**2)
        grown[:, below : height - above] |= near
    return grown


def _steps_since(inside: Tensor, tolerance: int) -> Tensor:
    """``[B, H, W]``: columns back to the last true pixel of the row; more than the tolerance if there is none."""
    columns = torch.arange(inside.shape[2], device=inside.device)
    return columns - columns.where(inside, -tolerance - 1).cummax(dim=2).values


def _expect_frames(maps: Tensor, truth: Tensor) -> None:
    if maps.shape != truth.shape or maps.ndim != 3:
        raise ValueError(f"maps and truth must both be [B, H, W], got {list(maps.shape)} and {list(truth.shape)}")
