"""SLAVC on small networks, against loops, values by hand and its own options."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from avbench.checkpoints import fill
from avbench.errors import AvbenchError, UsageError
from avbench.frontends import ScipySpectrogram
from avbench.methods import slavc
from avbench.methods.slavc import SLAVC, SLAVCConfig, match_log_probability
from avbench.registry import describe, find_method

SPECTROGRAM = (33, 40)
IMAGE_PARTS, AUDIO_PARTS = ("imgnet", "img_proj1", "img_proj2"), ("audnet", "aud_proj1", "aud_proj2")


def small(**settings):
    """A slim method without dropout, in float64, whose momentum parts differ from the online ones."""
    torch.manual_seed(0)
    method = SLAVC(SLAVCConfig(**{"width": 1 / 16, "out_dim": 8, "dropout_img": 0.0, **settings})).double()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in method.named_parameters():
        if name.startswith("momentum_"):
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return method


@pytest.fixture
def batch(random_batch):
    return random_batch(SPECTROGRAM, size=3, dtype=torch.float64)


def unit_features(method, batch, prefix=""):
    """Cells ``[space][n][k]`` and sounds ``[space][m]`` as lists, through the modules' official names."""
    part = {name: method.get_submodule(prefix + name) for name in (*IMAGE_PARTS, *AUDIO_PARTS)}
    with torch.no_grad():
        image, sound = part["imgnet"](batch.image), part["audnet"](batch.audio).amax(dim=(2, 3))
        cells = [F.normalize(part[f"img_proj{i}"](image), dim=1).flatten(2).mT.tolist() for i in (1, 2)]
        sounds = [F.normalize(part[f"aud_proj{i}"](sound), dim=1).tolist() for i in (1, 2)]
    return cells, sounds


def softmax(values):
    return [math.exp(v) / math.fsum(map(math.exp, values)) for v in values]


def looped_direction(cells, sounds, tau, *, over_images=False):
    """The loss of one direction, probability by probability."""
    size, number = len(cells[0]), len(cells[0][0])

    def logit(space, n, m, k):
        return math.fsum(map(float.__mul__, cells[space][n][k], sounds[space][m])) / tau

    def which(n, m, k):
        rivals = [logit(0, i, m, k) if over_images else logit(0, n, i, k) for i in range(size)]
        return softmax(rivals)[n if over_images else m]

    def match(n, m):
        where = softmax([logit(1, n, m, k) for k in range(number)])
        return math.fsum(which(n, m, k) * where[k] for k in range(number))

    def rivals(i):
        return [match(n, i) if over_images else match(i, n) for n in range(size)]

    return -math.fsum(math.log(rivals(i)[i] / math.fsum(rivals(i))) for i in range(size)) / size


@pytest.mark.parametrize("symmetric", [False, True])
def test_loss_is_the_looped_one(batch, symmetric):
    method = small(symmetric=symmetric).eval()
    cells, sounds = unit_features(method, batch)
    slow_cells, slow_sounds = unit_features(method, batch, "momentum_")
    terms = method.loss(batch)
    assert set(terms) == {"i2a", "a2i", "total"}
    i2a = looped_direction(cells, slow_sounds, 0.03)
    a2i = looped_direction(slow_cells, sounds, 0.03, over_images=symmetric)
    assert terms["i2a"].item() == pytest.approx(i2a, rel=1e-9)
    assert terms["a2i"].item() == pytest.approx(a2i, rel=1e-9)
    assert terms["total"].item() == pytest.approx(i2a + a2i, rel=1e-9)
    assert method(batch)["total"].item() == terms["total"].item()


def test_symmetric_changes_the_direction_from_sound_to_image_alone(batch):
    coded, mended = small().eval().loss(batch), small(symmetric=True).eval().loss(batch)
    assert mended["i2a"].item() == coded["i2a"].item()
    assert mended["a2i"].item() != pytest.approx(coded["a2i"].item(), rel=1e-3)


def test_matches_stay_finite_where_probabilities_vanish():
    which = torch.tensor([[[200.0, -200.0], [-200.0, 200.0]], [[0.0, 0.0], [0.0, 0.0]]])
    where = which.flip(2)
    found = match_log_probability(which, where)
    assert found[0].tolist() == pytest.approx([-400.0 + math.log(2)] * 2)
    assert found[1].tolist() == pytest.approx([math.log(0.5)] * 2)
    products = which.softmax(dim=1) * where.softmax(dim=2)
    assert bool(products.sum(dim=2).log().isinf().any())


def test_the_published_size():
    with torch.device("meta"):
        method, online = SLAVC(SLAVCConfig()), SLAVC(SLAVCConfig(use_momentum=False))
    assert sum(p.numel() for p in method.parameters()) == 46_794_752
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == 23_397_376
    assert sum(b.numel() for b in method.buffers()) == 38_480
    assert len(method.state_dict()) == 496
    assert sum(p.numel() for p in online.parameters()) == 23_397_376
    assert method.frontend == ScipySpectrogram()
    assert method.score_range == pytest.approx((-33.333333, 33.333333))


def test_it_tells_of_itself_before_it_is_imported():
    info = describe(find_method("slavc"))
    assert (info.official, info.labels.split(";")[0]) == ("stoneMo/SLAVC", "none")
    assert "ImageNet" in info.pretrained


def test_each_training_loss_moves_the_momentum_parameters_once(batch):
    method = small(m_img=0.75, m_aud=0.5)
    before = {name: p.clone() for name, p in method.named_parameters()}
    method.loss(batch)
    after = dict(method.named_parameters())
    for names, momentum in ((IMAGE_PARTS, 0.75), (AUDIO_PARTS, 0.5)):
        for key in [k for k in before if k.startswith(tuple(f"{name}." for name in names))]:
            wanted = momentum * before[f"momentum_{key}"] + (1 - momentum) * before[key]
            torch.testing.assert_close(after[f"momentum_{key}"].data, wanted, rtol=1e-12, atol=1e-12)
            assert torch.equal(after[key], before[key])


def test_momentum_features_come_after_the_update(batch):
    followed = small(m_img=0.0, m_aud=0.0).loss(batch)["total"].item()
    assert followed == pytest.approx(small(use_momentum=False).loss(batch)["total"].item(), rel=1e-9)
    assert followed != pytest.approx(small(m_img=1.0, m_aud=1.0).loss(batch)["total"].item(), rel=1e-3)


def test_nothing_else_moves_the_momentum_parts(batch):
    method = small(m_img=0.5, m_aud=0.5).eval()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    method.loss(batch)
    assert all(torch.equal(before[key], value) for key, value in method.state_dict().items())
    method.train()
    method.localize(batch)
    method.embed(batch)
    moved = [key for key, value in method.named_parameters() if not torch.equal(before[key], value)]
    assert moved == []


def test_momentum_statistics_follow_their_own_pass_alone(batch):
    method = small(m_img=0.0)
    method.imgnet.bn1.running_mean.fill_(5.0)
    method.loss(batch)
    online, slow = method.imgnet.bn1, method.momentum_imgnet.bn1
    assert (online.num_batches_tracked.item(), slow.num_batches_tracked.item()) == (1, 1)
    torch.testing.assert_close(online.running_mean - 4.5, slow.running_mean)


def test_momentum_parts_take_no_gradient(batch):
    method = small()
    method.loss(batch)["total"].backward()
    slow = {name: p for name, p in method.named_parameters() if name.startswith("momentum_")}
    assert len(slow) == 128
    assert all(not p.requires_grad and p.grad is None for p in slow.values())


def test_momentum_parts_start_as_the_online_ones_statistics_included(monkeypatch):
    def statistics(trunk, pretrained):
        assert pretrained == "imagenet"
        trunk.bn1.running_mean.fill_(3.0)

    monkeypatch.setattr(slavc, "load_imagenet", statistics)
    method = SLAVC(SLAVCConfig(width=1 / 16, out_dim=8, pretrained="imagenet"))
    assert method.momentum_imgnet.bn1.running_mean.tolist() == [3.0] * 4
    assert method.momentum_audnet.bn1.running_mean.tolist() == [0.0] * 4
    state = method.state_dict()
    twins = [key for key in state if key.startswith("momentum_")]
    assert len(twins) == 248
    assert all(torch.equal(state[key], state[key.removeprefix("momentum_")]) for key in twins)


def test_without_momentum_targets_are_online_and_take_gradient(batch):
    with_copy, online = small(m_img=0.0, m_aud=0.0), small(use_momentum=False)
    assert not [key for key in online.state_dict() if key.startswith("momentum_")]
    for method in (with_copy, online):
        method.loss(batch)["i2a"].backward()
    assert with_copy.audnet.conv1.weight.grad is None
    assert online.audnet.conv1.weight.grad.abs().max() > 0


def test_weights_with_momentum_fill_a_method_without(batch):
    whole, half = small().eval(), small(use_momentum=False, tau=0.03).eval()
    state = {**whole.state_dict(), "img_proj1.weight": whole.state_dict()["img_proj1.weight"] + 1}
    fill(half, state, Path("whole.pth"))
    assert torch.equal(half.img_proj1.weight, whole.img_proj1.weight + 1)
    with pytest.raises(AvbenchError, match="1 unexpected"):
        fill(half, {**state, "momentum_other.weight": torch.zeros(1)}, Path("whole.pth"))
    with pytest.raises(AvbenchError, match="missing"):
        fill(whole, half.state_dict(), Path("half.pth"))


def drawn(method, batch, names):
    """What each image dropout was given and left, pass by pass, and what the named projections were given."""
    pairs, inputs = [], {}
    method.img_dropout.register_forward_hook(lambda m, given, made: pairs.append((given[0], made)))
    for name in names:
        method.get_submodule(name).register_forward_pre_hook(lambda m, given, n=name: inputs.update({n: given[0]}))
    method.loss(batch)
    return pairs, inputs


def test_one_draw_of_dropout_serves_both_projections_and_the_momentum_has_its_own(random_batch):
    method = small(dropout_img=0.9, m_img=0.0)
    names = ("img_proj1", "img_proj2", "momentum_img_proj1", "momentum_img_proj2")
    pairs, seen = drawn(method, random_batch(SPECTROGRAM, size=8, side=224, dtype=torch.float64), names)
    (given, left), (slow_given, slow_left) = pairs
    assert seen["img_proj1"] is seen["img_proj2"] is left
    assert seen["momentum_img_proj1"] is seen["momentum_img_proj2"] is slow_left
    alive, kept = given > 0, left > 0
    assert kept.sum() / alive.sum() == pytest.approx(0.1, abs=0.02)
    torch.testing.assert_close(left[kept], 10 * given[kept])
    assert torch.equal(given, slow_given)
    assert not torch.equal(kept, slow_left > 0)
    per_channel = (kept.sum(dim=(2, 3)) > 0) & (kept.sum(dim=(2, 3)) < alive.sum(dim=(2, 3)))
    assert per_channel.any()


def test_dropout_is_the_published_one_and_rests_in_evaluation(batch):
    config = SLAVCConfig()
    assert (config.dropout_img, config.dropout_aud, config.m_img, config.m_aud) == (0.9, 0.0, 0.999, 0.999)
    dropped, whole = small(dropout_img=0.9, dropout_aud=0.5), small()
    assert dropped.loss(batch)["total"].item() != pytest.approx(whole.loss(batch)["total"].item(), rel=1e-3)
    maps = [method.eval().localize(batch).map for method in (small(dropout_img=0.9, dropout_aud=0.5), small())]
    assert torch.equal(*maps)


def test_dropout_of_sounds_acts_on_the_pooled_vector(random_batch):
    method, given = small(dropout_aud=0.5), []
    method.aud_proj2.register_forward_pre_hook(lambda m, x: given.append(x[0]))
    method.loss(random_batch(SPECTROGRAM, size=16, dtype=torch.float64))
    assert given[0].shape == (16, 32)
    assert (given[0] == 0).double().mean().item() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("settings", "prefix"), [({}, ""), ({"use_mom_eval": True}, "momentum_")])
def test_the_map_is_the_mean_of_both_spaces_by_two_trunks(batch, settings, prefix):
    method, ran = small(tau=0.07, **settings).eval(), []
    for name in ("imgnet", "audnet", "momentum_imgnet", "momentum_audnet"):
        method.get_submodule(name).register_forward_hook(lambda m, given, made, n=name: ran.append(n))
    with torch.no_grad():
        found = method.localize(batch)
    assert ran == [f"{prefix}imgnet", f"{prefix}audnet"]
    cells, sounds = unit_features(method, batch, prefix)
    means = [math.fsum(math.fsum(map(float.__mul__, cells[s][1][2], sounds[s][1])) for s in (0, 1)) / 2 / 0.07]
    assert found.map.shape == (3, 2, 2)
    assert found.map[1].flatten()[2].item() == pytest.approx(means[0], rel=1e-9)
    assert (found.extra, found.confidence) == ({}, None)


def test_embeddings_follow_the_parts_that_localise(batch):
    online, slow = (small(use_mom_eval=on).eval().embed(batch) for on in (False, True))
    assert not torch.allclose(online.image, slow.image)
    assert not torch.allclose(online.audio, slow.audio)


def cosine(a, b):
    return math.fsum(map(float.__mul__, a, b)) / math.sqrt(math.fsum(x * x for x in a) * math.fsum(x * x for x in b))


@pytest.mark.parametrize("retrieval", ["both", "correspondence", "avg"])
def test_similarity_by_option(batch, retrieval):
    method = small(retrieval=retrieval).eval()
    with torch.no_grad():
        found = method.embed(batch)
        table = method.similarity(found.image, found.audio)
    (first, second), (heard1, heard2) = unit_features(method, batch)

    def wanted(n, m):
        if retrieval == "correspondence":
            return max(cosine(cell, heard1[m]) for cell in first[n])
        if retrieval == "both":
            pairs = zip(first[n], second[n], strict=True)
            return max((cosine(a, heard1[m]) + cosine(b, heard2[m])) / 2 for a, b in pairs)
        joined = [a + b for a, b in zip(first[n], second[n], strict=True)]
        return cosine([math.fsum(column) for column in zip(*joined, strict=True)], heard1[m] + heard2[m])

    assert table.flatten().tolist() == pytest.approx([wanted(n, m) for n in range(3) for m in range(3)], rel=1e-9)
    assert found.audio.norm(dim=1).tolist() == pytest.approx([1.0] * 3)


def test_settings_are_read_from_official_shapes():
    with torch.device("meta"):
        state = SLAVC(SLAVCConfig(width=1 / 16, out_dim=24)).state_dict()
    assert SLAVC.settings_of(state) == {"out_dim": 24}
    assert SLAVC.settings_of({}) == {}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tau": 0.0}, "tau > 0, got 0.0"),
        ({"dropout_img": 1.5}, r"dropout_img in \[0, 1\], got 1.5"),
        ({"m_aud": -0.1}, r"m_aud in \[0, 1\], got -0.1"),
        ({"use_mom_eval": True, "use_momentum": False}, "no momentum parts to localise with"),
    ],
)
def test_impossible_settings_are_refused(settings, told):
    with pytest.raises(UsageError, match=told):
        SLAVCConfig(**settings)


def test_initial_weights_of_both_spaces():
    torch.manual_seed(0)
    method = SLAVC(SLAVCConfig(width=0.25, use_momentum=False))
    for projection in (method.img_proj1, method.img_proj2):
        assert projection.weight.std().item() == pytest.approx(math.sqrt(2 / 512), rel=0.02)
    for projection in (method.aud_proj1, method.aud_proj2):
        assert projection.weight.std().item() == pytest.approx(0.01, rel=0.02)
