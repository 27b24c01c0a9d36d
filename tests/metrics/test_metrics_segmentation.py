"""AVSBench's mIoU and F-score: by hand, by 255 comparisons, and against the official evaluators."""

import importlib.util
import json
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.metrics.masks import absolute_mask
from avbench.metrics.segmentation import (
    f_curves,
    f_score_batches,
    f_score_dataset,
    f_score_image,
    mask_iou,
    miou,
)


def frame(*values) -> torch.Tensor:
    return torch.tensor([[list(values)]], dtype=torch.float64)


def has_truth(truth) -> torch.Tensor:
    return (truth > 0).flatten(1).any(dim=1)


def compared(maps, truth) -> np.ndarray:
    """F at each threshold by comparing all pixels with it."""
    weight, curves = truth.double().numpy(), []
    for t in [np.float32(k / 254) for k in range(255)]:
        on = maps.numpy() >= t
        hit = (on * weight).sum(axis=(1, 2))
        precision, recall = hit / (on.sum(axis=(1, 2)) + 1e-20), hit / (weight.sum(axis=(1, 2)) + 1e-20)
        with np.errstate(invalid="ignore"):
            curves.append(1.3 * precision * recall / (0.3 * precision + recall))
    return np.nan_to_num(np.stack(curves, axis=1), nan=0.0)


def test_iou_of_an_image():
    truth = frame(1, 1, 0, 0)
    assert mask_iou(frame(1, 0, 1, 0), truth).item() == pytest.approx(1 / (3 + 1e-7), abs=1e-15)
    assert mask_iou(frame(1, 1, 0, 0), truth).item() == pytest.approx(2 / (2 + 1e-7), abs=1e-15)
    assert mask_iou(frame(0, 0, 0, 0), truth).item() == 0
    assert mask_iou(frame(1, 1, 0, 0) > 0, truth > 0).item() == pytest.approx(1, abs=1e-7)


def test_iou_on_an_empty_truth_is_the_share_left_empty():
    empty = frame(0, 0, 0, 0)
    assert mask_iou(empty, empty).item() == pytest.approx(4 / (4 + 1e-7), abs=1e-15)
    assert mask_iou(frame(1, 0, 0, 0), empty).item() == pytest.approx(3 / (4 + 1e-7), abs=1e-15)
    assert mask_iou(frame(1, 1, 1, 1), empty).item() == 0


def test_a_palette_mask_scores_by_its_weight_unless_it_is_made_binary():
    palette = frame(1 / 255, 0, 0, 0)
    assert mask_iou(frame(1, 0, 0, 0), palette).item() == pytest.approx(1 / 255, abs=1e-9)
    assert mask_iou(frame(1, 0, 0, 0), palette > 0).item() == pytest.approx(1, abs=1e-6)


def test_official_mean_iou_favours_a_small_last_batch():
    values = torch.tensor([0.0, 0.3, 0.9])
    assert miou(values).item() == pytest.approx(0.4, abs=1e-7)
    assert miou(values, batches=[2, 1]).item() == pytest.approx((0.15 + 0.9) / 2, abs=1e-7)
    assert miou(values, batches=[1, 1, 1]).item() == pytest.approx(0.4, abs=1e-7)
    assert math.isnan(miou(values[:0]).item())
    assert math.isnan(miou(values[:0], batches=[]).item())


@pytest.mark.parametrize("batches", [[2, 2], [2], [3, 0], [4, -1], []])
def test_batches_must_cover_the_images(batches):
    with pytest.raises(ValueError, match="sizes of 1 or more with a sum of 3"):
        miou(torch.zeros(3), batches=batches)
    with pytest.raises(ValueError, match="sizes of 1 or more with a sum of 3"):
        f_score_batches(torch.zeros(3, 255), torch.ones(3, dtype=torch.bool), batches)


def test_f_of_one_image_by_hand():
    curve = f_curves(frame(0.5, 1, 0, 0.25), frame(1, 0, 0, 0))[0]
    # k/254: at 0 all four pixels, up to 0.25 three, up to 0.5 two, then one wrong pixel
    f = {count: 1.3 / count / (0.3 / count + 1) for count in (2, 3, 4)}
    expected = [f[4]] + [f[3]] * 63 + [f[2]] * 64 + [0] * 127
    assert curve.tolist() == pytest.approx(expected, abs=1e-15)
    assert f_score_image(curve[None], torch.tensor([True])).item() == pytest.approx(f[2], abs=1e-15)


def test_the_last_threshold_is_one_and_the_first_zero():
    curves = f_curves(torch.cat([frame(1, 0), frame(1 - 1e-9, 0), frame(-1e-9, -1)]), frame(1, 1).expand(3, 1, 2))
    assert curves[:, 254].gt(0).tolist() == [True, False, False]
    assert curves[:, 0].gt(0).tolist() == [True, True, False]


def test_dataset_takes_one_threshold_and_an_image_its_own():
    maps, truth = torch.cat([frame(0.9, 0.5), frame(0.4, 0.1)]), frame(1, 0).expand(2, 1, 2)
    curves, rows = f_curves(maps, truth), torch.tensor([True, True])
    both = 1.3 * 0.5 / (0.3 * 0.5 + 1)
    assert f_score_image(curves, rows).tolist() == pytest.approx([1, 1], abs=1e-12)
    assert f_score_dataset(curves, rows).item() == pytest.approx((1 + both) / 2, abs=1e-12)
    assert f_score_batches(curves, rows, [1, 1]).item() == pytest.approx(1, abs=1e-12)
    assert f_score_batches(curves, rows, [2]).item() == pytest.approx((1 + both) / 2, abs=1e-12)


def test_images_without_truth_are_passed_over_but_a_batch_of_them_counts_zero():
    truth = torch.cat([frame(1, 0), frame(0, 0), frame(0, 0)])
    curves, rows = f_curves(frame(1, 0).expand(3, 1, 2), truth), has_truth(truth)
    assert f_score_image(curves, rows).tolist() == pytest.approx([1, math.nan, math.nan], nan_ok=True)
    assert f_score_dataset(curves, rows).item() == pytest.approx(1)
    assert f_score_batches(curves, rows, [2, 1]).item() == pytest.approx(0.5)
    assert f_score_batches(curves, rows, [3]).item() == pytest.approx(1)
    assert math.isnan(f_score_dataset(curves[1:], rows[1:]).item())
    assert f_score_batches(curves[1:], rows[1:], [2]).item() == 0
    assert math.isnan(f_score_batches(curves[:0], rows[:0], []).item())


def adversarial(dtype) -> torch.Tensor:
    """Random, constant, on the thresholds and next to them, beyond the range, not finite."""
    made = torch.Generator().manual_seed(3)
    steps = (torch.randint(0, 255, (4, 9, 31), generator=made).double() / 254).to(torch.float32).to(dtype)
    wild = torch.randn(2, 9, 31, generator=made, dtype=torch.float64).to(dtype)
    wild[0, 0, :3], wild[1] = torch.tensor([math.nan, math.inf, -math.inf], dtype=dtype), 0.5
    near = [torch.nextafter(steps[k], torch.full_like(steps[k], goal))[None] for k, goal in ((2, -1.0), (3, 2.0))]
    return torch.cat([steps[:2], *near, wild, torch.rand(3, 9, 31, generator=made, dtype=dtype)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [2, 3])
def test_curves_equal_those_of_255_comparisons(dtype, levels):
    maps = adversarial(dtype)
    truth = torch.randint(0, levels, maps.shape) / (levels - 1)
    truth[7] = 0
    assert np.array_equal(f_curves(maps, truth).numpy(), compared(maps, truth))


def test_other_types_are_compared_in_float32():
    maps, truth = torch.rand(2, 5, 5).half(), torch.rand(2, 5, 5) > 0.5
    assert torch.equal(f_curves(maps, truth), f_curves(maps.float(), truth))
    assert f_curves(maps[:0], truth[:0]).shape == (0, 255)


@pytest.mark.parametrize("measure", [mask_iou, f_curves])
def test_shapes_must_agree(measure):
    with pytest.raises(ValueError, match=r"must both be \[B, H, W\], got \[2, 3, 3\] and \[2, 3, 4\]"):
        measure(torch.zeros(2, 3, 3), torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=r"must both be \[B, H, W\]"):
        measure(torch.zeros(3, 3), torch.zeros(3, 3))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_smaller_batches_never_lower_the_f_score(seed, groups, each, coarse):
    made = torch.Generator().manual_seed(seed)
    maps = torch.rand(groups * each, 4, 4, generator=made)
    maps = (maps * 3).round() / 3 if coarse else maps
    truth = torch.rand(maps.shape, generator=made) > 0.5
    truth[:, 0, 0] = True
    curves, rows = f_curves(maps, truth), has_truth(truth)
    whole, batches = f_score_dataset(curves, rows), f_score_batches(curves, rows, [each] * groups)
    assert 0 <= whole <= batches + 1e-12 <= f_score_image(curves, rows).mean() + 2e-12 <= 1 + 3e-12
    assert torch.equal(f_curves(maps.flip(0), truth.flip(0)), curves.flip(0))
    assert f_score_dataset(f_curves(truth.float(), truth), rows).item() == pytest.approx(1, abs=1e-12)


def frames_of(case, *keys) -> list[torch.Tensor]:
    return [torch.tensor(case["inputs"][key], dtype=torch.float64) for key in keys]


@pytest.mark.parametrize(("variant", "key"), [("heatmap_gt_thr", "heatmap"), ("logits_sigmoid_gt_0.5", "logits")])
def test_iou_agrees_with_the_worked_examples(examples, variant, key):
    for case in examples("avs_miou", variant):
        maps, truth = frames_of(case, key, "gt")
        maps = maps.sigmoid() if key == "logits" else maps
        found = mask_iou(absolute_mask(maps, case["inputs"].get("thr", 0.5), operator=">"), truth)
        assert found.tolist() == pytest.approx(case["expected"]["iou_per_frame"], abs=1e-12), case["id"]
        assert miou(found).item() == pytest.approx(case["expected"]["miou"], abs=1e-12), case["id"]


def test_f_score_agrees_with_the_worked_examples(examples):
    for case in examples("avs_fscore", "dataset_level_max"):
        maps, truth = frames_of(case, "heatmaps", "gt")
        found = f_score_dataset(f_curves(maps, truth), has_truth(truth))
        assert found.item() == pytest.approx(case["expected"]["fscore"], abs=1e-12, nan_ok=True), case["id"]
        assert has_truth(truth).sum() == case["expected"]["n_used"], case["id"]
    for case in examples("avs_fscore", "avsbench_single_batch_logits"):
        maps, truth = frames_of(case, "logits", "gt")
        found = f_score_batches(f_curves(maps.sigmoid(), truth), has_truth(truth), [len(maps)])
        assert found.item() == pytest.approx(case["expected"]["fscore"], abs=1e-12), case["id"]


def test_batches_agree_with_the_worked_examples(examples):
    for case in examples("avs_fscore", "batch_dependence"):
        maps, truth = frames_of(case, "batches_heatmaps", "batches_gt")
        sizes, maps, truth = [maps.shape[1]] * len(maps), maps.flatten(0, 1), truth.flatten(0, 1)
        curves, rows = f_curves(maps, truth), has_truth(truth)
        found = {
            "mean_of_batch_max": f_score_batches(curves, rows, sizes).item(),
            "dataset_level_max": f_score_dataset(curves, rows).item(),
        }
        assert found == pytest.approx(case["expected"], abs=1e-12), case["id"]


@pytest.fixture(scope="module")
def official(shared):
    """AVSBench's logits and masks, and the official runs on them."""
    folder, tools = shared / "goldens" / "goldens", shared / "goldens" / "tools"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        spec = importlib.util.spec_from_file_location("golden_eval_inputs", tools / "make_eval_inputs.py")
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
    rule = json.loads((folder / "eval_inputs.json").read_text(encoding="utf-8"))["masks"]
    truth = torch.from_numpy(made.masks(rule))
    runs = json.loads((folder / "evaluators.json").read_text(encoding="utf-8"))["evaluators"]
    with np.load(folder / "eval_inputs.npz") as maps, np.load(folder / "evaluators.npz") as values:
        logits = torch.from_numpy(maps["avs_logits28"])
        arrays = {key: values[key] for key in values.files if key.startswith("avsbench")}
    return logits.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2).sigmoid(), truth, arrays, runs


def test_agrees_with_the_official_evaluator(official):
    maps, truth, arrays, runs = official
    overlap = mask_iou(maps > 0.5, truth)
    assert overlap.tolist() == pytest.approx(arrays["avsbench_per_frame_iou/iou"], abs=1e-6)
    assert miou(overlap).item() == pytest.approx(runs["avsbench_per_frame_iou"]["summary"]["mean"], abs=1e-7)
    curves, rows = f_curves(maps, truth), has_truth(truth)
    for run, size in (("avsbench_s4_batch1", 5), ("avsbench_s4_batch4", 20)):
        batches, summary = [size] * (len(maps) // size), runs[run]["summary"]
        assert miou(overlap, batches=batches).item() == pytest.approx(summary["mIoU"], abs=1e-7)
        assert f_score_batches(curves, rows, batches).item() == pytest.approx(summary["F_score"], abs=1e-6)
        each = [
            f_score_batches(*pair, [size]).item() for pair in zip(curves.split(size), rows.split(size), strict=True)
        ]
        assert each == pytest.approx(arrays[f"{run}/f_score"], abs=1e-6)
