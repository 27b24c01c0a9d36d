"""AVSBench's two measures of a mask: the mean IoU, and the F-score of a continuous map over 255 thresholds.

The truth is whatever weight the caller gives a pixel. A palette mask divided by 255 weighs a pixel of index 1 by
0.0039; the corrected reading is ``mask > 0``, and it is the caller's to take.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

THRESHOLDS, BETA_SQUARED = 255, 0.3
IOU_EPSILON, F_EPSILON = 1e-7, 1e-20


def mask_iou(masks: Tensor, truth: Tensor) -> Tensor:
    """``sum(m * g) / (sum(max(m, g)) + 1e-7)`` of each image; of an empty truth the share of pixels left empty.

    That share is ``count(m = 0) / (H * W + 1e-7)``, so that a perfect image has a little less than 1 by either rule.

    Args:
        masks: ``[B, H, W]`` bool, the predicted pixels: ``sigmoid(logit) > 0.5`` in AVSBench, a heat map ``>`` a
            threshold in ACL-SSL.
        truth: ``[B, H, W]`` of any type, in [0, 1].

    Returns:
        ``[B]`` float64 in [0, 1).

    Raises:
        ValueError: if the shapes differ or are not ``[B, H, W]``.

    References:
        OpenNLPLab/AVSBench avs_scripts/avs_s4/utils/utility.py, ``mask_iou``; swimmiing/ACL-SSL
        AVSBench/eval_utils.py, ``mask_iou``.
    """
    _check(masks, truth)
    predicted, weight = masks.bool().flatten(1), truth.flatten(1).double()
    overlap, area, whole = (weight * predicted).sum(dim=1), predicted.sum(dim=1).double(), weight.sum(dim=1)
    pixels = predicted.shape[1]
    kept_empty = (pixels - area) / (pixels + IOU_EPSILON)
    ratio = overlap / (area + whole - overlap + IOU_EPSILON)
    return torch.where(whole == 0, kept_empty, ratio)


def miou(values: Tensor, *, batches: Sequence[int] | None = None) -> Tensor:
    """The mean of :func:`mask_iou` over all images.

    Args:
        values: ``[B]``, per image.
        batches: Sizes of consecutive batches: the official mean of the batches' means, which gives the images of a
            last, smaller batch too much weight. None is the corrected mean over images.

    Returns:
        Scalar float64; NaN for no images.

    Raises:
        ValueError: if the batches are empty ones or do not add up.

    References:
        OpenNLPLab/AVSBench avs_scripts/avs_s4/test.py (batches of 4 clips of 5 frames).
    """
    if batches is None:
        return values.double().mean()
    means = [float(part.mean()) for part in _parts(values.double(), batches)]
    return values.new_tensor(means, dtype=torch.float64).mean()


def f_curves(maps: Tensor, truth: Tensor) -> Tensor:
    """The F-measure of ``p >= t`` at 255 thresholds t, weighting precision by beta squared = 0.3.

    ``F = 1.3 * P * R / (0.3 * P + R)`` with ``P = sum(m * g) / (count(m = 1) + 1e-20)`` and
    ``R = sum(m * g) / (sum(g) + 1e-20)``; 0/0 is 0. The thresholds are k/254, k = 0 to 254, rounded to float32. (The
    official ``linspace(0, 1 - 1e-10, 255)`` is this up to the last bit, which depends on the device.)

    Args:
        maps: ``[B, H, W]`` in [0, 1], compared in float64 where they are that and in float32 otherwise; NaN is never
            predicted, an infinity always or never.
        truth: ``[B, H, W]`` of any type, in [0, 1].

    Returns:
        ``[B, 255]`` float64 in [0, 1]; zeros for an empty truth.

    Raises:
        ValueError: if the shapes differ or are not ``[B, H, W]``.

    References:
        OpenNLPLab/AVSBench avs_scripts/avs_s4/utils/utility.py, ``Eval_Fmeasure`` and ``_eval_pr``.
    """
    _check(maps, truth)
    passed, weight = _thresholds_passed(maps.flatten(1)), truth.flatten(1).double()
    predicted = _at_least(passed, None)
    overlap = _at_least(passed, weight)
    precision = overlap / (predicted + F_EPSILON)
    recall = overlap / (weight.sum(dim=1, keepdim=True) + F_EPSILON)
    curves = (1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
    return curves.nan_to_num(nan=0.0)


def f_score_image(curves: Tensor, nonempty: Tensor) -> Tensor:
    """The largest F of each image.

    Args:
        curves: ``[B, 255]`` of :func:`f_curves`.
        nonempty: ``[B]`` bool, whether the image has any truth: ``(truth > 0).flatten(1).any(dim=1)``.

    Returns:
        ``[B]`` float64 in [0, 1]; NaN for an image without truth.
    """
    return curves.amax(dim=1).masked_fill(~nonempty.bool(), torch.nan)


def f_score_dataset(curves: Tensor, nonempty: Tensor) -> Tensor:
    """The largest value of the mean curve of all images that have truth: one threshold for the whole data set.

    Args:
        curves: As in :func:`f_score_image`.
        nonempty: As in :func:`f_score_image`.

    Returns:
        Scalar float64 in [0, 1]; NaN where no image has truth.

    References:
        swimmiing/ACL-SSL AVSBench/eval_utils.py, ``finalize_Fmeasure``.
    """
    return curves[nonempty.bool()].mean(dim=0).max()


def f_score_batches(curves: Tensor, nonempty: Tensor, batches: Sequence[int]) -> Tensor:
    """:func:`f_score_dataset` of each batch, averaged over the batches: AVSBench's own, which depends on their size.

    A batch without any truth counts as 0. With equally many images that have truth in every batch, this is never below
    the data set's value, and the smaller the batches the higher it is.

    Args:
        curves: As in :func:`f_score_image`.
        nonempty: As in :func:`f_score_image`.
        batches: Sizes of consecutive batches; officially 20 images, 4 clips of 5 frames.

    Returns:
        Scalar float64 in [0, 1]; NaN for no images.

    Raises:
        ValueError: if the batches are empty ones or do not add up.

    References:
        OpenNLPLab/AVSBench avs_scripts/avs_s4/utils/utility.py, ``Eval_Fmeasure``, and test.py.
    """
    pairs = zip(_parts(curves, batches), _parts(nonempty, batches), strict=True)
    best = [float(f_score_dataset(part, rows)) if rows.any() else 0.0 for part, rows in pairs]
    return curves.new_tensor(best).mean()


def _check(predicted: Tensor, truth: Tensor) -> None:
    if predicted.shape != truth.shape or predicted.ndim != 3:
        shapes = f"{list(predicted.shape)} and {list(truth.shape)}"
        raise ValueError(f"the prediction and the truth must both be [B, H, W], got {shapes}")


def _parts(values: Tensor, batches: Sequence[int]) -> tuple[Tensor, ...]:
    if min(batches, default=1) < 1 or sum(batches) != len(values):
        raise ValueError(f"batches must be sizes of 1 or more with a sum of {len(values)}, got {list(batches)}")
    return torch.split(values, list(batches)) if len(values) else ()


def _thresholds_passed(cells: Tensor) -> Tensor:
    """``[B, N]`` to the number of thresholds that each pixel reaches, 0 to 255, int32."""
    values = (cells if cells.dtype == torch.float64 else cells.float()).flatten().nan_to_num(nan=-1.0)
    last = THRESHOLDS - 1
    edges = (torch.arange(THRESHOLDS + 1, dtype=torch.float64) / last).float().to(values)
    edges[-1] = torch.inf
    # Rounding moves the product by less than a step, so that two comparisons with the thresholds themselves settle it.
    near = (values * last).clamp_(0, last).int()
    passed = (values >= edges.index_select(0, near)).int()
    passed += (values >= edges[1:].index_select(0, near)).int()
    return passed.add_(near).view(cells.shape)


def _at_least(passed: Tensor, weight: Tensor | None) -> Tensor:
    """``[B, 255]`` float64: the number of pixels that reach each threshold, or the sum of their weights."""
    bins = THRESHOLDS + 1
    rows = bins * torch.arange(len(passed), dtype=passed.dtype, device=passed.device)[:, None]
    flat = None if weight is None else weight.flatten()
    counts = torch.bincount((passed + rows).flatten(), weights=flat, minlength=bins * len(passed))
    return counts.view(len(passed), bins).double().flip(1).cumsum(dim=1).flip(1)[:, 1:]
