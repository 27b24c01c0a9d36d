"""FNAC against the outputs of the official code (OpenNLPLab/FNAC_AVL at 0a0ca78a) on made-up weights and inputs."""

import pytest
import torch
import torch.nn.functional as F

from avbench.methods.fnac import FNAC, FNACConfig
from avbench.metrics.maps import minmax_guarded, upsample

F64 = 1e-9
F32_EVAL = 5e-5
F32_MAPS = 1e-3  # in training mode
UPSAMPLINGS = {"bilinear_align": ("bilinear", True), "bicubic_noalign": ("bicubic", False)}
TERMS = {
    "contrastive": "contrastive",
    "fns1": "fns1_audio_vs_cross",
    "tns": "tns_audio_vs_foreground",
    "fns2": "fns2_image_vs_cross",
    "total": "total_w100",
}


@pytest.fixture(scope="module")
def official(golden):
    return golden("fnac")


@pytest.fixture(scope="module")
def build(made_up):
    weights = made_up(FNAC(FNACConfig())).state_dict()

    def in_dtype(dtype, device="cpu"):
        method = FNAC(FNACConfig(dropout_img=0.0))
        method.load_state_dict(weights)
        return method.to(device, dtype)

    return in_dtype


def check_terms(terms, scalars, tag, limit):
    assert set(terms) == set(TERMS)
    for ours, theirs in TERMS.items():
        assert terms[ours].item() == pytest.approx(scalars[f"{tag}/{theirs}"], rel=limit), ours


def test_one_sample_at_hand(build, sample0, relative):
    method, batch = build(torch.float64).eval(), sample0.batch("ezvsl")
    with torch.no_grad():
        assert relative(method.localize(batch).map, sample0.wanted["fnac_map"]) < F64
        assert relative(method.embed(batch).audio, sample0.wanted["fnac_audio"]) < F64


def test_weights_are_the_official_ones(build, official):
    assert official.state_digest(build(torch.float32).state_dict()) == official.digest


@pytest.mark.parametrize(("dtype", "tag", "limit"), [(torch.float64, "f64", F64), (torch.float32, "f32", F32_EVAL)])
def test_evaluation(build, official, relative, encoding_once, device, dtype, tag, limit):
    method, wanted = encoding_once(build(dtype, device).eval()), official.arrays
    four, eight = (official.batch("ezvsl", size, dtype, device) for size in (4, 8))
    with torch.no_grad(), official.probing(method, f"eval4_{tag}", limit=limit):
        found = method.embed(four)
    assert relative(found.image[:2], wanted[f"eval4_{tag}/image_embedding"]) < limit
    assert relative(found.audio, wanted[f"eval4_{tag}/audio_embedding"]) < limit
    with torch.no_grad():
        assert relative(method.localize(four).map, wanted[f"eval4_{tag}/heatmap"]) < limit
        assert relative(method.localize(eight).map, wanted[f"eval8_{tag}/heatmap"]) < limit
        check_terms(method.loss(four), official.scalars, f"eval4_{tag}", limit)
        check_terms(method.loss(eight), official.scalars, f"eval8_{tag}", limit)


def test_both_upsamplings_of_a_map(build, official, relative, device):
    with torch.no_grad():
        native = build(torch.float32, device).eval().localize(official.batch("ezvsl", 1, torch.float32, device)).map
    for name, (mode, aligned) in UPSAMPLINGS.items():
        large = upsample(native, mode, align_corners=aligned)
        assert relative(large[0], official.arrays[f"eval4_f32/up224_raw/{name}"]) < F32_EVAL
        assert relative(minmax_guarded(large)[0], official.arrays[f"eval4_f32/up224_norm/{name}"]) < 10 * F32_EVAL


def projected(method):
    """Fills the returned list with projected cells and sounds whenever the method encodes."""
    caught = []
    for part in (method.img_proj, method.aud_proj):
        part.register_forward_hook(lambda module, given, made: caught.append(F.normalize(made.detach(), dim=1)))
    return caught


def own_maps(caught):
    """The maps of the first batch that was encoded: a second pass for them would take as long as the first."""
    return torch.einsum("nchw,nc->nhw", *caught[:2]) / 0.03


def test_a_training_pass_and_three_adam_steps(build, official, relative, device):
    method, batch = build(torch.float64, device), official.batch("ezvsl", 8, torch.float64, device)
    caught = projected(method)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-4, weight_decay=1e-4)
    terms = method(batch)
    terms["total"].backward()
    check_terms(terms, official.scalars, "train8_f64", F64)
    official.check_gradients(method, "train8_f64")
    official.check_buffers(method, "train8_f64")
    assert relative(own_maps(caught), official.arrays["train8_f64/heatmap"]) < F64
    losses = [terms["total"]]
    optimizer.step()
    optimizer.zero_grad()
    losses.append(method(batch)["total"])
    losses[1].backward()
    optimizer.step()
    with torch.no_grad():
        losses.append(method(batch)["total"])
    for step, loss in enumerate(losses):
        assert loss.item() == pytest.approx(official.scalars[f"trace_f64/loss_step{step}"], rel=1e-7), step


def test_a_training_pass_in_single_precision(build, official, relative, device):
    method = build(torch.float32, device)
    caught = projected(method)
    terms = method(official.batch("ezvsl", 8, torch.float32, device))
    terms["total"].backward()
    check_terms(terms, official.scalars, "train8_f32", 1e-4)
    official.check_gradients(method, "train8_f32", limit=1e-2)
    official.check_buffers(method, "train8_f32", limit=1e-4)
    assert relative(own_maps(caught), official.arrays["train8_f32/heatmap"]) < F32_MAPS
