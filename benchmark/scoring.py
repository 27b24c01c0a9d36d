"""From part files to records: every variant under every protocol, without a network or the media."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from avbench.aggregating import Numbers, numbers_of
from avbench.errors import AvbenchError, UsageError
from avbench.metrics.catalogue import METRICS
from avbench.metrics.protocols import Protocol
from avbench.metrics.protocols import Truth as TruthKind
from avbench.metrics.scoring import RawMaps, Row, measure_rows
from avbench.parts import Part, read_parts
from avbench.predicting import seconds_of
from avbench.provenance import machine, software
from avbench.records import Record, write_record
from avbench.request import PART, WITH_OBJECTS, protocol_called, require_image_query
from avbench.retrieval import retrieval_of
from avbench.several_sources import measure_sources
from avbench.store import write_atomic
from avbench.stored import Stored, Task
from avbench.truth import Truth, read_truth

MAPS = {"av": "map", "image_query": "extra.image_query", "iqr": "map", "av+ogl": "map", "iqr+ogl": "map"}
"""The tensor of a part that holds each variant's map, before fusion."""

NEEDING_QUERY = {"image_query", "iqr", "iqr+ogl"}
"""The variants that need a method's own image-query map."""

RowKey = tuple[str, str]
"""Variant and protocol."""

PerSample = dict[str, Tensor]
"""Values by name, ``[n]`` or ``[n, K]``: see :func:`avbench.metrics.scoring.measure_rows`."""


@dataclass(frozen=True)
class Scores:
    """What the part files of a job gave, one value per sample."""

    rows: dict[RowKey, PerSample]
    score_range: tuple[float, float] | None
    own_confidence: bool
    """Whether the method gave a confidence of its own, which then stands in all its rows."""


@dataclass
class _Tally:
    """The values of a task's rows, part by part."""

    task: Task
    parts: Iterator[Part]
    found: dict[RowKey, list[PerSample]] = field(default_factory=dict)
    score_range: tuple[float, float] | None = None
    own_confidence: bool = False

    def scores(self) -> Scores:
        rows = {
            row: {name: torch.cat([v[name] for v in values]) for name in values[0]}
            for row, values in self.found.items()
        }
        return Scores(rows, self.score_range, self.own_confidence)


@dataclass(frozen=True)
class _Scored:
    """A row with its numbers."""

    task: Task
    variant: str
    protocol: Protocol
    values: PerSample
    numbers: Numbers
    scores: Scores


def score_tasks(
    tasks: Sequence[Task], truth: Truth, *, prior: Stored | None, advance: Callable[[int], None]
) -> list[Scores]:
    """Per-sample values of all rows of ``tasks``, which share their samples; the truth is drawn once for all.

    Args:
        tasks: Stored predictions, complete, with the rows that are wanted of each.
        truth: Of their samples.
        prior: The predictions of the object map that ``av+ogl`` fuses in.
        advance: Called with the number of samples that were scored.

    Returns:
        For each task its values by variant and protocol; confidences where the truth has samples without boxes.

    Raises:
        AvbenchError: for predictions of other samples, or a part file that cannot be read.
        UsageError: for rows with object maps without a prior.
    """
    if prior is None and any(variant in WITH_OBJECTS for task in tasks for variant, _ in task.rows):
        raise UsageError("rows with object maps were asked for without the predictions of ogl: add them")
    extended = not bool(truth.positive.all())
    kinds = {protocol_called(name).truth for task in tasks for _, name in task.rows}
    tallies = [_Tally(task, checked_parts(task, truth)) for task in tasks]
    priors = read_parts(prior.folder, len(truth), ("map",)) if prior else None
    for start in range(0, len(truth), PART):
        rows = slice(start, min(start + PART, len(truth)))
        drawn = _drawn(truth, rows, kinds)
        objects = object_maps(next(priors)) if priors else None
        for tally in tallies:
            part = next(tally.parts)
            rows_of_part = part_rows(tally.task, part, objects, family=truth.family)
            _score_part(tally, part, drawn, rows_of_part, confidence=extended)
            _score_sources(tally, part, truth, rows)
        advance(rows.stop - rows.start)
    return [tally.scores() for tally in tallies]


def record_tasks(tasks: Sequence[Task], scores: Sequence[Scores], truth: Truth) -> list[Record]:
    """Aggregate the scores of tasks and write their records."""
    area = _areas(truth)
    records = []
    for task, found in zip(tasks, scores, strict=True):
        retrieval = retrieval_of(task.stored, truth)
        for (variant, name), values in found.rows.items():
            protocol = protocol_called(name)
            numbers = numbers_of(values, truth, area, protocol)
            ranks = retrieval if variant == "av" and protocol.truth == "boxes" else {}
            for metric, (rate, count) in ranks.items():
                numbers.add_rates(count, **{metric: rate})
            row = _Scored(task, variant, protocol, values, numbers, found)
            records.append(_record(row, truth))
            _write_per_sample(row, truth, area, records[-1])
            write_record(records[-1])
    return records


def score_and_record(tasks: Sequence[Task], *, prior: Stored | None, advance: Callable[[int], None]) -> list[Record]:
    """:func:`score_tasks`, then :func:`record_tasks`, for tasks whose predictions share a truth file."""
    truth = read_truth(tasks[0].stored.truth_path)
    return record_tasks(tasks, score_tasks(tasks, truth, prior=prior, advance=advance), truth)


def _drawn(truth: Truth, rows: slice, kinds: set[TruthKind]) -> dict[TruthKind, Tensor]:
    drawing: dict[TruthKind, Callable[[slice], Tensor]] = {"boxes": truth.union_maps, "masks": truth.masks}
    return {kind: draw(rows) for kind, draw in drawing.items() if kind in kinds}


def part_rows(task: Task, part: Part, objects: RawMaps | None, *, family: str) -> dict[RowKey, Row]:
    """What is measured of a part: its maps, those mixed in, and the protocol of each row but those of several sources.

    Args:
        task: Whose rows.
        part: Of its predictions.
        objects: The object maps of the same samples, where rows need them.
        family: Of the data set, which a protocol may look at.

    Raises:
        UsageError: for a variant that needs an image-query map where there is none.
    """
    if any(variant in NEEDING_QUERY for variant, _ in task.rows):
        require_image_query(task.stored.method, [name.removeprefix("extra.") for name in part.tensors])
    maps = {name: RawMaps(part.tensors[name], part.score_range) for name in MAPS.values() if name in part.tensors}
    own_query = [maps["extra.image_query"]] if "extra.image_query" in maps else []
    seen = [objects] if objects else []
    fused = {"iqr": own_query, "av+ogl": seen, "iqr+ogl": own_query + seen}
    return {
        (variant, name): Row(maps[MAPS[variant]], _protocol_on(task, name, family), tuple(fused.get(variant, ())))
        for variant, name in task.rows
        if protocol_called(name).truth != "sources"
    }


def checked_parts(task: Task, truth: Truth, names: tuple[str, ...] | None = None) -> Iterator[Part]:
    """The parts of stored predictions in order, each made sure to be of the truth's samples.

    Raises:
        AvbenchError: for a part that cannot be read, or is of other samples.
    """
    for number, part in enumerate(read_parts(task.stored.folder, len(truth), names)):
        _require_fitting(task.stored, part, truth.ids[number * PART : (number + 1) * PART])
        yield part


def object_maps(part: Part) -> RawMaps:
    """The maps of the object prior."""
    return RawMaps(part.tensors["map"], part.score_range)


def _score_part(
    tally: _Tally, part: Part, drawn: Mapping[TruthKind, Tensor], rows: Mapping[RowKey, Row], *, confidence: bool
) -> None:
    own = part.tensors.get("confidence") if confidence else None
    tally.score_range, tally.own_confidence = part.score_range, own is not None
    if not rows:
        return
    measured = measure_rows(list(rows.values()), drawn, confidence=confidence and own is None)
    for key, values in zip(rows, measured, strict=True):
        tally.found.setdefault(key, []).append(values if own is None else {**values, "confidence": own.double()})


def _score_sources(tally: _Tally, part: Part, truth: Truth, rows: slice) -> None:
    for key in tally.task.rows:
        protocol = protocol_called(key[1])
        if protocol.truth == "sources":
            tally.found.setdefault(key, []).append(measure_sources(part, protocol, truth, rows))


def _protocol_on(task: Task, name: str, family: str) -> Protocol:
    protocol = protocol_called(name).on(family)
    return protocol.of_prior() if task.is_prior else protocol


def _require_fitting(stored: Stored, part: Part, ids: Sequence[str]) -> None:
    shape = list(part.tensors["map"].shape) if "map" in part.tensors else None
    if shape is None or len(shape) != 3 or shape[0] != len(part.ids) or 0 in shape:
        raise AvbenchError(f"expected maps [{len(part.ids)}, h, w] in {stored.folder}, found {shape}: predict again")
    if tuple(part.ids) != tuple(ids):
        raise AvbenchError(
            f"the predictions in {stored.folder} are of other samples than the truth in {stored.truth_path.name} "
            f"(they begin with {part.ids[0] if part.ids else 'nothing'}, it with {ids[0]}): predict again"
        )


def _areas(truth: Truth) -> Tensor:
    """``[n]``: the sum of each sample's truth as boxes tell it."""
    starts = range(0, len(truth), PART)
    return torch.cat([truth.union_maps(slice(n, n + PART)).sum(dim=(1, 2)).double() for n in starts])


def _scale(row: _Scored) -> dict[str, Any]:
    """On which scale the maps were thresholded, and what says how sure they are."""
    unplaced = row.protocol.scale == "score_range" and row.scores.score_range is None
    rule = "method" if row.scores.own_confidence else row.protocol.confidence.rule
    return {
        "score_range": row.scores.score_range,
        "scale": "own extremes" if unplaced else row.protocol.scale,
        "confidence": rule if "confidence" in row.values else None,
    }


def _record(row: _Scored, truth: Truth) -> Record:
    stored, count = row.task.stored, int(truth.positive.sum())
    path = row.task.record_path(row.variant, row.protocol.name)
    counted = row.values.get("ciou", row.values.get("iou"))
    return Record(
        method=stored.method,
        variant=row.variant,
        split=stored.split,
        protocol=row.protocol.name,
        audio=stored.audio,
        n_expected=stored.expected,
        n_scored=len(truth),
        n_positive=count,
        n_nan=0 if counted is None else int(counted[truth.positive].isnan().sum()),
        partial=len(truth) < stored.expected,
        metrics=row.numbers.metrics,
        intervals=row.numbers.intervals(),
        provenance={**_provenance(row, truth), **_scale(row)},
        run={**_run(stored), "finished": pd.Timestamp.now(tz="UTC").isoformat(timespec="seconds")},
        per_sample=path.with_suffix(".parquet").name,
        path=path,
    )


def _provenance(row: _Scored, truth: Truth) -> dict[str, Any]:
    stored, protocol = row.task.stored, row.protocol
    return {
        **stored.resolved,
        "split": {"name": stored.split, "sha256": stored.split_sha256, "missing": list(stored.missing)},
        "truth": truth.sha256,
        "doubtful": sum(truth.doubtful),
        "protocol": {"name": protocol.name, "version": protocol.version},
        "metrics": {name: METRICS[name].version for name in row.numbers.metrics},
        "inputs": stored.inputs,
        "key": stored.key,
        "prior_key": row.task.prior_key if row.variant in WITH_OBJECTS else None,
        "software": software(),
        "decoding": {"image": "pillow-bicubic-224", "audio": "soundfile-mean", "resampling": "torchaudio"},
    }


def _run(stored: Stored) -> dict[str, Any]:
    return {
        "seconds": seconds_of(stored.folder),
        "command": stored.asked["command"],
        **machine(stored.asked["device"]),
    }


def _write_per_sample(row: _Scored, truth: Truth, area: Tensor, record: Record) -> None:
    table = pd.DataFrame(
        {
            "id": truth.ids,
            "label": pd.array(list(truth.labels), dtype="string"),
            "image": truth.image_names,
            "boxes": [len(boxes) for boxes in truth.boxes],
            "area": area.numpy(),
            "doubtful": truth.doubtful,
            **{name: column.numpy() for name, column in row.values.items() if column.ndim == 1},
        }
    )
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomic(record.path.with_name(record.per_sample), buffer.getvalue())


def per_sample_path(record: Record) -> Path:
    """Where the per-sample values of a record stand."""
    return record.path.with_name(record.per_sample)
