import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import average_precision_score, roc_auc_score

from avbench.metrics.pixelwise import (
    _ranked_batch,
    energy_inside,
    pixel_average_precision,
    pixel_roc_auc,
    pointing_hit,
    ranked_measures,
)

NAN, INF = math.nan, math.inf


def of_one_cpu_map_at_a_time(scores, labels):
    return tuple(ranked_measures(scores, labels).values())


both_ways = pytest.mark.parametrize("measure", [of_one_cpu_map_at_a_time, _ranked_batch])
"""On the CPU row by row, on other devices all maps at once; the latter runs anywhere."""


def ap_and_auc(scores, labels, dtype=torch.float32) -> list[float]:
    """Of one map by both implementations, which have to agree."""
    rows = torch.tensor([scores], dtype=dtype), torch.tensor([labels], dtype=torch.bool)
    found = [[float(value) for value in way(*rows)] for way in (of_one_cpu_map_at_a_time, _ranked_batch)]
    assert found[0] == pytest.approx(found[1], abs=1e-15, nan_ok=True)
    return found[0]


def by_pairs(scores: list[float], labels: list[bool]) -> list[float]:
    """AP and ROC-AUC from their definitions, pair by pair and threshold by threshold."""
    inside = [s for s, on in zip(scores, labels, strict=True) if on]
    outside = [s for s, on in zip(scores, labels, strict=True) if not on]
    precision = [sum(s >= t for s in inside) / sum(s >= t for s in scores) for t in inside]
    won = [1 if a > b else 0.5 if a == b else 0 for a, b in itertools.product(inside, outside)]
    return [sum(precision) / len(inside) if inside else 0, sum(won) / len(won) if won else NAN]


CASES = {
    "no ties": ([4, 3, 2, 1], [1, 0, 1, 0], 5 / 6, 3 / 4),
    "ties across the truth": ([2, 2, 1, 1], [1, 0, 1, 0], 1 / 2, 1 / 2),
    "a tie among three": ([1, 2, 6, -3, 1], [1, 0, 0, 1, 0], 13 / 40, 1 / 12),
    "perfect": ([4, 3, 2, 1], [1, 1, 0, 0], 1, 1),
    "inverted": ([1, 2, 3, 4], [1, 1, 0, 0], (1 / 3 + 2 / 4) / 2, 0),
    "constant": ([7, 7, 7, 7], [1, 0, 0, 0], 1 / 4, 1 / 2),
    "negative and positive zero": ([0.0, -0.0, -1], [1, 0, 0], 1 / 2, 3 / 4),
    "infinities": ([INF, INF, 3e38, -3e38, -INF, -INF], [1, 0, 1, 0, 0, 1], (1 / 2 + 2 / 3 + 3 / 6) / 3, 5 / 9),
    "all inside": ([1, 2, 2], [1, 1, 1], 1, NAN),
    "none inside": ([1, 2, 2], [0, 0, 0], 0, NAN),
    "one pixel": ([5], [1], 1, NAN),
    "a NaN": ([NAN, 3, 2], [0, 1, 0], 0, 0),
    "nothing but NaN": ([NAN, NAN], [1, 0], 0, 0),
    "a NaN, all inside": ([NAN, 1], [1, 1], 0, NAN),
    "a NaN, none inside": ([NAN, 1], [0, 0], 0, NAN),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("scores", "labels", "precision", "area"), CASES.values(), ids=CASES.keys())
def test_ranked_measures_by_hand(scores, labels, precision, area, dtype):
    assert ap_and_auc(scores, labels, dtype) == pytest.approx([precision, area], abs=1e-15, nan_ok=True)


def test_worked_examples(examples):
    for case in examples("pixel_ap", "gt_labels_continuous_scores"):
        scores, truth = torch.tensor(case["inputs"]["map"]), torch.tensor(case["inputs"]["gt"])
        found = pixel_average_precision(scores[None], truth[None] > 0)
        assert found.item() == pytest.approx(case["expected"]["ap"], abs=1e-9), case["id"]


@both_ways
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1, 60, 1e30, 1e-41])
@pytest.mark.parametrize("distinct", [0, 2, 9])
def test_against_scikit_learn(measure, dtype, scale, distinct):
    scores = torch.randn(6, 300).clamp(-3, 3)
    if distinct:
        scores = (scores * distinct / 6).round()
    scores = (scores * scale).to(dtype)
    labels = torch.rand(6, 300) < torch.tensor([0.01, 0.1, 0.3, 0.5, 0.9, 0.99])[:, None]
    labels[:, 0], labels[:, 1] = True, False
    precision, area = measure(scores, labels)
    for row, (x, on) in enumerate(zip(scores.double().numpy(), labels.numpy(), strict=True)):
        assert precision[row].item() == pytest.approx(average_precision_score(on, x), abs=1e-12)
        assert area[row].item() == pytest.approx(roc_auc_score(on, x), abs=1e-12)


def test_a_whole_canvas_against_scikit_learn():
    native = torch.randn(2, 1, 14, 14)
    maps = torch.nn.functional.interpolate(native, size=(224, 224), mode="bicubic")[:, 0]
    truth = torch.zeros(2, 224, 224)
    truth[:, 40:170, 30:150] = 0.5
    found = ranked_measures(maps, truth)
    for row in range(2):
        on, x = truth[row].flatten().numpy() > 0, maps[row].flatten().numpy()
        assert len(np.unique(x)) < len(x), "a canvas has a few ties"
        assert found["pixel_ap"][row].item() == pytest.approx(average_precision_score(on, x), abs=1e-12)
        assert found["pixel_roc_auc"][row].item() == pytest.approx(roc_auc_score(on, x), abs=1e-12)


levels = st.integers(-4, 4)
a_map = st.lists(st.tuples(levels, st.booleans()), min_size=1, max_size=24)


@settings(max_examples=50, deadline=None)
@given(a_map, st.sampled_from([1.0, 1e-44, 1e37, 0.1]))
def test_against_pairs_of_pixels(pixels, scale):
    labels = [on for _, on in pixels]
    scores = torch.tensor([level * scale for level, _ in pixels], dtype=torch.float32).tolist()
    assert ap_and_auc(scores, labels) == pytest.approx(by_pairs(scores, labels), abs=1e-12, nan_ok=True)


@settings(max_examples=50, deadline=None)
@given(a_map, st.lists(st.floats(width=32, allow_nan=False), min_size=9, max_size=9, unique=True))
def test_only_the_order_of_the_scores_matters(pixels, values):
    ascending = sorted(v + 0.0 for v in values)
    labels = [on for _, on in pixels]
    moved = [ascending[level + 4] for level, _ in pixels]
    plain = ap_and_auc([level for level, _ in pixels], labels)
    assert ap_and_auc(moved, labels) == pytest.approx(plain, abs=0, nan_ok=True)
    assert ap_and_auc(moved, labels, torch.float64) == pytest.approx(plain, abs=0, nan_ok=True)


@settings(max_examples=50, deadline=None)
@given(a_map)
def test_bounds_symmetry_and_the_perfect_map(pixels):
    scores, labels = [level for level, _ in pixels], [on for _, on in pixels]
    precision, area = ap_and_auc(scores, labels)
    assert 0 <= precision <= 1
    assert math.isnan(area) == (len(set(labels)) == 1)
    if not math.isnan(area):
        assert 0 <= area <= 1
        assert area + ap_and_auc(scores, [not on for on in labels])[1] == pytest.approx(1, abs=1e-12)
        assert area + ap_and_auc([-s for s in scores], labels)[1] == pytest.approx(1, abs=1e-12)
    perfect = ap_and_auc([level + 9 * on for level, on in pixels], labels)
    assert perfect == pytest.approx([float(any(labels)), 1 if len(set(labels)) == 2 else NAN], nan_ok=True)


def test_double_maps_are_ranked_as_doubles():
    scores = torch.tensor([[1.0, 1.0 + 1e-12]], dtype=torch.float64)
    labels = torch.tensor([[True, False]])
    assert pixel_roc_auc(scores, labels).tolist() == [0]
    assert pixel_roc_auc(scores.float(), labels).tolist() == [0.5]


def test_half_precision_and_frames_and_weights_are_taken():
    maps = torch.tensor([[[0.5, 1.0], [2.0, 0.25]]], dtype=torch.float16)
    weights = torch.tensor([[[0.0, 0.5], [1.0, 0.0]]])
    assert pixel_average_precision(maps, weights).tolist() == [1]
    assert pixel_roc_auc(maps, weights).tolist() == [1]


@pytest.fixture
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")  # torch shares a long sum out among threads if it is the only one
def test_a_map_does_not_depend_on_its_batch_and_stays_as_it_was():
    maps, truth = torch.randn(5, 224, 224), (torch.rand(5, 224, 224) * 3).floor() / 2
    before = maps.clone()
    functions = (pixel_average_precision, pixel_roc_auc, pointing_hit, energy_inside)
    for function in functions:
        whole = function(maps, truth)
        alone = torch.cat([function(maps[i : i + 1], truth[i : i + 1]) for i in range(5)])
        assert torch.equal(whole, alone)
        assert torch.equal(function(maps.flip(0), truth.flip(0)), whole.flip(0))
    assert torch.equal(maps, before)


@pytest.mark.parametrize("function", [pixel_average_precision, pixel_roc_auc, pointing_hit, energy_inside])
def test_no_maps_give_no_values(function):
    found = function(torch.zeros(0, 3, 3), torch.zeros(0, 3, 3))
    assert found.shape == (0,)
    assert found.dtype == torch.float64


@pytest.mark.parametrize("shapes", [((2, 4), (2, 5)), ((4,), (4,)), ((2, 0), (2, 0))])
def test_ranked_measures_refuse_other_shapes(shapes):
    scores, labels = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"must both be \[B, N\] with at least one pixel, got \["):
        ranked_measures(scores, labels)


@pytest.mark.parametrize("function", [pointing_hit, energy_inside])
def test_frames_of_other_shapes_are_refused(function):
    with pytest.raises(ValueError, match=r"must both be \[B, H, W\], got \[1, 2, 2\] and \[1, 2, 3\]"):
        function(torch.zeros(1, 2, 2), torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match=r"got \[2, 2\] and \[2, 2\]"):
        function(torch.zeros(2, 2), torch.zeros(2, 2))


def one(function, rows, truth, **options) -> float:
    return function(torch.tensor([rows], dtype=torch.float32), torch.tensor([truth]), **options).item()


LEFT = [[1.0, 0.0], [0.5, 0.0]]


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        ([[9, 1], [2, 3]], 1),
        ([[1, 9], [2, 3]], 0),
        ([[1, 2], [9, 3]], 1),
        ([[9, 9], [9, 3]], 2 / 3),
        ([[5, 5], [5, 5]], 1 / 2),
        ([[INF, 1], [2, -INF]], 1),
        ([[9, 1], [2, NAN]], 0),
        ([[NAN, NAN], [NAN, NAN]], 0),
    ],
)
def test_the_pointing_game_by_hand(rows, share):
    assert one(pointing_hit, rows, LEFT) == share
    assert one(pointing_hit, rows, [[0.0, 0.0], [0.0, 0.0]]) == 0


def test_the_tolerance_of_the_pointing_game_is_a_distance_between_centres():
    maps, truth = torch.zeros(1, 9, 9), torch.zeros(1, 9, 9)
    maps[0, 5, 6], truth[0, 2, 2] = 1, 1  # three rows and four columns away
    assert [pointing_hit(maps, truth, tolerance=t).item() for t in (0, 4, 5, 99)] == [0, 0, 1, 1]
    assert pointing_hit(maps, truth * 0, tolerance=99).item() == 0
    with pytest.raises(ValueError, match="tolerance must be a number of pixels, 0 or more, got -1"):
        pointing_hit(maps, truth, tolerance=-1)


@pytest.mark.parametrize("size", [(11, 17), (1, 8), (9, 2)])
@pytest.mark.parametrize("tolerance", [0, 1, 3, 20])
def test_the_tolerance_against_a_distance_transform(size, tolerance):
    truth = (torch.rand(8, *size) < torch.tensor([0.02, 0.1, 0.3, 1.0]).repeat(2)[:, None, None]).float()
    truth[:, 0, 0] = 1
    maps = (torch.rand(8, *size) * 4).floor()
    found = pointing_hit(maps, truth, tolerance=tolerance)
    for row, (x, g) in enumerate(zip(maps.numpy(), truth.numpy(), strict=True)):
        near = distance_transform_edt(g == 0) <= tolerance
        assert found[row].item() == pytest.approx(near[x == x.max()].mean(), abs=1e-15)


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        ([[1, 0], [0, 0]], 1),
        ([[0, 1], [0, 0]], 0),
        ([[5, 3], [4, 2]], (3 + 2 / 2) / 6),
        ([[-5, -7], [-6, -8]], (3 + 2 / 2) / 6),
        ([[5, 5], [5, 5]], 1.5 / 4),
        ([[3e38, -3e38], [-3e38, -3e38]], 1),
        ([[INF, 1], [2, 3]], 0),
        ([[1, -INF], [2, 3]], 0),
        ([[INF, INF], [INF, INF]], 0),
        ([[1, NAN], [2, 3]], 0),
    ],
)
def test_energy_inside_by_hand(rows, share):
    assert one(energy_inside, rows, LEFT) == pytest.approx(share, abs=1e-15)
    assert one(energy_inside, rows, [[0.0, 0.0], [0.0, 0.0]]) == 0


def test_energy_inside_against_a_loop():
    maps, truth = torch.randn(4, 7, 5), (torch.rand(4, 7, 5) * 3).floor() / 2
    for x, g, found in zip(maps.tolist(), truth.tolist(), energy_inside(maps, truth).tolist(), strict=True):
        cells, weights = [v for line in x for v in line], [v for line in g for v in line]
        low, high = min(cells), max(cells)
        p = [(cell - low) / (high - low) for cell in cells]
        assert found == pytest.approx(sum(a * b for a, b in zip(p, weights, strict=True)) / sum(p), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(-50, 50), min_size=6, max_size=6),
    st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=6, max_size=6),
    st.sampled_from([0.25, 8.0]),
    st.integers(-500, 500),
)
def test_energy_and_pointing_do_not_see_scale_and_offset(cells, weights, scale, offset):
    maps, truth = torch.tensor(cells).view(1, 2, 3).float(), torch.tensor(weights).view(1, 2, 3)
    for function in (energy_inside, pointing_hit):
        found = function(maps, truth).item()
        assert 0 <= found <= 1
        assert function(maps * scale + offset, truth).item() == pytest.approx(found, abs=1e-12)
    full = energy_inside(maps, torch.ones_like(truth)).item()
    assert full == pytest.approx(1, abs=1e-12)
    assert energy_inside(maps, 1 - truth).item() == pytest.approx(1 - energy_inside(maps, truth).item(), abs=1e-12)
