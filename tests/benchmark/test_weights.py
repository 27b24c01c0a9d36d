"""The truth of a sample in training: boxes, boxes of several annotators, masks; whole and cropped."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from avbench.data.splits import Sample
from avbench.weights import is_annotated, truth_weights

BOXES = ((0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75))


def masked(folder: Path, **changes) -> Sample:
    values = np.zeros((224, 224), dtype=np.uint8)
    values[56:112, :112] = 255
    Image.fromarray(values).save(folder / "m.png")
    return Sample("m", None, None, (), mask=folder / "m.png", **changes)


def test_boxes_are_united_and_those_of_annotators_agree_by_halves():
    union = truth_weights(Sample("a", None, None, BOXES))
    assert (union.dtype, union.unique().tolist(), union[0, 0], union[100, 150]) == (torch.float32, [0, 1], 1, 1)
    agreed = truth_weights(Sample("a", None, None, BOXES, consensus=True))
    assert [float(agreed[y, x]) for y, x in ((0, 0), (60, 60), (150, 150), (200, 0))] == [0.5, 1.0, 0.5, 0.0]
    thrice = truth_weights(Sample("a", None, None, BOXES[:1] * 3, consensus=True))
    assert thrice.unique().tolist() == [0, 1]


def test_a_mask_is_the_truth_where_there_are_no_boxes(tmp_path):
    sample = masked(tmp_path)
    whole = truth_weights(sample)
    assert (whole.sum(), whole[56, 0], whole[55, 0], whole[111, 111], whole[111, 112]) == (56 * 112, 1, 0, 1, 0)
    upper_left = truth_weights(sample, (0.0, 0.0, 0.5, 0.5))
    torch.testing.assert_close(upper_left, torch.cat([torch.zeros(112, 224), torch.ones(112, 224)]))
    assert truth_weights(sample, (0.5, 0.5, 1.0, 1.0)).sum() == 0


def test_boxes_and_masks_are_cropped_alike(tmp_path):
    box = Sample("b", None, None, ((0.0, 0.25, 0.5, 0.5),))
    for place in ((0.0, 0.0, 1.0, 1.0), (0.25, 0.125, 0.75, 0.625), (0.125, 0.25, 1.0, 0.75)):
        assert (truth_weights(masked(tmp_path), place) - truth_weights(box, place)).abs().sum() <= 2 * 224


@pytest.mark.parametrize("sounding", [True, False])
def test_what_counts_as_annotated(tmp_path, sounding):
    assert is_annotated(masked(tmp_path, sounding=sounding)) == sounding
    assert bool(truth_weights(masked(tmp_path, sounding=sounding)).any()) == sounding
    assert not is_annotated(Sample("x", None, None, ()))
    assert is_annotated(Sample("x", None, None, BOXES))
    assert truth_weights(Sample("x", None, None, ())).sum() == 0
