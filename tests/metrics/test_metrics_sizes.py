import csv
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.metrics.consensus_iou import consensus_iou
from avbench.metrics.ground_truth import union_map
from avbench.metrics.maps import minmax_guarded
from avbench.metrics.masks import absolute_mask, rank_mask
from avbench.metrics.sizes import BUCKETS, bucket_members, mean_box_area, size_bucket
from avbench.metrics.success import area_under_success, mean_ciou, success_rate

NAMES = list(BUCKETS)
INTEGER_NAN = -2.8823037615171176e16


def test_lower_bounds_belong_to_the_bucket_and_upper_ones_to_the_next():
    areas = torch.tensor([0, 1023.5, 1024, 9215.5, 9216, 20735.5, 20736, 50176, math.inf])
    found = size_bucket(areas)
    assert [NAMES[n] for n in found] == ["small"] * 2 + ["medium"] * 2 + ["large"] * 2 + ["huge"] * 3
    assert found.dtype == torch.int64


def test_buckets_are_those_between_which_nothing_lies():
    assert [low for low, _ in BUCKETS.values()] == [0, 32**2, 96**2, 144**2]
    assert [upper for _, upper in BUCKETS.values()] == [32**2, 96**2, 144**2, math.inf]


def test_two_pictures_side_by_side_double_every_bound():
    assert size_bucket(torch.tensor([2047, 2048, 18431, 18432, 41471, 41472]), frames=2).tolist() == [0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize("area", [math.nan, -1.0, -math.inf])
def test_what_is_no_area_is_refused(area):
    with pytest.raises(ValueError, match=f"an area must be 0 or more, got {area}"):
        size_bucket(torch.tensor([5.0, area]))


def test_samples_without_a_box_are_in_no_bucket():
    found = bucket_members(torch.tensor([5000.0, 5000.0, 0.0]), torch.tensor([True, False, False]))
    assert {name: rows.tolist() for name, rows in found.items() if rows.any()} == {"medium": [True, False, False]}
    assert list(found) == NAMES


@given(st.lists(st.floats(0, 60_000), max_size=20))
@settings(max_examples=40, deadline=None)
def test_each_annotated_sample_is_in_the_one_bucket_that_numpy_finds(areas):
    given_areas = torch.tensor(areas, dtype=torch.float64)
    assert size_bucket(given_areas).tolist() == np.digitize(np.array(areas), [1024, 9216, 20736]).tolist()
    members = bucket_members(given_areas, torch.ones(len(areas), dtype=torch.bool))
    assert sum(rows.int() for rows in members.values()).tolist() == [1] * len(areas)


def test_the_older_area_by_hand():
    assert mean_box_area([(0.0, 0.0, 0.5, 0.25)]) == 112 * 56
    assert mean_box_area([(0.0, 0.0, 0.5, 0.5), (0.0, 0.0, 0.5, 0.5)], size=10) == 25, "not the union of boxes"
    assert mean_box_area([(0.0, 0.0, 0.5, 0.5), (0.0, 0.0, 0.1, 0.2)], size=10) == 13, "13.5 is truncated"
    assert mean_box_area([(0.9, 0.1, 0.4, 0.5)], size=10) == 20, "swapped corners"
    assert mean_box_area([(0.5, 0.5, INTEGER_NAN, INTEGER_NAN)]) == 112 * 112


@pytest.mark.parametrize("boxes", [[], [(0.1, 0.2, math.nan, 0.4)]])
def test_an_area_needs_boxes(boxes):
    with pytest.raises(ValueError, match="a mean area needs boxes of four numbers, got"):
        mean_box_area(boxes)


def test_areas_of_the_truth_agree_with_the_worked_examples(examples):
    for case in examples("size_bucket", "gt_sum"):
        annotated = torch.tensor([case["inputs"]["n_boxes"] > 0])
        members = bucket_members(torch.tensor([case["inputs"]["gt_sum"]]), annotated)
        found = [name for name, rows in members.items() if rows.any()]
        assert found == [name for name in [case["expected"]["bucket"]] if name], case["id"]


def test_areas_of_boxes_agree_with_the_worked_examples(examples):
    for case in examples("size_bucket", "mean_box_area"):
        area = mean_box_area([[(v + 0.5) / 224 for v in box] for box in case["inputs"]["boxes_px_xyxy"]])
        assert area == case["expected"]["area"], case["id"]
        assert NAMES[size_bucket(torch.tensor([area]))] == case["expected"]["bucket"], case["id"]


@pytest.fixture(scope="module")
def vggss(shared):
    """The official clips, their truth, and which of them are of the heard classes."""
    folder = shared / "metadata" / "vggss"
    clips = json.loads((folder / "vggss.json").read_text(encoding="utf-8"))
    with (folder / "vggss_heard_test.csv").open(encoding="utf-8", newline="") as file:
        heard = {row[0] for row in csv.reader(file)}
    truth = torch.stack([union_map(clip["bbox"]).to(torch.uint8) for clip in clips])
    return clips, truth, torch.tensor([clip["file"] in heard for clip in clips])


def area_of(truth: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(truth.numpy().sum(axis=(1, 2), dtype=np.int64))


def test_vggss_falls_into_its_known_buckets_by_either_rule(vggss):
    clips, truth, _ = vggss
    by_truth = size_bucket(area_of(truth))
    by_boxes = size_bucket(torch.tensor([mean_box_area(clip["bbox"]) for clip in clips]))
    assert by_truth.bincount().tolist() == [134, 1796, 1726, 1502]
    assert by_boxes.bincount().tolist() == [165, 1940, 1644, 1409]
    assert (by_truth != by_boxes).sum() == 295


def test_what_a_mask_of_half_the_canvas_can_reach_on_vggss(vggss):
    area = area_of(vggss[1]).double()
    best = area.clamp(max=25_088) / area.clamp(min=25_088)
    assert success_rate(best) * len(best) == 2607
    assert [round(100 * success_rate(part).item(), 4) for part in (best, best[vggss[2]])] == [50.5428, 48.3619]
    assert round(100 * area_under_success(best).item(), 2) == 49.47
    rates = [round(100 * success_rate(best[size_bucket(area) == number]).item(), 1) for number in range(4)]
    assert rates == [0, 0, 64.0, 100]


def test_the_centre_scores_its_known_figures_on_the_heard_classes(vggss):
    truth = vggss[1][vggss[2]]
    across = torch.arange(224).double() - 111.5
    disc = -(across[:, None] ** 2 + across**2)[None]

    def scored(mask: torch.Tensor) -> torch.Tensor:
        return torch.cat([consensus_iou(mask.expand(len(part), -1, -1), part) for part in truth.split(8)])

    middle, strict = scored(rank_mask(disc)), scored(rank_mask(disc, operator=">"))
    bright = scored(absolute_mask(minmax_guarded(disc), 0.6))
    rates = [success_rate(middle), mean_ciou(middle), area_under_success(middle), success_rate(strict)]
    rates += [area_under_success(strict), success_rate(bright)]
    expected = [32.1373, 36.5692, 36.5055, 32.0593, 36.4977, 30.6942]
    assert [round(100 * rate.item(), 4) for rate in rates] == expected
