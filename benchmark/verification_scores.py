"""Of a bundle's numbers: whether its maps give them, measured again here, and whether they can be true at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from avbench.audio_sets import OFF_SCREEN
from avbench.errors import AvbenchError
from avbench.listening import Listening, Plan, listen, read_listening
from avbench.opening import silent
from avbench.records import Record, record_of
from avbench.request import WITH_OBJECTS, protocol_called
from avbench.rescoring import AUDIO
from avbench.scoring import MAPS, per_sample_path, score_and_record
from avbench.store import read_json
from avbench.stored import Stored, Task
from avbench.truth import Truth
from avbench.verification_files import require_rows
from avbench.verification_reports import listed, problem_of

CLOSE = 1e-9
"""How far a number may be from the one that is measured again: rounding of sums."""

MOST_RESAMPLES = 100_000
"""Of the bootstrap behind an answer of avbench listen, which takes time to repeat."""

Row = tuple[str, str]
"""Variant and protocol."""

FREE = ("software", "decoding")
"""Of a record's provenance: versions that made it, and how media were read, which is told of them."""

COLUMNS = ("id", "label", "image", "boxes", "area", "doubtful")
"""Of per-sample values: what does not depend on the method."""


def sound_record(path: Path) -> Record:
    """A record of a bundle, its seal whole, every value of its type, and at the place that it belongs to.

    Raises:
        AvbenchError: for anything else.
    """
    record = record_of(read_json(path), path)
    texts = (record.method, record.variant, record.split, record.protocol, record.audio, record.per_sample)
    counts = (record.n_expected, record.n_scored, record.n_positive, record.n_nan)
    numbers = [*record.metrics.values(), *(end for ends in record.intervals.values() for end in ends)]
    typed = (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(count, int) for count in counts)
        and all(isinstance(number, float | int) for number in numbers)
        and isinstance(record.partial, bool)
        and isinstance(record.provenance, dict)
        and isinstance(record.run, dict)
    )
    if not typed or record.variant not in MAPS or record.audio not in AUDIO:
        raise AvbenchError(f"the record {path} is incomplete or changed: score again, and submit that")
    protocol_called(record.protocol)
    named = f"{record.method}.{record.variant}.{record.protocol.replace(':', '-')}-"
    fits = path.name.startswith(named) and path.parent.name == record.split
    if not fits or record.per_sample != path.with_suffix(".parquet").name:
        raise AvbenchError(f"the record {path} is of another name than what it holds: score again, and submit that")
    return record


def row_of(record: Record) -> Row:
    """Which of its method's rows a record is."""
    return record.variant, record.protocol


def scored_again(stored: Stored, rows: Sequence[Row], prior: Stored | None) -> dict[Row, Record]:
    """The records that some predictions give, measured now from their maps.

    Raises:
        AvbenchError: for maps that cannot be scored so.
    """
    # The device that predicted may not be here, and has nothing to do with scoring.
    here = replace(stored, asked={**stored.asked, "device": "cpu"})
    needed = prior if any(variant in WITH_OBJECTS for variant, _ in rows) else None
    task = Task(here, tuple(rows), prior.key if prior else None)
    records = score_and_record([task], prior=needed, advance=lambda samples: None)
    return {row_of(record): record for record in records}


def record_problems(theirs: Record, ours: Record, truth: Truth) -> list[str]:
    """How a record and its per-sample values are not what the maps give."""
    found = list(_differences(_content(theirs), _content(ours)))
    problems = []
    if found:
        problems.append(f"the record {theirs.path} is not what its maps give: {listed(found)}")
    return [*problems, *sample_problems(per_sample_path(theirs), per_sample_path(ours), len(truth))]


def _content(record: Record) -> dict[str, Any]:
    content = {
        name: value for name, value in asdict(record).items() if name not in {"path", "run", "seal", "per_sample"}
    }
    provenance = {name: value for name, value in record.provenance.items() if name not in FREE}
    return {**content, "provenance": provenance}


def _differences(theirs: Any, ours: Any, name: str = "") -> Iterator[str]:
    """What differs between two values as of JSON, each named by the way to it."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*theirs, *ours}, key=str):
            way = f"{name}.{key}" if name not in {"", "metrics"} else str(key)
            yield from _differences(theirs.get(key), ours.get(key), way)
    elif isinstance(ours, list | tuple) and isinstance(theirs, list | tuple) and len(ours) == len(theirs):
        for one, other in zip(theirs, ours, strict=True):
            yield from _differences(one, other, name)
    elif not _same(theirs, ours):
        yield f"{name} is {_told(theirs)}, and {_told(ours)} when measured again"


def _same(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, float | int) and isinstance(ours, float | int) and not isinstance(ours, bool):
        both_none = math.isnan(theirs) and math.isnan(ours)
        return both_none or math.isclose(theirs, ours, rel_tol=0, abs_tol=CLOSE)
    return bool(theirs == ours)


def _told(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "absent" if value is None else str(value)[:40]


def sample_problems(theirs: Path, ours: Path, samples: int) -> list[str]:
    """How per-sample values are not those measured again."""
    found: list[str] = problem_of(lambda: require_rows(theirs, samples))
    if found:
        return found
    try:
        given, made = pd.read_parquet(theirs), pd.read_parquet(ours)
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as problem:
        return [
            f"{theirs} is no table that can be read ({' '.join(str(problem).split())}): score again, and submit that"
        ]
    if list(given.columns) != list(made.columns):
        return [f"{theirs} has the columns {', '.join(map(str, given.columns))} where {', '.join(made.columns)} belong"]
    differing = [one for name in made.columns for one in _column(name, given[name], made[name], made["id"])]
    if not differing:
        return []
    return [f"the per-sample values {theirs} are not what the maps give: {listed(differing)}"]


def _column(name: str, given: pd.Series[Any], made: pd.Series[Any], ids: pd.Series[Any]) -> Iterator[str]:
    """The values of a column that differ, the first of them shown."""
    if name in COLUMNS:
        differ = np.array([str(one) != str(other) for one, other in zip(given, made, strict=True)], dtype=bool)
    else:
        values = pd.to_numeric(given, errors="coerce").to_numpy(dtype=np.float64)
        differ = ~np.isclose(values, made.to_numpy(dtype=np.float64), rtol=0, atol=CLOSE, equal_nan=True)
    if differ.any():
        row = int(differ.argmax())
        yield (
            f"{name} of {ids.iloc[row]} is {_told(given.iloc[row])}, and {_told(made.iloc[row])} when measured again, "
            f"{int(differ.sum())} values in all"
        )


def answer_problems(path: Path, found: Mapping[str, Stored]) -> list[str]:
    """How an answer of ``avbench listen`` is not what the maps give.

    Args:
        path: The answer.
        found: All predictions of the bundle by key, scored again under ``common``.
    """
    try:
        theirs = read_listening(path)
        ours = _asked_again(theirs, found, path)
    except AvbenchError as problem:
        return [str(problem)]
    differing = list(_differences(_content_of(theirs), _content_of(ours)))
    return [f"the answer {path} is not what the maps give: {listed(differing)}"] if differing else []


def _content_of(answer: Listening) -> dict[str, Any]:
    return {name: value for name, value in answer.as_json().items() if name not in {"record", "title"}}


def _asked_again(theirs: Listening, found: Mapping[str, Stored], path: Path) -> Listening:
    keys = theirs.provenance.get("keys") if isinstance(theirs.provenance, dict) else None
    kinds = [found.get(str(key)) for key in keys.values()] if isinstance(keys, dict) else []
    plan = _plan(theirs) if isinstance(keys, dict) else None
    there = [stored for stored in kinds if stored]
    if plan is None or not there or len(there) < len(kinds):
        raise AvbenchError(f"the answer {path} is of predictions or a plan that the bundle does not have: ask again")
    return listen(there, plan, silent).found[0]


def _plan(theirs: Listening) -> Plan | None:
    """How an answer was asked; None where that is nothing to repeat."""
    resamples, seed = (theirs.provenance.get(name) for name in ("resamples", "seed"))
    off_screen = next((mode for mode in OFF_SCREEN if mode == theirs.off_screen), None)
    if not isinstance(resamples, int) or not isinstance(seed, int) or off_screen is None:
        return None
    fits = 0 < resamples <= MOST_RESAMPLES and seed >= 0
    return Plan(off_screen=off_screen, resamples=resamples, seed=seed) if fits else None
