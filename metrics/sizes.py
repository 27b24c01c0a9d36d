"""Size buckets: samples by the area of what sounds, in pixels of the 224 x 224 canvas."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from avbench.metrics.ground_truth import Box

BUCKETS: dict[str, tuple[float, float]] = {
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 144**2),
    "huge": (144**2, math.inf),
}
"""Least area, and the area that is too large, of each bucket in ascending order."""


def size_bucket(area: Tensor, *, frames: int = 1) -> Tensor:
    """The number of the bucket, in the order of :data:`BUCKETS`, that holds each area.

    Officially the area is the sum of the truth's weights, half weights counting half, and only samples with a box are
    in a bucket; :func:`mean_box_area` is the older rule.

    Args:
        area: ``[B]`` pixels of the 224 x 224 canvas, of any type.
        frames: How many pictures the canvas shows side by side: T-VSL multiplies every bound by it.

    Returns:
        ``[B]`` int64 in [0, 3].

    Raises:
        ValueError: if an area is NaN or negative.

    References:
        stoneMo/SLAVC utils.py, ``EvaluatorFull.filter_subset``.
    """
    values = area.double()
    refused = values[~(values >= 0)]
    if len(refused):
        raise ValueError(f"an area must be 0 or more, got {float(refused[0])}")
    bounds = [frames * upper for _, upper in BUCKETS.values()][:-1]
    return torch.bucketize(values, values.new_tensor(bounds), right=True)


def bucket_members(area: Tensor, annotated: Tensor) -> dict[str, Tensor]:
    """Which samples each bucket holds: those without a box are in none, whatever their area.

    Args:
        area: As in :func:`size_bucket`.
        annotated: ``[B]`` bool, whether the sample has a box.

    Returns:
        ``[B]`` bool for each name of :data:`BUCKETS`.

    Raises:
        ValueError: if an area is NaN or negative.
    """
    found = size_bucket(area)
    return {name: annotated & (found == number) for number, name in enumerate(BUCKETS)}


def mean_box_area(boxes: Sequence[Box], size: int = 224) -> int:
    """The older rule for a sample's area: the mean of ``abs(width * height)`` over its boxes, truncated.

    Unlike the sum of the truth, pixels under two boxes count twice and a box with swapped corners has an area. The rule
    moves 295 clips of VGG-SS to another bucket.

    Args:
        boxes: Corners ``(x0, y0, x1, y1)`` as fractions of the frame, made pixels as in
            :func:`~avbench.metrics.ground_truth.union_map`: clipped to [0, 1], scaled, truncated.
        size: Side of the canvas in pixels.

    Returns:
        Pixels.

    Raises:
        ValueError: if there is no box, or if a coordinate is NaN.

    References:
        stoneMo/SLAVC utils.py, ``Evaluator.cal_area``.
    """
    if not boxes or any(math.isnan(v) for box in boxes for v in box):
        raise ValueError(f"a mean area needs boxes of four numbers, got {list(boxes)}")
    areas = []
    for box in boxes:
        x0, y0, x1, y1 = (int(min(max(v, 0.0), 1.0) * size) for v in box)
        areas.append(abs((x1 - x0) * (y1 - y0)))
    return int(sum(areas) / len(areas))
