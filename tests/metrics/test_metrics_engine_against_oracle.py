"""The vectorised engine against the oracle: the same numbers, on random and on hostile input."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.metrics.extended import average_precision, average_precision_official, max_f1, max_f1_official
from avbench.metrics.interactive import area_under_interactive_success, interactive_success_rate, short_name
from avbench.metrics.protocols import PROTOCOLS, get_protocol
from avbench.metrics.retrieval import recall_at_k, same_label
from avbench.metrics.scoring import RawMaps, aggregate, measure

HEARD, SEEN = (-1 / 0.03, 1 / 0.03), (0.0, 2.5)
"""The ranges of a cosine over tau and of the object map."""
SINGLE = {name for name, protocol in PROTOCOLS.items() if protocol.truth != "sources"}
ENGINE_NAMES = {"pixel_auc": "pixel_roc_auc"}


def loaded():
    place = Path(__file__).parents[1] / "oracles" / "official_scoring.py"
    spec = importlib.util.spec_from_file_location("official_scoring", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


oracle = loaded()


def boxed(x0, y0, x1, y1, weight=1.0):
    truth = np.zeros((224, 224))
    truth[y0:y1, x0:x1] = weight
    return truth


def hostile():
    """Native maps that break evaluators, and truths with empty, half-weight and full ones among them."""
    rng = np.random.default_rng(3)
    natives = rng.standard_normal((13, 7, 7)).astype(np.float32) * 10
    natives[1], natives[2], natives[12] = 0, -1.5, 40
    natives[3] = np.where(np.arange(49).reshape(7, 7) < 20, -3, 4)
    natives[4, 3, 3], natives[9, 0, 6], natives[11, 2, 2] = math.nan, math.inf, -math.inf
    natives[5] *= 1e20
    natives[6] *= 1e-20
    natives[7] = np.round(natives[7] / 8)
    natives[8] = math.nan
    truths = np.stack([boxed(10 * i, 20, 10 * i + 80, 150) for i in range(13)])
    truths[[2, 4, 9]] = 0
    truths[10] = 1
    truths[0] = np.maximum(boxed(0, 0, 90, 90, 0.5), boxed(60, 60, 200, 120))
    truths[7] = 0.5
    return natives, truths


def ordinary():
    """Finite maps at LVS's native size, and a box each, two of them with a half-weight margin."""
    rng = np.random.default_rng(4)
    natives = rng.standard_normal((6, 14, 14)).astype(np.float32) * 8
    corners = rng.integers(0, 120, (6, 2))
    truths = np.stack([boxed(x, y, x + 20 + 5 * x % 90, y + 60) for x, y in corners.tolist()])
    truths[:2] = np.maximum(truths[:2], boxed(40, 40, 110, 180, 0.5))
    return natives, truths


def assert_agree(name, natives, truths, *, ranged, fused, split="vggss"):
    """All values of the oracle: confidences and energies within float32's rounding, the others closer."""
    ends = (HEARD, SEEN) if ranged else (None, None)
    priors = np.roll(np.abs(natives[:, :5, :5]), 1, axis=0) / 9
    second = [RawMaps(torch.from_numpy(priors), ends[1])] if fused else []
    maps = RawMaps(torch.from_numpy(natives), ends[0])
    protocol = get_protocol(name).on(split)
    found = measure(maps, torch.from_numpy(truths), protocol, priors=second, confidence=True)
    for row, (native, truth) in enumerate(zip(natives, truths, strict=True)):
        prior = {"prior": priors[row], "prior_range": ends[1]} if fused else {}
        expected = oracle.score_sample(native, truth, name, score_range=ends[0], split=split, **prior)
        for key, value in expected.items():
            close = {"rel": 1e-6, "abs": 1e-7} if key in ("confidence", "energy") else {"abs": 1e-12}
            got = found[ENGINE_NAMES.get(key, key)][row].numpy()
            assert got == pytest.approx(value, nan_ok=True, **close), (row, key)


@pytest.mark.parametrize("fused", [False, True], ids=["alone", "fused"])
@pytest.mark.parametrize("ranged", [False, True], ids=["rangeless", "ranged"])
@pytest.mark.parametrize("name", sorted(SINGLE))
def test_the_engine_agrees_on_hostile_maps(name, ranged, fused):
    if fused and PROTOCOLS[name].fusion is None:
        pytest.skip("scores single maps")
    assert_agree(name, *hostile(), ranged=ranged, fused=fused, split="vggss" if ranged else "is3")


@pytest.mark.parametrize(("name", "split"), [*((name, "vggss") for name in sorted(SINGLE)), ("alignment", "flickr")])
def test_the_engine_agrees_on_ordinary_maps(name, split):
    assert_agree(name, *ordinary(), ranged=True, fused=PROTOCOLS[name].fusion is not None, split=split)


def test_every_protocol_of_single_maps_has_its_oracle():
    assert set(oracle.PROTOCOLS) == SINGLE


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(SINGLE)),
    levels=st.integers(1, 40),
    side=st.integers(1, 9),
    low=st.integers(-3, 0),
    seed=st.integers(0, 999),
)
def test_the_engine_agrees_on_tied_maps_of_any_size(name, levels, side, low, seed):
    rng = np.random.default_rng(seed)
    natives = (low + rng.integers(0, levels, (3, side, side)) / 4).astype(np.float32)
    truths = rng.integers(0, 3, (3, 16, 18)) / 2 * rng.integers(0, 2, (3, 1, 1))
    assert_agree(name, natives, truths, ranged=bool(seed % 2), fused=False, split="is3")


def tied_samples(count, seed):
    rng = np.random.default_rng(seed)
    confidence = rng.integers(0, max(2, count // 2), count) / 7
    ciou = rng.integers(0, 11, count) / 10
    confidence[rng.random(count) < 0.05] = math.nan
    ciou[rng.random(count) < 0.05] = math.nan
    return confidence, ciou, rng.random(count) < rng.choice([0, 0.5, 1], p=[0.1, 0.8, 0.1])


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 450), seed=st.integers(0, 9999))
def test_detection_agrees(count, seed):
    confidence, ciou, sounding = tied_samples(count, seed)
    tensors = torch.from_numpy(confidence), torch.from_numpy(ciou)
    pairs = {
        average_precision: oracle.full_curve_ap,
        max_f1: oracle.full_max_f1,
        average_precision_official: oracle.official_ap,
        max_f1_official: lambda *columns: max(oracle.official_f1_list(*columns)),
    }
    for engine, expected in pairs.items():
        found = engine(*tensors, sounding=torch.from_numpy(sounding)).item()
        assert found == pytest.approx(expected(confidence, ciou, sounding), abs=1e-12), engine.__name__


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 60), seed=st.integers(0, 9999))
def test_aggregates_agree(count, seed):
    _, ciou, _ = tied_samples(count, seed)
    found = aggregate(torch.from_numpy(ciou))
    expected = oracle.locacc(ciou), oracle.mean(ciou), oracle.success_auc(ciou)
    assert (found["locacc"], found["mean_ciou"], found["auc"]) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    names = [f"scene_{number}_thing.jpg" for number in np.random.default_rng(seed).integers(0, 9, count)]
    groups, values = [short_name(name) for name in names], torch.from_numpy(ciou)
    scenes = interactive_success_rate(values, groups).item(), area_under_interactive_success(values, groups).item()
    assert scenes == pytest.approx((oracle.iiou(names, ciou), oracle.iauc(names, ciou)), abs=1e-12, nan_ok=True)


def test_the_strict_success_of_a_protocol_is_the_oracle_s():
    values = [0.5, 0.7, 0.2, math.nan]
    for name in sorted(SINGLE):
        found = aggregate(torch.tensor(values, dtype=torch.float64), PROTOCOLS[name])["locacc"]
        assert found == oracle.locacc(values, oracle.PROTOCOLS[name].success), name
    assert oracle.locacc(values, oracle.PROTOCOLS["slavc-train"].success) == 0.25


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 30), seed=st.integers(0, 9999))
def test_retrieval_agrees_with_ties_negatives_and_nan(count, seed):
    rng = np.random.default_rng(seed)
    similarity = rng.integers(-3, 4, (count, count)) / 4
    similarity[rng.random((count, count)) < 0.1] = math.nan
    labels = [f"label {number}" for number in rng.integers(0, 4, count)]
    for kinds in (None, labels):
        relevant = None if kinds is None else same_label(kinds, kinds)
        found = recall_at_k(torch.from_numpy(similarity), relevant, (1, 5, 10))
        assert found == pytest.approx(oracle.retrieval_recalls(similarity, (1, 5, 10), labels=kinds))
