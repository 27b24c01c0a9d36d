"""Carries a protocol out: raw maps and truth to per-sample values, per-sample values to the numbers of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from avbench.metrics.confidence import top_quarter
from avbench.metrics.consensus_iou import consensus_iou
from avbench.metrics.maps import minmax_double_negation, minmax_guarded, on_range, upsample
from avbench.metrics.masks import absolute_mask, rank_mask, saturating_mask
from avbench.metrics.protocols import Fusion, Protocol, Upsampling
from avbench.metrics.success import area_under_success, mean_ciou, success_rate

CHUNK = 8
"""Maps handled at once: few enough to stay in the processor's cache."""

Range = tuple[float, float]
Size = int | tuple[int, int]

_NORMALISE: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda maps: maps,
    "minmax_guarded": minmax_guarded,
    "minmax_double_negation": minmax_double_negation,
}
_THRESHOLD: dict[str, Callable[..., Tensor]] = {
    "rank": rank_mask,
    "rank_saturating": saturating_mask,
    "absolute": absolute_mask,
}


@dataclass(frozen=True)
class RawMaps:
    """Maps as a method gave them, with what it says of their range."""

    values: Tensor
    """``[B, h, w]`` scores at their native size, higher is louder."""
    score_range: Range | None = None
    """The method's ``score_range``: what its maps can reach at either end; None where it states none."""

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> RawMaps:
        return RawMaps(self.values[rows], self.score_range)

    @property
    def shared(self) -> bool:
        """Whether all samples have one map between them, as the fixed controls do."""
        return len(self.values) > 1 and self.values.stride(0) == 0


def measure(
    maps: RawMaps, truth: Tensor, protocol: Protocol, *, priors: Sequence[RawMaps] = (), confidence: bool = False
) -> dict[str, Tensor]:
    """All per-sample values under a protocol, each map being upsampled once per convention.

    Args:
        maps: Of B samples.
        truth: ``[B, H, W]`` weights in [0, 1] on the canvas, of any type; same device as the maps.
        protocol: From :func:`~avbench.metrics.protocols.get_protocol`, on its split (:meth:`Protocol.on`).
        priors: Further maps of the same samples to fuse in under the protocol's rule, each at its native size; of
            several, each scaled as a single one would be, the mean is fused in (JSA ``test_model.py``, all combined).
        confidence: Measure that too.

    Returns:
        ``ciou``, ``[B]`` float64 in [0, 1]: NaN where mask and truth are both empty. ``confidence`` on request, ``[B]``
        float64 on a scale that the samples share, by the protocol's rule: NaN for a map with a NaN pixel.

    Raises:
        ValueError: if the shapes do not fit, or if a prior is given to a protocol without fusion.
    """
    if truth.ndim != 3 or len(truth) != len(maps):
        raise ValueError(
            f"truth must be [B, H, W] with one map each, got {list(truth.shape)} for {list(maps.values.shape)}"
        )
    for prior in priors:
        if len(prior) != len(maps):
            raise ValueError(f"a prior needs one map per sample, got {len(prior)} for {len(maps)}")
    found: list[dict[str, Tensor]] = []
    for start in range(0, max(len(maps), 1), CHUNK):
        rows = slice(start, start + CHUNK)
        weights = truth[rows]
        chunk = _Chunk(maps[rows], [prior[rows] for prior in priors], (truth.shape[1], truth.shape[2]))
        values = {"ciou": consensus_iou(chunk.mask(protocol), weights)}
        if confidence:
            values["confidence"] = chunk.confidence(protocol)
        found.append(values)
    return {name: torch.cat([values[name] for values in found]) for name in found[0]}


def score(maps: Tensor, truth: Tensor, protocol: Protocol, *, prior: Tensor | None = None) -> Tensor:
    """The consensus IoU of each sample under a protocol, for maps of which no range is known.

    Args:
        maps: ``[B, h, w]`` raw scores at their native size, higher is louder.
        truth: As in :func:`measure`.
        protocol: As in :func:`measure`.
        prior: ``[B, h', w']``, as one of those in :func:`measure`.

    Returns:
        ``[B]`` float64 in [0, 1]; NaN where mask and truth are both empty. A constant map predicts the whole canvas
        under a ``>=`` rank rule; a map with a NaN cell predicts nothing.

    Raises:
        ValueError: if the shapes do not fit, or if a prior is given to a protocol without fusion.
    """
    return measure(RawMaps(maps), truth, protocol, priors=[] if prior is None else [RawMaps(prior)])["ciou"]


def predicted_mask(
    maps: Tensor | RawMaps, protocol: Protocol, *, prior: Tensor | RawMaps | None = None, size: Size = 224
) -> Tensor:
    """The pixels that each map predicts under a protocol: upsample, scale, normalise, fuse, threshold.

    Args:
        maps: ``[B, h, w]``, with their range where the protocol asks for one and the method states one.
        protocol: As in :func:`measure`.
        prior: As in :func:`score`.
        size: Side, or height and width, of the canvas in pixels.

    Returns:
        ``[B, *size]`` bool.

    Raises:
        ValueError: if the shapes do not fit, or if a prior is given to a protocol without fusion.
    """
    return _Chunk(_raw(maps), [] if prior is None else [_raw(prior)], size).mask(protocol)


def aggregate(ciou: Tensor) -> dict[str, float]:
    """``locacc``, ``mean_ciou`` and ``auc`` of per-sample values ``[B]``, as fractions; all NaN for no samples."""
    return {
        "locacc": float(success_rate(ciou)),
        "mean_ciou": float(mean_ciou(ciou)),
        "auc": float(area_under_success(ciou)),
    }


class _Chunk:
    """A few maps on their way to the canvas, upsampled once per convention, whatever is asked of them."""

    def __init__(self, maps: RawMaps, priors: Sequence[RawMaps], size: Size) -> None:
        self.count = len(maps)
        self.maps = maps[:1] if maps.shared and not priors else maps
        self.priors = tuple(priors)
        self.size = size
        self._wide: dict[tuple[int, Upsampling], Tensor] = {}

    def mask(self, protocol: Protocol) -> Tensor:
        """``[B, *size]`` bool."""
        how = protocol.threshold
        return self._for_all(_THRESHOLD[how.rule](self._canvas(protocol), how.at, operator=protocol.operator))

    def confidence(self, protocol: Protocol) -> Tensor:
        """``[B]`` float64."""
        own = protocol.confidence.upsampling
        canvas = _placed(self._upsampled(self.maps, own or protocol.upsampling), self.maps.score_range)
        if self.priors and all(maps.score_range for maps in (self.maps, *self.priors)):
            fusion = _fusion_of(protocol)
            how = own or fusion.prior_upsampling or protocol.upsampling
            placed = [_placed(self._upsampled(prior, how), prior.score_range) for prior in self.priors]
            canvas = _mix(canvas, _mean(placed), fusion)
        return self._for_all(top_quarter(canvas))

    def _canvas(self, protocol: Protocol) -> Tensor:
        """What the threshold is compared with."""
        normalise = _NORMALISE[protocol.normalisation]
        canvas = self._scaled(self.maps, protocol, protocol.upsampling)
        if not self.priors:
            return normalise(canvas)
        fusion = _fusion_of(protocol)
        how = fusion.prior_upsampling or protocol.upsampling
        further = [self._scaled(prior, protocol, how) for prior in self.priors]
        if fusion.rule == "normalised-mix":
            canvas, further = normalise(canvas), [normalise(one) for one in further]
        return normalise(_mix(canvas, _mean(further), fusion))

    def _scaled(self, maps: RawMaps, protocol: Protocol, how: Upsampling) -> Tensor:
        canvas = self._upsampled(maps, how)
        if protocol.scale == "raw":
            return canvas
        return _placed(canvas, maps.score_range) if maps.score_range else minmax_guarded(canvas)

    def _upsampled(self, maps: RawMaps, how: Upsampling) -> Tensor:
        key = (id(maps), how)
        if key not in self._wide:
            self._wide[key] = upsample(
                maps.values, how.mode, align_corners=how.align_corners, size=self.size, keep_constant=how.keep_constant
            )
        return self._wide[key]

    def _for_all(self, values: Tensor) -> Tensor:
        return values.expand(self.count, *values.shape[1:])


def _raw(maps: Tensor | RawMaps) -> RawMaps:
    return RawMaps(maps) if isinstance(maps, Tensor) else maps


def _placed(canvas: Tensor, score_range: Range | None) -> Tensor:
    return on_range(canvas, *score_range) if score_range else canvas


def _fusion_of(protocol: Protocol) -> Fusion:
    if protocol.fusion is None:
        raise ValueError(f"the protocol {protocol.name} scores single maps: leave the prior out")
    return protocol.fusion


def _mean(canvases: Sequence[Tensor]) -> Tensor:
    """The mean of one or more; one is returned as it is."""
    return canvases[0] if len(canvases) == 1 else torch.stack([*canvases]).mean(dim=0)


def _mix(canvas: Tensor, prior: Tensor, fusion: Fusion) -> Tensor:
    return canvas * fusion.av_weight + prior * (1 - fusion.av_weight)
