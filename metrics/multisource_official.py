"""Several sources as four repositories score them: the same names for different quantities.

"CIoU@0.3" is a success rate ``>`` 0.3 in AVGN and ``>=`` 0.3 in NoPrior, a mean in T-VSL, and in DSOL a success rate of
the mean over a frame's classes; "PIAP" permutes nothing anywhere. Each form is faithful by default, its corrected one a
named option. The definitions that the names suggest are in :mod:`avbench.metrics.multisource`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from avbench.metrics.consensus_iou import consensus_iou
from avbench.metrics.ground_truth import Box, union_map
from avbench.metrics.maps import minmax_guarded, upsample
from avbench.metrics.masks import saturating_mask
from avbench.metrics.pixelwise import pixel_average_precision

TVSL_THRESHOLD, TVSL_SMOOTHING = 0.3, 1e-4
DSOL_BELOW, DSOL_SILENCE = 0.2, 0.2
DSOL_SUCCESS = 0.05 * 6, 0.05 * 10
"""The success thresholds of DSOL; the first is 0.30000000000000004, which a value of 0.3 fails."""


def counted_map(boxes: Sequence[Box], *, size: int = 224) -> Tensor:
    """The truth of AVGN and T-VSL on VGG-SS: the number of boxes over a pixel, which the other repositories reset to 1.

    Args:
        boxes: Corners ``(x0, y0, x1, y1)`` as fractions of the frame; none gives an empty map.
        size: Side of the map in pixels.

    Returns:
        ``[size, size]`` float64; ``clamp(max=1)`` is the corrected one, :func:`avbench.metrics.ground_truth.union_map`.

    Raises:
        ValueError: if a coordinate is NaN.

    References:
        stoneMo/AVGN and enyac-group/T-VSL datasets.py, ``bbox2gtmap``.
    """
    return sum((union_map([box], size=size) for box in boxes), start=union_map([], size=size))


def avgn_success(ciou: Tensor, *, at: float = 0.3) -> Tensor:
    """Share of the samples with a cIoU strictly ``>`` a threshold; NaN fails.

    The corrected form is :func:`avbench.metrics.success.success_rate`, with ``>=``. A duet has one evaluator for each
    source; their two rates are averaged.

    Args:
        ciou: ``[B]``, per-sample values of one evaluator.
        at: 0.3 in ``precision_at_30``, 0.1 in ``precision_at_10``.

    Returns:
        Scalar float64 in [0, 1]; NaN for no samples.

    References:
        stoneMo/AVGN utils.py, ``EvaluatorFull.precision_at_30``.
    """
    return (ciou.double() > at).double().mean()


def avgn_piap(maps: Tensor, masks: Tensor, truth: Tensor, *, swapped: bool = True) -> Tensor:
    """The pixel average precision that AVGN calls PIAP: the truth ranks the pixels that the mask labels.

    With a truth of zeros and ones and h pixels in common it is ``h/|g| * h/|m| + |m|/N * (1 - h/|m|)``, whatever the
    map says beyond its mask. There is no permutation: each source is asked for by its class.

    Args:
        maps: ``[B, H, W]`` floating, read by the corrected form alone.
        masks: ``[B, H, W]`` bool, the predicted pixels (half-rank, ``>=``).
        truth: ``[B, H, W]``, 2 and more where boxes overlap (:func:`counted_map`).
        swapped: False is the corrected order: the map ranks the pixels that the truth labels.

    Returns:
        ``[B]`` float64 in [0, 1]; 0 where the labels are empty.

    Raises:
        ValueError: if the shapes differ.

    References:
        stoneMo/AVGN utils.py, ``EvaluatorFull.update``.
    """
    scores, labels = (truth.double(), masks.bool()) if swapped else (maps, truth > 0)
    return pixel_average_precision(scores.flatten(1), labels.flatten(1))


def tvsl_scores(maps: Tensor, *, inverted: bool = True) -> Tensor:
    """T-VSL's score maps: ``1 - (x - min) / (max - min)``, high where the map is low.

    The two frames of a duet lie side by side on one canvas and are normalised together. The mask is
    ``absolute_mask(scores, 0.3)``, with ``>=``; the mean of its cIoU over all queries is what T-VSL prints as CIoU@0.3.

    Args:
        maps: ``[B, H, 2 * W]`` floating, on the canvas.
        inverted: False leaves out the subtraction from 1, for maps that are high where something sounds.

    Returns:
        The same shape and type, in [0, 1]; a constant map or one with a NaN becomes NaN, which predicts nothing.

    References:
        enyac-group/T-VSL utils.py, ``min_max_norm`` and ``inv_normalize_img``.
    """
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    share = (maps - low) / (high - low)
    return 1 - share if inverted else share


def tvsl_truth(truth: Tensor) -> Tensor:
    """The truth of each query of a duet: its own frame's on its own half of the canvas, zeros on the other.

    Args:
        truth: ``[K, H, W]``, one frame's each, from left to right.

    Returns:
        ``[K, H, K * W]``, same type.

    References:
        enyac-group/T-VSL main.py, ``validate_multi``.
    """
    sources, height, width = truth.shape
    canvas = truth.new_zeros(sources, height, sources, width)
    own = torch.arange(sources, device=truth.device)
    canvas[own, :, own] = truth
    return canvas.flatten(2)


def tvsl_smoothed_iou(masks: Tensor, truth: Tensor) -> Tensor:
    """``(count(m and g > 0) + 1e-4) / (count(m or g > 0) + 1e-4)``: pixels, not weights.

    Args:
        masks: ``[B, H, W]`` bool, the predicted pixels.
        truth: ``[B, H, W]`` of any type.

    Returns:
        ``[B]`` float64 in (0, 1], 1 for nothing predicted where nothing is.

    References:
        enyac-group/T-VSL utils.py, ``EvaluatorNew.cal_IOU``.
    """
    predicted, inside = masks.bool().flatten(1), truth.flatten(1) > 0
    shared, either = (predicted & inside).sum(dim=1), (predicted | inside).sum(dim=1)
    return (shared.double() + TVSL_SMOOTHING) / (either.double() + TVSL_SMOOTHING)


def tvsl_ap(scores: Tensor, truth: Tensor, *, skip: bool = True) -> Tensor:
    """The pixel average precision of each query; the official mean (``nanmean``) leaves out those that raise.

    Args:
        scores: ``[B, H, W]`` of :func:`tvsl_scores`.
        truth: ``[B, H, W]``, 2 and more where boxes overlap.
        skip: False is the corrected form: a pixel is inside where the truth is above 0, and a score of NaN gives 0.

    Returns:
        ``[B]`` float64 in [0, 1], 0 for an empty truth; NaN for a query that is skipped: one whose truth has a value
        other than 0 and 1, or whose scores have a NaN.

    Raises:
        ValueError: if the shapes differ.

    References:
        enyac-group/T-VSL utils.py, ``EvaluatorNew.calc_AP``.
    """
    found = pixel_average_precision(scores.flatten(1), truth.flatten(1) > 0)
    if not skip:
        return found
    other = ((truth != 0) & (truth != 1)).flatten(1).any(dim=1)
    return found.masked_fill(other | scores.isnan().flatten(1).any(dim=1), torch.nan)


@dataclass(frozen=True)
class NoPriorMixture:
    """What one mixture adds to NoPrior's lists.

    Attributes:
        ciou: ``[max(L, n)]`` float64, in the order of the maps, zeros for maps that are missing; NaN is possible.
            ``success_rate`` of all mixtures' together, at 0.5 and 0.3, is "cIoU" and "cIoU0.3".
        ap: Same shape; the mean over all mixtures' entries is "CAP".
        piap: Scalar float64; NaN where there is no map, and ``nanmean`` over the mixtures is "PIAP".
    """

    ciou: Tensor
    ap: Tensor
    piap: Tensor


def noprior_mixture(maps: Tensor, truth: Tensor, *, count_silent: bool = False) -> NoPriorMixture:
    """NoPrior's score of n frames, one above the other, by the L maps that the model found.

    Each map in turn takes the frame on which its cIoU is largest (the first of equals, a NaN before any number), adds
    that cIoU and the average precision of its mask there, and erases the frame's truth. This is greedy, not the best
    matching. Maps that are missing add 0, and those beyond n are added to the lists as well. Within a frame a map is
    min-max normalised and cut at the saturating half-rank. PIAP ranks the pixels of all frames by the mask of the sum
    of the maps.

    Args:
        maps: ``[L, n * h, w]`` floating, native: bicubic interpolation (OpenCV's) takes them, and their sum, to the
            canvas of n frames; maps of that size already stay as they are.
        truth: ``[n, H, W]`` of zeros and ones, one frame's each, from top to bottom.
        count_silent: A mixture in which no map was found adds nothing officially, and so raises every average. True is
            the corrected form: it adds n zeros to both lists, and a PIAP of 0.

    Returns:
        The mixture's entries.

    Raises:
        ValueError: if the truth is not ``[n, H, W]`` with a frame, or the maps are not ``[L, n * h, w]``.

    References:
        VisualAIKHU/NoPrior_MultiSSL train.py, ``test_step``.
    """
    if truth.ndim != 3 or len(truth) == 0 or maps.ndim != 3:
        shapes = f"{list(maps.shape)} and {list(truth.shape)}"
        raise ValueError(f"expected maps [L, n * h, w] and truth [n, H, W] with a frame, got {shapes}")
    missing = max(len(truth) - len(maps), 0)
    if len(maps) == 0:
        zeros = truth.new_zeros(missing if count_silent else 0, dtype=torch.float64)
        return NoPriorMixture(zeros, zeros, zeros.new_tensor(0.0 if count_silent else torch.nan))
    masks = _frame_masks(torch.cat([maps, maps.sum(dim=0, keepdim=True)]), truth)
    remaining = truth.to(torch.float64, copy=True)
    taken = [_take_best_frame(mask, remaining) for mask in masks[:-1]] + [(0.0, 0.0)] * missing
    ciou, precision = remaining.new_tensor(taken).unbind(dim=1)
    return NoPriorMixture(ciou, precision, remaining.new_tensor(_mask_ap(masks[-1], truth > 0)))


def _frame_masks(maps: Tensor, truth: Tensor) -> Tensor:
    """``[M, n * h, w]`` to the predicted pixels of each map in each frame, ``[M, n, H, W]`` bool."""
    frames, height, width = truth.shape
    canvas = upsample(maps, "bicubic", align_corners=False, size=(frames * height, width))
    masks = saturating_mask(minmax_guarded(canvas.reshape(-1, height, width)))
    return masks.view(len(maps), frames, height, width)


def _take_best_frame(mask: Tensor, remaining: Tensor) -> tuple[float, float]:
    """The cIoU and the average precision of the frame that this map fits best, whose truth is then erased."""
    ciou = consensus_iou(mask, remaining)
    best = int(np.argmax(ciou.cpu().numpy()))  # the first of equals, which torch does not promise
    precision = _mask_ap(mask[best], remaining[best] > 0)
    remaining[best] = 0
    return float(ciou[best]), precision


def _mask_ap(mask: Tensor, inside: Tensor) -> float:
    """The average precision of a mask as scores, whose curve has two points: the mask, and everything."""
    hits, marked, positives = (int(pixels.sum()) for pixels in (mask & inside, mask, inside))
    if positives == 0:
        return 0.0
    recall = hits / positives
    return recall * hits / max(marked, 1) + (1 - recall) * positives / inside.numel()


def dsol_ciou(maps: Tensor, truth: Tensor, *, below: float = DSOL_BELOW, weighted: bool = False) -> Tensor:
    """The cIoU of each class that sounds: of the pixels ``>`` a share of the map's largest value.

    The overlap counts pixels with a truth above 0, so that with consensus weights the value may exceed 1. The mean over
    a frame's classes is the frame's value; the area under its success curve and its success rates at
    :data:`DSOL_SUCCESS` are what DSOL reports.

    Args:
        maps: ``[C, H, W]`` floating, the sum of the cluster maps of each class, on the canvas (OpenCV's linear).
        truth: ``[C, H, W]`` of any type, in [0, 1].
        below: 0.2 for duets, 0.5 in the synthetic set's script, 0.1 in the solo script.
        weighted: True is the common form, :func:`avbench.metrics.consensus_iou.consensus_iou`; the same on 0 and 1.

    Returns:
        ``[C]`` float64; 0 for a map of zeros, NaN if its truth is empty too.

    Raises:
        ValueError: if the shapes differ or are not ``[C, H, W]``.

    References:
        DTaoo/Discriminative-Sounding-Objects-Localization music-exp/eval_duet.py.
    """
    masks = maps > below * maps.amax(dim=(1, 2), keepdim=True)
    found = consensus_iou(masks, truth)
    if weighted:
        return found
    weight = truth.flatten(1).double()
    inside = masks.flatten(1) & (weight > 0)
    false_pixels = masks.flatten(1).sum(dim=1) - inside.sum(dim=1)
    return inside.sum(dim=1) / (weight.sum(dim=1) + false_pixels)


def dsol_silent_area(maps: Tensor) -> Tensor:
    """NSA of one frame: the share of pixels ``<= 0.2`` on the maps of the classes that do not sound, averaged.

    Args:
        maps: ``[C, H, W]`` floating, one class's each.

    Returns:
        Scalar float64 in [0, 1]; NaN for no classes.

    References:
        DTaoo/Discriminative-Sounding-Objects-Localization music-exp/eval_duet.py.
    """
    return (maps <= DSOL_SILENCE).double().mean(dim=(1, 2)).mean()
