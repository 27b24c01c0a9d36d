"""LVS against the outputs of the official code on made-up weights and inputs.

hche11/Localizing-Visual-Sounds-the-Hard-Way at 8fe8cbbf hears 10 s; kaistmm/SSLalignment at e7ae3c55 runs the same
network, with the same logits, on 3 s. The cross-entropy is of neither: no training loop is published.
"""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from avbench.methods.lvs import LVS, LVSConfig, all_cosines, logits, trimap

F64 = 1e-9
F32_EVAL = 5e-5
F32_TRAIN = 1e-4
UNUSED = {"imgnet": {"conv1_a": 1, "conv1_flow": 6}, "audnet": {"conv1": 3, "conv1_flow": 6}}
"""First convolutions that the official class builds and no pass uses, with their input channels."""
PRECISIONS = [(torch.float64, "f64", F64), (torch.float32, "f32", F32_EVAL)]


@pytest.fixture(scope="module", params=["lvs", "alignment"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def official(golden, kind):
    return golden(kind)


@pytest.fixture(scope="module")
def build(made_up):
    weights = made_up(LVS(LVSConfig())).state_dict()

    def on(device, dtype):
        method = LVS(LVSConfig())
        method.load_state_dict(weights)
        return method.to(device, dtype)

    return on


def unused_layers():
    whole = nn.Module()
    for name, stems in UNUSED.items():
        net = nn.Module()
        for stem, channels in stems.items():
            net.add_module(stem, nn.Conv2d(channels, 64, kernel_size=7, bias=False))
        net.fc = nn.Linear(512, 1000)
        whole.add_module(name, net)
    return whole


@contextmanager
def watching(method):
    """The unit features and their cosines, all pairs, of the pass that the body makes."""
    made, found = {}, SimpleNamespace()
    nets = [(name, method.get_submodule(name)) for name in UNUSED]
    handles = [n.register_forward_hook(lambda net, given, out, name=name: made.update({name: out})) for name, n in nets]
    yield found
    for handle in handles:
        handle.remove()
    cells, sounds = made["imgnet"].detach(), made["audnet"].detach().amax(dim=(2, 3))
    found.cells, found.sounds = F.normalize(cells, dim=1), F.normalize(sounds, dim=1)
    found.cosines = all_cosines(cells, sounds)


def own_pairs(cosines):
    return torch.stack([cosines[n, n] for n in range(len(cosines))])


def test_the_weights_with_the_unused_layers_are_the_official_ones(build, made_up, official):
    parts = build("cpu", torch.float32).state_dict() | made_up(unused_layers()).state_dict()
    assert len(parts) == 248
    assert official.state_digest(parts) == official.digest


@pytest.mark.parametrize(("dtype", "tag", "limit"), PRECISIONS)
def test_evaluation(build, official, relative, kind, device, dtype, tag, limit):
    method, batch = build(device, dtype).eval(), official.batch(kind, 4, dtype, device)
    wanted = {name.split("/", 1)[1]: official.arrays[name] for name in official.arrays if f"eval4_{tag}/" in name}
    with torch.no_grad(), watching(method) as seen, official.probing(method, f"eval4_{tag}", limit=limit):
        maps = method.localize(batch).map
    assert relative(maps, wanted["heatmap"]) < limit
    assert relative(seen.cells[0], wanted["image_embedding"]) < limit
    assert relative(seen.sounds, wanted["audio_embedding"]) < limit
    assert relative(logits(seen.cosines, method.config), wanted["logits"]) < limit
    for part, name in zip(trimap(maps, method.config), ("Pos", "Neg"), strict=True):
        assert relative(part, wanted[name]) < limit, name


def test_a_training_pass(build, official, relative, kind, device):
    method, batch = build(device, torch.float64), official.batch(kind, 8, torch.float64, device)
    with watching(method) as seen:
        loss = method.loss(batch)["total"]
    loss.backward()
    assert relative(own_pairs(seen.cosines), official.arrays["train8_f64/heatmap"]) < F64
    assert relative(logits(seen.cosines, method.config), official.arrays["train8_f64/logits"]) < F64
    assert loss.item() == pytest.approx(official.scalars["train8_f64/cross_entropy_class0"], rel=F64)
    without_gradient = {key for key, value in official.scalars.items() if value is None}
    assert {key.split("/")[-1] for key in without_gradient} == {"audnet.conv1.weight", "imgnet.fc.weight"}
    rest = {key: value for key, value in official.scalars.items() if key not in without_gradient}
    replace(official, scalars=rest).check_gradients(method, "train8_f64")
    official.check_buffers(method, "train8_f64")


@pytest.mark.parametrize("kind", ["alignment"], indirect=True)
def test_a_training_pass_in_single_precision(build, official, kind, device):
    with torch.no_grad():
        loss = build(device, torch.float32).loss(official.batch(kind, 8, torch.float32, device))["total"]
    assert loss.item() == pytest.approx(official.scalars["train8_f32/cross_entropy_class0"], rel=F32_TRAIN)
