"""Alignment against the outputs of the official code (kaistmm/SSLalignment at e7ae3c55) on made-up weights and inputs.

The released network has LVS's logits, which LVS is compared with on this input too; the paper's own loss has no golden.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avbench.methods.alignment import Alignment, AlignmentConfig

F64 = 1e-9
F32_EVAL = 5e-5
STORED = Path(__file__).parents[1] / "golden" / "alignment_sample0.npz"
PRECISIONS = [(torch.float64, "f64", F64), (torch.float32, "f32", F32_EVAL)]


@pytest.fixture(scope="module")
def official(golden):
    return golden("alignment")


@pytest.fixture(scope="module")
def build(made_up):
    weights = made_up(Alignment(AlignmentConfig(heads=False))).state_dict()

    def on(device, dtype):
        method = Alignment(AlignmentConfig(heads=False))
        method.load_state_dict(weights)
        return method.to(device, dtype).eval()

    return on


def test_one_sample_at_hand(build, sample0, relative, device):
    method, wanted = build(device, torch.float64), np.load(STORED)
    image = sample0.batch("ezvsl").image.to(device)
    audio = torch.from_numpy(wanted["spectrogram"])[None, None].to(device, torch.float64) / 1024
    batch = replace(sample0.batch("ezvsl"), image=image, audio=audio)
    with torch.no_grad():
        assert relative(method.localize(batch).map, wanted["map"]) < F64
        assert relative(method.embed(batch).audio, wanted["audio"]) < F64


@pytest.mark.parametrize(("dtype", "tag", "limit"), PRECISIONS)
def test_evaluation(build, official, relative, device, dtype, tag, limit):
    method, batch = build(device, dtype), official.batch("alignment", 4, dtype, device)
    with torch.no_grad(), official.probing(method, f"eval4_{tag}", limit=limit):
        maps = method.localize(batch).map
    assert relative(maps, official.arrays[f"eval4_{tag}/heatmap"]) < limit


def test_embeddings(build, official, relative, device):
    with torch.no_grad():
        found = build(device, torch.float32).embed(official.batch("alignment", 4, torch.float32, device))
    assert relative(found.audio, official.arrays["eval4_f32/audio_embedding"]) < F32_EVAL
    assert found.image.shape == found.audio.shape


def test_ten_seconds(build, official, golden, relative, device):
    method, batch = build(device, torch.float64), official.batch("lvs", 4, torch.float64, device)
    with torch.no_grad():
        assert relative(method.localize(batch).map, official.arrays["eval4_f64_10s/heatmap"]) < F64
    lvs = golden("lvs").arrays  # one network: what LVS is compared with holds for Alignment on 10 s
    for name in ("heatmap", "audio_embedding", "logits", "Pos", "Neg"):
        assert np.array_equal(official.arrays[f"eval4_f64_10s/{name}"], lvs[f"eval4_f64/{name}"]), name
