"""Predicting again what a bundle holds, and how near that comes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from avbench.bundles import HASH, Result, without_paths
from avbench.checkpoints import MODEL, sha256_of
from avbench.data.splits import split_summary
from avbench.errors import AvbenchError, UsageError
from avbench.opening import Places, Progress
from avbench.records import Record
from avbench.registry import method_names
from avbench.request import FUSED, WITH_OBJECTS, MethodRequest, Refinement, Settings, contents, protocol_called
from avbench.runner import request_for, run
from avbench.scoring import NEEDING_QUERY, per_sample_path
from avbench.selection import FOLDERS
from avbench.stored import Stored
from avbench.verification import Verified
from avbench.verification_reports import listed
from avbench.verification_scores import row_of

NEAR = 0.005
"""How far each headline metric, and the mean of the samples' cIoU differences, may be from what was submitted."""

DETECTION = ("ap", "max_f1")
"""Headline metrics beside a protocol's own, where a split has samples without a sounding object."""

PER_SAMPLE = ("ciou", "iou", "piap")
"""The value of a sample that is compared: the first of these that a record has."""


TOLD_BY_WEIGHTS = ("selected", "training")
"""What a checkpoint says of itself, in the bytes that its hash is of."""


@dataclass(frozen=True)
class Again:
    """How a re-run came out.

    Attributes:
        metrics: the largest difference of a headline metric; NaN where nothing could be run.
        ciou: the largest difference of a sample's cIoU.
        problem: why it does not count as the same, in one sentence; empty where it does.
    """

    metrics: float = math.nan
    ciou: float = math.nan
    problem: str = ""


@dataclass(frozen=True)
class Bench:
    """Where and with what methods are run again.

    Attributes:
        places: Of annotation files and media.
        device: As of ``avbench run``.
        checkpoints: Files or folders of weights, or folders of trainings, by method.
        runs: A folder for what is predicted.
    """

    places: Places
    device: str
    checkpoints: Mapping[str, Sequence[Path]]
    runs: Path


def require_wanted(found: Verified, checkpoints: Mapping[str, Sequence[Path]]) -> None:
    """Refuse weights that nothing in the bundle was predicted with.

    Raises:
        UsageError: if so, or if there are none at such a place.
    """
    for method, places in checkpoints.items():
        own = [stored for stored in found.stored.values() if stored.method == method]
        for place in places:
            if not any(_matching(stored, [place]) for stored in own):
                wanted = " or ".join(sorted({str(_told(stored))[:12] for stored in own})) or "of its records"
                raise UsageError(
                    f"expected weights of {method} with the hash {wanted}, found others at {place}: name those that "
                    "its predictions were made with"
                )


def rerun(entry: Result, found: Verified, bench: Bench, progress: Progress) -> Again:
    """Predict an entry with its own sounds again, score it under the same protocols, and compare.

    It is the same if every headline metric and the mean difference of the samples' cIoU are within :data:`NEAR`.

    Raises:
        UsageError: if media or annotation files are not at hand.
        AvbenchError: if it says otherwise than its own weights how it came about.
    """
    own, prior = found.stored[entry.key], found.prior(entry.key)
    theirs = found.records[entry.key]
    try:
        requests = [_request(own, bench.checkpoints)]
        if prior and prior.key != own.key:
            requests.append(_request(prior, bench.checkpoints))
    except AvbenchError as problem:
        return Again(problem=str(problem))
    settings = Settings(
        protocols=tuple(dict.fromkeys(record.protocol for record in theirs)),
        audio_rate=own.inputs["audio_rate"],
        refine=_refinements([record.variant for record in theirs]),
        retrieval=bool(own.inputs["embeddings"]),
        device=bench.device,
        runs=bench.runs,
        command=f"avbench verify {found.opened.name} --rerun",
    )
    places = Places() if split_summary(entry.split).kind == "demo" else bench.places
    records = run(requests, entry.split, places, settings, progress).records
    ours = {row_of(record): record for record in records if record.method == entry.method}
    if any(record.provenance["checkpoint"]["sha256"] != own.inputs["checkpoint"] for record in ours.values()):
        return Again(problem=f"{entry.title} was run again with other weights than those submitted")
    changed = sorted({name for record in theirs for name in _retold(record, ours[row_of(record)])})
    if changed:
        raise AvbenchError(
            f"{entry.title} says of itself what its weights and its method do not: {listed(changed)}; submit it again"
        )
    return _compared(entry.title, [(record, ours[row_of(record)]) for record in theirs])


def _retold(theirs: Record, ours: Record) -> Iterator[str]:
    """What two records say otherwise of how they came about, which no number shows."""
    if theirs.selection != ours.selection:
        yield f"the selection is {theirs.selection}, and {ours.selection} by the weights"
    one, other = (record.provenance for record in (theirs, ours))
    for name in TOLD_BY_WEIGHTS:
        if without_paths((one["checkpoint"] or {}).get(name)) != without_paths((other["checkpoint"] or {}).get(name)):
            yield f"{name} of the checkpoint"
    if without_paths(one["config"]) != without_paths(other["config"]):
        yield "config"
    if one["method"]["info"].get("control") != other["method"]["info"].get("control"):
        yield "whether it is a control"


def _told(stored: Stored) -> Any:
    """The hash of the weights that some predictions were made with."""
    files = [value for value in stored.inputs["overrides"].values() if HASH.fullmatch(str(value))]
    return stored.inputs["checkpoint"] or (files[0] if files else None)


def _matching(stored: Stored, places: Sequence[Path]) -> Path | None:
    """Of ``places``, and what trainings keep below them, the one with the weights of some predictions."""
    if not places:
        return None
    if stored.inputs["checkpoint"] is None:
        return next(
            (path for path in places if path.is_file() and contents({"f": str(path)})["f"] == _told(stored)), None
        )
    there = [place / name for place in places for name in FOLDERS.values()]
    weights = [path for path in there if path.is_file() or (path / MODEL).is_file()]
    return next((path for path in weights if sha256_of(path) == _told(stored)), None)


def _request(stored: Stored, checkpoints: Mapping[str, Sequence[Path]]) -> MethodRequest:
    """The request that predicts again as some predictions were made.

    Raises:
        AvbenchError: for a method that is not avbench's own, or weights that were not given.
    """
    if stored.resolved["method"]["origin"] != "built-in" or stored.method not in method_names():
        raise AvbenchError(
            f"{stored.method} on {stored.split} cannot be run again from a bundle, since it is no method of avbench's "
            "own: it stays submitted"
        )
    path = _matching(stored, checkpoints.get(stored.method, ()))
    if _told(stored) is not None and path is None and not stored.control:
        raise AvbenchError(
            f"{stored.method} on {stored.split} cannot be run again without its weights: add --checkpoint "
            f"{stored.method}=PATH, those of the hash {str(_told(stored))[:12]}"
        )
    if stored.inputs["checkpoint"] is not None:
        return request_for(stored.method, path, stored.inputs["overrides"])
    given = {
        key: str(path) if HASH.fullmatch(str(value)) else value for key, value in stored.inputs["overrides"].items()
    }
    request = request_for(stored.method, None, given)
    if request.info.trainable and not request.info.control:
        raise AvbenchError(
            f"{stored.method} on {stored.split} says that it had no weights, and it needs some: submit again"
        )
    return request


def _refinements(variants: Sequence[str]) -> tuple[Refinement, ...]:
    """Those that give rows of these variants."""
    needed: dict[Refinement, bool] = {
        "iqr": any(variant in NEEDING_QUERY for variant in variants),
        "ogl": any(variant in WITH_OBJECTS for variant in variants),
    }
    return tuple(name for name in FUSED if needed[name])


def _compared(title: str, pairs: Sequence[tuple[Record, Record]]) -> Again:
    metrics = ciou = 0.0
    problems: list[str] = []
    for theirs, ours in pairs:
        named = f"{theirs.variant} under {theirs.protocol}"
        for metric, off in _off(theirs, ours):
            metrics = max(metrics, off)
            if not off <= NEAR:
                values = " and ".join(f"{one.metrics.get(metric, math.nan):.4f}" for one in (theirs, ours))
                problems.append(f"{metric} of {named} is {values}")
        apart = _apart(theirs, ours)
        ciou = max(ciou, float(apart.max()))
        if not apart.mean() <= NEAR:
            problems.append(f"the samples of {named} are {apart.mean():.4f} apart in the mean")
    said = f"{title} run again is not as submitted, with {NEAR} allowed: {listed(problems)}" if problems else ""
    return Again(metrics, ciou, said)


def _off(theirs: Record, ours: Record) -> Iterator[tuple[str, float]]:
    """The differences of the headline metrics."""
    named = (*protocol_called(theirs.protocol).headline, *DETECTION)
    for metric in (one for one in named if one in theirs.metrics or one in ours.metrics):
        one, other = (record.metrics.get(metric, math.nan) for record in (theirs, ours))
        off = 0.0 if math.isnan(one) and math.isnan(other) else abs(one - other)
        yield metric, 1.0 if math.isnan(off) else off


def _apart(theirs: Record, ours: Record) -> np.ndarray[Any, np.dtype[np.float64]]:
    """``[n]``: how far the samples' values are from each other; 1 where one of both is no number."""
    tables = [pd.read_parquet(per_sample_path(record)) for record in (theirs, ours)]
    column = next(name for name in PER_SAMPLE if name in tables[0])
    one, other = (table[column].to_numpy(dtype=np.float64) for table in tables)
    off = np.abs(one - other)
    return np.where(np.isnan(one) & np.isnan(other), 0.0, np.where(np.isnan(off), 1.0, off))
