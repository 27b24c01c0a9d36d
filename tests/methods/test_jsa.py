"""JSA on small networks, against loops and values by hand."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from avbench.checkpoints import fill
from avbench.errors import UsageError
from avbench.frontends import PowerSpectrogram
from avbench.methods.jsa import (
    JSA,
    JSAConfig,
    audio_positions,
    best_pairs,
    contrastive,
    divergence,
    false_negatives,
    match,
)
from avbench.nets.slot_attention import Slots, attend
from avbench.types import Window

PUBLISHED = (257, 501)


def small(**settings):
    torch.manual_seed(0)
    return JSA(JSAConfig(**{"width": 1 / 16, "dim": 8, "iters": 2, "reciprocal_k": 1, **settings}))


def circle(*degrees):
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.fixture(scope="module")
def batch(random_batch):
    return random_batch(PUBLISHED, size=3, side=224)


def count(config):
    with torch.device("meta"):
        return sum(p.numel() for p in JSA(config).parameters())


def test_the_published_size():
    assert count(JSAConfig()) == 31_818_498
    assert count(JSAConfig(decoders=False)) == 29_708_288
    assert count(JSAConfig(num_slots=3)) == 31_818_498 + 512
    with torch.device("meta"):
        method = JSA(JSAConfig())
    assert len(method.state_dict()) == 307
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in method.named_children()}
    assert sizes == {
        "imgnet": 11_439_168,
        "audnet": 11_432_896,
        "slot_attn": 6_836_224,
        "img_decoder": 1_054_721,
        "aud_decoder": 1_055_489,
    }


def test_audio_positions_follow_from_the_front_end():
    assert audio_positions(PowerSpectrogram()) == 16
    assert audio_positions(PowerSpectrogram(pool=2)) == 8
    assert audio_positions(PowerSpectrogram(window=Window(3.0))) == 10


@pytest.mark.parametrize(("pool", "bins", "frames"), [(1, 257, 501), (2, 129, 251)])
def test_the_audio_decoder_rebuilds_what_the_front_end_gives(random_batch, pool, bins, frames):
    method = small(spectrogram_pool=pool)
    assert method.frontend(torch.randn(1, 80_000), 16_000).shape == (1, 1, bins, frames)
    terms = method.loss(random_batch((bins, frames), size=2, side=224))
    assert math.isfinite(terms["reconstruction"].item())


def test_the_front_ends_epsilon_follows_the_mode():
    method = small(eps_test=1e-5)
    assert method.frontend == PowerSpectrogram(eps=1e-8)
    assert method.eval().frontend == PowerSpectrogram(eps=1e-5)
    assert method.train().frontend == PowerSpectrogram(eps=1e-8)


@pytest.mark.parametrize("slots", [2, 3])
def test_slot_0_is_the_target_whatever_the_number_of_slots(batch, slots):
    method = small(num_slots=slots, infer_sharpening=0.5).eval()
    caught = []
    method.slot_attn.register_forward_hook(lambda module, given, made: caught.append(made))
    with torch.no_grad():
        found, parts, terms = method.localize(batch), method.embed(batch), method.loss(batch)
    image, audio = caught[0]
    assert image.slots.shape == (3, slots, 8)
    assert torch.equal(found.map, attend(audio.queries, image.keys, sharpening=0.5)[:, 0].reshape(3, 7, 7))
    assert torch.equal(
        found.extra["image_query"], attend(image.queries, image.keys, sharpening=0.5)[:, 0].reshape(3, 7, 7)
    )
    assert torch.equal(parts.image, image.slots[:, 0])
    assert torch.equal(parts.audio, audio.slots[:, 0])
    assert found.confidence.tolist() == pytest.approx(F.cosine_similarity(parts.image, parts.audio).tolist())
    assert found.map.sum(dim=(1, 2)).tolist() == pytest.approx([1.0] * 3, rel=1e-5)
    assert math.isfinite(terms["total"].item())


def test_sharpening_keeps_the_order_of_the_cells(batch):
    orders = []
    for sharpening in (0.1, 1.0):
        with torch.no_grad():
            orders.append(
                small(infer_sharpening=sharpening).double().eval().localize(double(batch)).map.flatten(1).argsort()
            )
    assert torch.equal(*orders)


def double(batch):
    return type(batch)(batch.ids, batch.image.double(), batch.audio.double())


def test_tokens_hide_while_training_only(batch):
    method = small(mask_ratio=1.0, lam3=0.0)
    other = type(batch)(batch.ids, batch.image.flip(0).square(), batch.audio.flip(0).square())
    hidden = [method.loss(b)["contrastive"].item() for b in (batch, other)]
    assert hidden[0] == pytest.approx(hidden[1], rel=1e-6)
    method.eval()
    seen = [method.loss(b)["contrastive"].item() for b in (batch, other)]
    assert seen[0] != pytest.approx(seen[1], rel=1e-6)


def test_total_weighs_the_terms(batch):
    method = small(lam0=2.0, lam1=0.5, lam2=3.0, lam3=7.0).eval()
    terms = {key: value.item() for key, value in method.loss(batch).items()}
    assert set(terms) == {"contrastive", "match", "divergence", "reconstruction", "total"}
    weighted = 0.5 * terms["reconstruction"] + 3 * terms["divergence"] + 7 * terms["match"]
    assert terms["total"] == pytest.approx(2 * terms["contrastive"] + weighted, rel=1e-6)


@pytest.mark.parametrize(
    ("off", "term"), [("lam0", "contrastive"), ("lam1", "reconstruction"), ("lam2", "divergence"), ("lam3", "match")]
)
def test_a_term_of_no_weight_is_left_out(batch, off, term):
    whole, less = (small(mask_ratio=0.0, **settings) for settings in ({}, {off: 0.0}))
    terms = less.loss(batch)
    assert term not in terms
    terms["total"].backward()
    parts = whole.loss(batch)
    (parts["total"] - getattr(whole.config, off) * parts[term]).backward()
    trained = {name: p for name, p in less.named_parameters() if p.requires_grad}
    assert all(p.grad is not None for p in trained.values())
    for name, parameter in whole.named_parameters():
        if name in trained:
            torch.testing.assert_close(trained[name].grad, parameter.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_without_reconstruction_the_decoders_are_not_trained():
    frozen = {name for name, p in small(lam1=0.0).named_parameters() if not p.requires_grad}
    assert {name.split(".")[0] for name in frozen} == {"img_decoder", "aud_decoder"}


def test_without_decoders(batch):
    whole, bare = small(), small(decoders=False)
    fill(bare, whole.state_dict(), Path("whole.pth"))
    with torch.no_grad():
        assert torch.equal(bare.eval().localize(batch).map, whole.eval().localize(batch).map)
    with pytest.raises(UsageError, match="without its decoders: train with decoders = true, or with lam1 = 0"):
        bare.loss(batch)
    assert "reconstruction" not in small(decoders=False, lam1=0.0).loss(batch)


def test_spectrograms_of_another_length_are_refused_in_training(random_batch):
    method, batch = small().eval(), random_batch((257, 300), size=2, side=224)
    with pytest.raises(UsageError, match="rebuilds 16 positions, the spectrograms have 10"):
        method.loss(batch)
    assert method.localize(batch).map.shape == (2, 7, 7)


def test_neighbours_must_be_mutual():
    positions = circle(0, 10, 15)
    found = false_negatives(positions, positions, 2)
    assert found.tolist() == [[False] * 3, [False, False, True], [False, True, False]]


def test_neighbours_must_agree_in_image_and_sound():
    assert not false_negatives(circle(0, 10, 15), circle(0, 180, 90), 2).any()


def test_no_neighbours_no_false_negatives():
    assert not false_negatives(circle(0, 0, 0), circle(0, 0, 0), 0).any()


@pytest.mark.parametrize("k", [3, 20])
def test_as_many_neighbours_as_samples_are_refused(k):
    with pytest.raises(UsageError, match=f"reciprocal_k = {k} needs batches of more than {k} samples, got 3"):
        false_negatives(circle(0, 10, 20), circle(0, 10, 20), k)


def test_contrast_leaves_false_negatives_out():
    images, audios = circle(0, 5, 90, 200), circle(3, 1, 80, 220)
    excluded = {(0, 1), (1, 0)}
    table = (images @ audios.T / 0.5).tolist()
    wanted = 0.0
    for i in range(4):
        rows = sum(math.exp(table[i][j]) for j in range(4) if (i, j) not in excluded)
        columns = sum(math.exp(table[j][i]) for j in range(4) if (j, i) not in excluded)
        wanted += (2 * -table[i][i] + math.log(rows) + math.log(columns)) / 4
    images, audios = images[:, None], audios[:, None]
    found = contrastive(images, audios, best_pairs(images, audios), tau=0.5, reciprocal_k=2)
    assert found.item() == pytest.approx(wanted, rel=1e-12)


def test_divergence_by_hand():
    half = 0.5**0.5
    assert divergence(torch.tensor([[[1.0, 0.0], [-3.0, 0.0]]])).item() == 0
    assert divergence(torch.tensor([[[2.0, 0.0], [1.0, 1.0]]])).item() == pytest.approx(half)
    three = torch.tensor([[[1.0, 0.0], [-1.0, 0.0], [2.0, 0.0]]])
    assert divergence(three).item() == pytest.approx(2 / 6)
    pair = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]])
    assert divergence(pair).item() == pytest.approx(0.5)


def test_match_moves_the_cross_modal_attention_alone():
    parts = {name: torch.randn(2, 3, 4, requires_grad=True) for name in ("image_q", "image_k", "audio_q", "audio_k")}
    image = Slots(torch.zeros(1), parts["image_q"], parts["image_k"])
    audio = Slots(torch.zeros(1), parts["audio_q"], parts["audio_k"])
    found = match(image, audio, (torch.zeros(2).long(), torch.zeros(2).long()))
    (gradient,) = torch.autograd.grad(found, parts["image_q"])
    target = attend(parts["audio_q"], parts["audio_k"])[:, 0].detach()
    seen = (attend(parts["image_q"], parts["audio_k"])[:, 0] - target).square().mean()
    torch.testing.assert_close(gradient, *torch.autograd.grad(seen, parts["image_q"]))
    own = attend(parts["image_q"], parts["image_k"])[:, 0]
    heard = (attend(parts["audio_q"], parts["image_k"])[:, 0] - own).square().mean()
    assert found.item() == pytest.approx((seen + heard).item(), rel=1e-6)


def slots_of(unit):
    """One modality's slots ``[B, K, D]`` with empty queries and keys."""
    return Slots(unit, torch.zeros(1), torch.zeros(1))


@pytest.mark.parametrize("half", [True, False])
def test_under_autocast_slots_are_compared_in_half_precision_or_not(batch, monkeypatch, half):
    torch.manual_seed(0)
    image, audio = (torch.randn(3, 2, 8) for _ in range(2))
    method = small(half_similarities=half, lam1=0.0, lam2=0.0, lam3=0.0).eval()
    monkeypatch.setattr(method.slot_attn, "forward", lambda *tokens: (slots_of(image), slots_of(audio)))
    units = [F.normalize(slots[:, :1], dim=2) for slots in (image, audio)]
    single = contrastive(*units, best_pairs(*units), tau=0.03, reciprocal_k=1).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halved = contrastive(*units, best_pairs(*units), tau=0.03, reciprocal_k=1).item()
        found = method.loss(batch)["contrastive"].item()
    assert halved != pytest.approx(single, rel=1e-4)
    assert found == (halved if half else single)


def test_half_precision_changes_nothing_without_autocast(batch):
    totals = [small(half_similarities=half).eval().loss(batch)["total"].item() for half in (True, False)]
    assert totals[0] == totals[1]


def test_neighbours_can_tie_in_half_precision():
    positions = circle(0, 1, 2, 3).float()
    near = false_negatives(positions, positions, 2)
    assert near.sum() == 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cosines = positions @ positions.T
    assert (cosines == 1).all(), "all are equally near"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_slots": 1}, "at least one off-target slot, got num_slots = 1"),
        (
            {"num_slots": 3, "num_targets": 3},
            "at least one off-target slot, got num_slots = 3, of which num_targets = 3",
        ),
        ({"num_targets": 0}, "JSA needs a target slot"),
        (
            {"lam0": 0.0, "lam1": 0.0, "lam2": 0.0, "lam3": 0.0},
            "JSA needs a loss, but lam0, lam1, lam2 and lam3 are all",
        ),
        ({"lam0": 0.0, "lam1": 0.0, "lam2": 0.0, "iters": 1}, "match term alone reaches no slot update at iters = 1"),
        ({"tau": 0.0}, "JSA needs tau"),
        ({"dim": 7}, "an even dim"),
        ({"reciprocal_k": -1}, "reciprocal_k >= 0"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        JSAConfig(**settings)
