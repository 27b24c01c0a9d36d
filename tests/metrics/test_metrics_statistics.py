from itertools import product
from math import comb, isnan, nan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, false_discovery_control, permutation_test

from avbench.metrics.statistics import (
    detectable_mean_difference,
    detectable_rate_difference,
    holm,
    mcnemar_exact,
    sign_flip_test,
    wilson_interval,
)


def test_flickr_sized_example():
    low, high = wilson_interval(209, 250)
    assert (round(100 * low, 1), round(100 * high, 1)) == (78.5, 87.7)


@pytest.mark.parametrize("total", [1, 2, 20, 250, 5158])
def test_agrees_with_scipy(total):
    for successes in {0, 1, total // 3, total - 1, total}:
        expected = binomtest(successes, total).proportion_ci(0.95, method="wilson")
        assert wilson_interval(successes, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_ends_stay_within_zero_and_one():
    for total in range(1, 60):
        assert wilson_interval(0, total)[0] == pytest.approx(0, abs=1e-15)
        assert wilson_interval(0, total)[0] >= 0
        assert wilson_interval(total, total)[1] <= 1


@pytest.mark.parametrize(("successes", "total"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes, total):
    with pytest.raises(ValueError, match=f"got {successes} of {total}"):
        wilson_interval(successes, total)


def test_agrees_with_the_worked_examples(examples):
    for case in examples("stats", "wilson_95"):
        found = wilson_interval(case["inputs"]["successes"], case["inputs"]["n"])
        assert found == pytest.approx((case["expected"]["low"], case["expected"]["high"]), abs=1e-12), case["id"]


def test_mcnemar_by_hand():
    assert mcnemar_exact(0, 0) == 1
    assert mcnemar_exact(1, 0) == 1
    assert mcnemar_exact(0, 3) == 0.25
    assert mcnemar_exact(1, 4) == 2 * (1 + 5) / 32
    assert mcnemar_exact(2, 2) == 1


@pytest.mark.parametrize("pair", [(0, 6), (5, 1), (30, 12), (400, 470), (2500, 2400)])
def test_mcnemar_agrees_with_scipy(pair):
    assert mcnemar_exact(*pair) == pytest.approx(binomtest(pair[0], sum(pair)).pvalue, rel=1e-9)
    assert mcnemar_exact(*pair) == mcnemar_exact(*reversed(pair))


def test_mcnemar_of_thousands_is_no_overflow():
    assert mcnemar_exact(0, 5158) == 0
    assert mcnemar_exact(0, 1000) == 2.0**-999


def test_mcnemar_agrees_with_the_worked_examples(examples):
    for case in examples("stats", "mcnemar_exact"):
        found = mcnemar_exact(case["inputs"]["only_a_correct"], case["inputs"]["only_b_correct"])
        assert found == pytest.approx(case["expected"]["p"], abs=1e-12), case["id"]


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match="at least 0, got -1 and 3"):
        mcnemar_exact(-1, 3)


def flipped(differences):
    """All sign patterns, one at a time."""
    patterns = [sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in sign_patterns(differences)]
    return sum(abs(total) >= abs(sum(differences)) - 1e-12 for total in patterns) / len(patterns)


def sign_patterns(values):
    return list(product([1, -1], repeat=len(values)))


def test_flips_by_hand():
    assert sign_flip_test(torch.tensor([0.5, 0.4])) == 0.5
    assert sign_flip_test(torch.tensor([-0.4])) == 1
    assert sign_flip_test(torch.zeros(5)) == 1
    assert sign_flip_test(torch.zeros(50)) == 1
    assert sign_flip_test(torch.ones(10)) == 2 / 1024


@given(st.lists(st.sampled_from([-0.4, -0.3, -0.1, 0.0, 0.1, 0.2, 0.3]), min_size=1, max_size=9))
@settings(max_examples=50, deadline=None)
def test_flips_of_decimals_agree_with_a_loop(differences):
    assert sign_flip_test(torch.tensor(differences, dtype=torch.float64)) == flipped(differences)


def test_flips_agree_with_scipy():
    differences = torch.randn(12, dtype=torch.float64) + 0.4
    options = {"permutation_type": "samples", "n_resamples": np.inf, "alternative": "two-sided"}
    both = (differences.numpy(), np.zeros(12))
    expected = permutation_test(both, lambda a, b: np.mean(a - b), vectorized=False, **options)
    assert sign_flip_test(differences) == pytest.approx(expected.pvalue, abs=1e-12)


def test_flips_agree_with_the_worked_examples(examples):
    for case in examples("stats", "paired_sign_flip_exact"):
        differences = torch.tensor(case["inputs"]["differences"], dtype=torch.float64)
        assert float(differences.mean()) == pytest.approx(case["expected"]["mean"], abs=1e-12), case["id"]
        assert sign_flip_test(differences) == pytest.approx(case["expected"]["p"], abs=1e-12), case["id"]


def test_above_twenty_differences_the_patterns_are_sampled():
    signs = [1.0] * 14 + [-1.0] * 7
    exact = 2 * sum(comb(21, k) for k in range(8)) / 2**21
    found = sign_flip_test(torch.tensor(signs), flips=20_000)
    assert found == pytest.approx(exact, abs=0.01)
    assert (found * 20_001) == pytest.approx(round(found * 20_001), abs=1e-9)
    assert found == sign_flip_test(-torch.tensor(signs), flips=20_000)
    assert found != sign_flip_test(torch.tensor(signs), flips=20_000, seed=1)


def test_the_observed_pattern_counts_as_one_of_the_sampled():
    assert sign_flip_test(torch.ones(400), flips=99) == 0.01


@pytest.mark.parametrize("broken", [[], [0.1, nan], [[0.1]], [float("inf")]])
def test_differences_without_a_value_are_refused(broken):
    with pytest.raises(ValueError, match="expected one or more differences"):
        sign_flip_test(torch.tensor(broken))


def test_no_flips_are_refused():
    with pytest.raises(ValueError, match="flips must be 1 or more, got 0"):
        sign_flip_test(torch.ones(30), flips=0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-15)
    assert holm([0.4, 0.9]) == [0.8, 0.9]
    assert holm([0.7, 0.8]) == [1, 1]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.3, 1.0]), max_size=8))
@settings(max_examples=50, deadline=None)
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    found = holm(p_values)
    assert all(p <= adjusted <= 1 for p, adjusted in zip(p_values, found, strict=True))
    for level in (0.005, 0.05, 0.5):
        rejected, count = set(), len(p_values)
        for step, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
            if p_values[index] > level / (count - step):
                break
            rejected.add(index)
        assert {index for index in range(count) if found[index] <= level + 1e-15} == rejected


def test_holm_is_no_less_strict_than_false_discovery_control():
    p_values = torch.rand(20, dtype=torch.float64).pow(3).tolist()
    assert all(np.array(holm(p_values)) >= false_discovery_control(p_values) - 1e-15)


@pytest.mark.parametrize("wrong", [nan, -0.1, 1.1])
def test_holm_refuses_what_is_no_probability(wrong):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got"):
        holm([0.5, wrong])


@pytest.mark.parametrize(
    ("total", "discordance", "points"),
    [(400, 0.19, 6.1), (400, 0.5, 9.9), (400, 1, 14.0), (250, 0.2, 7.9), (5158, 0.2, 1.7)],
)
def test_detectable_rate_differences_in_points(total, discordance, points):
    assert round(100 * detectable_rate_difference(total, discordance=discordance), 1) == points


@pytest.mark.parametrize(("total", "discordance"), [(30, 0.6), (250, 0.3), (400, 0.19), (5158, 0.02)])
def test_connors_sample_size_at_the_detectable_difference_is_the_sample_size(total, discordance):
    difference = detectable_rate_difference(total, discordance=discordance)
    assert difference < discordance
    needed = 1.959963984540054 * discordance**0.5 + 0.8416212335729143 * (discordance - difference**2) ** 0.5
    assert (needed / difference) ** 2 == pytest.approx(total, rel=1e-9)


def test_mcnemars_test_finds_the_detectable_difference_four_times_in_five():
    total, discordance = 400, 0.3
    difference = detectable_rate_difference(total, discordance=discordance)
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    first, second, _ = np.random.default_rng(0).multinomial(total, shares, size=2000).T
    found = np.mean((first - second) ** 2 >= 1.959963984540054**2 * (first + second))
    assert found == pytest.approx(0.8, abs=0.03)


def test_no_difference_exceeds_the_discordance():
    for total in (5, 40, 400):
        floor = detectable_rate_difference(total, discordance=0)
        assert floor == pytest.approx(detectable_rate_difference(total, discordance=1) ** 2)
        assert detectable_rate_difference(total, discordance=floor) == pytest.approx(floor)
        assert detectable_rate_difference(total, discordance=floor / 2) == pytest.approx(floor)


def test_more_samples_and_less_discordance_show_smaller_differences():
    by_size = [detectable_rate_difference(total) for total in range(1, 300)]
    assert by_size == sorted(by_size, reverse=True)
    assert by_size[:3] == [1, 1, 1]
    by_share = [detectable_rate_difference(100, discordance=share / 50) for share in range(51)]
    assert by_share == sorted(by_share)


@pytest.mark.parametrize(("total", "discordance"), [(0, 0.5), (10, -0.1), (10, 1.1), (10, nan)])
def test_impossible_designs_are_refused(total, discordance):
    with pytest.raises(ValueError, match="expected total >= 1 and discordance"):
        detectable_rate_difference(total, discordance=discordance)


def test_detectable_mean_difference_by_hand():
    assert detectable_mean_difference(torch.tensor([1.0, -1.0])) == pytest.approx(2.8015852 * 2**0.5 / 2**0.5)
    assert detectable_mean_difference(torch.full((9,), 0.25)) == 0
    assert isnan(detectable_mean_difference(torch.tensor([1.0])))
    assert isnan(detectable_mean_difference(torch.tensor([1.0, nan, 2.0])))


def test_the_normal_test_finds_the_detectable_mean_four_times_in_five():
    noise = torch.randn(4000, 100, dtype=torch.float64)
    shift = detectable_mean_difference(torch.randn(100_000, dtype=torch.float64)) * 1000**0.5
    found = (noise.mean(dim=1) + shift).abs() * 10 >= 1.959963984540054
    assert float(found.double().mean()) == pytest.approx(0.8, abs=0.03)
