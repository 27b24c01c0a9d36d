"""Several sources by the clean definitions: by hand, by trying all matchings, and against scikit-learn."""

import math
from itertools import permutations
from statistics import mean

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from avbench.metrics.consensus_iou import consensus_iou
from avbench.metrics.multisource import (
    assigned_ap,
    assigned_ciou,
    class_aware_ap,
    matched_ap,
    matched_ciou,
    permutation_invariant_ap,
    union_ciou,
)
from avbench.metrics.success import success_rate


def frames(*rows) -> torch.Tensor:
    return torch.tensor([[row] for row in rows], dtype=torch.float64)


LEFT, RIGHT, NOTHING = [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]


def test_maps_find_their_sources_in_any_order():
    truth = frames(LEFT, RIGHT)
    for order in ([0, 1], [1, 0]):
        found = matched_ciou(truth[order].bool(), truth)
        assert (found.values.tolist(), found.assignment.tolist(), found.extra) == ([1, 1], order, 0)


def test_the_best_sum_is_taken_and_not_the_best_map_first():
    truth = frames([1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1])
    masks = frames([1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]).bool()
    # the first map is the best for both sources: 4/6 and 2/6; the second map has 3/4 and 0
    found = matched_ciou(masks, truth)
    assert found.values.tolist() == pytest.approx([3 / 4, 2 / 6])
    assert found.assignment.tolist() == [1, 0]


def test_one_map_finds_one_of_two_sources():
    found = matched_ciou(frames(LEFT).bool(), frames(RIGHT, LEFT))
    assert (found.values.tolist(), found.assignment.tolist(), found.extra) == ([0, 1], [-1, 0], 0)
    assert success_rate(found.values, 0.3) == 0.5
    whole = matched_ciou(frames([1, 1, 1, 1]).bool(), frames(RIGHT, LEFT))
    assert sorted(whole.values.tolist()) == [0, 0.5]
    assert permutation_invariant_ap(frames([4, 3, 2, 1]), frames(LEFT, RIGHT)).item() == 0.5


def test_maps_without_a_source_are_counted_and_cost_nothing():
    truth = frames(LEFT)
    found = matched_ciou(frames(RIGHT, LEFT, NOTHING).bool(), truth)
    assert (found.values.tolist(), found.assignment.tolist(), found.extra) == ([1], [1], 2)
    none = matched_ciou(truth[:0].bool(), frames(LEFT, RIGHT))
    assert (none.values.tolist(), none.assignment.tolist(), none.extra) == ([0, 0], [-1, -1], 0)
    assert matched_ap(frames(LEFT, RIGHT), truth[:0]).extra == 2
    assert math.isnan(permutation_invariant_ap(truth, truth[:0]))


def test_nothing_predicted_where_nothing_is_scores_zero():
    truth = frames(NOTHING, LEFT)
    assert matched_ciou(frames(NOTHING, LEFT).bool(), truth).values.tolist() == [0, 1]
    assert matched_ciou(frames(NOTHING).bool(), truth).values.tolist() == [0, 0]
    assert assigned_ciou(frames(NOTHING).bool(), truth, torch.tensor([0, 0])).tolist() == [0, 0]


def test_a_nan_map_finds_nothing():
    maps = frames([math.nan, 1, 0, 0], [4, 3, 2, 1])
    assert matched_ap(maps, frames(LEFT, RIGHT)).values.tolist() == pytest.approx([1, 0])
    assert permutation_invariant_ap(maps[:1], frames(LEFT, RIGHT)).item() == 0


def test_a_source_asked_for_by_its_class_keeps_that_map():
    truth = frames(LEFT, RIGHT, [1, 0, 0, 0])
    masks = frames(RIGHT, LEFT).bool()
    assert assigned_ciou(masks, truth, torch.tensor([0, 1, 1])).tolist() == [0, 0, 0.5]
    assert assigned_ciou(masks, truth, torch.tensor([1, -1, -1])).tolist() == [1, 0, 0]
    maps = frames([1, 2, 3, 4], [4, 3, 2, 1])
    # the truth's pixels are the third and fourth best: precisions 1/3 and 2/4
    assert assigned_ap(maps, truth, torch.tensor([0, 0, -1])).tolist() == pytest.approx([(1 / 3 + 1 / 2) / 2, 1, 0])


@pytest.mark.parametrize("assignment", [[0], [0, 2], [-2, 0], [[0, 1]]])
def test_an_assignment_names_one_map_for_each_source(assignment):
    with pytest.raises(ValueError, match="the index of one of 2 maps or -1 for each of 2 sources"):
        assigned_ciou(frames(LEFT, RIGHT).bool(), frames(LEFT, RIGHT), torch.tensor(assignment))


@pytest.mark.parametrize("measure", [matched_ciou, matched_ap, union_ciou, permutation_invariant_ap])
def test_frames_must_have_one_size(measure):
    with pytest.raises(ValueError, match=r"maps \[L, H, W\] and truth \[K, H, W\] of one size, got \[2, 1, 4\]"):
        measure(frames(LEFT, RIGHT), torch.zeros(2, 4, 1))
    with pytest.raises(ValueError, match="of one size"):
        measure(torch.zeros(4, 4), torch.zeros(4, 4))


def test_every_class_counts_alike():
    values = torch.tensor([1.0, 0.5, 0.0, 0.2])
    assert class_aware_ap(values, ["dog", "dog", "dog", "cat"]).item() == pytest.approx((0.5 + 0.2) / 2)
    assert class_aware_ap(values, [3, 3, 3, 3]).item() == pytest.approx(1.7 / 4)
    assert math.isnan(class_aware_ap(values[:0], []))
    with pytest.raises(ValueError, match=r"one label for each value, got 1 for \[4\]"):
        class_aware_ap(values, ["dog"])


def test_union_tells_no_sources_apart():
    truth = frames(LEFT, [0.5, 0, 0.5, 0])
    assert union_ciou(frames(LEFT).bool(), truth).item() == pytest.approx(2 / 2.5)
    assert union_ciou(frames(LEFT, RIGHT).bool(), truth).item() == pytest.approx(2.5 / 3.5)
    assert math.isnan(union_ciou(frames(NOTHING).bool(), frames(NOTHING)))
    for masks, sources in ((truth[:0], truth), (truth, truth[:0])):
        with pytest.raises(ValueError, match="at least one map and one source"):
            union_ciou(masks, sources)


def best_sum(table: list[list[float]]) -> float:
    """The largest sum of all ways to give each source (a row) a map (a column) of its own, or none."""
    maps = len(table[0]) if table else 0
    choices = list(range(maps)) + [None] * len(table)
    return max(
        sum(row[c] for row, c in zip(table, pick, strict=True) if c is not None)
        for pick in permutations(choices, len(table))
    )


def precision(scores: torch.Tensor, truth: torch.Tensor) -> float:
    labels = (truth > 0).flatten().numpy()
    return float(average_precision_score(labels, scores.flatten().numpy())) if labels.any() else 0.0


def scene(seed: int, maps: int, sources: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Coarse maps full of ties, consensus weights, now and then an empty truth."""
    made = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 5, (maps, 4, 3), generator=made) / 4
    truth = torch.randint(0, 3, (sources, 4, 3), generator=made) / 2
    truth[torch.rand(sources, generator=made) < 0.15] = 0
    return scores, truth


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 4), st.integers(1, 3))
def test_matching_agrees_with_trying_all(seed, count, sources):
    maps, truth = scene(seed, count, sources)
    masks = maps >= 0.5
    overlap = [[consensus_iou(m[None], g[None]).nan_to_num(nan=0).item() for m in masks] for g in truth]
    ranked = [[precision(m, g) for m in maps] for g in truth]
    for found, table in ((matched_ciou(masks, truth), overlap), (matched_ap(maps, truth), ranked)):
        assert found.values.sum().item() == pytest.approx(best_sum(table), abs=1e-12)
        assert found.extra == count - min(count, sources)
        used = [m for m in found.assignment.tolist() if m >= 0]
        assert len(used) == len(set(used)) == min(count, sources)
        each = [row[m] if m >= 0 else 0 for row, m in zip(table, found.assignment.tolist(), strict=True)]
        assert found.values.tolist() == pytest.approx(each, abs=1e-12)
    again = matched_ciou(masks.flip(0), truth.flip(0)).values
    assert again.sum().item() == pytest.approx(matched_ciou(masks, truth).values.sum().item(), abs=1e-12)
    assert permutation_invariant_ap(maps, truth).item() == pytest.approx(best_sum(ranked) / sources, abs=1e-12)


def test_class_aware_ap_agrees_with_loops():
    by_class, values, labels = {}, [], []
    for seed in range(30):
        maps, truth = scene(seed, 2, 2)
        for k, name in enumerate((seed % 3, (seed * 7) % 5)):
            by_class.setdefault(name, []).append(precision(maps[k], truth[k]))
            labels.append(name)
        values.append(assigned_ap(maps, truth, torch.tensor([0, 1])))
    expected = mean(mean(found) for found in by_class.values())
    assert class_aware_ap(torch.cat(values), labels).item() == pytest.approx(expected, abs=1e-12)
    order = torch.randperm(len(labels))
    shuffled = class_aware_ap(torch.cat(values)[order], [labels[i] for i in order])
    assert shuffled.item() == pytest.approx(expected, abs=1e-12)


def test_perfect_maps_score_one():
    truth = (torch.rand(3, 8, 8) > 0.6).double()
    order = [2, 0, 1]
    assert matched_ciou(truth[order].bool(), truth).values.tolist() == [1, 1, 1]
    assert permutation_invariant_ap(truth[order], truth).item() == 1
    assert class_aware_ap(assigned_ap(truth, truth, torch.arange(3)), "abc").item() == 1
    assert union_ciou(truth.bool(), truth).item() == 1
