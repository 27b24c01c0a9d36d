"""Whether a folder of accepted entries can be trusted: everything that is wrong with it, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import AvbenchError, UsageError, printable
from avbench.leaderboards.entries import Entry
from avbench.leaderboards.entry_claims import claim_problems
from avbench.leaderboards.entry_files import read_entry
from avbench.metrics.catalogue import METRICS
from avbench.metrics.protocols import Protocol, get_protocol
from avbench.records import Record
from avbench.redacting import ABSOLUTE
from avbench.store import read_json

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-9
"""How far a number may be from what the per-sample values give."""

RECOMPUTED = ("locacc", "auc", "mean_ciou", "ap", "max_f1", "miou")
"""Metrics that the per-sample values of an entry give again."""


def problems(folder: Path) -> list[str]:
    """What is wrong with the entries below ``folder``, one sentence each; of a file that cannot be read the first.

    Every file is read as :func:`~avbench.leaderboards.entry_files.read_entry` does; then names, badges, completeness,
    paths, intervals, and the numbers that the per-sample values give are looked at, then entries that are there twice,
    then files that belong to none.

    Args:
        folder: As :data:`~avbench.leaderboards.entry_files.RECORDS`: a folder for each split.

    Raises:
        UsageError: if there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"expected a folder of accepted entries at {folder}, found none: check the path")
    found: list[str] = []
    entries: list[Entry] = []
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    paths = [path for path in files if path.suffix == ".json" and path.parent.parent == folder]
    for path in paths:
        try:
            entries.append(read_entry(path))
        except AvbenchError as problem:
            found.append(str(problem))
    for entry in entries:
        found += _of_one(entry)
    known = {*paths, *(path.with_suffix(".parquet") for path in paths)}
    strays = [f"{path} belongs to no entry: move it elsewhere" for path in files if path not in known]
    whole = [*found, *_truths(entries), *_same_predictions(entries), *_same_numbers(entries), *strays]
    return [printable(sentence) for sentence in whole]


def _of_one(entry: Entry) -> Iterator[str]:
    path = entry.path
    place = f"{entry.split}/{entry.name}.json"
    if f"{path.parent.name}/{path.name}" != place:
        yield f"{path} holds what belongs in {place}: give it that name"
    yield from claim_problems(entry)
    yield from _absolute(read_json(path), path, "")
    for record in entry.records:
        where = f"{record.variant}/{record.protocol} in {path}"
        if record.partial or record.n_scored != record.n_expected:
            count = f"{record.n_scored} of {record.n_expected} samples"
            yield f"the record {where} is partial ({count}): leave it out, or predict all samples"
        yield from _intervals(record, where)
        yield from _fractions(record, where)
        yield from _numbers(entry, record, where)
    yield from _beside(entry)


def _absolute(value: Any, path: Path, place: str) -> Iterator[str]:
    """The paths of somebody's machine in texts and keys."""
    if isinstance(value, str):
        found = ABSOLUTE.search(value)
        if found:
            yield f"{path} holds the absolute path {found[0]} at {place}: leave its folders out"
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        below = f"{place}.{key}" if place else str(key)
        if isinstance(key, str):
            yield from _absolute(key, path, below)
        yield from _absolute(one, path, below)


def _intervals(record: Record, where: str) -> Iterator[str]:
    for name, (low, high) in record.intervals.items():
        value = record.metrics.get(name, math.nan)
        if not low - TOLERANCE <= value <= high + TOLERANCE:
            yield (
                f"the interval of {name} of the record {where} is {low:.6g} to {high:.6g}, which does not hold its "
                f"value {value:.6g}: score again"
            )


def _fractions(record: Record, where: str) -> Iterator[str]:
    """Metrics that nobody has, in another version than ours, or beyond their range."""
    versions = record.provenance["metrics"]
    for name, value in record.metrics.items():
        if name not in METRICS:
            yield f"the record {where} tells {name}, which is no metric: leave it out"
        elif versions.get(name) != METRICS[name].version:
            yield (
                f"the record {where} is of version {versions.get(name)} of the metric {name}, which is at "
                f"{METRICS[name].version} in this avbench: score again with this one, or upgrade it"
            )
        elif not math.isnan(value) and not -TOLERANCE <= value <= 1 + TOLERANCE:
            yield f"the record {where} tells {name} {value:.6g}, which is no fraction: score again"


def _beside(entry: Entry) -> Iterator[str]:
    """Columns of the per-sample values, and maps, that belong to no record and no sample."""
    from avbench.leaderboards.entry_samples import columns_of, read_samples, samples_of

    try:
        table = read_samples(entry.path.with_suffix(".parquet"))
        for record in entry.records:
            samples_of(table, record)
    except AvbenchError:  # told of the records
        return
    strays = [str(name) for name in table if name not in columns_of(entry.records)]
    if strays:
        yield f"the per-sample values of {entry.path} have columns of no record, {', '.join(strays)}: leave them out"
    unknown = sorted({*entry.maps} - {*table.get("id", ())})
    if unknown:
        yield f"{entry.path} has maps of samples that it does not have, {', '.join(unknown)}: leave them out"


def _numbers(entry: Entry, record: Record, where: str) -> Iterator[str]:
    try:
        protocol = get_protocol(record.protocol)
        table = entry.contestant(record).samples
    except (AvbenchError, ValueError) as problem:  # the second kind for an unknown protocol
        yield f"the record {where} cannot be checked ({problem})"
        return
    version = record.provenance["protocol"].get("version")
    if version != protocol.version:
        yield (
            f"the record {where} is of version {version} of the protocol {protocol.name}, which is at "
            f"{protocol.version} in this avbench: score again with this one, or upgrade it"
        )
        return
    yield from _counts(record, table, where)
    yield from _metrics(record, protocol, table, where)


def _counts(record: Record, table: pd.DataFrame, where: str) -> Iterator[str]:
    from avbench.leaderboards.entry_samples import positive_rows

    positive = positive_rows(table, record)
    column = next((table[name] for name in ("ciou", "iou") if name in table), None)
    for what, told, given in (
        ("samples", record.n_scored, table["id"].nunique()),
        ("samples with a sounding object", record.n_positive, int(positive.sum())),
        ("of these without a cIoU", record.n_nan, 0 if column is None else int(column[positive].isna().sum())),
    ):
        if told != given:
            yield f"the record {where} tells {told} {what} and its per-sample values {given}: score again"


def _metrics(record: Record, protocol: Protocol, table: pd.DataFrame, where: str) -> Iterator[str]:
    given = _recomputed(record, protocol, table)
    versions = record.provenance["metrics"]
    for name in dict.fromkeys([*RECOMPUTED, *given]):
        value = given.get(name)
        if name not in record.metrics:
            if name in RECOMPUTED and value is not None:
                yield f"the record {where} lacks {name}, which its per-sample values give as {value:.9g}: score again"
            continue
        if versions.get(name) != METRICS[name].version:
            continue
        if value is None:
            yield f"the per-sample values of the record {where} do not give its {name}: restore them"
        elif not _close(record.metrics[name], value):
            yield (
                f"the record {where} tells {name} {record.metrics[name]:.9g} and its per-sample values give "
                f"{value:.9g}: score again"
            )


def _recomputed(record: Record, protocol: Protocol, table: pd.DataFrame) -> dict[str, float]:
    """Those of :data:`RECOMPUTED` that the columns allow."""
    import torch

    from avbench.leaderboards.entry_samples import positive_rows
    from avbench.leaderboards.measures import column_of
    from avbench.metrics.extended import aggregate_extended
    from avbench.metrics.scoring import aggregate
    from avbench.metrics.segmentation import miou

    found: dict[str, float] = {}
    if "ciou" in table:
        positive, ciou = torch.from_numpy(positive_rows(table, record)), column_of(table, "ciou")
        found |= aggregate(ciou[positive], protocol)
        if "confidence" in table:
            found |= aggregate_extended(column_of(table, "confidence"), ciou, sounding=positive)
    if "iou" in table:
        found["miou"] = float(miou(column_of(table, "iou")))
    return found


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE or (math.isnan(one) and math.isnan(other))


def _truths(entries: Sequence[Entry]) -> Iterator[str]:
    """Entries of one list whose truths are the same by hash alone, or by their values alone."""
    from avbench.leaderboards.contestants import TRUTH

    first: dict[tuple[str, str], tuple[Entry, pd.DataFrame]] = {}
    for entry in entries:
        known = entry.records[0].provenance
        try:
            truth = entry.contestant(entry.records[0]).samples[["id", *TRUTH]]
        except AvbenchError:  # told of the records
            continue
        other, same = first.setdefault((entry.split, known["split"].get("sha256", "")), (entry, truth))
        if truth.equals(same) is not (other.records[0].provenance["truth"] == known["truth"]):
            yield (
                f"{_named(entry)} and {_named(other)} are of one list, and the hashes of their truths do not say what "
                "the values do, which of them are equal: restore both"
            )


def _same_predictions(entries: Sequence[Entry]) -> Iterator[str]:
    """Those of one key, which is of method, checkpoint and split, however they are called."""

    def predictions(entry: Entry) -> tuple[str, str]:
        return entry.split, entry.key

    for (split, key), group in groupby(sorted(entries, key=predictions), key=predictions):
        for one, other in combinations(group, 2):
            yield f"{_named(one)} and {_named(other)} hold the same predictions {key[:12]} of {split}: keep one"


def _same_numbers(entries: Sequence[Entry]) -> Iterator[str]:
    """Those of other keys that are one result: of one method and selection, or of one checkpoint under two names."""
    for one, other in combinations(entries, 2):
        if one.split != other.split or one.key == other.key:
            continue
        same = (one.method, one.selection) == (other.method, other.selection)
        renamed = one.method != other.method and _checkpoint(one) is not None and _checkpoint(one) == _checkpoint(other)
        if (same or renamed) and _agree(_values(one), _values(other)):
            what = "of one checkpoint" if renamed else f"of {one.method}"
            yield f"{_named(one)} and {_named(other)} have the same numbers {what} on {one.split}: keep one"


def _named(entry: Entry) -> str:
    return f"{entry.path} ({entry.method}, {entry.selection}, {entry.badge})"


def _checkpoint(entry: Entry) -> str | None:
    return (entry.records[0].provenance["checkpoint"] or {}).get("sha256")


def _values(entry: Entry) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(record.variant, record.protocol): record.as_json()["metrics"] for record in entry.records}


def _agree(one: Mapping[tuple[str, str], Any], other: Mapping[tuple[str, str], Any]) -> bool:
    rows = one.keys() & other.keys()
    return bool(rows) and all(one[row] == other[row] for row in rows)
