"""FNAC on small networks, against loops and values by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from avbench.errors import UsageError
from avbench.frontends import ScipySpectrogram
from avbench.methods.ezvsl import EZVSL, EZVSLConfig
from avbench.methods.fnac import FNAC, FNACConfig, foreground
from avbench.registry import describe, find_method

SPECTROGRAM = (33, 40)


def small(**settings):
    torch.manual_seed(0)
    return FNAC(FNACConfig(**{"width": 1 / 16, "out_dim": 8, "dropout_img": 0.0, **settings}))


@pytest.fixture
def batch(random_batch):
    return random_batch(SPECTROGRAM, dtype=torch.float64)


def dot(a, b):
    return math.fsum(map(float.__mul__, a, b))


def softmax(values):
    return [math.exp(v) / math.fsum(map(math.exp, values)) for v in values]


def softmaxes(vectors, tau):
    return [softmax([dot(a, b) / tau for b in vectors]) for a in vectors]


def apart(first, second):
    size = len(first)
    return math.fsum(abs(first[i][j] - second[i][j]) for i in range(size) for j in range(size)) / size**2


def mean_vector(vectors, number):
    return [math.fsum(column) / number for column in zip(*vectors, strict=True)]


def looped_foreground(cells, sound, tau, threshold=0.6):
    scores = [dot(cell, sound) / tau for cell in cells]
    low, high = min(scores), max(scores)
    chosen = [c for c, s in zip(cells, scores, strict=True) if (s - low) / (high - low + 1e-5) > threshold]
    return mean_vector(chosen, len(cells))


def looped_terms(method, batch, pool=max):
    """Every term, entry by entry from the embeddings."""
    with torch.no_grad():
        found = method.embed(batch)
    tau = method.config.tau
    cells, sounds = found.image.flatten(2).mT.tolist(), found.audio.tolist()
    table = [[pool([dot(cell, sound) for cell in image]) / tau for sound in sounds] for image in cells]
    rows, columns = ([softmax(row) for row in part] for part in (table, zip(*table, strict=True)))
    heard, seen = softmaxes(sounds, tau), softmaxes([mean_vector(c, len(c)) for c in cells], tau)
    fronts = [looped_foreground(c, s, tau) for c, s in zip(cells, sounds, strict=True)]
    return {
        "contrastive": -math.fsum(math.log(side[i][i]) for side in (rows, columns) for i in range(len(rows)))
        / len(rows),
        "fns1": apart(heard, rows),
        "tns": apart(heard, softmaxes(fronts, tau)),
        "fns2": apart(seen, rows),
    }


def values(terms):
    return {key: term.item() for key, term in terms.items()}


def test_loss_is_the_looped_one(batch):
    method = small().double().eval()
    wanted = looped_terms(method, batch)
    found = values(method.loss(batch))
    total = wanted["contrastive"] + 100 * (wanted["fns1"] + wanted["tns"] + wanted["fns2"])
    assert found == pytest.approx({**wanted, "total": total}, rel=1e-9)
    assert method(batch)["total"].item() == found["total"]


def test_pool_temperature_softens_the_table_in_all_terms_that_read_it(batch):
    method = small(pool_temperature=0.2).double().eval()
    wanted = looped_terms(method, batch, lambda c: 0.2 * math.log(math.fsum(math.exp(x / 0.2) for x in c) / len(c)))
    found, hard = values(method.loss(batch)), values(small().double().eval().loss(batch))
    assert {key: found[key] for key in wanted} == pytest.approx(wanted, rel=1e-9)
    assert found["tns"] == hard["tns"]
    assert found["fns1"] != hard["fns1"]


def test_every_side_of_every_difference_takes_gradient(batch):
    method = small().double()
    terms = method.loss(batch)
    for name in ("fns1", "tns", "fns2"):
        sides = torch.autograd.grad(terms[name], [method.img_proj.weight, method.aud_proj.weight], retain_graph=True)
        assert all(side.abs().max() > 0 for side in sides), name


def test_foreground_is_strictly_above_the_threshold():
    maps = torch.tensor([[[0.0, 0.6], [math.nextafter(0.6, 1), 0.99999]]], dtype=torch.float64)
    assert (maps[0, 1, 1] + 1e-5).item() == 1.0  # so that the rescaled scores are the scores themselves
    cells = torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]], dtype=torch.float64)
    assert foreground(cells, maps, threshold=0.6).tolist() == [[(4 + 8) / 4]]
    assert foreground(cells, maps, threshold=math.nextafter(0.6, 0)).tolist() == [[(2 + 4 + 8) / 4]]


@pytest.mark.parametrize(("spread", "kept"), [(0.0, []), (1e-5, []), (1.4e-5, []), (1.6e-5, [8.0]), (1.0, [8.0])])
def test_a_flat_map_has_no_foreground(spread, kept):
    maps = torch.tensor([[[0.0, 0.0], [0.0, spread]]], dtype=torch.float64)
    cells = torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]], dtype=torch.float64)
    assert foreground(cells, maps, threshold=0.6).item() == sum(kept) / 4


def test_maps_are_rescaled_each_by_itself_and_pass_no_gradient():
    maps = torch.tensor([[[0.0, 1.0]], [[0.0, 100.0]]], requires_grad=True)
    cells = torch.ones(2, 3, 1, 2, requires_grad=True)
    found = foreground(cells, maps, threshold=0.6)
    assert found.tolist() == [[0.5] * 3] * 2
    found.sum().backward()
    assert maps.grad is None
    assert cells.grad[0, 0].tolist() == [[0.0, 0.5]]


def test_the_threshold_is_a_setting(batch):
    terms = [values(small(foreground_threshold=t).double().eval().loss(batch)) for t in (0.2, 0.6)]
    assert terms[0]["tns"] != terms[1]["tns"]
    assert terms[0]["fns1"] == terms[1]["fns1"]


def test_warm_up_leaves_the_guides_out_of_the_total(batch):
    method = small(warmup=2).double().eval()
    whole = values(method.loss(batch))
    for epoch, warming in ((0, True), (1, True), (2, False), (7, False), (1, True)):
        method.start_epoch(epoch)
        found = values(method.loss(batch))
        assert set(found) == {"contrastive", "fns1", "tns", "fns2", "total"}
        assert found["total"] == (whole["contrastive"] if warming else whole["total"])
        assert {key: value for key, value in found.items() if key != "total"}.items() <= whole.items()
    assert whole["total"] > whole["contrastive"]


def test_no_warm_up_at_zero_epochs(batch):
    method = small(warmup=0).double().eval()
    method.start_epoch(0)
    terms = values(method.loss(batch))
    assert terms["total"] > terms["contrastive"]


@pytest.mark.parametrize("left_out", [("fns1",), ("tns",), ("fns2",), ("fns1", "tns"), ("fns1", "tns", "fns2")])
def test_a_term_of_weight_zero_is_left_out(batch, left_out):
    whole = values(small().double().eval().loss(batch))
    found = values(small(**{f"{name}_weight": 0.0 for name in left_out}).double().eval().loss(batch))
    assert set(found) == set(whole) - set(left_out)
    wanted = whole["contrastive"] + 100 * sum(whole[n] for n in ("fns1", "tns", "fns2") if n not in left_out)
    assert found["total"] == pytest.approx(wanted, rel=1e-12)


def test_each_weight_is_its_own(batch):
    found = values(small(fns1_weight=2.0, tns_weight=3.0, fns2_weight=5.0).double().eval().loss(batch))
    wanted = found["contrastive"] + 2 * found["fns1"] + 3 * found["tns"] + 5 * found["fns2"]
    assert found["total"] == pytest.approx(wanted, rel=1e-12)


def test_without_guides_and_dropout_it_is_ezvsl(batch):
    method = small(fns1_weight=0.0, tns_weight=0.0, fns2_weight=0.0).double().eval()
    plain = EZVSL(EZVSLConfig(width=1 / 16, out_dim=8)).double().eval()
    plain.load_state_dict(method.state_dict())
    assert values(method.loss(batch)) == values(plain.loss(batch))
    assert torch.equal(method.localize(batch).map, plain.localize(batch).map)


def test_published_settings_and_size():
    config = FNACConfig()
    assert (config.tau, config.dropout_img, config.dropout_aud, config.warmup) == (0.03, 0.9, 0.0, 5)
    assert (config.fns1_weight, config.tns_weight, config.fns2_weight) == (100.0, 100.0, 100.0)
    assert (config.foreground_threshold, config.pool_temperature, config.retrieval) == (0.6, 0.0, "max")
    with torch.device("meta"):
        method = FNAC(config)
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == 22_872_064
    assert len(method.state_dict()) == 244
    assert method.frontend == ScipySpectrogram()


def test_it_tells_of_itself_before_it_is_imported():
    info = describe(find_method("fnac"))
    assert (info.official, info.labels) == ("OpenNLPLab/FNAC_AVL", "none")
    assert "ImageNet" in info.pretrained


def test_dropout_acts_on_single_elements_of_grid_and_vector_in_training_alone(random_batch):
    batch = random_batch(SPECTROGRAM, size=8, side=224)
    method, seen = small(dropout_img=0.9, dropout_aud=0.5), {}
    for name in ("img_dropout", "aud_dropout"):
        method.get_submodule(name).register_forward_hook(
            lambda m, given, made, n=name: seen.update({n: (given[0], made)})
        )
    method.loss(batch)
    for name, share in (("img_dropout", 0.1), ("aud_dropout", 0.5)):
        given, left = seen[name]
        alive = given > 0
        assert ((left > 0).sum() / alive.sum()).item() == pytest.approx(share, abs=0.07)
        torch.testing.assert_close(left[left > 0], given[left > 0] / share)
    assert [seen[name][1].shape for name in seen] == [(8, 32, 7, 7), (8, 32)]
    method.eval().loss(batch)
    assert all(torch.equal(*pair) for pair in seen.values())


def test_the_map_is_the_own_pairs_cosine_over_tau(batch):
    method = small(tau=0.07).double().eval()
    with torch.no_grad():
        found, parts = method.localize(batch), method.embed(batch)
    wanted = F.cosine_similarity(parts.image[2, :, 0, 1], parts.audio[2], dim=0) / 0.07
    assert found.map[2, 0, 1].item() == pytest.approx(wanted.item(), rel=1e-9)
    assert method.score_range == pytest.approx((-14.285714, 14.285714))


def test_similarity_takes_the_best_or_the_mean_cell():
    cells = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]], [[[1.0, 1.0]], [[0.0, 0.0]]]])
    sounds = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert small().similarity(cells, sounds).flatten().tolist() == [1.0, 1.0, 1.0, 0.0]
    mean = small(retrieval="avg").similarity(cells, sounds)
    assert mean.flatten().tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 1.0, 0.0])


def test_settings_are_read_from_official_shapes():
    state = small(out_dim=24).state_dict()
    assert FNAC.settings_of(state) == EZVSL.settings_of(state) == {"out_dim": 24}
    assert FNAC.settings_of({}) == EZVSL.settings_of({}) == {}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tau": -1.0}, "needs tau > 0"),
        ({"pool_temperature": -0.1}, "pool_temperature >= 0"),
        ({"warmup": -1}, "warmup >= 0"),
        ({"dropout_aud": 1.1}, r"dropout_aud in \[0, 1\]"),
    ],
)
def test_impossible_settings_are_refused(settings, told):
    with pytest.raises(UsageError, match=told):
        FNACConfig(**settings)
