"""Several sources in one scene, by definitions that no paper prints but all names suggest.

A scene has L maps of a method and K sources with a truth each. A source has one map, or none: by its class (an
``assignment``), or by the best matching of maps to sources, each used once. A source without a map scores 0, as does
one whose map predicts nothing, on an empty truth too. A method of one map can find one of two sources. The papers' own
forms, which differ under the same names, are in :mod:`avbench.metrics.multisource_official`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from avbench.metrics.consensus_iou import consensus_iou
from avbench.metrics.pixelwise import pixel_average_precision

NO_MAP = -1
"""The index of the map of a source that has none."""


@dataclass(frozen=True)
class Matching:
    """What the sources of one scene score under the matching with the largest sum.

    Where several matchings have that sum, which one is taken is not defined.

    Attributes:
        values: ``[K]`` float64 in [0, 1] by source, 0 without a map.
        assignment: ``[K]`` int64, the index of each source's map, or -1.
        extra: Number of maps without a source; they cost nothing.
    """

    values: Tensor
    assignment: Tensor
    extra: int


def matched_ciou(masks: Tensor, truth: Tensor) -> Matching:
    """The cIoU of each source under the best matching.

    ``success_rate`` of the values of all scenes at 0.3 is the share of sources found: "CIoU@0.3" as it reads.

    Args:
        masks: ``[L, H, W]`` bool, one map's predicted pixels each; none is allowed.
        truth: ``[K, H, W]`` of any type, in [0, 1].

    Returns:
        The values, the maps, and how many maps were left over.

    Raises:
        ValueError: if the frames differ in size or are not ``[L, H, W]`` and ``[K, H, W]``.
    """
    return _match(_table(masks, truth, consensus_iou))


def matched_ap(maps: Tensor, truth: Tensor) -> Matching:
    """The pixel average precision of each source under the best matching.

    Args:
        maps: ``[L, H, W]`` floating, continuous; the scale of each is its own.
        truth: ``[K, H, W]`` of any type; a pixel belongs to a source where it is above 0.

    Returns:
        The values, the maps, and how many maps were left over.

    Raises:
        ValueError: if the frames differ in size or are not ``[L, H, W]`` and ``[K, H, W]``.
    """
    return _match(_table(maps, truth, _frame_ap))


def assigned_ciou(masks: Tensor, truth: Tensor, assignment: Tensor) -> Tensor:
    """The cIoU of each source with the map that it was assigned, by its class or otherwise.

    Args:
        masks: As in :func:`matched_ciou`.
        truth: As in :func:`matched_ciou`.
        assignment: ``[K]`` int64, the index of each source's map, -1 for none; a map may serve several sources.

    Returns:
        ``[K]`` float64 in [0, 1].

    Raises:
        ValueError: if the shapes do not fit or an index is out of range.
    """
    return _assigned(masks, truth, assignment, consensus_iou)


def assigned_ap(maps: Tensor, truth: Tensor, assignment: Tensor) -> Tensor:
    """The pixel average precision of each source with the map that it was assigned.

    Args:
        maps: As in :func:`matched_ap`.
        truth: As in :func:`matched_ap`.
        assignment: As in :func:`assigned_ciou`.

    Returns:
        ``[K]`` float64 in [0, 1].

    Raises:
        ValueError: if the shapes do not fit or an index is out of range.
    """
    return _assigned(maps, truth, assignment, _frame_ap)


def class_aware_ap(values: Tensor, labels: Sequence[Hashable]) -> Tensor:
    """CAP: the pixel average precision of a class's sources, averaged within and then over the classes.

    Args:
        values: ``[n]``, :func:`assigned_ap` of the sources of all scenes.
        labels: The class of each.

    Returns:
        Scalar float64 in [0, 1]; NaN for no sources.

    Raises:
        ValueError: if there are not as many labels as values.
    """
    if values.ndim != 1 or len(values) != len(labels):
        raise ValueError(f"expected one label for each value, got {len(labels)} for {list(values.shape)}")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    index = torch.tensor([numbers[label] for label in labels], dtype=torch.int64, device=values.device)
    totals = values.new_zeros(len(numbers), dtype=torch.float64).index_add_(0, index, values.double())
    return (totals / torch.bincount(index, minlength=len(numbers))).mean()


def permutation_invariant_ap(maps: Tensor, truth: Tensor) -> Tensor:
    """One scene's part in PIAP: the mean over its sources of :func:`matched_ap`. PIAP is the mean over the scenes.

    Args:
        maps: As in :func:`matched_ap`.
        truth: As in :func:`matched_ap`.

    Returns:
        Scalar float64 in [0, 1]; NaN for no sources.

    Raises:
        ValueError: if the frames differ in size or are not ``[L, H, W]`` and ``[K, H, W]``.
    """
    return matched_ap(maps, truth).values.mean()


def union_ciou(masks: Tensor, truth: Tensor) -> Tensor:
    """The cIoU of all maps' pixels together with all sources together: what sounds, without telling the sources apart.

    Args:
        masks: ``[L, H, W]`` bool, at least one.
        truth: ``[K, H, W]`` of any type, in [0, 1], at least one; a pixel has its largest weight.

    Returns:
        Scalar float64 in [0, 1], or NaN where nothing is predicted and nothing is there.

    Raises:
        ValueError: if the frames differ in size, or there is no map or no source.
    """
    _check(masks, truth)
    if 0 in (len(masks), len(truth)):
        raise ValueError(f"expected at least one map and one source, got {len(masks)} and {len(truth)}")
    return consensus_iou(masks.any(dim=0, keepdim=True), truth.amax(dim=0, keepdim=True))[0]


Measure = Callable[[Tensor, Tensor], Tensor]


def _frame_ap(maps: Tensor, truth: Tensor) -> Tensor:
    return pixel_average_precision(maps.flatten(1), truth.flatten(1) > 0)


def _check(predicted: Tensor, truth: Tensor) -> None:
    if not (predicted.ndim == truth.ndim == 3 and predicted.shape[1:] == truth.shape[1:]):
        shapes = f"{list(predicted.shape)} and {list(truth.shape)}"
        raise ValueError(f"expected maps [L, H, W] and truth [K, H, W] of one size, got {shapes}")


def _table(predicted: Tensor, truth: Tensor, measure: Measure) -> Tensor:
    """``[K, L]`` float64: what each map scores on each source, 0 where that is not defined."""
    _check(predicted, truth)
    sources, maps = len(truth), len(predicted)
    values = measure(predicted.repeat(sources, 1, 1), truth.repeat_interleave(maps, dim=0))
    return values.nan_to_num(nan=0.0).view(sources, maps)


def _match(table: Tensor) -> Matching:
    sources, maps = linear_sum_assignment(table.cpu().numpy(), maximize=True)
    assignment = torch.full((len(table),), NO_MAP, device=table.device)
    assignment[torch.from_numpy(sources)] = torch.from_numpy(maps).to(table.device)
    return Matching(_pick(table, assignment), assignment, extra=table.shape[1] - len(maps))


def _pick(table: Tensor, assignment: Tensor) -> Tensor:
    """The entry of each row at its index, 0 at -1."""
    padded = torch.nn.functional.pad(table, (0, 1))
    return padded.gather(1, assignment.where(assignment != NO_MAP, table.shape[1])[:, None])[:, 0]


def _assigned(predicted: Tensor, truth: Tensor, assignment: Tensor, measure: Measure) -> Tensor:
    _check(predicted, truth)
    if assignment.shape != truth.shape[:1] or ((assignment < NO_MAP) | (assignment >= len(predicted))).any():
        found, maps = assignment.tolist(), len(predicted)
        raise ValueError(
            f"expected the index of one of {maps} maps or -1 for each of {len(truth)} sources, got {found}"
        )
    values = truth.new_zeros(len(truth), dtype=torch.float64)
    heard = assignment != NO_MAP
    values[heard] = measure(predicted[assignment[heard]], truth[heard]).nan_to_num(nan=0.0)
    return values
