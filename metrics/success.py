"""Aggregates of per-sample cIoU: the success rate that papers print as "cIoU", its area, and the mean."""

from __future__ import annotations

import torch
from torch import Tensor


def success_rate(ciou: Tensor, at: float = 0.5) -> Tensor:
    """Share of the samples with ``ciou >= at``; NaN fails, no samples give NaN.

    Args:
        ciou: ``[B]``, per-sample values.
        at: The least overlap that counts as a success.

    Returns:
        Scalar float64 in [0, 1]: ``locacc``, the "cIoU" column of the papers.

    References:
        stoneMo/EZ-VSL utils.py, ``Evaluator.finalize_AP50``.
    """
    return (ciou.double() >= at).double().mean()


def mean_ciou(ciou: Tensor) -> Tensor:
    """The arithmetic mean; NaN if any value is, or if there is none.

    Args:
        ciou: ``[B]``, per-sample values.

    Returns:
        Scalar float64 in [0, 1], or NaN.

    References:
        stoneMo/EZ-VSL utils.py, ``Evaluator.finalize_cIoU``.
    """
    return ciou.double().mean()


def success_curve(ciou: Tensor) -> tuple[Tensor, Tensor]:
    """The success rate (``>=``, NaN fails) at the 21 thresholds ``0.05 * k``.

    The product is the rule: it lies a little above k/20 for k = 3, 6, 7, 12, 14, 17 and 19, so that a value of exactly
    0.3 fails the threshold of 0.3.

    Args:
        ciou: ``[B]``, per-sample values.

    Returns:
        Thresholds and rates, ``[21]`` float64 each; the first rate is 1 for any finite values.
    """
    thresholds = 0.05 * torch.arange(21, dtype=torch.float64, device=ciou.device)
    return thresholds, (ciou.double()[:, None] >= thresholds).double().mean(dim=0)


def area_under_success(ciou: Tensor) -> Tensor:
    """The area under :func:`success_curve` by the trapezoid rule.

    Args:
        ciou: ``[B]``, per-sample values.

    Returns:
        Scalar float64, at least 0.025 where no value is NaN; NaN for no samples.

    References:
        stoneMo/EZ-VSL utils.py, ``Evaluator.finalize_AUC``.
    """
    thresholds, rates = success_curve(ciou)
    return torch.trapezoid(rates, thresholds)


def nan_count(ciou: Tensor) -> int:
    """How many samples have no value (an empty mask on an empty truth), to be printed beside every score."""
    return int(ciou.isnan().sum())
