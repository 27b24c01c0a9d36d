"""SLAVC's semi-supervised term, on maps by hand and on small networks."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from avbench.errors import UsageError
from avbench.methods.slavc import SLAVC, SLAVCConfig, supervise

SCORES = [[[-2.0, 0.0], [2.0, 6.0]], [[-2.0, 2.0], [2.0, 4.0]]]
SHARES = [[0.0, 0.25, 0.5, 1.0], [0.0, 0.5, 0.5, 0.75]]
"""``SCORES`` between the smallest and the largest of both maps together."""
TRUTH = [[0.0, 0.5, 1.0, 1.0], [1.0, 0.0, 0.5, 0.75]]


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def entropy(share, truth):
    return -truth * max(math.log(share or 1e-300), -100) - (1 - truth) * max(
        math.log1p(-share) if share < 1 else -100, -100
    )


def apart(share, truth):
    return (share - truth) ** 2


@pytest.mark.parametrize(("squared", "pixel"), [(False, entropy), (True, apart)])
@pytest.mark.parametrize("rows", [(True, True), (True, False), (False, True), (False, False)])
def test_the_term_by_hand(squared, pixel, rows):
    truth = double(TRUTH).reshape(2, 2, 2)
    found = supervise(double(SCORES), truth, torch.tensor(rows), squared=squared)
    rated = [list(map(pixel, *pair)) for pair, row in zip(zip(SHARES, TRUTH, strict=True), rows, strict=True) if row]
    assert found.item() == pytest.approx(math.fsum(map(math.fsum, rated)) / 8, rel=1e-9)


def test_the_scale_of_a_map_is_shared_by_the_batch():
    truth = double(TRUTH).reshape(2, 2, 2)
    first = torch.tensor([True, False])
    louder = double(SCORES) * double([1.0, 3.0])[:, None, None]
    assert supervise(louder, truth, first).item() != pytest.approx(supervise(double(SCORES), truth, first).item())
    shifted = double(SCORES) * 5 - 7
    assert supervise(shifted, truth, first).item() == pytest.approx(supervise(double(SCORES), truth, first).item())


def test_maps_are_upsampled_bicubic_without_aligned_corners():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 7, 7, generator=generator, dtype=torch.float64)
    truth = torch.rand(2, 224, 224, generator=generator, dtype=torch.float64)
    large = F.interpolate(scores[:, None], size=(224, 224), mode="bicubic", align_corners=False)[:, 0]
    score = (large + 1 / 0.03) / (2 / 0.03)
    shares = (score - score.min()) / (score.max() - score.min())
    wanted = F.binary_cross_entropy(shares, truth, reduction="none") * double([1.0, 0.0])[:, None, None]
    found = supervise(scores, truth, torch.tensor([True, False]))
    assert found.item() == pytest.approx(wanted.mean().item(), rel=1e-9)


@pytest.mark.parametrize("squared", [False, True])
def test_gradients_are_finite_where_a_pixel_is_as_wrong_as_can_be(squared):
    scores, truth = torch.tensor(SCORES, requires_grad=True), 1 - torch.tensor(SHARES).reshape(2, 2, 2).round()
    truth[1, 0, 0] = 0.0  # of the two smallest scores, one is right
    supervise(scores, truth, torch.ones(2).bool(), squared=squared).backward()
    assert scores.grad.isfinite().all()
    assert 0 < scores.grad.abs().max() < 10


def test_unannotated_rows_pull_at_nothing_but_the_common_scale():
    scores = double(SCORES).requires_grad_()
    supervise(scores, double(TRUTH).reshape(2, 2, 2), torch.tensor([True, False])).backward()
    assert scores.grad[1, 0, 1].item() == scores.grad[1, 1, 0].item() == scores.grad[1, 1, 1].item() == 0.0


def test_a_batch_of_one_constant_score_is_all_background():
    found = supervise(torch.full((2, 2, 2), 3.0), torch.full((2, 2, 2), 0.5), torch.tensor([True, True]), squared=True)
    assert found.item() == pytest.approx(0.25)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_autocast_does_not_reach_the_term(kind, squared):
    generator = torch.Generator().manual_seed(3)
    scores, truth = torch.randn(2, 7, 7, generator=generator).to(kind), torch.rand(2, 28, 28, generator=generator)
    rows = torch.tensor([True, False])
    wanted = supervise(scores.float(), truth, rows, squared=squared)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = supervise(scores, truth, rows, squared=squared)
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("supervised", ["official", "corrected", "squared"])
def test_the_whole_loss_is_computed_under_autocast(batch, supervised):
    method = small(supervised).float()
    single = replace(batch, image=batch.image.float(), audio=batch.audio.float(), truth=batch.truth.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = method.loss(single)
    assert terms["supervised"].dtype == torch.float32
    plain = method.loss(single)
    assert terms["supervised"].item() == pytest.approx(plain["supervised"].item(), rel=0.05)


def small(supervised, **settings):
    torch.manual_seed(0)
    config = SLAVCConfig(width=1 / 16, out_dim=8, dropout_img=0.0, supervised=supervised, **settings)
    method = SLAVC(config).double()
    for name, parameter in method.named_parameters():
        if name.startswith("momentum_"):
            parameter.data *= 1.5
    return method.eval()


@pytest.fixture
def batch(random_batch):
    made = random_batch((33, 40), size=3, dtype=torch.float64)
    truth = torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return replace(made, truth=truth, annotated=torch.tensor([True, False, True]))


def gradients(method, term):
    return torch.autograd.grad(term, [p for p in method.parameters() if p.requires_grad], allow_unused=True)


def test_the_official_term_counts_but_trains_nothing(batch):
    off, method = small("off"), small("official")
    plain, terms = off.loss(batch), method.loss(batch)
    assert "supervised" not in plain
    assert not terms["supervised"].requires_grad
    wanted = supervise(method.localize(batch).map, batch.truth, batch.annotated).item()
    assert terms["supervised"].item() == pytest.approx(wanted, rel=1e-9)
    assert terms["total"].item() == pytest.approx(plain["total"].item() + wanted, rel=1e-9)
    pairs = zip(gradients(off, plain["total"]), gradients(method, terms["total"]), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_corrected_term_has_the_official_value_and_a_gradient(batch):
    method = small("corrected")
    term = method.loss(batch)["supervised"]
    assert term.item() == small("official").loss(batch)["supervised"].item()
    found = gradients(method, term)
    assert all(g is not None and g.isfinite().all() for g in found)
    assert max(g.abs().max() for g in found) > 0


def test_a_step_along_the_corrected_gradient_lowers_the_term(batch):
    method = small("corrected")
    start = method.loss(batch)["supervised"]
    for parameter, g in zip([p for p in method.parameters() if p.requires_grad], gradients(method, start), strict=True):
        parameter.data -= 1e-4 * g
    assert method.loss(batch)["supervised"] < start


def test_the_squared_term_is_the_papers(batch):
    method = small("squared")
    terms = method.loss(batch)
    wanted = supervise(method.localize(batch).map, batch.truth, batch.annotated, squared=True)
    assert terms["supervised"].item() == pytest.approx(wanted.item(), rel=1e-9)
    assert gradients(method, terms["supervised"])[0].abs().max() > 0


def test_momentum_maps_are_rated_officially_and_online_ones_trained(batch):
    rated = [small("official", use_mom_eval=on).loss(batch)["supervised"].item() for on in (False, True)]
    trained = [small("corrected", use_mom_eval=on).loss(batch)["supervised"].item() for on in (False, True)]
    assert rated[0] != pytest.approx(rated[1], rel=1e-6)
    assert trained == [rated[0], rated[0]]


def test_truth_is_asked_for_only_where_it_is_read(batch):
    assert [small(form).wants_truth for form in ("off", "official", "corrected", "squared")] == [
        False,
        True,
        True,
        True,
    ]
    small("off").loss(replace(batch, truth=None, annotated=None))
    with pytest.raises(UsageError, match="needs annotated clips, the batch has none"):
        small("corrected").loss(replace(batch, truth=None, annotated=None))
