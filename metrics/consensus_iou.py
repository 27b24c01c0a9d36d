"""The overlap of predicted pixels with the annotators' consensus: "cIoU" of one sample."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

Rule = Literal["official", "dsol_boolean_numerator", "slavc_supplement_eq1_as_printed"]


def consensus_iou(masks: Tensor, truth: Tensor, *, rule: Rule = "official", epsilon: float = 0.0) -> Tensor:
    """``sum(m * g) / (sum(g) + count(m = 1 and g = 0))`` of each sample.

    For a truth of zeros and ones this is the ordinary intersection over union. With consensus weights the intersection
    and the area are weighted while a false pixel counts 1. Empty truth gives 0, and NaN (0/0) under an empty mask.

    Args:
        masks: ``[B, H, W]`` bool, the predicted pixels.
        truth: ``[B, H, W]`` of any type, in [0, 1]: the weight of each pixel. Weights of 0, 1/2 and 1 are counted
            rather than summed on the CPU, with the same result: quickest as uint8 or bool, then as float32.
        rule: ``"dsol_boolean_numerator"``: ``count(m = 1 and g > 0)`` in the numerator, which may exceed 1 under
            consensus weights. ``"slavc_supplement_eq1_as_printed"``: ``sum(m * g)`` instead of ``sum(g)`` in the
            denominator, so that missed truth costs nothing; NaN for every empty mask.
        epsilon: Added to the denominator; ACL's 1e-12 on extended sets makes 0/0 give 0.

    Returns:
        ``[B]`` float64 in [0, 1], or NaN.

    Raises:
        ValueError: if the shapes differ or are not ``[B, H, W]``, or for an unknown rule.

    References:
        Senocak et al., CVPR 2018; stoneMo/EZ-VSL utils.py, ``Evaluator.cal_CIOU``. Variants:
        DTaoo/Discriminative-Sounding-Objects-Localization music-exp/eval_duet.py; Mo and Morgado, A Closer Look at
        Weakly-Supervised Audio-Visual Source Localization, supplement, equation 1; swimmiing/ACL-SSL
        VGGSS/extend_eval_utils.py, ``Evaluator.update``.
    """
    if masks.shape != truth.shape or masks.ndim != 3:
        raise ValueError(f"masks and truth must both be [B, H, W], got {list(masks.shape)} and {list(truth.shape)}")
    if rule not in get_args(Rule):
        raise ValueError(f"the rules of cIoU are {', '.join(get_args(Rule))}, got {rule!r}")
    found = _tally(masks.bool().flatten(1), truth.detach().flatten(1))
    numerator = found.hits if rule == "dsol_boolean_numerator" else found.overlap
    area = found.overlap if rule == "slavc_supplement_eq1_as_printed" else found.area
    return numerator / (area + (found.predicted - found.hits) + epsilon)


class _Tally(NamedTuple):
    """Sums over the pixels of each sample, ``[B]`` float64 each."""

    predicted: Tensor
    """Pixels of the mask."""
    hits: Tensor
    """Pixels of the mask that have a weight."""
    overlap: Tensor
    """The weights under the mask."""
    area: Tensor
    """All weights."""


def _tally(predicted: Tensor, weight: Tensor) -> _Tally:
    """For masks and weights ``[B, N]``."""
    counted = _count_halves(predicted, weight) if weight.device.type == "cpu" else None
    if counted is not None:
        return counted
    weight = weight.double()
    count, hits = predicted.sum(dim=1), (predicted & (weight != 0)).sum(dim=1)
    overlap = predicted.double().mul_(weight).sum(dim=1)
    return _Tally(count.double(), hits.double(), overlap, weight.sum(dim=1))


def _count_halves(predicted: Tensor, weight: Tensor) -> _Tally | None:
    """The tally where all weights are 0, 1/2 or 1, by NumPy's counting of bytes, which takes a tenth of the sums' time.

    Sums of halves are exact in float64, so both ways give the same bits. None for other weights.
    """
    mask = predicted.numpy()
    weights = (weight.double() if weight.dtype is torch.bfloat16 else weight).numpy()
    marked, full = weights != 0, weights == 1
    support, whole = _count(marked), _count(full)
    binary = bool((support == whole).all())
    if not binary and (whole + _count(weights == 0.5) != support).any():
        return None
    hits = _count(mask & marked)
    whole_hits = hits if binary else _count(mask & full)
    sums = (_count(mask), hits, (hits + whole_hits) / 2, (support + whole) / 2)
    return _Tally(*(torch.from_numpy(values).double() for values in sums))


def _count(rows: np.ndarray) -> np.ndarray:
    """``[B, N]`` bool to the true cells of each row; row by row, NumPy counts many bytes at once."""
    return np.array([np.count_nonzero(row) for row in rows], dtype=np.int64)
