import math
import operator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.metrics.extended import (
    aggregate_extended,
    always_detecting_f1,
    average_precision,
    average_precision_official,
    detection_counts,
    detection_summary,
    max_f1,
    max_f1_official,
    max_f1_printed,
    precision_recall,
)

COMPARE = {">=": operator.ge, ">": operator.gt}


def tensors(confidence, ciou, boxes) -> dict[str, torch.Tensor]:
    """The three per-sample inputs by name."""
    return {
        "confidence": torch.tensor(confidence, dtype=torch.float64),
        "ciou": torch.tensor(ciou, dtype=torch.float64),
        "sounding": torch.tensor(boxes, dtype=torch.float64) > 0,
    }


# Two sounding samples, found and missed in place, between two silent ones.
MIXED = tensors([0.9, 0.8, 0.7, 0.1], [0.0, 0.9, 0.2, 0.0], [0, 1, 1, 0])


def curve(samples, *thresholds: float, **options) -> list[list[float]]:
    at = torch.tensor(thresholds, dtype=torch.float64)
    return [values.tolist() for values in precision_recall(**samples, at=at, **options)]


def counts(samples, *thresholds: float, **options) -> list[list[int]]:
    at = torch.tensor(thresholds, dtype=torch.float64)
    return [values.tolist() for values in detection_counts(**samples, at=at, **options)]


def test_precision_and_recall_by_hand():
    precision, recall = curve(MIXED, 1.0, 0.9, 0.8, 0.7, 0.1)
    assert precision == [1, 0, 1 / 2, 1 / 3, 1 / 4]
    assert recall == [0, 0, 1 / 2, 1, 1], "found in the wrong place is no false negative"


def test_counts_by_hand():
    assert counts(MIXED, 1.0, 0.9, 0.8, 0.7, 0.1) == [[0, 0, 1, 1, 1], [0, 1, 1, 2, 3], [2, 2, 1, 0, 0]]


def test_the_paper_prints_its_counts_with_strict_operators():
    assert counts(MIXED, 0.9, 0.8, 0.7, operator=">") == [[0, 0, 1], [0, 1, 1], [2, 2, 1]]
    half = tensors([0.9, 0.8], [0.5, 0.6], [1, 1])
    assert counts(half, 0.8) == [[2], [0], [0]]
    assert counts(half, 0.8, operator=">") == [[0], [1], [1]]
    assert curve(half, 0.8, operator=">") == [[0], [0]]
    with pytest.raises(ValueError, match="operator must be '>=' or '>', got '<'"):
        counts(half, 0.8, operator="<")


def test_the_envelope_by_hand():
    # precision falls with recall in the first, and rises from 1/2 to 2/3 in the second
    assert average_precision(**MIXED, envelope=True) == average_precision(**MIXED)
    late = tensors([0.9, 0.8, 0.7], [0.0, 0.9, 0.9], [0, 1, 1])
    assert average_precision(**late).item() == pytest.approx(1 / 2 * 1 / 2 + 2 / 3 * 1 / 2, abs=1e-15)
    assert average_precision(**late, envelope=True).item() == pytest.approx(2 / 3, abs=1e-15)


def test_overlaps_are_compared_in_double_precision():
    ciou = torch.tensor([0.3, 0.7], dtype=torch.float32)  # a little above 0.3, a little below 0.7
    samples = {**tensors([0.9, 0.8], [0, 0], [1, 1]), "ciou": ciou}
    assert [average_precision(**samples, success=at).item() for at in (0.3, 0.5, 0.7)] == [1, 0.5, 0]


def test_the_print_has_one_decimal_of_a_percent():
    samples = tensors([math.nan, 0.5, 0.4], [0.9, 0.9, 0.0], [1, 1, 0])
    assert max_f1_official(**samples).item() == pytest.approx(2 / 3, abs=1e-15)
    assert max_f1_printed(**samples).item() == 0.667
    assert max_f1_printed(**MIXED).item() == 0.5


def test_the_paper_forms_by_hand():
    assert average_precision(**MIXED).item() == pytest.approx(1 / 2 * 1 / 2 + 1 / 3 * 1 / 2, abs=1e-15)
    assert max_f1(**MIXED).item() == 0.5


def test_the_official_forms_by_hand():
    # thresholds 0.8, 0.7, 0.1: the envelope of 1/2, 1/3, 1/4 times the steps of 1/2, 1, 1
    assert average_precision_official(**MIXED).item() == 1 / 2 * 1 / 2
    assert max_f1_official(**MIXED).item() == 0.5


def test_what_has_the_threshold_s_confidence_is_detected_and_one_half_is_a_success():
    precision, recall = curve(tensors([0.5, 0.5], [0.5, 0.4999], [1, 1]), 0.5)
    assert (precision, recall) == ([0.5], [1])


def test_equal_confidences_enter_together():
    tied = tensors([0.5, 0.5, 0.5], [1.0, 0.0, 0.0], [1, 0, 0])
    assert average_precision(**tied).item() == 1 / 3
    assert average_precision_official(**tied).item() == 0, "a constant confidence has no step of recall"
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        assert average_precision(**{name: values[order] for name, values in tied.items()}).item() == 1 / 3


def test_nan_confidence_is_never_detected():
    samples = tensors([math.nan, 0.5, 0.4], [0.9, 0.9, 0.0], [1, 1, 0])
    assert curve(samples, 0.5, 0.4, -math.inf, math.nan) == [[1, 0.5, 0.5, 1], [0.5, 0.5, 0.5, 0]]
    assert average_precision(**samples).item() == 0.5
    assert max_f1(**samples).item() == pytest.approx(2 / 3, abs=1e-15)
    assert average_precision_official(**samples).item() == 0


def test_nothing_but_nan_scores_zero():
    samples = tensors([math.nan] * 4, [0.9] * 4, [1, 1, 0, 0])
    assert aggregate_extended(**samples) == dict.fromkeys(("ap", "max_f1", "ap_official", "max_f1_official"), 0)


def test_several_nan_confidences_give_the_official_curve_a_first_point_of_precision_one():
    samples = tensors([math.nan, math.nan, 0.5, 0.4], [0.0, 0.0, 0.9, 0.0], [0, 0, 1, 0])
    assert average_precision_official(**samples).item() == 1


def test_infinite_confidences_are_numbers():
    samples = tensors([math.inf, math.inf, 0.5, -math.inf], [0.9, 0.0, 0.9, 0.9], [1, 0, 1, 1])
    assert counts(samples, math.inf, 0.5, -math.inf) == [[1, 2, 3], [1, 1, 1], [2, 1, 0]]
    assert average_precision(**samples).item() == pytest.approx((1 / 2 + 2 / 3 + 3 / 4) / 3, abs=1e-15)


def test_an_overlap_that_is_no_number_fails():
    samples = tensors([0.9, 0.8], [math.nan, 0.8], [1, 1])
    assert curve(samples, 0.9, 0.8) == [[0, 0.5], [0, 1]]


def test_silent_samples_never_count_as_found():
    samples = tensors([0.9, 0.8], [1.0, math.nan], [0, 0])
    assert curve(samples, 0.9) == [[0], [1]]
    assert set(aggregate_extended(**samples).values()) == {0}


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_samples_have_no_official_ap(count):
    samples = tensors([0.5, 0.4][:count], [0.9, 0.9][:count], [1, 1][:count])
    assert average_precision_official(**samples).item() == 0
    assert average_precision(**samples).item() == 1
    assert max_f1_official(**samples).item() == 1


def test_no_samples_are_no_number():
    assert all(math.isnan(value) for value in aggregate_extended(**tensors([], [], [])).values())


def test_all_found_is_perfect():
    samples = tensors([0.9, 0.8, 0.7, 0.2, 0.1], [0.9, 0.8, 0.7, 0.0, 0.0], [1, 1, 1, 0, 0])
    assert average_precision(**samples).item() == pytest.approx(1, abs=1e-15)
    assert max_f1(**samples).item() == 1


@pytest.mark.parametrize(("locacc", "expected"), [(209, 0.5896), (118, 0.3819), (132, 0.4177)])
def test_detecting_everything_bounds_max_f1_from_below(locacc, expected):
    made = torch.Generator().manual_seed(locacc)
    ciou = torch.zeros(500).double()
    ciou[:locacc] = 0.8
    confidence = torch.full((500,), 0.5).double()
    samples = {"confidence": confidence, "ciou": ciou, "sounding": torch.arange(500) < 250}
    assert max_f1(**samples).item() == pytest.approx(expected, abs=5e-5)
    bound = always_detecting_f1(locacc / 250, 250, 250)
    assert max_f1(**samples).item() == pytest.approx(bound, abs=1e-15)
    samples["confidence"] = torch.rand(500, generator=made).double()
    assert max_f1(**samples) >= max_f1_official(**samples) >= bound - 1e-12


def test_always_detecting_by_hand():
    assert always_detecting_f1(0.5, 10, 10) == 0.4
    assert always_detecting_f1(0.5, 10, 0) == pytest.approx(2 / 3, abs=1e-15)
    assert always_detecting_f1(0, 10, 10) == always_detecting_f1(1, 0, 10) == 0
    assert math.isnan(always_detecting_f1(1, 0, 0))
    for wrong in ((1.5, 1, 1), (math.nan, 1, 1), (0.5, -1, 1)):
        with pytest.raises(ValueError, match=r"locacc must be in \[0, 1\] and counts 0 or more"):
            always_detecting_f1(*wrong)


def test_only_the_order_of_confidences_matters():
    samples = made_samples(300, seed=5)
    moved = {**samples, "confidence": samples["confidence"] * 3 - 40}
    assert aggregate_extended(**moved) == aggregate_extended(**samples)
    order = torch.randperm(300)
    shuffled = {name: values[order] for name, values in samples.items()}
    assert aggregate_extended(**shuffled) == aggregate_extended(**samples)


def test_float32_confidences_are_compared_exactly():
    samples = {**MIXED, "confidence": MIXED["confidence"].float()}
    assert curve(samples, float(samples["confidence"][1])) == [[0.5], [0.5]]
    assert curve(samples, math.nextafter(float(samples["confidence"][1]), 1)) == [[0], [0]]


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"must all be \[n\], got \[3\], \[4\], \[4\]"):
        average_precision(torch.rand(3), MIXED["ciou"], sounding=MIXED["sounding"])


def made_samples(count: int, *, seed: int) -> dict[str, torch.Tensor]:
    """Samples with heavy ties, a few NaN overlaps, and overlaps at the success threshold."""
    made = torch.Generator().manual_seed(seed)
    ciou = torch.randint(0, 21, (count,), generator=made).double() / 20
    ciou[::17] = math.nan
    confidence = torch.randint(0, max(2, count // 3), (count,), generator=made).double() / 8
    return {"confidence": confidence, "ciou": ciou, "sounding": torch.rand(count, generator=made) < 0.6}


def counted(rows, threshold: float, success: float = 0.5, compare=operator.ge) -> tuple[int, int, int]:
    """Hits, wrong and missed ones, one sample after another."""
    hits = wrong = missed = 0
    for sure, overlap, sounds in rows:
        if compare(sure, threshold) and sounds and compare(overlap, success):
            hits += 1
        elif compare(sure, threshold):
            wrong += 1
        elif sounds:
            missed += 1
    return hits, wrong, missed


def shares(hits: int, wrong: int, missed: int) -> tuple[float, float]:
    precision = hits / (hits + wrong) if hits + wrong else 1.0
    return precision, hits / (hits + missed) if hits + missed else 1.0


def looped(rows: list[tuple[float, float, bool]], success: float) -> dict[str, float]:
    """The numbers from the formulas, by loops."""
    ascending = sorted(row[0] for row in rows)
    count = len(rows)

    def point(threshold: float) -> tuple[float, float]:
        return shares(*counted(rows, threshold, success))

    def harmonic(threshold: float) -> float:
        precision, recall = point(threshold)
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    full = [(0.0, 0.0), *map(point, sorted(set(ascending), reverse=True))]
    steps = [(k, full[k][1] - full[k - 1][1]) for k in range(1, len(full))]
    points = [point(t) for t in ascending[:-1][::-1][:: max(1, count // 200)]]
    official = 0.0
    for k in range(len(points) - 1):
        official += max(p for p, _ in points[k:]) * (points[k + 1][1] - points[k][1])
    return {
        "ap": sum(full[k][0] * step for k, step in steps),
        "envelope": sum(max(p for p, _ in full[k:]) * step for k, step in steps),
        "max_f1": max(map(harmonic, ascending)),
        "ap_official": official,
        "max_f1_official": max(map(harmonic, ascending[:: max(1, count // 10)])),
        "printed": max(float(f"{100 * harmonic(t):.1f}") for t in ascending[:: max(1, count // 10)]) / 100,
    }


def as_rows(samples) -> list[tuple[float, float, bool]]:
    return list(zip(*(values.tolist() for values in samples.values()), strict=True))


@pytest.mark.parametrize("success", [0.3, 0.5, 0.75])
@pytest.mark.parametrize("count", [1, 2, 3, 9, 10, 11, 25, 60, 199, 200, 401])
def test_agrees_with_a_loop(count, success):
    samples = made_samples(count, seed=count)
    found = detection_summary(**samples, success=success)
    found["envelope"] = average_precision(**samples, success=success, envelope=True).item()
    found["printed"] = max_f1_printed(**samples, success=success).item()
    assert found == pytest.approx(looped(as_rows(samples), success), abs=1e-12)


def test_the_summary_is_what_the_single_measures_are():
    measures = {
        "ap": average_precision,
        "max_f1": max_f1,
        "ap_official": average_precision_official,
        "max_f1_official": max_f1_official,
    }
    samples = made_samples(321, seed=9)
    for success in (0.3, 0.5):
        alone = {name: measure(**samples, success=success).item() for name, measure in measures.items()}
        assert detection_summary(**samples, success=success) == alone
    assert aggregate_extended(**samples) == alone


AWKWARD = st.sampled_from([-math.inf, -1.0, -0.0, 0.0, 0.25, 0.5, 0.75, 1.0, math.inf, math.nan])
OVERLAPS = st.sampled_from([0.0, 0.3, 0.5, math.nextafter(0.5, 0), 0.75, 1.0, math.nan])
ROWS = st.lists(st.tuples(AWKWARD, OVERLAPS, st.booleans()), min_size=1, max_size=12)


@given(rows=ROWS, compare=st.sampled_from([">=", ">"]), success=st.sampled_from([0.3, 0.5, 0.75]))
@settings(max_examples=50, deadline=None)
def test_counts_agree_with_a_loop_on_awkward_input(rows, compare, success):
    samples = tensors(*zip(*rows, strict=True))
    at = [row[0] for row in rows]
    expected = [counted(rows, t, success, COMPARE[compare]) for t in at]
    assert list(zip(*counts(samples, *at, success=success, operator=compare), strict=True)) == expected
    found = zip(*curve(samples, *at, success=success, operator=compare), strict=True)
    assert list(found) == [shares(*point) for point in expected]


@given(rows=ROWS)
@settings(max_examples=50, deadline=None)
def test_bounds_hold_on_awkward_input(rows):
    samples = tensors(*zip(*rows, strict=True))
    found = detection_summary(**samples)
    assert all(0 <= value <= 1 for value in found.values())
    assert average_precision(**samples, envelope=True).item() >= found["ap"] - 1e-15
    sounding = samples["sounding"]
    if not samples["confidence"].isnan().any():
        rate = (samples["ciou"][sounding] >= 0.5).double().mean().nan_to_num().item()
        bound = always_detecting_f1(rate, int(sounding.sum()), int((~sounding).sum()))
        assert found["max_f1"] >= found["max_f1_official"] >= bound - 1e-12
    recall = precision_recall(**samples, at=samples["confidence"].sort(descending=True).values.nan_to_num(math.inf))[1]
    assert (recall.diff() >= 0).all()


def test_agrees_with_scikit_learn_where_every_sound_is_found_in_place():
    from sklearn.metrics import average_precision_score, precision_recall_curve

    for seed in range(5):
        samples = made_samples(150, seed=seed)
        samples["ciou"] = torch.ones(150).double()
        truth, scores = samples["sounding"].numpy(), samples["confidence"].numpy()
        assert average_precision(**samples).item() == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
        precision, recall, at = precision_recall_curve(truth, scores)
        found = curve(samples, *at)
        assert found[0] == pytest.approx(precision[:-1].tolist(), abs=1e-15)
        assert found[1] == pytest.approx(recall[:-1].tolist(), abs=1e-15)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_the_accelerator_finds_the_same():
    samples = made_samples(500, seed=1)
    there = {name: values.cuda() for name, values in samples.items()}
    assert detection_summary(**there) == pytest.approx(detection_summary(**samples), abs=1e-12)
    assert max_f1_printed(**there).item() == max_f1_printed(**samples).item()
