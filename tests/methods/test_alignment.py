"""Alignment on small networks, against loops and values by hand."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from avbench.errors import UsageError
from avbench.frontends import ScipySpectrogram
from avbench.methods.alignment import Alignment, AlignmentConfig
from avbench.methods.lvs import LVS, LVSConfig
from avbench.types import Window

SPECTROGRAM = (33, 40)
SETS = [
    ((True, True), ("augmented", "conceptual"), 9),
    ((True, False), ("augmented",), 4),
    ((False, True), ("conceptual",), 4),
    ((False, False), (), 1),
]
"""Multi-view and semantic, the further positives that they add, the pairs that follow (paper, table 8)."""


def small(**settings):
    torch.manual_seed(0)
    return Alignment(AlignmentConfig(**{"width": 1 / 16, "head_hidden": 6, "head_dim": 4, **settings}))


@pytest.fixture
def batch(random_batch):
    """Three samples with all further positives, in float64."""

    def noise(seed):
        return random_batch(SPECTROGRAM, size=3, seed=seed, dtype=torch.float64)

    views = {"augmented": noise(1), "conceptual": noise(2)}
    return replace(
        noise(0),
        image_views={name: b.image for name, b in views.items()},
        audio_views={name: b.audio for name, b in views.items()},
    )


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def cosine(a, b):
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def through(head, vector):
    """Two layers with a ReLU between, number by number."""
    first, _, second = head
    hidden = [
        max(dot(row, vector) + bias, 0) for row, bias in zip(first.weight.tolist(), first.bias.tolist(), strict=True)
    ]
    return [dot(row, hidden) + bias for row, bias in zip(second.weight.tolist(), second.bias.tolist(), strict=True)]


def of_localization(method, cells, sound):
    """The plain mean of the cosine map."""
    return sum(cosine(cell, sound) for cell in cells) / len(cells)


def of_alignment(method, cells, sound):
    mean = [math.fsum(column) / len(cells) for column in zip(*cells, strict=True)]
    return cosine(through(method.img_proj, mean), through(method.aud_proj, sound))


def term_by_loops(method, batch, similarity):
    """Sum over kinds of pictures and of sounds of the mean cross-entropy, each softmax written out."""
    with torch.no_grad():
        pictures = [method.cells(x) for x in (batch.image, *(batch.image_views[v] for v in method.views))]
        sounds = [method.sound(x).tolist() for x in (batch.audio, *(batch.audio_views[v] for v in method.views))]
    total, size, tau = 0.0, len(batch.ids), method.config.tau
    for kind in pictures:
        cells = [picture.flatten(1).T.tolist() for picture in kind]
        for heard in sounds:
            table = [[math.exp(similarity(method, c, a) / tau) for a in heard] for c in cells]
            ways = [table, list(zip(*table, strict=True))] if method.config.symmetric else [table]
            total += sum(-math.log(row[i] / sum(row)) for way in ways for i, row in enumerate(way)) / size
    return total


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("feature_alignment", [False, True])
@pytest.mark.parametrize(("switches", "views", "pairs"), SETS)
def test_loss_by_loops(batch, switches, views, pairs, feature_alignment, symmetric):
    multi_view, semantic = switches
    method = small(multi_view=multi_view, semantic=semantic, feature_alignment=feature_alignment, symmetric=symmetric)
    method.double().eval()
    assert method.views == views
    assert (1 + len(method.views)) ** 2 == pairs
    found = method.loss(batch)
    wanted = {"localization": term_by_loops(method, batch, of_localization)}
    if feature_alignment:
        wanted["alignment"] = term_by_loops(method, batch, of_alignment)
    wanted["total"] = sum(wanted.values())
    assert {name: term.item() for name, term in found.items()} == pytest.approx(wanted, rel=1e-9)
    assert method(batch)["total"].item() == found["total"].item()


@pytest.mark.parametrize(("switches", "views", "pairs"), SETS)
@pytest.mark.parametrize(("symmetric", "ways"), [(False, 1), (True, 2)])
def test_loss_by_hand(monkeypatch, random_batch, switches, views, pairs, symmetric, ways):
    method = small(multi_view=switches[0], semantic=switches[1], feature_alignment=False, symmetric=symmetric, tau=0.5)
    cells = torch.tensor([[[[3.0, 0.0]], [[0.0, 1.0]]], [[[0.0, 0.0]], [[2.0, 5.0]]]])
    sounds = torch.tensor([[7.0, 0.0], [0.0, 0.1]])  # mean cosines: 0.5 and 0.5, then 0 and 1
    monkeypatch.setattr(method, "cells", lambda image: cells)
    monkeypatch.setattr(method, "sound", lambda audio: sounds)
    batch = random_batch(SPECTROGRAM, size=2)
    batch.image_views, batch.audio_views = (dict.fromkeys(views, x) for x in (batch.image, batch.audio))
    by_rows = (math.log(2) + math.log(1 + math.exp(-1 / 0.5))) / 2
    by_columns = (math.log(1 + math.exp(-0.5 / 0.5)) + math.log(1 + math.exp(-0.5 / 0.5))) / 2
    wanted = pairs * (by_rows + (by_columns if ways == 2 else 0))
    assert method.loss(batch)["total"].item() == pytest.approx(wanted, rel=1e-6)


def test_tau_divides_both_similarities(batch):
    sharp, soft = (small(tau=tau).double().eval().loss(batch) for tau in (0.07, 1e6))
    for name in ("localization", "alignment"):
        assert soft[name].item() == pytest.approx(9 * math.log(3), rel=1e-5)
        assert abs(sharp[name].item() - soft[name].item()) > 1e-3


def test_each_kind_passes_the_networks_on_its_own(batch):
    method = small().double()
    method.loss(batch)
    for net in (method.imgnet, method.audnet):
        assert net.bn1.num_batches_tracked.item() == 3
    plain = small(multi_view=False, semantic=False).double()
    plain.loss(batch)
    assert plain.imgnet.bn1.num_batches_tracked.item() == 1


@pytest.mark.parametrize("switches", [switches for switches, _, _ in SETS])
@pytest.mark.parametrize("feature_alignment", [False, True])
def test_gradients_reach_every_parameter(batch, switches, feature_alignment):
    method = small(multi_view=switches[0], semantic=switches[1], feature_alignment=feature_alignment).double()
    method.loss(batch)["total"].backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in method.parameters())


def test_neighbours_are_asked_for_where_a_conceptual_view_is():
    assert (small().neighbours, small(k=10).neighbours, small(semantic=False).neighbours) == (1000, 10, 0)


@pytest.mark.parametrize("side", ["image_views", "audio_views"])
@pytest.mark.parametrize(
    ("dropped", "told"),
    [(["augmented"], "the augmented pictures"), (["augmented", "conceptual"], "the augmented and conceptual pictures")],
)
def test_a_batch_without_its_views_is_refused(batch, side, dropped, told):
    for view in dropped:
        del getattr(batch, side)[view]
    with pytest.raises(UsageError, match=f"{told} and sounds too, but the batch has none"):
        small().double().loss(batch)


def test_views_that_are_switched_off_are_not_read(batch):
    method = small(semantic=False).double().eval()
    with_both = method.loss(batch)["total"].item()
    del batch.image_views["conceptual"], batch.audio_views["conceptual"]
    assert method.loss(batch)["total"].item() == with_both


def test_sizes():
    with torch.device("meta"):
        released, trained, plain = (
            Alignment(AlignmentConfig(**settings)) for settings in ({"heads": False}, {}, {"feature_alignment": False})
        )
    counts = [sum(p.numel() for p in m.parameters() if p.requires_grad) for m in (released, trained, plain)]
    assert counts == [22_346_752, 22_346_752 + 2 * (513 * 512 + 513 * 128), 22_346_752]
    assert sum(b.numel() for b in trained.buffers()) == 19_240
    assert len(released.state_dict()) == 240


def test_settings_of_a_state_tell_whether_it_has_heads():
    trained = small().state_dict()
    assert Alignment.settings_of(trained) == {}
    assert Alignment.settings_of({k: v for k, v in trained.items() if "_proj" not in k}) == {"heads": False}


def test_without_heads_the_network_localizes_and_does_not_train(batch):
    method = small(heads=False).double()
    assert not [key for key in method.state_dict() if "_proj" in key]
    assert method.eval().localize(batch).map.shape == (3, 4, 4)
    with pytest.raises(UsageError, match="built without its heads"):
        method.loss(batch)
    assert set(small(heads=False, feature_alignment=False).double().loss(batch)) == {"localization", "total"}


def test_the_map_is_that_of_lvs_whatever_the_heads(batch):
    method = small().double().eval()
    twin = LVS(LVSConfig(width=1 / 16)).double().eval()
    twin.load_state_dict({key: value for key, value in method.state_dict().items() if "_proj" not in key})
    with torch.no_grad():
        found = method.localize(batch)
        assert torch.equal(found.map, twin.localize(batch).map)
        wanted = F.cosine_similarity(method.cells(batch.image)[2, :, 0, 1], method.sound(batch.audio)[2], dim=0)
    assert found.map[2, 0, 1].item() == pytest.approx(wanted.item(), rel=1e-9)
    assert (found.confidence, found.extra, method.score_range) == (None, {}, (0.0, 1.0))


@pytest.mark.parametrize(
    ("settings", "projected"),
    [
        ({}, True),
        ({"retrieval": "projected"}, True),
        ({"retrieval": "avg"}, False),
        ({"heads": False}, False),
        ({"feature_alignment": False}, False),
    ],
)
def test_embeddings_by_loops(batch, settings, projected):
    method = small(**settings).double().eval()
    with torch.no_grad():
        found, cells, sounds = method.embed(batch), method.cells(batch.image), method.sound(batch.audio)
    assert found.image.shape == found.audio.shape == (3, 4 if projected else 32)
    torch.testing.assert_close(found.image.norm(dim=1), torch.ones(3, dtype=torch.float64))
    picture, sound = cells[1].flatten(1).mean(dim=1).tolist(), sounds[2].tolist()
    if projected:
        picture, sound = through(method.img_proj, picture), through(method.aud_proj, sound)
    assert (found.image[1] @ found.audio[2]).item() == pytest.approx(cosine(picture, sound), rel=1e-9)


def test_the_middle_three_seconds_are_heard_in_both_modes():
    method = small()
    assert method.frontend == ScipySpectrogram(Window(3.0, "centre"), noverlap=353, amplitude="soundfile")
    assert method.frontend == method.eval().frontend
    assert method.frontend(torch.zeros(1, 48_000), 16_000).shape == (1, 1, 257, 299)


@pytest.mark.parametrize("settings", [{"heads": False}, {"feature_alignment": False}])
def test_projected_retrieval_needs_heads(settings):
    with pytest.raises(UsageError, match="compares projected vectors only where it has heads"):
        AlignmentConfig(retrieval="projected", **settings)


@pytest.mark.parametrize("settings", [{"tau": 0.0}, {"k": 0}, {"head_hidden": 0}, {"head_dim": -1}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UsageError, match="needs tau, k, head_hidden and head_dim above 0"):
        AlignmentConfig(**settings)
