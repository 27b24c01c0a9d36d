"""Slot attention and decoders against loops written from the equations."""

from itertools import product

import pytest
import torch

from avbench.nets.slot_attention import JointSlotAttention, SlotDecoder, attend

DIM, SLOTS, ITERS = 6, 3, 4


@pytest.fixture
def module():
    torch.manual_seed(0)
    return JointSlotAttention(DIM, num_slots=SLOTS, iters=ITERS).double()


def linear(parts, name, x):
    return parts[f"{name}.weight"] @ x + parts[f"{name}.bias"]


def layer_norm(parts, name, x):
    spread = ((x - x.mean()).square().mean() + 1e-5).sqrt()
    return (x - x.mean()) / spread * parts[f"{name}.weight"] + parts[f"{name}.bias"]


def gru(parts, name, x, hidden):
    given = parts[f"{name}.weight_ih"] @ x + parts[f"{name}.bias_ih"]
    kept = parts[f"{name}.weight_hh"] @ hidden + parts[f"{name}.bias_hh"]
    (r1, z1, n1), (r2, z2, n2) = given.split(DIM), kept.split(DIM)
    reset, update = torch.sigmoid(r1 + r2), torch.sigmoid(z1 + z2)
    return (1 - update) * torch.tanh(n1 + reset * n2) + update * hidden


def weights_of(queries, keys):
    """One sample: softmax over slots for each token, then the share of each token in its slot."""
    table = torch.zeros(len(queries), len(keys), dtype=torch.float64)
    for p, key in enumerate(keys):
        scores = torch.stack([(q * key).sum() / DIM**0.5 for q in queries]).exp()
        table[:, p] = scores / scores.sum() + 1e-8
    return table / table.sum(dim=1, keepdim=True)


def one_sample(parts, side, tokens):
    seen = [layer_norm(parts, f"{side}_norm_input", token) for token in tokens]
    keys, values = ([linear(parts, f"{side}_to_{role}", token) for token in seen] for role in "kv")
    slots = list(parts["slots"][0])
    for _ in range(ITERS):
        queries = [linear(parts, f"{side}_to_q", layer_norm(parts, f"{side}_norm_slots", slot)) for slot in slots]
        weights = weights_of(queries, keys)
        for i in range(SLOTS):
            update = sum(weights[i, p] * values[p] for p in range(len(values)))
            slot = gru(parts, f"{side}_gru", update, slots[i])
            hidden = linear(parts, f"{side}_mlp.0", layer_norm(parts, f"{side}_norm_pre_ff", slot)).clamp(min=0)
            slots[i] = slot + linear(parts, f"{side}_mlp.2", hidden)
    return torch.stack(slots), torch.stack(queries), torch.stack(keys)


def test_iterations_equal_loops_over_samples_slots_and_tokens(module):
    tokens = {"img": torch.randn(2, 5, DIM).double(), "aud": torch.randn(2, 3, DIM).double()}
    parts = module.state_dict()
    found = dict(zip(tokens, module(tokens["img"], tokens["aud"]), strict=True))
    for side in tokens:
        for sample in range(2):
            wanted = one_sample(parts, side, tokens[side][sample])
            for ours, theirs in zip(found[side], wanted, strict=True):
                torch.testing.assert_close(ours[sample], theirs, rtol=1e-10, atol=1e-12)


def test_queries_stand_one_update_behind_the_slots(module):
    tokens = torch.randn(1, 5, DIM).double(), torch.randn(1, 3, DIM).double()
    module.iters = 1
    image, _ = module(*tokens)
    again, _ = module(tokens[0].square(), tokens[1])
    assert torch.equal(image.queries, again.queries)
    assert not torch.allclose(image.slots, again.slots)


def test_two_slots_share_a_token_by_the_sigmoid_of_their_difference():
    queries, keys = (
        torch.tensor([[[2.0, 0.0], [0.0, 0.0]]]).double(),
        torch.tensor([[[1.0, 5.0], [-3.0, 1.0]]]).double(),
    )
    logits = torch.tensor([2.0, -6.0]).double() / 2**0.5
    for sharpening in (1.0, 0.1):
        share = torch.sigmoid(sharpening * logits) + 1e-8
        found = attend(queries, keys, sharpening=sharpening)
        torch.testing.assert_close(found[0, 0], share / share.sum(), rtol=1e-12, atol=0)
        assert found.sum(dim=2).flatten().tolist() == pytest.approx([1.0, 1.0])


def test_hidden_tokens_become_the_mask_token_of_their_modality(module, monkeypatch):
    draws = iter([torch.tensor([[0.1, 0.3, 0.9]]), torch.tensor([[0.29, 0.31]])])
    monkeypatch.setattr(module, "draw", lambda tokens: next(draws))
    image, audio = torch.randn(1, 3, DIM).double(), torch.randn(1, 2, DIM).double()
    seen, heard = module.hide(image, audio, 0.3)
    assert torch.equal(seen[0, 0], module.mask_token_img[0, 0])
    assert torch.equal(seen[0, 1:], image[0, 1:])
    assert torch.equal(heard[0, 0], module.mask_token_aud[0, 0])
    assert torch.equal(heard[0, 1], audio[0, 1])


def test_the_share_of_hidden_tokens_is_the_ratio(module):
    torch.manual_seed(0)
    tokens = torch.zeros(100, 100, DIM).double()
    seen, _ = module.hide(tokens, tokens, 0.1)
    assert (seen != 0).any(dim=2).double().mean().item() == pytest.approx(0.1, abs=0.01)


def test_the_decoder_equals_a_loop_over_positions_and_slots():
    torch.manual_seed(0)
    decoder, slots = SlotDecoder(DIM, height=2, width=3).double(), torch.randn(2, SLOTS, DIM).double()
    parts, found = decoder.state_dict(), decoder(slots)
    assert found.shape == (2, 6, DIM)
    for sample, row, column in product(range(2), range(2), range(3)):
        place = torch.cat([parts["pos_emb.col_embed.weight"][column], parts["pos_emb.row_embed.weight"][row]])
        painted = [paint(parts, slot + place) for slot in slots[sample]]
        share = torch.stack([p[-1] for p in painted]).softmax(0)
        wanted = sum(s * p[:-1] for s, p in zip(share, painted, strict=True))
        torch.testing.assert_close(found[sample, row * 3 + column], wanted, rtol=1e-10, atol=1e-12)


def paint(parts, x):
    for layer in (0, 2, 4):
        x = linear(parts, f"mlp.{layer}", x).clamp(min=0)
    return linear(parts, "mlp.6", x)


def test_position_embeddings_start_between_0_and_1():
    table = SlotDecoder(64, height=7, width=7).pos_emb.row_embed.weight
    assert 0 <= table.min().item() < 0.1
    assert 0.9 < table.max().item() < 1


def test_slots_and_mask_tokens_start_standard_normal():
    torch.manual_seed(0)
    module = JointSlotAttention(256, num_slots=40, iters=1)
    assert module.slots.std().item() == pytest.approx(1, abs=0.03)
    assert module.mask_token_img.std().item() == pytest.approx(1, abs=0.2)
