import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.metrics.consensus_iou import consensus_iou


def one(mask: list[list[int]], truth: list[list[float]], **options) -> float:
    return consensus_iou(torch.tensor([mask]).bool(), torch.tensor([truth], dtype=torch.float64), **options).item()


def in_float64(masks: np.ndarray, truth: np.ndarray, rule: str = "official") -> list[float]:
    """The formula as it stands, one sample at a time."""
    found = []
    for mask, weight in zip(masks, truth.astype(np.float64), strict=True):
        false = float((mask & (weight == 0)).sum())
        overlap = float((mask * weight).sum())
        numerator = float((mask & (weight > 0)).sum()) if rule == "dsol_boolean_numerator" else overlap
        area = overlap if rule == "slavc_supplement_eq1_as_printed" else float(weight.sum())
        found.append(numerator / (area + false) if area + false else math.nan)
    return found


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


def test_dsol_counts_the_pixels_of_the_overlap():
    assert one([[1, 1]], [[0.5, 0.5]], rule="dsol_boolean_numerator") == 2
    assert one([[1, 0], [1, 0]], [[0.5, 1.0], [0.0, 0.0]], rule="dsol_boolean_numerator") == 1 / (1.5 + 1)


def test_slavc_s_equation_as_printed_does_not_ask_for_the_truth_that_is_missed():
    assert one([[1, 1], [0, 0]], [[1, 0], [1, 0]], rule="slavc_supplement_eq1_as_printed") == 0.5
    assert math.isnan(one([[0, 0]], [[1.0, 0.5]], rule="slavc_supplement_eq1_as_printed"))


def test_an_epsilon_turns_nothing_at_all_into_zero():
    assert one([[0, 0]], [[0.0, 0.0]], epsilon=1e-12) == 0
    assert one([[1, 1]], [[1.0, 0.0]], epsilon=0.5) == 1 / 2.5


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match=r"the rules of cIoU are official, dsol_boolean_numerator, .* got 'dsol'"):
        one([[1]], [[1]], rule="dsol")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float16, torch.bfloat16, torch.float32])
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


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
@pytest.mark.parametrize("rule", ["official", "dsol_boolean_numerator", "slavc_supplement_eq1_as_printed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_counting_weights_gives_what_summing_them_in_float64_gives(dtype, rule, steps):
    made = torch.Generator().manual_seed(steps)
    masks = torch.rand(9, 31, 17, generator=made) > 0.5
    truth = torch.randint(0, steps + 1, (9, 31, 17), generator=made).to(dtype) / steps
    truth[2], masks[3], truth[4], masks[4] = 0, False, 0, False
    found, expected = consensus_iou(masks, truth, rule=rule), in_float64(masks.numpy(), truth.numpy(), rule)
    if steps <= 2:
        assert torch.equal(found.nan_to_num(-1), torch.tensor(expected, dtype=torch.float64).nan_to_num(-1))
    assert found.tolist() == pytest.approx(expected, rel=1e-14, nan_ok=True)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.5, 1.0, 0.25])), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_any_sample_agrees_with_the_formula_alone_and_beside_others(pixels):
    masks = torch.tensor([[[on for on, _ in pixels]]])
    truth = torch.tensor([[[weight for _, weight in pixels]]])
    found = consensus_iou(masks, truth)
    assert found.tolist() == pytest.approx(in_float64(masks.numpy(), truth.numpy()), rel=1e-14, nan_ok=True)
    beside = consensus_iou(torch.cat([masks, masks]), torch.cat([torch.full_like(truth, 0.3), truth]))[1:]
    assert torch.equal(beside.nan_to_num(-1), found.nan_to_num(-1))
    assert found.isnan().all() or 0 <= found <= 1


def test_weights_beyond_one_are_summed():
    assert one([[1, 1]], [[2.0, 1.0]]) == 1
    assert one([[1, 0]], [[2.0, 1.0]]) == 2 / 3


def test_no_samples_give_no_values():
    assert consensus_iou(torch.zeros(0, 4, 4).bool(), torch.zeros(0, 4, 4)).shape == (0,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_the_accelerator_gives_the_same_values():
    masks, truth = torch.rand(6, 50, 50) > 0.5, torch.randint(0, 3, (6, 50, 50)) / 2
    assert torch.equal(consensus_iou(masks.cuda(), truth.cuda()).cpu(), consensus_iou(masks, truth))


VARIANTS = {
    "official": {},
    "dsol_boolean_numerator": {"rule": "dsol_boolean_numerator"},
    "slavc_supplement_eq1_as_printed": {"rule": "slavc_supplement_eq1_as_printed"},
    "eps_1e-12_denominator": {"epsilon": 1e-12},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_agrees_with_the_worked_examples(examples, variant):
    for case in examples("ciou", variant):
        found = one(case["inputs"]["mask"], case["inputs"]["gt"], **VARIANTS[variant])
        assert found == pytest.approx(case["expected"]["ciou"], abs=1e-12, nan_ok=True), case["id"]
