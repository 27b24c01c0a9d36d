import dataclasses
import json
import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.metrics.consensus_iou import consensus_iou
from avbench.metrics.masks import absolute_mask
from avbench.metrics.negative_audio import (
    QUANTILES,
    area_under_silence,
    harmonic_mean,
    listening_summary,
    map_agreement,
    map_extremes,
    same_map,
    share_above,
    universal_threshold,
)

NAN, INF = math.nan, math.inf
NEGATIVES = ("silent", "noise", "swapped")


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("maxima", "largest", "tenth", "quartile"),
    [
        ([3, 1, 5, 2, 4], 5, 4.6, 4),
        ([0, 1], 1, 0.9, 0.75),
        ([-7], -7, -7, -7),
        ([2, 2, 2, 2], 2, 2, 2),
        ([NAN, 0, NAN, 1], 1, 0.9, 0.75),
        ([1, INF], INF, INF, INF),
        ([INF, INF], INF, INF, INF),
        ([-INF, 1], 1, -INF, -INF),
        ([NAN], NAN, NAN, NAN),
        ([], NAN, NAN, NAN),
    ],
)
def test_universal_thresholds_by_hand(maxima, largest, tenth, quartile):
    found = [universal_threshold(numbers(*maxima), rule) for rule in ("max", "max10", "maxq3")]
    assert found == pytest.approx([largest, tenth, quartile], abs=1e-15, nan_ok=True)
    assert universal_threshold(numbers(*maxima)) == pytest.approx(quartile, nan_ok=True)


def test_maxima_of_all_kinds_are_pooled():
    assert universal_threshold(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]]), "maxq3") == 4.75


@pytest.mark.parametrize("rule", QUANTILES)
@pytest.mark.parametrize("count", [2, 3, 11, 150])
def test_universal_thresholds_against_numpy(rule, count):
    maxima = torch.randn(count)
    assert universal_threshold(maxima, rule) == pytest.approx(np.quantile(maxima.double().numpy(), QUANTILES[rule]))
    below = (maxima <= universal_threshold(maxima, rule)).double().mean().item()
    assert below >= QUANTILES[rule] - 1 / count


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="expected a rule of max, max10, maxq3, got 'median'"):
        universal_threshold(numbers(1), "median")


MAPS = torch.tensor([[[0.0, 1.0], [2.0, 3.0]], [[1.0, 1.0], [1.0, 1.0]], [[NAN, 5.0], [5.0, 5.0]]])


@pytest.mark.parametrize(
    ("threshold", "shares"),
    [
        (1, [0.5, 0, 0.75]),
        (0.999, [0.75, 1, 0.75]),
        (-INF, [1, 1, 0.75]),
        (5, [0, 0, 0]),
        (INF, [0, 0, 0]),
        (NAN, [0, 0, 0]),
    ],
)
def test_the_share_above_is_strict(threshold, shares):
    found = share_above(MAPS, threshold)
    assert found.tolist() == shares
    assert found.dtype == torch.float64


def test_no_negative_map_is_above_the_largest_maximum():
    maps = torch.randn(20, 6, 6)
    highest = universal_threshold(map_extremes(maps)[1], "max")
    assert share_above(maps, highest).max() == 0
    assert share_above(maps, universal_threshold(map_extremes(maps)[1], "maxq3")).count_nonzero() == 5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4), st.floats(-4, 4), st.floats(0, 3))
def test_the_share_falls_as_the_threshold_rises(cells, threshold, step):
    maps = torch.tensor(cells).view(1, 2, 2)
    low, high = share_above(maps, threshold).item(), share_above(maps, threshold + step).item()
    assert 0 <= high <= low <= 1
    assert area_under_silence(numbers(high)) >= area_under_silence(numbers(low))


@pytest.mark.parametrize(
    ("shares", "area"),
    [
        ([0.0], 1),
        ([1.0], 0.025),
        ([0.5], 0.525),  # passes at t = 0.5, ..., 1
        ([0.501], 0.475),
        ([0.0, 1.0], (1 + 0.025) / 2),
        ([0.0, NAN], 0.5),
        ([], NAN),
    ],
)
def test_the_area_under_silence_by_hand(shares, area):
    assert area_under_silence(numbers(*shares)).item() == pytest.approx(area, abs=1e-12, nan_ok=True)


def test_the_thresholds_of_silence_are_products():
    assert area_under_silence(numbers(0.05 * 3)).item() == pytest.approx(0.875, abs=1e-12)
    assert area_under_silence(numbers(np.nextafter(0.05 * 3, 1))).item() == pytest.approx(0.825, abs=1e-12)


def test_the_area_under_silence_against_a_loop():
    shares = torch.rand(40).double()
    rates = [sum(share <= 0.05 * i for share in shares.tolist()) / 40 for i in range(21)]
    area = sum(0.05 * (rates[i] + rates[i + 1]) / 2 for i in range(20))
    assert area_under_silence(shares).item() == pytest.approx(area, abs=1e-12)


def test_harmonic_means():
    assert harmonic_mean(0.5, 0.25) == pytest.approx(1 / 3)
    assert harmonic_mean(0.0, 0.0) == 0
    assert harmonic_mean(0.0, 1.0) == 0
    assert math.isnan(harmonic_mean(NAN, 0.5))


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 1), st.floats(0.01, 1))
def test_the_harmonic_mean_lies_between_and_ignores_order(first, second):
    found = harmonic_mean(first, second)
    assert min(first, second) - 1e-12 <= found <= (first + second) / 2 + 1e-12
    assert found == harmonic_mean(second, first)
    assert found == pytest.approx(statistics.harmonic_mean([first, second]))


def test_map_agreement_by_hand():
    empty, left, top, full = [[0, 0], [0, 0]], [[1, 0], [1, 0]], [[1, 1], [0, 0]], [[1, 1], [1, 1]]
    first = torch.tensor([empty, empty, left, left, full, left]).bool()
    second = torch.tensor([empty, left, top, left, left, empty]).bool()
    assert map_agreement(first, second).tolist() == [1, 0, 1 / 3, 1, 1 / 2, 0]
    assert torch.equal(map_agreement(first, second), map_agreement(second, first))
    assert map_agreement(first[:0], second[:0]).shape == (0,)


def test_map_agreement_is_the_ciou_of_masks():
    first, second = torch.rand(6, 9, 9) < 0.4, torch.rand(6, 9, 9) < 0.4
    assert torch.equal(map_agreement(first, second), consensus_iou(first, second))


@pytest.mark.parametrize(
    ("other", "tolerance", "same"),
    [
        ([[0.0, 1.0], [2.0, 4.0]], 0, True),
        ([[-0.0, 1.0], [2.0, 4.0]], 0, True),
        ([[0.0, 1.0], [2.0, 4.0000005]], 0, False),
        ([[0.0, 1.0], [2.0, 4.0000005]], 1e-6, True),
        ([[0.0, 1.0], [2.5, 4.0]], 0.125, True),  # an eighth of the range of 4
        ([[0.0, 1.0], [2.5, 4.0]], 0.1249, False),
        ([[0.0, 1.0], [2.0, NAN]], 9, False),
    ],
)
def test_same_map_by_hand(other, tolerance, same):
    own = torch.tensor([[[0.0, 1.0], [2.0, 4.0]]])
    assert same_map(own, torch.tensor([other]), tolerance=tolerance).tolist() == [same]


def test_constant_nan_and_infinite_maps_are_the_same_only_if_equal():
    own = torch.tensor([[[3.0, 3.0]], [[NAN, 1.0]], [[INF, 1.0]], [[NAN, NAN]]])
    assert same_map(own, own).all()
    other = own + torch.tensor([[[0.0, 0.001]]])
    assert same_map(own, other, tolerance=0.5).tolist() == [False, False, False, True]
    with pytest.raises(ValueError, match="tolerance must be 0 or more, got nan"):
        same_map(own, own, tolerance=NAN)


@pytest.mark.parametrize("function", [map_agreement, same_map])
def test_pairs_of_other_shapes_are_refused(function):
    maps = torch.zeros(2, 3, 3).bool()
    with pytest.raises(ValueError, match=r"the same \[B, H, W\] twice, got \[2, 3, 3\] and \[1, 3, 3\]"):
        function(maps, maps[:1])
    with pytest.raises(ValueError, match=r"got \[3, 3\] and \[3, 3\]"):
        function(maps[0], maps[0])


def test_extremes_of_maps():
    low, high = map_extremes(MAPS)
    assert low.tolist() == pytest.approx([0, 1, NAN], nan_ok=True)
    assert high.tolist() == pytest.approx([3, 1, NAN], nan_ok=True)
    assert low.dtype == torch.float64


def columns(**changed):
    """Two images: the first is found and silent but for the swapped sound, the second is neither."""
    given_columns = {
        "shares": {"silent": numbers(0, 0.5), "noise": numbers(0, 1), "swapped": numbers(0.5, 1)},
        "minima": {"true": numbers(0, 2), "silent": numbers(NAN, 1)},
        "maxima": {"true": numbers(3, 8), "silent": numbers(NAN, 4)},
        "agreement": {"true/silent": numbers(0, 1), "silent/noise": numbers(1, 1)},
        "unchanged": {"silent": torch.tensor([False, True])},
    }
    return {**given_columns, **changed}


def test_the_summary_by_hand():
    found = listening_summary(numbers(0.8, 0), **columns())
    auc = (0.8 + 0.025 + 0.025) / 2  # 0.8 passes at t = 0, ..., 0.8, and 0 at t = 0
    assert (found.count, found.nan_ciou) == (2, 0)
    assert (found.ciou_uth, found.auc_uth) == pytest.approx((0.4, auc))
    assert found.pia == {"silent": 0.25, "noise": 0.5, "swapped": 0.75}
    quiet = {"silent": (1 + 0.525) / 2, "noise": (1 + 0.025) / 2, "swapped": (0.525 + 0.025) / 2}
    assert found.auc_n == pytest.approx(quiet)
    assert found.f_loc == pytest.approx(2 * 0.4 * 0.5 / 0.9)
    assert found.f_loc_by_kind == pytest.approx({"silent": 0.6 / 1.15, "noise": 0.4 / 0.9, "swapped": 0.2 / 0.65})
    mean = sum(quiet.values()) / 3
    assert found.f_auc == pytest.approx(2 * auc * mean / (auc + mean))
    assert found.f_auc_by_kind == pytest.approx({kind: 2 * auc * q / (auc + q) for kind, q in quiet.items()})
    assert found.agreement == {"true/silent": 0.5, "silent/noise": 1}
    assert found.unchanged == {"silent": 0.5}
    assert dataclasses.astuple(found.extremes["true"]) == (5.5, 5.5, 1, 1, 0)
    assert dataclasses.astuple(found.extremes["silent"]) == (4, 4, 1, 1, 1)
    assert json.loads(json.dumps(dataclasses.asdict(found)))["pia"]["noise"] == 0.5


def test_medians_lie_between_the_middle_two():
    extremes = {"true": numbers(1, 10, 2, 4)}
    shares = {"silent": torch.zeros(4)}
    found = listening_summary(
        torch.zeros(4), shares=shares, minima=extremes, maxima=extremes, agreement={}, unchanged={}
    ).extremes["true"]
    assert (found.mean_max, found.median_max, found.mean_min, found.median_min) == (4.25, 3, 4.25, 3)


def test_an_image_without_a_ciou_counts_as_nothing_and_is_counted():
    found = listening_summary(numbers(0.8, NAN), **columns())
    assert (found.ciou_uth, found.nan_ciou) == (0.4, 1)
    assert found.auc_uth == pytest.approx((0.8 + 0.025) / 2)


def test_a_method_that_hears_and_one_that_hears_nothing():
    one, none = torch.ones(3), torch.zeros(3)
    rest = {"minima": {}, "maxima": {}, "agreement": {}, "unchanged": {}}
    perfect = listening_summary(one, shares=dict.fromkeys(NEGATIVES, none), **rest)
    assert (perfect.f_loc, perfect.f_auc, perfect.ciou_uth) == pytest.approx((1, 1, 1))
    silent = listening_summary(none, shares=dict.fromkeys(NEGATIVES, none), **rest)
    assert (silent.f_loc, silent.pia["noise"]) == (0, 0)
    loud = listening_summary(none, shares=dict.fromkeys(NEGATIVES, one), **rest)
    assert loud.f_loc == 0, "the harmonic mean of nothing and nothing"
    assert loud.f_auc == pytest.approx(0.025)


def test_no_images_give_no_scores():
    rest = {"minima": {}, "maxima": {}, "agreement": {}, "unchanged": {}}
    found = listening_summary(numbers(), shares={"silent": numbers()}, **rest)
    assert found.count == 0
    assert all(math.isnan(value) for value in (found.ciou_uth, found.auc_uth, found.f_loc, found.pia["silent"]))


def test_the_summary_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"one value per image, \[2\], got \[3\] of silent"):
        listening_summary(numbers(0, 0), **columns(shares={"silent": torch.zeros(3)}))
    with pytest.raises(ValueError, match=r"got \[1, 2\] of silent/noise"):
        listening_summary(numbers(0, 0), **columns(agreement={"silent/noise": torch.zeros(1, 2)}))
    with pytest.raises(ValueError, match="expected shares of a negative or more"):
        listening_summary(numbers(0, 0), **columns(shares={}))
    with pytest.raises(ValueError, match=r"of the same kinds, got .*\['silent', 'true'\] and \['true'\]"):
        listening_summary(numbers(0, 0), **columns(maxima={"true": numbers(3, 8)}))


def test_the_whole_way_from_maps_against_loops():
    truth = (torch.rand(12, 8, 8) * 3).floor() / 2
    maps = {"true": torch.randn(12, 8, 8) + truth, **{kind: torch.randn(12, 8, 8) * 0.7 for kind in NEGATIVES}}
    maps["silent"][3] = maps["true"][3]
    ranges = {kind: map_extremes(x) for kind, x in maps.items()}
    threshold = universal_threshold(torch.cat([ranges[kind][1] for kind in NEGATIVES]))
    masks = {kind: absolute_mask(x, threshold, operator=">") for kind, x in maps.items()}
    found = listening_summary(
        consensus_iou(masks["true"], truth),
        shares={kind: share_above(maps[kind], threshold) for kind in NEGATIVES},
        minima={kind: low for kind, (low, _) in ranges.items()},
        maxima={kind: high for kind, (_, high) in ranges.items()},
        agreement={"true/noise": map_agreement(masks["true"], masks["noise"])},
        unchanged={kind: same_map(maps["true"], maps[kind]) for kind in NEGATIVES},
    )
    arrays = {kind: x.double().numpy() for kind, x in maps.items()}
    tops = np.concatenate([[image.max() for image in arrays[kind]] for kind in NEGATIVES])
    assert threshold == pytest.approx(np.percentile(tops, 75))
    cious, overlaps = [], []
    for x, noise, g in zip(arrays["true"], arrays["noise"], truth.double().numpy(), strict=True):
        m, n = x > threshold, noise > threshold
        cious.append((m * g).sum() / (g.sum() + (m & (g == 0)).sum()))
        overlaps.append((m & n).sum() / (m | n).sum() if (m | n).any() else 1.0)
    assert found.ciou_uth == pytest.approx(np.mean(cious))
    assert found.agreement["true/noise"] == pytest.approx(np.mean(overlaps))
    pia = {kind: np.mean([(image > threshold).mean() for image in arrays[kind]]) for kind in NEGATIVES}
    assert found.pia == pytest.approx(pia)
    quiet = 1 - np.mean(list(pia.values()))
    assert found.f_loc == pytest.approx(statistics.harmonic_mean([np.mean(cious), quiet]))
    assert found.unchanged == {"silent": pytest.approx(1 / 12), "noise": 0, "swapped": 0}
    assert found.extremes["true"].median_min == pytest.approx(np.median(arrays["true"].min(axis=(1, 2))))
