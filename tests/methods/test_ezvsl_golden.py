"""EZ-VSL against the outputs of the official code (stoneMo/EZ-VSL at 95ff5bff) on made-up weights and inputs."""

import pytest
import torch

from avbench.methods.ezvsl import EZVSL, EZVSLConfig

F64 = 1e-9
F32_EVAL = 5e-5


@pytest.fixture(scope="module")
def official(golden):
    return golden("ezvsl")


@pytest.fixture(scope="module")
def build(made_up):
    weights = made_up(EZVSL(EZVSLConfig())).state_dict()

    def in_dtype(dtype):
        method = EZVSL(EZVSLConfig())
        method.load_state_dict(weights)
        return method.to(dtype)

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
def test_evaluation(build, official, relative, dtype, tag, limit):
    method, batch, wanted = build(dtype).eval(), official.batch("ezvsl", 4, dtype), official.arrays
    with torch.no_grad(), official.probing(method, f"eval4_{tag}", limit=limit):
        found = method.embed(batch)
    assert relative(found.image[:2], wanted[f"eval4_{tag}/image_embedding"]) < limit
    assert relative(found.audio, wanted[f"eval4_{tag}/audio_embedding"]) < limit
    with torch.no_grad():
        assert relative(method.localize(batch).map, wanted[f"eval4_{tag}/heatmap"]) < limit
        loss = method.loss(batch)["total"]
        assert relative(method.localize(official.batch("ezvsl", 8, dtype)).map, wanted[f"eval8_{tag}/heatmap"]) < limit
    assert loss.item() == pytest.approx(official.scalars[f"eval4_{tag}/loss"], rel=limit)


def test_a_training_pass_and_three_adam_steps(build, official):
    method, batch = build(torch.float64), official.batch("ezvsl", 8, torch.float64)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-4)
    losses = [method(batch)["total"]]
    losses[0].backward()
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


def test_a_training_pass_in_single_precision(build, official):
    with torch.no_grad():
        loss = build(torch.float32)(official.batch("ezvsl", 8, torch.float32))["total"]
    assert loss.item() == pytest.approx(official.scalars["train8_f32/loss"], rel=1e-4)
