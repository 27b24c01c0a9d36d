"""EZ-VSL on small networks, against loops and values by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from avbench.errors import UsageError
from avbench.frontends import ScipySpectrogram
from avbench.methods.ezvsl import EZVSL, EZVSLConfig
from avbench.nets.two_encoders import pool_cells
from avbench.types import Window

SPECTROGRAM = (33, 40)


def small(**settings):
    torch.manual_seed(0)
    return EZVSL(EZVSLConfig(width=1 / 16, out_dim=8, **settings))


def cross_entropy_both_ways(table):
    size = len(table)
    rows = sum(-math.log(math.exp(table[i][i]) / sum(map(math.exp, table[i]))) for i in range(size))
    columns = sum(-math.log(math.exp(table[i][i]) / sum(math.exp(row[i]) for row in table)) for i in range(size))
    return (rows + columns) / size


def compared(method, batch, pool):
    """The table of logits, cell by cell from the embeddings."""
    with torch.no_grad():
        found = method.embed(batch)
    cells, sounds = found.image.flatten(2).permute(0, 2, 1).tolist(), found.audio.tolist()
    return [
        [pool([math.fsum(map(float.__mul__, cell, sound)) for cell in image]) / method.config.tau for sound in sounds]
        for image in cells
    ]


def test_the_published_size():
    with torch.device("meta"):
        method = EZVSL(EZVSLConfig())
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == 22_872_064
    assert sum(b.numel() for b in method.buffers()) == 19_240
    assert len(method.state_dict()) == 244
    assert method.frontend == ScipySpectrogram()


@pytest.mark.parametrize(("settings", "seconds", "frames"), [({}, 3.0, 200), ({"seconds": 5.0}, 5.0, 334)])
def test_three_seconds_are_heard_unless_told_otherwise(settings, seconds, frames):
    heard = small(**settings).frontend
    assert heard.window == Window(seconds, "centre-seconds", "pyav")
    assert heard(torch.zeros(1, int(seconds * 16_000)), 16_000).shape == (1, 1, 257, frames)


def test_loss_is_symmetric_infonce_of_the_best_cells(random_batch):
    method, batch = small().double().eval(), random_batch(SPECTROGRAM, dtype=torch.float64)
    terms = method.loss(batch)
    wanted = cross_entropy_both_ways(compared(method, batch, max))
    assert terms["contrastive"].item() == pytest.approx(wanted, rel=1e-9)
    assert terms["total"] is terms["contrastive"]
    assert method(batch)["total"].item() == terms["total"].item()


@pytest.mark.parametrize("soft", [0.1, 1.0])
def test_pool_temperature_is_the_log_of_the_mean_exponential(random_batch, soft):
    method, batch = small(pool_temperature=soft).double().eval(), random_batch(SPECTROGRAM, dtype=torch.float64)
    table = compared(method, batch, lambda c: soft * math.log(math.fsum(math.exp(x / soft) for x in c) / len(c)))
    assert method.loss(batch)["total"].item() == pytest.approx(cross_entropy_both_ways(table), rel=1e-9)


def test_pool_temperature_keeps_a_constant_map_and_stays_below_the_best_cell():
    assert pool_cells(torch.full((1, 1, 2, 3), 0.3), 0.5).item() == pytest.approx(0.3)
    assert 0.0 < pool_cells(torch.tensor([[[[1.0, -1.0]]]]), 0.5).item() < 1.0


def test_pool_temperature_of_one_cell_is_the_cosine(random_batch):
    batch = random_batch(SPECTROGRAM, side=32)
    hard, soft = (small(pool_temperature=t).eval().loss(batch)["total"].item() for t in (0.0, 0.5))
    assert soft == pytest.approx(hard, rel=1e-5)


def test_the_map_is_the_own_pairs_cosine_over_tau(random_batch):
    method, batch = small(tau=0.07).eval(), random_batch(SPECTROGRAM, side=96)
    with torch.no_grad():
        found, parts = method.localize(batch), method.embed(batch)
    assert found.map.shape == (4, 3, 3)
    assert found.confidence is None
    assert found.extra == {}
    wanted = F.cosine_similarity(parts.image[2, :, 0, 1], parts.audio[2], dim=0) / 0.07
    assert found.map[2, 0, 1].item() == pytest.approx(wanted.item(), rel=1e-4)
    assert method.score_range == pytest.approx((-14.285714, 14.285714))
    assert found.map.abs().max() <= method.score_range[1] * (1 + 1e-6)


def test_similarity_takes_the_best_cell_whatever_the_number_of_images():
    cells, sounds = F.normalize(torch.randn(131, 8, 2, 3), dim=1), F.normalize(torch.randn(5, 8), dim=1)
    found = small().similarity(cells, sounds)
    assert found.shape == (131, 5)
    for n, m in ((0, 0), (63, 4), (64, 1), (130, 3)):
        best = max(float(cells[n, :, y, x] @ sounds[m]) for y in range(2) for x in range(3))
        assert found[n, m].item() == pytest.approx(best, rel=1e-5)


def test_average_similarity_is_the_cosine_of_the_mean_cell():
    cells = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]], [[[1.0, 1.0]], [[0.0, 0.0]]]])
    found = small(retrieval="avg").similarity(cells, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert found.flatten().tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 1.0, 0.0])


def test_initial_weights():
    torch.manual_seed(0)
    method = EZVSL(EZVSLConfig(width=0.5))
    gains = torch.cat([m.weight for m in method.audnet.modules() if isinstance(m, torch.nn.BatchNorm2d)])
    assert gains.std().item() == pytest.approx(0.02, rel=0.1)
    assert gains.mean().item() == pytest.approx(1.0, abs=0.002)
    assert bool((method.imgnet.bn1.weight == 1).all())
    assert method.aud_proj.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert method.img_proj.weight.std().item() == pytest.approx(math.sqrt(2 / 512), rel=0.02)
    assert method.audnet.layer1[0].conv1.weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.05)


@pytest.mark.parametrize("settings", [{"tau": 0.0}, {"seconds": 0.0}, {"pool_temperature": -0.1}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UsageError, match="needs tau and seconds above 0 and pool_temperature >= 0"):
        small(**settings)


def test_imagenet_weights_do_not_fit_a_slim_trunk():
    with pytest.raises(UsageError, match="ImageNet weights need width = 1"):
        small(pretrained="imagenet")
