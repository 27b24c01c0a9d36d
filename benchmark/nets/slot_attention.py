"""Joint slot attention over two modalities and the slot decoders (JSA, ``model_slot.py``)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from avbench.nets.company import drawn

EPSILON = 1e-8
"""Added to every attention weight before it is divided by its sum over the tokens (official code)."""


class Slots(NamedTuple):
    """What one modality's iterations leave behind; ``K`` slots, ``P`` tokens, ``D`` channels."""

    slots: Tensor
    """``[B, K, D]`` after all N updates."""
    queries: Tensor
    """``[B, K, D]`` of the last iteration, thus of the slots after N - 1 updates."""
    keys: Tensor
    """``[B, P, D]``."""


def compete(queries: Tensor, keys: Tensor, *, sharpening: float = 1.0) -> Tensor:
    """Slots compete for the tokens: a softmax over the slots for each token, plus :data:`EPSILON`.

    Args:
        queries: ``[B, K, D]``, one per slot.
        keys: ``[B, P, D]``, one per token, of the same or of the other modality.
        sharpening: multiplies the scaled dot products; it bends the weights but does not reorder a slot's tokens
            where there are two slots.

    Returns: ``[B, K, P]``, positive, each column summing to about 1.
    """
    logits = torch.einsum("bkd,bpd->bkp", queries, keys) * (sharpening * queries.shape[2] ** -0.5)
    weights: Tensor = logits.softmax(dim=1) + EPSILON
    return weights


def share(weights: Tensor) -> Tensor:
    """``[B, K, P]`` weights divided by their sum over the tokens."""
    return weights / weights.sum(dim=2, keepdim=True)


def attend(queries: Tensor, keys: Tensor, *, sharpening: float = 1.0) -> Tensor:
    """:func:`compete`, then each slot's weights divided by their sum over the tokens: ``[B, K, P]``, rows sum to 1."""
    return share(compete(queries, keys, sharpening=sharpening))


class JointSlotAttention(nn.Module):
    """Two independent slot attentions, one per modality, that start from the same learned slots.

    Args:
        dim: channels ``D`` of tokens and slots.
        num_slots: ``K``.
        iters: updates ``N``.
    """

    def __init__(self, dim: int, *, num_slots: int, iters: int) -> None:
        super().__init__()
        self.iters = iters
        self.slots = nn.Parameter(torch.randn(1, num_slots, dim))
        self.mask_token_img = nn.Parameter(torch.randn(1, 1, dim))
        self.mask_token_aud = nn.Parameter(torch.randn(1, 1, dim))
        for side in ("img", "aud"):
            for role in ("q", "k", "v"):
                self.add_module(f"{side}_to_{role}", nn.Linear(dim, dim))
            self.add_module(f"{side}_gru", nn.GRUCell(dim, dim))
            mlp = nn.Sequential(nn.Linear(dim, dim * 2), nn.ReLU(inplace=True), nn.Linear(dim * 2, dim))
            self.add_module(f"{side}_mlp", mlp)
            for place in ("input", "slots", "pre_ff"):
                self.add_module(f"{side}_norm_{place}", nn.LayerNorm(dim))

    def forward(self, image: Tensor, audio: Tensor) -> tuple[Slots, Slots]:
        """Tokens ``[B, P, D]`` of the image and ``[B, T, D]`` of the sound to their slots."""
        return self._iterate("img", image), self._iterate("aud", audio)

    def hide(self, image: Tensor, audio: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
        """Replace each token, independently with probability ``ratio``, by its modality's learned mask token."""
        hidden_image = (self.draw(image) < ratio)[..., None]
        hidden_audio = (self.draw(audio) < ratio)[..., None]
        return (
            torch.where(hidden_image, self.mask_token_img, image),
            torch.where(hidden_audio, self.mask_token_aud, audio),
        )

    def draw(self, tokens: Tensor) -> Tensor:
        """Uniform ``[B, P]`` in [0, 1) that decides which tokens hide: the image's first, then the sound's."""
        return drawn(len(tokens), lambda n: torch.rand((n, tokens.shape[1]), device=tokens.device))

    def _iterate(self, side: str, tokens: Tensor) -> Slots:
        part = self.get_submodule
        tokens = part(f"{side}_norm_input")(tokens)
        keys, values = part(f"{side}_to_k")(tokens), part(f"{side}_to_v")(tokens)
        slots = queries = self.slots.expand(len(tokens), -1, -1)
        for _ in range(self.iters):
            queries = part(f"{side}_to_q")(part(f"{side}_norm_slots")(slots))
            updates = torch.einsum("bkp,bpd->bkd", attend(queries, keys), values)
            slots = part(f"{side}_gru")(updates.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
            slots = slots + part(f"{side}_mlp")(part(f"{side}_norm_pre_ff")(slots))
        return Slots(slots, queries, keys)


class PositionEmbedding(nn.Module):
    """Learned ``[height * width, dim]`` positions, row by row: half of the channels tell the column, half the row."""

    def __init__(self, height: int, width: int, dim: int) -> None:
        super().__init__()
        self.row_embed = nn.Embedding(height, dim // 2)
        self.col_embed = nn.Embedding(width, dim // 2)
        for table in (self.row_embed, self.col_embed):
            nn.init.uniform_(table.weight)

    def forward(self) -> Tensor:
        """``[height * width, dim]``."""
        rows, columns = self.row_embed.weight, self.col_embed.weight
        grid = (len(rows), len(columns), -1)
        return torch.cat([columns[None].expand(grid), rows[:, None].expand(grid)], dim=2).flatten(0, 1)


class SlotDecoder(nn.Module):
    """Rebuilds tokens from slots: each slot paints every position, and a softmax over the slots mixes them.

    Args:
        dim: channels ``D``, an even number.
        height: rows of the token grid.
        width: columns of the token grid.
    """

    def __init__(self, dim: int, *, height: int, width: int) -> None:
        super().__init__()
        self.pos_emb = PositionEmbedding(height, width, dim)
        hidden = [layer for _ in range(3) for layer in (nn.Linear(dim, dim), nn.ReLU(inplace=True))]
        self.mlp = nn.Sequential(*hidden, nn.Linear(dim, dim + 1))

    def forward(self, slots: Tensor) -> Tensor:
        """``[B, K, D]`` slots, not normalised, to ``[B, height * width, D]`` tokens."""
        painted = self.mlp(slots[:, :, None] + self.pos_emb())
        features, share = painted[..., :-1], painted[..., -1:].softmax(dim=1)
        mixed: Tensor = (features * share).sum(dim=1)
        return mixed
