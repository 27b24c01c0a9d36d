"""The part of a run that needs torch: build the methods, predict what is missing, score what is not recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from avbench.building import build_request
from avbench.checkpoints import load_weights
from avbench.opening import Progress
from avbench.parts import missing_parts
from avbench.predicting import predict, resolve_device
from avbench.request import PART, Job, MethodRequest
from avbench.scoring import record_job, score_jobs


def complete(jobs: Sequence[Job], everything: Sequence[Job], built: dict[str, Any], progress: Progress) -> None:
    """Bring ``jobs`` to their records.

    Args:
        jobs: Those of which a record is missing.
        everything: All jobs of the run, among them the object prior that others fuse in.
        built: Methods that exist already, by the key of their job; the others are loaded.
        progress: For the two bars.
    """
    samples = len(jobs[0].split.samples)
    prior = next((job for job in everything if job.method.ref.name == "ogl"), None)
    wanted = list(jobs) if prior is None or prior in jobs else [*jobs, prior]
    device = str(resolve_device(jobs[0].settings.device))
    methods = [built.get(job.key) or build_request(job.method, device) for job in wanted]
    missing = sorted({n for job in wanted for n in missing_parts(job.folder, samples)})
    if missing:
        total = sum(min(PART, samples - n * PART) for n in missing)
        title = f"{', '.join(job.method.ref.name for job in wanted)} on {jobs[0].split.name}"
        with progress(f"predicting {title}", total) as advance:
            predict(wanted, methods, advance)
    fused = prior if "ogl" in jobs[0].settings.refine else None
    with progress(f"scoring {jobs[0].split.name}", samples) as advance:
        scores = score_jobs(jobs, prior=fused, advance=advance)
    for job, values, method in zip(jobs, scores, methods, strict=False):
        record_job(job, values, method, _resolved(job, method))


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
            "training": meta or None,
        },
    }


def _origin(request: MethodRequest) -> str:
    return request.ref.source.name if _is_file(request) and request.ref.source else request.ref.origin
