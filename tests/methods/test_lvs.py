"""LVS and the network that it shares, on small networks, against loops and values by hand."""

import math
import re

import pytest
import torch
import torch.nn.functional as F

from avbench.errors import UsageError
from avbench.frontends import ScipySpectrogram
from avbench.methods.alignment import Alignment, AlignmentConfig
from avbench.methods.lvs import LVS, LVSConfig, all_cosines, logits, paper_loss, trimap
from avbench.nets.resnet import Trunk
from avbench.types import Window

SPECTROGRAM = (33, 40)
SHARP = {"tau": 1e-3, "temperature": 1.0}
"""Thresholds so steep that the masks of the cases below are 0 or 1."""
BY_HAND = [[[[0.9, 0.1]], [[0.8, 0.2]]], [[[0.7, 0.9]], [[0.9, 0.3]]]]
"""Two pictures of two cells against two sounds."""

OFFICIAL_ONLY = {
    "imgnet.conv1_a.weight": (64, 1, 7, 7),
    "imgnet.conv1_flow.weight": (64, 6, 7, 7),
    "imgnet.fc.weight": (1000, 512),
    "imgnet.fc.bias": (1000,),
    "audnet.conv1.weight": (64, 3, 7, 7),
    "audnet.conv1_flow.weight": (64, 6, 7, 7),
    "audnet.fc.weight": (1000, 512),
    "audnet.fc.bias": (1000,),
}
"""What the official class builds and no pass uses."""


def small(**settings):
    torch.manual_seed(0)
    return LVS(LVSConfig(width=1 / 16, **settings))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def weighted(cells, weights):
    return math.fsum(w * c for w, c in zip(weights, cells, strict=True)) / math.fsum(weights)


def sounding(cells, config):
    return [sigmoid((c - config.epsilon) / config.tau) for c in cells]


def silent(cells, config):
    threshold = config.epsilon2 if config.trimap else config.epsilon
    return [1 - sigmoid((c - threshold) / config.tau) for c in cells]


def logits_by_loops(table, config):
    """``table[n][m]`` is the list of cosines of picture n's cells with sound m."""
    rows = []
    for n, images in enumerate(table):
        own = images[n]
        row = [weighted(own, sounding(own, config))]
        for m, cells in enumerate(images):
            row.append(weighted(cells, sounding(cells, config)) * (-99 if m == n else 1))
        if config.hard_negatives:
            row.append(weighted(own, silent(own, config)))
        rows.append([value / config.temperature for value in row])
    return rows


def cross_entropy_by_loops(rows):
    return sum(math.log(math.fsum(math.exp(x - row[0]) for x in row)) for row in rows) / len(rows)


def paper_loss_by_loops(table, config):
    whole = []
    for n in range(len(table)):
        own = table[n][n]
        negative = math.fsum(math.fsum(table[j][n]) / len(own) for j in range(len(table)) if j != n)
        if config.hard_negatives:
            negative += weighted(own, silent(own, config))
        positive = weighted(own, sounding(own, config))
        whole.append(-math.log(math.exp(positive) / (math.exp(positive) + math.exp(negative))))
    return sum(whole) / len(whole)


def cells_and_sounds(method, batch):
    with torch.no_grad():
        return method.cells(batch.image), method.sound(batch.audio)


def table_of(method, batch):
    """All cosines, one by one, from the features."""
    cells, sounds = cells_and_sounds(method, batch)
    return [
        [[F.cosine_similarity(c, s, dim=0).item() for c in picture.flatten(1).T] for s in sounds] for picture in cells
    ]


SWITCHES = [
    {"trimap": trimap, "hard_negatives": hard, **numbers}
    for trimap in (True, False)
    for hard in (True, False)
    for numbers in ({}, {"epsilon": 0.8, "epsilon2": 0.3, "tau": 0.1, "temperature": 0.5})
]


def test_the_size_of_what_is_used_and_of_what_is_published():
    with torch.device("meta"):
        method = LVS(LVSConfig())
    used = sum(p.numel() for p in method.parameters() if p.requires_grad)
    assert used == 22_346_752
    assert used + sum(math.prod(shape) for shape in OFFICIAL_ONLY.values()) == 23_422_928
    assert sum(b.numel() for b in method.buffers()) == 19_240
    assert len(method.state_dict()) + len(OFFICIAL_ONLY) == 248


@pytest.mark.parametrize("cls", [LVS, Alignment])
def test_droppings_are_the_layers_that_no_pass_uses(cls):
    kept = small().state_dict()
    dropped = {k for k in [*kept, *OFFICIAL_ONLY] if any(re.fullmatch(pattern, k) for pattern in cls.droppings)}
    assert dropped == set(OFFICIAL_ONLY)
    assert all(any(re.fullmatch(pattern, key) for key in OFFICIAL_ONLY) for pattern in cls.droppings)
    assert all(cls.droppings.values())


def test_initial_weights():
    torch.manual_seed(0)
    method = LVS(LVSConfig(width=0.5))
    for net in (method.imgnet, method.audnet):
        norms = [part for part in net.modules() if isinstance(part, torch.nn.BatchNorm2d)]
        gains = torch.cat([part.weight for part in norms])
        assert gains.mean().item() == pytest.approx(1.0, abs=0.003)
        assert gains.std().item() == pytest.approx(0.02, rel=0.1)
        assert all(bool((part.bias == 0).all()) for part in norms)
        assert net.layer4[0].conv1.weight.std().item() == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.02)
    assert method.audnet.conv1_a.weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 49)), rel=0.05)


@pytest.mark.parametrize(
    "build", [lambda p: LVS(LVSConfig(pretrained=p)), lambda p: Alignment(AlignmentConfig(pretrained=p))]
)
def test_pretrained_weights_fill_the_image_trunk_alone(build, monkeypatch):
    published = {key: torch.full_like(value, 2) for key, value in Trunk().state_dict().items()}
    monkeypatch.setattr("avbench.nets.resnet.imagenet_weights", lambda path: published)
    method, plain = build("imagenet"), build(None)
    assert all(bool((value == 2).all()) for value in method.imgnet.state_dict().values())
    assert method.audnet.bn1.weight.mean().item() == pytest.approx(1.0, abs=0.02)
    assert plain.imgnet.bn1.weight.mean().item() == pytest.approx(1.0, abs=0.02)


def test_the_map_is_the_own_pairs_cosine(random_batch):
    method, batch = small().eval(), random_batch(SPECTROGRAM, side=224, size=2)
    with torch.no_grad():
        found = method.localize(batch)
    assert found.map.shape == (2, 14, 14)
    assert (found.confidence, found.extra) == (None, {})
    cells, sounds = cells_and_sounds(method, batch)
    wanted = F.cosine_similarity(cells[1, :, 3, 5], sounds[1], dim=0)
    assert found.map[1, 3, 5].item() == pytest.approx(wanted.item(), rel=1e-5)
    assert 0 <= found.map.min() < found.map.max() <= 1 + 1e-6
    assert method.score_range == (0.0, 1.0)


def test_a_sound_is_the_maximum_of_each_channel(random_batch):
    method, batch = small().eval(), random_batch(SPECTROGRAM)
    with torch.no_grad():
        features = method.audnet(batch.audio)
    assert features.shape == (4, 32, 3, 3)
    assert torch.equal(cells_and_sounds(method, batch)[1], features.flatten(2).max(dim=2).values)


@pytest.mark.parametrize("settings", SWITCHES)
def test_logits_by_loops(settings):
    config = LVSConfig(**settings)
    cosines = torch.rand(3, 3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = logits_by_loops(cosines.flatten(2).tolist(), config)
    torch.testing.assert_close(logits(cosines, config), torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=0)
    paper = paper_loss_by_loops(cosines.flatten(2).tolist(), config)
    assert paper_loss(cosines, config).item() == pytest.approx(paper, rel=1e-12)


@pytest.mark.parametrize("settings", SWITCHES)
def test_loss_by_loops(random_batch, settings):
    method, batch = small(**settings).double().eval(), random_batch(SPECTROGRAM, size=3, dtype=torch.float64)
    terms = method.loss(batch)
    wanted = cross_entropy_by_loops(logits_by_loops(table_of(method, batch), method.config))
    assert terms["contrastive"].item() == pytest.approx(wanted, rel=1e-9)
    assert terms["total"] is terms["contrastive"]
    assert method(batch)["total"].item() == terms["total"].item()


def test_logits_by_hand():
    wanted = [[0.9, -99 * 0.9, 0.8, 0.1], [0.9, (0.7 + 0.9) / 2, -99 * 0.9, 0.3]]
    found = logits(torch.tensor(BY_HAND), LVSConfig(**SHARP))
    torch.testing.assert_close(found, torch.tensor(wanted))
    torch.testing.assert_close(logits(torch.tensor(BY_HAND), LVSConfig(tau=1e-3)), torch.tensor(wanted) / 0.07)


def test_without_hard_negatives_the_last_column_is_missing():
    whole, without = (logits(torch.tensor(BY_HAND), LVSConfig(hard_negatives=on, **SHARP)) for on in (True, False))
    assert (whole.shape, without.shape) == ((2, 4), (2, 3))
    assert torch.equal(whole[:, :3], without)


def test_the_ring_between_the_thresholds_is_left_out_by_the_trimap():
    cosines = torch.tensor([0.9, 0.5, 0.1])
    for ring, silent_cells in ((True, [0.0, 0.0, 1.0]), (False, [0.0, 1.0, 1.0])):
        found = trimap(cosines, LVSConfig(trimap=ring, **SHARP))
        assert [part.tolist() for part in found] == [[1.0, 0.0, 0.0], silent_cells]
    on_the_edge = trimap(torch.tensor([0.65, 0.4]), LVSConfig())
    assert on_the_edge[0][0].item() == pytest.approx(0.5)
    assert on_the_edge[1][1].item() == pytest.approx(0.5)


@pytest.mark.parametrize("level", [0.0, 0.1, 0.9, 1.0])
@pytest.mark.parametrize("ring", [True, False])
def test_a_picture_that_sounds_everywhere_or_nowhere_keeps_the_loss_a_number(level, ring):
    found = logits(torch.full((2, 2, 14, 14), level), LVSConfig(trimap=ring))
    assert found.isfinite().all()
    assert found[:, 0].tolist() == pytest.approx([level / 0.07] * 2, rel=1e-5)
    assert found[:, -1].tolist() == pytest.approx([level / 0.07] * 2, rel=1e-5)


def test_the_gradient_passes_through_the_masks():
    cosines = torch.rand(2, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    config = LVSConfig(tau=0.1, temperature=1.0)
    assert torch.autograd.gradcheck(lambda x: logits(x, config), (cosines,))
    assert torch.autograd.gradcheck(lambda x: paper_loss(x, config), (cosines,))


def test_the_papers_form_by_hand():
    config = LVSConfig(loss_form="paper", **SHARP)
    negatives = [(0.7 + 0.9) / 2 + 0.1, (0.8 + 0.2) / 2 + 0.3]
    wanted = sum(math.log(1 + math.exp(n - 0.9)) for n in negatives) / 2
    assert paper_loss(torch.tensor(BY_HAND), config).item() == pytest.approx(wanted, rel=1e-6)
    easy = LVSConfig(loss_form="paper", hard_negatives=False, **SHARP)
    wanted = sum(math.log(1 + math.exp(n - 0.9)) for n in ((0.7 + 0.9) / 2, (0.8 + 0.2) / 2)) / 2
    assert paper_loss(torch.tensor(BY_HAND), easy).item() == pytest.approx(wanted, rel=1e-6)


def test_the_two_forms_of_the_loss(random_batch):
    batch = random_batch(SPECTROGRAM, size=3, dtype=torch.float64)
    code, paper = (small(loss_form=form).double().eval() for form in ("code", "paper"))
    table = table_of(code, batch)
    assert paper.loss(batch)["total"].item() == pytest.approx(paper_loss_by_loops(table, paper.config), rel=1e-9)
    assert abs(code.loss(batch)["total"].item() - paper.loss(batch)["total"].item()) > 1e-3


@pytest.mark.parametrize(
    ("settings", "window", "frames"),
    [({}, Window(10.0, "start"), 671), ({"seconds": 3.0}, Window(3.0), 200)],
)
def test_what_is_heard_follows_the_mode(settings, window, frames):
    method = small(**settings)
    training = ScipySpectrogram(Window(3.0, "centre"), noverlap=274, amplitude="soundfile")
    assert method.frontend == training
    assert method.eval().frontend == ScipySpectrogram(window, noverlap=274, amplitude="soundfile")
    assert method.frontend(torch.zeros(1, round(window.seconds * 16_000)), 16_000).shape == (1, 1, 257, frames)
    assert method.train().frontend == training


def test_the_training_window_is_a_setting():
    method = small(train_seconds=10.0)
    assert method.frontend.window == Window(10.0, "start")
    assert method.frontend == method.eval().frontend


def test_the_reevaluation_of_sslalignment_hears_what_alignment_hears():
    for settings in ({}, {"clip_seconds": 10.0, "channels": "first"}, {"clip_seconds": 5.0}):
        alignment = Alignment(AlignmentConfig(width=0.0625, **settings)).eval()
        assert small(seconds=3.0, noverlap=353, **settings).eval().frontend == alignment.frontend


@pytest.mark.parametrize("retrieval", ["avg", "soft", "max"])
def test_similarity_by_loops(random_batch, retrieval):
    method, batch = small(retrieval=retrieval).double().eval(), random_batch(SPECTROGRAM, dtype=torch.float64)
    with torch.no_grad():
        parts = method.embed(batch)
        found = method.similarity(parts.image[:3], parts.audio)
    cells, sounds = cells_and_sounds(method, batch)
    table = table_of(method, batch)
    wanted = {
        "avg": lambda n, m: F.cosine_similarity(cells[n].mean(dim=(1, 2)), sounds[m], dim=0).item(),
        "soft": lambda n, m: weighted(table[n][m], sounding(table[n][m], method.config)),
        "max": lambda n, m: max(table[n][m]),
    }[retrieval]
    assert found.tolist() == [[pytest.approx(wanted(n, m), rel=1e-9) for m in range(4)] for n in range(3)]


def test_similarity_is_the_same_whatever_the_number_of_images():
    cells, sounds = torch.rand(35, 4, 2, 3), F.normalize(torch.rand(5, 4), dim=1)
    cells = F.normalize(cells, dim=1)
    for retrieval in ("soft", "max"):
        method = small(retrieval=retrieval)
        found = method.similarity(cells, sounds)
        assert found.shape == (35, 5)
        alone = [method.similarity(cells[i : i + 1], sounds) for i in range(35)]
        torch.testing.assert_close(found, torch.cat(alone))


def test_all_cosines_normalise_both_sides():
    cells = torch.tensor([[[[3.0, 0.0]], [[4.0, 2.0]]]])
    found = all_cosines(cells, torch.tensor([[5.0, 0.0], [0.0, 0.5]]))
    torch.testing.assert_close(found, torch.tensor([[[[0.6, 0.0]], [[0.8, 1.0]]]]))


@pytest.mark.parametrize("settings", [{"tau": 0.0}, {"temperature": -0.07}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UsageError, match="needs tau and temperature above 0"):
        small(**settings)


def test_imagenet_weights_do_not_fit_a_slim_trunk():
    with pytest.raises(UsageError, match="ImageNet weights need width = 1"):
        small(pretrained="imagenet")
