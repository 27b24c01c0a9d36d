"""What the settings of JSA's ablation tables and its named quirks change, and what they leave alone."""

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from avbench.methods.jsa import JSA, JSAConfig, best_pairs, contrastive, divergence
from avbench.nets.contrastive import info_nce

SIZE = 4
LAMBDAS = {"lam0": "contrastive", "lam1": "reconstruction", "lam2": "divergence", "lam3": "match"}
COMBINATIONS = [on for on in product((False, True), repeat=4) if any(on)]


def small(**settings):
    torch.manual_seed(0)
    return JSA(JSAConfig(**{"width": 1 / 16, "dim": 8, "iters": 2, "reciprocal_k": 1, **settings}))


@pytest.fixture(scope="module")
def batch(random_batch):
    return random_batch((257, 501), size=SIZE, side=224)


def seen_by(method):
    """Fills the returned list with the slots of both modalities whenever the slot module runs."""
    caught = []
    method.slot_attn.register_forward_hook(lambda module, given, made: caught.append(made))
    return caught


@pytest.mark.parametrize("on", COMBINATIONS, ids=lambda on: "".join(str(int(one)) for one in on))
def test_any_terms_together_reach_every_trained_parameter(batch, on):
    published = JSAConfig()
    method = small(**{name: getattr(published, name) * used for name, used in zip(LAMBDAS, on, strict=True)})
    terms = method.loss(batch)
    assert set(terms) == {term for term, used in zip(LAMBDAS.values(), on, strict=True) if used} | {"total"}
    terms["total"].backward()
    lost = [
        n for n, p in method.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.isfinite().all())
    ]
    assert not lost
    frozen = {n.split(".")[0] for n, p in method.named_parameters() if not p.requires_grad}
    assert frozen == (set() if on[1] else {"img_decoder", "aud_decoder"})


@pytest.mark.parametrize("off", [{"lam1": 0.0, "lam2": 0.0}, {"lam0": 0.0, "lam2": 0.0}, {"lam0": 0.0, "lam1": 0.0}])
def test_one_iteration_reaches_every_trained_parameter(batch, off):
    method = small(iters=1, **off)
    method.loss(batch)["total"].backward()
    assert not [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]


def test_without_the_contrast_any_batch_will_do(batch):
    assert math.isfinite(small(lam0=0.0, reciprocal_k=20).loss(batch)["total"].item())


@pytest.mark.parametrize("iters", [1, 3])
def test_with_one_iteration_the_query_does_not_depend_on_the_input(batch, iters):
    method = small(iters=iters).double().eval()
    caught = seen_by(method)
    with torch.no_grad():
        found = method.localize(type(batch)(batch.ids, batch.image.double(), batch.audio.double()))
        fixed = method.slot_attn.aud_to_q(method.slot_attn.aud_norm_slots(method.slot_attn.slots))
    image, audio = caught[0]
    same = torch.allclose(audio.queries, fixed.expand_as(audio.queries), rtol=1e-12, atol=0)
    assert same is (iters == 1)
    assert not torch.allclose(audio.slots[0], audio.slots[1]), "the slots do"
    assert not torch.allclose(image.keys[0], image.keys[1])
    assert not torch.allclose(found.map[0], found.map[1]), "as the keys do"


def test_with_one_iteration_the_map_does_not_hear(batch):
    other = type(batch)(batch.ids, batch.image, batch.audio.flip(0).square())
    for iters, deaf in ((1, True), (2, False)):
        method = small(iters=iters).eval()
        with torch.no_grad():
            assert torch.equal(method.localize(batch).map, method.localize(other).map) is deaf


def circle(*degrees):
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], dim=1)[:, None]


@pytest.mark.parametrize(
    ("k", "pairs"),
    [
        (0, []),
        (1, []),
        (2, [(0, 1), (2, 3)]),
        (3, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_more_neighbours_leave_more_negatives_out(k, pairs):
    """Samples at 0, 10, 21 and 30 degrees: two neighbours pair the halves, three all that lie side by side."""
    slots = circle(0, 10, 21, 30)
    excluded = torch.zeros(4, 4, dtype=torch.bool)
    for i, j in pairs:
        excluded[i, j] = excluded[j, i] = True
    wanted = info_nce((slots[:, 0] @ slots[:, 0].T / 0.5).masked_fill(excluded, -torch.inf))
    found = contrastive(slots, slots, best_pairs(slots, slots), tau=0.5, reciprocal_k=k)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-12)


def test_the_setting_of_k_reaches_the_loss_alone(batch):
    terms = [{n: t.item() for n, t in small(reciprocal_k=k).eval().loss(batch).items()} for k in (0, 1, 3)]
    assert terms[0] == terms[1], "with one neighbour each sample is its own"
    assert terms[2]["contrastive"] < terms[0]["contrastive"]
    assert all(terms[2][name] == terms[0][name] for name in ("match", "divergence", "reconstruction"))


@pytest.mark.parametrize(("ratio", "varies"), [(0.0, False), (0.3, True)])
def test_tokens_hide_at_the_ratio_in_training_alone(batch, ratio, varies):
    method = small(mask_ratio=ratio)
    for training in (True, False):
        method.train(training)
        totals = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            with torch.no_grad():
                totals.append(method.loss(batch)["total"].item())
        assert (totals[0] != totals[1]) is (varies and training)


def test_the_decoders_rebuild_the_tokens_that_were_not_hidden(batch):
    """With all tokens hidden the decoders see nothing of the sample, yet their goal is the sample."""
    method = small(mask_ratio=1.0, lam0=0.0, lam2=0.0, lam3=0.0)
    caught = seen_by(method)
    with torch.no_grad():
        found = method.loss(batch)["reconstruction"]
        image, audio = caught[0]
        method.train()
        cells, sounds = method.imgnet(batch.image), method.audnet(batch.audio)
        wanted = F.mse_loss(method.img_decoder(image.slots), cells.flatten(2).mT)
        wanted += F.mse_loss(method.aud_decoder(audio.slots), sounds.mT)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize(("settings", "training", "testing"), [({}, 1e-8, 1e-7), ({"eps_train": 1e-7}, 1e-7, 1e-7)])
def test_silence_is_darker_in_training_by_default(settings, training, testing):
    method, silence = small(**settings), torch.zeros(1, 16_000)
    for mode, eps in ((True, training), (False, testing)):
        method.train(mode)
        assert method.frontend(silence, 16_000).unique().item() == pytest.approx(math.log(eps) / 12, rel=1e-6)


def test_sharpening_widens_the_map_and_leaves_the_loss_alone(batch):
    spread, totals = [], []
    for sharpening in (0.1, 1.0):
        method = small(infer_sharpening=sharpening).eval()
        with torch.no_grad():
            spread.append(method.localize(batch).map.flatten(1).std(dim=1))
            totals.append(method.loss(batch)["total"].item())
    assert (spread[1] > 2 * spread[0]).all()
    assert totals[0] == totals[1]


def test_divergence_ignores_negative_cosines_by_hand():
    """Cosines of three slots at 0, 60 and 200 degrees: 0.5, cos 200 < 0 and cos 140 < 0; both orders of each pair."""
    three = circle(0, 60, 200)[:, 0][None]
    assert divergence(three).item() == pytest.approx(2 * 0.5 / 6)
    assert divergence(circle(0, 100, 230)[:, 0][None]).item() == 0
    both = torch.cat([three, circle(0, 120, 240)[:, 0][None]])
    assert divergence(both).item() == pytest.approx(0.5 / 6)


def test_negative_cosines_give_no_gradient():
    slots = circle(0, 100, 230)[:, 0][None].requires_grad_()
    divergence(slots).backward()
    assert slots.grad.abs().max() == 0
