"""SLAVC against the outputs of the official code (stoneMo/SLAVC at 05b429c6) on made-up weights and inputs."""

import pytest
import torch

from avbench.methods.slavc import SLAVC, SLAVCConfig

F64 = 1e-9
F32_EVAL = 5e-5


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
def test_evaluation(build, official, relative, device, dtype, tag, limit):
    method, wanted = build(dtype, device).eval(), official.arrays
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


def test_a_training_pass_and_three_adam_steps(build, official, relative, device):
    method = build(torch.float64, device, use_mom_eval=True)
    batch = official.batch("ezvsl", 8, torch.float64, device)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-4)
    losses = [method(batch)["total"]]
    losses[0].backward()
    official.check_gradients(method, "train8_f64")
    official.check_buffers(method, "train8_f64")
    with torch.no_grad():  # batch statistics: the moved buffers change no map
        assert relative(method.localize(batch).map, official.arrays["train8_f64/heatmap_momentum"]) < F64
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
    method = build(torch.float32, device, use_mom_eval=True)
    batch = official.batch("ezvsl", 8, torch.float32, device)
    total = method(batch)["total"]
    total.backward()
    assert total.item() == pytest.approx(official.scalars["train8_f32/loss"], rel=1e-4)
    official.check_gradients(method, "train8_f32", limit=1e-2)
    official.check_buffers(method, "train8_f32", limit=1e-4)
    with torch.no_grad():
        assert relative(method.localize(batch).map, official.arrays["train8_f32/heatmap_momentum"]) < 1e-3
