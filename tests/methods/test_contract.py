"""What every trainable method keeps to, on slim networks and a front-end's own output."""

from dataclasses import fields

import pytest
import torch

from avbench.registry import describe, find_method, load_class, make_config, method_names
from avbench.types import Batch, Embeddings

SLIM = {"width": 1 / 16, "dim": 16, "out_dim": 16, "reciprocal_k": 2}
SIZE = 4


def trainable():
    return [name for name in method_names() if (info := describe(find_method(name))).trainable and not info.control]


def build(name, seed=0):
    cls = load_class(find_method(name))
    known = {f.name for f in fields(cls.config_class)}
    torch.manual_seed(seed)
    return cls(make_config(cls.config_class, {key: value for key, value in SLIM.items() if key in known}))


@pytest.fixture(params=trainable())
def name(request):
    return request.param


@pytest.fixture
def method(name):
    return build(name)


@pytest.fixture
def batch(method):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(SIZE, 3, 224, 224, generator=generator)
    samples = round(method.frontend.window.seconds * 16_000)
    waveform = torch.randn(SIZE, samples, generator=generator).clamp(-1, 1)
    return Batch([str(i) for i in range(SIZE)], image, method.frontend(waveform, 16_000))


def part(batch, rows):
    return Batch(batch.ids[rows], batch.image[rows], batch.audio[rows])


def test_there_are_trainable_methods():
    assert {"ezvsl", "jsa"} <= set(trainable())


def test_loss_is_finite_and_reaches_every_trainable_parameter(method, batch):
    terms = method.loss(batch)
    assert all(term.shape == () and term.isfinite() for term in terms.values())
    terms["total"].backward()
    lost = [
        n for n, p in method.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.isfinite().all())
    ]
    assert not lost


def test_forward_is_the_loss(method, batch):
    torch.manual_seed(1)
    whole = method(batch)
    torch.manual_seed(1)
    again = method.loss(batch)
    assert {key: value.item() for key, value in whole.items()} == {key: value.item() for key, value in again.items()}


def test_maps_are_raw_finite_and_within_the_stated_range(method, batch):
    method.eval()
    with torch.inference_mode():
        found = method.localize(batch)
    maps = [found.map, *found.extra.values()]
    assert all(m.ndim == 3 and len(m) == SIZE and m.isfinite().all() for m in maps)
    assert found.confidence is None or found.confidence.shape == (SIZE,)
    low, high = method.score_range or (-torch.inf, torch.inf)
    assert low - 1e-4 <= found.map.min() <= found.map.max() <= high + 1e-4


def test_a_map_depends_on_its_own_sample_alone(method, batch):
    method.eval()
    with torch.inference_mode():
        together = method.localize(batch)
        alone = [method.localize(part(batch, slice(i, i + 1))) for i in range(SIZE)]
    pairs = [(together.map, [a.map for a in alone])]
    pairs += [(value, [a.extra[key] for a in alone]) for key, value in together.extra.items()]
    for whole, parts in pairs:
        torch.testing.assert_close(whole, torch.cat(parts), rtol=0, atol=1e-5 * whole.abs().max().item())


def test_looking_changes_nothing(method, batch):
    method.eval()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    with torch.inference_mode():
        first = method.localize(batch).map
        method.embed(batch)
        assert torch.equal(first, method.localize(batch).map)
    assert all(torch.equal(before[key], value) for key, value in method.state_dict().items())


def test_embeddings_compare_every_image_with_every_sound(method, batch):
    method.eval()
    with torch.inference_mode():
        found = method.embed(batch)
    assert isinstance(found, Embeddings)
    assert len(found.image) == len(found.audio) == SIZE
    if hasattr(method, "similarity"):
        table = method.similarity(found.image[:3], found.audio)
        assert table.shape == (3, SIZE)
        assert table.isfinite().all()
    else:
        assert found.image.shape == found.audio.shape
        assert found.image.ndim == 2


def test_the_state_dict_is_the_whole_method(name, method, batch):
    other = build(name, seed=1).eval()
    other.load_state_dict(method.eval().state_dict())
    with torch.inference_mode():
        assert torch.equal(other.localize(batch).map, method.localize(batch).map)


def test_the_seed_decides_weights_and_loss(name, method, batch):
    twin = build(name)
    assert all(torch.equal(a, b) for a, b in zip(method.state_dict().values(), twin.state_dict().values(), strict=True))
    totals = []
    for one in (method, twin):
        torch.manual_seed(3)
        totals.append(one.loss(batch)["total"].item())
    assert totals[0] == totals[1]
    stranger = build(name, seed=1)
    assert stranger.loss(batch)["total"].item() != totals[0]
