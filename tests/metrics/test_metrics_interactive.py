import csv
import json
import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.metrics.interactive import (
    area_under_interactive_success,
    interactive_success_rate,
    nan_groups,
    short_name,
    vggss_item,
)
from avbench.metrics.success import area_under_success, success_rate


def values(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize(
    ("item", "group"),
    [
        ("cat_dog_1_cat.jpg", "cat_dog_1"),
        ("frames/000000489267_157452.jpg", "000000489267"),
        ("s4/0d9u2CymIxc_1.png", "0d9u2CymIxc"),
        ("rq5_1/rq5_1.mp4_1.png", "rq5_1.mp4"),
        ("x_0_10000.mp4", "x_0"),
        ("2349424942.mp4", ""),
        ("a.jpg_b", "a"),
        ("", ""),
    ],
)
def test_names_are_shortened_by_their_last_part(item, group):
    assert short_name(item) == group


def test_a_vggss_clip_is_named_by_its_milliseconds():
    assert vggss_item("1F3_bvIT0ig_000000") == "1F3_bvIT0ig_0_10000"
    assert vggss_item("n88E2blrCiU_000185") == "n88E2blrCiU_185000_195000"
    assert short_name(vggss_item("n88E2blrCiU_000185")) == "n88E2blrCiU_185000"


@pytest.mark.parametrize("clip", ["n88E2blrCiU", "_000030", "n88E2blrCiU_", "n88E2blrCiU_12s"])
def test_other_names_are_no_vggss_clips(clip):
    with pytest.raises(ValueError, match=f"expected a VGG-SS clip such as ID_000030, got '{clip}'"):
        vggss_item(clip)


def test_a_group_succeeds_when_every_member_does():
    ciou, groups = values(0.5, 0.9, 0.4, 0.7), ["a", "a", "b", "b"]
    assert interactive_success_rate(ciou, groups) == 0.5
    assert interactive_success_rate(ciou, groups, at=0.4) == 1
    assert interactive_success_rate(ciou, groups, at=0.55) == 0


def test_groups_are_by_equality_wherever_their_members_stand():
    assert interactive_success_rate(values(0.9, 0.9, 0.1, 0.9), [("x", 1), 7, ("x", 1), None]) == 2 / 3


def test_the_area_by_hand():
    assert area_under_interactive_success(values(0.6, 0.45), ["a", "a"]).item() == pytest.approx(0.475, abs=1e-15)
    assert area_under_interactive_success(values(0.0, 1.0), ["a", "a"]).item() == pytest.approx(0.025, abs=1e-15)
    assert area_under_interactive_success(values(0.0, 1.0), ["a", "b"]).item() == pytest.approx(0.5125, abs=1e-15)


def test_a_member_without_a_value_makes_the_rate_nan_and_fails_the_area_above_zero():
    ciou, groups = values(math.nan, 0.9, 1.0), ["a", "a", "b"]
    assert interactive_success_rate(ciou, groups).isnan()
    assert area_under_interactive_success(ciou, groups).item() == pytest.approx((0.025 + 1) / 2, abs=1e-15)
    assert nan_groups(ciou, groups) == 1
    assert nan_groups(ciou, ["a", "b", "c"]) == 1
    assert nan_groups(values(0.3, 0.2), "ab") == 0
    assert interactive_success_rate(ciou.flip(0), groups[::-1]).isnan(), "wherever the member stands"


def test_no_samples_give_nan():
    assert interactive_success_rate(values(), []).isnan()
    assert area_under_interactive_success(values(), []).isnan()
    assert nan_groups(values(), []) == 0


@pytest.mark.parametrize("measure", [interactive_success_rate, area_under_interactive_success, nan_groups])
def test_a_group_is_needed_for_each_sample(measure):
    with pytest.raises(ValueError, match=r"a group for each of the values \[B\], got 1 for \[2\]"):
        measure(values(0.1, 0.2), ["a"])
    with pytest.raises(ValueError, match=r"got 1 for \[1, 1\]"):
        measure(values(0.1)[None], ["a"])


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1)), min_size=1, max_size=30), st.randoms())
@settings(max_examples=50, deadline=None)
def test_agrees_with_a_loop_in_any_order(items, shuffler):
    members = defaultdict(list)
    for group, value in items:
        members[group].append(value)

    def rate(at: float) -> float:
        return sum(all(v >= at for v in found) for found in members.values()) / len(members)

    shuffler.shuffle(items)
    ciou, groups = values(*(v for _, v in items)), [g for g, _ in items]
    assert interactive_success_rate(ciou, groups).item() == pytest.approx(rate(0.5), abs=1e-15)
    area = np.trapezoid([rate(0.05 * k) for k in range(21)], [0.05 * k for k in range(21)])
    assert area_under_interactive_success(ciou, groups).item() == pytest.approx(area, abs=1e-12)


def test_groups_of_one_give_the_plain_numbers_and_groups_of_equal_size_never_more():
    ciou = torch.rand(60, dtype=torch.float64)
    assert interactive_success_rate(ciou, range(60)) == success_rate(ciou)
    assert area_under_interactive_success(ciou, range(60)) == area_under_success(ciou)
    pairs = [n // 2 for n in range(60)]
    assert interactive_success_rate(ciou, pairs) <= success_rate(ciou)
    assert area_under_interactive_success(ciou, pairs) <= area_under_success(ciou)


def test_rates_agree_with_the_worked_examples(examples):
    for case in examples("iiou", "all_members_ge_0.5"):
        names, ciou = zip(*case["inputs"]["items"], strict=True)
        groups = [short_name(name) for name in names]
        assert set(groups) == case["expected"]["groups"].keys(), case["id"]
        found = interactive_success_rate(values(*ciou), groups).item()
        assert found == pytest.approx(case["expected"]["iiou"], abs=1e-12, nan_ok=True), case["id"]


def test_areas_agree_with_the_worked_examples(examples):
    for case in examples("iauc", "min_success_21"):
        names, ciou = zip(*case["inputs"]["items"], strict=True)
        found = area_under_interactive_success(values(*ciou), [short_name(name) for name in names]).item()
        assert found == pytest.approx(case["expected"]["iauc"], abs=1e-12), case["id"]


SETS = {
    "is3_vpo/synthetic3240_bbox.json": {2: 3240},
    "is3_vpo/vpo_ss_bbox.json": {1: 890},
    "is3_vpo/vpo_ms_bbox.json": {1: 759, 2: 623, 3: 49, 5: 1},
    "avsbench/s4_box.json": {5: 740},
    "avsbench/ms3_box.json": {5: 64},
}


@pytest.mark.parametrize("file", SETS)
def test_official_sets_fall_into_their_known_groups(shared, file):
    entries = json.loads((shared / "metadata" / file).read_text(encoding="utf-8"))
    groups = Counter(short_name(entry["image"]) for entry in entries)
    assert Counter(groups.values()) == SETS[file]


def test_vggss_needs_its_clips_named_by_milliseconds(shared):
    with (shared / "metadata" / "vggss" / "vggss_test.csv").open(encoding="utf-8", newline="") as file:
        clips = [row[0] for row in csv.reader(file)]
    listed = (shared / "metadata" / "vggss" / "vggss_alignment_4655.txt").read_text(encoding="utf-8").split()
    assert set(listed) <= {vggss_item(clip) for clip in clips}
    assert len({short_name(vggss_item(clip)) for clip in clips}) == 5158
    assert len({short_name(clip) for clip in clips}) == 5017


@pytest.mark.parametrize("form", ["", "_adap"])
@pytest.mark.parametrize("style", ["ours", "ezvsl_style"])
@pytest.mark.parametrize("group", ["vggss", "flickr", "is3"])
def test_agrees_with_the_official_evaluator(shared, group, style, form):
    folder = shared / "goldens" / "goldens"
    inputs = json.loads((folder / "eval_inputs.json").read_text(encoding="utf-8"))[group]
    runs = json.loads((folder / "evaluators.json").read_text(encoding="utf-8"))["evaluators"]
    summary = runs[f"alignment_{style}_{group}_av"]["summary"]
    with np.load(folder / "evaluators.npz") as stored:
        ciou = torch.from_numpy(stored[f"alignment_{style}_{group}_av/ciou{form}"])
    names = [vggss_item(sample["name"]) if group == "vggss" else sample["name"] for sample in inputs]
    groups = [short_name(name) for name in names]
    assert len(set(groups)) == summary["groups"]
    found = (interactive_success_rate(ciou, groups).item(), area_under_interactive_success(ciou, groups).item())
    assert found == pytest.approx((summary[f"IIoU{form}"], summary[f"IAUC{form}"]), abs=1e-12)
    assert nan_groups(ciou, groups) == 0
