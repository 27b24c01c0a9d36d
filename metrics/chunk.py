"""A few samples measured under any number of protocols, nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol as Shape

import numpy as np
import torch
from torch import Tensor

from avbench.metrics.canvases import Canvas, Canvases, RawMaps
from avbench.metrics.confidence import top_quarter
from avbench.metrics.consensus_iou import consensus_iou
from avbench.metrics.masks import absolute_mask, adaptive_mask, rank_mask, saturating_mask
from avbench.metrics.ordered import Finished, Floats, Indices, Ranked
from avbench.metrics.pixelwise import energy_inside, pointing_hit, ranked_measures
from avbench.metrics.protocols import Protocol, Truth
from avbench.metrics.segmentation import f_curves, mask_iou

_MASKS: dict[str, Callable[..., Tensor]] = {
    "rank": rank_mask,
    "rank_saturating": saturating_mask,
    "absolute": absolute_mask,
}


class _Row(Shape):
    @property
    def maps(self) -> RawMaps: ...
    @property
    def protocol(self) -> Protocol: ...
    @property
    def priors(self) -> Sequence[RawMaps]: ...


@dataclass(frozen=True)
class _Single:
    """A row's part for one sample."""

    maps: RawMaps
    protocol: Protocol
    priors: tuple[RawMaps, ...]


def mask_of(finished: Tensor, protocol: Protocol) -> Tensor:
    """The pixels of finished canvases, ``[B, H, W]``, that pass the protocol's threshold."""
    how = protocol.threshold
    return _MASKS[how.rule](finished, how.at, operator=protocol.operator)


class Chunk:
    """The truths of a few samples, and all that was found out about maps of theirs."""

    def __init__(self, truths: Mapping[Truth, Tensor]) -> None:
        self.truths = truths
        self.counted = {kind: _as_flags(truth) for kind, truth in truths.items()}
        some = next(iter(truths.values()))
        self.count = len(some)
        self.canvases = Canvases((some.shape[1], some.shape[2]))
        self._ranked: dict[Hashable, Ranked] = {}
        self._found: dict[Hashable, Floats] = {}
        self._sure: dict[Hashable, Tensor] = {}
        self._free: dict[Hashable, dict[str, Floats]] = {}
        self._alone: dict[int, Chunk] = {}

    def against_boxes(self, row: _Row) -> dict[str, Tensor]:
        """``ciou``, ``ciou_adap`` and the threshold-free measures of a row, ``[B]`` float64 each."""
        canvas, protocol = self._canvas(row), row.protocol
        if self.count == 0 or not self.canvases.sorted(canvas).finite:
            return self._pixel_by_pixel(canvas, protocol) if self.count < 2 else self._one_by_one(row)
        ranked = self._rank(canvas)
        found = {
            "ciou": self._ciou(ranked, canvas, protocol),
            "ciou_adap": self._adaptive(ranked, canvas),
            **self._threshold_free(ranked, canvas),
        }
        return {name: torch.from_numpy(values) for name, values in found.items()}

    def against_masks(self, row: _Row) -> dict[str, Tensor]:
        """``iou``, ``nonempty`` and ``f_curve`` of a row."""
        truth = self.truths["masks"]
        finished = self._canvas(row).finished().expand(self.count, -1, -1)
        return {
            "iou": mask_iou(mask_of(finished, row.protocol), truth),
            "nonempty": (truth > 0).any(dim=2).any(dim=1).double(),
            "f_curve": f_curves(finished, truth),
        }

    def confidence(self, row: _Row) -> Tensor:
        """``[B]`` float64: how sure the maps make the protocol that anything sounds."""
        canvas = self.canvases.confidence(row.maps, row.protocol, row.priors)
        if self.count == 0:
            return top_quarter(canvas.values)
        key = canvas.key, canvas.finish_key
        if key not in self._sure:
            pixels = self.canvases.sorted(canvas)
            largest = pixels.values.shape[1] - -(-pixels.values.shape[1] // 4)
            top = canvas.finish(pixels.as_maps()[:, :, largest:])[:, 0]
            self._sure[key] = top.double().mean(dim=1).expand(self.count)
        return self._sure[key]

    def _canvas(self, row: _Row) -> Canvas:
        return self.canvases.of(row.maps, row.protocol, row.priors)

    def _rank(self, canvas: Canvas) -> Ranked:
        if canvas.key not in self._ranked:
            self._ranked[canvas.key] = Ranked(self.canvases.sorted(canvas), self.counted["boxes"])
        return self._ranked[canvas.key]

    def _lookup(self, canvas: Canvas) -> Finished:
        return Finished(self.canvases.sorted(canvas).values, canvas.finish, self.count)

    def _ciou(self, ranked: Ranked, canvas: Canvas, protocol: Protocol) -> Floats:
        key = canvas.key, canvas.finish_key, protocol.threshold, protocol.operator
        if key not in self._found:
            self._found[key] = ranked.ciou(_first(self._lookup(canvas), protocol, self.count))
        return self._found[key]

    def _adaptive(self, ranked: Ranked, canvas: Canvas) -> Floats:
        key = canvas.key, canvas.finish_key, "adaptive"
        if key not in self._found:
            wanted = np.where(ranked.positives == 0, max(ranked.count // 2, 1), ranked.positives)
            self._found[key] = ranked.ciou(self._lookup(canvas).first_at_rank(ranked.count - wanted, ">"))
        return self._found[key]

    def _threshold_free(self, ranked: Ranked, canvas: Canvas) -> dict[str, Floats]:
        if canvas.key not in self._free:
            self._free[canvas.key] = {**ranked.ranking(), "pointing": ranked.pointing(), "energy": ranked.energy()}
        return self._free[canvas.key]

    def _one_by_one(self, row: _Row) -> dict[str, Tensor]:
        """Each sample in a chunk of its own: what one holds must not change a bit of another's values."""
        found = []
        for number in range(self.count):
            place = slice(number, number + 1)
            alone = self._alone.setdefault(number, Chunk({kind: truth[place] for kind, truth in self.truths.items()}))
            single = _Single(row.maps[place], row.protocol, tuple(prior[place] for prior in row.priors))
            found.append(alone.against_boxes(single))
        return {name: torch.cat([values[name] for values in found]) for name in found[0]}

    def _pixel_by_pixel(self, canvas: Canvas, protocol: Protocol) -> dict[str, Tensor]:
        """The same from masks, for maps with values that are not finite: normalising may reorder those."""
        truth = self.truths["boxes"]
        values, finished = (part.expand(self.count, -1, -1) for part in (canvas.values, canvas.finished()))
        return {
            "ciou": consensus_iou(mask_of(finished, protocol), truth),
            "ciou_adap": consensus_iou(adaptive_mask(finished, truth), truth),
            **ranked_measures(values, truth),
            "pointing": pointing_hit(values, truth),
            "energy": energy_inside(values, truth),
        }


def _as_flags(truth: Tensor) -> Tensor:
    """A truth of zeros and ones as bool, which is quicker to look for; another as it is."""
    whole = truth.dtype == torch.uint8 and (truth.numel() == 0 or int(truth.max()) <= 1)
    return truth.bool() if whole else truth


def _first(pixels: Finished, protocol: Protocol, samples: int) -> Indices:
    """``[B]``: the first of the pixels in order that pass the protocol's threshold."""
    how, operator = protocol.threshold, protocol.operator
    if how.rule == "absolute":
        return pixels.first_at(how.at, operator)
    first = pixels.first_at_rank(np.full(samples, int(how.at * (pixels.last + 1))), operator)
    return np.minimum(first, pixels.first_at(1, ">=")) if how.rule == "rank_saturating" else first
