"""From part files to records: every variant under every protocol, without a network or the media."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from avbench.metrics.ground_truth import union_map
from avbench.metrics.protocols import Protocol, get_protocol
from avbench.metrics.scoring import aggregate, score
from avbench.metrics.statistics import wilson_interval
from avbench.parts import Part, read_parts
from avbench.predicting import require_image_query, resolve_device, seconds_of
from avbench.provenance import machine, software
from avbench.records import Record, write_record
from avbench.request import FUSED, PART, Job
from avbench.retrieval import retrieval_metrics
from avbench.store import write_atomic

MAPS = {"av": "map", "image_query": "extra.image_query", "iqr": "map", "av+ogl": "map"}
"""The tensor of a part that holds each variant's map, before fusion."""


Scores = dict[tuple[str, str], Tensor]
"""Per-sample values ``[n]`` by variant and protocol."""


@dataclass(frozen=True)
class _Row:
    variant: str
    protocol: Protocol
    values: Tensor
    positive: Tensor
    metrics: dict[str, float]


def score_jobs(jobs: Sequence[Job], *, prior: Job | None, advance: Callable[[int], None]) -> list[Scores]:
    """Per-sample consensus IoU of all rows of ``jobs``, which share a split; the truth is drawn once for all.

    Args:
        jobs: Predictions, complete.
        prior: The job of the object map that ``av+ogl`` fuses in.
        advance: Called with the number of samples that were scored.

    Returns:
        For each job ``[n]`` float64 by variant and protocol.

    Raises:
        UsageError: for a refinement that a method cannot give.
    """
    samples = jobs[0].split.samples
    found: list[dict[tuple[str, str], list[Tensor]]] = [{row: [] for row in job.rows()} for job in jobs]
    streams = [read_parts(job.folder, len(samples)) for job in jobs]
    priors = read_parts(prior.folder, len(samples), ("map",)) if prior else None
    for start in range(0, len(samples), PART):
        chunk = samples[start : start + PART]
        truth = torch.stack([union_map(sample.boxes) for sample in chunk])
        object_map = next(priors).tensors["map"] if priors else None
        for job, stream, rows in zip(jobs, streams, found, strict=True):
            _score_part(job, next(stream), truth, object_map, rows)
        advance(len(chunk))
    return [{row: torch.cat(values) for row, values in rows.items()} for rows in found]


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
    for (variant, name), values in scores.items():
        metrics = {**aggregate(values[positive]), **(retrieval if variant == "av" else {})}
        row = _Row(variant, get_protocol(name), values, positive, metrics)
        records.append(_record(job, row, _provenance(job, variant, row.protocol, resolved)))
        _write_per_sample(job, values, records[-1])
        write_record(records[-1])
    return records


def _score_part(
    job: Job, part: Part, truth: Tensor, object_map: Tensor | None, rows: dict[tuple[str, str], list[Tensor]]
) -> None:
    require_image_query(job, {name.removeprefix("extra.") for name in part.tensors})
    fused = {"iqr": part.tensors.get("extra.image_query"), "av+ogl": object_map}
    for (variant, name), values in rows.items():
        values.append(score(part.tensors[MAPS[variant]], truth, get_protocol(name), prior=fused.get(variant)))


def _record(job: Job, row: _Row, provenance: dict[str, Any]) -> Record:
    path = job.record_path(row.variant, row.protocol.name)
    count = int(row.positive.sum())
    successes = round(row.metrics["locacc"] * count) if count else 0
    return Record(
        method=job.method.ref.name,
        variant=row.variant,
        split=job.split.name,
        protocol=row.protocol.name,
        audio=job.settings.audio if "audio" in job.method.info.needs else "true",
        n_expected=job.coverage.expected,
        n_scored=len(row.values),
        n_positive=count,
        n_nan=int(row.values[row.positive].isnan().sum()),
        partial=len(row.values) < job.coverage.expected,
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
        "prior_key": job.prior_key if variant == FUSED["ogl"] else None,
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


def _write_per_sample(job: Job, values: Tensor, record: Record) -> None:
    samples: Sequence[Any] = job.split.samples
    table = pd.DataFrame(
        {
            "id": [sample.id for sample in samples],
            "label": pd.array([sample.label for sample in samples], dtype="string"),
            "boxes": [len(sample.boxes) for sample in samples],
            "ciou": values.numpy(),
        }
    )
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomic(record.path.with_name(record.per_sample), buffer.getvalue())
