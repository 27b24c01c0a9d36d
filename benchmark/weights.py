"""What each pixel of a picture weighs in training: the truth of a sample, cropped as its picture is."""

from __future__ import annotations

import torch
from torch import Tensor

from avbench.data.batches import WHOLE
from avbench.data.splits import Sample
from avbench.metrics.ground_truth import union_map
from avbench.truth import read_mask
from avbench.types import CANVAS, Box


def is_annotated(sample: Sample) -> bool:
    """Whether it is known where the sample sounds: by boxes, or else by a mask."""
    return bool(sample.boxes) or (sample.sounding and sample.mask is not None)


def truth_weights(sample: Sample, place: Box = WHOLE) -> Tensor:
    """The truth of a sample in the part ``place`` of its picture.

    Returns:
        float32 ``[224, 224]``: 1 inside a box, with the boxes of several annotators 1/2 where only one of them is;
        without boxes 1 where the mask sounds; 0 for a sample without either.

    Raises:
        AvbenchError: for a mask that cannot be read.
    """
    if sample.boxes:
        drawn = torch.stack([union_map([_within(box, place)]) for box in sample.boxes]).sum(dim=0).float()
        return (drawn / 2 if sample.consensus else drawn).clamp(max=1)
    if sample.mask is None or not sample.sounding:
        return torch.zeros(CANVAS, CANVAS)
    return _part(read_mask(sample.mask), place).float()


def _within(box: Box, place: Box) -> Box:
    """``box`` of the frame as fractions of the part ``place`` of it."""
    left, top, right, bottom = place
    width, height = right - left, bottom - top
    return (box[0] - left) / width, (box[1] - top) / height, (box[2] - left) / width, (box[3] - top) / height


def _part(mask: Tensor, place: Box) -> Tensor:
    """The part ``place`` of a mask at the size of the whole, by its nearest pixels."""
    left, top, right, bottom = place
    middles = (torch.arange(CANVAS, dtype=torch.float64) + 0.5) / CANVAS
    rows, columns = (
        ((low + (high - low) * middles) * CANVAS).long().clamp(0, CANVAS - 1)
        for low, high in ((top, bottom), (left, right))
    )
    return mask[rows][:, columns]
