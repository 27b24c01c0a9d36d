"""Aggregates of per-sample cIoU: the success rate that papers print as "cIoU", its area, and the mean."""

from __future__ import annotations

import torch
from torch import Tensor

from avbench.metrics.protocols import Operator

_COMPARE = {">=": torch.ge, ">": torch.gt}


def success_rate(ciou: Tensor, at: float = 0.5, *, operator: Operator = ">=") -> Tensor:
    """Share of the samples that reach ``at``; NaN fails, no samples give NaN.

    Args:
        ciou: ``[B]``, per-sample values; for the "visible" rates of extended sets, those of the annotated samples.
        at: The overlap that counts as a success.
        operator: Between a value and ``at``. ``">"`` is SLAVC's and AVGN's training log and the equation of SLAVC's
            paper; it differs for values of exactly ``at`` alone.

    Returns:
        Scalar float64 in [0, 1]: ``locacc``, the "cIoU" column of the papers.

    References:
        stoneMo/EZ-VSL utils.py, ``Evaluator.finalize_AP50`` (``>=``); stoneMo/SLAVC utils.py,
        ``EvaluatorFull.precision_at_50`` (``>``).
    """
    return _COMPARE[operator](ciou.double(), at).double().mean()


def mean_ciou(ciou: Tensor, *, nan_as_zero: bool = False) -> Tensor:
    """The arithmetic mean; NaN if any value is, or if there is none.

    Args:
        ciou: ``[B]``, per-sample values.
        nan_as_zero: Corrected option: a sample without a value counts as 0; :func:`nan_count` says how many do.

    Returns:
        Scalar float64 in [0, 1], or NaN.

    References:
        stoneMo/EZ-VSL utils.py, ``Evaluator.finalize_cIoU``.
    """
    values = ciou.double()
    return (values.masked_fill(values.isnan(), 0) if nan_as_zero else values).mean()


def success_curve(ciou: Tensor, *, exact_thresholds: bool = False) -> tuple[Tensor, Tensor]:
    """The success rate (``>=``, NaN fails) at the 21 thresholds ``0.05 * k``.

    The product is the rule: it lies a little above k/20 for k = 3, 6, 7, 12, 14, 17 and 19, so that a value of exactly
    0.3 fails the threshold of 0.3.

    Args:
        ciou: ``[B]``, per-sample values.
        exact_thresholds: Corrected option: ``k / 20``, which a value of the same decimals passes.

    Returns:
        Thresholds and rates, ``[21]`` float64 each; the first rate is 1 for any finite values.
    """
    steps = torch.arange(21, dtype=torch.float64, device=ciou.device)
    thresholds = steps / 20 if exact_thresholds else 0.05 * steps
    return thresholds, (ciou.double()[:, None] >= thresholds).double().mean(dim=0)


def area_under_success(ciou: Tensor, *, exact_thresholds: bool = False) -> Tensor:
    """The area under :func:`success_curve` by the trapezoid rule.

    Args:
        ciou: ``[B]``, per-sample values.
        exact_thresholds: As in :func:`success_curve`.

    Returns:
        Scalar float64, at least 0.025 where no value is NaN; NaN for no samples.

    References:
        stoneMo/EZ-VSL utils.py, ``Evaluator.finalize_AUC``.
    """
    thresholds, rates = success_curve(ciou, exact_thresholds=exact_thresholds)
    return torch.trapezoid(rates, thresholds)


def exact_area_under_success(ciou: Tensor) -> Tensor:
    """The area under the success rate over all thresholds of [0, 1], which :func:`area_under_success` approximates.

    A sample passes the thresholds from 0 to its value, so it adds its value, cut to [0, 1], and NaN, which passes none,
    adds nothing. For values in [0, 1] the area is therefore their mean with NaN counted as 0; a method that always
    scores 0 gets 0 and not 0.025, and the two areas are never more than 0.025 apart where no value is NaN.

    Args:
        ciou: ``[B]``, per-sample values.

    Returns:
        Scalar float64 in [0, 1]; NaN for no samples.
    """
    return mean_ciou(ciou.clamp(0, 1), nan_as_zero=True)


def nan_count(ciou: Tensor) -> int:
    """How many samples have no value (an empty mask on an empty truth), to be printed beside every score."""
    return int(ciou.isnan().sum())
