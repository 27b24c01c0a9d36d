"""SLAVC (Mo & Morgado, "A Closer Look at Weakly-Supervised Audio-Visual Source Localization", NeurIPS 2022).

EZ-VSL with heavy image dropout, slowly following (momentum) target encoders, and a score in two spaces: the first says
which sound a cell belongs to, the second where in the image a sound is. Official code: stoneMo/SLAVC. Differences, by
option only: ``width``, ``symmetric``, ``use_momentum``, ``supervised``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.errors import UsageError
from avbench.frontends import ScipySpectrogram, rolled_clip
from avbench.nets.company import Dropout, begins_batch, gathered
from avbench.nets.momentum import follow, momentum_copy
from avbench.nets.precision import at_least_float32
from avbench.nets.resnet import Trunk, load_imagenet
from avbench.nets.two_encoders import (
    best_cell_similarity,
    compare,
    compare_own,
    mean_cell_similarity,
    projected_size,
    reset_two_encoders,
)
from avbench.registry import register_method
from avbench.types import Batch, Embeddings, Picture, Prediction

IMAGE_PARTS = ("imgnet", "img_proj1", "img_proj2")
AUDIO_PARTS = ("audnet", "aud_proj1", "aud_proj2")
SLOW = "momentum_"
"""Prefix of the slowly following parts (official names)."""

EXTREME = 1e-6
"""Scores this near to 0 or 1 pass no gradient in the corrected supervised term: the logarithm's slope ends there."""


@dataclass(frozen=True)
class SLAVCConfig:
    """Settings of SLAVC; defaults are those of the official ``train_vggsound144k.sh`` unless said otherwise."""

    tau: float = 0.03  # --tau
    out_dim: int = 512  # --out_dim
    dropout_img: float = 0.9  # --dropout_img; on single elements of the trunk's output
    dropout_aud: float = 0.0  # --dropout_aud; on the pooled sound
    m_img: float = 0.999  # --m_img; momentum of the image trunk and its projections
    m_aud: float = 0.999  # --m_aud; momentum of the audio trunk and its projections
    use_momentum: bool = True  # False builds no momentum copy and contrasts the online features with themselves
    use_mom_eval: bool = False  # released test commands; True localises with the momentum parts, as training validates
    symmetric: bool = False  # False: both directions contrast sounds (model.py); True: sound to image contrasts images
    supervised: Literal["off", "official", "corrected", "squared"] = "off"  # --use_supervised_data; see supervise()
    clip_seconds: float | None = None  # at test: None, or 10 (AVSBench 5) as SSLalignment re-evaluates
    picture: Picture = "squash"  # at test, datasets.py; SSLalignment re-evaluates with "tensor"
    width: float = 1.0  # 1 = ResNet-18 as published; smaller for quick runs
    pretrained: str | None = None  # of the image trunk: "imagenet" (paper), a path, or None = from scratch
    retrieval: Literal["both", "correspondence", "avg"] = "both"  # spaces that similarity compares; none is published

    def __post_init__(self) -> None:
        if self.tau <= 0:
            raise UsageError(f"SLAVC needs tau > 0, got {self.tau}")
        for name in ("dropout_img", "dropout_aud", "m_img", "m_aud"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"SLAVC needs {name} in [0, 1], got {getattr(self, name)}")
        if self.use_mom_eval and not self.use_momentum:
            raise UsageError("SLAVC has no momentum parts to localise with: drop use_mom_eval, or set use_momentum")


class Features(NamedTuple):
    """A batch in both spaces: correspondence (which sound) first, localization (which cell) second."""

    cells: tuple[Tensor, Tensor]
    """Unit cells ``[B, out_dim, h, w]``."""
    sounds: tuple[Tensor, Tensor]
    """Unit sounds ``[B, out_dim]``."""


@register_method(
    "slavc",
    config=SLAVCConfig,
    paper="arXiv:2209.09634",
    official="stoneMo/SLAVC",
    labels="none; with the option supervised the boxes of annotated clips",
    pretrained="image trunk: ImageNet classification",
)
class SLAVC(nn.Module):
    """SLAVC: which sound and which cell in two spaces, against slowly following targets."""

    droppings: ClassVar[dict[str, str]] = {
        r"momentum_(img|aud)(net|_proj[12])\..+": "slowly following copies, which use_momentum = false does not build",
    }

    def __init__(self, config: SLAVCConfig) -> None:
        super().__init__()
        self.config = config
        self.picture = config.picture
        self.frontend = self._frontend()
        self.score_range = (-1 / config.tau, 1 / config.tau)
        self.wants_truth = config.supervised != "off"
        self.imgnet = Trunk(3, width=config.width)
        self.audnet = Trunk(1, width=config.width)
        self.img_dropout = Dropout(config.dropout_img)
        self.aud_dropout = Dropout(config.dropout_aud)
        self.img_proj1, self.img_proj2 = (nn.Conv2d(self.imgnet.features, config.out_dim, 1) for _ in range(2))
        self.aud_proj1, self.aud_proj2 = (nn.Linear(self.audnet.features, config.out_dim) for _ in range(2))
        reset_two_encoders(self.audnet, [self.img_proj1, self.img_proj2], [self.aud_proj1, self.aud_proj2])
        if config.pretrained is not None:
            load_imagenet(self.imgnet, config.pretrained)
        if config.use_momentum:
            for name in (*IMAGE_PARTS, *AUDIO_PARTS):
                self.add_module(SLOW + name, momentum_copy(self.get_submodule(name)))

    @staticmethod
    def settings_of(state: Mapping[str, Tensor]) -> dict[str, int]:
        """The settings that an official state dict's shapes give away: ``out_dim``."""
        return projected_size(state, "img_proj1.weight")

    def train(self, mode: bool = True) -> Self:
        """Switch modes; what is heard follows, as ``clip_seconds`` is for testing alone."""
        super().train(mode)
        self.frontend = self._frontend()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """As :meth:`loss`, so that wrappers for several devices see the call."""
        return self.loss(batch)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Terms ``i2a`` and ``a2i`` (and ``supervised``), each of weight 1, and their total; scalars.

        In training mode each call first moves the momentum parts, before they see the batch (of a batch that passes in
        parts, the first of them does); their batch norms follow their own pass alone.

        In company the contrasts are over all processes' rows, and so are the supervised term's smallest and largest
        score. The official code gathers nothing on several devices, as negatives ``"per-device"`` does.

        Raises:
            UsageError: if ``supervised`` is on and the batch brings no truth.
        """
        online = _of_all(self._encode(batch))
        targets = self._targets(batch) if self.config.use_momentum else online
        terms = {"i2a": self._contrast(Features(online.cells, targets.sounds))}
        terms["a2i"] = self._contrast(Features(targets.cells, online.sounds), over_images=self.config.symmetric)
        total = terms["i2a"] + terms["a2i"]
        if self.wants_truth:
            terms["supervised"] = self._supervised(batch, online, targets)
            total = total + terms["supervised"]
        return {**terms, "total": total}

    def localize(self, batch: Batch) -> Prediction:
        """Mean over both spaces of the own pair's cosine, over ``tau``: ``[B, h, w]`` in ``score_range``."""
        return Prediction(self._scores(self._encode(batch, slow=self.config.use_mom_eval)))

    def embed(self, batch: Batch) -> Embeddings:
        """Unit cells ``[B, C, h, w]`` and unit sounds ``[B, C]``, from the parts that localise.

        C is ``out_dim`` with ``retrieval="correspondence"``, the first space alone; otherwise the two spaces stand one
        after the other, C is ``2 * out_dim``, and an inner product is the mean of the two cosines.
        """
        found = self._encode(batch, slow=self.config.use_mom_eval)
        if self.config.retrieval == "correspondence":
            return Embeddings(found.cells[0], found.sounds[0])
        return Embeddings(torch.cat(found.cells, dim=1) / 2**0.5, torch.cat(found.sounds, dim=1) / 2**0.5)

    def similarity(self, images: Tensor, audios: Tensor) -> Tensor:
        """``[N, C, h, w]`` cells against ``[M, C]`` sounds: ``[N, M]`` cosines in [-1, 1].

        The best cell's; with ``retrieval="avg"`` that of the mean of the unit cells.
        """
        if self.config.retrieval == "avg":
            return mean_cell_similarity(images, audios)
        return best_cell_similarity(images, audios)

    def _frontend(self) -> ScipySpectrogram:
        clip = None if self.training else self.config.clip_seconds
        return ScipySpectrogram() if clip is None else rolled_clip(clip)

    def _encode(self, batch: Batch, *, slow: bool = False) -> Features:
        def part(name: str) -> nn.Module:
            return self.get_submodule(SLOW + name if slow else name)

        cells = self.img_dropout(part("imgnet")(batch.image))
        sounds = self.aud_dropout(part("audnet")(batch.audio).amax(dim=(2, 3)))
        return Features(
            (F.normalize(part("img_proj1")(cells), dim=1), F.normalize(part("img_proj2")(cells), dim=1)),
            (F.normalize(part("aud_proj1")(sounds), dim=1), F.normalize(part("aud_proj2")(sounds), dim=1)),
        )

    @torch.no_grad()
    def _targets(self, batch: Batch) -> Features:
        if self.training and begins_batch():
            for names, momentum in ((IMAGE_PARTS, self.config.m_img), (AUDIO_PARTS, self.config.m_aud)):
                for name in names:
                    follow(self.get_submodule(SLOW + name), self.get_submodule(name), momentum)
        return _of_all(self._encode(batch, slow=True))

    def _contrast(self, pairs: Features, *, over_images: bool = False) -> Tensor:
        which, where = (compare(c, s).flatten(2) / self.config.tau for c, s in zip(*pairs, strict=True))
        matches = match_log_probability(which, where, over=0 if over_images else 1)
        own = torch.arange(len(matches), device=matches.device)
        return F.cross_entropy(matches.T if over_images else matches, own)

    def _scores(self, found: Features) -> Tensor:
        first, second = (compare_own(c, s) for c, s in zip(*found, strict=True))
        return (first + second) / 2 / self.config.tau

    def _supervised(self, batch: Batch, online: Features, targets: Features) -> Tensor:
        form = self.config.supervised
        if batch.truth is None or batch.annotated is None:
            raise UsageError(
                f"SLAVC with supervised = {form} needs annotated clips, the batch has none: train on a split with boxes"
            )
        truth, annotated = gathered(batch.truth), gathered(batch.annotated)
        if form != "official":
            return supervise(self._scores(online), truth, annotated, squared=form == "squared")
        with torch.no_grad():
            scores = self._scores(targets if self.config.use_mom_eval else online)
            return supervise(scores, truth, annotated)


def _of_all(own: Features) -> Features:
    """The features of all processes' rows."""
    (which_cells, where_cells), (which_sounds, where_sounds) = own
    return Features((gathered(which_cells), gathered(where_cells)), (gathered(which_sounds), gathered(where_sounds)))


def match_log_probability(which: Tensor, where: Tensor, *, over: int = 1) -> Tensor:
    """Log of the sum over cells of ``softmax(which)`` over dimension ``over`` times ``softmax(where)`` over cells.

    Args:
        which: ``[N, M, K]`` logits of N images, M sounds and K cells.
        where: the same, in the second space.
        over: 1 contrasts the sounds, 0 the images.

    Returns: ``[N, M]``, finite: the products are formed as sums of logarithms.
    """
    return (which.log_softmax(dim=over) + where.log_softmax(dim=2)).logsumexp(dim=2)


def supervise(scores: Tensor, truth: Tensor, annotated: Tensor, *, squared: bool = False) -> Tensor:
    """How far the maps are from the consensus, averaged over all pixels; rows without annotation count 0.

    Maps are upsampled (bicubic, align_corners=False) and rescaled so that the smallest score of the whole batch is 0
    and the largest 1, as ``train.py`` of the official code does; a batch of one constant score becomes 0. All of it is
    computed in float32 at least, whatever the caller's autocast.

    Args:
        scores: ``[B, h, w]``, of any scale.
        truth: ``[B, H, W]`` consensus weights in [0, 1].
        annotated: ``[B]`` bool, the rows that have a truth.
        squared: the squared difference (supplementary, eq. 9) instead of the binary cross-entropy (official code).
            The latter passes no gradient within 1e-6 of 0 and 1.

    Returns: a scalar. The official code computes its maps without gradient, so that its term trains nothing.
    """
    with torch.autocast(scores.device.type, enabled=False):
        large = F.interpolate(
            at_least_float32(scores)[:, None], size=truth.shape[-2:], mode="bicubic", align_corners=False
        )[:, 0]
        low, high = large.amin(), large.amax()
        shares = (large - low) / (high - low).clamp_min(torch.finfo(large.dtype).tiny)
        if squared:
            pixels = (shares - truth).square()
        else:
            inside = (shares > EXTREME) & (shares < 1 - EXTREME)
            pixels = F.binary_cross_entropy(torch.where(inside, shares, shares.detach()), truth, reduction="none")
        return (pixels * annotated[:, None, None]).mean()
