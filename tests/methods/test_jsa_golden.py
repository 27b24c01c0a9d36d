"""JSA against the outputs of the official code (InhoKim429/JSA at 359aa337) on made-up weights and inputs."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from avbench.checkpoints import fill
from avbench.methods.jsa import JSA, JSAConfig, false_negatives
from avbench.metrics.maps import minmax_guarded, upsample
from avbench.metrics.protocols import get_protocol
from avbench.metrics.scoring import predicted_mask
from avbench.nets.slot_attention import attend

F64 = 1e-9
F32_EVAL = 5e-5
F32_LOSSES, F32_SLOTS, F32_GRADIENTS = 1e-4, 1e-3, 1e-2  # in training mode
TERMS = {
    "contrastive": "info_loss",
    "reconstruction": "recon_loss",
    "divergence": "div_loss",
    "match": "att_loss",
    "total": "total_1_0.1_0.1_100",
}


@pytest.fixture(scope="module")
def official(golden):
    return golden("jsa")


@pytest.fixture(scope="module")
def build(made_up):
    weights = made_up(JSA(JSAConfig())).state_dict()

    def in_dtype(dtype, device="cpu", **settings):
        method = JSA(JSAConfig(**settings))
        fill(method, weights, Path("made-up.pth"))
        return method.to(device, dtype)

    return in_dtype


def seen_by(method):
    """Fills the returned list with the slots of both modalities whenever the slot module runs."""
    caught = []
    method.slot_attn.register_forward_hook(lambda module, given, made: caught.append(made))
    return caught


def check_terms(terms, scalars, tag, limit):
    for ours, theirs in TERMS.items():
        assert terms[ours].item() == pytest.approx(scalars[f"{tag}/{theirs}"], rel=limit), ours


def check_contrast(slots, official, tag, k, limit, relative):
    image, audio = (F.normalize(side.slots[:, 0].detach(), dim=1) for side in slots)
    kept = ~false_negatives(image, audio, k)
    assert np.array_equal(kept.cpu().numpy(), official.arrays[f"{tag}/reciprocal_keep_mask"] == 1)
    assert relative(image @ audio.T, official.arrays[f"{tag}/first_slot_similarity"]) < limit


def test_one_sample_at_hand(build, sample0, relative):
    method, batch = build(torch.float64, decoders=False).eval(), sample0.batch("jsa")
    with torch.no_grad():
        found, slots = method.localize(batch), method.embed(batch)
    assert relative(found.map, sample0.wanted["jsa_map"]) < F64
    assert relative(found.extra["image_query"], sample0.wanted["jsa_image_query"]) < F64
    assert relative(slots.image, sample0.wanted["jsa_image_slots"][:, 0]) < F64
    assert relative(slots.audio, sample0.wanted["jsa_audio_slots"][:, 0]) < F64
    assert float(found.confidence) == pytest.approx(float(F.cosine_similarity(slots.image, slots.audio)), rel=F64)


def test_weights_are_the_official_ones(build, official):
    assert official.state_digest(build(torch.float32).state_dict()) == official.digest


@pytest.mark.parametrize(("dtype", "tag", "limit"), [(torch.float64, "f64", F64), (torch.float32, "f32", F32_EVAL)])
def test_evaluation(build, official, relative, device, dtype, tag, limit):
    method, wanted = build(dtype, device).eval(), official.arrays
    caught, values = seen_by(method), []
    method.slot_attn.img_to_v.register_forward_hook(lambda module, given, made: values.append(made))
    with torch.no_grad(), official.probing(method, f"eval4_{tag}", limit=limit):
        found = method.localize(official.batch("jsa", 4, dtype, device))
    name = f"eval4_{tag}/sharp0.1"
    assert relative(found.map, wanted[f"{name}/audio_attention_map"]) < limit
    assert relative(found.extra["image_query"], wanted[f"{name}/image_attention_map"]) < limit
    image, audio = caught[0]
    for sharpening in (0.1, 1.0):
        own, cross = (attend(side.queries, image.keys, sharpening=sharpening) for side in (image, audio))
        assert relative(own, wanted[f"eval4_{tag}/sharp{sharpening}/get_cross_attn/img_attn"]) < limit
        assert relative(cross, wanted[f"eval4_{tag}/sharp{sharpening}/get_cross_attn/cross_attn"]) < limit
    assert relative(image.queries, wanted[f"{name}/get_cross_attn/img_q"]) < limit
    assert relative(audio.queries, wanted[f"{name}/get_cross_attn/aud_q"]) < limit
    assert relative(image.keys[:1], wanted[f"{name}/get_cross_attn/img_k"]) < limit
    assert relative(values[0][:1], wanted[f"{name}/get_cross_attn/img_v"]) < limit
    for side, slots in (("img", image.slots), ("aud", audio.slots)):
        assert relative(slots, wanted[f"eval4_{tag}/{side}_slots"]) < limit


@pytest.mark.parametrize("sharpening", [0.1, 1.0])
def test_maps_their_refinement_and_their_area_at_the_threshold(build, official, relative, device, sharpening):
    method, wanted = build(torch.float32, device, infer_sharpening=sharpening).eval(), official.arrays
    with torch.no_grad():
        found = method.localize(official.batch("jsa", 4, torch.float32, device))
    heard, seen, protocol, tag = (
        found.map,
        found.extra["image_query"],
        get_protocol("jsa"),
        f"eval4_f32/sharp{sharpening}",
    )
    assert relative(heard, wanted[f"{tag}/audio_attention_map"]) < F32_EVAL
    assert relative(seen, wanted[f"{tag}/image_attention_map"]) < F32_EVAL
    large = {"audio": normalised(heard), "image": normalised(seen)}
    weight = protocol.fusion.av_weight
    large["iqr"] = minmax_guarded(weight * large["audio"] + (1 - weight) * large["image"])
    masks = {
        "audio": predicted_mask(heard, protocol),
        "image": predicted_mask(seen, protocol),
        "iqr": predicted_mask(heard, protocol, prior=seen),
    }
    for name, mask in masks.items():
        assert np.abs(large[name][0].cpu().numpy() - wanted[f"{tag}/up224_norm/{name}"]).max() < 10 * F32_EVAL, name
        areas = mask.sum(dim=(1, 2)).cpu().numpy()
        assert np.abs(areas - wanted[f"{tag}/area_at_0.6/{name}"]).max() <= 3, name


def normalised(maps):
    return minmax_guarded(upsample(maps, "bicubic", align_corners=False))


@pytest.mark.parametrize(("dtype", "tag", "limit"), [(torch.float64, "f64", F64), (torch.float32, "f32", F32_EVAL)])
def test_encoders_and_maps_at_full_sharpening(build, official, relative, device, dtype, tag, limit):
    method, batch = build(dtype, device, infer_sharpening=1.0).eval(), official.batch("jsa", 1, dtype, device)
    features = {}
    for part in ("imgnet", "audnet"):
        method.get_submodule(part).register_forward_hook(
            lambda m, given, made, part=part: features.update({part: made})
        )
    with torch.no_grad():
        found = method.localize(batch)
    assert relative(features["imgnet"], official.arrays[f"eval4_{tag}/image_feature"]) < limit
    assert relative(features["audnet"], official.arrays[f"eval4_{tag}/audio_feature"]) < limit
    assert relative(found.map, official.arrays[f"eval4_{tag}/sharp1.0/audio_attention_map"][:1]) < limit
    image_query = official.arrays[f"eval4_{tag}/sharp1.0/image_attention_map"][:1]
    assert relative(found.extra["image_query"], image_query) < limit


def test_a_training_pass_and_three_adamw_steps(build, official, relative, device):
    method = build(torch.float64, device, reciprocal_k=3, mask_ratio=0.0)
    batch = official.batch("jsa", 8, torch.float64, device)
    optimizer = torch.optim.AdamW(method.parameters(), lr=5e-5, weight_decay=0.01)
    caught = seen_by(method)
    terms = method(batch)
    terms["total"].backward()
    check_terms(terms, official.scalars, "train8_f64", F64)
    check_contrast(caught[0], official, "train8_f64", 3, F64, relative)
    official.check_gradients(method, "train8_f64")
    official.check_buffers(method, "train8_f64")
    assert float(method.slot_attn.mask_token_aud.grad.abs().max()) == 0.0
    check_attention(*caught[0], official.arrays, "train8_f64", F64, relative)
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


def check_attention(image, audio, wanted, tag, limit, relative):
    for side, slots in (("img", image), ("aud", audio)):
        assert relative(slots.slots[:4], wanted[f"{tag}/{side}_slots_first4"]) < limit
        assert relative(slots.queries[:4], wanted[f"{tag}/{side}_q"]) < limit
        for other, tokens in (("img", image), ("aud", audio)):
            weights = attend(slots.queries, tokens.keys)[:4]
            assert relative(weights, wanted[f"{tag}/{side}q_{other}k_attn"]) < limit


def test_a_training_pass_in_single_precision(build, official, relative, device):
    method, tag = build(torch.float32, device, reciprocal_k=3, mask_ratio=0.0), "train8_f32"
    caught = seen_by(method)
    terms = method(official.batch("jsa", 8, torch.float32, device))
    terms["total"].backward()
    check_terms(terms, official.scalars, tag, F32_LOSSES)
    check_contrast(caught[0], official, tag, 3, F32_SLOTS, relative)
    check_attention(*caught[0], official.arrays, tag, F32_SLOTS, relative)
    official.check_gradients(method, tag, limit=F32_GRADIENTS)
    official.check_buffers(method, tag, limit=F32_SLOTS)


PASSES = {
    "f64": (torch.float64, {"losses": F64, "slots": F64, "gradients": 1e-7}),
    "f32": (torch.float32, {"losses": F32_LOSSES, "slots": F32_SLOTS, "gradients": F32_GRADIENTS}),
}


@pytest.mark.parametrize("kind", PASSES)
def test_a_masked_training_pass(build, official, relative, device, monkeypatch, kind):
    (dtype, limits), tag = PASSES[kind], f"train8_masked_{kind}"
    method = build(dtype, device, reciprocal_k=3, mask_ratio=0.3)
    draws = iter(torch.from_numpy(official.arrays[f"train8_masked/{side}_uniform"]) for side in ("image", "audio"))
    monkeypatch.setattr(method.slot_attn, "draw", lambda tokens: next(draws).to(device))
    caught = seen_by(method)
    terms = method(official.batch("jsa", 8, dtype, device))
    terms["total"].backward()
    check_terms(terms, official.scalars, tag, limits["losses"])
    check_contrast(caught[0], official, tag, 3, limits["slots"], relative)
    official.check_gradients(method, tag, limit=limits["gradients"])


def test_draws_come_from_torch_rand_image_first(build, monkeypatch):
    method, shapes = build(torch.float32), []
    monkeypatch.setattr(torch, "rand", lambda shape, device: shapes.append(tuple(shape)) or torch.ones(shape))
    method.slot_attn.hide(torch.zeros(2, 49, 512), torch.zeros(2, 16, 512), 0.5)
    assert shapes == [(2, 49), (2, 16)]


def test_a_large_batch_in_double_precision(build, official, relative, device):
    method = build(torch.float64, device, mask_ratio=0.0)
    caught = seen_by(method)
    with torch.no_grad():
        terms = method(official.batch("jsa", 32, torch.float64, device))
    check_terms(terms, official.scalars, "train32_f64", F64)
    check_contrast(caught[0], official, "train32_f64", 20, F64, relative)


def test_a_large_batch_in_single_precision(build, official, relative, device):
    method = build(torch.float32, device, mask_ratio=0.0)
    caught = seen_by(method)
    terms = method(official.batch("jsa", 32, torch.float32, device))
    terms["total"].backward()
    check_terms(terms, official.scalars, "train32_f32", F32_LOSSES)
    check_contrast(caught[0], official, "train32_f32", 20, F32_SLOTS, relative)
    official.check_gradients(method, "train32_f32", limit=F32_GRADIENTS)


@pytest.mark.parametrize(("size", "k"), [(12, 3), (32, 20), (64, 20)])
def test_reciprocal_masks_alone(official, device, size, k):
    stored = official.arrays
    image, audio = (
        torch.from_numpy(stored[f"reciprocal_{size}_k{k}/{n}_slots"][:, 0]).to(device) for n in ("image", "audio")
    )
    kept = ~false_negatives(image, audio, k)
    assert np.array_equal(kept.cpu().numpy(), stored[f"reciprocal_{size}_k{k}/keep_mask"] == 1)
