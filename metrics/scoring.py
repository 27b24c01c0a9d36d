"""Carries protocols out: raw maps and truth to per-sample values, every step that rows agree on taken once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from avbench.metrics.canvases import Canvases, RawMaps
from avbench.metrics.chunk import Chunk, mask_of
from avbench.metrics.protocols import Protocol, Truth
from avbench.metrics.success import area_under_success, mean_ciou, success_rate

CHUNK = 32
"""Maps handled at once: enough that the calls cost little beside the work, few enough for the memory."""

__all__ = ["CHUNK", "RawMaps", "Row", "aggregate", "measure", "measure_rows", "predicted_mask", "score"]

Values = dict[str, Tensor]


@dataclass(frozen=True)
class Row:
    """One row of a table: whose maps, under which protocol (as it stands for the data set), with what mixed in."""

    maps: RawMaps
    protocol: Protocol
    priors: tuple[RawMaps, ...] = ()
    """Further maps of the same samples to fuse in under the protocol's rule, each at its native size; of several, each
    scaled as a single one would be, the mean is fused in (JSA ``test_model.py``, all combined)."""

    def part(self, rows: slice) -> Row:
        """The row for some of its samples."""
        return Row(self.maps[rows], self.protocol, tuple(prior[rows] for prior in self.priors))


def measure_rows(rows: Sequence[Row], truths: Mapping[Truth, Tensor], *, confidence: bool = False) -> list[Values]:
    """All per-sample values of several rows of the same samples.

    Each map is upsampled once per convention and sorted once per upsampling; thresholds, rankings and curves of all
    protocols are look-ups in the sorted pixels. Runs on the CPU, on as many threads as torch has; the values do not
    depend on their number.

    Args:
        rows: At least one; all of B samples, under protocols of the truths ``boxes`` and ``masks``.
        truths: ``[B, H, W]`` weights in [0, 1] on the canvas, of any type, by kind.
        confidence: Measure that too.

    Returns:
        For each row a dict of ``[B]`` float64 tensors. Against boxes: ``ciou`` (NaN where mask and truth are both
        empty), ``ciou_adap`` (the adaptive threshold), ``pixel_ap``, ``pixel_roc_auc``, ``pointing``, ``energy``.
        Against masks: ``iou``, ``nonempty`` (1 where the truth has a pixel), and ``f_curve``, ``[B, 255]``. On request
        ``confidence``, on a scale that the samples share, by the protocol's rule; NaN for a map with a NaN pixel.

    Raises:
        ValueError: if the shapes do not fit, a truth is missing, or a prior is given to a protocol without fusion.
    """
    rows = [_on_cpu(row) for row in rows]
    known = {kind: truth.cpu() for kind, truth in truths.items()}
    count = _check(rows, known)
    starts = range(0, max(count, 1), CHUNK)

    def chunk_from(start: int) -> list[Values]:
        place = slice(start, start + CHUNK)
        chunk = Chunk({kind: truth[place] for kind, truth in known.items()})
        return [_values(chunk, row.part(place), confidence=confidence) for row in rows]

    with _each_on_one_thread() as each:
        found = list(each(chunk_from, starts))
    return [{name: torch.cat([part[n][name] for part in found]) for name in found[0][n]} for n in range(len(rows))]


def measure(
    maps: RawMaps, truth: Tensor, protocol: Protocol, *, priors: Sequence[RawMaps] = (), confidence: bool = False
) -> Values:
    """:func:`measure_rows` of a single row, against the truth of the protocol's kind."""
    return measure_rows([Row(maps, protocol, tuple(priors))], {protocol.truth: truth}, confidence=confidence)[0]


def score(maps: Tensor, truth: Tensor, protocol: Protocol, *, prior: Tensor | None = None) -> Tensor:
    """The consensus IoU of each sample under a protocol, for maps of which no range is known.

    Args:
        maps: ``[B, h, w]`` raw scores at their native size, higher is louder.
        truth: ``[B, H, W]`` weights in [0, 1] on the canvas, of any type.
        protocol: From :func:`~avbench.metrics.protocols.get_protocol`, as it stands for the data
            set (:meth:`Protocol.on`).
        prior: ``[B, h', w']``, one of :attr:`Row.priors`.

    Returns:
        ``[B]`` float64 in [0, 1]; NaN where mask and truth are both empty. A constant map predicts the whole canvas
        under a ``>=`` rank rule; a map with a NaN cell predicts nothing. Against masks, their IoU.

    Raises:
        ValueError: if the shapes do not fit, or if a prior is given to a protocol without fusion.
    """
    found = measure(RawMaps(maps), truth, protocol, priors=[] if prior is None else [RawMaps(prior)])
    return found["iou" if protocol.truth == "masks" else "ciou"]


def predicted_mask(
    maps: Tensor | RawMaps,
    protocol: Protocol,
    *,
    prior: Tensor | RawMaps | None = None,
    size: int | tuple[int, int] = 224,
) -> Tensor:
    """The pixels that each map predicts under a protocol: upsample, scale, normalise, fuse, threshold.

    Args:
        maps: ``[B, h, w]``, with their range where the protocol asks for one and the method states one.
        protocol: As in :func:`score`.
        prior: As in :func:`score`.
        size: Side, or height and width, of the canvas in pixels.

    Returns:
        ``[B, *size]`` bool.

    Raises:
        ValueError: if the shapes do not fit, or if a prior is given to a protocol without fusion.
    """
    raw, priors = _raw(maps), [] if prior is None else [_raw(prior)]
    canvases = Canvases((size, size) if isinstance(size, int) else size)
    mask = mask_of(canvases.of(raw, protocol, priors).finished(), protocol)
    return mask.expand(len(raw), *mask.shape[1:])


def aggregate(ciou: Tensor, protocol: Protocol | None = None) -> dict[str, float]:
    """``locacc``, ``mean_ciou`` and ``auc`` of per-sample values ``[B]``, as fractions; all NaN for no samples.

    Success is at ``>=`` 0.5, or as the protocol compares.
    """
    return {
        "locacc": float(success_rate(ciou, operator=protocol.success if protocol else ">=")),
        "mean_ciou": float(mean_ciou(ciou)),
        "auc": float(area_under_success(ciou)),
    }


def _values(chunk: Chunk, row: Row, *, confidence: bool) -> Values:
    values = chunk.against_masks(row) if row.protocol.truth == "masks" else chunk.against_boxes(row)
    return {**values, "confidence": chunk.confidence(row)} if confidence else values


@contextmanager
def _each_on_one_thread() -> Iterator[Callable[..., Iterator[list[Values]]]]:
    """A map over threads, on each of which torch keeps to itself: whole chunks side by side beat split ones."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield map
        return
    try:
        with ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1)) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(threads)


def _check(rows: Sequence[Row], truths: Mapping[Truth, Tensor]) -> int:
    for row in rows:
        count, kind = len(row.maps), row.protocol.truth
        if kind == "sources":
            raise ValueError(
                f"the protocol {row.protocol.name} scores each source apart: use avbench.metrics.multisource"
            )
        if kind not in truths:
            raise ValueError(f"the protocol {row.protocol.name} scores against {kind}, which are not given")
        if truths[kind].ndim != 3 or len(truths[kind]) != count:
            raise ValueError(
                f"truth must be [B, H, W] with one map each, got {list(truths[kind].shape)} for "
                f"{list(row.maps.values.shape)}"
            )
        for prior in row.priors:
            if len(prior) != count:
                raise ValueError(f"a prior needs one map per sample, got {len(prior)} for {count}")
    return len(rows[0].maps)


def _on_cpu(row: Row) -> Row:
    maps, *priors = (RawMaps(one.values.detach().cpu(), one.score_range) for one in (row.maps, *row.priors))
    return Row(maps, row.protocol, tuple(priors))


def _raw(maps: Tensor | RawMaps) -> RawMaps:
    return RawMaps(maps) if isinstance(maps, Tensor) else maps
