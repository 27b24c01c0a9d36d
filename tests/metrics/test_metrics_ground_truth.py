import math

import pytest
import torch

from avbench.metrics.ground_truth import consensus_map, union_map

INTEGER_NAN = -2.8823037615171176e16


def test_union_marks_half_open_pixels_with_y_first():
    drawn = union_map([(0.0, 0.25, 0.5, 1.0)], size=4)
    assert drawn.dtype == torch.float64
    assert drawn.tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]


def test_union_truncates_after_scaling():
    assert union_map([(0.49, 0.0, 0.99, 0.26)], size=4).tolist()[0] == [0, 1, 1, 0]


def test_pixels_under_two_boxes_count_once():
    drawn = union_map([(0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 1.0, 1.0)], size=4)
    assert drawn.max() == 1
    assert drawn.sum() == 4 + 9 - 1


@pytest.mark.parametrize(
    "box",
    [
        (INTEGER_NAN, INTEGER_NAN, INTEGER_NAN, INTEGER_NAN),
        (0.5, 0.5, 0.5, 0.9),
        (0.9, 0.1, 0.2, 0.8),
        (0.001, 0.001, 0.004, 0.004),
        (1.5, 0.0, 2.0, 1.0),
        (-2.0, 0.0, -1.0, 1.0),
    ],
)
def test_boxes_without_area_mark_nothing(box):
    assert union_map([box]).sum() == 0


def test_coordinates_outside_the_frame_are_clipped():
    assert torch.equal(union_map([(-0.5, -math.inf, 0.5, 7.0)]), union_map([(0.0, 0.0, 0.5, 1.0)]))


def test_no_boxes_give_an_empty_map():
    assert union_map([]).shape == (224, 224)
    assert union_map([]).sum() == consensus_map([]).sum() == 0


def test_consensus_is_half_for_one_box_and_whole_for_two_or_more():
    drawn = consensus_map([(0, 0, 128, 128), (64, 0, 256, 64), (64, 0, 128, 64)], size=4)
    assert drawn.tolist() == [[0.5, 1, 0.5, 0.5], [0.5, 0.5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_consensus_truncates_coordinates_before_and_after_scaling():
    assert torch.equal(consensus_map([(10.9, 0, 99.9, 256)]), consensus_map([(10, 0, 99, 256)]))
    assert consensus_map([(10, 0, 99, 256)])[0].nonzero().flatten().tolist() == list(range(8, 86))


def test_consensus_boxes_are_cut_at_the_frame():
    assert torch.equal(consensus_map([(-40, -3, 128, 300)]), consensus_map([(0, 0, 128, 256)]))


@pytest.mark.parametrize("draw", [union_map, consensus_map])
def test_a_nan_coordinate_is_refused(draw):
    with pytest.raises(ValueError, match=r"four numbers, got .*nan"):
        draw([(0.0, 0.0, math.nan, 1.0)])


def test_union_agrees_with_the_worked_examples(examples):
    for case in examples("gt_map", "vggss_union"):
        drawn = union_map(case["inputs"]["boxes_norm_xyxy"], size=case["inputs"]["size"])
        assert (drawn.sum(), drawn.max()) == (case["expected"]["sum"], case["expected"]["max"]), case["id"]


def test_consensus_agrees_with_the_worked_examples(examples):
    for case in examples("gt_map", "flickr_consensus"):
        drawn = consensus_map(case["inputs"]["boxes_256_xyxy"], size=case["inputs"]["size"])
        found = {"sum": drawn.sum(), "n_half": (drawn == 0.5).sum(), "n_one": (drawn == 1).sum(), "max": drawn.max()}
        assert found == {key: case["expected"][key] for key in found}, case["id"]


def test_areas_are_those_of_the_official_loaders(golden):
    for name, draw in (("vggss", union_map), ("flickr", consensus_map)):
        drawn = [draw(boxes).sum() for boxes in golden["sets"][name]["boxes"]]
        assert drawn == golden["sets"][name]["area"]
