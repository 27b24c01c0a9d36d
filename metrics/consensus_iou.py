"""The overlap of predicted pixels with the annotators' consensus: "cIoU" of one sample."""

from __future__ import annotations

from torch import Tensor


def consensus_iou(masks: Tensor, truth: Tensor) -> Tensor:
    """``sum(m * g) / (sum(g) + count(m = 1 and g = 0))`` of each sample.

    For a truth of zeros and ones this is the ordinary intersection over union. With consensus weights the intersection
    and the area are weighted while a false pixel counts 1. Empty truth gives 0, and NaN (0/0) under an empty mask.

    Args:
        masks: ``[B, H, W]`` bool, the predicted pixels.
        truth: ``[B, H, W]`` of any type, in [0, 1]: the weight of each pixel.

    Returns:
        ``[B]`` float64 in [0, 1], or NaN.

    Raises:
        ValueError: if the shapes differ or are not ``[B, H, W]``.

    References:
        Senocak et al., CVPR 2018; stoneMo/EZ-VSL utils.py, ``Evaluator.cal_CIOU``.
    """
    if masks.shape != truth.shape or masks.ndim != 3:
        raise ValueError(f"masks and truth must both be [B, H, W], got {list(masks.shape)} and {list(truth.shape)}")
    predicted, weight = masks.bool().flatten(1), truth.flatten(1).double()
    overlap = predicted.double().mul_(weight).sum(dim=1)
    false_pixels = (predicted & (weight == 0)).sum(dim=1)
    return overlap / (weight.sum(dim=1) + false_pixels)
