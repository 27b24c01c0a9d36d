"""Carries a protocol out: raw maps and truth to per-sample values, per-sample values to the numbers of a table."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from avbench.metrics.consensus_iou import consensus_iou
from avbench.metrics.maps import minmax_guarded, upsample
from avbench.metrics.masks import absolute_mask, rank_mask
from avbench.metrics.protocols import Protocol
from avbench.metrics.success import area_under_success, mean_ciou, success_rate

CHUNK = 8
"""Maps handled at once: few enough to stay in the processor's cache."""

_NORMALISE: dict[str, Callable[[Tensor], Tensor]] = {"minmax_guarded": minmax_guarded}
_THRESHOLD: dict[str, Callable[..., Tensor]] = {"rank": rank_mask, "absolute": absolute_mask}


def score(maps: Tensor, truth: Tensor, protocol: Protocol, *, prior: Tensor | None = None) -> Tensor:
    """The consensus IoU of each sample under a protocol.

    Args:
        maps: ``[B, h, w]`` raw scores at their native size, higher is louder.
        truth: ``[B, H, W]`` weights in [0, 1] on the canvas, of any type; same device as the maps.
        protocol: From :func:`~avbench.metrics.protocols.get_protocol`.
        prior: ``[B, h', w']``, a second map to fuse in under the protocol's rule, at its own native size.

    Returns:
        ``[B]`` float64 in [0, 1]; NaN where mask and truth are both empty. A constant map predicts the whole canvas
        under a ``>=`` rank rule; a map with a NaN cell predicts nothing.

    Raises:
        ValueError: if the shapes do not fit, or if a prior is given to a protocol without fusion.
    """
    if truth.ndim != 3 or len(truth) != len(maps):
        raise ValueError(f"truth must be [B, H, W] with one map each, got {list(truth.shape)} for {list(maps.shape)}")
    if prior is not None and len(prior) != len(maps):
        raise ValueError(f"a prior needs one map per sample, got {len(prior)} for {len(maps)}")
    values = []
    for start in range(0, max(len(maps), 1), CHUNK):
        rows = slice(start, start + CHUNK)
        second = prior[rows] if prior is not None else None
        masks = predicted_mask(maps[rows], protocol, prior=second, size=(truth.shape[1], truth.shape[2]))
        values.append(consensus_iou(masks, truth[rows]))
    return torch.cat(values)


def predicted_mask(
    maps: Tensor, protocol: Protocol, *, prior: Tensor | None = None, size: int | tuple[int, int] = 224
) -> Tensor:
    """The pixels that each map predicts under a protocol: upsample, normalise, fuse, threshold.

    Args:
        maps: As in :func:`score`.
        protocol: As in :func:`score`.
        prior: As in :func:`score`.
        size: Side, or height and width, of the canvas in pixels.

    Returns:
        ``[B, *size]`` bool.

    Raises:
        ValueError: if the shapes do not fit, or if a prior is given to a protocol without fusion.
    """
    if prior is None and len(maps) > 1 and maps.stride(0) == 0:  # one map for all, as the fixed controls have
        return predicted_mask(maps[:1], protocol, size=size).expand(len(maps), -1, -1)
    canvas = _normalised(maps, protocol, size)
    if prior is not None:
        canvas = _fuse(canvas, _normalised(prior, protocol, size), protocol)
    return _THRESHOLD[protocol.threshold.rule](canvas, protocol.threshold.at, operator=protocol.operator)


def aggregate(ciou: Tensor) -> dict[str, float]:
    """``locacc``, ``mean_ciou`` and ``auc`` of per-sample values ``[B]``, as fractions; all NaN for no samples."""
    return {
        "locacc": float(success_rate(ciou)),
        "mean_ciou": float(mean_ciou(ciou)),
        "auc": float(area_under_success(ciou)),
    }


def _normalised(maps: Tensor, protocol: Protocol, size: int | tuple[int, int]) -> Tensor:
    how = protocol.upsampling
    canvas = upsample(maps, how.mode, align_corners=how.align_corners, size=size, keep_constant=how.keep_constant)
    return _NORMALISE[protocol.normalisation](canvas)


def _fuse(canvas: Tensor, prior: Tensor, protocol: Protocol) -> Tensor:
    if protocol.fusion is None:
        raise ValueError(f"the protocol {protocol.name} scores single maps: leave the prior out")
    weight = protocol.fusion.av_weight
    return _NORMALISE[protocol.normalisation](canvas * weight + prior * (1 - weight))
