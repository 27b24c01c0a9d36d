"""Alignment (Senocak et al., "Sound Source Localization is All about Cross-Modal Alignment", ICCV 2023).

The network and the map of LVS, trained with several positives per sample: each picture and each sound as they are,
altered (multi-view), and replaced by one that resembles them (semantic), every picture with every sound; and with a
second similarity, of projected vectors. Official code: kaistmm/SSLalignment, which tests only: the loss is the paper's.
Differences: layers that no pass uses are not built (``droppings``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.errors import UsageError
from avbench.frontends import ScipySpectrogram, counted_window
from avbench.nets.avenet import AVENet
from avbench.nets.company import gathered
from avbench.nets.contrastive import info_nce
from avbench.registry import register_method
from avbench.types import Batch, Embeddings, Picture, Prediction, View, Window

HEADS = ("img_proj", "aud_proj")
"""The projections of the second similarity; the released networks have none."""


SECONDS = 3.0
"""Heard, from the middle (``datasets_lvs.py``)."""


@dataclass(frozen=True)
class AlignmentConfig:
    """Settings of Alignment; defaults are the paper's unless said otherwise."""

    tau: float = 0.07  # section 4.1
    semantic: bool = True  # positives that resemble the sample; section 3.3, table 8
    multi_view: bool = True  # altered positives; section 3.3, table 8
    feature_alignment: bool = True  # the similarity of projected vectors; section 3.2, table 8
    k: int = 1000  # nearest neighbours of which one is drawn; table 9
    symmetric: bool = False  # contrast pictures too, not sounds alone: the paper says that one can, unverified
    heads: bool = True  # False leaves the projections out, for inference: the released networks have none
    head_hidden: int = 512  # of the projections' two layers; not published
    head_dim: int = 128  # not published
    clip_seconds: float | None = None  # at test: None, or 10 (AVSBench 5), datasets_lvs.py
    channels: Literal["mean", "first"] = "mean"  # "first": datasets_lvs.py
    picture: Picture = "squash"  # at test; "tensor": datasets_lvs.py
    pretrained: str | None = None  # of the image trunk: None (section 4.1), "imagenet" (official "previs") or a path
    retrieval: Literal["auto", "projected", "avg"] = "auto"  # "auto": projected where there are heads; not published
    width: float = 1.0  # 1 = ResNet-18 as published; smaller for quick runs

    def __post_init__(self) -> None:
        if min(self.tau, self.k, self.head_hidden, self.head_dim) <= 0:
            raise UsageError(
                "Alignment needs tau, k, head_hidden and head_dim above 0, got "
                f"{self.tau}, {self.k}, {self.head_hidden} and {self.head_dim}"
            )
        if self.retrieval == "projected" and not self.projects:
            raise UsageError(
                "Alignment compares projected vectors only where it has heads, got retrieval = projected without: "
                "set heads and feature_alignment to true, or retrieval to avg"
            )

    @property
    def projects(self) -> bool:
        """Whether the projections are built."""
        return self.heads and self.feature_alignment


@register_method(
    "alignment",
    config=AlignmentConfig,
    paper="arXiv:2309.10724",
    official="kaistmm/SSLalignment",
    labels="none by the loss; the encoders that find the neighbours may have learnt from class labels",
    pretrained="none in the network; the encoders that find the neighbours",
)
class Alignment(AVENet):
    """Alignment: LVS's cosine map, trained on nine pairs of original, altered and similar pictures and sounds."""

    score_range = (0.0, 1.0)

    def __init__(self, config: AlignmentConfig) -> None:
        super().__init__(width=config.width, pretrained=config.pretrained)
        self.config = config
        self.picture = config.picture
        self.frontend = self._frontend()
        wanted: dict[View, bool] = {"augmented": config.multi_view, "conceptual": config.semantic}
        self.views: tuple[View, ...] = tuple(view for view, on in wanted.items() if on)
        self.neighbours = config.k if config.semantic else 0
        if config.projects:
            self.img_proj, self.aud_proj = self._head(), self._head()

    @staticmethod
    def settings_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
        """What the keys of a state dict say of the settings: without projections, ``heads`` is False."""
        return {} if any(key.split(".")[0] in HEADS for key in state) else {"heads": False}

    def train(self, mode: bool = True) -> Self:
        """Switch modes; what is heard follows, as ``clip_seconds`` is for testing alone."""
        super().train(mode)
        self.frontend = self._frontend()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """As :meth:`loss`, so that wrappers for several devices see the call."""
        return self.loss(batch)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Both similarities' contrastive terms, summed over all pairs of kinds, and their sum as ``total``; scalars.

        ``localization`` contrasts the plain mean of the cosine map, ``alignment`` the cosine of the projected vectors
        (left out without ``feature_alignment``). Each kind passes the networks on its own, with its own batch
        statistics.

        In company the negatives of every kind are those of all processes. No official training code is released.

        Raises:
            UsageError: if the batch lacks one of ``views``, or the heads that ``feature_alignment`` needs are missing.
        """
        self._check(batch)
        pictures = [self.cells(batch.image), *(self.cells(batch.image_views[view]) for view in self.views)]
        sounds = [self.sound(batch.audio), *(self.sound(batch.audio_views[view]) for view in self.views)]
        terms = {"localization": self._contrast([mean_of_unit_cells(p) for p in pictures], [_unit(s) for s in sounds])}
        if self.config.feature_alignment:
            projected = [_unit(self.img_proj(p.mean(dim=(2, 3)))) for p in pictures]
            terms["alignment"] = self._contrast(projected, [_unit(self.aud_proj(s)) for s in sounds])
        return {**terms, "total": torch.stack([*terms.values()]).sum()}

    def localize(self, batch: Batch) -> Prediction:
        """Cosine of each sample's own cells and sound, ``[B, h, w]`` in ``score_range``; no temperature, no heads."""
        return Prediction(self.cosines(batch.image, batch.audio))

    def embed(self, batch: Batch) -> Embeddings:
        """Unit vectors to be compared by cosine: ``[B, head_dim]`` projected, or ``[B, 512]`` mean cell and sound."""
        picture, sound = self.cells(batch.image).mean(dim=(2, 3)), self.sound(batch.audio)
        if self.config.projects and self.config.retrieval != "avg":
            picture, sound = self.img_proj(picture), self.aud_proj(sound)
        return Embeddings(_unit(picture), _unit(sound))

    def _frontend(self) -> ScipySpectrogram:
        config = self.config
        window = Window(SECONDS, channels=config.channels)
        if config.clip_seconds is not None and not self.training:
            window = counted_window(SECONDS, config.clip_seconds, config.channels)
        return ScipySpectrogram(window, noverlap=353, amplitude="soundfile")  # datasets_lvs.py

    def _head(self) -> nn.Sequential:
        hidden = self.config.head_hidden
        return nn.Sequential(
            nn.Linear(self.imgnet.features, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, self.config.head_dim)
        )

    def _check(self, batch: Batch) -> None:
        missing = [v for v in self.views if v not in batch.image_views or v not in batch.audio_views]
        if missing:
            raise UsageError(
                f"Alignment trains on the {' and '.join(missing)} pictures and sounds too, but the batch has none: "
                "give them, or switch multi_view or semantic off"
            )
        if self.config.feature_alignment and not self.config.heads:
            raise UsageError("Alignment was built without its heads: train with heads, or without feature_alignment")

    def _contrast(self, pictures: list[Tensor], sounds: list[Tensor]) -> Tensor:
        """Sum over all kinds of pictures and of sounds; the negatives of a pair are the batch's sounds of its kind."""
        pictures, sounds = [gathered(p) for p in pictures], [gathered(s) for s in sounds]
        return torch.stack([self._term(p @ s.T / self.config.tau) for p, s in product(pictures, sounds)]).sum()

    def _term(self, scores: Tensor) -> Tensor:
        if self.config.symmetric:
            return info_nce(scores)
        return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def mean_of_unit_cells(cells: Tensor) -> Tensor:
    """``[B, D, h, w]`` to ``[B, D]``, whose product with a unit sound is the plain mean of the cosine map."""
    return _unit(cells).mean(dim=(2, 3))


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=1)
