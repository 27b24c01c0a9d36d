"""Ground-truth maps from boxes, by the two rules of the field."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import torch
from torch import Tensor

Box = tuple[float, float, float, float]


def union_map(boxes: Sequence[Box], *, size: int = 224) -> Tensor:
    """The VGG-SS rule: 1 inside any box, 0 elsewhere.

    Each coordinate is clipped to [0, 1], multiplied by ``size`` and truncated; boxes are half-open on both axes, so
    that one with no area after truncation (the -2.88e16 boxes of VGG-SS among them) marks nothing.

    Args:
        boxes: Corners ``(x0, y0, x1, y1)`` as fractions of the frame; none gives an empty map.
        size: Side of the map in pixels.

    Returns:
        ``[size, size]`` float64, first index y.

    Raises:
        ValueError: if a coordinate is NaN.

    References:
        stoneMo/EZ-VSL datasets.py, ``bbox2gtmap`` (``format="vggss"``).
    """
    return _sum_of_boxes([_pixels(box, size) for box in boxes], size).clamp_(max=1)


def consensus_map(boxes_256: Sequence[Box], *, size: int = 224) -> Tensor:
    """The Flickr-SoundNet rule: half the number of boxes over a pixel, at most 1.

    A coordinate v becomes ``int(size * int(v) / 256)``; boxes are half-open, and cut at the frame. Two boxes agree
    whoever drew them: the rule does not know the annotators.

    Args:
        boxes_256: Corners ``(x0, y0, x1, y1)`` in pixels of a 256 x 256 frame, those of all annotators together.
        size: Side of the map in pixels.

    Returns:
        ``[size, size]`` float64 with the values 0, 0.5 and 1, first index y.

    Raises:
        ValueError: if a coordinate is NaN.

    References:
        stoneMo/EZ-VSL datasets.py, ``bbox2gtmap`` (``format="flickr"``).
    """
    for box in boxes_256:
        _refuse_nan(box)
    scaled = [tuple(int(size * int(v) / 256) for v in box) for box in boxes_256]
    return (_sum_of_boxes([tuple(max(v, 0) for v in box) for box in scaled], size) / 2).clamp_(max=1)


def _pixels(box: Box, size: int) -> tuple[int, ...]:
    _refuse_nan(box)
    return tuple(int(min(max(v, 0.0), 1.0) * size) for v in box)


def _refuse_nan(box: Box) -> None:
    if any(isnan(v) for v in box):
        raise ValueError(f"a box needs four numbers, got {tuple(box)}")


def _sum_of_boxes(pixels: Sequence[tuple[int, ...]], size: int) -> Tensor:
    total = torch.zeros(size, size, dtype=torch.float64)
    for x0, y0, x1, y1 in pixels:
        total[y0:y1, x0:x1] += 1
    return total
