"""Extended sets: detection of sounding objects among samples that have none, ranked by confidence.

A sample is detected at a threshold if its confidence is ``>=`` it; NaN never is. A true positive is a sounding sample
that is detected with a cIoU ``>= success`` (NaN is not); a detected sample of any other kind is a false positive; a
sounding sample that is not detected is a false negative. One that is detected in the wrong place is no false negative,
so that recall reaches 1 at the lowest threshold with the first right localisation (the paper and the code agree).
Precision and recall are 1 where nothing would be divided by nothing.

The paper's definitions use every distinct confidence as a threshold; the official code uses a sample of them, and is
here under names of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

PERCENTILES, DECILES = 200, 10
"""Thresholds that the official code aims at for AP and for F1."""


def precision_recall(
    confidence: Tensor, ciou: Tensor, *, sounding: Tensor, at: Tensor, success: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Precision and recall of detection at the confidence thresholds ``at``.

    Args:
        confidence: ``[n]``, any scale; NaN is never detected.
        ciou: ``[n]`` in [0, 1] or NaN; read for sounding samples alone.
        sounding: ``[n]`` bool, false for the negatives.
        at: ``[T]``, any order; nothing is detected at NaN.
        success: The least overlap that counts as right.

    Returns:
        ``[T]`` float64 each, in [0, 1].

    Raises:
        ValueError: if confidence, ciou and sounding are not all ``[n]``.

    References:
        Mo & Morgado, A Closer Look at Weakly-Supervised Audio-Visual Source Localization, NeurIPS 2022, equations 2 to
        4 (printed with ``>`` for ``>=``); stoneMo/SLAVC utils.py, ``EvaluatorFull.calc_precision_recall``.
    """
    if not (confidence.ndim == 1 and confidence.shape == ciou.shape == sounding.shape):
        shapes = [list(values.shape) for values in (confidence, ciou, sounding)]
        raise ValueError(f"confidence, ciou and sounding must all be [n], got {', '.join(map(str, shapes))}")
    right = sounding & (ciou >= success)
    hits, detected, heard = (_at_least(confidence[rows], at) for rows in (right, ..., sounding))
    missed = int(sounding.sum()) - heard
    return _share(hits, detected), _share(hits, hits + missed)


def f1(precision: Tensor, recall: Tensor) -> Tensor:
    """The harmonic mean ``2 P R / (P + R)``, 0 where both are 0; float64, of the shape of its arguments."""
    total = precision + recall
    return (2 * precision * recall / total).masked_fill(total == 0, 0)


def average_precision(confidence: Tensor, ciou: Tensor, *, sounding: Tensor, success: float = 0.5) -> Tensor:
    """``sum of P_k * (R_k - R_{k-1})`` over all distinct confidences from the highest, from a recall of 0.

    Samples of equal confidence enter together; nothing is interpolated; samples of NaN confidence stay undetected.

    Args:
        confidence: As in :func:`precision_recall`.
        ciou: As in :func:`precision_recall`.
        sounding: As in :func:`precision_recall`.
        success: As in :func:`precision_recall`.

    Returns:
        Scalar float64 in [0, 1]; 0 where nothing sounds or no confidence is a number, NaN for no samples.

    Raises:
        ValueError: if the shapes do not fit.

    References:
        Mo & Morgado, NeurIPS 2022, section 4 (the area under the precision-recall curve).
    """
    precision, recall = _full_curve(confidence, ciou, sounding=sounding, success=success)
    steps = recall.diff(prepend=recall.new_zeros(1))
    return _unless_empty((precision * steps).sum(), confidence)


def max_f1(confidence: Tensor, ciou: Tensor, *, sounding: Tensor, success: float = 0.5) -> Tensor:
    """The largest F1 over all distinct confidences as thresholds.

    Never below the F1 of detecting everything, and so at least ``2 L / (2 + L)`` on a balanced set with a success
    rate of L.

    Args:
        confidence: As in :func:`precision_recall`.
        ciou: As in :func:`precision_recall`.
        sounding: As in :func:`precision_recall`.
        success: As in :func:`precision_recall`.

    Returns:
        Scalar float64 in [0, 1]; 0 where nothing sounds or no confidence is a number, NaN for no samples.

    Raises:
        ValueError: if the shapes do not fit.

    References:
        Mo & Morgado, NeurIPS 2022, section 4.
    """
    found = f1(*_full_curve(confidence, ciou, sounding=sounding, success=success))
    return _unless_empty(torch.cat([found, found.new_zeros(1)]).max(), confidence)


def average_precision_official(confidence: Tensor, ciou: Tensor, *, sounding: Tensor, success: float = 0.5) -> Tensor:
    """AP as SLAVC's code computes it, on about 200 of the confidences; its tables hold this one.

    The confidences are sorted, NaN last, the largest left out, and every ``max(1, n // 200)``-th taken from above. With
    precision made monotone from the right, ``AP = sum of P_k * (R_{k+1} - R_k)``: there is no area before the first
    threshold, each step has the precision at its left end, and the lowest confidence may be passed over. One or two
    samples, or a constant confidence, give 0.

    Args:
        confidence: As in :func:`precision_recall`.
        ciou: As in :func:`precision_recall`.
        sounding: As in :func:`precision_recall`.
        success: As in :func:`precision_recall`.

    Returns:
        Scalar float64 in [0, 1], NaN for no samples.

    Raises:
        ValueError: if the shapes do not fit.

    References:
        stoneMo/SLAVC utils.py, ``EvaluatorFull.calc_ap``.
    """
    thresholds = confidence.sort().values[:-1].flip(0)[:: max(1, len(confidence) // PERCENTILES)]
    precision, recall = precision_recall(confidence, ciou, sounding=sounding, at=thresholds, success=success)
    if len(thresholds) == 0:
        return _unless_empty(recall.sum(), confidence)
    envelope = precision.flip(0).cummax(dim=0).values.flip(0)
    return (envelope[:-1] * recall.diff()).sum()


def max_f1_official(confidence: Tensor, ciou: Tensor, *, sounding: Tensor, success: float = 0.5) -> Tensor:
    """The largest F1 at every ``max(1, n // 10)``-th confidence from the lowest, NaN last: ten or eleven thresholds.

    The papers read it from a print with one decimal of a percent; this is the unrounded value.

    Args:
        confidence: As in :func:`precision_recall`.
        ciou: As in :func:`precision_recall`.
        sounding: As in :func:`precision_recall`.
        success: As in :func:`precision_recall`.

    Returns:
        Scalar float64 in [0, 1], never above :func:`max_f1`; NaN for no samples.

    Raises:
        ValueError: if the shapes do not fit.

    References:
        stoneMo/SLAVC utils.py, ``EvaluatorFull.finalize_stats``.
    """
    thresholds = confidence.sort().values[:: max(1, len(confidence) // DECILES)]
    found = f1(*precision_recall(confidence, ciou, sounding=sounding, at=thresholds, success=success))
    return _unless_empty(torch.cat([found, found.new_zeros(1)]).max(), confidence)


def aggregate_extended(confidence: Tensor, ciou: Tensor, *, sounding: Tensor) -> dict[str, float]:
    """``ap``, ``max_f1`` and their official forms, as fractions; all NaN for no samples."""
    measures = {
        "ap": average_precision,
        "max_f1": max_f1,
        "ap_official": average_precision_official,
        "max_f1_official": max_f1_official,
    }
    return {name: float(measure(confidence, ciou, sounding=sounding)) for name, measure in measures.items()}


def _full_curve(confidence: Tensor, ciou: Tensor, *, sounding: Tensor, success: float) -> tuple[Tensor, Tensor]:
    thresholds = torch.unique(confidence[~confidence.isnan()]).flip(0)
    return precision_recall(confidence, ciou, sounding=sounding, at=thresholds, success=success)


def _at_least(values: Tensor, thresholds: Tensor) -> Tensor:
    """How many of ``values`` are ``>=`` each threshold; NaN is neither above nor below."""
    ascending = values[~values.isnan()].double().sort().values
    count = len(ascending) - torch.searchsorted(ascending, thresholds.double().contiguous())
    return count.masked_fill(thresholds.isnan(), 0)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return (part.double() / whole).masked_fill(whole == 0, 1)


def _unless_empty(value: Tensor, samples: Tensor) -> Tensor:
    return value if len(samples) else value.new_full((), torch.nan)
