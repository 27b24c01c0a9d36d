import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from avbench.metrics.consensus_iou import consensus_iou
from avbench.metrics.ground_truth import consensus_map, union_map
from avbench.metrics.maps import minmax_double_negation, minmax_guarded, upsample
from avbench.metrics.masks import (
    absolute_mask,
    adaptive_mask,
    adaptive_threshold,
    rank_mask,
    rank_threshold,
    sorted_pixels,
)
from avbench.metrics.success import area_under_success, success_rate


def as_map(*values: float) -> torch.Tensor:
    return torch.tensor([[list(values)]])


def test_half_of_the_pixels_by_hand():
    assert rank_mask(as_map(0.1, 0.4, 0.3, 0.2)).tolist() == [[[False, True, True, False]]]
    assert rank_mask(as_map(0.1, 0.4, 0.3, 0.2), operator=">").tolist() == [[[False, True, False, False]]]


def test_without_ties_the_canvas_splits_into_25088_pixels():
    maps = torch.randperm(224 * 224).reshape(1, 224, 224).float()
    assert rank_mask(maps).sum() == 25_088
    assert rank_mask(maps, operator=">").sum() == 25_087


def test_an_odd_number_of_pixels_rounds_the_rank_down():
    assert rank_mask(as_map(1, 2, 3, 4, 5)).sum() == 3


def test_ties_at_the_threshold_are_all_in_or_all_out():
    tied = as_map(0, 0.2, 0.2, 0.9)
    assert rank_mask(tied).tolist() == [[[False, True, True, True]]]
    assert rank_mask(tied, operator=">").tolist() == [[[False, False, False, True]]]


def test_a_constant_map_predicts_everything_or_nothing():
    assert rank_mask(torch.full((2, 3, 3), -0.4)).all()
    assert not rank_mask(torch.full((2, 3, 3), -0.4), operator=">").any()


def test_nan_is_never_predicted():
    assert not rank_mask(torch.full((1, 2, 2), math.nan)).any()
    assert rank_mask(as_map(math.nan, 0.2, 0.3, 0.4)).tolist() == [[[False, False, False, True]]]


def test_each_map_has_its_own_threshold():
    maps = torch.tensor([[[1.0, 2.0]], [[300.0, 100.0]]])
    assert rank_mask(maps).tolist() == [[[False, True]], [[True, False]]]


@pytest.mark.parametrize("below", [-0.1, 1.0])
def test_a_share_out_of_range_is_refused(below):
    with pytest.raises(ValueError, match=r"below must be in \[0, 1\), got"):
        rank_mask(torch.zeros(1, 2, 2), below)


def test_maps_that_carry_gradients_are_taken():
    assert rank_mask(torch.rand(1, 4, 4, requires_grad=True)).sum() == 8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_the_accelerator_selects_the_same_pixels():
    maps = torch.randint(0, 900, (8, 224, 224)).float()
    maps[3, 5, 5] = math.nan
    assert torch.equal(rank_mask(maps.cuda()).cpu(), rank_mask(maps))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("below", [0.0, 0.25, 0.5, 0.9])
def test_ranks_agree_with_a_loop(loops, below, strict):
    made = torch.Generator().manual_seed(3)
    maps = torch.randint(-3, 4, (60, 5, 3), generator=made).double() / 4
    maps[::7] = 0.1
    maps[5, 2, 2] = math.nan
    maps[6] = math.nan
    for found, rows in zip(rank_mask(maps, below, operator=">" if strict else ">="), maps.tolist(), strict=True):
        assert found.tolist() == loops.half_mask(rows, below, strict)


@pytest.mark.parametrize(("variant", "operator"), [("rank_half_ge", ">="), ("rank_half_gt", ">")])
def test_half_ranks_agree_with_the_worked_examples(examples, variant, operator):
    for case in examples("threshold", variant):
        maps = torch.tensor([case["inputs"]["map"]], dtype=torch.float64)
        assert rank_mask(maps, operator=operator)[0].double().tolist() == case["expected"]["mask"], case["id"]
        threshold = rank_threshold(sorted_pixels(maps)).item()
        assert threshold == pytest.approx(case["expected"]["thr"], abs=0, nan_ok=True), case["id"]


def test_other_shares_agree_with_the_worked_examples(examples):
    for case in examples("threshold", "rank_frac_ge"):
        maps = torch.tensor([case["inputs"]["map"]], dtype=torch.float64)
        found = rank_mask(maps, case["inputs"]["pred_size"])[0]
        assert found.double().tolist() == case["expected"]["mask"], case["id"]


def test_a_fixed_threshold_is_compared_in_the_type_of_the_map():
    for dtype in (torch.float32, torch.float64):
        maps = torch.tensor([[[0.6, 0.59, math.nan, 1.0]]], dtype=dtype)
        assert absolute_mask(maps, 0.6).tolist() == [[[True, False, False, True]]]
        assert absolute_mask(maps, 0.6, operator=">").tolist() == [[[False, False, False, True]]]


def test_fixed_thresholds_agree_with_the_worked_examples(examples):
    for case in examples("threshold", "absolute_ge"):
        found = absolute_mask(torch.tensor([case["inputs"]["map"]], dtype=torch.float64), case["inputs"]["t"])[0]
        assert found.double().tolist() == case["expected"]["mask"], case["id"]


def test_as_many_pixels_as_the_truth_has_by_hand():
    maps, truth = as_map(0.1, 0.4, 0.3, 0.2), as_map(0, 0.5, 1, 1)
    assert adaptive_mask(maps, truth, operator=">=").tolist() == [[[False, True, True, True]]]
    assert adaptive_mask(maps, truth).tolist() == [[[False, True, True, False]]]


def test_where_nothing_is_true_half_of_the_pixels_are_taken():
    maps = as_map(5, 1, 4, 2, 3)
    assert adaptive_mask(maps, torch.zeros(1, 1, 5), operator=">=").tolist() == [[[True, False, True, False, False]]]


def test_where_all_is_true_the_least_pixel_is_the_threshold():
    maps = as_map(5, 1, 4)
    assert adaptive_mask(maps, torch.ones(1, 1, 3), operator=">=").all()
    assert adaptive_mask(maps, torch.ones(1, 1, 3)).tolist() == [[[True, False, True]]]


def test_one_true_pixel_is_lost_to_the_strict_comparison():
    maps, truth = as_map(5, 1, 4), as_map(0, 0, 1)
    assert not adaptive_mask(maps, truth).any()
    assert adaptive_mask(maps, truth, operator=">=").tolist() == [[[True, False, False]]]


def test_an_adaptive_mask_of_a_constant_or_nan_map():
    truth = as_map(1, 0, 0)
    assert adaptive_mask(as_map(2, 2, 2), truth, operator=">=").all()
    assert not adaptive_mask(as_map(2, 2, 2), truth).any()
    for operator in (">", ">="):
        assert not adaptive_mask(torch.full((1, 1, 3), math.nan), truth, operator=operator).any()
    ends = as_map(-math.inf, 0, math.inf)
    assert adaptive_mask(ends, truth, operator=">=").tolist() == [[[False, False, True]]]


def test_one_map_may_serve_all_samples():
    one, truth = torch.rand(1, 9, 9), (torch.rand(5, 9, 9) > torch.linspace(0.1, 0.9, 5)[:, None, None]).byte()
    expected = adaptive_mask(one.expand(5, -1, -1), truth)
    assert torch.equal(adaptive_mask(one, truth), expected)
    assert torch.equal(one > adaptive_threshold(sorted_pixels(one), truth)[:, None, None], expected)


@pytest.mark.parametrize(
    ("maps", "truth"), [((2, 4, 4), (2, 4, 5)), ((2, 4, 4), (3, 4, 4)), ((4, 4), (4, 4)), ((2, 4, 4), (2, 16))]
)
def test_a_truth_that_does_not_fit_is_refused(maps, truth):
    with pytest.raises(ValueError, match=r"both be \[B, h, w\], or one map for all, got"):
        adaptive_mask(torch.zeros(maps), torch.zeros(truth))


@pytest.mark.parametrize(("pixels", "truth"), [((2, 16), (2, 4, 5)), ((2, 16), (3, 4, 4))])
def test_sorted_maps_of_another_size_are_refused(pixels, truth):
    with pytest.raises(ValueError, match=r"expected sorted maps \[B, N\] and a truth .* got"):
        adaptive_threshold(torch.zeros(pixels), torch.zeros(truth))
    with pytest.raises(ValueError, match=r"below must be in \[0, 1\), got 1"):
        rank_threshold(torch.zeros(pixels), 1)


@given(
    array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(
        lambda shape: st.tuples(
            arrays(np.float32, shape, elements=st.sampled_from([-1.0, 0.0, 0.25, 0.3, 2.0, np.nan, np.inf])),
            arrays(np.float64, shape, elements=st.sampled_from([0.0, 0.5, 1.0])),
        )
    ),
    st.sampled_from([0.0, 0.25, 0.5, 0.99]),
)
@settings(max_examples=50, deadline=None)
def test_masks_and_thresholds_agree_with_numpy_s_sort(pair, below):
    heat, truth = pair
    order = np.sort(heat, axis=None)
    count = int((truth != 0).sum()) or max(heat.size // 2, 1)
    fixed, adaptive = order[int(below * heat.size)], order[heat.size - count]
    maps, weights = torch.from_numpy(heat)[None], torch.from_numpy(truth)[None]
    assert rank_mask(maps, below)[0].tolist() == (heat >= fixed).tolist()
    assert adaptive_mask(maps, weights)[0].tolist() == (heat > adaptive).tolist()
    assert adaptive_mask(maps, weights, operator=">=")[0].tolist() == (heat >= adaptive).tolist()
    ascending = sorted_pixels(maps)
    np.testing.assert_array_equal(rank_threshold(ascending, below).numpy(), [fixed])
    np.testing.assert_array_equal(adaptive_threshold(ascending, weights).numpy(), [adaptive])


def test_each_sample_is_a_function_of_its_own_map_and_truth_alone():
    maps, truth = torch.randn(6, 8, 8), torch.randint(0, 3, (6, 8, 8)) / 2
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    found = adaptive_mask(maps, truth)
    assert torch.equal(found[order], adaptive_mask(maps[order], truth[order]))
    assert torch.equal(found[2:3], adaptive_mask(maps[2:3], truth[2:3]))
    assert torch.equal(found, adaptive_mask(3 * maps - 7, truth)), "the order of the pixels is all that matters"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_the_accelerator_adapts_alike():
    maps, truth = torch.randint(0, 900, (8, 224, 224)).float(), torch.randint(0, 2, (8, 224, 224))
    maps[3, 5, 5], truth[4] = math.nan, 0
    found = adaptive_mask(maps.cuda(), truth.cuda())
    assert torch.equal(found.cpu(), adaptive_mask(maps, truth))
    threshold = adaptive_threshold(sorted_pixels(maps.cuda()), truth.cuda())
    assert torch.equal(maps.cuda() > threshold[:, None, None], found)


def test_adaptive_thresholds_agree_with_the_worked_examples(examples):
    for case in examples("threshold", "adaptive_gt"):
        maps = torch.tensor([case["inputs"]["map"]], dtype=torch.float64)
        truth = torch.tensor([case["inputs"]["gt"]], dtype=torch.float64)
        found = adaptive_mask(maps, truth)[0]
        assert found.double().tolist() == case["expected"]["mask"], case["id"]
        assert found.sum() == case["expected"]["count"], case["id"]
        threshold = adaptive_threshold(sorted_pixels(maps), truth).item()
        assert threshold == pytest.approx(case["expected"]["thr"], abs=0, nan_ok=True), case["id"]


def adapted(case, operator, size=None) -> tuple[float, float]:
    """The threshold on the normalised map and the overlap; with a size, of the blocks that replicate each pixel."""
    maps, truth = (torch.tensor([case["inputs"][key]], dtype=torch.float64) for key in ("map", "gt"))
    if size:
        blocks = [size // side for side in maps.shape[1:]]
        maps, truth = (m.repeat_interleave(blocks[0], 1).repeat_interleave(blocks[1], 2) for m in (maps, truth))
    maps = minmax_double_negation(maps)
    found = consensus_iou(adaptive_mask(maps, truth, operator=operator), truth).item()
    return adaptive_threshold(sorted_pixels(maps), truth).item(), found


def test_adaptive_overlaps_agree_with_the_worked_examples(examples):
    for case in examples("ciou_adap", "gt_area_threshold_strict"):
        expected = case["expected"]
        found = adapted(case, ">")
        assert found == pytest.approx((expected["thr"], expected["ciou"]), abs=1e-12, nan_ok=True), case["id"]
        replica = adapted(case, ">", 224)[1]
        assert replica == pytest.approx(expected["ciou_on_224_replica"], abs=1e-12, nan_ok=True), case["id"]


def test_corrected_adaptive_overlaps_agree_with_the_worked_examples(examples):
    for case in examples("ciou_adap", "gt_area_threshold_ge"):
        found = adapted(case, ">=")[1]
        assert found == pytest.approx(case["expected"]["ciou"], abs=1e-12, nan_ok=True), case["id"]


@pytest.fixture(scope="module")
def official(shared):
    """Native maps, truth and Alignment's official runs on them."""
    folder = shared / "goldens" / "goldens"
    inputs = json.loads((folder / "eval_inputs.json").read_text(encoding="utf-8"))
    truth = {
        "vggss": torch.stack([union_map(sample["bbox"]) for sample in inputs["vggss"]]),
        "flickr": torch.stack([consensus_map(sample["boxes256"]) for sample in inputs["flickr"]]),
        "is3": torch.stack([union_map([[(int(v) + 0.5) / 224 for v in s["box224"]]]) for s in inputs["is3"]]),
    }
    with np.load(folder / "eval_inputs.npz") as maps, np.load(folder / "evaluators.npz") as runs:
        stored = {name: torch.from_numpy(file[name]) for file in (maps, runs) for name in file.files}
    summaries = json.loads((folder / "evaluators.json").read_text(encoding="utf-8"))["evaluators"]
    return truth, stored, {name: run["summary"] for name, run in summaries.items()}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("style", ["ours", "ezvsl_style"])
@pytest.mark.parametrize("group", ["vggss", "flickr", "is3"])
def test_adaptive_overlaps_agree_with_the_official_evaluator(official, group, style, fused):
    truth, stored, summaries = official
    run = f"alignment_{style}_{group}_av{'_obj' * fused}"
    native = stored[f"{group}_lvs14" if style == "ours" else f"{group}_av7"]
    aligned = style != "ours" or group != "vggss"
    normalise = minmax_double_negation if style == "ours" else minmax_guarded
    canvas = normalise(upsample(native, "bilinear", align_corners=aligned))
    if fused:
        prior = normalise(upsample(stored[f"{group}_obj7"], "bilinear", align_corners=aligned))
        canvas = normalise(0.4 * canvas + 0.6 * prior)
    found = consensus_iou(adaptive_mask(canvas, truth[group]), truth[group])
    noise = native.amax(dim=(1, 2)) == native.amin(dim=(1, 2))  # processors round constant maps differently
    apart = (found - stored[f"{run}/ciou_adap"])[~noise].abs()
    assert apart.max() <= 2e-4
    assert (apart <= 1e-12).double().mean() >= 0.95
    step = 1 / len(found) + 1e-12
    assert success_rate(found).item() == pytest.approx(summaries[run]["cIoU_adap"], abs=step)
    assert area_under_success(found).item() == pytest.approx(summaries[run]["AUC_adap"], abs=0.05 * step)
