"""Attention10k (Senocak et al., "Learning to Localize Sound Source in Visual Scenes", CVPR 2018), with two ResNet-18.

A sound queries 14 x 14 image cells; a softmax over the cells pools them, and what they say together must be closer to
the own sound's features than to another clip's. This is the re-implementation whose numbers later papers print, in the
official code of one of them: DTaoo/Discriminative-Sounding-Objects-Localization, ``compared model/``. The supervised
term is that of the authors' own port, ardasnck/learning_to_localize_sound_source, ``losses.py``.

Differences. Sounds are 3 s as EZ-VSL hears them instead of 1 s of mel bands (loader: common, as SLAVC re-ran it). The
other picture of a negative pair is one of the batch instead of one drawn for it. The supervised term reads the
consensus of the annotators instead of one of them at random. Layers that no pass uses are not built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.errors import UsageError
from avbench.frontends import ScipySpectrogram
from avbench.nets.company import gathered
from avbench.nets.precision import at_least_float32
from avbench.nets.resnet import Trunk, load_imagenet
from avbench.nets.two_encoders import compare, compare_own
from avbench.registry import register_method
from avbench.types import Batch, Embeddings, Picture, Prediction

UNDER_ROOT = 1e-9
"""Added to squared distances of negative pairs, so that their root has a slope at 0 (official code)."""
BLOCK = 8
"""Images compared with all sounds at once in ``similarity``: bounds the memory, changes no value."""


@dataclass(frozen=True)
class Attention10kConfig:
    """Settings of Attention10k; defaults are those of the ResNet-18 variant's code unless said otherwise."""

    margin: float = 10.0  # from which on a negative pair is far enough; location_attention_stage_one.py
    temperature: float = 1.0  # of the softmax over cells; the code has none, whose maps are nearly flat
    supervised: Literal["off", "official", "squared"] = "off"  # the port's term, or SLAVC's (supplementary, eq. 9)
    truth_sums_to_one: bool = True  # of "official": False takes the share of each cell; unverified, data unpublished
    picture: Picture = "squash"  # at test; ours, the code publishes no test
    width: float = 1.0  # 1 = ResNet-18 as published; smaller for quick runs
    pretrained: str | None = None  # of the image trunk: "imagenet" (official code), a path, or None = from scratch

    def __post_init__(self) -> None:
        if min(self.margin, self.temperature) <= 0:
            raise UsageError(
                f"Attention10k needs margin and temperature above 0, got {self.margin} and {self.temperature}"
            )


@register_method(
    "attention10k",
    config=Attention10kConfig,
    paper="arXiv:1803.03849",
    official="DTaoo/Discriminative-Sounding-Objects-Localization, compared model",
    labels="none; with the option supervised the boxes of annotated clips",
    pretrained="image trunk: ImageNet classification",
)
class Attention10k(nn.Module):
    """Attention10k: softmax attention of a sound over image cells, trained to predict the sound's features."""

    score_range = (0.0, 1.0)

    def __init__(self, config: Attention10kConfig) -> None:
        super().__init__()
        self.config = config
        self.picture = config.picture
        self.frontend = ScipySpectrogram()
        self.wants_truth = config.supervised != "off"
        self.imgnet = Trunk(3, width=config.width, last_stride=1)
        self.audnet = Trunk(1, width=config.width, last_stride=1)
        size = self.imgnet.features
        self.img_fc1, self.img_fc2, self.aud_fc1, self.aud_fc2 = (nn.Linear(size, size) for _ in range(4))
        if config.pretrained is not None:
            load_imagenet(self.imgnet, config.pretrained)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """As :meth:`loss`, so that wrappers for several devices see the call."""
        return self.loss(batch)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Terms ``contrastive`` (and ``supervised``), each of weight 1, and their total; scalars.

        Each sound stands beside two pictures, its own and the next one of the batch (after the last the first), which
        in shuffled batches is any other with equal chance; see :func:`margin_loss`. The gradient reaches the sound's
        features, the target, as well.

        Raises:
            UsageError: for a single pair, which has no negative, or if ``supervised`` is on and the batch brings no
                truth.
        """
        cells, heard = gathered(self._cells(batch.image)), gathered(self._heard(batch.audio))
        if len(heard) < 2:
            raise UsageError("Attention10k needs another pair as a negative, got a batch of 1: use more than 1 sample")
        cosines, other = self._cosines(cells, heard), heard.roll(1, dims=0)
        contrastive = margin_loss(
            squared_distance(self._predict(cells, cosines), heard),
            squared_distance(self._predict(cells, self._cosines(cells, other)), other),
            self.config.margin,
        )
        if not self.wants_truth:
            return {"contrastive": contrastive, "total": contrastive}
        supervised = self._supervised(batch, cosines)
        return {"contrastive": contrastive, "supervised": supervised, "total": contrastive + supervised}

    def localize(self, batch: Batch) -> Prediction:
        """The attention of each sample's own sound, ``[B, h, w]`` in (0, 1), which sums to 1."""
        return Prediction(self._attention(self._cosines(self._cells(batch.image), self._heard(batch.audio))))

    def embed(self, batch: Batch) -> Embeddings:
        """Unit cells ``[B, D, h, w]`` and the features of the sounds ``[B, D]``, at least 0 and not normalised."""
        return Embeddings(self._cells(batch.image), self._heard(batch.audio))

    def similarity(self, images: Tensor, audios: Tensor) -> Tensor:
        """``[N, D, h, w]`` cells against ``[M, D]`` sounds: ``[N, M]`` distances that training compares, negated."""
        return torch.cat([self._compared(block, audios) for block in torch.split(images, BLOCK)])

    def _compared(self, cells: Tensor, heard: Tensor) -> Tensor:
        attention = self._attention(compare(cells, self._query(heard)))
        pooled = torch.einsum("nchw,nmhw->nmc", cells, attention)
        return -squared_distance(self._spoken(pooled), heard).sqrt()

    def _cells(self, image: Tensor) -> Tensor:
        return F.normalize(at_least_float32(self.imgnet(image)), dim=1)

    def _heard(self, audio: Tensor | None) -> Tensor:
        features: Tensor = self.audnet(audio).amax(dim=(2, 3))
        return at_least_float32(features)

    def _query(self, heard: Tensor) -> Tensor:
        return F.normalize(at_least_float32(_twice(heard, self.aud_fc1, self.aud_fc2)), dim=1)

    def _cosines(self, cells: Tensor, heard: Tensor) -> Tensor:
        """``[B, h, w]`` in [0, 1]: both sides come out of a ReLU."""
        return at_least_float32(compare_own(cells, self._query(heard)))

    def _attention(self, cosines: Tensor) -> Tensor:
        """Softmax over the last two dimensions."""
        return (cosines / self.config.temperature).flatten(-2).softmax(dim=-1).view_as(cosines)

    def _predict(self, cells: Tensor, cosines: Tensor) -> Tensor:
        """What the attended cells expect to hear, ``[B, D]``."""
        return self._spoken(torch.einsum("nchw,nhw->nc", cells, self._attention(cosines)))

    def _spoken(self, pooled: Tensor) -> Tensor:
        return at_least_float32(_twice(pooled, self.img_fc1, self.img_fc2))

    def _supervised(self, batch: Batch, cosines: Tensor) -> Tensor:
        if batch.truth is None or batch.annotated is None:
            raise UsageError(
                f"Attention10k with supervised = {self.config.supervised} needs annotated clips, the batch has none: "
                "train on a split with boxes"
            )
        truth = gathered(F.interpolate(batch.truth[:, None], size=cosines.shape[-2:], mode="area")[:, 0])
        annotated = gathered(batch.annotated)
        if self.config.supervised == "squared":
            return squared_error(cosines, truth, annotated)
        logits = cosines / self.config.temperature
        return attention_error(logits, truth, annotated, sums_to_one=self.config.truth_sums_to_one)


def squared_distance(expected: Tensor, heard: Tensor) -> Tensor:
    """Squared Euclidean distance over the last dimension; the others are broadcast."""
    return (expected - heard).square().sum(dim=-1)


def margin_loss(own: Tensor, other: Tensor, margin: float) -> Tensor:
    """Mean over all pairs of half the squared distance, or of half the square of what a negative lacks to ``margin``.

    Args:
        own: ``[B]`` squared distances of matching pairs.
        other: ``[B]`` squared distances of pairs that do not match; from ``margin`` on they cost nothing.
        margin: a distance, not squared.

    Returns: a scalar, at least 0; no pair weighs more than another.
    """
    lacking = (margin - (other + UNDER_ROOT).sqrt()).clamp_min(0)
    return torch.cat([own, lacking.square()]).mean() / 2


def attention_error(logits: Tensor, truth: Tensor, annotated: Tensor, *, sums_to_one: bool = True) -> Tensor:
    """Cross-entropy of the attention with the truth, a mean over all rows; those without annotation count 0.

    Args:
        logits: ``[B, h, w]``, whose softmax over all cells is the attention.
        truth: ``[B, h, w]`` in [0, 1].
        annotated: ``[B]`` bool.
        sums_to_one: divide each truth by its sum; one that is 0 everywhere, as a crop may leave it, costs nothing.

    Returns: a scalar (``losses.py`` of the authors' port).
    """
    weights = truth.flatten(1)
    if sums_to_one:
        weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    rows = -(weights * logits.flatten(1).log_softmax(dim=1)).sum(dim=1)
    return (rows * annotated).mean()


def squared_error(scores: Tensor, truth: Tensor, annotated: Tensor) -> Tensor:
    """Squared differences of scores and truth, summed over cells: a mean over the annotated rows, 0 without any.

    SLAVC's supplementary, eq. 9. Which scores it takes is not said; cosines are in [0, 1] as the truth is, which the
    attention, with a sum of 1, is not.

    Args:
        scores: ``[B, h, w]``.
        truth: ``[B, h, w]`` in [0, 1].
        annotated: ``[B]`` bool.

    Returns: a scalar.
    """
    rows = (scores - truth).square().sum(dim=(1, 2))
    return (rows * annotated).sum() / annotated.sum().clamp_min(1)


def _twice(x: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
    return F.relu(second(F.relu(first(x))))
