from itertools import combinations, permutations
from math import inf, isnan, nan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, rankdata

from avbench.metrics.ranking import indistinct_pairs, kendall_tau, ranks, tie_groups

LISTS = st.lists(st.sampled_from([0.1, 0.2, 0.25, 0.5, 1.0]), min_size=2, max_size=8)


def matrix(count, *pairs):
    """Only these pairs cannot be told apart."""
    found = torch.zeros(count, count, dtype=torch.bool)
    for row, column in pairs:
        found[row, column] = found[column, row] = True
    return found


def test_equal_values_share_the_better_place():
    assert ranks([0.3, 0.5, 0.3, 0.1], higher_is_better=True) == [2, 1, 2, 4]
    assert ranks([0.3, 0.5, 0.3, 0.1], higher_is_better=False) == [2, 4, 2, 1]


def test_nan_has_no_place():
    assert ranks([nan, 0.5, inf], higher_is_better=True) == [None, 2, 1]
    assert ranks([], higher_is_better=True) == []


@given(LISTS)
@settings(max_examples=40, deadline=None)
def test_places_agree_with_scipy(values):
    assert ranks(values, higher_is_better=False) == rankdata(values, method="min").tolist()


def test_a_group_holds_what_cannot_be_told_from_its_best():
    indistinct = matrix(5, (0, 1), (1, 2), (2, 3))
    assert tie_groups([0.9, 0.8, 0.7, 0.6, 0.5], indistinct, higher_is_better=True) == [1, 1, 2, 2, 3]


def test_a_wide_interval_reaches_over_a_better_method():
    assert tie_groups([0.9, 0.8, 0.7], matrix(3, (0, 2)), higher_is_better=True) == [1, 2, 1]


def test_where_lower_is_better_the_groups_start_below():
    assert tie_groups([0.1, 0.2, 0.9], matrix(3, (1, 2)), higher_is_better=True) == [2, 1, 1]
    assert tie_groups([0.1, 0.2, 0.9], matrix(3, (1, 2)), higher_is_better=False) == [1, 2, 2]


def test_equal_values_stand_together():
    assert tie_groups([0.9, 0.9, 0.5, 0.5], matrix(4, (1, 3)), higher_is_better=True) == [1, 1, 1, 1]
    assert tie_groups([0.9, 0.9, 0.5], matrix(3), higher_is_better=True) == [1, 1, 2]


def test_nan_has_no_group():
    assert tie_groups([nan, 0.5, 0.4], matrix(3, (0, 1), (0, 2)), higher_is_better=True) == [None, 1, 2]
    assert tie_groups([nan], matrix(1), higher_is_better=True) == [None]


@given(LISTS, st.integers(0, 2**28 - 1))
@settings(max_examples=50, deadline=None)
def test_groups_keep_their_promises(values, bits):
    count = len(values)
    pairs = [pair for place, pair in enumerate(combinations(range(count), 2)) if bits >> place & 1]
    indistinct = matrix(count, *pairs)
    groups = tie_groups(values, indistinct, higher_is_better=True)
    assert set(groups) == set(range(1, max(groups) + 1))
    best = {group: max(v for v, g in zip(values, groups, strict=True) if g == group) for group in groups}
    for index, group in enumerate(groups):
        assert {groups[other] for other in range(count) if values[other] == values[index]} == {group}
        for leader in range(count):
            if values[leader] == best[groups[leader]] and groups[leader] < group:
                assert not indistinct[index, leader]
    assert [best[group] for group in sorted(best)] == sorted(best.values(), reverse=True)


def test_groups_do_not_depend_on_the_order_of_methods():
    values, indistinct = [0.9, 0.8, 0.8, 0.6], matrix(4, (0, 3), (1, 3))
    plain = tie_groups(values, indistinct, higher_is_better=True)
    for order in permutations(range(4)):
        shuffled = tie_groups(
            [values[i] for i in order], indistinct[list(order)][:, list(order)], higher_is_better=True
        )
        assert shuffled == [plain[i] for i in order]


def test_matrices_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"a matrix for 2 methods, got \[3, 3\]"):
        tie_groups([0.1, 0.2], matrix(3), higher_is_better=True)
    with pytest.raises(ValueError, match="square symmetric"):
        tie_groups([0.1, 0.2], torch.tensor([[False, True], [False, False]]), higher_is_better=True)
    with pytest.raises(ValueError, match="square symmetric"):
        indistinct_pairs(torch.tensor([[1, 0.2], [0.3, 1]]))
    with pytest.raises(ValueError, match="square symmetric"):
        indistinct_pairs(torch.zeros(3))


def test_pairs_are_told_apart_after_holms_correction():
    """Adjusted: 0.01 * 3 = 0.03, 0.02 * 2 = 0.04 and 0.045 * 1, all at most 0.05; at 0.04 only two."""
    p_values = torch.tensor([[nan, 0.01, 0.045], [0.01, nan, 0.02], [0.045, 0.02, nan]], dtype=torch.float64)
    assert torch.equal(indistinct_pairs(p_values), torch.eye(3, dtype=torch.bool))
    assert torch.equal(indistinct_pairs(p_values, level=0.041), torch.eye(3, dtype=torch.bool) | matrix(3, (0, 2)))
    p_values[0, 1] = p_values[1, 0] = 0.02
    assert indistinct_pairs(p_values).all()


def test_a_p_value_at_the_level_tells_apart():
    p_values = torch.tensor([[1, 0.25], [0.25, 1]])
    assert torch.equal(indistinct_pairs(p_values, level=0.25), torch.eye(2, dtype=torch.bool))
    assert indistinct_pairs(p_values, level=0.2).all()


def test_one_method_is_like_itself():
    assert indistinct_pairs(torch.ones(1, 1)).tolist() == [[True]]


@pytest.mark.parametrize(("wrong", "reason"), [(nan, "square symmetric"), (1.5, r"must lie in \[0, 1\], got 1.5")])
def test_what_is_no_p_value_is_refused(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        indistinct_pairs(torch.tensor([[1, wrong], [wrong, 1]]))


def test_kendalls_tau_by_hand():
    assert kendall_tau([1, 2, 3], [10, 20, 30]) == 1
    assert kendall_tau([1, 2, 3], [3, 2, 1]) == -1
    assert kendall_tau([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)
    assert kendall_tau([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / 6**0.5)
    assert kendall_tau([1, 1, 2], [5, 5, 7]) == 1


@given(st.lists(st.tuples(*[st.sampled_from([0.1, 0.2, 0.5, inf, -inf])] * 2), min_size=2, max_size=9))
@settings(max_examples=50, deadline=None)
def test_kendalls_tau_agrees_with_scipy(values):
    first, second = zip(*values, strict=True)
    assert kendall_tau(first, second) == pytest.approx(
        float(kendalltau(first, second).statistic), abs=1e-12, nan_ok=True
    )


@pytest.mark.parametrize("values", [([1, 1], [1, 2]), ([1, 2], [3, 3]), ([1], [1]), ([], [])])
def test_kendalls_tau_needs_two_different_values(values):
    assert isnan(kendall_tau(*values))


@pytest.mark.parametrize("values", [([1, 2], [1]), ([1, nan], [1, 2]), ([1, 2], [nan, 1])])
def test_kendalls_tau_refuses_missing_values(values):
    with pytest.raises(ValueError, match="expected values of the same methods and no NaN"):
        kendall_tau(*values)
