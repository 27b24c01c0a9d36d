"""JSA (Kim et al., "Improving Sound Source Localization with Joint Slot Attention on Image and Audio", CVPR 2025).

Slot attention splits each modality into a target slot (index 0) and off-target slots; the target slots are contrasted,
and the attention of the sound's target query over the image is the map. Official code: InhoKim429/JSA. Differences:
evaluation mode works (the official override stands outside its class), every batch of an epoch is used (a leftover
``break`` ends it after one), and a batch that ``reciprocal_k`` would empty of negatives is refused. Several target
slots (supplementary, table of slots) are not in the official code; what they mean here is ours: the first
``num_targets`` slots are targets, two samples are as alike as the best pair of their targets, the pair that is best
within a sample takes the place of slot 0 in the false negatives and the match term, and the map is the cell-wise
maximum (or sum) of the targets' attention before it is divided by its sum over the cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.errors import UsageError
from avbench.frontends import MIDDLE_5S, PowerSpectrogram
from avbench.nets.company import gathered, weight_of_rows
from avbench.nets.contrastive import info_nce
from avbench.nets.precision import at_least_float32
from avbench.nets.resnet import STRIDE, Trunk, load_imagenet, reset_convolutions
from avbench.nets.slot_attention import JointSlotAttention, SlotDecoder, Slots, attend, compete, share
from avbench.registry import register_method
from avbench.types import CANVAS, Batch, Embeddings, Prediction

RATE = 16_000
"""Sampling rate for which the audio decoder's positions are counted, in Hz (official code)."""


@dataclass(frozen=True)
class JSAConfig:
    """Settings of JSA; defaults are those of the official ``train_script.sh`` unless said otherwise."""

    tau: float = 0.03  # --tau
    num_slots: int = 2  # --num_slots; targets and off-targets together
    num_targets: int = 1  # slot 0, as the official code; more: supplementary, table of slots, defined above
    target_merge: Literal["max", "sum"] = "max"  # how the attention of several targets makes one map: ours
    iters: int = 5  # --iters; supplementary, table of N
    mask_ratio: float = 0.1  # --mask_ratio; supplementary, table of mask ratios
    reciprocal_k: int = 20  # --reciprocal_k; 0 = no false-negative mitigation
    lam0: float = 1.0  # weight of the contrastive term: ours, 1 in the official code
    lam1: float = 0.1  # weight of reconstruction, --lam1
    lam2: float = 0.1  # weight of divergence, --lam2
    lam3: float = 100.0  # weight of match, --lam3
    infer_sharpening: float = 0.1  # official test script, for every model; 144k models were selected with 1.0
    eps_test: float = 1e-7  # added to the power before the log, dataset.py of the test sets
    eps_train: float = 1e-8  # the same while training, dataset.py of the training sets
    channels: Literal["mean", "each"] = "mean"  # at test: "each" averages power spectrograms, dataset_avs.py
    dim: int = 512  # channels of tokens and slots, model_slot.py
    width: float = 1.0  # of both trunks: 1 = ResNet-18 as published; smaller for quick runs
    spectrogram_pool: int = 1  # 1 = as published; 2 averages 2 x 2 spectrogram cells, a departure for quick runs
    pretrained: str | None = None  # of the image trunk: "imagenet" (official code), a path, or None = from scratch
    half_similarities: bool = True  # under autocast, slots are compared in half precision; False = in float32
    decoders: bool = True  # False leaves the slot decoders out, for inference or for lam1 = 0

    def __post_init__(self) -> None:
        if min(self.tau, self.iters, self.spectrogram_pool) <= 0 or self.dim % 2 or self.reciprocal_k < 0:
            raise UsageError(
                "JSA needs tau, iters and spectrogram_pool above 0, an even dim and reciprocal_k >= 0, got "
                f"{self.tau}, {self.iters}, {self.spectrogram_pool}, {self.dim} and {self.reciprocal_k}"
            )
        if not 1 <= self.num_targets < self.num_slots:
            raise UsageError(
                f"JSA needs a target slot and at least one off-target slot, got num_slots = {self.num_slots}, of which "
                f"num_targets = {self.num_targets}"
            )
        if not any((self.lam0, self.lam1, self.lam2, self.lam3)):
            raise UsageError("JSA needs a loss, but lam0, lam1, lam2 and lam3 are all 0: leave one above 0")
        if self.iters == 1 and not any((self.lam0, self.lam1, self.lam2)):
            raise UsageError(
                "JSA's match term alone reaches no slot update at iters = 1, whose queries come before any update: "
                "raise iters, or one of lam0, lam1 and lam2"
            )


class ImageEncoder(Trunk):
    """Image trunk and 1 x 1 projection."""

    def __init__(self, dim: int, *, width: float) -> None:
        super().__init__(3, width=width)
        self.proj = nn.Conv2d(self.features, dim, kernel_size=1)
        reset_convolutions(self.proj)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 3, H, W]`` to ``[B, dim, ceil(H / 32), ceil(W / 32)]``, no ReLU."""
        projected: Tensor = self.proj(super().forward(x))
        return projected


class AudioEncoder(Trunk):
    """Audio trunk, 1 x 1 projection and maximum over frequency."""

    def __init__(self, dim: int, *, width: float) -> None:
        super().__init__(1, width=width, stem="conv1_1")
        projection = nn.Conv2d(self.features, dim, kernel_size=1)
        self.proj = nn.Sequential(projection, nn.AdaptiveMaxPool2d((1, None)), nn.Flatten(2))
        reset_convolutions(projection)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 1, F, T]`` to ``[B, dim, ceil(T / 32)]``, no ReLU."""
        projected: Tensor = self.proj(super().forward(x))
        return projected


@register_method(
    "jsa",
    config=JSAConfig,
    paper="CVPR 2025",
    official="InhoKim429/JSA",
    pretrained="image trunk: ImageNet classification",
)
class JSA(nn.Module):
    """JSA: attention of the sound's target slot over the image, trained with joint slot attention."""

    score_range = (0.0, 1.0)
    droppings: ClassVar[dict[str, str]] = {
        r"(img|aud)_decoder\..+": "slot decoders, which training alone uses; left out with decoders = false"
    }

    def __init__(self, config: JSAConfig) -> None:
        super().__init__()
        self.config = config
        self.frontend = self._frontend()
        self.imgnet = ImageEncoder(config.dim, width=config.width)
        self.audnet = AudioEncoder(config.dim, width=config.width)
        self.slot_attn = JointSlotAttention(config.dim, num_slots=config.num_slots, iters=config.iters)
        if config.decoders:
            side = math.ceil(CANVAS / STRIDE)
            self.img_decoder = SlotDecoder(config.dim, height=side, width=side)
            self.aud_decoder = SlotDecoder(config.dim, height=1, width=audio_positions(self.frontend))
            for decoder in (self.img_decoder, self.aud_decoder):
                decoder.requires_grad_(config.lam1 != 0)  # no parameter that no loss reaches
        if config.pretrained is not None:
            load_imagenet(self.imgnet, config.pretrained)

    @staticmethod
    def settings_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
        """What the shapes of a state dict give away: the number of slots, their channels, whether decoders are there.

        Nothing without the slots ``[1, num_slots, dim]``.
        """
        slots = state.get("slot_attn.slots")
        if slots is None or slots.ndim != 3:
            return {}
        decoders = any(key.startswith("img_decoder.") for key in state)
        return {"num_slots": slots.shape[1], "dim": slots.shape[2], "decoders": decoders}

    def train(self, mode: bool = True) -> Self:
        """Switch modes; the front-end's epsilon follows, as the official training and test loaders differ in it."""
        super().train(mode)
        self.frontend = self._frontend()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """As :meth:`loss`, so that wrappers for several devices see the call."""
        return self.loss(batch)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Contrastive, match, divergence and reconstruction terms, unweighted, and their weighted total; scalars.

        A term whose weight (``lam0`` contrastive, ``lam1`` reconstruction, ``lam2`` divergence, ``lam3`` match) is 0
        is neither computed nor named. Tokens are hidden in training mode only.

        In company targets are contrasted, and neighbours found, among all processes' rows; the other terms are means
        over the own rows, weighted by their share. The official code trains on one device.

        Raises:
            UsageError: if ``reciprocal_k`` is not smaller than the batch, or the decoders cannot rebuild its tokens.
        """
        config = self.config
        cells, sounds = self._tokens(batch)
        seen = self.slot_attn.hide(cells, sounds, config.mask_ratio) if self.training else (cells, sounds)
        image, audio = self.slot_attn(*seen)
        heard, viewed = self._targets(audio), self._targets(image)
        pairs = best_pairs(viewed, heard)
        own = weight_of_rows(len(cells))
        parts: dict[str, tuple[float, Callable[[], Tensor]]] = {
            "contrastive": (config.lam0, lambda: self._contrastive(viewed, heard, pairs)),
            "match": (config.lam3, lambda: own * match(image, audio, pairs)),
            "divergence": (config.lam2, lambda: own * (divergence(image.slots) + divergence(audio.slots))),
            "reconstruction": (
                config.lam1,
                lambda: own * self._reconstruction(image, audio, cells=cells, sounds=sounds),
            ),
        }
        terms = {name: term() for name, (weight, term) in parts.items() if weight}
        return {**terms, "total": reduce(torch.add, [parts[name][0] * term for name, term in terms.items()])}

    def localize(self, batch: Batch) -> Prediction:
        """Attention of the sound's target queries over the image, ``[B, h, w]``, positive, each map summing to 1.

        ``extra["image_query"]`` is the same of the image's own target queries; with several targets,
        ``extra["target_1"]`` and so on are the maps of the sound's target queries one by one. ``confidence`` is the
        cosine of the two target slots, of the best pair of several, in [-1, 1]: our choice, since the maps are
        normalised per sample and the paper defines none.
        """
        features = self.imgnet(batch.image)
        image, audio = self.slot_attn(_as_tokens(features), _as_tokens(self.audnet(batch.audio)))
        grid, targets = (len(features), *features.shape[2:]), self.config.num_targets
        heard, seen = (
            compete(side.queries, image.keys, sharpening=self.config.infer_sharpening)[:, :targets]
            for side in (audio, image)
        )
        extra = {"image_query": share(self._merge(seen)).reshape(grid)}
        if targets > 1:
            single = share(heard).unbind(dim=1)
            extra |= {f"target_{number}": weights.reshape(grid) for number, weights in enumerate(single, start=1)}
        cosines = F.cosine_similarity(image.slots[:, :targets, None], audio.slots[:, None, :targets], dim=3)
        return Prediction(share(self._merge(heard)).reshape(grid), extra, cosines.amax(dim=(1, 2)))

    def embed(self, batch: Batch) -> Embeddings:
        """Target slots of both modalities after all updates, not normalised.

        ``[B, dim]`` with one target, ``[B, num_targets, dim]`` with several.
        """
        image, audio = (side.slots[:, : self.config.num_targets] for side in self.slot_attn(*self._tokens(batch)))
        return Embeddings(image, audio) if self.config.num_targets > 1 else Embeddings(image[:, 0], audio[:, 0])

    def similarity(self, images: Tensor, audios: Tensor) -> Tensor:
        """Cosines ``[N, M]`` of embeddings, of the best pair of targets where there are several."""
        if images.ndim == 2:
            images, audios = images[:, None], audios[:, None]
        return best_cosines(F.normalize(images, dim=2), F.normalize(audios, dim=2))

    def _frontend(self) -> PowerSpectrogram:
        eps = self.config.eps_train if self.training else self.config.eps_test
        window = MIDDLE_5S if self.training else replace(MIDDLE_5S, channels=self.config.channels)
        return PowerSpectrogram(window, eps=eps, pool=self.config.spectrogram_pool)

    def _tokens(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return _as_tokens(self.imgnet(batch.image)), _as_tokens(self.audnet(batch.audio))

    def _targets(self, side: Slots) -> Tensor:
        return F.normalize(at_least_float32(side.slots[:, : self.config.num_targets]), dim=2)

    def _merge(self, weights: Tensor) -> Tensor:
        """``[B, num_targets, P]`` weights to ``[B, 1, P]``."""
        return weights.amax(dim=1, keepdim=True) if self.config.target_merge == "max" else weights.sum(1, keepdim=True)

    def _contrastive(self, images: Tensor, audios: Tensor, pairs: tuple[Tensor, Tensor]) -> Tensor:
        half, device = self.config.half_similarities, images.device.type
        images, audios, pairs = gathered(images), gathered(audios), (gathered(pairs[0]), gathered(pairs[1]))
        with nullcontext() if half else torch.autocast(device, enabled=False):
            return contrastive(images, audios, pairs, tau=self.config.tau, reciprocal_k=self.config.reciprocal_k)

    def _reconstruction(self, image: Slots, audio: Slots, *, cells: Tensor, sounds: Tensor) -> Tensor:
        if not self.config.decoders:
            raise UsageError("JSA was built without its decoders: train with decoders = true, or with lam1 = 0")
        rebuilt_cells, rebuilt_sounds = self.img_decoder(image.slots), self.aud_decoder(audio.slots)
        if rebuilt_sounds.shape != sounds.shape:
            raise UsageError(
                f"JSA's audio decoder rebuilds {rebuilt_sounds.shape[1]} positions, the spectrograms have "
                f"{sounds.shape[1]}: train on the method's own front-end at {RATE} Hz"
            )
        return F.mse_loss(rebuilt_cells, cells.detach()) + F.mse_loss(rebuilt_sounds, sounds.detach())


def audio_positions(frontend: PowerSpectrogram) -> int:
    """Tokens ``T'`` that the audio trunk makes of ``frontend``'s spectrograms at 16 kHz: 16 as published."""
    frames = int(frontend.window.seconds * RATE) // frontend.hop + 1
    return math.ceil(frames / (frontend.pool * STRIDE))


def best_cosines(images: Tensor, audios: Tensor) -> Tensor:
    """``[N, t, D]`` and ``[M, t, D]`` unit targets to ``[N, M]``: the cosine of each two samples' best pair."""
    numbers = product(range(images.shape[1]), range(audios.shape[1]))
    return reduce(torch.maximum, (images[:, i] @ audios[:, j].T for i, j in numbers))


def best_pairs(images: Tensor, audios: Tensor) -> tuple[Tensor, Tensor]:
    """The targets of image and sound that are most alike within each sample.

    Args:
        images: ``[B, t, D]`` unit targets.
        audios: ``[B, t, D]``.

    Returns: two ``[B]`` of indices in [0, t); of pairs that are equally alike, any.
    """
    best = torch.einsum("bid,bjd->bij", images.detach(), audios.detach()).flatten(1).argmax(dim=1)
    return best // audios.shape[1], best % audios.shape[1]


def contrastive(
    images: Tensor, audios: Tensor, pairs: tuple[Tensor, Tensor], *, tau: float, reciprocal_k: int
) -> Tensor:
    """InfoNCE of unit targets ``[B, t, D]``, both directions summed, without the probable false negatives.

    Two samples are as alike as the best pair of their targets; false negatives are found among the targets that
    ``pairs`` names.
    """
    seen, heard = (_pick(side.detach(), index) for side, index in zip((images, audios), pairs, strict=True))
    excluded = false_negatives(seen, heard, reciprocal_k)
    return info_nce(best_cosines(images, audios).masked_fill(excluded, -torch.inf) / tau)


def false_negatives(images: Tensor, audios: Tensor, k: int) -> Tensor:
    """Pairs that are probably of one kind: each is among the other's ``k`` nearest, by image and by sound.

    Args:
        images: ``[B, D]`` unit target slots; a sample counts among its own nearest.
        audios: ``[B, D]``.
        k: how many neighbours; 0 finds no pair.

    Returns: boolean ``[B, B]``, symmetric, False on the diagonal.

    Raises:
        UsageError: if ``k`` is not smaller than the batch: every pair would be excluded and the loss be 0.
    """
    size = len(images)
    if k == 0:
        return torch.zeros(size, size, dtype=torch.bool, device=images.device)
    if k >= size:
        raise UsageError(
            f"reciprocal_k = {k} needs batches of more than {k} samples, got {size}: lower it or raise them"
        )
    near = _nearest(images, k) & _nearest(audios, k)
    return near & near.T & ~torch.eye(size, dtype=torch.bool, device=images.device)


def _nearest(vectors: Tensor, k: int) -> Tensor:
    similarity = vectors @ vectors.T
    chosen = similarity.topk(k, dim=1).indices
    return torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, chosen, True)


def match(image: Slots, audio: Slots, pairs: tuple[Tensor, Tensor]) -> Tensor:
    """Mean squared difference of a target's cross-modal attention from the fixed intra-modal one, both sides summed.

    ``pairs`` are the indices ``[B]`` of each sample's image target and sound target.
    """
    seeing, hearing = pairs
    heard = F.mse_loss(
        _pick(attend(audio.queries, image.keys), hearing), _pick(attend(image.queries, image.keys), seeing).detach()
    )
    seen = F.mse_loss(
        _pick(attend(image.queries, audio.keys), seeing), _pick(attend(audio.queries, audio.keys), hearing).detach()
    )
    return heard + seen


def _pick(slots: Tensor, index: Tensor) -> Tensor:
    """``[B, K, ...]`` and ``[B]`` to ``[B, ...]``: each sample's slot of that number."""
    return slots[torch.arange(len(slots), device=slots.device), index]


def divergence(slots: Tensor) -> Tensor:
    """Mean over samples and ordered pairs of different slots of their cosine's positive part; ``[B, K, D]``."""
    unit = F.normalize(at_least_float32(slots), dim=2)
    number = slots.shape[1]
    others = ~torch.eye(number, dtype=torch.bool, device=slots.device)
    cosines = unit @ unit.mT
    return (cosines.relu() * others).sum() / (len(slots) * number * (number - 1))


def _as_tokens(features: Tensor) -> Tensor:
    return features.flatten(2).mT
