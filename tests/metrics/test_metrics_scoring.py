import csv
import json
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from avbench.metrics.consensus_iou import consensus_iou
from avbench.metrics.ground_truth import consensus_map, union_map
from avbench.metrics.protocols import PROTOCOLS, Fusion, Threshold
from avbench.metrics.scoring import CHUNK, RawMaps, Row, aggregate, measure, measure_rows, predicted_mask, score

COMMON, EZVSL, JSA = PROTOCOLS["common"], PROTOCOLS["ezvsl"], PROTOCOLS["jsa"]
STRICT = replace(COMMON, operator=">")
BOXES = {name: protocol for name, protocol in PROTOCOLS.items() if protocol.truth == "boxes"}
LEFT_HALF = [(0.0, 0.0, 0.5, 1.0)]


def truths(count: int, boxes: list[tuple[float, float, float, float]] = LEFT_HALF) -> torch.Tensor:
    return union_map(boxes).expand(count, -1, -1)


def centre(kind: str) -> torch.Tensor:
    """A fixed map ``[1, 224, 224]`` float32 that neither sees nor hears."""
    offset = torch.arange(224, dtype=torch.float32) - 111.5
    x, y = offset.abs(), offset.abs()[:, None]
    drawn = {"disc": -(x**2 + y**2), "square": -torch.maximum(x, y), "ones": torch.ones(224, 224)}
    return drawn[kind][None]


def test_scores_are_per_sample_and_stay_so_across_chunks():
    count = CHUNK + 3
    maps, prior, truth = torch.randn(count, 7, 7), torch.randn(count, 14, 14), truths(count)
    found = score(maps, truth, EZVSL, prior=prior)
    single = [score(maps[n : n + 1], truth[:1], EZVSL, prior=prior[n : n + 1]) for n in range(count)]
    assert found.shape == (count,)
    assert found.dtype == torch.float64
    assert torch.equal(found, torch.cat(single))


def test_a_map_of_the_truth_scores_one():
    for protocol in BOXES.values():
        truth = truths(2) if protocol.operator == ">=" else truths(2, [(0.0, 0.0, 0.49, 1.0)])
        assert score(truth.float(), truth, protocol).tolist() == [1, 1], protocol.name


@pytest.mark.parametrize("value", [0.0, 0.3, 1 / 49, -12.7])
def test_a_constant_map_predicts_the_whole_canvas_under_common(value):
    assert predicted_mask(torch.full((1, 7, 7), value), COMMON).all()
    assert not predicted_mask(torch.full((1, 7, 7), value), STRICT).any()


@pytest.mark.parametrize("protocol", BOXES.values(), ids=BOXES)
def test_a_nan_cell_empties_the_mask(protocol):
    maps = torch.randn(2, 7, 7)
    maps[0, 3, 3] = math.nan
    found = score(maps, truths(2), protocol)
    assert found[0] == 0
    assert found[1] > 0
    assert score(maps, torch.zeros(2, 224, 224), protocol)[0].isnan()


def test_scale_and_offset_of_the_maps_do_not_matter():
    maps = torch.randn(6, 7, 7)
    for protocol in BOXES.values():
        expected = score(maps, truths(6), protocol)
        assert torch.equal(score(maps * 4, truths(6), protocol), expected)
        torch.testing.assert_close(score(maps * 3 - 5, truths(6), protocol), expected, rtol=0, atol=5e-4)


def test_fusion_weighs_the_normalised_maps():
    ramp = torch.linspace(0, 1, 224).expand(224, 224)[None]
    against = predicted_mask(ramp, EZVSL, prior=-100 * ramp)
    assert torch.equal(against, predicted_mask(-ramp, EZVSL))
    heard = replace(EZVSL, fusion=Fusion("normalised-mix", 0.6))
    assert torch.equal(predicted_mask(ramp, heard, prior=-100 * ramp), predicted_mask(ramp, EZVSL))


def test_what_does_not_fit_is_refused():
    maps = torch.rand(2, 7, 7)
    with pytest.raises(ValueError, match="protocol common scores single maps"):
        score(maps, truths(2), COMMON, prior=maps)
    with pytest.raises(ValueError, match="one map per sample, got 3 for 2"):
        score(maps, truths(2), EZVSL, prior=torch.rand(3, 7, 7))
    with pytest.raises(ValueError, match=r"truth must be \[B, H, W\] with one map each"):
        score(maps, truths(3), COMMON)


def test_no_samples_give_no_values_and_nan_aggregates():
    values = score(torch.zeros(0, 7, 7), torch.zeros(0, 224, 224), COMMON)
    assert values.shape == (0,)
    assert all(math.isnan(value) for value in aggregate(values).values())


def test_aggregates_are_fractions_under_their_ids():
    found = aggregate(torch.tensor([0.5, 1.0, 0.0, 0.3], dtype=torch.float64))
    assert found == pytest.approx({"locacc": 0.5, "mean_ciou": 0.45, "auc": (0.525 + 1 + 0.025 + 0.275) / 4}, abs=1e-15)
    assert all(type(value) is float for value in found.values())


def looped_score(rows, prior, truth, loops) -> float:
    """EZ-VSL's evaluation of one sample without interpolation, pixel by pixel."""
    found = loops.normalised(rows)
    if prior is not None:
        second = loops.normalised(prior)
        mixed = [
            [0.4 * a + (1 - 0.4) * b for a, b in zip(*pair, strict=True)] for pair in zip(found, second, strict=True)
        ]
        found = loops.normalised(mixed)
    return loops.ciou(loops.half_mask(found), truth)


@pytest.mark.parametrize("fused", [False, True])
def test_agrees_with_a_loop_on_adversarial_input(loops, fused):
    made = torch.Generator().manual_seed(17)
    maps = torch.randint(-3, 3, (70, 6, 5), generator=made).double()
    prior = torch.randint(0, 9, (70, 6, 5), generator=made).double() / 8
    truth = torch.randint(0, 3, (70, 6, 5), generator=made).double() / 2
    maps[::8], maps[3, 2, 2], prior[::11], truth[::5] = -1.5, math.nan, 0.5, 0
    found = score(maps, truth, EZVSL, prior=prior if fused else None)
    expected = [
        looped_score(rows, second if fused else None, weights, loops)
        for rows, second, weights in zip(maps.tolist(), prior.tolist(), truth.tolist(), strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-15, nan_ok=True)


@pytest.mark.parametrize(
    ("variant", "protocol"), [("ezvsl_ge_half", EZVSL), ("jsa_abs_0.6", JSA), ("fnac_ge_half", COMMON)]
)
def test_single_maps_agree_with_the_worked_examples(examples, variant, protocol):
    for case in examples("ciou_from_map", variant):
        maps, truth = (torch.tensor([case["inputs"][key]], dtype=torch.float64) for key in ("map", "gt"))
        found = score(maps, truth, protocol).item()
        assert found == pytest.approx(case["expected"]["ciou"], abs=1e-12, nan_ok=True), case["id"]


def test_fused_maps_agree_with_the_worked_examples(examples):
    for case in examples("ciou_from_map", "ezvsl_av_obj_fusion"):
        given = case["inputs"]
        maps, prior, truth = (torch.tensor([given[k]], dtype=torch.float64) for k in ("map_av", "map_obj", "gt"))
        protocol = replace(EZVSL, fusion=Fusion("normalised-mix", given["alpha"]))
        found = score(maps, truth, protocol, prior=prior).item()
        assert found == pytest.approx(case["expected"]["ciou"], abs=1e-12), case["id"]


@pytest.mark.parametrize(("group", "draw"), [("vggss", union_map), ("flickr", consensus_map)])
def test_agrees_with_the_official_evaluators_on_a_few_samples(golden, group, draw):
    data = golden["sets"][group]
    truth = torch.stack([draw(boxes) for boxes in data["boxes"]])
    maps = {kind: torch.tensor(cells).reshape(-1, 7, 7) for kind, cells in data["maps"].items()}
    for run in data["ciou"]:
        prior = maps[run["prior"]] if run["prior"] else None
        found = score(maps[run["map"]], truth, PROTOCOLS[run["protocol"]], prior=prior)
        assert found.tolist() == pytest.approx(run["values"], abs=1e-12), run["official"]


OFFICIAL = [
    ("ezvsl_{}_validate_av", "av7", [], EZVSL),
    ("ezvsl_{}_validate_obj", "obj7", [], EZVSL),
    ("ezvsl_{}_validate_av_obj", "av7", ["obj7"], EZVSL),
    ("ezvsl_{}_train_validate", "av7", [], COMMON),
    ("jsa_{}_aud", "jsa_aud7", [], JSA),
    ("jsa_{}_iqr_aud_img", "jsa_aud7", ["jsa_img7"], JSA),
    ("jsa_{}_aud_ogl", "jsa_aud7", ["obj7"], JSA),
    ("jsa_{}_all_combined", "jsa_aud7", ["jsa_img7", "obj7"], JSA),
]


@pytest.fixture(scope="module")
def evaluators(shared):
    folder = shared / "goldens" / "goldens"
    inputs = json.loads((folder / "eval_inputs.json").read_text(encoding="utf-8"))
    runs = json.loads((folder / "evaluators.json").read_text(encoding="utf-8"))["evaluators"]
    truth = {
        "vggss": torch.stack([union_map(sample["bbox"]) for sample in inputs["vggss"]]),
        "flickr": torch.stack([consensus_map(sample["boxes256"]) for sample in inputs["flickr"]]),
    }
    listed = torch.tensor([sample["name"] not in inputs["flickr_not_in_249"] for sample in inputs["flickr"]])
    with np.load(folder / "eval_inputs.npz") as maps, np.load(folder / "evaluators.npz") as values:
        arrays = {name: torch.from_numpy(stored[name]) for stored in (maps, values) for name in stored.files}
    return truth, listed, arrays, runs


@pytest.mark.parametrize("group", ["vggss", "flickr"])
@pytest.mark.parametrize(("run", "kind", "further", "protocol"), OFFICIAL, ids=[run for run, *_ in OFFICIAL])
def test_agrees_with_the_official_evaluators(evaluators, group, run, kind, further, protocol):
    truth, listed, arrays, runs = evaluators
    expected = arrays[f"{run.format(group)}/ciou"]
    rows = listed if len(expected) == 249 else torch.ones(len(truth[group]), dtype=torch.bool)
    maps, *priors = (arrays[f"{group}_{name}"][rows] for name in (kind, *further))
    found = measure(RawMaps(maps), truth[group][rows], protocol, priors=[RawMaps(prior) for prior in priors])["ciou"]
    # the first map of VGG-SS is constant: officially the rounding noise of the interpolation is scored
    noise = maps.amax(dim=(1, 2)) == maps.amin(dim=(1, 2))
    apart = (found - expected)[~noise].abs()
    assert apart.max() <= 2e-4  # processors round the interpolation differently: single pixels may move
    assert (apart <= 1e-12).double().mean() >= 0.98
    assert (found - expected)[noise].tolist() == pytest.approx([0.0] * int(noise.sum()), abs=0.05)
    summary = runs[run.format(group)]["summary"]
    rates = aggregate(found)
    assert rates["auc"] == pytest.approx(summary["AUC"], abs=0.05 / len(found) + 1e-12)
    assert rates["locacc"] == pytest.approx(summary["AP50_fraction_ciou>=0.5"], abs=1e-12)


def test_common_scores_a_constant_map_by_area_where_the_official_code_scores_noise(evaluators):
    truth, _, arrays, _ = evaluators
    found = score(arrays["vggss_av7"][:1], truth["vggss"][:1], COMMON).item()
    assert found == truth["vggss"][0].mean()
    assert found != arrays["ezvsl_vggss_train_validate/ciou"][0]


@pytest.fixture(scope="module")
def vggss(shared):
    """The score of a mask on each of the 5,158 clips, kept once computed, and which clips are of the heard classes."""
    folder = shared / "metadata" / "vggss"
    clips = json.loads((folder / "vggss.json").read_text(encoding="utf-8"))
    with (folder / "vggss_heard_test.csv").open(encoding="utf-8", newline="") as file:
        heard = {row[0] for row in csv.reader(file)}
    truth = torch.stack([union_map(clip["bbox"]).to(torch.uint8) for clip in clips])

    @cache
    def scored(kind, protocol):
        mask = predicted_mask(centre(kind), protocol)
        return torch.cat([consensus_iou(mask.expand(len(part), -1, -1), part) for part in truth.split(CHUNK)])

    return scored, torch.tensor([clip["file"] in heard for clip in clips])


def percentages(ciou: torch.Tensor) -> list[float]:
    return [round(100 * value, 4) for value in aggregate(ciou).values()]


FIXED = [
    ("disc", COMMON, 25_100, [34.0248, 37.4597, 37.4351]),
    ("disc", STRICT, 25_084, [33.9473, None, 37.4302]),
    ("disc", replace(COMMON, threshold=Threshold("absolute", 0.6)), None, [32.5708, None, None]),
    ("square", COMMON, 25_600, [31.8728, 36.9301, 36.9300]),
    ("ones", COMMON, 50_176, [21.9465, 31.2440, 31.2539]),
]


@pytest.mark.parametrize(("kind", "protocol", "pixels", "expected"), FIXED)
def test_fixed_maps_score_their_known_figures_on_vggss(vggss, kind, protocol, pixels, expected):
    assert pixels in (None, int(predicted_mask(centre(kind), protocol).sum()))
    found = percentages(vggss[0](kind, protocol))
    assert [None if e is None else f for f, e in zip(found, expected, strict=True)] == expected


def test_the_disc_scores_its_known_figures_on_the_heard_classes(vggss):
    scored, heard = vggss
    assert int(heard.sum()) == 2564
    assert percentages(scored("disc", COMMON)[heard]) == [32.1373, 36.5692, 36.5055]


@pytest.mark.parametrize(("kind", "pixels"), [("disc", 25_100), ("square", 25_600), ("ones", 50_176)])
def test_fixed_maps_keep_their_symmetric_ties(kind, pixels):
    assert predicted_mask(centre(kind), COMMON).sum() == pixels
    assert predicted_mask(centre(kind), EZVSL).sum() == pixels


def test_no_half_mask_succeeds_on_less_than_a_quarter_of_the_frame():
    maps = torch.rand(20, 224, 224)
    small = union_map([(0.0, 0.0, 0.49, 0.5)])
    best = small[None] * 2 + maps
    assert (score(best, small.expand(20, -1, -1), COMMON) < 0.5).all()


@pytest.mark.parametrize("spoilt", [math.nan, math.inf, 3e38])
def test_one_map_s_values_do_not_touch_its_neighbours(spoilt):
    made = torch.Generator().manual_seed(5)
    maps, truth = torch.randn(6, 7, 7, generator=made), truths(6)
    clean = measure(RawMaps(maps), truth, COMMON, confidence=True)
    maps[2, 1, 1] = spoilt
    if spoilt == 3e38:
        maps[2, 5, 5] = -spoilt
    found = measure(RawMaps(maps), truth, COMMON, confidence=True)
    others = torch.tensor([0, 1, 3, 4, 5])
    for name, values in found.items():
        assert torch.equal(values[others], clean[name][others]), name


def areas() -> torch.Tensor:
    """Truths of many sizes, from a few pixels to the whole canvas."""
    sides = torch.linspace(0.02, 1, 16).tolist()
    return torch.stack([union_map([(0.0, 0.0, side, min(1.0, 1.5 * side))]) for side in sides])


@pytest.mark.parametrize("name", [n for n, p in BOXES.items() if p.threshold.rule != "absolute"])
def test_half_of_the_canvas_cannot_overlap_a_small_truth_by_more(name):
    truth, made = areas(), torch.Generator().manual_seed(9)
    area = truth.sum(dim=(1, 2))
    ceiling = torch.minimum(area, torch.tensor(25_088.0)) / torch.maximum(area, torch.tensor(25_088.0))
    for maps in (truth.float() + torch.rand(16, 224, 224, generator=made) / 9, torch.randn(16, 9, 9, generator=made)):
        assert (score(maps, truth, BOXES[name]) <= ceiling + 1e-4).all(), name
    best = score(truth.float() + torch.rand(16, 224, 224, generator=made) / 9, truth, BOXES[name])
    torch.testing.assert_close(best, ceiling.double(), rtol=0, atol=1e-4)


def test_neither_threads_nor_order_nor_company_changes_a_bit():
    made = torch.Generator().manual_seed(6)
    maps, truth = torch.randn(3 * CHUNK + 1, 7, 7, generator=made), torch.rand(3 * CHUNK + 1, 224, 224, generator=made)
    truth = (truth > 0.8).to(torch.uint8)
    rows = [Row(RawMaps(maps, (-4.0, 4.0)), protocol) for protocol in BOXES.values()]
    together = measure_rows(rows, {"boxes": truth}, confidence=True)
    shuffled = torch.randperm(len(maps), generator=made)
    moved = measure_rows(
        [Row(RawMaps(maps[shuffled], (-4.0, 4.0)), row.protocol) for row in rows],
        {"boxes": truth[shuffled]},
        confidence=True,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        again = measure_rows(rows, {"boxes": truth}, confidence=True)
    finally:
        torch.set_num_threads(threads)
    assert torch.get_num_threads() == threads
    for row, found, other, third in zip(rows, together, moved, again, strict=True):
        alone = measure(row.maps, truth, row.protocol, confidence=True)
        for name, values in found.items():
            assert torch.equal(values[shuffled], other[name]), (row.protocol.name, name)
            assert torch.equal(values, third[name]), (row.protocol.name, name)
            assert torch.equal(values, alone[name]), (row.protocol.name, name)
