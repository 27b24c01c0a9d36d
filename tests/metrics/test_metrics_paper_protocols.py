"""The protocols of SLAVC, FNAC, LVS and Alignment: by hand, by loops, and against the official evaluators."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from avbench.metrics.extended import aggregate_extended
from avbench.metrics.ground_truth import consensus_map, union_map
from avbench.metrics.masks import saturating_mask
from avbench.metrics.protocols import PROTOCOLS, Upsampling, get_protocol
from avbench.metrics.scoring import RawMaps, Row, aggregate, measure, measure_rows, predicted_mask, score

SLAVC, RELATIVE, LVS, ALIGNMENT = (PROTOCOLS[name] for name in ("slavc", "slavc-relative", "lvs", "alignment"))
HEARD, SEEN = (-1 / 0.03, 1 / 0.03), (0.0, 2.5)
"""The ranges of a cosine over tau and of the object map."""


def as_map(*values: float) -> torch.Tensor:
    return torch.tensor([[list(values)]], dtype=torch.float64)


def mask_of(values, protocol, score_range=None) -> list[bool]:
    return predicted_mask(RawMaps(as_map(*values), score_range), protocol, size=(1, len(values)))[0, 0].tolist()


def test_slavc_predicts_the_upper_half_of_the_range_whatever_the_map_holds():
    assert mask_of([-2, -0.1, 0, 3], SLAVC, (-4, 4)) == [False, False, True, True]
    assert mask_of([1, 2, 3, 3.5], SLAVC, (-4, 4)) == [True] * 4
    assert mask_of([-1, -2, -3, -3.5], SLAVC, (-4, 4)) == [False] * 4
    assert mask_of([0, 2, 4.9, 5], SLAVC, (0, 10)) == [False, False, False, True]


def test_without_a_range_slavc_takes_each_map_s_own_extremes():
    assert mask_of([-2, 0, 1, 2], SLAVC) == [False, True, True, True]
    assert mask_of([100, 101, 104, 108], SLAVC) == [False, False, True, True]
    assert mask_of([0.6, 0.6], SLAVC) == [True, True], "a constant map stays as it is"
    assert mask_of([-0.6, -0.6], SLAVC) == [False, False]


def test_only_nan_pixels_drop_out_where_nothing_is_normalised_per_map():
    assert mask_of([math.nan, 1, -1, 2], SLAVC, (-4, 4)) == [False, True, False, True]
    assert mask_of([math.nan, 1, -1, 2], RELATIVE, (-4, 4)) == [False] * 4


def test_slavc_mixes_scores_before_it_normalises():
    heard, seen = RawMaps(as_map(-1, 1, 0, 0), (-10, 10)), RawMaps(as_map(0, 0, 1, 10), (0, 10))
    # .45 .55 .5 .5 and 0 0 .1 1 mixed by .9 and .1: .405 .495 .46 .55
    assert predicted_mask(heard, SLAVC, prior=seen, size=(1, 4)).tolist() == [[[False, False, False, True]]]
    assert predicted_mask(heard, RELATIVE, prior=seen, size=(1, 4)).tolist() == [[[False, True, False, True]]]
    late = replace(SLAVC, normalisation="minmax_guarded", fusion=replace(SLAVC.fusion, rule="normalised-mix"))
    # 0 1 .5 .5 and 0 0 .1 1: 0 .9 .46 .55, of the largest 0 1 .51 .61
    assert predicted_mask(heard, late, prior=seen, size=(1, 4)).tolist() == [[[False, True, True, True]]]


def test_pixels_at_one_come_through_a_strict_threshold_of_one():
    crowded = as_map(1, 1, 1, 0)
    assert saturating_mask(crowded).tolist() == [[[True, True, True, False]]]
    assert saturating_mask(as_map(0.2, 0.4, 0.6, 0.9)).tolist() == [[[False, False, False, True]]]
    assert saturating_mask(as_map(0.3, 0.3)).tolist() == [[[False, False]]]
    assert saturating_mask(as_map(1.3, 1.3)).all()
    assert not saturating_mask(as_map(math.nan, math.nan)).any()
    with pytest.raises(ValueError, match=r"below must be in \[0, 1\), got 1"):
        saturating_mask(crowded, 1)


@pytest.mark.parametrize(("value", "lvs"), [(0.0, True), (0.3, True), (-0.3, False)])
def test_a_constant_map_is_everything_or_nothing(value, lvs):
    assert mask_of([value] * 4, LVS) == [lvs] * 4
    assert mask_of([value] * 4, ALIGNMENT) == [False] * 4


def test_a_strict_half_has_one_pixel_less():
    maps = torch.randperm(224 * 224).reshape(1, 224, 224).float()
    assert predicted_mask(maps, LVS).sum() == predicted_mask(maps, ALIGNMENT).sum() == 25_087


def test_alignment_resizes_as_opencv_on_vggss_alone():
    assert ALIGNMENT.on("vggss").upsampling == Upsampling("bilinear", align_corners=False)
    for other in ("demo", "flickr", "is3", "vggsound-duet", ""):
        assert ALIGNMENT.on(other).upsampling == Upsampling("bilinear", align_corners=True), other


def test_other_protocols_are_the_same_on_every_split_and_for_the_prior():
    for name, protocol in PROTOCOLS.items():
        if name != "alignment":
            assert protocol.on("demo") is protocol
        if name != "fnac-b":
            assert protocol.of_prior() is protocol


def test_fnac_s_second_pass_resizes_the_prior_in_its_own_way():
    second = PROTOCOLS["fnac-b"]
    maps, prior, truth = torch.randn(4, 7, 7), torch.rand(4, 7, 7), union_map([(0, 0, 0.6, 1)]).expand(4, -1, -1)
    assert torch.equal(
        score(prior, truth, second.of_prior()), score(maps, truth, get_protocol("fnac-b:av_weight=0"), prior=prior)
    )
    assert torch.equal(score(prior, truth, second.of_prior()), score(prior, truth, PROTOCOLS["ezvsl"]))
    assert not torch.equal(score(prior, truth, second), score(prior, truth, second.of_prior()))


def test_a_range_that_is_none_is_refused():
    with pytest.raises(ValueError, match="score range with its lower end first"):
        mask_of([0, 1], SLAVC, (1, 1))


def looped(heard, seen, truth, loops, *, relative: bool) -> float:
    """SLAVC's evaluation of one sample without interpolation, pixel by pixel, tau 0.5, weight 0.9."""
    found = [[(v + 2) / 4 for v in row] for row in heard]
    if seen is not None:
        pairs = [zip(*rows, strict=True) for rows in zip(found, seen, strict=True)]
        found = [[a * 0.9 + b / 2.5 * (1 - 0.9) for a, b in row] for row in pairs]
    if relative:
        return loops.ciou(loops.half_mask(loops.normalised(found)), truth)
    return loops.ciou([[v >= 0.5 for v in row] for row in found], truth)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_slavc_agrees_with_a_loop(loops, fused, relative):
    made = torch.Generator().manual_seed(4)
    heard = torch.randint(-8, 9, (50, 5, 6), generator=made).double() / 4
    seen = torch.randint(0, 12, (50, 5, 6), generator=made).double() / 4
    truth = torch.randint(0, 3, (50, 5, 6), generator=made).double() / 2
    heard[::9], heard[3, 2, 2], truth[::7] = 0.25, math.nan, 0
    second = [RawMaps(seen, SEEN)] if fused else []
    found = measure(RawMaps(heard, (-2, 2)), truth, RELATIVE if relative else SLAVC, priors=second)["ciou"]
    expected = [
        looped(a, b if fused else None, g, loops, relative=relative)
        for a, b, g in zip(heard.tolist(), seen.tolist(), truth.tolist(), strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-15, nan_ok=True)


@pytest.mark.parametrize(
    ("variant", "protocol"),
    [
        ("alignment_gt_half", ALIGNMENT),
        ("lvs_gt_saturating", LVS),
        ("htf_gt_saturating", replace(LVS, normalisation="minmax_guarded")),
    ],
)
def test_single_maps_agree_with_the_worked_examples(examples, variant, protocol):
    for case in examples("ciou_from_map", variant):
        maps, truth = (torch.tensor([case["inputs"][key]], dtype=torch.float64) for key in ("map", "gt"))
        found = score(maps, truth, protocol).item()
        assert found == pytest.approx(case["expected"]["ciou"], abs=1e-12, nan_ok=True), case["id"]


@pytest.mark.parametrize(("variant", "base"), [("slavc_relative", "slavc-relative"), ("slavc_absolute_0.5", "slavc")])
def test_slavc_agrees_with_the_worked_examples(examples, variant, base):
    for case in examples("ciou_from_map", variant):
        given = case["inputs"]
        heard, seen, truth = (torch.tensor([given[k]], dtype=torch.float64) for k in ("map_av", "map_obj", "gt"))
        maps, prior = RawMaps(heard, (-1 / given["tau"], 1 / given["tau"])), RawMaps(seen, SEEN)
        protocol = get_protocol(f"{base}:av_weight={given['alpha']}")
        found = {
            "av": measure(maps, truth, protocol)["ciou"].item(),
            "obj": measure(prior, truth, protocol)["ciou"].item(),
            "av_obj": measure(maps, truth, protocol, priors=[prior])["ciou"].item(),
        }
        assert found == pytest.approx(case["expected"]["ciou"], abs=1e-12, nan_ok=True), case["id"]


def test_saturating_masks_agree_with_the_worked_examples(examples):
    for case in examples("threshold", "rank_half_gt_saturating"):
        maps = torch.tensor([case["inputs"]["map"]], dtype=torch.float64)
        found = predicted_mask(maps, LVS, size=tuple(maps.shape[1:]))[0]
        assert found.double().tolist() == case["expected"]["mask"], case["id"]


def test_one_pass_upsamples_and_sorts_each_map_once_per_convention(monkeypatch):
    from avbench.metrics import canvases

    resized, sorts = [], []
    upsample, order = canvases.upsample, canvases.Sorted.of
    monkeypatch.setattr(
        canvases,
        "upsample",
        lambda maps, *a, **k: resized.append((a[0], k["align_corners"])) or upsample(maps, *a, **k),
    )
    monkeypatch.setattr(canvases.Sorted, "of", lambda maps: sorts.append(len(maps)) or order(maps))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    maps, prior = RawMaps(torch.randn(3, 7, 7), HEARD), RawMaps(torch.rand(3, 7, 7), SEEN)
    truths = {"boxes": torch.zeros(3, 224, 224), "masks": torch.zeros(3, 224, 224)}
    plain = [Row(maps, protocol) for protocol in PROTOCOLS.values() if protocol.truth != "sources"]
    measure_rows(plain, truths, confidence=True)
    assert sorted(resized) == [("bicubic", False), ("bicubic", True), ("bilinear", False), ("bilinear", True)]
    assert sorts == [3] * 4
    resized.clear()
    measure_rows(
        [Row(maps, PROTOCOLS[name], (prior,)) for name in ("slavc", "slavc-relative")], truths, confidence=True
    )
    assert resized == [("bicubic", True)] * 2
    assert sorts == [3] * 5


@pytest.fixture(scope="module")
def evaluators(shared):
    """Maps, truth and the official runs on them."""
    folder = shared / "goldens" / "goldens"
    inputs = json.loads((folder / "eval_inputs.json").read_text(encoding="utf-8"))
    runs = json.loads((folder / "evaluators.json").read_text(encoding="utf-8"))["evaluators"]
    flickr = torch.stack([consensus_map(sample["boxes256"]) for sample in inputs["flickr"]])
    truth = {
        "vggss": torch.stack([union_map(sample["bbox"]) for sample in inputs["vggss"]]),
        "flickr": flickr,
        "flickr_extended": torch.cat([flickr, torch.zeros_like(flickr)]),
        "is3": torch.stack([union_map([[(int(v) + 0.5) / 224 for v in sample["box224"]]]) for sample in inputs["is3"]]),
    }
    listed = torch.tensor([sample["name"] not in inputs["flickr_not_in_249"] for sample in inputs["flickr"]])
    with np.load(folder / "eval_inputs.npz") as maps, np.load(folder / "evaluators.npz") as values:
        arrays = {name: torch.from_numpy(stored[name]) for stored in (maps, values) for name in stored.files}
    for kind in ("av7", "obj7"):
        arrays[f"flickr_extended_{kind}"] = torch.cat([arrays[f"flickr_{kind}"], arrays[f"flickr_silent_{kind}"]])
    return truth, listed, arrays, runs


def assert_close(found, expected, maps):
    """Within the goldens' tolerance; constant maps are interpolation noise, which processors round differently."""
    noise = maps.amax(dim=(1, 2)) == maps.amin(dim=(1, 2))
    assert torch.equal(found.isnan(), expected.isnan())
    apart = (found - expected)[~noise].abs().nan_to_num()
    assert apart.max() <= 2e-4
    assert (apart <= 1e-12).double().mean() >= 0.98


PLAIN = [
    ("fnac_{}_validate_av", "av7", None, "fnac-a"),
    ("fnac_{}_validate_obj", "obj7", None, "fnac-a"),
    ("fnac_{}_validate_av_obj", "av7", "obj7", "fnac-a"),
    ("fnac_{}_validate2_av", "av7", None, "fnac-b"),
    ("fnac_{}_validate2_obj", "obj7", None, "fnac-b"),
    ("fnac_{}_validate2_av_obj", "av7", "obj7", "fnac-b"),
    ("lvs_{}", "lvs14", None, "lvs"),
    ("alignment_ours_{}_av", "lvs14", None, "alignment"),
    ("alignment_ours_{}_av_obj", "lvs14", "obj7", "alignment"),
]


@pytest.mark.parametrize("group", ["vggss", "flickr", "is3"])
@pytest.mark.parametrize(("run", "kind", "second", "name"), PLAIN, ids=[run for run, *_ in PLAIN])
def test_agrees_with_the_official_evaluators(evaluators, group, run, kind, second, name):
    truth, listed, arrays, runs = evaluators
    if group == "is3" and name != "alignment":
        pytest.skip("officially run by Alignment alone")
    expected, summary = arrays[f"{run.format(group)}/ciou"], runs[run.format(group)]["summary"]
    rows = listed if len(expected) == 249 else torch.ones(len(truth[group]), dtype=torch.bool)
    maps, prior = (arrays[f"{group}_{key}"][rows] if key else None for key in (kind, second))
    protocol = get_protocol(name).on(group)
    found = score(maps, truth[group][rows], protocol.of_prior() if kind == "obj7" else protocol, prior=prior)
    assert_close(found, expected, maps)
    rate = next(summary[key] for key in ("cIoU", "cIoU_fraction>=0.5", "AP50_fraction_ciou>=0.5") if key in summary)
    assert aggregate(found)["locacc"] == pytest.approx(rate, abs=1 / len(found) + 1e-12)


@pytest.mark.parametrize("group", ["vggss", "flickr_extended"])
@pytest.mark.parametrize(("mode", "base"), [("fixed", "slavc"), ("relative", "slavc-relative")])
@pytest.mark.parametrize("kind", ["av", "obj", "av_obj_alpha0.4", "av_obj_alpha0.9"])
def test_slavc_agrees_with_the_official_evaluator(evaluators, group, mode, base, kind):
    truth, _, arrays, runs = evaluators
    run = f"slavc_{group}_{mode}_{kind}"
    weight = kind.partition("alpha")[2]
    maps = RawMaps(arrays[f"{group}_obj7"], SEEN) if kind == "obj" else RawMaps(arrays[f"{group}_av7"], HEARD)
    priors = [RawMaps(arrays[f"{group}_obj7"], SEEN)] if weight else []
    protocol = get_protocol(f"{base}:av_weight={weight}" if weight else base)
    found = measure(maps, truth[group], protocol, priors=priors, confidence=True)
    assert_close(found["ciou"], arrays[f"{run}/ciou"], maps.values)
    torch.testing.assert_close(found["confidence"], arrays[f"{run}/confidence"], rtol=1e-6, atol=0)
    sounding = arrays[f"{run}/boxes"] > 0
    detection = aggregate_extended(found["confidence"], found["ciou"], sounding=sounding)
    summary = runs[run]["summary"]
    assert detection["ap_official"] == pytest.approx(summary["AP-all@50"], abs=2 / len(sounding))
    printed = max(float(text) for text in summary["F1-all@50"].split())
    assert 100 * detection["max_f1_official"] == pytest.approx(printed, abs=0.2)
    visible = aggregate(found["ciou"][sounding])
    assert visible["locacc"] == pytest.approx(summary["Precision-visible@50"], abs=1 / int(sounding.sum()) + 1e-12)
    assert visible["auc"] == pytest.approx(summary["AUC-visible@50"], abs=0.05 / int(sounding.sum()) + 1e-12)
