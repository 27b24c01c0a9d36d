"""The worked examples and official runs that no other file has, and a check that none is left over."""

import importlib.util
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avbench.metrics.consensus_iou import consensus_iou
from avbench.metrics.extended import average_precision_official, f1, precision_recall
from avbench.metrics.ground_truth import consensus_map, union_map
from avbench.metrics.maps import minmax_unguarded
from avbench.metrics.masks import absolute_mask
from avbench.metrics.protocols import PROTOCOLS
from avbench.metrics.scoring import RawMaps, aggregate, measure

HEARD = (-1 / 0.03, 1 / 0.03)
JSA, TRAIN, SLAVC_TRAIN = (PROTOCOLS[name] for name in ("jsa", "ezvsl-train", "slavc-train"))
STRICT = replace(PROTOCOLS["ezvsl"], operator=">")
"""kaistmm/SSLalignment test.py, ``validate``: EZ-VSL's canvas, the pixels above the middle."""

BOTH, ALL = ("vggss", "flickr"), ("vggss", "flickr", "is3")
TABLE = [
    (BOTH, "ezvsl_{}_train_validate", ["av7"], TRAIN),
    (BOTH, "fnac_{}_train_validate", ["av7"], TRAIN),
    (BOTH, "jsa_{}_img", ["jsa_img7"], JSA),
    (BOTH, "jsa_{}_ogl", ["obj7"], JSA),
    (["avsbench"], "jsa_{}_aud", ["jsa_aud7"], JSA),
    (["avsbench"], "jsa_{}_img", ["jsa_img7"], JSA),
    (["avsbench"], "jsa_{}_ogl", ["obj7"], JSA),
    (["avsbench"], "jsa_{}_iqr_aud_img", ["jsa_aud7", "jsa_img7"], JSA),
    (["avsbench"], "jsa_{}_aud_ogl", ["jsa_aud7", "obj7"], JSA),
    (["avsbench"], "jsa_{}_all_combined", ["jsa_aud7", "jsa_img7", "obj7"], JSA),
    (ALL, "alignment_ezvsl_style_{}_av", ["av7"], STRICT),
    (ALL, "alignment_ezvsl_style_{}_av_obj", ["av7", "obj7"], STRICT),
]
RUNS = {run.format(group): (group, kinds, protocol) for groups, run, kinds, protocol in TABLE for group in groups}
SLAVC = {f"slavc_{group}_train_validate": group for group in ("vggss", "flickr_extended")}
TRUTH = {f"ground_truth_{group}": group for group in BOTH}
HERE = [*RUNS, *SLAVC, *TRUTH]
RATES = ("AP50_fraction_ciou>=0.5", "cIoU", "cIoU_fraction>=0.5")
"""The names that the success rate has in the summaries."""


def official_masks(shared, rule) -> torch.Tensor:
    """The made-up masks ``[60, 224, 224]`` of the AVSBench runs, zeros and ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        place = shared / "goldens" / "tools" / "make_eval_inputs.py"
        spec = importlib.util.spec_from_file_location("remaining_eval_inputs", place)
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
    return torch.from_numpy(made.masks(rule))


@pytest.fixture(scope="module")
def official(shared):
    """Truth by group, maps and per-sample values by name, the official summaries, and which Flickr samples are run."""
    folder = shared / "goldens" / "goldens"
    inputs = json.loads((folder / "eval_inputs.json").read_text(encoding="utf-8"))
    runs = json.loads((folder / "evaluators.json").read_text(encoding="utf-8"))["evaluators"]
    flickr = torch.stack([consensus_map(sample["boxes256"]) for sample in inputs["flickr"]])
    truth = {
        "vggss": torch.stack([union_map(sample["bbox"]) for sample in inputs["vggss"]]),
        "flickr": flickr,
        "flickr_extended": torch.cat([flickr, torch.zeros_like(flickr)]),
        "is3": torch.stack([union_map([[(int(v) + 0.5) / 224 for v in s["box224"]]]) for s in inputs["is3"]]),
        "avsbench": official_masks(shared, inputs["masks"]),
    }
    listed = torch.tensor([sample["name"] not in inputs["flickr_not_in_249"] for sample in inputs["flickr"]])
    with np.load(folder / "eval_inputs.npz") as maps, np.load(folder / "evaluators.npz") as values:
        arrays = {name: torch.from_numpy(stored[name]) for stored in (maps, values) for name in stored.files}
    arrays |= {f"avsbench{name.removeprefix('avs')}": kept for name, kept in arrays.items() if name.startswith("avs_")}
    arrays["flickr_extended_av7"] = torch.cat([arrays["flickr_av7"], arrays["flickr_silent_av7"]])
    return truth, listed, arrays, {name: run["summary"] for name, run in runs.items()}


def assert_close(found, expected, maps, *, moved=0.02):
    """Within the goldens' tolerance; constant maps are interpolation noise, which processors round differently."""
    noise = maps.amax(dim=(1, 2)) == maps.amin(dim=(1, 2))
    assert noise.sum() <= 1
    assert torch.equal(found.isnan(), expected.isnan())
    apart = (found - expected)[~noise].abs().nan_to_num()
    assert apart.max() <= 2e-4
    assert (apart > 1e-12).sum() <= max(3, moved * len(apart))


def test_sspl_agrees_with_the_worked_examples(examples):
    for case in examples("ciou_from_map", "sspl_abs_0.5"):
        maps, truth = (torch.tensor([case["inputs"][key]], dtype=torch.float64) for key in ("map", "gt"))
        found = consensus_iou(absolute_mask(minmax_unguarded(maps), 0.5), truth).item()
        assert found == pytest.approx(case["expected"]["ciou"], abs=1e-12, nan_ok=True), case["id"]


@pytest.mark.parametrize("run", RUNS)
def test_agrees_with_the_official_evaluators(official, run):
    truth, listed, arrays, summaries = official
    group, kinds, protocol = RUNS[run]
    expected, summary = arrays[f"{run}/ciou"], summaries[run]
    rows = listed if len(expected) == 249 else torch.ones(len(truth[group]), dtype=torch.bool)
    maps, *priors = (RawMaps(arrays[f"{group}_{kind}"][rows]) for kind in kinds)
    found = measure(maps, truth[group][rows], protocol, priors=priors)
    assert_close(found["ciou"], expected, maps.values)
    if f"{run}/ciou_adap" in arrays:
        assert_close(found["ciou_adap"], arrays[f"{run}/ciou_adap"], maps.values, moved=0.05)
    rates, one = aggregate(found["ciou"], protocol), 1 / len(expected)
    assert rates["locacc"] == pytest.approx(next(summary[key] for key in RATES if key in summary), abs=one + 1e-12)
    assert rates["auc"] == pytest.approx(summary["AUC"], abs=0.05 * one + 1e-12)
    if "mean_ciou" in summary:
        assert rates["mean_ciou"] == pytest.approx(summary["mean_ciou"], abs=one)


def test_summaries_follow_from_the_official_values_exactly(official):
    _, _, arrays, summaries = official
    names = [name for name, summary in summaries.items() if "AUC" in summary and any(key in summary for key in RATES)]
    assert len(names) == 54
    for name in names:
        ids = {"locacc": RATES, "auc": ["AUC"], "mean_ciou": ["mean_ciou"]}
        found = aggregate(arrays[f"{name}/ciou"])
        for metric, key in ((metric, key) for metric, keys in ids.items() for key in keys if key in summaries[name]):
            assert found[metric] == pytest.approx(summaries[name][key], abs=1e-12), (name, key)


def training_figures(confidence, ciou, sounding) -> dict[str, float]:
    """What SLAVC prints between epochs."""
    point = precision_recall(confidence, ciou, sounding=sounding, at=torch.tensor([0.5]))
    return {
        "precision": aggregate(ciou[sounding], SLAVC_TRAIN)["locacc"],
        "AP": average_precision_official(confidence, ciou, sounding=sounding).item(),
        "F1": f1(*point).item(),
    }


@pytest.mark.parametrize("run", SLAVC)
def test_slavc_agrees_with_the_official_validation_during_training(official, run):
    truth, _, arrays, summaries = official
    maps = RawMaps(arrays[f"{SLAVC[run]}_av7"], HEARD)
    found = measure(maps, truth[SLAVC[run]], SLAVC_TRAIN, confidence=True)
    stored = {key: arrays[f"{run}/{key}"] for key in ("ciou", "confidence")}
    assert_close(found["ciou"], stored["ciou"], maps.values)
    torch.testing.assert_close(found["confidence"], stored["confidence"], rtol=1e-6, atol=0)
    sounding = torch.arange(len(maps)) < (300 if SLAVC[run] == "vggss" else 250)
    exact = training_figures(stored["confidence"], stored["ciou"], sounding)
    assert exact == pytest.approx(summaries[run], abs=1e-12)
    own = training_figures(found["confidence"], found["ciou"], sounding)
    assert own == pytest.approx(summaries[run], abs=2 / int(sounding.sum()))


def test_slavc_s_training_counts_no_overlap_of_exactly_a_half():
    sure, overlaps = torch.tensor([0.9, 0.8, 0.5, 0.4, 0.7]), torch.tensor([0.6, 0.5, 0.4, 0.75, 1.0])
    found = training_figures(sure, overlaps, torch.tensor([True, True, True, True, False]))
    assert found["precision"] == 0.5, "two of the four that sound; the silent one is never read"
    assert found["F1"] == pytest.approx(4 / 7, abs=1e-12), "half of four detected, one of three missed"


@pytest.mark.parametrize("run", TRUTH)
def test_truth_agrees_with_the_official_maps(official, run):
    truth, _, arrays, summaries = official
    area = truth[TRUTH[run]].sum(dim=(1, 2))
    assert torch.equal(area, arrays[f"{run}/area"])
    assert {"total": area.sum().item(), "empty": int((area == 0).sum())} == summaries[run]


FOLDER = Path(__file__).parent
ORACLE = "test_metrics_oracle.py"
"""Compares the tests' own oracle, not the package."""

ELSEWHERE = [
    ("scoring", "ezvsl_{}_validate_av", [BOTH]),
    ("scoring", "ezvsl_{}_validate_obj", [BOTH]),
    ("scoring", "ezvsl_{}_validate_av_obj", [BOTH]),
    ("scoring", "jsa_{}_aud", [BOTH]),
    ("scoring", "jsa_{}_iqr_aud_img", [BOTH]),
    ("scoring", "jsa_{}_aud_ogl", [BOTH]),
    ("scoring", "jsa_{}_all_combined", [BOTH]),
    ("paper_protocols", "fnac_{}_validate_av", [BOTH]),
    ("paper_protocols", "fnac_{}_validate_obj", [BOTH]),
    ("paper_protocols", "fnac_{}_validate_av_obj", [BOTH]),
    ("paper_protocols", "fnac_{}_validate2_av", [BOTH]),
    ("paper_protocols", "fnac_{}_validate2_obj", [BOTH]),
    ("paper_protocols", "fnac_{}_validate2_av_obj", [BOTH]),
    ("paper_protocols", "lvs_{}", [BOTH]),
    ("paper_protocols", "alignment_ours_{}_av", [ALL]),
    ("paper_protocols", "alignment_ours_{}_av_obj", [ALL]),
    (
        "paper_protocols",
        "slavc_{group}_{mode}_{kind}",
        [("vggss", "flickr_extended"), ("fixed", "relative"), ("av", "obj", "av_obj_alpha0.4", "av_obj_alpha0.9")],
    ),
    ("extended_examples", "slavc_formulas_10316", []),
    ("segmentation", "avsbench_per_frame_iou", []),
    ("segmentation", "avsbench_s4_batch1", []),
    ("segmentation", "avsbench_s4_batch4", []),
    ("multisource_official", "avgn_duet_{run}", [("official_gt", "own_gt")]),
    ("multisource_official", "avgn_single", []),
    ("multisource_official", "tvsl_duet_thr{threshold}", [("0.3", "0.5")]),
    ("multisource_official", "noprior_duet", []),
]
"""The end of a test file's name, the runs' name as that file writes it, and what it puts into each pair of braces."""


def put_in(name: str, values) -> str:
    """``name`` with each pair of braces replaced by the next of the values."""
    for value in values:
        before, _, rest = name.partition("{")
        name = before + value + rest.partition("}")[2]
    return name


def test_every_official_run_is_compared_with_the_package(shared):
    stored = json.loads((shared / "goldens" / "goldens" / "evaluators.json").read_text(encoding="utf-8"))
    named = set(HERE)
    for ending, name, choices in ELSEWHERE:
        source = (FOLDER / f"test_metrics_{ending}.py").read_text(encoding="utf-8")
        for text in (name, *itertools.chain(*choices)):
            assert text in source, f"test_metrics_{ending}.py no longer has {text}"
        named |= {put_in(name, values) for values in itertools.product(*choices)}
    assert named == set(stored["evaluators"])


def is_read(metric: str, variant: str, source: str) -> bool:
    """Whether a test file names the pair: in one place, or the variant where it reads any of the metric's."""
    chosen = f'examples("{metric}", variant)' in source and f'"{variant}"' in source
    return chosen or f'"{metric}", "{variant}"' in source or f'case["variant"] == "{variant}"' in source


def test_every_worked_example_is_compared_with_the_package(shared):
    text = (shared / "examples" / "worked_examples.json").read_text(encoding="utf-8")
    pairs = {(case["metric"], case["variant"]) for case in json.loads(text)["cases"]}
    files = [place for place in FOLDER.glob("test_metrics_*.py") if place.name != ORACLE]
    sources = [place.read_text(encoding="utf-8") for place in files]
    assert len(pairs) == 73
    assert [pair for pair in sorted(pairs) if not any(is_read(*pair, source) for source in sources)] == []
