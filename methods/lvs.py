"""LVS (Chen et al., "Localizing Visual Sounds the Hard Way", CVPR 2021).

The cosine of one sound vector and 14 x 14 image cells, split by two soft thresholds into sounding cells, silent cells
(hard negatives within the picture) and a ring between them that is left out. Official code:
hche11/Localizing-Visual-Sounds-the-Hard-Way, which tests only: the training step is that of later methods that reuse
its logits. Differences: layers that no pass uses are not built (``droppings``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.errors import UsageError
from avbench.frontends import ScipySpectrogram, counted_window
from avbench.nets.avenet import AVENet
from avbench.nets.company import gathered
from avbench.nets.precision import at_least_float32
from avbench.registry import register_method
from avbench.types import Batch, Embeddings, Picture, Prediction, Window

WHOLE_CLIP = 10.0
"""Seconds from which on a clip is heard from its start, as the official test does; shorter cuts are central."""
OWN_PAIR = -99.0
"""Factor of a picture's own sound among its easy negatives: 1 - 100, which removes it (official code)."""
BLOCK = 16
"""Images compared with all sounds at once in ``similarity``: bounds the memory, changes no value."""


@dataclass(frozen=True)
class LVSConfig:
    """Settings of LVS; defaults are those of the official code unless said otherwise."""

    epsilon: float = 0.65  # cosine above which a cell sounds; model.py
    epsilon2: float = 0.4  # cosine below which a cell is silent; model.py
    tau: float = 0.03  # softness of both thresholds; model.py
    temperature: float = 0.07  # of the logits; model.py
    trimap: bool = True  # False: silent is whatever does not sound, without a ring between; model.py, --trimap
    hard_negatives: bool = True  # False: other sounds are the only negatives; model.py, --Neg
    loss_form: Literal["code", "paper"] = (
        "code"  # "paper": section 3 as recalled, unverified; follow-ups use the code's
    )
    seconds: float = WHOLE_CLIP  # heard at test, dataloader.py; 3 in the re-evaluation by SSLalignment
    train_seconds: float = 3.0  # heard in training, from the middle; paper, unverified
    clip_seconds: float | None = None  # at test: None, or 10 (AVSBench 5) as SSLalignment re-evaluates
    channels: Literal["mean", "first"] = "mean"  # "first": the re-evaluation; the official loader fails on several
    picture: Picture = "squash"  # at test; "centre-crop": official, dataloader.py; "tensor": the re-evaluation
    noverlap: int = 274  # of the spectrogram, dataloader.py; 353 in the re-evaluation by SSLalignment
    pretrained: str | None = None  # of the image trunk: None (official code), "imagenet" (paper, unverified) or a path
    retrieval: Literal["avg", "soft", "max"] = "avg"  # mean feature, masked mean or best cell; none is published
    width: float = 1.0  # 1 = ResNet-18 as published; smaller for quick runs

    def __post_init__(self) -> None:
        if min(self.tau, self.temperature) <= 0:
            raise UsageError(f"LVS needs tau and temperature above 0, got {self.tau} and {self.temperature}")


@register_method(
    "lvs",
    config=LVSConfig,
    paper="arXiv:2104.02691",
    official="hche11/Localizing-Visual-Sounds-the-Hard-Way",
    pretrained="none in the official code; the image trunk on ImageNet in the paper (unverified)",
)
class LVS(AVENet):
    """LVS: cosine of the sound with each image cell, contrasted with other sounds and the picture's silent cells."""

    score_range = (0.0, 1.0)

    def __init__(self, config: LVSConfig) -> None:
        super().__init__(width=config.width, pretrained=config.pretrained)
        self.config = config
        self.picture = config.picture
        self.frontend = self._frontend()

    def train(self, mode: bool = True) -> Self:
        """Switch modes; the part of the clip that is heard follows, ``train_seconds`` or ``seconds``."""
        super().train(mode)
        self.frontend = self._frontend()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """As :meth:`loss`, so that wrappers for several devices see the call."""
        return self.loss(batch)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of :func:`logits` with column 0, or :func:`paper_loss`; scalars, means over the batch.

        In company the batch is that of all processes, and each picture's easy negatives are all its other sounds. No
        official training code is released.
        """
        cells, sounds = gathered(self.cells(batch.image)), gathered(self.sound(batch.audio))
        cosines = at_least_float32(all_cosines(cells, sounds))
        if self.config.loss_form == "paper":
            contrastive = paper_loss(cosines, self.config)
        else:
            scores = logits(cosines, self.config)
            contrastive = F.cross_entropy(scores, scores.new_zeros(len(scores), dtype=torch.long))
        return {"contrastive": contrastive, "total": contrastive}

    def localize(self, batch: Batch) -> Prediction:
        """Cosine of each sample's own cells and sound, ``[B, h, w]`` in ``score_range``; no temperature."""
        return Prediction(self.cosines(batch.image, batch.audio))

    def embed(self, batch: Batch) -> Embeddings:
        """Unit sounds ``[B, D]``; unit cells ``[B, D, h, w]``, or with ``retrieval="avg"`` unit means ``[B, D]``."""
        cells = self.cells(batch.image)
        if self.config.retrieval == "avg":
            cells = cells.mean(dim=(2, 3))
        return Embeddings(F.normalize(cells, dim=1), F.normalize(self.sound(batch.audio), dim=1))

    def similarity(self, images: Tensor, audios: Tensor) -> Tensor:
        """Embeddings of N images against ``[M, D]`` sounds: ``[N, M]`` in [0, 1].

        ``retrieval="avg"`` is the cosine with the mean feature, ``"max"`` that with the best cell, ``"soft"`` the mean
        cosine of the sounding cells, which the logits compare.
        """
        if self.config.retrieval == "avg":
            return images @ audios.T
        return torch.cat([self._compared(block, audios) for block in torch.split(images, BLOCK)])

    def _compared(self, cells: Tensor, sounds: Tensor) -> Tensor:
        cosines = torch.einsum("nchw,mc->nmhw", cells, sounds)
        if self.config.retrieval == "max":
            return cosines.amax(dim=(2, 3))
        return masked_mean(cosines, trimap(cosines, self.config)[0])

    def _frontend(self) -> ScipySpectrogram:
        return ScipySpectrogram(self._window(), noverlap=self.config.noverlap, amplitude="soundfile")

    def _window(self) -> Window:
        config = self.config
        if config.clip_seconds is not None and not self.training:
            return counted_window(config.seconds, config.clip_seconds, config.channels)
        seconds = config.train_seconds if self.training else config.seconds
        return Window(seconds, "start" if seconds >= WHOLE_CLIP else "centre", config.channels)


def all_cosines(cells: Tensor, sounds: Tensor) -> Tensor:
    """``[N, D, h, w]`` cells with ``[M, D]`` sounds, neither normalised: cosines ``[N, M, h, w]``."""
    return torch.einsum("nchw,mc->nmhw", F.normalize(cells, dim=1), F.normalize(sounds, dim=1))


def trimap(cosines: Tensor, config: LVSConfig) -> tuple[Tensor, Tensor]:
    """How much each cell counts as sounding and as silent (official ``Pos`` and ``Neg``).

    Args:
        cosines: of any shape.
        config: of which ``epsilon``, ``epsilon2``, ``tau`` and ``trimap`` are read.

    Returns: two tensors of that shape in (0, 1), the gradient passing through both.
    """
    above = (cosines - config.epsilon) / config.tau
    below = (config.epsilon2 - cosines) / config.tau if config.trimap else -above
    # 1 - sigmoid(x) as sigmoid(-x): the former rounds to 0 from about 0.9 on, and the mean over silent cells to 0 / 0.
    return above.sigmoid(), below.sigmoid()


def masked_mean(cosines: Tensor, weights: Tensor) -> Tensor:
    """Mean over the last two dimensions by ``weights``, with nothing added to the denominator (official code)."""
    return (weights * cosines).sum(dim=(-2, -1)) / weights.sum(dim=(-2, -1))


def logits(cosines: Tensor, config: LVSConfig) -> Tensor:
    """Scores of each picture's own sounding cells, of all sounds of the batch, and of its own silent cells.

    Args:
        cosines: ``[B, B, h, w]`` as :func:`all_cosines`; row n and column n belong together.
        config: as for :func:`trimap`, with ``temperature`` and ``hard_negatives``.

    Returns:
        ``[B, 1 + B + 1]`` over the temperature: column 0 is right; column 1 + m is the masked mean with sound m, times
        -99 where m is the own one; the last is the mean of the silent cells, left out without hard negatives.
    """
    own = torch.eye(len(cosines), dtype=cosines.dtype, device=cosines.device)
    positive, hard = _own_pairs(cosines, config)
    easy = masked_mean(cosines, trimap(cosines, config)[0]) * (1 + (OWN_PAIR - 1) * own)
    columns = [positive[:, None], easy] + ([hard[:, None]] if config.hard_negatives else [])
    return torch.cat(columns, dim=1) / config.temperature


def paper_loss(cosines: Tensor, config: LVSConfig) -> Tensor:
    """The paper's form (section 3, recalled, unverified): ``-log(exp P / (exp P + exp N))``, mean over the batch.

    P is the mean over the own sounding cells. N is the sum over the other pictures of the plain mean of their cosines
    with the own sound, plus, with hard negatives, the mean over the own silent cells. There is no temperature.

    Args:
        cosines: ``[B, B, h, w]``, pictures by sounds.
        config: as for :func:`trimap`, with ``hard_negatives``.

    Returns: a scalar.
    """
    positive, hard = _own_pairs(cosines, config)
    plain = cosines.mean(dim=(2, 3))
    negative = plain.sum(dim=0) - plain.diagonal()
    if config.hard_negatives:
        negative = negative + hard
    return F.softplus(negative - positive).mean()


def _own_pairs(cosines: Tensor, config: LVSConfig) -> tuple[Tensor, Tensor]:
    """``[B]`` each: mean of the sounding and of the silent cells of the matching pairs."""
    own = torch.einsum("nnhw->nhw", cosines)
    sounding, silent = trimap(own, config)
    return masked_mean(own, sounding), masked_mean(own, silent)
