"""The oracle itself: against the official evaluators, the worked examples, scikit-learn, and values found by hand."""

import ast
import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

SOURCE = Path(__file__).parents[1] / "oracles" / "official_scoring.py"
HEARD, SEEN = (-1 / 0.03, 1 / 0.03), (0.0, 2.5)
"""The ranges of a cosine over tau and of the object map."""
NAN = math.nan
ROWS = [1, 2, *range(3, 300, 41)]
"""Of a group's samples: the two-level and the weak map of VGG-SS, and eight more."""


def loaded():
    spec = importlib.util.spec_from_file_location("official_scoring", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


oracle = loaded()


def test_nothing_of_the_package_is_imported():
    found = set()
    for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add(node.module)
    assert found == {"__future__", "math", "collections.abc", "typing", "numpy", "numpy.typing", "torch"}


def drawn(boxes, *, weight=1.0):
    truth = np.zeros((224, 224))
    for x0, y0, x1, y1 in boxes:
        truth[y0:y1, x0:x1] += weight
    return np.minimum(truth, 1)


@pytest.fixture(scope="module")
def goldens(shared):
    """Truths by group, arrays and summaries of the official runs, and the places of the 249 Flickr samples."""
    folder = shared / "goldens" / "goldens"
    inputs = json.loads((folder / "eval_inputs.json").read_text(encoding="utf-8"))
    runs = json.loads((folder / "evaluators.json").read_text(encoding="utf-8"))["evaluators"]
    flickr = [drawn([[224 * v // 256 for v in b] for b in s["boxes256"]], weight=0.5) for s in inputs["flickr"]]
    truths = {
        "vggss": [drawn((np.clip(s["bbox"], 0, 1) * 224).astype(int).tolist()) for s in inputs["vggss"]],
        "flickr": flickr,
        "flickr_extended": flickr + [np.zeros((224, 224))] * 250,
        "is3": [drawn([[int(v) for v in s["box224"]]]) for s in inputs["is3"]],
    }
    listed = [i for i, sample in enumerate(inputs["flickr"]) if sample["name"] not in inputs["flickr_not_in_249"]]
    with np.load(folder / "eval_inputs.npz") as maps, np.load(folder / "evaluators.npz") as values:
        arrays = {name: stored[name] for stored in (maps, values) for name in stored.files}
    for kind in ("av7", "obj7"):
        arrays[f"flickr_extended_{kind}"] = np.concatenate([arrays[f"flickr_{kind}"], arrays[f"flickr_silent_{kind}"]])
    return truths, arrays, runs, listed


RUNS = [
    ("ezvsl_{}_validate_av", "av7", None, "ezvsl"),
    ("ezvsl_{}_validate_obj", "obj7", None, "ezvsl"),
    ("ezvsl_{}_validate_av_obj", "av7", "obj7", "ezvsl"),
    ("ezvsl_{}_train_validate", "av7", None, "ezvsl-train"),
    ("fnac_{}_validate_av_obj", "av7", "obj7", "fnac-a"),
    ("fnac_{}_validate2_av", "av7", None, "fnac-b"),
    ("fnac_{}_validate2_av_obj", "av7", "obj7", "fnac-b"),
    ("lvs_{}", "lvs14", None, "lvs"),
    ("alignment_ours_{}_av", "lvs14", None, "alignment"),
    ("alignment_ours_{}_av_obj", "lvs14", "obj7", "alignment"),
    ("jsa_{}_aud", "jsa_aud7", None, "jsa"),
    ("jsa_{}_img", "jsa_img7", None, "jsa"),
    ("jsa_{}_iqr_aud_img", "jsa_aud7", "jsa_img7", "jsa"),
    ("jsa_{}_aud_ogl", "jsa_aud7", "obj7", "jsa"),
]
CASES = [(group, *run) for run in RUNS for group in ("vggss", "flickr")]
CASES += [("is3", *run) for run in RUNS if run[3] == "alignment"]


@pytest.mark.parametrize(("group", "run", "kind", "second", "protocol"), CASES, ids=[c[1].format(c[0]) for c in CASES])
def test_agrees_with_the_official_evaluators(goldens, group, run, kind, second, protocol):
    truths, arrays, _, listed = goldens
    expected = {name: arrays.get(f"{run.format(group)}/{name}") for name in ("ciou", "ciou_adap")}
    places = listed if len(expected["ciou"]) == 249 else list(range(len(expected["ciou"])))
    for row in ROWS:
        if row >= len(places):
            break
        place = places[row]
        found = oracle.score_sample(
            arrays[f"{group}_{kind}"][place],
            truths[group][place],
            protocol,
            prior=arrays[f"{group}_{second}"][place] if second else None,
            split=group,
        )
        for name, values in expected.items():
            if values is not None:
                assert found[name] == pytest.approx(values[row], abs=2e-4, nan_ok=True), (row, name)


@pytest.mark.parametrize("group", ["vggss", "flickr_extended"])
@pytest.mark.parametrize(("mode", "protocol"), [("fixed", "slavc"), ("relative", "slavc-relative")])
@pytest.mark.parametrize("kind", ["av", "obj", "av_obj_alpha0.4", "av_obj_alpha0.9"])
def test_agrees_with_slavc_s_evaluator(goldens, group, mode, protocol, kind):
    truths, arrays, _, _ = goldens
    heard, seen = arrays[f"{group}_av7"], arrays[f"{group}_obj7"]
    alpha = kind.partition("alpha")[2]
    for row in [*ROWS[:8], len(heard) - 1]:
        second = {"prior": seen[row], "prior_range": SEEN, "alpha": float(alpha)} if alpha else {}
        first = (seen[row], SEEN) if kind == "obj" else (heard[row], HEARD)
        found = oracle.score_sample(first[0], truths[group][row], protocol, score_range=first[1], **second)
        stored = {name: arrays[f"slavc_{group}_{mode}_{kind}/{name}"][row] for name in ("ciou", "confidence")}
        assert found["ciou"] == pytest.approx(stored["ciou"], abs=2e-4, nan_ok=True), row
        assert found["confidence"] == pytest.approx(stored["confidence"], rel=1e-6), row


@pytest.mark.parametrize("group", ["vggss", "flickr_extended"])
def test_agrees_with_slavc_s_validation_during_training(goldens, group):
    truths, arrays, runs, _ = goldens
    run = f"slavc_{group}_train_validate"
    stored = arrays[f"{run}/ciou"], arrays[f"{run}/confidence"]
    for row in ROWS:
        native, truth = arrays[f"{group}_av7"][row], truths[group][row]
        found = oracle.score_sample(native, truth, "slavc-train", score_range=HEARD)
        assert found["ciou"] == pytest.approx(stored[0][row], abs=2e-4)
        assert found["confidence"] == pytest.approx(stored[1][row], rel=1e-6)
    boxes = np.arange(len(stored[0])) < (300 if group == "vggss" else 250)
    summary = runs[run]["summary"]
    strict = oracle.PROTOCOLS["slavc-train"].success
    assert oracle.locacc(stored[0], strict, boxes) == pytest.approx(summary["precision"], abs=1e-12)
    assert oracle.official_ap(stored[1], stored[0], boxes) == pytest.approx(summary["AP"], abs=1e-9)
    single = oracle.precision_recall(stored[1], stored[0], boxes, gamma=0.5, delta=0.5)
    assert oracle.f1_of(*single) == pytest.approx(summary["F1"], abs=1e-12)


@pytest.mark.parametrize("run", ["slavc_formulas_10316", "slavc_flickr_extended_fixed_av", "slavc_vggss_relative_av"])
def test_detection_agrees_with_slavc_s_statistics(goldens, run):
    _, arrays, runs, _ = goldens
    ciou, confidence, boxes = (arrays[f"{run}/{name}"] for name in ("ciou", "confidence", "boxes"))
    summary = runs[run]["summary"]
    for gamma in (0.5, 0.75):
        expected = summary[f"AP-all@{int(100 * gamma)}"]
        assert oracle.official_ap(confidence, ciou, boxes, gamma) == pytest.approx(expected, abs=1e-9)
        printed = " ".join(f"{100 * f1:.1f}" for f1 in oracle.official_f1_list(confidence, ciou, boxes, gamma))
        assert printed == summary[f"F1-all@{int(100 * gamma)}"]
    assert oracle.success_auc(ciou[boxes > 0]) == pytest.approx(summary["AUC-visible@50"], abs=1e-12)
    assert oracle.locacc(ciou, n_boxes=boxes) == pytest.approx(summary["Precision-visible@50"], abs=1e-12)


def test_aggregates_agree_with_the_official_evaluators(goldens):
    _, arrays, runs, _ = goldens
    for run in ("ezvsl_vggss_validate_av", "jsa_flickr_aud"):
        values, summary = arrays[f"{run}/ciou"], runs[run]["summary"]
        assert oracle.locacc(values) == pytest.approx(summary["AP50_fraction_ciou>=0.5"], abs=1e-12)
        assert oracle.mean(values) == pytest.approx(summary["mean_ciou"], abs=1e-12)
        assert oracle.success_auc(values) == pytest.approx(summary["AUC"], abs=1e-12)


def test_scenes_agree_with_the_official_evaluator(goldens, shared):
    _, arrays, runs, _ = goldens
    inputs = json.loads((shared / "goldens" / "goldens" / "eval_inputs.json").read_text(encoding="utf-8"))
    names = [sample["name"] for sample in inputs["is3"]]
    summary = runs["alignment_ours_is3_av"]["summary"]
    for suffix in ("", "_adap"):
        values = arrays[f"alignment_ours_is3_av/ciou{suffix}"]
        assert oracle.iiou(names, values) == pytest.approx(summary[f"IIoU{suffix}"], abs=1e-12)
        assert oracle.iauc(names, values) == pytest.approx(summary[f"IAUC{suffix}"], abs=1e-12)


@pytest.mark.parametrize(
    ("variant", "protocol"),
    [
        ("ezvsl_ge_half", "ezvsl"),
        ("fnac_ge_half", "fnac-a"),
        ("fnac_ge_half", "common"),
        ("alignment_gt_half", "alignment"),
        ("lvs_gt_saturating", "lvs"),
        ("htf_gt_saturating", "htf"),
        ("jsa_abs_0.6", "jsa"),
    ],
)
def test_single_maps_agree_with_the_worked_examples(examples, monkeypatch, variant, protocol):
    monkeypatch.setitem(oracle.PROTOCOLS, "htf", oracle.PROTOCOLS["lvs"]._replace(normalise="minmax"))
    for case in examples("ciou_from_map", variant):
        native, truth = (np.array(case["inputs"][key], dtype=np.float64) for key in ("map", "gt"))
        found = oracle.score_sample(native, truth, protocol)["ciou"]
        assert found == pytest.approx(case["expected"]["ciou"], abs=1e-12, nan_ok=True), case["id"]


@pytest.mark.parametrize(
    ("variant", "protocol"),
    [
        ("ezvsl_av_obj_fusion", "ezvsl"),
        ("slavc_relative", "slavc-relative"),
        ("slavc_absolute_0.5", "slavc"),
    ],
)
def test_fused_maps_agree_with_the_worked_examples(examples, variant, protocol):
    for case in examples("ciou_from_map", variant):
        given, expected = case["inputs"], case["expected"]["ciou"]
        heard, seen, truth = (np.array(given[key], dtype=np.float64) for key in ("map_av", "map_obj", "gt"))
        ends = (-1 / given["tau"], 1 / given["tau"]) if "tau" in given else None
        second = {"prior": seen, "prior_range": SEEN, "alpha": given["alpha"]}
        found = {
            "av": oracle.score_sample(heard, truth, protocol, score_range=ends)["ciou"],
            "obj": oracle.score_sample(seen, truth, protocol, score_range=SEEN)["ciou"],
            "av_obj": oracle.score_sample(heard, truth, protocol, score_range=ends, **second)["ciou"],
        }
        expected = expected if isinstance(expected, dict) else {**found, "av_obj": expected}
        assert found == pytest.approx(expected, abs=1e-12, nan_ok=True), case["id"]


@pytest.mark.parametrize(
    ("metric", "variant", "name"),
    [
        ("ciou_adap", "gt_area_threshold_strict", "ciou_adap"),
        ("pixel_ap", "gt_labels_continuous_scores", "pixel_ap"),
    ],
)
def test_other_values_of_a_map_agree_with_the_worked_examples(examples, metric, variant, name):
    for case in examples(metric, variant):
        native, truth = (np.array(case["inputs"][key], dtype=np.float64) for key in ("map", "gt"))
        found = oracle.score_sample(native, truth, "ezvsl")[name]
        expected = case["expected"]["ciou" if metric == "ciou_adap" else "ap"]
        assert found == pytest.approx(expected, abs=1e-12, nan_ok=True), case["id"]


def test_confidences_agree_with_the_worked_examples(examples):
    for case in examples("confidence", "slavc_top_quarter"):
        given, expected = case["inputs"], case["expected"]
        heard, seen = (np.array(given[key], dtype=np.float64) for key in ("map_av", "map_obj"))
        ends, truth = (-1 / given["tau"], 1 / given["tau"]), np.ones(heard.shape)
        fused = {"prior": seen, "prior_range": SEEN, "alpha": given["alpha"]}
        for key, native, how in (
            ("conf_av", heard, {"score_range": ends}),
            ("conf_obj", seen, {"score_range": SEEN}),
            ("conf_av_obj", heard, {"score_range": ends, **fused}),
        ):
            found = oracle.score_sample(native, truth, "slavc", **how)["confidence"]
            assert found == pytest.approx(expected[key], abs=1e-12, nan_ok=True), case["id"]


DETECTION = {
    ("ap", "official_subsampled"): lambda *given: oracle.official_ap(*given),
    ("ap", "full_curve_no_interpolation"): lambda *given: oracle.full_curve_ap(*given),
    ("max_f1", "official_ten_thresholds"): lambda *given: max(oracle.official_f1_list(*given)),
    ("max_f1", "full"): lambda *given: oracle.full_max_f1(*given),
}


@pytest.mark.parametrize(("metric", "variant"), DETECTION)
def test_detection_agrees_with_the_worked_examples(examples, metric, variant):
    for case in examples(metric, variant):
        given = case["inputs"]
        if "rule" in given:  # the one that it states
            n = given["n"]
            ciou = [(13 * i) % 10 / 10 if i % 2 == 0 else 0 for i in range(n)]
            columns = [37 * i % n / n for i in range(n)], ciou, [1 - i % 2 for i in range(n)]
        else:
            columns = given["conf"], given["ciou"], given["n_boxes"], given["gamma"]
        if variant == "official_ten_thresholds" and np.isnan(columns[0]).any():
            continue  # the official list then depends on the order of the samples
        found = DETECTION[metric, variant](*columns)
        assert found == pytest.approx(case["expected"][metric], abs=1e-12), case["id"]


def test_aggregates_agree_with_the_worked_examples(examples):
    for metric, variant, found in (
        ("locacc", "ge", oracle.locacc),
        ("locacc", "gt", lambda values: oracle.locacc(values, ">")),
        ("auc", "success_21", oracle.success_auc),
        ("mean_ciou", "mean", oracle.mean),
    ):
        for case in examples(metric, variant):
            expected = next(iter(case["expected"].values()))
            assert found(case["inputs"]["ciou"]) == pytest.approx(expected, abs=1e-12, nan_ok=True), case["id"]


@pytest.mark.parametrize(("metric", "variant"), [("iiou", "all_members_ge_0.5"), ("iauc", "min_success_21")])
def test_scenes_agree_with_the_worked_examples(examples, metric, variant):
    for case in examples(metric, variant):
        names, values = zip(*case["inputs"]["items"], strict=True)
        found = getattr(oracle, metric)(names, values)
        assert found == pytest.approx(case["expected"][metric], abs=1e-12, nan_ok=True), case["id"]


def test_a_scene_with_an_item_without_value_fails_above_zero():
    names, values = ["a_1.jpg", "a_2.jpg", "b_1.jpg"], [NAN, 1, 1]
    assert math.isnan(oracle.iiou(names, values))
    assert oracle.iauc(names, values) == pytest.approx(0.05 * (1 + 0.5) / 2 + 0.95 * 0.5)


def test_slavc_s_training_counts_success_above_a_half():
    values = [0.5, 0.6, NAN, 0.1]
    assert oracle.locacc(values, oracle.PROTOCOLS["slavc-train"].success) == 0.25
    assert oracle.locacc(values, oracle.PROTOCOLS["slavc"].success) == 0.5


@pytest.mark.parametrize("variant", ["instance_stable_index", "class_hit_stable_index"])
def test_retrieval_agrees_with_the_worked_examples(examples, variant):
    for case in examples("retrieval", variant):
        similarity = np.array(case["inputs"]["similarity_audio_by_image"])
        for way, rows in (("audio_to_image", similarity), ("image_to_audio", similarity.T)):
            found = oracle.retrieval_recalls(rows, (1, 2, 5, 10), labels=case["inputs"].get("classes"))
            assert found == {int(key[2:]): value for key, value in case["expected"][way].items()}, case["id"]


def test_pixel_ranking_agrees_with_scikit_learn():
    rng = np.random.default_rng(1)
    for levels in (3, 12, 10**6):
        canvas = rng.integers(0, levels, (24, 24)) / levels
        truth = rng.integers(0, 3, (24, 24)) / 2
        labels, scores = truth.ravel() > 0, canvas.ravel()
        expected = average_precision_score(labels, scores), roc_auc_score(labels, scores)
        assert oracle.pixel_ranking(canvas, truth) == pytest.approx(expected, abs=1e-12)


def test_pixel_values_by_hand():
    canvas, truth = np.array([[1.0, 1.0], [0.5, 0.0]]), np.array([[0.5, 0.0], [1.0, 0.0]])
    assert oracle.pointing(canvas, truth) == 0.5
    assert oracle.pointing(canvas, truth > 0.6) == 0
    assert oracle.energy(canvas, truth) == pytest.approx((0.5 + 0.5) / 2.5)
    # ranks: two tied (one inside), then the other inside: P 1/2 at R 1/2, P 2/3 at R 1
    assert oracle.pixel_ranking(canvas, truth) == pytest.approx((0.5 * 0.5 + 0.5 * 2 / 3, 0.625))
    assert oracle.energy(np.full((2, 2), 7.0), truth) == 0.375
    assert oracle.pixel_ranking(canvas, np.zeros((2, 2))) == pytest.approx((0, NAN), nan_ok=True)
    assert oracle.pixel_ranking(canvas, np.ones((2, 2))) == pytest.approx((1, NAN), nan_ok=True)


def test_a_nan_cell_leaves_nothing_to_rank():
    native, truth = np.array([[0.1, NAN], [0.8, 0.9]]), np.array([[0.0, 0.0], [1.0, 1.0]])
    found = oracle.score_sample(native, truth, "ezvsl")
    assert found["ciou"] == found["ciou_adap"] == 0
    assert found["pixel_ap"] == found["pixel_auc"] == found["pointing"] == found["energy"] == 0
    assert math.isnan(found["confidence"])


@pytest.mark.parametrize("batch", [1, 4], ids=["single-videos", "four-videos"])
def test_masks_agree_with_avsbench_s_evaluator(goldens, shared, monkeypatch, batch):
    _, arrays, _, _ = goldens
    logits = arrays["avs_logits28"].repeat(8, axis=1).repeat(8, axis=2)[:20]
    maps = 1 / (1 + np.exp(-logits))
    folder = shared / "goldens"
    monkeypatch.syspath_prepend(str(folder / "tools"))
    rule = json.loads((folder / "goldens" / "eval_inputs.json").read_text(encoding="utf-8"))["masks"]
    truths = importlib.import_module("make_eval_inputs").masks(rule)[:20].astype(np.float64)
    found = [oracle.mask_iou(one > 0.5, truth) for one, truth in zip(maps, truths, strict=True)]
    assert found == pytest.approx(arrays["avsbench_per_frame_iou/iou"][:20], abs=1e-6)
    curves = np.stack([oracle.f_curve(one, truth) for one, truth in zip(maps, truths, strict=True)])
    best = []
    for start in range(0, 20, 5 * batch):
        kept = [row for row in range(start, start + 5 * batch) if truths[row].any()]
        best.append(curves[kept].mean(axis=0).max() if kept else 0)
    expected = arrays[f"avsbench_s4_batch{batch}/f_score"]
    assert best == pytest.approx(expected[: len(best)], abs=1e-6)


def test_avsbench_predicts_above_the_middle_of_the_range():
    native, truth = np.array([[0.0, 1.0], [2.0, 1.5]]), np.array([[0.0, 1.0], [1.0, 1.0]])
    found = oracle.score_sample(native, truth, "avsbench")
    assert found["iou"] == pytest.approx(2 / 3, abs=1e-6)
    # thresholds up to .5 take three right pixels and above 0 nothing else; the last takes one
    assert found["f_curve"][[0, 1, 127, 254]] == pytest.approx([0.975 / 1.225, 1, 1, 1.3 / 3 / (0.3 + 1 / 3)])
    assert oracle.score_sample(native, truth * 0, "avsbench")["iou"] == pytest.approx(0.5)


def test_a_constant_map_stays_constant_under_common_alone():
    native, truth = np.full((7, 7), 0.3, dtype=np.float32), drawn([[0, 0, 112, 112]])
    found = oracle.score_sample(native, truth, "common")
    assert found["ciou"] == found["energy"] == found["pointing"] == found["pixel_ap"] == 0.25
    assert found["ciou_adap"] == 0
    assert found["pixel_auc"] == 0.5


def test_a_set_is_its_samples_and_a_prior_needs_a_fusion():
    rng = np.random.default_rng(2)
    natives, truths = rng.random((3, 5, 5), dtype=np.float32), np.stack([drawn([[0, 0, 90, 150]])] * 3)
    found = oracle.score_set(natives, truths, ["common", "alignment"], split="is3")
    assert {name: values.tolist() for name, values in found["alignment"].items()} == {
        name: [oracle.score_sample(natives[row], truths[row], "alignment", split="is3")[name] for row in range(3)]
        for name in oracle.NAMES
    }
    with pytest.raises(ValueError, match="common scores single maps"):
        oracle.score_sample(natives[0], truths[0], "common", prior=natives[1])
