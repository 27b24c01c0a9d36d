"""Who is compared: records with their per-sample values, of the same samples or refused, each with its own name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path

import pandas as pd

from avbench.errors import AvbenchError, UsageError
from avbench.leaderboards.selections import as_ranked, belongs
from avbench.records import Record, Selection

TRUTH = ("label", "image", "boxes", "area", "doubtful")
"""Columns of the per-sample values that do not depend on the method."""


@dataclass(frozen=True)
class Contestant:
    """A row of the comparison: a record, and its per-sample values with the columns ``id``, those of :data:`TRUTH` and
    the measured ones."""

    record: Record
    samples: pd.DataFrame


def told_apart(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Give records of one split, title and selection different titles, and keep one of those that are the same.

    Predictions of one key whose numbers agree under every protocol are the same, wherever they lie. Others of one title
    have their runs folder behind the method's name, or where that does not tell them apart the beginning of their key,
    which ends the name of their folder.

    Args:
        records: Under one protocol or several.

    Returns:
        The records kept, in the order given, and the titles of those that lie in several places.
    """
    sources: dict[_Source, list[Record]] = {}
    for record in records:
        sources.setdefault(_Source.of(record), []).append(record)
    doubles = _doubles(sources)
    kept = [source for source in sources if source not in doubles]
    names = {source: name for group in _by_title(kept) for source, name in _names(group)}
    found = [
        replace(record, method=record.method + names[source])
        for record in records
        if (source := _Source.of(record)) in names
    ]
    return found, sorted({source.title for source in doubles})


def rankable(
    contestants: Sequence[Contestant], selections: Sequence[Selection]
) -> tuple[list[Contestant], list[Contestant]]:
    """The contestants that a ranking of these selections of checkpoints has, and those of other selections.

    Raises:
        UsageError: if that leaves fewer than two of several.
    """
    kept = [one for one in contestants if belongs(one.record, selections)]
    if len(kept) < 2 <= len(contestants):
        there = ", ".join(f"{one.record.title} ({one.record.selection})" for one in contestants)
        raise UsageError(
            f"expected two or more rows of one selection to compare, got {there}: choose with --selection, which ranks "
            "unknown beside last or validation where both are named"
        )
    shown = [replace(one, record=as_ranked(one.record, selections)) for one in kept]
    return shown, [one for one in contestants if not belongs(one.record, selections)]


def aligned(contestants: Sequence[Contestant], *, common: bool) -> list[Contestant]:
    """The contestants on the same samples, in the order of their ids.

    Args:
        contestants: In any order.
        common: Take the samples that all have; otherwise all must have the same.

    Raises:
        UsageError: for fewer than two, another split or protocol, or other samples.
        AvbenchError: for another version of the split, the truth or the protocol.
    """
    if len(contestants) < 2:
        alone = contestants[0].record.title if contestants else "nothing"
        raise UsageError(f"expected two or more rows to compare, got {alone}: name more runs, or choose fewer filters")
    for first, second in pairwise(contestants):
        _require_same_task(first.record, second.record)
    if not common:
        for first, second in pairwise(contestants):
            _require_same_samples(first, second)
    kept = set.intersection(*(set(one.samples["id"]) for one in contestants))
    if not kept:
        raise UsageError(
            f"the {len(contestants)} rows have no sample in common: compare fewer, "
            f"beginning with {contestants[0].record.title}"
        )
    found = [Contestant(one.record, _those(one.samples, kept)) for one in contestants]
    for first, second in pairwise(found):
        _require_same_truth(first, second)
    return found


def require_versions(records: Sequence[Record], metrics: Sequence[str]) -> None:
    """Refuse records that hold one of ``metrics`` in different versions.

    Raises:
        AvbenchError: naming two records, the metric and its versions.
    """
    for first, second in pairwise(records):
        one, other = first.provenance["metrics"], second.provenance["metrics"]
        for metric in metrics:
            if one.get(metric) != other.get(metric):
                raise AvbenchError(
                    f"{_two(first, second)} cannot be compared: the metric {metric} has the version {one.get(metric)} "
                    f"in one and {other.get(metric)} in the other; score both again"
                )


@dataclass(frozen=True, order=True)
class _Source:
    """The predictions and the variant behind the records of several protocols."""

    split: str
    title: str
    selection: str
    key: str
    runs: str

    @classmethod
    def of(cls, record: Record) -> _Source:
        key = f"{record.provenance['key']}{record.provenance['prior_key'] or ''}"
        return cls(record.split, record.title, record.selection, key, str(_runs(record)))


def _runs(record: Record) -> Path:
    return record.path.parents[2] if len(record.path.parents) > 2 else record.path.parent


def _doubles(sources: dict[_Source, list[Record]]) -> set[_Source]:
    """All but one of the sources that are the same."""
    found = set()
    for one, other in pairwise(sorted(sources)):
        if (one.split, one.title, one.key) == (other.split, other.title, other.key) and _numbers(
            sources[one]
        ) == _numbers(sources[other]):
            found.add(other)
    return found


def _numbers(records: Sequence[Record]) -> dict[str, object]:
    return {record.protocol: record.as_json()["metrics"] for record in records}


def _by_title(sources: Sequence[_Source]) -> Iterator[list[_Source]]:
    for _, group in groupby(sorted(sources), key=lambda source: (source.split, source.title, source.selection)):
        yield list(group)


def _names(group: Sequence[_Source]) -> Iterator[tuple[_Source, str]]:
    """What goes behind the method's name; nothing where there is one of it."""
    if len(group) == 1:
        yield group[0], ""
        return
    folders, keys = _short({source.runs for source in group}), {source.key for source in group}
    for source in group:
        parts = [folders[source.runs]] if len(folders) == len(group) else [source.key[:12]]
        if len(folders) < len(group) and len(keys) < len(group):
            parts = [folders[source.runs], source.key[:12]]
        yield source, f"@{'@'.join(parts)}"


def _short(folders: set[str]) -> dict[str, str]:
    """Each folder without the parents that all have in common."""
    parents = os.path.commonpath([Path(folder).resolve().parent for folder in folders])
    return {folder: Path(folder).resolve().relative_to(parents).as_posix() for folder in folders}


def _require_same_task(first: Record, second: Record) -> None:
    _require_equal(first, second, "the split", [one.split for one in (first, second)], "--split")
    _require_equal(first, second, "the protocol", [one.protocol for one in (first, second)], "--protocol")
    known = [one.provenance for one in (first, second)]
    lists = [str(one["split"]["sha256"])[:12] for one in known]
    _require_equal(first, second, f"the hash of the list of {first.split}", lists)
    versions = [one["protocol"]["version"] for one in known]
    _require_equal(first, second, f"the version of the protocol {first.protocol}", versions)


def _require_equal(first: Record, second: Record, what: str, values: Sequence[object], option: str = "") -> None:
    if values[0] != values[1]:
        remedy = f"choose one with {option}" if option else "predict or score them again"
        raise (UsageError if option else AvbenchError)(
            f"{_two(first, second)} cannot be compared: {what} is {values[0]} of one and {values[1]} of the other; "
            f"{remedy}"
        )


def _require_same_samples(first: Contestant, second: Contestant) -> None:
    one, other = set(first.samples["id"]), set(second.samples["id"])
    if one != other:
        example = min(one ^ other)
        raise UsageError(
            f"{_two(first.record, second.record)} cannot be compared: they have {len(one)} and {len(other)} samples of "
            f"{first.record.split}, {len(one & other)} in common ({example} is in one alone); --common takes those"
        )


def _require_same_truth(first: Contestant, second: Contestant) -> None:
    """By hash where both have all samples of the hash, and by what is stored beside the values in any case."""
    truths = [one.record.provenance["truth"] for one in (first, second)]
    whole = all(len(one.samples) == one.record.n_scored for one in (first, second))
    differing = (first.samples[list(TRUTH)].fillna("") != second.samples[list(TRUTH)].fillna("")).any(axis=1)
    if (whole and truths[0] != truths[1]) or differing.any():
        where = f", first of all that of {first.samples['id'][differing].iloc[0]}" if differing.any() else ""
        raise AvbenchError(
            f"{_two(first.record, second.record)} cannot be compared: the truth of their samples differs{where}; "
            "predict both from the same annotation files"
        )


def _two(first: Record, second: Record) -> str:
    return f"{first.title} ({first.path}) and {second.title} ({second.path})"


def _those(samples: pd.DataFrame, ids: set[str]) -> pd.DataFrame:
    return samples[samples["id"].isin(ids)].sort_values("id", ignore_index=True)
