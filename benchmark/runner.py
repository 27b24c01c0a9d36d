"""Running: find what is known, train what the demo lacks, predict what is missing, score, record.

Nothing here imports torch until a result is missing: a second identical run answers from the records.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avbench.checkpoints import checkpoint_given
from avbench.data.coverage import Coverage, covered
from avbench.data.sharding import ALONE
from avbench.data.splits import Split
from avbench.errors import UsageError
from avbench.opening import Places, Progress, open_split, silent
from avbench.processes import shard_of_process
from avbench.records import Record, read_record
from avbench.registry import MethodInfo, MethodRef, describe, find_method
from avbench.request import Job, MethodRequest, Settings, part_count, part_path, protocols_for
from avbench.store import hash_json
from avbench.stored import OBJECT_PRIOR
from avbench.trained import trained_checkpoint
from avbench.truth import truth_path

COLUMNS = 8
"""Methods in a picture grid; the whole image is left out, there is nothing to see."""


@dataclass(frozen=True)
class Outcome:
    """What a run on one split gave."""

    jobs: list[Job]
    records: list[Record]

    def picture(self) -> Path | None:
        """The grid of the plain maps under the first protocol, drawn if it is not there yet.

        None where there is nothing to draw: no method that looks at images, no maps left, no sounding object.
        """
        shown = [job for job in self.jobs if job.method.ref.name != "whole"][:COLUMNS]
        samples = self.jobs[0].split.samples
        looked_at = any("image" in job.method.info.needs for job in shown)
        kept = all(part_path(job.folder, n).exists() for job in shown for n in range(part_count(len(samples))))
        if not looked_at or not kept or not any(sample.boxes for sample in samples):
            return None
        protocol = shown[0].settings.protocols[0]
        out = grid_path(shown, protocol)
        if not out.exists():
            from avbench.gallery import draw_grid

            by_path = {record.path: record for record in self.records}
            records = [by_path[job.record_path("av", protocol)] for job in shown]
            told = len({record.method for record in records}) < len(records)
            titled = [replace(one, method=f"{one.method}@{one.selection}") if told else one for one in records]
            draw_grid(shown, titled, out)
        return out


def run(
    requests: Sequence[MethodRequest], split_name: str, places: Places, settings: Settings, progress: Progress = silent
) -> Outcome:
    """Evaluate methods on one split; one record per method, variant and protocol, in the order of the requests.

    Raises:
        UsageError: for contradicting settings, or a method that needs a checkpoint and has none.
        AvbenchError: for missing or broken files.
    """
    split = open_split(split_name, places, progress)
    settings = replace(settings, protocols=protocols_for(split, settings.protocols))
    requests = _with_object_prior(requests, settings)
    split, found = _covered(split, requests, settings)
    ready = [trained_checkpoint(request, split, settings, progress) for request in requests]
    jobs = [Job(request, split, found, settings) for request in ready]
    prior = next((job.key for job in jobs if job.method.ref.name == OBJECT_PRIOR), None)
    jobs = [replace(job, prior_key=prior) for job in jobs]
    if not all(_is_recorded(job) for job in jobs):
        _complete(jobs, {}, progress)
    return Outcome(jobs, [read_record(path) for job in jobs for path in _record_paths(job)])


def evaluate_one(method: Any, split: str, places: dict[str, Path | None], **options: Any) -> Record:
    """Evaluate a method given by name or as an object; see :func:`avbench.evaluate`."""
    checkpoint, config = options.pop("checkpoint", None), options.pop("config", {})
    settings = Settings(**options)
    if isinstance(method, str):
        request = request_for(method, Path(checkpoint) if checkpoint else None, config)
        return run([request], split, Places(**places), settings).records[0]
    if checkpoint or config:
        raise UsageError(
            "a method object brings its own weights and settings: pass checkpoint and config with a name only"
        )
    if "ogl" in settings.refine:
        raise UsageError(
            "a method object is evaluated alone, without the object maps that the refinement ogl fuses in: leave ogl "
            "out, or give the method as a file, path/to/file.py:Name"
        )
    from avbench.building import place_of

    settings = replace(settings, device=str(place_of(method)[0]))
    loaded = open_split(split, Places(**places), silent)
    settings = replace(settings, protocols=protocols_for(loaded, settings.protocols))
    request = _request_for_object(method)
    loaded, found = _covered(loaded, [request], settings)
    job = Job(request, loaded, found, settings)
    _complete([job], {job.key: method}, silent)
    shutil.rmtree(job.folder)  # nothing tells whether another object would answer alike: its maps are not found again
    return read_record(_record_paths(job)[0])


def request_for(text: str, checkpoint: Path | None, overrides: dict[str, Any]) -> MethodRequest:
    """A request for the method that ``text`` names.

    Raises:
        UsageError: for an unknown method or a checkpoint that is not there.
    """
    ref = find_method(text)
    given = None if checkpoint is None else checkpoint_given(checkpoint)
    return MethodRequest(ref, describe(ref), given, overrides)


def grid_path(jobs: Sequence[Job], protocol: str) -> Path:
    """Where the grid of these jobs stands; its name follows from their keys."""
    key = hash_json([[job.key for job in jobs], protocol])[:12]
    return jobs[0].settings.runs / "pictures" / f"{jobs[0].split.name}-{key}.png"


def _with_object_prior(requests: Sequence[MethodRequest], settings: Settings) -> list[MethodRequest]:
    if "ogl" not in settings.refine or any(request.ref.name == OBJECT_PRIOR for request in requests):
        return list(requests)
    return [*requests, request_for(OBJECT_PRIOR, None, {})]


def _covered(split: Split, requests: Sequence[MethodRequest], settings: Settings) -> tuple[Split, Coverage]:
    """The split reduced to what is there, where that is allowed; every method of a run sees the same samples."""
    needs = sorted({need for request in requests for need in request.info.needs})
    return covered(split, needs, allow_missing=settings.allow_missing)


def _record_paths(job: Job) -> list[Path]:
    return [job.record_path(variant, protocol) for variant, protocol in job.rows()]


def _is_recorded(job: Job) -> bool:
    truth = truth_path(job.split, job.settings.runs)
    scored = all(path.exists() and path.with_suffix(".parquet").exists() for path in _record_paths(job))
    return scored and truth.exists()


def _complete(jobs: Sequence[Job], built: dict[str, Any], progress: Progress) -> None:
    from avbench.completing import complete

    shard = shard_of_process() if not built else ALONE
    complete([job for job in jobs if not _is_recorded(job)], jobs, built, progress, shard=shard)


def _request_for_object(method: Any) -> MethodRequest:
    cls = type(method)
    info = getattr(cls, "info", MethodInfo(cls.__name__.lower()))
    ref = MethodRef(info.name, "object", cls.__module__, cls.__name__, None)
    return MethodRequest(ref, info, None, {"object": uuid.uuid4().hex})
