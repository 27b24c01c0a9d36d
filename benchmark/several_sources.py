"""Samples with several sounding objects, each scored apart."""

from __future__ import annotations

import torch
from torch import Tensor

from avbench.metrics.canvases import Canvases, RawMaps
from avbench.metrics.chunk import mask_of
from avbench.metrics.multisource import matched_ap, matched_ciou
from avbench.metrics.protocols import Protocol
from avbench.metrics.success import success_rate
from avbench.parts import Part
from avbench.truth import Truth
from avbench.types import CANVAS


def measure_sources(part: Part, protocol: Protocol, truth: Truth, rows: slice) -> dict[str, Tensor]:
    """Match the maps of each sample to its sources.

    Args:
        part: Predictions of the samples ``rows``; the maps ``extra.target_1`` and so on where the method gives several,
            else its one map.
        protocol: One whose truth is ``sources``.
        truth: Of the whole split.
        rows: Which of its samples.

    Returns:
        ``source_ciou`` and ``source_ap``, ``[n, K]`` float64 with K the most sources of a sample, NaN where a sample
        has fewer; ``source_success_30`` and ``piap``, ``[n]``, the sample's own share and mean, NaN without sources.
    """
    most = max((len(sources) for sources in truth.sources), default=0)
    finished = _finished(part, protocol)
    masks = torch.stack([mask_of(canvas, protocol) for canvas in finished.unbind(dim=1)], dim=1)
    ciou = torch.full((len(finished), most), torch.nan, dtype=torch.float64)
    ap = ciou.clone()
    for row in range(len(finished)):
        sources = truth.source_maps(rows.start + row)
        if len(sources):
            ciou[row, : len(sources)] = matched_ciou(masks[row], sources).values
            ap[row, : len(sources)] = matched_ap(finished[row], sources).values
    found = torch.stack([_success(values) for values in ciou]) if len(ciou) else ciou.new_zeros(0)
    return {"source_ciou": ciou, "source_ap": ap, "source_success_30": found, "piap": ap.nanmean(dim=1)}


def _finished(part: Part, protocol: Protocol) -> Tensor:
    """``[n, L, H, W]``: all maps of each sample on the canvas, normalised."""
    targets = sorted(name for name in part.tensors if name.startswith("extra.target_"))
    canvases = Canvases((CANVAS, CANVAS))
    found = []
    for name in targets or ["map"]:
        finished = canvases.of(RawMaps(part.tensors[name], part.score_range), protocol).finished()
        found.append(finished.expand(len(part.ids), -1, -1))
    return torch.stack(found, dim=1)


def _success(values: Tensor) -> Tensor:
    return success_rate(values[~values.isnan()], 0.3)
