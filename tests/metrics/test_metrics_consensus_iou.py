import math

import pytest
import torch

from avbench.metrics.consensus_iou import consensus_iou


def one(mask: list[list[int]], truth: list[list[float]]) -> float:
    return consensus_iou(torch.tensor([mask]).bool(), torch.tensor([truth], dtype=torch.float64)).item()


def test_binary_truth_gives_intersection_over_union():
    assert one([[1, 1], [0, 0]], [[1, 0], [1, 0]]) == 1 / 3


def test_weights_count_in_the_overlap_and_false_pixels_count_one():
    assert one([[1, 0], [1, 0]], [[0.5, 1.0], [0.0, 0.0]]) == 0.5 / (1.5 + 1)


def test_the_support_of_the_truth_scores_one_whatever_the_weights():
    assert one([[1, 1], [0, 0]], [[0.5, 1.0], [0.0, 0.0]]) == 1


def test_empty_truth_scores_zero_and_nothing_at_all_scores_nan():
    assert one([[1, 0]], [[0.0, 0.0]]) == 0
    assert math.isnan(one([[0, 0]], [[0.0, 0.0]]))


def test_an_empty_mask_scores_zero():
    assert one([[0, 0]], [[1.0, 0.5]]) == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float32])
def test_truth_of_any_type_gives_the_same_float64(dtype):
    masks, truth = torch.rand(5, 9, 9) > 0.5, torch.rand(5, 9, 9) > 0.7
    found = consensus_iou(masks, truth.to(dtype))
    assert found.dtype == torch.float64
    assert torch.equal(found, consensus_iou(masks, truth.double()))


def test_identity_scores_one_and_the_order_of_samples_does_not_matter():
    masks, truth = torch.rand(6, 8, 8) > 0.5, torch.rand(6, 8, 8).double().round(decimals=1)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    assert (consensus_iou(truth > 0, truth) == 1).all()
    assert torch.equal(consensus_iou(masks, truth)[order], consensus_iou(masks[order], truth[order]))


@pytest.mark.parametrize(("masks", "truth"), [((2, 4, 4), (2, 4, 5)), ((4, 4), (4, 4)), ((1, 4, 4), (2, 4, 4))])
def test_shapes_that_differ_are_refused(masks, truth):
    with pytest.raises(ValueError, match=r"both be \[B, H, W\], got"):
        consensus_iou(torch.zeros(masks), torch.zeros(truth))


def test_agrees_with_a_loop(loops):
    made = torch.Generator().manual_seed(5)
    masks = torch.rand(80, 4, 6, generator=made) > 0.6
    truth = torch.randint(0, 3, (80, 4, 6), generator=made).double() / 2
    truth[::9], masks[::6] = 0, False
    found = consensus_iou(masks, truth)
    expected = [loops.ciou(m, g) for m, g in zip(masks.tolist(), truth.tolist(), strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-15, nan_ok=True)
    assert found.isnan().any()
    assert ((found >= 0) & (found <= 1) | found.isnan()).all()


def test_agrees_with_the_worked_examples(examples):
    for case in examples("ciou", "official"):
        found = one(case["inputs"]["mask"], case["inputs"]["gt"])
        assert found == pytest.approx(case["expected"]["ciou"], abs=1e-12, nan_ok=True), case["id"]
