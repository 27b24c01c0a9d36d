"""Attention10k's map, losses and retrieval on small networks, against NumPy and values by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from avbench.errors import UsageError
from avbench.frontends import ScipySpectrogram
from avbench.methods.attention10k import (
    Attention10k,
    Attention10kConfig,
    attention_error,
    margin_loss,
    squared_error,
)
from avbench.nets.resnet import Trunk
from avbench.recipe import load_recipe

SPECTROGRAM = (33, 40)
BOXES = ("off", "official", "squared")


def small(**settings):
    torch.manual_seed(0)
    return Attention10k(Attention10kConfig(width=1 / 16, **settings)).double().eval()


@pytest.fixture
def batch(random_batch):
    """Three noisy pairs, of which the first and the last are annotated."""
    made = random_batch(SPECTROGRAM, size=3, dtype=torch.float64)
    truth = torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return replace(made, truth=truth, annotated=torch.tensor([True, False, True]))


def features(method, batch):
    """What the trunks say, as arrays: cells ``[B, K, D]`` and sounds ``[B, D]``."""
    with torch.no_grad():
        cells = method.imgnet(batch.image).flatten(2).transpose(1, 2).numpy()
        return cells, method.audnet(batch.audio).flatten(2).max(dim=2).values.numpy()


def twice(method, name, x):
    """Two layers, each with its ReLU."""
    parts = {key: value.numpy() for key, value in method.state_dict().items()}
    for layer in (f"{name}_fc1", f"{name}_fc2"):
        x = np.maximum(parts[f"{layer}.weight"] @ x + parts[f"{layer}.bias"], 0)
    return x


def unit(x):
    return x / np.linalg.norm(x)


class Reference:
    """One picture and one sound, sample by sample."""

    def __init__(self, method, cells, sound):
        query = unit(twice(method, "aud", sound))
        cells = np.stack([unit(cell) for cell in cells])
        self.cosines = np.array([cell @ query for cell in cells])
        powers = np.exp(self.cosines / method.config.temperature)
        self.attention = powers / powers.sum()
        pooled = sum(share * cell for share, cell in zip(self.attention, cells, strict=True))
        self.distance = math.dist(twice(method, "img", pooled), sound)


def references(method, batch):
    """``[n][m]``: picture n with sound m."""
    cells, sounds = features(method, batch)
    return [[Reference(method, picture, sound) for sound in sounds] for picture in cells]


def contrastive_by_loops(table, margin):
    rows = []
    for m in range(len(table)):
        rows.append(table[m][m].distance ** 2)
        other = table[(m + 1) % len(table)][m]
        rows.append(max(0.0, margin - math.sqrt(other.distance**2 + 1e-9)) ** 2)
    return 0.5 * math.fsum(rows) / len(rows)


def cells_of(truth, side):
    """The mean of each cell's pixels, flattened."""
    step = truth.shape[-1] // side
    return truth.numpy().reshape(side, step, side, step).mean(axis=(1, 3)).ravel()


def supervised_by_loops(method, table, batch):
    """Of 4 x 4 cells, which pictures of 64 pixels have."""
    config, rows = method.config, []
    for n, annotated in enumerate(batch.annotated.tolist()):
        if not annotated:
            continue
        truth, own = cells_of(batch.truth[n], 4), table[n][n]
        if config.supervised == "squared":
            rows.append(math.fsum((own.cosines - truth) ** 2))
        else:
            share = truth / truth.sum() if config.truth_sums_to_one else truth
            rows.append(-math.fsum(share * np.log(own.attention)))
    return math.fsum(rows) / (len(rows) if config.supervised == "squared" else len(batch.ids))


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def test_the_size_of_its_parts():
    with torch.device("meta"):
        method = Attention10k(Attention10kConfig())
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in method.named_children()}
    assert sizes == {"imgnet": 11_176_512, "audnet": 11_170_240} | dict.fromkeys(
        ("img_fc1", "img_fc2", "aud_fc1", "aud_fc2"), 262_656
    )


def test_it_hears_and_sees_what_the_others_do(random_batch):
    method = small().float()
    assert method.frontend == ScipySpectrogram()
    with torch.no_grad():
        assert method.localize(random_batch(SPECTROGRAM, side=224, size=1)).map.shape == (1, 14, 14)


@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_the_map_is_a_softmax_over_cells(batch, temperature):
    method = small(temperature=temperature)
    with torch.no_grad():
        found = method.localize(batch)
    wanted = np.stack([row[n].attention for n, row in enumerate(references(method, batch))])
    np.testing.assert_allclose(found.map.flatten(1).numpy(), wanted, rtol=1e-10)
    np.testing.assert_allclose(found.map.sum(dim=(1, 2)).numpy(), 1)
    assert (found.confidence, found.extra, method.score_range) == (None, {}, (0.0, 1.0))


def test_the_published_map_is_nearly_flat_and_a_temperature_sharpens_it(batch):
    with torch.no_grad():
        flat, sharp = (small(temperature=t).localize(batch).map.amax().item() for t in (1.0, 0.05))
    assert 1 / 16 < flat <= math.e / 16
    assert sharp > 1.5 * flat


@pytest.mark.parametrize("margin", [10.0, 40.0])
def test_the_contrastive_term_by_loops(batch, margin):
    method = small(margin=margin)
    terms = method.loss(batch)
    table = references(method, batch)
    distances = [pair.distance for row in table for pair in row]
    assert 10 < min(distances) < max(distances) < 40, (
        "negatives cost nothing with one margin, all of them with the other"
    )
    assert terms["contrastive"].item() == pytest.approx(contrastive_by_loops(table, margin), rel=1e-10)
    assert terms["total"] is terms["contrastive"]
    assert method(batch)["total"].item() == terms["total"].item()


def test_the_margin_by_hand():
    own, other = double([4.0, 0.0]), double([25.0, 169.0])  # distances 2 and 0, 5 and 13
    assert margin_loss(own, other, 10.0).item() == pytest.approx((4 + 0 + (10 - 5) ** 2 + 0) / 4 / 2, rel=1e-9)
    assert margin_loss(own, other, 14.0).item() == pytest.approx((4 + 0 + 9**2 + 1**2) / 4 / 2, rel=1e-9)
    assert margin_loss(double([0.0]), double([100.0]), 10.0).item() == pytest.approx(0, abs=1e-12)


def test_a_negative_at_no_distance_keeps_its_gradient_finite():
    other = double([0.0, 1.0]).requires_grad_()
    margin_loss(double([0.0, 0.0]), other, 10.0).backward()
    assert other.grad.isfinite().all()
    assert (other.grad < 0).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"supervised": "official"},
        {"supervised": "official", "truth_sums_to_one": False},
        {"supervised": "official", "temperature": 0.2},
        {"supervised": "squared"},
        {"supervised": "squared", "temperature": 0.2},
    ],
)
def test_the_supervised_term_by_loops(batch, settings):
    method = small(**settings)
    terms, table = method.loss(batch), references(method, batch)
    contrastive, supervised = contrastive_by_loops(table, 10.0), supervised_by_loops(method, table, batch)
    assert terms["contrastive"].item() == pytest.approx(contrastive, rel=1e-10)
    assert terms["supervised"].item() == pytest.approx(supervised, rel=1e-10)
    assert terms["total"].item() == pytest.approx(contrastive + supervised, rel=1e-10)


LOGITS = [[[math.log(1), math.log(3)]], [[math.log(2), math.log(2)]]]
"""Attention of 1/4 and 3/4, then of two halves."""
SHARES = [[[0.0, 1.0]], [[0.5, 0.25]]]


@pytest.mark.parametrize(
    ("annotated", "normalised", "wanted"),
    [
        ([True, True], True, (-math.log(3 / 4) - math.log(1 / 2)) / 2),
        ([True, True], False, (-math.log(3 / 4) - 0.75 * math.log(1 / 2)) / 2),
        ([False, True], True, -math.log(1 / 2) / 2),
        ([False, True], False, -0.75 * math.log(1 / 2) / 2),
        ([False, False], True, 0.0),
    ],
)
def test_the_attentions_error_by_hand(annotated, normalised, wanted):
    found = attention_error(double(LOGITS), double(SHARES), torch.tensor(annotated), sums_to_one=normalised)
    assert found.item() == pytest.approx(wanted, rel=1e-9)


def test_boxes_that_the_crop_left_out_cost_nothing():
    logits = double(LOGITS).requires_grad_()
    found = attention_error(logits, double([[[0.0, 0.0]], [[0.0, 0.0]]]), torch.tensor([True, True]))
    found.backward()
    assert found.item() == 0
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize(
    ("annotated", "wanted"),
    [
        ([True, True], (0.3**2 + 0.2**2 + 0.1**2 + 0.5**2) / 2),
        ([True, False], 0.3**2 + 0.2**2),
        ([False, True], 0.1**2 + 0.5**2),
        ([False, False], 0.0),
    ],
)
def test_the_squared_error_by_hand(annotated, wanted):
    scores, truth = double([[[0.3, 0.8]], [[0.6, 0.5]]]), double([[[0.0, 1.0]], [[0.5, 0.0]]])
    assert squared_error(scores, truth, torch.tensor(annotated)).item() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("supervised", BOXES)
def test_the_gradient_reaches_every_parameter(batch, supervised):
    method = small(supervised=supervised)
    method.loss(batch)["total"].backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("supervised", BOXES[1:])
def test_boxes_train_both_trunks_and_a_step_lowers_their_term(batch, supervised):
    method = small(supervised=supervised)
    start = method.loss(batch)["supervised"]
    start.backward()
    for part in (method.imgnet, method.audnet, method.aud_fc1, method.aud_fc2):
        assert max(p.grad.abs().max() for p in part.parameters()) > 0
    assert method.img_fc1.weight.grad is None, "the map does not pass the layers that predict the sound"
    for parameter in method.parameters():
        if parameter.grad is not None:
            parameter.data -= 1e-4 * parameter.grad
    assert method.loss(batch)["supervised"] < start


@pytest.mark.parametrize("supervised", BOXES[1:])
def test_the_truth_of_clips_without_annotation_is_not_read(batch, supervised):
    method, other = small(supervised=supervised), batch.truth.clone()
    other[1] = 1 - other[1]
    found = [method.loss(replace(batch, truth=truth))["supervised"].item() for truth in (batch.truth, other)]
    assert found[0] == found[1]
    other[0] = 1 - other[0]
    assert method.loss(replace(batch, truth=other))["supervised"].item() != pytest.approx(found[0], rel=1e-6)


def test_the_sounds_features_learn_as_a_target_too(batch):
    method = small(margin=1e-6)  # negatives cost nothing
    for parameter in method.aud_fc2.parameters():
        parameter.data.zero_()  # every query is 0: nothing but the target depends on the sound
    method.loss(batch)["contrastive"].backward()
    assert max(p.grad.abs().max() for p in method.audnet.parameters()) > 0


def test_retrieval_compares_the_distances_that_training_compares(batch):
    method = small()
    with torch.no_grad():
        parts = method.embed(batch)
        found = method.similarity(parts.image, parts.audio)
        repeated = method.similarity(parts.image.repeat(6, 1, 1, 1), parts.audio)
    wanted = np.array([[-pair.distance for pair in row] for row in references(method, batch)])
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9)
    np.testing.assert_allclose(repeated.numpy(), np.tile(wanted, (6, 1)), rtol=1e-9)


def test_truth_is_asked_for_only_where_it_is_read(batch):
    assert [small(supervised=form).wants_truth for form in BOXES] == [False, True, True]
    bare = replace(batch, truth=None, annotated=None)
    small().loss(bare)
    with pytest.raises(UsageError, match="supervised = squared needs annotated clips, the batch has none"):
        small(supervised="squared").loss(bare)


def test_a_single_pair_has_no_negative(random_batch):
    with pytest.raises(UsageError, match="needs another pair as a negative, got a batch of 1"):
        small().loss(random_batch(SPECTROGRAM, size=1, dtype=torch.float64))


@pytest.mark.parametrize("settings", [{"margin": 0.0}, {"temperature": -1.0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UsageError, match="needs margin and temperature above 0"):
        small(**settings)


def test_pretrained_weights_fill_the_image_trunk_alone(monkeypatch):
    published = {key: torch.full_like(value, 2) for key, value in Trunk().state_dict().items()}
    monkeypatch.setattr("avbench.nets.resnet.imagenet_weights", lambda path: published)
    method = Attention10k(Attention10kConfig(pretrained="imagenet"))
    assert all(bool((value == 2).all()) for value in method.imgnet.state_dict().values())
    assert not (method.audnet.bn1.weight == 2).any()


@pytest.mark.parametrize("name", ["attention10k-demo", "attention10k-semi-demo"])
def test_the_demo_recipes_differ_in_the_boxes_alone(name):
    recipe = load_recipe("attention10k", name)
    assert ("supervised" in recipe.method_values) == ("semi" in name)
    common = {key: value for key, value in recipe.method_values.items() if key != "supervised"}
    assert common == load_recipe("attention10k", "demo").method_values
    assert recipe.annotated == (0.1 if "semi" in name else 1.0)
    assert replace(recipe, name="", summary="", method_values={}, annotated=1.0) == replace(
        load_recipe("attention10k", "demo"), name="", summary="", method_values={}
    )
