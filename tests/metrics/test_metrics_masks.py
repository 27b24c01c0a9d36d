import math

import pytest
import torch

from avbench.metrics.masks import absolute_mask, rank_mask


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
        found = rank_mask(torch.tensor([case["inputs"]["map"]], dtype=torch.float64), operator=operator)[0]
        assert found.double().tolist() == case["expected"]["mask"], case["id"]


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
