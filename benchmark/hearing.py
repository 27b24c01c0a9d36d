"""From the maps that a method draws with several kinds of audio to the numbers that say whether it listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from avbench.errors import AvbenchError, UsageError
from avbench.listening import Drop, Listener, Listening, Rate, Scores
from avbench.metrics.consensus_iou import consensus_iou
from avbench.metrics.maps import upsample
from avbench.metrics.masks import absolute_mask
from avbench.metrics.negative_audio import (
    QUANTILES,
    ListeningSummary,
    ThresholdRule,
    listening_summary,
    map_extremes,
    same_map,
    universal_threshold,
)
from avbench.metrics.resampling import Bootstrap, bootstrap, means
from avbench.metrics.statistics import holm, mcnemar_exact, wilson_interval
from avbench.opening import Progress
from avbench.parts import Part, read_parts
from avbench.records import Record
from avbench.request import PART
from avbench.stored import Stored
from avbench.truth import Truth, read_truth

CHUNK = 16
"""Samples whose canvases are in memory at a time."""

NEARLY = 1e-6
"""The share of a map's range by which another may differ and still be called nearly the same."""

Maps = dict[str, Tensor]
Advance = Callable[[int], None]
Column = tuple[str, str, str]
"""What is measured, under which rule, with which kind of audio; empty where that makes no difference."""
Columns = dict[Column, Tensor]
"""Per-sample values, ``[n]``."""


@dataclass(frozen=True)
class _Extremes:
    """The smallest and largest values of the maps, ``[n]`` float64 by kind of audio."""

    minima: Maps
    maxima: Maps


def hear(listener: Listener, records: Mapping[str, Record], progress: Progress) -> Listening:
    """Measure one method: two passes over its stored maps, first their extremes, then all else.

    Args:
        listener: Whose predictions.
        records: Of the same predictions under the protocol ``common``, by kind of audio.
        progress: For the bars.

    Raises:
        UsageError: for a split without a box.
        AvbenchError: for predictions that are broken, or of other samples than their truth.
    """
    own, plan = listener.own, listener.plan
    truth = read_truth(own.truth_path)
    if not truth.positive.any():
        raise UsageError(f"whether {own.method} listens shows on samples with a box, and {own.split} has none")
    tables = {audio: _positive_rows(record, truth) for audio, record in records.items()}
    clusters = _clusters(tables["true"])
    success, drops = _success(tables, clusters, resamples=plan.resamples, seed=plan.seed)
    with progress(f"listening to {listener.title} on {own.split}", 2 * len(truth)) as advance:
        extremes = _extremes(listener.kinds, truth, advance)
        pooled, source = _pooled(listener, extremes, progress)
        thresholds = {rule: universal_threshold(pooled, rule) for rule in QUANTILES}
        columns = _columns(listener.kinds, truth, thresholds, advance)
    summaries = {rule: _summary(columns, extremes, rule) for rule in QUANTILES}
    return Listening(
        method=own.method,
        split=own.split,
        off_screen=list(listener.kinds)[-1],
        n=int(truth.positive.sum()),
        n_expected=own.expected,
        partial=len(truth) < own.expected,
        clustered=clusters is not None,
        success=success,
        drops=drops,
        unchanged=summaries["max"].unchanged,
        unchanged_nearly={audio: float(found.double().mean()) for audio, found in _of(columns, "nearly").items()},
        scores={rule: _scores(thresholds[rule], summaries[rule]) for rule in QUANTILES},
        extremes={audio: asdict(found) for audio, found in summaries["max"].extremes.items()},
        threshold_from=source,
        provenance={
            "keys": {audio: stored.key for audio, stored in listener.kinds.items()},
            "threshold_keys": {audio: stored.key for audio, stored in listener.donor.items()},
            "truth": truth.sha256,
            "protocol": records["true"].provenance["protocol"],
            "resamples": plan.resamples,
            "seed": plan.seed,
        },
    )


def _positive_rows(record: Record, truth: Truth) -> pd.DataFrame:
    """The per-sample values of the samples with a box."""
    path = record.path.with_name(record.per_sample)
    try:
        table = pd.read_parquet(path, columns=["id", "image", "ciou"])
    except (OSError, ValueError) as problem:  # pyarrow's errors are of the second kind
        raise AvbenchError(
            f"the per-sample values {path} cannot be read ({problem}): delete them and ask again"
        ) from None
    if tuple(table["id"]) != truth.ids:
        raise AvbenchError(f"the per-sample values {path} are of other samples than the truth: delete them")
    return table[truth.positive.numpy()]


def _clusters(table: pd.DataFrame) -> list[str] | None:
    """The pictures of the samples, where some share one."""
    pictures: list[str] = table["image"].tolist()
    return pictures if len(set(pictures)) < len(pictures) else None


def _success(
    tables: Mapping[str, pd.DataFrame], clusters: Sequence[str] | None, *, resamples: int, seed: int
) -> tuple[dict[str, Rate], dict[str, Drop]]:
    """Under ``common``: the rates by kind of audio, and how far each lies below that of the own audio."""
    ciou = torch.stack([torch.tensor(table["ciou"].to_numpy()) for table in tables.values()])
    flags = ciou >= 0.5
    statistic = means({"success": flags.double()})
    draws = bootstrap([statistic], flags.shape[1], resamples=resamples, seed=seed, clusters=clusters)["success"]
    rates = {audio: _rate(draws, n, None if clusters else flags[n]) for n, audio in enumerate(tables)}
    pairs = [_pair(draws, n, None if clusters else flags) for n in range(1, len(flags))]
    adjusted = holm([p for *_, p in pairs])
    drops = {audio: Drop(*pair, p_holm) for audio, pair, p_holm in zip(list(tables)[1:], pairs, adjusted, strict=True)}
    return rates, drops


def _rate(draws: Bootstrap, row: int, flags: Tensor | None) -> Rate:
    value = float(draws.estimate[row])
    if flags is None:
        return Rate(value, *draws.interval(row))
    return Rate(value, *wilson_interval(int(flags.sum()), len(flags)))


def _pair(draws: Bootstrap, row: int, flags: Tensor | None) -> tuple[float, float, float, float]:
    value, low, high, p = draws.difference(0, row)
    if flags is not None:
        own, other = flags[0], flags[row]
        p = mcnemar_exact(int((own & ~other).sum()), int((other & ~own).sum()))
    return value, low, high, p


def _pooled(listener: Listener, extremes: _Extremes, progress: Progress) -> tuple[Tensor, dict[str, Any] | None]:
    """The largest values of all maps under the donor's negatives, and who the donor is where it is another."""
    donor = listener.donor
    if all(listener.kinds[audio].key == stored.key for audio, stored in donor.items()):
        return torch.cat([extremes.maxima[audio] for audio in donor]), None
    one = next(iter(donor.values()))
    truth = read_truth(one.truth_path)
    if not truth.positive.any():
        raise UsageError(f"thresholds come from samples with a box, and {one.split} has none: name another run")
    with progress(f"thresholds of {one.method} from {one.split}", len(truth)) as advance:
        maxima = _extremes(donor, truth, advance).maxima
    return torch.cat(list(maxima.values())), {"split": one.split, "n": int(truth.positive.sum())}


def _extremes(kinds: Mapping[str, Stored], truth: Truth, advance: Advance) -> _Extremes:
    chunks = (_ends(native) for native, _ in _positives(kinds, truth, advance))
    found = _gathered(chunks, int(truth.positive.sum()))
    return _Extremes(_of(found, "min"), _of(found, "max"))


def _ends(native: Maps) -> Columns:
    found: Columns = {}
    for audio, maps in native.items():
        found["min", "", audio], found["max", "", audio] = map_extremes(_canvas(maps))
    return found


def _columns(
    kinds: Mapping[str, Stored], truth: Truth, thresholds: Mapping[ThresholdRule, float], advance: Advance
) -> Columns:
    chunks = (
        {**_sameness(native), **_sounding(native, truth.union_maps(rows)[truth.positive[rows]], thresholds)}
        for native, rows in _positives(kinds, truth, advance)
    )
    return _gathered(chunks, int(truth.positive.sum()))


def _gathered(chunks: Iterable[Columns], count: int) -> Columns:
    """The values of all chunks one after another, in tensors that are made once: many small ones, kept between large
    ones that come and go, would scatter over ever more memory."""
    found: Columns = {}
    start = 0
    for chunk in chunks:
        size = len(next(iter(chunk.values())))
        for column, values in chunk.items():
            if start == 0:
                found[column] = torch.empty(count, dtype=torch.float64)
            found[column][start : start + size] = values
        start += size
    return found


def _sameness(native: Maps) -> Columns:
    own, found = native["true"], {}
    for audio in list(native)[1:]:
        found["same", "", audio] = same_map(own, native[audio])
        found["nearly", "", audio] = same_map(own, native[audio], tolerance=NEARLY)
    return found


def _sounding(native: Maps, boxes: Tensor, thresholds: Mapping[ThresholdRule, float]) -> Columns:
    """What follows from the pixels above each threshold."""
    canvases = {audio: _canvas(maps) for audio, maps in native.items()}
    found: Columns = {}
    for rule, threshold in thresholds.items():
        masks = {audio: absolute_mask(canvas, threshold, operator=">") for audio, canvas in canvases.items()}
        found["ciou", rule, ""] = consensus_iou(masks["true"], boxes)
        found |= {(what, rule, kinds): values for (what, kinds), values in _shares(masks).items()}
    return found


def _shares(masks: Maps) -> dict[tuple[str, str], Tensor]:
    """The values of :func:`~avbench.metrics.negative_audio.share_above` for each negative, and those of
    :func:`~avbench.metrics.negative_audio.map_agreement` for each pair, to the bit, from every mask counted once."""
    counts = {audio: _count(mask) for audio, mask in masks.items()}
    found = {("share", audio): counts[audio] / masks[audio][0].numel() for audio in list(masks)[1:]}
    for one, other in combinations(masks, 2):
        both = _count(masks[one] & masks[other])
        either = counts[one] + counts[other] - both
        found["agreement", f"{one}/{other}"] = (both / either).masked_fill(either == 0, 1)
    return found


def _count(masks: Tensor) -> Tensor:
    """``[B]`` float64: row by row, NumPy counts many bytes at once."""
    return torch.tensor([np.count_nonzero(row) for row in masks.numpy()], dtype=torch.float64)


def _positives(kinds: Mapping[str, Stored], truth: Truth, advance: Advance) -> Iterator[tuple[Maps, slice]]:
    """The native maps of a few samples with a box at a time, and the rows of the truth that these are among."""
    parts = {audio: read_parts(stored.folder, len(truth), ("map",)) for audio, stored in kinds.items()}
    for first in range(0, len(truth), PART):
        whole = {audio: _checked(kinds[audio], next(parts[audio]), truth, first) for audio in kinds}
        _require_one_size(kinds, whole)
        last = min(first + PART, len(truth))
        for start in range(first, last, CHUNK):
            rows = slice(start, min(start + CHUNK, last))
            kept = truth.positive[rows]
            if kept.any():
                yield {audio: maps[start - first : rows.stop - first][kept] for audio, maps in whole.items()}, rows
            advance(rows.stop - start)


def _checked(stored: Stored, part: Part, truth: Truth, first: int) -> Tensor:
    maps, ids = part.tensors["map"], truth.ids[first : first + PART]
    if tuple(part.ids) != ids:
        raise AvbenchError(
            f"the predictions in {stored.folder} are of other samples than the truth in {stored.truth_path.name} "
            f"(they have {part.ids[0] if part.ids else 'nothing'} where it has {ids[0]}): predict again"
        )
    if maps.ndim != 3 or len(maps) != len(ids) or 0 in maps.shape:
        raise AvbenchError(
            f"expected maps [{len(ids)}, h, w] in {stored.folder}, found {list(maps.shape)}: predict again"
        )
    return maps


def _require_one_size(kinds: Mapping[str, Stored], whole: Maps) -> None:
    sizes = {audio: list(maps.shape[1:]) for audio, maps in whole.items()}
    first = next(iter(sizes))
    for audio, size in sizes.items():
        if size != sizes[first]:
            raise AvbenchError(
                f"expected maps of one size whatever is heard, found {sizes[first]} with {first} audio in "
                f"{kinds[first].folder} and {size} with {audio} audio in {kinds[audio].folder}: predict again"
            )


def _canvas(maps: Tensor) -> Tensor:
    """As cv2's linear resizing gives it, on the scale of the raw maps."""
    return upsample(maps, "bilinear", align_corners=False)


def _of(columns: Columns, what: str, rule: str = "") -> Maps:
    return {audio: values for (name, under, audio), values in columns.items() if (name, under) == (what, rule)}


def _summary(columns: Columns, extremes: _Extremes, rule: ThresholdRule) -> ListeningSummary:
    return listening_summary(
        columns["ciou", rule, ""],
        shares=_of(columns, "share", rule),
        minima=extremes.minima,
        maxima=extremes.maxima,
        agreement=_of(columns, "agreement", rule),
        unchanged=_of(columns, "same"),
    )


def _scores(threshold: float, found: ListeningSummary) -> Scores:
    return Scores(
        threshold=threshold,
        ciou_uth=found.ciou_uth,
        auc_uth=found.auc_uth,
        nan_ciou=found.nan_ciou,
        pia=found.pia,
        auc_n=found.auc_n,
        f_loc=found.f_loc,
        f_loc_by_kind=found.f_loc_by_kind,
        f_auc=found.f_auc,
        f_auc_by_kind=found.f_auc_by_kind,
        agreement=found.agreement,
    )
