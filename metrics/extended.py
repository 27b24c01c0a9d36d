"""Extended sets: detection of sounding objects among samples that have none, ranked by confidence.

A sample is detected at a threshold if its confidence is ``>=`` it; NaN never is. A true positive is a sounding sample
that is detected with a cIoU ``>= success`` (NaN is not); a detected sample of any other kind is a false positive; a
sounding sample that is not detected is a false negative. One that is detected in the wrong place is no false negative,
so that recall reaches 1 at the lowest threshold with the first right localisation (the paper and the code agree).
Precision and recall are 1 where nothing would be divided by nothing. What sounds is a matter of annotated boxes: a
sample whose boxes are all empty counts as sounding and is never found.

The paper's definitions use every distinct confidence as a threshold; the official code uses a sample of them, and is
here under names of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from avbench.metrics.protocols import Operator

PERCENTILES, DECILES = 200, 10
"""Thresholds that the official code aims at for AP and for F1."""


class Counts(NamedTuple):
    """True positives, false positives and false negatives at each threshold, ``[T]`` int64."""

    tp: Tensor
    fp: Tensor
    fn: Tensor


class _Ranking(NamedTuple):
    """One sort of the confidences and what lies from each place of it upward: all that the measures below need."""

    ascending: Tensor
    """``[n]`` float64, NaN last."""
    hits: Tensor
    """``[m + 1]`` int64, right localisations from each of the m numbers upward, 0 at the end."""
    heard: Tensor
    """``[m + 1]`` int64, sounding samples likewise."""
    positives: Tensor
    """Scalar int64, all sounding samples."""


def detection_counts(
    confidence: Tensor,
    ciou: Tensor,
    *,
    sounding: Tensor,
    at: Tensor,
    success: float = 0.5,
    operator: Operator = ">=",
) -> Counts:
    """True positives, false positives and false negatives at the confidence thresholds ``at``.

    Args:
        confidence: ``[n]``, any scale; NaN is never detected.
        ciou: ``[n]`` in [0, 1] or NaN; read for sounding samples alone.
        sounding: ``[n]`` bool, false for the negatives.
        at: ``[T]``, any order; nothing is detected at NaN.
        success: The overlap that counts as right.
        operator: Between confidence and ``at`` and between cIoU and ``success``: ``">="`` as in the code, ``">"`` as
            the paper prints it.

    Returns:
        ``[T]`` int64 each.

    Raises:
        ValueError: if confidence, ciou and sounding are not all ``[n]``, or the operator is unknown.

    References:
        Mo & Morgado, A Closer Look at Weakly-Supervised Audio-Visual Source Localization, NeurIPS 2022, supplement,
        equations 2 to 4 (``>``); stoneMo/SLAVC utils.py, ``EvaluatorFull.calc_precision_recall`` (``>=``).
    """
    ranking = _rank(confidence, ciou, sounding=sounding, success=success, operator=operator)
    return _counts(ranking, _first_detected(ranking, at, strict=operator == ">"))


def precision_recall(
    confidence: Tensor,
    ciou: Tensor,
    *,
    sounding: Tensor,
    at: Tensor,
    success: float = 0.5,
    operator: Operator = ">=",
) -> tuple[Tensor, Tensor]:
    """Precision ``tp / (tp + fp)`` and recall ``tp / (tp + fn)`` of detection at the confidence thresholds ``at``.

    Args:
        confidence: As in :func:`detection_counts`.
        ciou: As in :func:`detection_counts`.
        sounding: As in :func:`detection_counts`.
        at: As in :func:`detection_counts`.
        success: As in :func:`detection_counts`.
        operator: As in :func:`detection_counts`.

    Returns:
        ``[T]`` float64 each, in [0, 1]; 1 for nothing divided by nothing.

    Raises:
        ValueError: as :func:`detection_counts` does.

    References:
        As of :func:`detection_counts`.
    """
    counts = detection_counts(confidence, ciou, sounding=sounding, at=at, success=success, operator=operator)
    return _precision_recall(counts)


def f1(precision: Tensor, recall: Tensor) -> Tensor:
    """The harmonic mean ``2 P R / (P + R)``, 0 where both are 0; float64, of the shape of its arguments."""
    total = precision + recall
    return (2 * precision * recall / total).masked_fill(total == 0, 0)


def average_precision(
    confidence: Tensor, ciou: Tensor, *, sounding: Tensor, success: float = 0.5, envelope: bool = False
) -> Tensor:
    """``sum of P_k * (R_k - R_{k-1})`` over all distinct confidences from the highest, from a recall of 0.

    Samples of equal confidence enter together; samples of NaN confidence stay undetected.

    Args:
        confidence: As in :func:`detection_counts`.
        ciou: As in :func:`detection_counts`.
        sounding: As in :func:`detection_counts`.
        success: The least overlap that counts as right.
        envelope: Whether ``P_k`` is the largest precision at this recall or a higher one (all-point interpolation);
            nothing is interpolated otherwise, as in the paper.

    Returns:
        Scalar float64 in [0, 1]; 0 where nothing sounds or no confidence is a number, NaN for no samples.

    Raises:
        ValueError: if the shapes do not fit.

    References:
        Mo & Morgado, NeurIPS 2022, section 4 (the area under the precision-recall curve).
    """
    ranking = _rank(confidence, ciou, sounding=sounding, success=success)
    return _area(*_full_curve(ranking), ranking, envelope=envelope)


def max_f1(confidence: Tensor, ciou: Tensor, *, sounding: Tensor, success: float = 0.5) -> Tensor:
    """The largest F1 over all distinct confidences as thresholds.

    Never below the F1 of detecting everything, :func:`always_detecting_f1`, where all confidences are numbers.

    Args:
        confidence: As in :func:`detection_counts`.
        ciou: As in :func:`detection_counts`.
        sounding: As in :func:`detection_counts`.
        success: The least overlap that counts as right.

    Returns:
        Scalar float64 in [0, 1]; 0 where nothing sounds or no confidence is a number, NaN for no samples.

    Raises:
        ValueError: if the shapes do not fit.

    References:
        Mo & Morgado, NeurIPS 2022, section 4.
    """
    ranking = _rank(confidence, ciou, sounding=sounding, success=success)
    return _largest_f1(*_full_curve(ranking), ranking)


def average_precision_official(confidence: Tensor, ciou: Tensor, *, sounding: Tensor, success: float = 0.5) -> Tensor:
    """AP as SLAVC's code computes it, on about 200 of the confidences; its tables hold this one.

    The confidences are sorted, NaN last, the largest left out, and every ``max(1, n // 200)``-th taken from above. With
    precision made monotone from the right, ``AP = sum of P_k * (R_{k+1} - R_k)``: there is no area before the first
    threshold, each step has the precision at its left end, and the lowest confidence may be passed over. One or two
    samples, or a constant confidence, give 0.

    Args:
        confidence: As in :func:`detection_counts`.
        ciou: As in :func:`detection_counts`.
        sounding: As in :func:`detection_counts`.
        success: The least overlap that counts as right.

    Returns:
        Scalar float64 in [0, 1], NaN for no samples.

    Raises:
        ValueError: if the shapes do not fit.

    References:
        stoneMo/SLAVC utils.py, ``EvaluatorFull.calc_ap``.
    """
    return _official_area(_rank(confidence, ciou, sounding=sounding, success=success))


def max_f1_official(confidence: Tensor, ciou: Tensor, *, sounding: Tensor, success: float = 0.5) -> Tensor:
    """The largest F1 at every ``max(1, n // 10)``-th confidence from the lowest, NaN last: ten or eleven thresholds.

    This is the unrounded value; the papers have :func:`max_f1_printed`.

    Args:
        confidence: As in :func:`detection_counts`.
        ciou: As in :func:`detection_counts`.
        sounding: As in :func:`detection_counts`.
        success: The least overlap that counts as right.

    Returns:
        Scalar float64 in [0, 1], NaN for no samples; never above :func:`max_f1` where all confidences are numbers or
        anything sounds.

    Raises:
        ValueError: if the shapes do not fit.

    References:
        stoneMo/SLAVC utils.py, ``EvaluatorFull.finalize_stats``.
    """
    return _official_f1(_rank(confidence, ciou, sounding=sounding, success=success))


def max_f1_printed(confidence: Tensor, ciou: Tensor, *, sounding: Tensor, success: float = 0.5) -> Tensor:
    """:func:`max_f1_official` as it is printed and read: rounded to one decimal of a percent.

    Rounding keeps the order, so that the largest printed value is the printed largest value.

    Args:
        confidence: As in :func:`detection_counts`.
        ciou: As in :func:`detection_counts`.
        sounding: As in :func:`detection_counts`.
        success: The least overlap that counts as right.

    Returns:
        Scalar float64, the printed percentage divided by 100; NaN for no samples.

    Raises:
        ValueError: if the shapes do not fit.

    References:
        stoneMo/SLAVC utils.py, ``EvaluatorFull.finalize_stats`` (the F1 lists).
    """
    found = max_f1_official(confidence, ciou, sounding=sounding, success=success)
    return found.new_tensor(round(100 * float(found), 1) / 100)


def always_detecting_f1(locacc: float, positives: int, negatives: int) -> float:
    """The F1 of detecting every sample: the least that :func:`max_f1` can be, without any use of confidence.

    ``2 L p / (L p + p + n)`` for a success rate of L, p sounding samples and n others: ``2 L / (2 + L)`` on a balanced
    set, ``2 L / (1 + L)`` without negatives.

    Args:
        locacc: The success rate of the sounding samples, in [0, 1].
        positives: How many samples sound.
        negatives: How many do not.

    Returns:
        The bound in [0, 1]; NaN for no samples.

    Raises:
        ValueError: if ``locacc`` is no share or a count is negative.
    """
    if not 0 <= locacc <= 1 or min(positives, negatives) < 0:
        raise ValueError(
            f"locacc must be in [0, 1] and counts 0 or more, got {locacc}, {positives} positives, {negatives} negatives"
        )
    found, samples = locacc * positives, positives + negatives
    return 2 * found / (found + samples) if samples else float("nan")


def detection_summary(confidence: Tensor, ciou: Tensor, *, sounding: Tensor, success: float = 0.5) -> dict[str, float]:
    """``ap``, ``max_f1`` and their official forms, as fractions, from one sort.

    Args:
        confidence: As in :func:`detection_counts`.
        ciou: As in :func:`detection_counts`.
        sounding: As in :func:`detection_counts`.
        success: The least overlap that counts as right.

    Returns:
        What :func:`average_precision`, :func:`max_f1`, :func:`average_precision_official` and :func:`max_f1_official`
        return, by name; all NaN for no samples.

    Raises:
        ValueError: if the shapes do not fit.
    """
    ranking = _rank(confidence, ciou, sounding=sounding, success=success)
    curve = _full_curve(ranking)
    return {
        "ap": float(_area(*curve, ranking)),
        "max_f1": float(_largest_f1(*curve, ranking)),
        "ap_official": float(_official_area(ranking)),
        "max_f1_official": float(_official_f1(ranking)),
    }


def aggregate_extended(confidence: Tensor, ciou: Tensor, *, sounding: Tensor) -> dict[str, float]:
    """:func:`detection_summary` at the success threshold of published tables, 0.5."""
    return detection_summary(confidence, ciou, sounding=sounding)


def _rank(confidence: Tensor, ciou: Tensor, *, sounding: Tensor, success: float, operator: Operator = ">=") -> _Ranking:
    if not (confidence.ndim == 1 and confidence.shape == ciou.shape == sounding.shape):
        shapes = [list(values.shape) for values in (confidence, ciou, sounding)]
        raise ValueError(f"confidence, ciou and sounding must all be [n], got {', '.join(map(str, shapes))}")
    if operator not in {">=", ">"}:
        raise ValueError(f"operator must be '>=' or '>', got {operator!r}")
    overlaps = ciou.double() >= success if operator == ">=" else ciou.double() > success
    ascending, order = confidence.double().sort()
    order = order[: int((~ascending.isnan()).sum())]
    hits, heard = (_from_each_upward(flags[order]) for flags in (sounding & overlaps, sounding))
    return _Ranking(ascending, hits, heard, sounding.sum())


def _from_each_upward(flags: Tensor) -> Tensor:
    counted = flags.flip(0).cumsum(dim=0).flip(0)
    return torch.cat([counted, counted.new_zeros(1)])


def _first_detected(ranking: _Ranking, thresholds: Tensor, *, strict: bool = False) -> Tensor:
    """The place in the sort from which samples are detected; behind the last number for NaN."""
    numbers = ranking.ascending[: len(ranking.hits) - 1]
    first = torch.searchsorted(numbers, thresholds.double().contiguous(), right=strict)
    return first.masked_fill(thresholds.isnan(), len(numbers))


def _counts(ranking: _Ranking, first: Tensor) -> Counts:
    hits = ranking.hits[first]
    return Counts(hits, len(ranking.hits) - 1 - first - hits, ranking.positives - ranking.heard[first])


def _precision_recall(counts: Counts) -> tuple[Tensor, Tensor]:
    return _share(counts.tp, counts.tp + counts.fp), _share(counts.tp, counts.tp + counts.fn)


def _full_curve(ranking: _Ranking) -> tuple[Tensor, Tensor]:
    """Precision and recall at each distinct confidence from the highest."""
    numbers = ranking.ascending[: len(ranking.hits) - 1]
    begins = torch.ones_like(numbers, dtype=torch.bool)
    begins[1:] = numbers[1:] != numbers[:-1]
    return _precision_recall(_counts(ranking, begins.nonzero()[:, 0].flip(0)))


def _official_curve(ranking: _Ranking, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    return _precision_recall(_counts(ranking, _first_detected(ranking, thresholds)))


def _area(precision: Tensor, recall: Tensor, ranking: _Ranking, *, envelope: bool = False) -> Tensor:
    heights = _envelope(precision) if envelope else precision
    return _unless_empty((heights * recall.diff(prepend=recall.new_zeros(1))).sum(), ranking)


def _largest_f1(precision: Tensor, recall: Tensor, ranking: _Ranking) -> Tensor:
    found = f1(precision, recall)
    return _unless_empty(torch.cat([found, found.new_zeros(1)]).max(), ranking)


def _official_area(ranking: _Ranking) -> Tensor:
    thresholds = ranking.ascending[:-1].flip(0)[:: max(1, len(ranking.ascending) // PERCENTILES)]
    precision, recall = _official_curve(ranking, thresholds)
    return _unless_empty((_envelope(precision)[:-1] * recall.diff()).sum(), ranking)


def _official_f1(ranking: _Ranking) -> Tensor:
    thresholds = ranking.ascending[:: max(1, len(ranking.ascending) // DECILES)]
    return _largest_f1(*_official_curve(ranking, thresholds), ranking)


def _envelope(precision: Tensor) -> Tensor:
    return precision.flip(0).cummax(dim=0).values.flip(0) if len(precision) else precision


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return (part.double() / whole).masked_fill(whole == 0, 1)


def _unless_empty(value: Tensor, ranking: _Ranking) -> Tensor:
    return value if len(ranking.ascending) else value.new_full((), torch.nan)
