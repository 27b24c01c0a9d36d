"""The measures of extended sets against the worked examples and the official evaluator."""

import itertools
import json
import math
from functools import partial

import numpy as np
import pytest
import torch

from avbench.metrics.extended import (
    always_detecting_f1,
    average_precision,
    average_precision_official,
    detection_counts,
    detection_summary,
    f1,
    max_f1,
    max_f1_official,
    max_f1_printed,
    precision_recall,
)

FORMS = {
    ("ap", "full_curve_no_interpolation"): average_precision,
    ("ap", "full_curve_envelope"): partial(average_precision, envelope=True),
    ("ap", "official_subsampled"): average_precision_official,
    ("max_f1", "full"): max_f1,
    ("max_f1", "official_ten_thresholds"): max_f1_official,
}


def from_case(inputs) -> dict[str, torch.Tensor]:
    """The three per-sample inputs of an example, which may spell out a rule instead."""
    if "rule" in inputs:
        n = inputs["n"]
        inputs = {
            "conf": [((37 * i) % n) / n for i in range(n)],
            "ciou": [((13 * i) % 10) / 10 if i % 2 == 0 else 0 for i in range(n)],
            "n_boxes": [1 - i % 2 for i in range(n)],
        }
    confidence, ciou, boxes = (torch.tensor(inputs[key], dtype=torch.float64) for key in ("conf", "ciou", "n_boxes"))
    return {"confidence": confidence, "ciou": ciou, "sounding": boxes > 0}


@pytest.mark.parametrize(("metric", "variant"), FORMS)
def test_agrees_with_the_worked_examples(examples, metric, variant):
    for case in examples(metric, variant):
        gamma = case["inputs"].get("gamma", 0.5)
        found = FORMS[metric, variant](**from_case(case["inputs"]), success=gamma).item()
        assert found == pytest.approx(case["expected"][metric], abs=1e-12), case["id"]


def test_printed_values_agree_with_the_worked_examples(examples):
    for case in examples("max_f1", "official_ten_thresholds"):
        if "printed" in case["expected"]:
            expected = max(map(float, case["expected"]["printed"])) / 100
            assert max_f1_printed(**from_case(case["inputs"])).item() == expected, case["id"]


@pytest.mark.parametrize(("variant", "operator"), [("ge_ge", ">="), ("paper_strict", ">")])
def test_counts_and_curves_agree_with_the_worked_examples(examples, variant, operator):
    for case in examples("precision_recall", variant):
        given = case["inputs"]
        at = torch.tensor([given["delta"]], dtype=torch.float64)
        options = {"at": at, "success": given["gamma"], "operator": operator}
        precision, recall = precision_recall(**from_case(given), **options)
        tp, fp, fn = (values.item() for values in detection_counts(**from_case(given), **options))
        shares = {"precision": precision.item(), "recall": recall.item(), "f1": f1(precision, recall).item()}
        assert {"tp": tp, "fp": fp, "fn": fn} | shares == pytest.approx(case["expected"], abs=1e-12), case["id"]


def test_the_trivial_bound_agrees_with_the_worked_examples(shared):
    cases = json.loads((shared / "examples" / "worked_examples.json").read_text(encoding="utf-8"))["cases"]
    cases = [case for case in cases if case["variant"] == "trivial_always_detect"]
    assert len(cases) == 3
    for case in cases:
        given = case["inputs"]
        found = always_detecting_f1(given["locacc"], given["n_pos"], given["n_neg"])
        assert found == pytest.approx(case["expected"]["f1"], abs=1e-12), case["id"]


@pytest.mark.parametrize(
    ("locacc", "negatives", "printed"), [(0.8360, 250, 0.5896), (0.7720, 250, 0.5570), (0.8200, 0, 0.9011)]
)
def test_published_max_f1_are_the_trivial_bound(locacc, negatives, printed):
    assert always_detecting_f1(locacc, 250, negatives) == pytest.approx(printed, abs=5e-5)


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
SIZES = {"small": (0, 1024), "medium": (1024, 9216), "large": (9216, 20736), "huge": (20736, math.inf)}


def parts_of(run, arrays) -> dict[str, dict[str, torch.Tensor]]:
    """The run's samples: all, those with boxes, and the latter by the area of their truth."""
    ciou, confidence, boxes, area = (arrays[f"{run}/{name}"] for name in ("ciou", "confidence", "boxes", "area"))
    rows = {"all": boxes >= 0, "visible": boxes > 0}
    rows |= {name: (boxes > 0) & (area >= low) & (area < high) for name, (low, high) in SIZES.items()}
    return {
        part: {"confidence": confidence[kept], "ciou": ciou[kept], "sounding": boxes[kept] > 0}
        for part, kept in rows.items()
    }


@pytest.mark.parametrize("run", RUNS)
def test_agrees_with_the_official_evaluator(official, run):
    runs, arrays = official
    summary = runs[run]["summary"]
    parts = parts_of(run, arrays)
    for part, at in itertools.product(parts, (0.5, 0.75)):
        key, samples = f"{part}@{100 * at:.0f}", parts[part]
        found = detection_summary(**samples, success=at)
        if summary[f"AP-{key}"] is None:
            assert len(samples["ciou"]) == 0
            assert math.isnan(found["ap_official"]), "no samples of this size"
            continue
        assert found["ap_official"] == pytest.approx(summary[f"AP-{key}"], abs=1e-12), key
        confidence = samples["confidence"].sort().values
        listed = f1(*precision_recall(**samples, at=confidence[:: max(1, len(confidence) // 10)], success=at))
        assert " ".join(f"{100 * value:.1f}" for value in listed.tolist()) == summary[f"F1-{key}"], key
        assert max_f1_printed(**samples, success=at).item() == max(map(float, summary[f"F1-{key}"].split())) / 100
        everything = precision_recall(**samples, at=torch.tensor([-1000.0]), success=at)[0].item()
        assert everything == pytest.approx(summary[f"Precision-{key}"], abs=1e-12), key
    if "f1_at_50_conf0_5" in summary:
        found = f1(*precision_recall(**parts["all"], at=torch.tensor([0.5]))).item()
        assert found == pytest.approx(summary["f1_at_50_conf0_5"], abs=1e-12)
