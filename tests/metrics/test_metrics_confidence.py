import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.metrics.confidence import top_quarter
from avbench.metrics.maps import minmax_double_negation, on_range
from avbench.metrics.protocols import PROTOCOLS, Confidence, Upsampling, get_protocol
from avbench.metrics.scoring import RawMaps, measure


def as_map(*values: float) -> torch.Tensor:
    return torch.tensor([[list(values)]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("values", "expected"),
    [((1, 2, 3, 4), 4), ((5, 1, 4, 2, 3), 4.5), ((9, 1, 7, 2, 8, 3, 4, 5, 6), 8), ((7,), 7), ((2, 2, 2, 2, 2), 2)],
)
def test_a_quarter_of_the_pixels_rounded_up(values, expected):
    assert top_quarter(as_map(*values)).item() == expected


def test_the_canvas_has_12544_pixels_in_its_largest_quarter():
    ranked = torch.randperm(224 * 224).reshape(1, 224, 224).double()
    assert top_quarter(ranked).item() == sum(range(50_176 - 12_544, 50_176)) / 12_544


def test_nan_is_the_largest_and_touches_no_other_map():
    maps = torch.ones(2, 4, 4)
    maps[0, 1, 1] = math.nan
    assert top_quarter(maps).isnan().tolist() == [True, False]


def test_values_are_float64_whatever_the_map():
    assert top_quarter(torch.rand(3, 8, 8)).dtype == torch.float64


@pytest.mark.parametrize("shape", [(4, 4), (1, 0, 4)])
def test_maps_of_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"maps must be \[B, H, W\] with at least one pixel"):
        top_quarter(torch.zeros(shape))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_the_accelerator_finds_the_same():
    maps = torch.rand(4, 224, 224)
    torch.testing.assert_close(top_quarter(maps.cuda()).cpu(), top_quarter(maps), rtol=1e-12, atol=0)


def test_agrees_with_a_loop():
    maps = torch.randint(-4, 5, (40, 5, 7), generator=torch.Generator().manual_seed(2)).double() / 4
    for found, rows in zip(top_quarter(maps), maps.tolist(), strict=True):
        ascending = sorted(v for row in rows for v in row)
        kept = ascending[-len(ascending) // 4 :]
        assert found.item() == pytest.approx(math.fsum(kept) / len(kept), abs=1e-14)


AWKWARD = st.sampled_from([-3.0, -0.0, 0.0, 0.5, 0.5000001, 7.0, math.inf, math.nan])


@given(cells=st.lists(AWKWARD | st.floats(-10, 10, width=32), min_size=1, max_size=40), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_agrees_with_the_end_of_a_numpy_sort_on_awkward_input(cells, seed):
    found = top_quarter(as_map(*cells)).item()
    assert found == pytest.approx(np.sort(cells)[-len(cells) // 4 :].mean(), rel=1e-12, abs=1e-12, nan_ok=True)
    order = np.random.default_rng(seed).permutation(len(cells))
    assert top_quarter(as_map(*np.array(cells)[order])).item() == pytest.approx(found, abs=1e-12, nan_ok=True)


def test_minus_infinity_counts_where_too_few_pixels_are_above_it():
    assert top_quarter(as_map(-math.inf, 1, -math.inf, -math.inf)).item() == 1
    assert top_quarter(as_map(-math.inf, 1, -math.inf, -math.inf, 0, -math.inf, 0, 0, -math.inf)).item() == 1 / 3
    assert top_quarter(as_map(*[-math.inf] * 5)).item() == -math.inf


def test_more_anywhere_is_never_less_sure():
    maps = torch.randn(30, 6, 6).double()
    assert (top_quarter(maps + torch.rand(30, 6, 6)) >= top_quarter(maps)).all()
    torch.testing.assert_close(top_quarter(maps * 3 - 2), top_quarter(maps) * 3 - 2, rtol=0, atol=1e-12)


def test_a_range_places_its_ends_at_zero_and_one_and_clips_nothing():
    assert on_range(as_map(-2, 0, 2, 3, -4), -2, 2).tolist() == [[[0, 0.5, 1, 1.25, -0.5]]]
    with pytest.raises(ValueError, match="score range with its lower end first, got 1 and 1"):
        on_range(as_map(0), 1, 1)


def test_double_negation_keeps_the_order_and_lifts_constant_maps():
    assert minmax_double_negation(as_map(2, 4, 3)).tolist() == [[[0, 1, 0.5]]]
    assert minmax_double_negation(as_map(0.3, 0.3)).tolist() == [[[1.3, 1.3]]]
    assert minmax_double_negation(as_map(0.3, math.nan)).isnan().all()


@pytest.mark.parametrize("variant", ["slavc_affine_av", "slavc_affine_obj", "lvs_double_negation"])
def test_scales_agree_with_the_worked_examples(examples, variant):
    for case in examples("normalise", variant):
        maps = torch.tensor([case["inputs"]["map"]], dtype=torch.float64)
        if variant == "lvs_double_negation":
            found = minmax_double_negation(maps)
        else:
            end = 1 / case["inputs"].get("tau", 1)
            found = on_range(maps, *((-end, end) if variant == "slavc_affine_av" else (0, 2.5)))
        expected = torch.tensor([case["expected"]["map"]], dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12, equal_nan=True, msg=case["id"])


def measured(maps, protocol, *, score_range=None, prior=None, prior_range=None) -> float:
    """The confidence in one map of canvas size, or in two."""
    given = [None if values is None else torch.tensor([values], dtype=torch.float64) for values in (maps, prior)]
    second = [] if given[1] is None else [RawMaps(given[1], prior_range)]
    truth = torch.zeros_like(given[0])
    return measure(RawMaps(given[0], score_range), truth, protocol, priors=second, confidence=True)["confidence"].item()


def test_agrees_with_the_worked_examples(examples):
    for case in examples("confidence", "slavc_top_quarter"):
        given = case["inputs"]
        protocol = get_protocol(f"slavc:av_weight={given['alpha']}")
        heard, seen = {"score_range": (-1 / given["tau"], 1 / given["tau"])}, (0, 2.5)
        found = {
            "conf_av": measured(given["map_av"], protocol, **heard),
            "conf_obj": measured(given["map_obj"], protocol, score_range=seen),
            "conf_av_obj": measured(given["map_av"], protocol, **heard, prior=given["map_obj"], prior_range=seen),
        }
        expected = {key: case["expected"][key] for key in found}
        assert found == pytest.approx(expected, abs=1e-12, nan_ok=True), case["id"]


@pytest.mark.parametrize("name", ["slavc", "slavc-relative", "ezvsl", "jsa", "fnac-b", "alignment"])
def test_a_fused_confidence_mixes_scores_and_not_normalised_maps(name):
    weight = PROTOCOLS[name].fusion.av_weight
    found = measured([[-2.0, 1.0]], PROTOCOLS[name], score_range=(-2, 2), prior=[[5.0, 1.0]], prior_range=(0, 10))
    assert found == pytest.approx(max(weight * 0 + (1 - weight) * 0.5, weight * 0.75 + (1 - weight) * 0.1), abs=1e-15)


def test_without_a_range_the_first_map_speaks_as_it_is():
    protocol = PROTOCOLS["slavc"]
    assert measured([[-7.0, 3.0]], protocol) == 3
    assert measured([[-7.0, 3.0]], protocol, prior=[[5.0, 1.0]], prior_range=(0, 10)) == 3
    assert measured([[-7.0, 3.0]], protocol, score_range=(-10, 10), prior=[[5.0, 1.0]]) == 0.65


def test_confidence_has_an_upsampling_of_its_own_where_the_protocol_says_so():
    peak = torch.zeros(1, 7, 7)
    peak[0, 3, 3] = 1
    truth = torch.zeros(1, 224, 224)
    aligned = PROTOCOLS["slavc"]
    assert aligned.upsampling == Upsampling("bicubic", align_corners=True)
    expected = measure(RawMaps(peak), truth, aligned, confidence=True)["confidence"]
    for name in ("lvs", "alignment", "fnac-a", "fnac-b", "ezvsl", "jsa", "slavc-relative"):
        assert PROTOCOLS[name].confidence == Confidence("top_quarter", aligned.upsampling), name
        found = measure(RawMaps(peak), truth, PROTOCOLS[name], confidence=True)["confidence"]
        assert torch.equal(found, expected), name
    assert measure(RawMaps(peak), truth, PROTOCOLS["common"], confidence=True)["confidence"] != expected


def test_one_map_for_all_samples_is_measured_once_and_told_to_all():
    shared = torch.rand(1, 7, 7).expand(20, 7, 7)
    found = measure(RawMaps(shared), torch.zeros(20, 224, 224), PROTOCOLS["common"], confidence=True)["confidence"]
    assert found.shape == (20,)
    assert (found == found[0]).all()
    alone = measure(RawMaps(shared[:1]), torch.zeros(1, 224, 224), PROTOCOLS["common"], confidence=True)
    assert found[0] == alone["confidence"][0]


def test_confidence_is_measured_on_request_alone():
    found = measure(RawMaps(torch.rand(2, 7, 7)), torch.zeros(2, 224, 224), PROTOCOLS["slavc"])
    assert "ciou" in found
    assert "confidence" not in found
