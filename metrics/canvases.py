"""Raw maps on their way to the canvas: each upsampled, fused and sorted once, whatever number of protocols asks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from avbench.metrics.maps import minmax_double_negation, minmax_guarded, on_range, upsample
from avbench.metrics.ordered import Sorted
from avbench.metrics.protocols import Fusion, Protocol, Upsampling

Range = tuple[float, float]
Size = tuple[int, int]
Finish = Callable[[Tensor], Tensor]

NORMALISE: dict[str, Finish] = {
    "none": lambda maps: maps,
    "minmax_guarded": minmax_guarded,
    "minmax_double_negation": minmax_double_negation,
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


@dataclass(frozen=True)
class Canvas:
    """Maps before their last normalisation.

    ``finish`` acts on each pixel by its map's extremes alone and keeps the order of its pixels.
    """

    key: Hashable
    """Equal for canvases of equal values."""
    values: Tensor
    """``[B, H, W]``, or of one map where all samples share it."""
    finish: Finish
    finish_key: Hashable

    def finished(self) -> Tensor:
        """What the threshold is compared with."""
        return self.finish(self.values)


class Canvases:
    """The canvases of a few samples."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self._wide: dict[Hashable, Tensor] = {}
        self._mixed: dict[Hashable, Tensor] = {}
        self._sorted: dict[Hashable, Sorted] = {}

    def of(self, maps: RawMaps, protocol: Protocol, priors: Sequence[RawMaps] = ()) -> Canvas:
        """The canvas of maps, with priors mixed in under the protocol's rule.

        Raises:
            ValueError: if a prior is given to a protocol without fusion.
        """
        normalise, scaled = NORMALISE[protocol.normalisation], _scaling(maps, protocol)
        if priors:
            key, mixed = self._fused(maps, protocol, priors)
            return Canvas(key, mixed, normalise, protocol.normalisation)
        shown = RawMaps(maps.values[:1], maps.score_range) if maps.shared else maps
        how, values = self._upsampled(shown, protocol.upsampling)
        return Canvas(
            key=(_identity(shown), how),
            values=values,
            finish=lambda canvas: normalise(scaled(canvas)),
            finish_key=(protocol.normalisation, protocol.scale, maps.score_range if protocol.scale != "raw" else None),
        )

    def confidence(self, maps: RawMaps, protocol: Protocol, priors: Sequence[RawMaps] = ()) -> Canvas:
        """What says how sure a row is: placed on the maps' ranges, normalised by nothing else."""
        own, placed = protocol.confidence.upsampling, _placing(maps)
        if priors and all(one.score_range for one in (maps, *priors)):
            rule = replace(_fusion_of(protocol), rule="score-mix", prior_upsampling=own or _prior_upsampling(protocol))
            how = replace(protocol, upsampling=own or protocol.upsampling, scale="score_range", fusion=rule)
            return replace(self.of(maps, how, priors), finish=NORMALISE["none"], finish_key="none")
        single = replace(protocol, upsampling=own or protocol.upsampling)
        return replace(self.of(maps, single), finish=placed, finish_key=("placed", maps.score_range))

    def sorted(self, canvas: Canvas) -> Sorted:
        """The canvas's pixels in ascending order."""
        if canvas.key not in self._sorted:
            self._sorted[canvas.key] = Sorted.of(canvas.values)
        return self._sorted[canvas.key]

    def _fused(self, maps: RawMaps, protocol: Protocol, priors: Sequence[RawMaps]) -> tuple[Hashable, Tensor]:
        fusion, normalise = _fusion_of(protocol), NORMALISE[protocol.normalisation]
        late = fusion.rule == "score-mix"
        how, prior_how = protocol.upsampling, _prior_upsampling(protocol)
        who = (_identity(maps), *map(_identity, priors))
        key = (who, how, prior_how, late, fusion.av_weight, protocol.scale, None if late else protocol.normalisation)
        if key not in self._mixed:
            every = [(maps, how), *((prior, prior_how) for prior in priors)]
            scaled = [_scaling(one, protocol)(self._upsampled(one, its)[1]) for one, its in every]
            first, *further = scaled if late else [normalise(canvas) for canvas in scaled]
            self._mixed[key] = first * fusion.av_weight + _mean(further) * (1 - fusion.av_weight)
        return key, self._mixed[key]

    def _upsampled(self, maps: RawMaps, how: Upsampling) -> tuple[Upsampling, Tensor]:
        """With the convention as it counts: keeping constant maps makes no difference where there are none."""
        if how.keep_constant and not _any_constant(maps.values):
            how = replace(how, keep_constant=False)
        key = (_identity(maps), how)
        if key not in self._wide:
            self._wide[key] = upsample(
                maps.values, how.mode, align_corners=how.align_corners, size=self.size, keep_constant=how.keep_constant
            )
        return how, self._wide[key]


def _identity(maps: RawMaps) -> Hashable:
    values = maps.values
    return values.data_ptr(), tuple(values.shape), values.stride(), maps.score_range


def _any_constant(values: Tensor) -> bool:
    return bool((values.amax(dim=(1, 2)) == values.amin(dim=(1, 2))).any())


def _scaling(maps: RawMaps, protocol: Protocol) -> Finish:
    if protocol.scale == "raw":
        return NORMALISE["none"]
    return _placing(maps) if maps.score_range else minmax_guarded


def _placing(maps: RawMaps) -> Finish:
    ends = maps.score_range
    return (lambda canvas: on_range(canvas, *ends)) if ends else NORMALISE["none"]


def _fusion_of(protocol: Protocol) -> Fusion:
    if protocol.fusion is None:
        raise ValueError(f"the protocol {protocol.name} scores single maps: leave the prior out")
    return protocol.fusion


def _prior_upsampling(protocol: Protocol) -> Upsampling:
    return _fusion_of(protocol).prior_upsampling or protocol.upsampling


def _mean(canvases: Sequence[Tensor]) -> Tensor:
    """The mean of one or more; one is returned as it is."""
    return canvases[0] if len(canvases) == 1 else torch.stack([*canvases]).mean(dim=0)
