"""EZ-VSL against the outputs of the official code (stoneMo/EZ-VSL at 95ff5bff) on made-up weights and inputs."""

import pytest
import torch
import torch.nn.functional as F

from avbench.methods.ezvsl import EZVSL, EZVSLConfig
from avbench.metrics.maps import minmax_guarded, upsample

F64 = 1e-9
F32_EVAL = 5e-5
F32_MAPS = 1e-3  # in training mode
UPSAMPLINGS = {"bilinear_align": ("bilinear", True), "bicubic_noalign": ("bicubic", False)}


@pytest.fixture(scope="module")
def official(golden):
    return golden("ezvsl")


@pytest.fixture(scope="module")
def build(made_up):
    weights = made_up(EZVSL(EZVSLConfig())).state_dict()

    def in_dtype(dtype, device="cpu"):
        method = EZVSL(EZVSLConfig())
        method.load_state_dict(weights)
        return method.to(device, dtype)

    return in_dtype


@pytest.fixture(scope="module")
def exact(build):
    """In float64 and evaluation mode; tests leave it so."""
    return build(torch.float64).eval()


def test_one_sample_at_hand(exact, sample0, relative):
    batch = sample0.batch("ezvsl")
    with torch.no_grad():
        assert relative(exact.localize(batch).map, sample0.wanted["ezvsl_map"]) < F64
        assert relative(exact.embed(batch).audio, sample0.wanted["ezvsl_audio"]) < F64


def test_weights_are_the_official_ones(exact, official):
    parts = exact.float().state_dict()
    exact.double()
    assert official.state_digest(parts) == official.digest


@pytest.mark.parametrize(("dtype", "tag", "limit"), [(torch.float64, "f64", F64), (torch.float32, "f32", F32_EVAL)])
def test_evaluation(build, official, relative, encoding_once, device, dtype, tag, limit):
    method, wanted = encoding_once(build(dtype, device).eval()), official.arrays
    batch, eight = (official.batch("ezvsl", size, dtype, device) for size in (4, 8))
    with torch.no_grad(), official.probing(method, f"eval4_{tag}", limit=limit):
        found = method.embed(batch)
    assert relative(found.image[:2], wanted[f"eval4_{tag}/image_embedding"]) < limit
    assert relative(found.audio, wanted[f"eval4_{tag}/audio_embedding"]) < limit
    with torch.no_grad():
        assert relative(method.localize(batch).map, wanted[f"eval4_{tag}/heatmap"]) < limit
        assert relative(method.localize(eight).map, wanted[f"eval8_{tag}/heatmap"]) < limit
        for size, given in (("4", batch), ("8", eight)):
            loss = method.loss(given)["total"].item()
            assert loss == pytest.approx(official.scalars[f"eval{size}_{tag}/loss"], rel=limit), size


def test_both_upsamplings_of_a_map(build, official, relative, device):
    with torch.no_grad():
        native = build(torch.float32, device).eval().localize(official.batch("ezvsl", 1, torch.float32, device)).map
    for name, (mode, aligned) in UPSAMPLINGS.items():
        large = upsample(native, mode, align_corners=aligned)[0]
        assert relative(large, official.arrays[f"eval4_f32/up224_raw/{name}"]) < F32_EVAL
        normalised = minmax_guarded(large[None])[0]
        assert relative(normalised, official.arrays[f"eval4_f32/up224_norm/{name}"]) < 10 * F32_EVAL


def projected(method):
    """Fills the returned list with projected cells and sounds whenever the method encodes."""
    caught = []
    for part in (method.img_proj, method.aud_proj):
        part.register_forward_hook(lambda module, given, made: caught.append(made.detach()))
    return caught


def own_maps(caught):
    """The maps of the first batch that was encoded: a second pass for them would take as long as the first."""
    cells, sounds = (F.normalize(made, dim=1) for made in caught[:2])
    return torch.einsum("nchw,nc->nhw", cells, sounds) / 0.03


def test_a_training_pass_and_three_adam_steps(build, official, relative, device):
    method, batch = build(torch.float64, device), official.batch("ezvsl", 8, torch.float64, device)
    caught = projected(method)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-4)
    losses = [method(batch)["total"]]
    losses[0].backward()
    assert relative(own_maps(caught), official.arrays["train8_f64/heatmap"]) < F64
    official.check_gradients(method, "train8_f64")
    official.check_buffers(method, "train8_f64")
    optimizer.step()
    optimizer.zero_grad()
    losses.append(method(batch)["total"])
    losses[1].backward()
    optimizer.step()
    with torch.no_grad():
        losses.append(method(batch)["total"])
    for step, loss in enumerate(losses):
        assert loss.item() == pytest.approx(official.scalars[f"trace_f64/loss_step{step}"], rel=1e-7), step
    assert losses[0].item() == pytest.approx(official.scalars["train8_f64/loss"], rel=F64)


def test_a_training_pass_in_single_precision(build, official, relative, device):
    method = build(torch.float32, device)
    caught = projected(method)
    loss = method(official.batch("ezvsl", 8, torch.float32, device))["total"]
    loss.backward()
    assert loss.item() == pytest.approx(official.scalars["train8_f32/loss"], rel=1e-4)
    assert relative(own_maps(caught), official.arrays["train8_f32/heatmap"]) < F32_MAPS
    official.check_gradients(method, "train8_f32", limit=1e-2)
    official.check_buffers(method, "train8_f32", limit=F32_MAPS)
