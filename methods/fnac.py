"""FNAC (Sun et al., "Learning Audio-Visual Source Localization via False Negative Aware Contrastive Learning").

CVPR 2023. EZ-VSL with image dropout and three terms that pull the table of image-sound similarities of a batch towards
the tables within each modality, so that clips that sound or look alike are not pushed apart. Official code:
OpenNLPLab/FNAC_AVL. Differences, by option only: ``width``, ``pool_temperature``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from avbench.errors import UsageError
from avbench.frontends import ScipySpectrogram
from avbench.nets.company import Dropout, gathered
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

EPSILON = 1e-5
"""Added to each map's range before it is divided by it (official code, ``model.py``)."""


@dataclass(frozen=True)
class FNACConfig:
    """Settings of FNAC; defaults are those of the official training scripts unless said otherwise."""

    tau: float = 0.03  # official code: --tau
    out_dim: int = 512  # official code: --out_dim
    dropout_img: float = 0.9  # --dropout_img; on single elements of the trunk's output
    dropout_aud: float = 0.0  # --dropout_aud; on the pooled sound
    fns1_weight: float = 100.0  # official scripts: false negatives by sound; 0 leaves the term out
    tns_weight: float = 100.0  # official scripts: true negatives by foreground; 0 leaves the term out
    fns2_weight: float = 100.0  # official scripts: false negatives by image; 0 leaves the term out
    foreground_threshold: float = 0.6  # model.py; cells strictly above it are foreground
    warmup: int = 5  # official scripts: epochs on the contrastive term alone
    picture: Picture = "squash"  # at test, datasets.py; SSLalignment re-evaluates with "tensor"
    width: float = 1.0  # 1 = ResNet-18 as published; smaller for quick runs
    pretrained: str | None = None  # of the image trunk: "imagenet" (paper), a path, or None = from scratch
    pool_temperature: float = 0.0  # 0 = best cell (official code); above 0 a soft maximum, a departure
    retrieval: Literal["max", "avg"] = "max"  # "max" is what training compares; which one is published is unknown

    def __post_init__(self) -> None:
        if self.tau <= 0 or self.pool_temperature < 0 or self.warmup < 0:
            raise UsageError(
                "FNAC needs tau > 0, pool_temperature >= 0 and warmup >= 0, got "
                f"{self.tau}, {self.pool_temperature} and {self.warmup}"
            )
        if not (0 <= self.dropout_img <= 1 and 0 <= self.dropout_aud <= 1):
            raise UsageError(
                f"FNAC needs dropout_img and dropout_aud in [0, 1], got {self.dropout_img} and {self.dropout_aud}"
            )


@register_method(
    "fnac",
    config=FNACConfig,
    paper="CVPR 2023",
    official="OpenNLPLab/FNAC_AVL",
    labels="none",
    pretrained="image trunk: ImageNet classification",
)
class FNAC(nn.Module):
    """FNAC: EZ-VSL with similarities within the modalities as guides against false negatives."""

    droppings: ClassVar[dict[str, str]] = {}

    def __init__(self, config: FNACConfig) -> None:
        super().__init__()
        self.config = config
        self.picture = config.picture
        self.frontend = ScipySpectrogram()
        self.score_range = (-1 / config.tau, 1 / config.tau)
        self.imgnet = Trunk(3, width=config.width)
        self.img_dropout = Dropout(config.dropout_img)
        self.img_proj = nn.Conv2d(self.imgnet.features, config.out_dim, kernel_size=1)
        self.audnet = Trunk(1, width=config.width)
        self.aud_dropout = Dropout(config.dropout_aud)
        self.aud_proj = nn.Linear(self.audnet.features, config.out_dim)
        self.warming = False
        reset_two_encoders(self.audnet, [self.img_proj], [self.aud_proj])
        if config.pretrained is not None:
            load_imagenet(self.imgnet, config.pretrained)

    @staticmethod
    def settings_of(state: Mapping[str, Tensor]) -> dict[str, int]:
        """The settings that an official state dict's shapes give away: ``out_dim``."""
        return projected_size(state, "img_proj.weight")

    def start_epoch(self, epoch: int) -> None:
        """Note the epoch, counted from 0: below ``warmup`` the total is the contrastive term alone."""
        self.warming = epoch < self.config.warmup

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """As :meth:`loss`, so that wrappers for several devices see the call."""
        return self.loss(batch)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Contrastive, ``fns1``, ``tns`` and ``fns2`` terms, unweighted, and their weighted total; scalars.

        ``fns1`` and ``fns2`` compare the sounds' and the images' similarities with those across the modalities,
        ``tns`` the sounds' with the foregrounds'; each is the mean absolute difference of two row-wise softmaxes
        ``[B, B]``, with gradient into both (official code: fnac1, fnac3, fnac2). A term of weight 0 is neither
        computed nor named. In the warm-up epochs the terms are named but left out of the total; where
        :meth:`start_epoch` was never called all count.

        In company all tables are of all processes' rows. The official code gathers nothing on several devices, as
        negatives ``"per-device"`` does.
        """
        cells, sounds = (gathered(rows) for rows in self._encode(batch))
        cross = pool_cells(compare(cells, sounds), self.config.pool_temperature) / self.config.tau
        terms = {"contrastive": info_nce(cross)} | self._guides(cells, sounds, cross)
        total = terms["contrastive"]
        if not self.warming:
            for name, weight in self._weights().items():
                total = total + weight * terms[name]
        return {**terms, "total": total}

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

    def _encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        cells = self.img_proj(self.img_dropout(self.imgnet(batch.image)))
        sounds = self.aud_proj(self.aud_dropout(self.audnet(batch.audio).amax(dim=(2, 3))))
        return F.normalize(cells, dim=1), F.normalize(sounds, dim=1)

    def _weights(self) -> dict[str, float]:
        config = self.config
        weights = {"fns1": config.fns1_weight, "tns": config.tns_weight, "fns2": config.fns2_weight}
        return {name: weight for name, weight in weights.items() if weight}

    def _guides(self, cells: Tensor, sounds: Tensor, cross: Tensor) -> dict[str, Tensor]:
        tau, wanted, terms = self.config.tau, self._weights(), {}
        crossed, heard = cross.softmax(dim=1), likeness(sounds, tau)
        if "fns1" in wanted:
            terms["fns1"] = F.l1_loss(heard, crossed)
        if "tns" in wanted:
            maps = compare_own(cells, sounds) / tau
            front = foreground(cells, maps, threshold=self.config.foreground_threshold)
            terms["tns"] = F.l1_loss(heard, likeness(front, tau))
        if "fns2" in wanted:
            terms["fns2"] = F.l1_loss(likeness(cells.mean(dim=(2, 3)), tau), crossed)
        return terms


def likeness(vectors: Tensor, tau: float) -> Tensor:
    """Row-wise softmax of the inner products of ``[B, C]`` vectors over ``tau``, themselves included: ``[B, B]``."""
    return (vectors @ vectors.T / tau).softmax(dim=1)


def foreground(cells: Tensor, maps: Tensor, *, threshold: float) -> Tensor:
    """Sum of the cells whose score, rescaled per map to about [0, 1], is > ``threshold``, over the number of all cells.

    Args:
        cells: ``[B, C, h, w]``.
        maps: ``[B, h, w]`` scores of the cells; no gradient flows into them.
        threshold: compared with ``(score - min) / (max - min + 1e-5)``; a constant map has no foreground.

    Returns: ``[B, C]``, not normalised.
    """
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    mask = (maps - low) / (high - low + EPSILON) > threshold
    return (cells * mask[:, None]).mean(dim=(2, 3))
