"""The prediction pass: every sample decoded once, every front-end computed once, every method asked in turn."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from avbench.augment import normalise
from avbench.building import place_of
from avbench.data.loader import LoaderOptions, RawBatch, iterate_batches
from avbench.data.sharding import ALONE, Shard
from avbench.errors import AvbenchError, UsageError, unknown_name
from avbench.locking import locked
from avbench.parts import Part, missing_parts, write_part
from avbench.processes import is_launched, meet
from avbench.request import PART, Job, Settings, require_image_query
from avbench.store import read_json, write_json
from avbench.types import Batch, Frontend, Picture

Advance = Callable[[int], None]
TIMING = "timing.json"


@dataclass
class _Worker:
    """A job with its network, and the rows of the part that is being filled."""

    job: Job
    method: Any
    missing: set[int]
    rows: list[Part] = field(default_factory=list)
    seconds: float = 0.0


def resolve_device(text: str) -> torch.device:
    """``auto`` is the GPU where there is one; each of several processes that torchrun started has one of its own.

    Raises:
        UsageError: for a device that torch does not know or cannot reach.
    """
    if text == "auto":
        return _own(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        device = torch.device(text)
    except RuntimeError:
        raise UsageError(f"expected a device such as cpu, cuda or cuda:1, got {text!r}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"the device {text} was asked for, but torch sees no GPU here: use --device cpu")
    return _own(device)


def _own(device: torch.device) -> torch.device:
    """This process's GPU where torchrun started it and a GPU is asked for, else ``device``.

    Raises:
        UsageError: where more processes than GPUs were started on this machine.
    """
    if device.type != "cuda" or not is_launched():
        return device
    local, seen = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= seen:
        raise UsageError(
            f"torchrun started {os.environ['LOCAL_WORLD_SIZE']} processes here, and torch sees {seen} GPUs: start one "
            "process per GPU, with --nproc-per-node"
        )
    return torch.device("cuda", local)


def predict(
    jobs: Sequence[Job], methods: Sequence[Any], advance: Advance = lambda samples: None, *, shard: Shard = ALONE
) -> None:
    """Write the part files that ``jobs`` lack, in one pass over the samples that any of them lacks.

    Several processes share the work by parts, so that each part is the same whatever their number.

    The jobs share split, settings and coverage. Interrupted at any point, the parts written so far stay valid, and a
    second call writes only the rest.

    Args:
        jobs: What to predict; each has its own folder of part files.
        methods: The networks, in eval mode and on the device, one per job.
        advance: Called with the number of samples that a batch finished.
        shard: Which of several processes this is, all of which call this.

    Raises:
        AvbenchError: if a sample cannot be decoded; the parts before it are kept.
    """
    samples = len(jobs[0].split.samples)
    workers = [_Worker(j, m, set(missing_parts(j.folder, samples))) for j, m in zip(jobs, methods, strict=True)]
    numbers = shard.of(sorted(set().union(*(worker.missing for worker in workers))))
    for worker in workers:
        worker.missing.intersection_update(numbers)
    workers = [worker for worker in workers if worker.missing]
    meet(shard)  # what one of them writes from now on would be missing no more to another
    if not workers:
        return
    indices = [i for n in numbers for i in range(n * PART, min((n + 1) * PART, samples))]
    started = time.perf_counter()
    for raw in _batches(workers, indices):
        decoded = time.perf_counter() - started
        _answer(workers, raw, decoded)
        advance(len(raw.ids))
        started = time.perf_counter()


def decoding_processes(settings: Settings) -> int:
    """How many processes decode: as asked for, else all processors but one beside a GPU, none beside a busy CPU."""
    if settings.workers is not None:
        return settings.workers
    on_gpu = resolve_device(settings.device).type == "cuda"
    return max(1, len(os.sched_getaffinity(0)) - 1) if on_gpu else 0


def seconds_of(folder: Path) -> float:
    """Decoding, front-end and forward time of all parts in ``folder``, interrupted runs added up."""
    path = folder / TIMING
    return sum(read_json(path).values()) if path.exists() else 0.0


def as_batch(raw: RawBatch, method: Any, spectrograms: dict[Frontend, Tensor], images: dict[Picture, Tensor]) -> Batch:
    """The batch that one method sees, in the floating type of its weights.

    ``spectrograms`` holds what earlier methods of the batch had computed, and takes what this one adds; ``images`` are
    those of :func:`images_of`.
    """
    frontend, audio, dtype = method.frontend, None, place_of(method)[1]
    if frontend is not None:
        if frontend not in spectrograms:
            spectrograms[frontend] = frontend(raw.waveforms[frontend.window], raw.rate)
        audio = spectrograms[frontend].to(dtype)
    image = images.get(picture_of(method), images["squash"])
    return Batch(raw.ids, image.to(dtype), audio, objects=raw.objects)


def images_of(raw: RawBatch, device: torch.device) -> dict[Picture, Tensor]:
    """The normalised images of a batch, in all ways that methods of the run ask for.

    ``squash`` is always there, and ``[B, 3, 0, 0]`` where none asks for it.
    """
    none = torch.empty(len(raw.ids), 3, 0, 0, device=device)
    further = {kind: normalise(image) for kind, image in raw.pictures.items()}
    return {"squash": none if raw.image is None else normalise(raw.image), **further}


def picture_of(method: Any) -> Picture:
    """In which way a method looks at pictures in testing.

    Raises:
        UsageError: for a way that there is not.
    """
    picture: Picture = getattr(method, "picture", "squash")
    if picture not in get_args(Picture):
        raise unknown_name("picture", picture, get_args(Picture), "avbench.types.Picture")
    return picture


def _batches(workers: Sequence[_Worker], indices: list[int]) -> Any:
    job, settings = workers[0].job, workers[0].job.settings
    frontends = [worker.method.frontend for worker in workers if worker.method.frontend is not None]
    needs = sorted({need for worker in workers for need in worker.job.method.info.needs})
    pictures = {picture_of(worker.method) for worker in workers if "image" in worker.job.method.info.needs}
    return iterate_batches(
        job.split,
        indices,
        windows=sorted({f.window for f in frontends}, key=str),
        needs=needs,
        device=resolve_device(settings.device),
        options=LoaderOptions(
            settings.batch_size,
            decoding_processes(settings),
            settings.audio,
            settings.audio_rate,
            pictures=tuple(sorted(pictures)),
        ),
    )


@torch.inference_mode()
def _answer(workers: Sequence[_Worker], raw: RawBatch, decoded: float) -> None:
    number = raw.indices[0] // PART
    device = resolve_device(workers[0].job.settings.device)
    images = images_of(raw, device)
    spectrograms: dict[Frontend, Tensor] = {}
    for worker in workers:
        if number not in worker.missing:
            continue
        started = time.perf_counter()
        worker.rows.append(_rows(worker, as_batch(raw, worker.method, spectrograms, images)))
        if device.type == "cuda":  # work is only queued when a call returns
            torch.cuda.synchronize(device)
        worker.seconds += decoded + time.perf_counter() - started
        if _is_last(raw, worker.job):
            _finish(worker, number)


def _rows(worker: _Worker, batch: Batch) -> Part:
    prediction = worker.method.localize(batch)
    if prediction.map.ndim != 3 or len(prediction.map) != len(batch.ids):
        raise AvbenchError(
            f"the method {worker.job.method.ref.name!r} must answer with maps [B, h, w]; for {len(batch.ids)} samples "
            f"it gave {tuple(prediction.map.shape)}: mend its localize"
        )
    if "iqr" in worker.job.settings.refine and not worker.job.method.info.control:
        require_image_query(worker.job.method.ref.name, prediction.extra)
    tensors = {"map": prediction.map, **{f"extra.{name}": extra for name, extra in prediction.extra.items()}}
    if prediction.confidence is not None:
        tensors["confidence"] = prediction.confidence
    if worker.job.settings.retrieval and hasattr(worker.method, "embed") and batch.audio is not None:
        embeddings = worker.method.embed(batch)
        tensors |= {"embedding.image": embeddings.image, "embedding.audio": embeddings.audio}
    return Part(batch.ids, tensors)


def _range_of(worker: _Worker) -> tuple[float, float] | None:
    stated = getattr(worker.method, "score_range", None)
    if stated is None:
        return None
    low, high = map(float, stated)
    if not -math.inf < low < high < math.inf:
        raise AvbenchError(
            f"the method {worker.job.method.ref.name!r} must state its score_range as two finite numbers, the lower "
            f"first; it says {stated}: mend it, or leave it out where the maps have no range"
        )
    return low, high


def _is_last(raw: RawBatch, job: Job) -> bool:
    after = raw.indices[-1] + 1
    return after % PART == 0 or after == len(job.split.samples)


def _finish(worker: _Worker, number: int) -> None:
    names = worker.rows[0].tensors
    shared = names["map"].stride(0) == 0
    tensors = {
        name: worker.rows[0].tensors[name]
        if shared and name == "map"
        else torch.cat([r.tensors[name] for r in worker.rows])
        for name in names
    }
    ids = [i for row in worker.rows for i in row.ids]
    write_part(worker.job.folder, number, Part(ids, tensors, _range_of(worker)))
    path = worker.job.folder / TIMING
    with locked(path):
        timing = read_json(path) if path.exists() else {}
        write_json(path, {**timing, str(number): round(worker.seconds, 4)})
    worker.missing.discard(number)
    worker.rows, worker.seconds = [], 0.0
