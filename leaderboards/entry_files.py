"""Entries as files: ``<split>/<method>-<selection>-<key>.json`` and a Parquet of that name, a pair for each entry."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from avbench.errors import AvbenchError
from avbench.leaderboards import entry_form
from avbench.leaderboards.entries import GALLERY, Accepted, Badge, Entry, Largest, Parameters, Rerun, in_order
from avbench.records import Record, content_of, record_of
from avbench.redacting import redacted
from avbench.store import read_json, write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avbench.listening import Listening

RECORDS = Path(__file__).resolve().parent / "records"
"""The accepted entries that avbench comes with."""

ACCEPTABLE: tuple[Badge, ...] = tuple(badge for badge in get_args(Badge) if badge != "local")
"""The badges that a file may have."""

DIGITS = 4
"""Significant digits of a map's values."""


def write_entry(entry: Entry, folder: Path, *, badge: Badge, accepted: Accepted, rerun: Rerun | None = None) -> Path:
    """Write an entry's two files below ``folder``, in the folder of its split; equal entries give equal bytes.

    Args:
        entry: Of a runs folder, or one that was accepted before and changes its badge.
        folder: As :data:`RECORDS`.
        badge: That it gets.
        accepted: When, by whom and why.
        rerun: What a re-run gave, without which none is verified.

    Returns:
        The JSON file. Commands in it are without folders; all else of the records is as it was, their seals too.

    Raises:
        AvbenchError: for records that are partial or not of one entry, a verified entry without a re-run, or files that
            cannot be read or written.
    """
    called = f"{entry.method} on {entry.split}"
    entry_form.require_one(entry.records, called)
    partial = next((record for record in entry.records if record.partial), None)
    if partial:
        raise AvbenchError(
            f"{called} is partial ({partial.n_scored} of {partial.n_expected} samples) and cannot be accepted: predict "
            "all samples"
        )
    if badge not in ACCEPTABLE or (badge == "verified" and rerun is None):
        raise AvbenchError(f"{called} cannot be accepted as {badge}: a re-run makes it verified, all else is submitted")
    from avbench.leaderboards.entry_samples import table_bytes

    samples = table_bytes(entry)
    path = folder / entry.split / f"{entry.name}.json"
    shared, rests = entry_form.factored([content_of(_without_folders(record)) for record in in_order(entry.records)])
    content = {
        "format": entry_form.FORMAT,
        "badge": badge,
        "accepted": asdict(accepted),
        "rerun": rerun and asdict(rerun),
        "shared": shared,
        "records": rests,
        "parameters": entry.parameters and asdict(entry.parameters),
        "listening": entry.listening and _listening_content(entry.listening),
        "evaluations": [_finite(row) for row in entry.evaluations],
        "maps": _maps_content(entry.maps),
        "samples": path.with_suffix(".parquet").name,
        "samples_sha256": hashlib.sha256(samples).hexdigest(),
    }
    text = entry_form.compact_json(content)
    write_atomic(path.with_suffix(".parquet"), samples)
    write_atomic(path, text)
    return path


def read_entry(path: Path) -> Entry:
    """Read an accepted entry; of its per-sample values the hash alone is looked at.

    Raises:
        AvbenchError: in one sentence, if the file has another form in any part, a record does not fit its seal, the
            records are not of one entry, or the per-sample values are absent or others.
    """
    content = read_json(path)
    called = str(path)
    entry_form.require_entry(content, called)
    if content["badge"] not in ACCEPTABLE:
        raise AvbenchError(
            f"expected the badge {' or '.join(ACCEPTABLE)} in {called}, found {content['badge']!r}: restore the file"
        )
    records = [_record(entry_form.merged(content["shared"], rest), path) for rest in content["records"]]
    entry_form.require_one(records, called)
    _require_samples(content, path)
    return Entry(
        badge=content["badge"],
        records=in_order(records),
        parameters=Parameters(**content["parameters"]) if content["parameters"] else None,
        listening=_listening(content["listening"], path),
        evaluations=tuple(content["evaluations"]),
        maps=_maps(content["maps"], called),
        accepted=Accepted(**content["accepted"]),
        rerun=_rerun(content["rerun"]),
        path=path,
    )


def read_entries(folder: Path | None = None) -> list[Entry]:
    """All accepted entries below ``folder``, where each split has its own; those that avbench comes with if left out.

    Returns:
        In the order of their paths; none where there is no such folder.

    Raises:
        AvbenchError: as :func:`read_entry`.
    """
    return [read_entry(path) for path in sorted((folder or RECORDS).glob("*/*.json"))]


def _without_folders(record: Record) -> Record:
    return replace(record, run={**record.run, "command": redacted(str(record.run.get("command", "")))})


def _listening_content(answer: Listening) -> dict[str, Any]:
    return {name: value for name, value in answer.as_json().items() if name != "record"}


def _finite(value: Any) -> Any:
    """``value`` with None for what is not a finite number."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _maps_content(maps: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    shapes = {found.shape for found in maps.values()}
    if len(shapes) > 1 or len(maps) > GALLERY:
        raise AvbenchError(f"expected at most {GALLERY} maps of one shape, got {len(maps)} of {sorted(shapes)}")
    samples = {name: [_short(value) for value in found.ravel().tolist()] for name, found in maps.items()}
    return {"shape": list(shapes.pop()) if shapes else [0, 0], "samples": samples}


def _short(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded


def _record(content: dict[str, Any], path: Path) -> Record:
    called = f"{content.get('variant')}/{content.get('protocol')} in {path}"
    record = record_of(content, path, name=called)
    entry_form.require_record(content, called)
    return record


def _require_samples(content: Mapping[str, Any], path: Path) -> None:
    samples = path.with_suffix(".parquet")
    if content["samples"] != samples.name:
        raise AvbenchError(
            f"expected {samples.name} as the per-sample values of {path}, found {content['samples']!r}: give the files "
            "their names back"
        )
    if not samples.is_file():
        raise AvbenchError(f"expected the per-sample values of {path} beside it, found no {samples.name}: restore it")
    if hashlib.sha256(samples.read_bytes()).hexdigest() != content["samples_sha256"]:
        raise AvbenchError(
            f"the per-sample values {samples} are not those that {path.name} was written with: restore both"
        )


def _listening(content: dict[str, Any] | None, path: Path) -> Listening | None:
    if content is None:
        return None
    from avbench.listening import listening_of

    try:
        return listening_of(content, path)
    except AvbenchError:
        raise AvbenchError(f"the answer in listening of {path} is incomplete or changed: restore the file") from None


def _maps(content: Mapping[str, Any], called: str) -> dict[str, NDArray[np.float32]]:
    shape, samples = content["shape"], content["samples"]
    cells = math.prod(shape) if [type(side) for side in shape] == [int, int] else -1
    fitting = all(isinstance(values, list) and len(values) == cells for values in samples.values())
    if cells < 0 or not fitting or len(samples) > GALLERY:
        raise AvbenchError(
            f"expected at most {GALLERY} maps of the shape {shape} in maps of {called}, found others: restore the file"
        )
    kinds = {type(value) for values in samples.values() for value in values}
    if not kinds <= {int, float, type(None)}:
        raise AvbenchError(f"expected numbers in maps of {called}, found others: restore the file")
    return {name: np.array(values, dtype=np.float32).reshape(shape) for name, values in samples.items()}


def _rerun(content: Mapping[str, Any] | None) -> Rerun | None:
    return Rerun(**{**content, "largest": Largest(**content["largest"])}) if content else None
