"""From part files to records: every variant under every protocol, without a network or the media."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from avbench.errors import UsageError
from avbench.metrics.ground_truth import union_map
from avbench.metrics.protocols import Protocol, get_protocol
from avbench.metrics.scoring import aggregate, score
from avbench.metrics.statistics import wilson_interval
from avbench.parts import Part, read_parts
from avbench.predicting import resolve_device, seconds_of
from avbench.provenance import machine, software
from avbench.records import Record, write_record
from avbench.request import PART, Job
from avbench.retrieval import retrieval_metrics
from avbench.store import write_atomic

MAPS = {"av": "map", "image_query": "extra.image_query", "iqr": "map", "av+ogl": "map"}
"""The tensor of a part that holds each variant's map, before fusion."""


@dataclass(frozen=True)
class _Row:
    variant: str
    protocol: Protocol
    values: Tensor
    positive: Tensor
    metrics: dict[str, float]


def score_job(job: Job, method: Any, *, prior: Job | None, resolved: dict[str, Any]) -> list[Record]:
    """Score all variants of a job under all its protocols and write the records.

    Args:
        job: Predictions, complete.
        method: The network, for the similarity of its embeddings alone.
        prior: The job of the object map that ``av+ogl`` fuses in.
        resolved: What the record says of the method: its full config and its checkpoint.
    """
    positive = torch.tensor([bool(sample.boxes) for sample in job.split.samples])
    retrieval = retrieval_metrics(job, method) if job.settings.retrieval else {}
    records = []
    for (variant, name), values in _score_maps(job, prior).items():
        metrics = {**aggregate(values[positive]), **(retrieval if variant == "av" else {})}
        row = _Row(variant, get_protocol(name), values, positive, metrics)
        records.append(_record(job, row, _provenance(job, row.protocol, resolved)))
        _write_per_sample(job, values, records[-1])
        write_record(records[-1])
    return records


def _score_maps(job: Job, prior: Job | None) -> dict[tuple[str, str], Tensor]:
    rows: dict[tuple[str, str], list[Tensor]] = {row: [] for row in job.rows()}
    priors = _maps(prior) if prior else None
    samples = len(job.split.samples)
    for number, part in enumerate(read_parts(job.folder, samples)):
        chunk = job.split.samples[number * PART : (number + 1) * PART]
        truth = torch.stack([union_map(sample.boxes) for sample in chunk])
        fused = {"iqr": part.tensors.get("extra.image_query"), "av+ogl": next(priors) if priors else None}
        for (variant, name), values in rows.items():
            values.append(score(_map_of(job, part, variant), truth, get_protocol(name), prior=fused.get(variant)))
    return {key: torch.cat(values) for key, values in rows.items()}


def _maps(job: Job) -> Any:
    return (part.tensors["map"] for part in read_parts(job.folder, len(job.split.samples), ("map",)))


def _map_of(job: Job, part: Part, variant: str) -> Tensor:
    name = MAPS[variant]
    if name not in part.tensors or (variant == "iqr" and "extra.image_query" not in part.tensors):
        raise UsageError(
            f"the refinement iqr needs a method with an image-query map, as jsa has; {job.method.ref.name!r} has none: "
            "leave --refine iqr out or name methods that have one"
        )
    return part.tensors[name]


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


def _provenance(job: Job, protocol: Protocol, resolved: dict[str, Any]) -> dict[str, Any]:
    return {
        **resolved,
        "split": {"name": job.split.name, "sha256": job.split.sha256, "missing": list(job.coverage.missing)},
        "protocol": {"name": protocol.name, "version": protocol.version},
        "inputs": job.ingredients,
        "key": job.key,
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
