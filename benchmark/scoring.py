"""From part files to records: every variant under every protocol, without a network or the media."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from avbench.metrics.extended import aggregate_extended
from avbench.metrics.ground_truth import union_map
from avbench.metrics.protocols import Protocol, get_protocol
from avbench.metrics.scoring import RawMaps, aggregate, measure
from avbench.metrics.statistics import wilson_interval
from avbench.parts import Part, read_parts
from avbench.predicting import require_image_query, resolve_device, seconds_of
from avbench.provenance import machine, software
from avbench.records import Record, write_record
from avbench.request import PART, WITH_OBJECTS, Job
from avbench.retrieval import retrieval_metrics
from avbench.store import write_atomic

MAPS = {"av": "map", "image_query": "extra.image_query", "iqr": "map", "av+ogl": "map", "iqr+ogl": "map"}
"""The tensor of a part that holds each variant's map, before fusion."""


RowKey = tuple[str, str]
"""Variant and protocol."""

PerSample = dict[str, Tensor]
"""Values ``[n]`` by name: ``ciou``, and ``confidence`` where the split has samples without a sounding object."""


@dataclass(frozen=True)
class Scores:
    """What the part files of a job gave, one value per sample."""

    rows: dict[RowKey, PerSample]
    score_range: tuple[float, float] | None
    own_confidence: bool
    """Whether the method gave a confidence of its own, which then stands in all its rows."""


@dataclass
class _Tally:
    """The values of a job's rows, part by part."""

    job: Job
    parts: Iterator[Part]
    found: dict[RowKey, list[PerSample]]
    score_range: tuple[float, float] | None = None
    own_confidence: bool = False

    def scores(self) -> Scores:
        rows = {
            row: {name: torch.cat([v[name] for v in values]) for name in values[0]}
            for row, values in self.found.items()
        }
        return Scores(rows, self.score_range, self.own_confidence)


@dataclass(frozen=True)
class _Row:
    variant: str
    protocol: Protocol
    values: PerSample
    positive: Tensor
    metrics: dict[str, float]


def score_jobs(jobs: Sequence[Job], *, prior: Job | None, advance: Callable[[int], None]) -> list[Scores]:
    """Per-sample values of all rows of ``jobs``, which share a split; the truth is drawn once for all.

    Args:
        jobs: Predictions, complete.
        prior: The job of the object map that ``av+ogl`` fuses in.
        advance: Called with the number of samples that were scored.

    Returns:
        For each job its values by variant and protocol; confidences where the split has samples without boxes.

    Raises:
        UsageError: for a refinement that a method cannot give.
    """
    samples = jobs[0].split.samples
    extended = not all(sample.boxes for sample in samples)
    tallies = [_Tally(job, read_parts(job.folder, len(samples)), {row: [] for row in job.rows()}) for job in jobs]
    priors = read_parts(prior.folder, len(samples), ("map",)) if prior else None
    for start in range(0, len(samples), PART):
        chunk = samples[start : start + PART]
        truth = torch.stack([union_map(sample.boxes) for sample in chunk])
        objects = _object_maps(next(priors)) if priors else None
        for tally in tallies:
            _score_part(tally, truth, objects, confidence=extended)
        advance(len(chunk))
    return [tally.scores() for tally in tallies]


def record_job(job: Job, scores: Scores, method: Any, resolved: dict[str, Any]) -> list[Record]:
    """Aggregate the scores of a job and write its records.

    Args:
        job: What was scored.
        scores: From :func:`score_jobs`.
        method: The network, for the similarity of its embeddings alone.
        resolved: What the record says of the method: its full config and its checkpoint.
    """
    positive = torch.tensor([bool(sample.boxes) for sample in job.split.samples])
    retrieval = retrieval_metrics(job, method) if job.settings.retrieval else {}
    records = []
    for (variant, name), values in scores.rows.items():
        metrics = {**_aggregates(values, positive), **(retrieval if variant == "av" else {})}
        row = _Row(variant, get_protocol(name), values, positive, metrics)
        records.append(_record(job, row, {**_provenance(job, variant, row.protocol, resolved), **_scale(scores, row)}))
        _write_per_sample(job, values, records[-1])
        write_record(records[-1])
    return records


def _score_part(tally: _Tally, truth: Tensor, objects: RawMaps | None, *, confidence: bool) -> None:
    part, job = next(tally.parts), tally.job
    require_image_query(job, {name.removeprefix("extra.") for name in part.tensors})
    own = part.tensors.get("confidence") if confidence else None
    tally.score_range, tally.own_confidence = part.score_range, own is not None
    maps = {name: RawMaps(part.tensors[name], part.score_range) for name in MAPS.values() if name in part.tensors}
    own_query = [maps["extra.image_query"]] if "extra.image_query" in maps else []
    seen = [objects] if objects else []
    fused = {"iqr": own_query, "av+ogl": seen, "iqr+ogl": own_query + seen}
    for (variant, name), values in tally.found.items():
        measured = measure(
            maps[MAPS[variant]],
            truth,
            _protocol_on(job, name),
            priors=fused.get(variant, []),
            confidence=confidence and own is None,
        )
        values.append(measured if own is None else {**measured, "confidence": own.double()})


def _object_maps(part: Part) -> RawMaps:
    return RawMaps(part.tensors["map"], part.score_range)


def _protocol_on(job: Job, name: str) -> Protocol:
    protocol = get_protocol(name).on(job.split.name)
    return protocol.of_prior() if job.key == job.prior_key else protocol


def _aggregates(values: PerSample, positive: Tensor) -> dict[str, float]:
    """Overlap over the samples with a sounding object; detection over all, where some have none."""
    found = aggregate(values["ciou"][positive])
    if "confidence" in values:
        found |= aggregate_extended(values["confidence"], values["ciou"], sounding=positive)
    return found


def _scale(scores: Scores, row: _Row) -> dict[str, Any]:
    """On which scale the maps were thresholded, and what says how sure they are."""
    unplaced = row.protocol.scale == "score_range" and scores.score_range is None
    rule = "method" if scores.own_confidence else row.protocol.confidence.rule
    return {
        "score_range": scores.score_range,
        "scale": "own extremes" if unplaced else row.protocol.scale,
        "confidence": rule if "confidence" in row.values else None,
    }


def _record(job: Job, row: _Row, provenance: dict[str, Any]) -> Record:
    path = job.record_path(row.variant, row.protocol.name)
    ciou, count = row.values["ciou"], int(row.positive.sum())
    successes = round(row.metrics["locacc"] * count) if count else 0
    return Record(
        method=job.method.ref.name,
        variant=row.variant,
        split=job.split.name,
        protocol=row.protocol.name,
        audio=job.settings.audio if "audio" in job.method.info.needs else "true",
        n_expected=job.coverage.expected,
        n_scored=len(ciou),
        n_positive=count,
        n_nan=int(ciou[row.positive].isnan().sum()),
        partial=len(ciou) < job.coverage.expected,
        metrics=row.metrics,
        intervals={"locacc": wilson_interval(successes, count)} if count else {},
        provenance=provenance,
        run=_run(job),
        per_sample=path.with_suffix(".parquet").name,
        path=path,
    )


def _provenance(job: Job, variant: str, protocol: Protocol, resolved: dict[str, Any]) -> dict[str, Any]:
    return {
        **resolved,
        "split": {"name": job.split.name, "sha256": job.split.sha256, "missing": list(job.coverage.missing)},
        "protocol": {"name": protocol.name, "version": protocol.version},
        "inputs": job.ingredients,
        "key": job.key,
        "prior_key": job.prior_key if variant in WITH_OBJECTS else None,
        "software": software(),
        "decoding": {"image": "pillow-bicubic-224", "audio": "soundfile-mean", "resampling": "torchaudio"},
    }


def _run(job: Job) -> dict[str, Any]:
    return {
        "seconds": seconds_of(job.folder),
        "finished": pd.Timestamp.now(tz="UTC").isoformat(timespec="seconds"),
        "command": job.settings.command,
        **machine(str(resolve_device(job.settings.device))),
    }


def _write_per_sample(job: Job, values: PerSample, record: Record) -> None:
    samples: Sequence[Any] = job.split.samples
    table = pd.DataFrame(
        {
            "id": [sample.id for sample in samples],
            "label": pd.array([sample.label for sample in samples], dtype="string"),
            "boxes": [len(sample.boxes) for sample in samples],
            **{name: column.numpy() for name, column in values.items()},
        }
    )
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomic(record.path.with_name(record.per_sample), buffer.getvalue())
