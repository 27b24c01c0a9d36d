"""The part of a run that needs torch: build the methods, predict what is missing, score what is not recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from avbench.building import build_request
from avbench.checkpoints import load_weights
from avbench.data.sharding import ALONE, Shard
from avbench.opening import Progress
from avbench.parts import missing_parts
from avbench.predicting import predict, resolve_device
from avbench.processes import meet
from avbench.request import PART, Job, MethodRequest
from avbench.retrieval import rank_embeddings
from avbench.scoring import record_tasks, score_tasks
from avbench.stored import Stored, Task, describe_job, write_stored
from avbench.truth import read_truth, write_truth


def complete(
    jobs: Sequence[Job],
    everything: Sequence[Job],
    built: dict[str, Any],
    progress: Progress,
    *,
    shard: Shard = ALONE,
) -> None:
    """Bring ``jobs`` to their records.

    Several processes, one per device, share the predictions by parts; the first scores them, and all go on when the
    records are there.

    Args:
        jobs: Those of which a record is missing.
        everything: All jobs of the run, among them the object prior that others fuse in.
        built: Methods that exist already, by the key of their job; the others are loaded.
        progress: For the two bars.
        shard: Which of the processes this is.
    """
    prior = next((job for job in everything if job.method.ref.name == "ogl"), None)
    wanted = list(jobs) if prior is None or prior in jobs else [*jobs, prior]
    device = str(resolve_device(jobs[0].settings.device))
    meet(shard)
    truth_file = write_truth(jobs[0].split, jobs[0].settings.runs)
    methods = [built.get(job.key) or build_request(job.method, device) for job in wanted]
    stored = {
        job.key: describe_job(job, truth=truth_file, resolved=_resolved(job, method), device=device)
        for job, method in zip(wanted, methods, strict=True)
    }
    if shard.rank == 0:
        for described in stored.values():
            write_stored(described)
    meet(shard)
    _predict(wanted, methods, progress, shard)
    meet(shard)
    if shard.rank == 0:
        _score(jobs, wanted, methods, stored, progress)
    meet(shard)


def _score(
    jobs: Sequence[Job], wanted: Sequence[Job], methods: Sequence[Any], stored: dict[str, Stored], progress: Progress
) -> None:
    truth_file = next(iter(stored.values())).truth_path
    prior = next((job for job in wanted if job.method.ref.name == "ogl"), None)
    truth = read_truth(truth_file)
    for job, method in zip(wanted, methods, strict=True):
        if job.settings.retrieval:
            rank_embeddings(stored[job.key], truth, method)
    tasks = [Task(stored[job.key], tuple(job.rows()), job.prior_key) for job in jobs]
    fused = stored[prior.key] if prior and "ogl" in jobs[0].settings.refine else None
    with progress(f"scoring {truth.split}", len(truth)) as advance:
        record_tasks(tasks, score_tasks(tasks, truth, prior=fused, advance=advance), truth)


def _predict(jobs: Sequence[Job], methods: Sequence[Any], progress: Progress, shard: Shard) -> None:
    samples = len(jobs[0].split.samples)
    missing = sorted({n for job in jobs for n in missing_parts(job.folder, samples)})
    if not missing:
        return
    total = sum(min(PART, samples - n * PART) for n in shard.of(missing))
    title = f"{', '.join(job.method.ref.name for job in jobs)} on {jobs[0].split.name}"
    with progress(f"predicting {title}", total) as advance:
        predict(jobs, methods, advance, shard=shard)


def _is_file(request: MethodRequest) -> bool:
    return request.ref.origin == str(request.ref.source)


def _resolved(job: Job, method: Any) -> dict[str, Any]:
    request = job.method
    config = getattr(method, "config", None)
    meta = load_weights(request.checkpoint)[2] if request.checkpoint else {}
    return {
        "method": {"name": request.ref.name, "origin": _origin(request), "info": asdict(request.info)},
        "config": asdict(config) if config is not None and hasattr(config, "__dataclass_fields__") else None,
        "checkpoint": {
            "name": request.checkpoint.name if request.checkpoint else None,
            "sha256": request.checkpoint_sha256,
            "selection": meta.get("selection", "unknown" if request.checkpoint else None),
            "selected": meta.get("selected"),
            "training": meta or None,
        },
    }


def _origin(request: MethodRequest) -> str:
    return request.ref.source.name if _is_file(request) and request.ref.source else request.ref.origin
