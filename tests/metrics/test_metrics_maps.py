import math

import pytest
import torch

from avbench.metrics.maps import minmax_guarded, minmax_unguarded, upsample

MODES = {
    "bilinear_half_pixel": ("bilinear", False),
    "bilinear_align_corners": ("bilinear", True),
    "bicubic_half_pixel": ("bicubic", False),
    "bicubic_align_corners": ("bicubic", True),
}


def test_bilinear_by_hand():
    maps = torch.tensor([[[0.0, 1.0]]])
    assert upsample(maps, "bilinear", align_corners=False, size=(1, 4)).tolist() == [[[0, 0.25, 0.75, 1]]]
    assert upsample(maps, "bilinear", align_corners=True, size=(1, 5)).tolist() == [[[0, 0.25, 0.5, 0.75, 1]]]


def test_the_canvas_is_224_pixels_wide_by_default():
    assert upsample(torch.rand(3, 7, 14), "bicubic", align_corners=False).shape == (3, 224, 224)


def test_maps_of_the_canvas_size_come_back_as_they_are():
    maps = torch.rand(2, 224, 224)
    maps[0, 100, 100] = math.inf  # an interpolation would spread it
    assert torch.equal(upsample(maps, "bicubic", align_corners=True), maps)


def test_bicubic_overshoots_and_is_not_clipped():
    peak = torch.zeros(1, 7, 7)
    peak[0, 3, 3] = 1
    assert upsample(peak, "bicubic", align_corners=False).min() < -0.05


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
def test_other_types_are_taken_as_float32(dtype):
    maps = torch.arange(98).reshape(2, 7, 7).to(dtype)
    found = upsample(maps, "bilinear", align_corners=True)
    assert torch.equal(found, upsample(maps.float(), "bilinear", align_corners=True))
    assert found.dtype == torch.float32


def test_float64_stays_float64():
    assert upsample(torch.rand(1, 7, 7).double(), "bicubic", align_corners=False).dtype == torch.float64


def test_constant_maps_stay_constant_on_request_and_others_do_not_change():
    maps = torch.rand(3, 7, 7)
    maps[1] = 0.3
    plain = upsample(maps, "bicubic", align_corners=False)
    kept = upsample(maps, "bicubic", align_corners=False, keep_constant=True)
    assert torch.equal(kept[1], torch.full((224, 224), 0.3))
    assert torch.equal(kept[[0, 2]], plain[[0, 2]])
    assert (plain[1] - 0.3).abs().max() < 1e-6


@pytest.mark.parametrize("shape", [(7, 7), (2, 1, 7, 7), (2, 0, 7)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"maps must be \[B, h, w\]"):
        upsample(torch.zeros(shape), "bilinear", align_corners=True)


@pytest.mark.parametrize("variant", MODES)
def test_interpolation_agrees_with_the_worked_examples(examples, variant):
    mode, align_corners = MODES[variant]
    for case in examples("resize", variant):
        maps = torch.tensor([case["inputs"]["map"]], dtype=torch.float64)
        size = (case["inputs"]["out_h"], case["inputs"]["out_w"])
        found = upsample(maps, mode, align_corners=align_corners, size=size)[0]
        expected = torch.tensor(case["expected"]["map"], dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9, msg=case["id"])


def test_minmax_is_per_map():
    maps = torch.tensor([[[-2.0, -1.0], [0.0, 2.0]], [[10.0, 20.0], [30.0, 50.0]]])
    assert minmax_guarded(maps).tolist() == [[[0, 0.25], [0.5, 1]], [[0, 0.25], [0.5, 1]]]


@pytest.mark.parametrize("value", [0.0, 0.3, -7.0, math.inf])
def test_minmax_leaves_constant_maps_unchanged(value):
    maps = torch.full((1, 3, 3), value)
    assert torch.equal(minmax_guarded(maps), maps)


def test_minmax_of_a_map_with_nan_is_nan_and_touches_no_other():
    maps = torch.tensor([[[math.nan, 1.0]], [[1.0, 3.0]]])
    assert minmax_guarded(maps)[0].isnan().all()
    assert minmax_guarded(maps)[1].tolist() == [[0, 1]]


def test_minmax_does_not_write_into_its_input():
    maps = torch.tensor([[[1.0, 3.0]]])
    minmax_guarded(maps)
    assert maps.tolist() == [[[1, 3]]]


def test_minmax_agrees_with_a_loop(loops):
    maps = torch.randn(20, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for found, rows in zip(minmax_guarded(maps), maps.tolist(), strict=True):
        assert found.tolist() == loops.normalised(rows)


def test_without_a_guard_a_constant_map_is_nan_and_touches_no_other():
    maps = torch.tensor([[[0.3, 0.3]], [[1.0, 3.0]], [[math.nan, 1.0]]])
    found = minmax_unguarded(maps)
    assert found[[0, 2]].isnan().all()
    assert found[1].tolist() == [[0, 1]]
    assert maps[1].tolist() == [[1, 3]], "the input stays as it is"


def test_both_forms_give_the_same_bits_where_the_map_is_not_constant():
    maps = torch.randn(20, 7, 7)
    assert torch.equal(minmax_unguarded(maps), minmax_guarded(maps))


@pytest.mark.parametrize(
    ("variant", "normalise"), [("minmax_guarded", minmax_guarded), ("minmax_unguarded", minmax_unguarded)]
)
def test_minmax_agrees_with_the_worked_examples(examples, variant, normalise):
    for case in examples("normalise", variant):
        found = normalise(torch.tensor([case["inputs"]["map"]], dtype=torch.float64))[0]
        expected = torch.tensor(case["expected"]["map"], dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12, equal_nan=True, msg=case["id"])
