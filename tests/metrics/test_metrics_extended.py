import json
import math

import numpy as np
import pytest
import torch

from avbench.metrics.extended import (
    aggregate_extended,
    average_precision,
    average_precision_official,
    f1,
    max_f1,
    max_f1_official,
    precision_recall,
)

FORMS = {
    ("ap", "full_curve_no_interpolation"): average_precision,
    ("ap", "official_subsampled"): average_precision_official,
    ("max_f1", "full"): max_f1,
    ("max_f1", "official_ten_thresholds"): max_f1_official,
}


def tensors(confidence, ciou, boxes) -> dict[str, torch.Tensor]:
    """The three per-sample inputs by name."""
    return {
        "confidence": torch.tensor(confidence, dtype=torch.float64),
        "ciou": torch.tensor(ciou, dtype=torch.float64),
        "sounding": torch.tensor(boxes, dtype=torch.float64) > 0,
    }


# Two sounding samples, found and missed in place, between two silent ones.
MIXED = tensors([0.9, 0.8, 0.7, 0.1], [0.0, 0.9, 0.2, 0.0], [0, 1, 1, 0])


def curve(samples, *thresholds: float) -> list[list[float]]:
    at = torch.tensor(thresholds, dtype=torch.float64)
    return [values.tolist() for values in precision_recall(**samples, at=at)]


def test_precision_and_recall_by_hand():
    precision, recall = curve(MIXED, 1.0, 0.9, 0.8, 0.7, 0.1)
    assert precision == [1, 0, 1 / 2, 1 / 3, 1 / 4]
    assert recall == [0, 0, 1 / 2, 1, 1], "found in the wrong place is no false negative"


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
    samples["confidence"] = torch.rand(500, generator=made).double()
    assert max_f1(**samples) >= max_f1_official(**samples) >= expected - 5e-5


def test_only_the_order_of_confidences_matters():
    samples = made_samples(300, seed=5)
    moved = {**samples, "confidence": samples["confidence"] * 3 - 40}
    assert aggregate_extended(**moved) == aggregate_extended(**samples)
    order = torch.randperm(300)
    shuffled = {name: values[order] for name, values in samples.items()}
    assert aggregate_extended(**shuffled) == pytest.approx(aggregate_extended(**samples), abs=1e-14)


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
    ciou = torch.randint(0, 11, (count,), generator=made).double() / 10
    ciou[::17] = math.nan
    confidence = torch.randint(0, max(2, count // 3), (count,), generator=made).double() / 8
    return {"confidence": confidence, "ciou": ciou, "sounding": torch.rand(count, generator=made) < 0.6}


def counted(rows: list[tuple[float, float, bool]], threshold: float) -> tuple[float, float]:
    """Precision and recall, one sample after another."""
    hits = wrong = missed = 0
    for sure, overlap, sounds in rows:
        if sure >= threshold and sounds and overlap >= 0.5:
            hits += 1
        elif sure >= threshold:
            wrong += 1
        elif sounds:
            missed += 1
    precision = hits / (hits + wrong) if hits + wrong else 1.0
    return precision, hits / (hits + missed) if hits + missed else 1.0


def looped(rows: list[tuple[float, float, bool]]) -> dict[str, float]:
    """The four numbers from the formulas, by loops."""
    ascending = sorted(row[0] for row in rows)
    count = len(rows)

    def harmonic(threshold: float) -> float:
        precision, recall = counted(rows, threshold)
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    area = before = 0.0
    for threshold in sorted(set(ascending), reverse=True):
        precision, recall = counted(rows, threshold)
        area += precision * (recall - before)
        before = recall
    points = [counted(rows, t) for t in ascending[:-1][::-1][:: max(1, count // 200)]]
    official = 0.0
    for k in range(len(points) - 1):
        official += max(p for p, _ in points[k:]) * (points[k + 1][1] - points[k][1])
    return {
        "ap": area,
        "max_f1": max(map(harmonic, ascending)),
        "ap_official": official,
        "max_f1_official": max(map(harmonic, ascending[:: max(1, count // 10)])),
    }


@pytest.mark.parametrize("count", [1, 2, 3, 9, 10, 11, 25, 60, 199, 200, 401, 612])
def test_agrees_with_a_loop(count):
    samples = made_samples(count, seed=count)
    rows = list(zip(*(values.tolist() for values in samples.values()), strict=True))
    assert aggregate_extended(**samples) == pytest.approx(looped(rows), abs=1e-12)


def from_case(inputs) -> dict[str, torch.Tensor]:
    if "rule" in inputs:  # the rule is spelt out in the example
        n = inputs["n"]
        return tensors(
            [((37 * i) % n) / n for i in range(n)],
            [((13 * i) % 10) / 10 if i % 2 == 0 else 0 for i in range(n)],
            [1 - i % 2 for i in range(n)],
        )
    return tensors(inputs["conf"], inputs["ciou"], inputs["n_boxes"])


@pytest.mark.parametrize(("metric", "variant"), FORMS)
def test_agrees_with_the_worked_examples(examples, metric, variant):
    for case in examples(metric, variant):
        found = FORMS[metric, variant](**from_case(case["inputs"])).item()
        assert found == pytest.approx(case["expected"][metric], abs=1e-12), case["id"]


def test_curves_agree_with_the_worked_examples(examples):
    for case in examples("precision_recall", "ge_ge"):
        given = case["inputs"]
        at = torch.tensor([given["delta"]], dtype=torch.float64)
        samples = tensors(given["conf"], given["ciou"], given["n_boxes"])
        precision, recall = precision_recall(**samples, at=at, success=given["gamma"])
        found = {"precision": precision.item(), "recall": recall.item(), "f1": f1(precision, recall).item()}
        assert found == pytest.approx({key: case["expected"][key] for key in found}, abs=1e-12), case["id"]


@pytest.fixture(scope="module")
def official(shared):
    """Summaries and per-sample values of the official evaluator on made-up values and on maps."""
    folder = shared / "goldens" / "goldens"
    runs = json.loads((folder / "evaluators.json").read_text(encoding="utf-8"))["evaluators"]
    with np.load(folder / "evaluators.npz") as stored:
        names = [name for name in stored.files if name.startswith("slavc_")]
        return runs, {name: torch.from_numpy(stored[name]) for name in names}


KINDS = ("av", "obj", "av_obj_alpha0.4", "av_obj_alpha0.9")
SETS = [f"{group}_{mode}" for group in ("vggss", "flickr_extended") for mode in ("fixed", "relative")]
RUNS = ["slavc_formulas_10316", *(f"slavc_{name}_{kind}" for name in SETS for kind in KINDS)]


@pytest.mark.parametrize("run", RUNS)
def test_agrees_with_the_official_evaluator(official, run):
    runs, arrays = official
    summary = runs[run]["summary"]
    ciou, confidence, boxes = (arrays[f"{run}/{name}"] for name in ("ciou", "confidence", "boxes"))
    samples = {"confidence": confidence, "ciou": ciou, "sounding": boxes > 0}
    visible = {name: values[boxes > 0] for name, values in samples.items()}
    for part, given in (("all", samples), ("visible", visible)):
        for at in (0.5, 0.75):
            key = f"{part}@{at * 100:.0f}"
            found = average_precision_official(**given, success=at).item()
            assert found == pytest.approx(summary[f"AP-{key}"], abs=1e-12), key
            printed = [float(text) for text in summary[f"F1-{key}"].split()]
            found = max_f1_official(**given, success=at).item()
            assert round(100 * found, 1) == pytest.approx(max(printed), abs=0.051), key
    precision, recall = precision_recall(**samples, at=torch.tensor([0.5]).double())
    if "f1_at_50_conf0_5" in summary:
        assert f1(precision, recall).item() == pytest.approx(summary["f1_at_50_conf0_5"], abs=1e-12)
