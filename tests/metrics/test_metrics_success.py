import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.metrics.success import (
    area_under_success,
    exact_area_under_success,
    mean_ciou,
    nan_count,
    success_curve,
    success_rate,
)

OVERLAPS = st.lists(st.one_of(st.floats(0, 1), st.integers(0, 20).map(lambda k: k / 20)), min_size=1, max_size=30)


def values(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_exactly_one_half_is_a_success():
    assert success_rate(values(0.49, 0.5, 0.51, 0.0)) == 0.5
    assert success_rate(values(0.29, 0.3), at=0.3) == 0.5


def test_a_strict_success_fails_at_exactly_the_threshold():
    assert success_rate(values(0.49, 0.5, 0.51, math.nan), operator=">") == 0.25
    assert success_rate(values(0.3, 0.31), at=0.3, operator=">") == 0.5


def test_nan_fails_every_threshold_and_makes_the_mean_nan():
    ciou = values(math.nan, 1.0)
    assert success_rate(ciou) == 0.5
    assert success_curve(ciou)[1].tolist() == [0.5] * 21
    assert mean_ciou(ciou).isnan()
    assert nan_count(ciou) == 1


def test_the_mean_of_values_is_their_mean():
    assert mean_ciou(values(0.25, 0.75, 0.5)) == 0.5
    assert nan_count(values(0.25)) == 0


def test_on_request_a_sample_without_a_value_counts_as_zero_in_the_mean():
    assert mean_ciou(values(math.nan, 1.0, 0.5), nan_as_zero=True) == 0.5
    assert mean_ciou(values(0.25, 0.75), nan_as_zero=True) == 0.5


def test_thresholds_are_products():
    thresholds, _ = success_curve(values(0.5))
    assert thresholds.tolist() == [0.05 * k for k in range(21)]
    assert [k for k in range(21) if thresholds[k] != k / 20] == [3, 6, 7, 12, 14, 17, 19]


def test_a_value_equal_to_a_decimal_can_fail_its_own_threshold():
    assert area_under_success(values(0.3)).item() == pytest.approx(0.275, abs=1e-15)
    assert area_under_success(values(0.25)).item() == pytest.approx(0.275, abs=1e-15)


@pytest.mark.parametrize(("ciou", "expected"), [(0.0, 0.025), (0.5, 0.525), (1.0, 1.0)])
def test_area_by_hand(ciou, expected):
    assert area_under_success(values(ciou)).item() == pytest.approx(expected, abs=1e-15)


def test_exact_thresholds_let_a_decimal_pass_its_own():
    thresholds, rates = success_curve(values(0.3), exact_thresholds=True)
    assert thresholds.tolist() == [k / 20 for k in range(21)]
    assert rates.tolist() == [1.0] * 7 + [0.0] * 14
    assert area_under_success(values(0.3), exact_thresholds=True).item() == pytest.approx(0.325, abs=1e-15)


def test_the_exact_area_by_hand():
    assert exact_area_under_success(values(0.0)) == 0
    assert exact_area_under_success(values(0.3, 1.0)) == 0.65
    assert exact_area_under_success(values(math.nan, 1.0)) == 0.5
    assert exact_area_under_success(values(1.5, 0.0, -1.0, 0.5)) == 0.375, "no threshold lies beyond 0 and 1"


@given(OVERLAPS)
@settings(max_examples=40, deadline=None)
def test_the_exact_area_is_that_of_the_steps_between_the_values(overlaps):
    ends = sorted({0.0, *overlaps})
    shares = [sum(v >= end for v in overlaps) / len(overlaps) for end in ends[1:]]
    expected = sum((end - start) * share for start, end, share in zip(ends, ends[1:], shares, strict=False))
    found = exact_area_under_success(values(*overlaps)).item()
    assert found == pytest.approx(expected, abs=1e-12)
    assert abs(area_under_success(values(*overlaps)).item() - found) <= 0.025 + 1e-12


@given(OVERLAPS, st.floats(0, 1), st.floats(0, 0.5))
@settings(max_examples=40, deadline=None)
def test_better_values_and_looser_rules_never_lower_a_number(overlaps, at, more):
    ciou = values(*overlaps)
    better = (ciou + more).clamp(max=1)
    assert success_rate(ciou, at) >= success_rate(ciou, at, operator=">")
    for aggregate in (success_rate, area_under_success, exact_area_under_success):
        assert aggregate(better) >= aggregate(ciou)
    assert area_under_success(ciou, exact_thresholds=True) >= area_under_success(ciou) - 1e-12
    assert 0.025 - 1e-15 <= area_under_success(ciou) <= 1


def test_no_samples_give_nan():
    for aggregate in (success_rate, mean_ciou, area_under_success, exact_area_under_success):
        assert aggregate(values()).isnan()


def test_aggregates_do_not_depend_on_the_order():
    ciou = torch.rand(50, dtype=torch.float64)
    assert success_rate(ciou) == success_rate(ciou.flip(0))
    assert area_under_success(ciou) == area_under_success(ciou.flip(0))


def test_area_agrees_with_a_loop(loops):
    made = torch.Generator().manual_seed(7)
    for count in (1, 2, 30):
        ciou = torch.randint(0, 21, (count,), generator=made).double() * 0.05
        ciou[::5] = 0.15
        ciou[2::11] = math.nan
        assert area_under_success(ciou).item() == pytest.approx(loops.area(ciou.tolist()), abs=1e-14)


def test_success_rate_agrees_with_the_worked_examples(examples):
    for case in examples("locacc", "ge"):
        found = success_rate(values(*case["inputs"]["ciou"]), at=case["inputs"]["gamma"])
        assert found.item() == pytest.approx(case["expected"]["locacc"], abs=1e-12), case["id"]


def test_mean_agrees_with_the_worked_examples(examples):
    for case in examples("mean_ciou", "mean"):
        found = mean_ciou(values(*case["inputs"]["ciou"])).item()
        assert found == pytest.approx(case["expected"]["mean"], abs=1e-12, nan_ok=True), case["id"]


def test_area_agrees_with_the_worked_examples(examples):
    for case in examples("auc", "success_21"):
        ciou = values(*case["inputs"]["ciou"])
        assert success_curve(ciou)[1].tolist() == pytest.approx(case["expected"]["success"], abs=1e-12), case["id"]
        assert area_under_success(ciou).item() == pytest.approx(case["expected"]["auc"], abs=1e-12), case["id"]


def test_strict_success_agrees_with_the_worked_examples(examples):
    for case in examples("locacc", "gt"):
        found = success_rate(values(*case["inputs"]["ciou"]), at=case["inputs"]["gamma"], operator=">")
        assert found.item() == pytest.approx(case["expected"]["locacc"], abs=1e-12), case["id"]


def test_rates_of_the_visible_samples_agree_with_the_worked_examples(examples):
    for case in examples("locacc", "visible_only_gt"):
        visible = values(*case["inputs"]["ciou"])[torch.tensor(case["inputs"]["n_boxes"]) > 0]
        found = success_rate(visible, operator=">").item()
        assert found == pytest.approx(case["expected"]["locacc"], abs=1e-12, nan_ok=True), case["id"]
    for case in examples("auc", "visible_only"):
        visible = values(*case["inputs"]["ciou"])[torch.tensor(case["inputs"]["n_boxes"]) > 0]
        found = area_under_success(visible).item()
        assert found == pytest.approx(case["expected"]["auc"], abs=1e-12, nan_ok=True), case["id"]


def test_area_over_exact_thresholds_agrees_with_the_worked_examples(examples):
    for case in examples("auc", "success_21_exact_thresholds"):
        found = area_under_success(values(*case["inputs"]["ciou"]), exact_thresholds=True).item()
        assert found == pytest.approx(case["expected"]["auc"], abs=1e-12), case["id"]
