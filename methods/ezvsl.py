"""EZ-VSL (Mo & Morgado, "Localizing Visual Sounds the Easy Way", ECCV 2022).

Two ResNet-18: the image gives 7 x 7 unit vectors, the sound one; their cosine is the map, and the best cell's cosine
is what the contrastive loss compares. Official code: stoneMo/EZ-VSL. Differences, by option only: ``width``,
``pool_temperature``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch.nn.functional as F
from torch import Tensor, nn

from avbench.errors import UsageError
from avbench.frontends import MIDDLE_3S, ScipySpectrogram, rolled_clip
from avbench.nets.company import gathered
from avbench.nets.contrastive import info_nce
from avbench.nets.resnet import Trunk, load_imagenet
from avbench.nets.two_encoders import (
    best_cell_similarity,
    compare,
    compare_own,
    mean_cell_similarity,
    pool_cells,
    projected_size,
    reset_two_encoders,
)
from avbench.registry import register_method
from avbench.types import Batch, Embeddings, Picture, Prediction


@dataclass(frozen=True)
class EZVSLConfig:
    """Settings of EZ-VSL; defaults are the official ones."""

    tau: float = 0.03  # official code: --tau
    out_dim: int = 512  # official code: --out_dim
    width: float = 1.0  # 1 = ResNet-18 as published; smaller for quick runs
    pretrained: str | None = None  # of the image trunk: "imagenet" (paper), a path, or None = from scratch
    pool_temperature: float = 0.0  # 0 = best cell (paper, eq. of the max); above 0 a soft maximum, a departure
    seconds: float = 3.0  # heard, from the middle; the official --audio_dur has no effect, datasets.py hears 3
    clip_seconds: float | None = None  # at test: None, or 10 (AVSBench 5) as SSLalignment re-evaluates
    picture: Picture = "squash"  # at test, datasets.py; SSLalignment re-evaluates with "tensor"
    retrieval: Literal["max", "avg"] = "max"  # "max" is what training compares; which one is published is unknown


@register_method(
    "ezvsl",
    config=EZVSLConfig,
    paper="arXiv:2203.09324",
    official="stoneMo/EZ-VSL",
    pretrained="image trunk: ImageNet classification",
)
class EZVSL(nn.Module):
    """EZ-VSL: cosine of the sound with each image cell, trained on the best cell of each pair."""

    droppings: ClassVar[dict[str, str]] = {}

    def __init__(self, config: EZVSLConfig) -> None:
        super().__init__()
        if min(config.tau, config.seconds) <= 0 or config.pool_temperature < 0:
            raise UsageError(
                "EZ-VSL needs tau and seconds above 0 and pool_temperature >= 0, got "
                f"{config.tau}, {config.seconds} and {config.pool_temperature}"
            )
        self.config = config
        self.picture = config.picture
        self.frontend = self._frontend()
        self.score_range = (-1 / config.tau, 1 / config.tau)
        self.imgnet = Trunk(3, width=config.width)
        self.img_proj = nn.Conv2d(self.imgnet.features, config.out_dim, kernel_size=1)
        self.audnet = Trunk(1, width=config.width)
        self.aud_proj = nn.Linear(self.audnet.features, config.out_dim)
        reset_two_encoders(self.audnet, [self.img_proj], [self.aud_proj])
        if config.pretrained is not None:
            load_imagenet(self.imgnet, config.pretrained)

    @staticmethod
    def settings_of(state: Mapping[str, Tensor]) -> dict[str, int]:
        """The settings that an official state dict's shapes give away: ``out_dim``."""
        return projected_size(state, "img_proj.weight")

    def train(self, mode: bool = True) -> Self:
        """Switch modes; what is heard follows, as ``clip_seconds`` is for testing alone."""
        super().train(mode)
        self.frontend = self._frontend()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """As :meth:`loss`, so that wrappers for several devices see the call."""
        return self.loss(batch)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Symmetric InfoNCE over the batch, both directions summed (not halved); scalars.

        In company the batch is that of all processes. The official code gathers nothing on several devices: each
        contrasts its own rows, as negatives ``"per-device"`` does.
        """
        cells, sounds = (gathered(rows) for rows in self._encode(batch))
        logits = pool_cells(compare(cells, sounds), self.config.pool_temperature) / self.config.tau
        contrastive = info_nce(logits)
        return {"contrastive": contrastive, "total": contrastive}

    def localize(self, batch: Batch) -> Prediction:
        """Cosine over ``tau`` of each sample's own cells and sound, ``[B, h, w]`` in ``score_range``."""
        return Prediction(compare_own(*self._encode(batch)) / self.config.tau)

    def embed(self, batch: Batch) -> Embeddings:
        """Unit cells ``[B, out_dim, h, w]`` and unit sounds ``[B, out_dim]``."""
        return Embeddings(*self._encode(batch))

    def similarity(self, images: Tensor, audios: Tensor) -> Tensor:
        """``[N, out_dim, h, w]`` cells against ``[M, out_dim]`` sounds: ``[N, M]`` cosines in [-1, 1].

        ``retrieval="max"`` takes the best cell, ``"avg"`` the direction of the mean of the unit cells.
        """
        if self.config.retrieval == "avg":
            return mean_cell_similarity(images, audios)
        return best_cell_similarity(images, audios)

    def _frontend(self) -> ScipySpectrogram:
        if self.training or self.config.clip_seconds is None:
            return ScipySpectrogram(replace(MIDDLE_3S, seconds=self.config.seconds))
        return rolled_clip(self.config.clip_seconds)

    def _encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        cells = self.img_proj(self.imgnet(batch.image))
        sounds = self.aud_proj(self.audnet(batch.audio).amax(dim=(2, 3)))
        return F.normalize(cells, dim=1), F.normalize(sounds, dim=1)
