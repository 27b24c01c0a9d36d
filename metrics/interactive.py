"""Interactive localisation: a picture is solved when the map follows every one of its sounds (IIoU and IAUC)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from avbench.metrics.success import area_under_success, success_rate


def short_name(item: str) -> str:
    """The group of an item: the last part of its path without ``.jpg`` and without what follows its last ``_``.

    ``cat_dog_1_cat.jpg`` (IS3) belongs to ``cat_dog_1``, ``000000489267_157452.jpg`` (VPO) to the picture
    ``000000489267``, ``clip_3.png`` (AVSBench) to ``clip``. A name without ``_`` belongs to the empty group. Ids of
    VGG-SS must go through :func:`vggss_item` first, or their start is taken for the last part.

    References:
        kaistmm/SSLalignment utils.py, ``Evaluator_iiou``.
    """
    return item.rpartition("/")[2].replace(".jpg", "").rpartition("_")[0]


def vggss_item(clip: str) -> str:
    """``ID_000030`` to ``ID_30000_40000``, the ten seconds in milliseconds: what Alignment's VGG-SS list calls it.

    Raises:
        ValueError: if the name does not end with its start in seconds.
    """
    video, _, start = clip.rpartition("_")
    if not (video and start.isdecimal()):
        raise ValueError(f"expected a VGG-SS clip such as ID_000030, got {clip!r}")
    return f"{video}_{1000 * int(start)}_{1000 * (int(start) + 10)}"


def interactive_success_rate(ciou: Tensor, groups: Sequence[Hashable], at: float = 0.5) -> Tensor:
    """IIoU: the share of the groups of which every member has ``ciou >= at``.

    One member without a value makes its group, and therefore the rate, NaN: :func:`nan_groups` counts such groups. Only
    IS3 and VPO-MS have groups of several sounds of one picture; a group of each sample alone gives the success rate.

    Args:
        ciou: ``[B]``, per-sample values.
        groups: The group of each sample, such as its :func:`short_name`.
        at: The least overlap that counts as a success.

    Returns:
        Scalar float64 in [0, 1], or NaN; NaN for no samples.

    Raises:
        ValueError: if there is not one group per sample.

    References:
        kaistmm/SSLalignment utils.py, ``Evaluator_iiou.finalize_cIoU``.
    """
    worst = _worst_members(ciou, groups)
    rate = success_rate(worst, at)
    return rate.masked_fill(worst.isnan().any(), math.nan)


def area_under_interactive_success(ciou: Tensor, groups: Sequence[Hashable]) -> Tensor:
    """IAUC: the area under the share of successful groups at the 21 thresholds ``0.05 * k``, by the trapezoid rule.

    A group with a member without a value fails at every threshold above 0 and passes at 0, as one with a value of 0
    does: :func:`nan_groups` counts them.

    Args:
        ciou: ``[B]``, per-sample values.
        groups: As in :func:`interactive_success_rate`.

    Returns:
        Scalar float64 in [0.025, 1]; NaN for no samples.

    Raises:
        ValueError: if there is not one group per sample.

    References:
        kaistmm/SSLalignment utils.py, ``finalize_IAUC``.
    """
    worst = _worst_members(ciou, groups)
    return area_under_success(worst.masked_fill(worst.isnan(), 0))


def nan_groups(ciou: Tensor, groups: Sequence[Hashable]) -> int:
    """How many groups have a member without a value, to be printed beside both interactive numbers.

    Raises:
        ValueError: if there is not one group per sample.
    """
    return int(_worst_members(ciou, groups).isnan().sum())


def _worst_members(ciou: Tensor, groups: Sequence[Hashable]) -> Tensor:
    """The least value of each group in the order of their first members, NaN where a member is; ``[G]`` float64."""
    if ciou.ndim != 1 or len(ciou) != len(groups):
        raise ValueError(f"expected a group for each of the values [B], got {len(groups)} for {list(ciou.shape)}")
    numbers: dict[Hashable, int] = {}
    index = torch.tensor([numbers.setdefault(group, len(numbers)) for group in groups], dtype=torch.int64)
    index = index.to(ciou.device)
    worst = torch.full((len(numbers),), math.inf, dtype=torch.float64, device=ciou.device)
    worst = worst.scatter_reduce(0, index, ciou.double(), "amin")
    return worst.index_fill(0, index[ciou.isnan()], math.nan)  # no device promises that the least value carries NaN on
