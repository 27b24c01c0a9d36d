"""SLAVC against the outputs of the official code (stoneMo/SLAVC at 05b429c6) on made-up weights and inputs."""

import pytest
import torch
import torch.nn.functional as F

from avbench.methods.slavc import SLAVC, SLAVCConfig
from avbench.metrics.maps import minmax_guarded, on_range, upsample

F64 = 1e-9
F32_EVAL = 5e-5
F32_MAPS = 1e-3  # in training mode


@pytest.fixture(scope="module")
def official(golden):
    return golden("slavc")


@pytest.fixture(scope="module")
def build(made_up):
    weights = made_up(SLAVC(SLAVCConfig())).state_dict()

    def in_dtype(dtype, device="cpu", **settings):
        """Without dropout, and with the momenta that tell the two modalities apart."""
        method = SLAVC(SLAVCConfig(dropout_img=0.0, m_img=0.999, m_aud=0.99, **settings))
        method.load_state_dict(weights)
        return method.to(device, dtype)

    return in_dtype


def test_one_sample_at_hand(build, sample0, relative):
    online, slow = (build(torch.float64, use_mom_eval=on).eval() for on in (False, True))
    batch, wanted = sample0.batch("ezvsl"), sample0.wanted
    with torch.no_grad():
        assert relative(online.localize(batch).map, wanted["slavc_map"]) < F64
        assert relative(slow.localize(batch).map, wanted["slavc_momentum_map"]) < F64
        sounds = online.embed(batch).audio * 2**0.5
    assert relative(sounds[:, :512], wanted["slavc_audio1"]) < F64
    assert relative(sounds[:, 512:], wanted["slavc_audio2"]) < F64


def test_weights_are_the_official_ones(build, official):
    assert official.state_digest(build(torch.float32).state_dict()) == official.digest


@pytest.mark.parametrize(("dtype", "tag", "limit"), [(torch.float64, "f64", F64), (torch.float32, "f32", F32_EVAL)])
def test_evaluation(build, official, relative, encoding_once, device, dtype, tag, limit):
    method, wanted = encoding_once(build(dtype, device).eval()), official.arrays
    four, eight = (official.batch("ezvsl", size, dtype, device) for size in (4, 8))
    with torch.no_grad():
        assert relative(method.localize(four).map, wanted[f"eval4_{tag}/heatmap_online"]) < limit
        found = method.embed(four)
        losses = [method.loss(batch)["total"].item() for batch in (four, eight)]
    cells, sounds = found.image[:1] * 2**0.5, found.audio * 2**0.5
    for number, space in ((1, slice(0, 512)), (2, slice(512, 1024))):
        assert relative(cells[:, space], wanted[f"eval4_{tag}/img_proj{number}_normalised"]) < limit
        assert relative(sounds[:, space], wanted[f"eval4_{tag}/aud_proj{number}_normalised"]) < limit
    assert losses == pytest.approx([official.scalars[f"eval{n}_{tag}/loss"] for n in (4, 8)], rel=limit)


@pytest.mark.parametrize(("dtype", "tag", "limit"), [(torch.float64, "f64", F64), (torch.float32, "f32", F32_EVAL)])
def test_momentum_maps(build, official, relative, device, dtype, tag, limit):
    method = build(dtype, device, use_mom_eval=True).eval()
    with torch.no_grad():
        found = method.localize(official.batch("ezvsl", 4, dtype, device))
    assert relative(found.map, official.arrays[f"eval4_{tag}/heatmap_momentum"]) < limit


def test_both_upsamplings_of_a_momentum_map_and_its_absolute_score(build, official, relative, device):
    method, wanted = build(torch.float32, device, use_mom_eval=True).eval(), official.arrays
    with torch.no_grad():
        native = method.localize(official.batch("ezvsl", 1, torch.float32, device)).map
    for name, aligned in (("bicubic_align", True), ("bicubic_noalign", False)):
        large = upsample(native, "bicubic", align_corners=aligned)
        assert relative(large[0], wanted[f"eval4_f32/up224_raw/{name}"]) < F32_EVAL
        assert relative(minmax_guarded(large)[0], wanted[f"eval4_f32/up224_norm/{name}"]) < 10 * F32_EVAL
    score = on_range(upsample(native, "bicubic", align_corners=True), *method.score_range)
    assert relative(score[0], wanted["eval4_f32/up224_score/bicubic_align"]) < F32_EVAL


def projected(method):
    """Fills the returned list with projected cells and sounds, space by space, whenever the momentum parts encode."""
    caught = []
    for part in ("img_proj1", "img_proj2", "aud_proj1", "aud_proj2"):
        module = method.get_submodule(f"momentum_{part}")
        module.register_forward_hook(lambda module, given, made: caught.append(F.normalize(made, dim=1)))
    return caught


def own_maps(caught):
    """The maps of the first batch that was encoded: a second pass for them would take as long as the first."""
    pairs = zip(caught[:2], caught[2:4], strict=True)
    return sum(torch.einsum("nchw,nc->nhw", *pair) for pair in pairs) / 2 / 0.03


def test_a_training_pass_and_three_adam_steps(build, official, relative, device):
    method, batch = build(torch.float64, device), official.batch("ezvsl", 8, torch.float64, device)
    caught = projected(method)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-4)
    losses = [method(batch)["total"]]
    losses[0].backward()
    official.check_gradients(method, "train8_f64")
    official.check_buffers(method, "train8_f64")
    assert relative(own_maps(caught), official.arrays["train8_f64/heatmap_momentum"]) < F64
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
    total = method(official.batch("ezvsl", 8, torch.float32, device))["total"]
    total.backward()
    assert total.item() == pytest.approx(official.scalars["train8_f32/loss"], rel=1e-4)
    official.check_gradients(method, "train8_f32", limit=1e-2)
    official.check_buffers(method, "train8_f32", limit=1e-4)
    assert relative(own_maps(caught), official.arrays["train8_f32/heatmap_momentum"]) < F32_MAPS
