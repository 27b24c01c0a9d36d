"""Which rows of which entries make up a board, without their per-sample values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, get_args

from avbench.errors import unknown_name
from avbench.leaderboards.contestants import told_apart
from avbench.leaderboards.entries import Badge, Entry
from avbench.leaderboards.rows import leading, place_of
from avbench.leaderboards.selections import RANKED, belongs, selections_of
from avbench.metrics.catalogue import METRICS
from avbench.records import Record, Selection

BADGES: tuple[Badge, ...] = get_args(Badge)
"""In the order in which boards stand."""


class Head(NamedTuple):
    """What all rows of a board have in common, but for the selection."""

    split: str
    split_sha256: str
    truth: str
    protocol: str
    version: int
    badge: Badge

    @classmethod
    def of(cls, row: Row) -> Head:
        """The head of a row's board."""
        record, known = row.record, row.record.provenance
        version = known["protocol"]["version"]
        return cls(record.split, known["split"]["sha256"], known["truth"], record.protocol, version, row.entry.badge)


@dataclass(frozen=True)
class Row:
    """A row of a board.

    Attributes:
        record: one of the entry's.
        shown: the same with a title of its own.
    """

    entry: Entry
    record: Record
    shown: Record


@dataclass(frozen=True)
class Pool:
    """The rows of a board.

    Attributes:
        selections: that are ranked; empty where nothing is trained.
        rows: by title.
        metrics: that it shows, the first orders the lines.
        others: selections with boards of their own.
        doubles: titles of predictions that lie in several places and are shown once.
    """

    head: Head
    selections: tuple[Selection, ...]
    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    others: tuple[Selection, ...]
    doubles: tuple[str, ...]

    @cached_property
    def versions(self) -> tuple[tuple[str, int], ...]:
        """Of the metrics shown."""
        return tuple(sorted(_merged([_signature(row, self.metrics) for row in self.rows]).items()))


def pools(entries: Sequence[Entry], metrics: Sequence[str] = ()) -> list[Pool]:
    """The boards of some entries, before anything is compared; see :func:`avbench.leaderboards.boards.boards`.

    Raises:
        UsageError: for a metric that does not exist.
    """
    for name in metrics:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS, "avbench list metrics")
    groups: dict[Head, list[Row]] = {}
    doubles: dict[Badge, tuple[str, ...]] = {}
    for badge in BADGES:
        rows, doubles[badge] = _rows([entry for entry in entries if entry.badge == badge])
        for row in rows:
            groups.setdefault(Head.of(row), []).append(row)
    found = [pool for head, rows in groups.items() for pool in _pools(head, rows, metrics, doubles[head.badge])]
    return sorted(found, key=_place)


def _place(pool: Pool) -> tuple[object, ...]:
    head = pool.head
    ranked = [RANKED.index(selection) for selection in pool.selections]
    hashes = (head.split_sha256, head.truth)
    return *place_of(pool.rows[0].record), *hashes, head.version, BADGES.index(head.badge), pool.versions, ranked


def _rows(entries: Sequence[Entry]) -> tuple[list[Row], tuple[str, ...]]:
    """The rows of the entries of one badge, and the titles of those that lie in several places."""
    known = {}
    for entry in sorted(entries, key=lambda one: (str(one.path), one.name)):
        for record in entry.records:
            if not record.partial:
                shown = record if entry.badge == "local" else replace(record, path=entry.path)
                known[_identity(shown)] = entry, record, shown
    titled, doubles = told_apart([shown for _, _, shown in known.values()])
    rows = [Row(*known[_identity(record)][:2], record) for record in titled]
    return sorted(rows, key=lambda row: row.shown.title), tuple(doubles)


def _identity(record: Record) -> tuple[Path, str, str, str, str | None]:
    """What no two rows have in common."""
    known = record.provenance
    return record.path, known["key"], record.variant, record.protocol, known["prior_key"]


def _pools(head: Head, rows: Sequence[Row], asked: Sequence[str], doubles: tuple[str, ...]) -> Iterator[Pool]:
    metrics = _metrics([row.record for row in rows], asked)
    if not metrics:
        return
    for part in _by_versions(rows, metrics):
        there = selections_of([row.record for row in part])
        titles = {row.record.title for row in part}
        alone: list[tuple[Selection, ...]] = [(one,) for one in RANKED if one in there]
        for ranked in alone or [()]:
            yield Pool(
                head=head,
                selections=ranked,
                rows=tuple(row for row in part if belongs(row.record, ranked)),
                metrics=_metrics([row.record for row in part], metrics),
                others=tuple(one for one in RANKED if one in there and one not in ranked),
                doubles=tuple(title for title in doubles if title in titles),
            )


def _metrics(records: Sequence[Record], asked: Sequence[str]) -> tuple[str, ...]:
    """Of those asked for, or else those that stand first in tables, the ones that any record has."""
    return tuple(name for name in asked or leading(records) if any(name in record.metrics for record in records))


def _by_versions(rows: Sequence[Row], metrics: Sequence[str]) -> list[list[Row]]:
    """The rows in groups with one version of each metric; a row that lacks a metric goes with all of its versions."""
    signatures = [_signature(row, metrics) for row in rows]
    distinct = [dict(items) for items in sorted({tuple(sorted(one.items())) for one in signatures})]
    if _agree(distinct):
        return [list(rows)]
    widest = [one for one in distinct if not any(one.items() < other.items() for other in distinct)]
    return [[row for row, own in zip(rows, signatures, strict=True) if own.items() <= wide.items()] for wide in widest]


def _signature(row: Row, metrics: Sequence[str]) -> dict[str, int]:
    """Versions of the metrics that a row has."""
    versions = row.record.provenance["metrics"]
    return {name: versions[name] for name in metrics if name in versions}


def _agree(signatures: Sequence[Mapping[str, int]]) -> bool:
    merged = _merged(signatures)
    return all(one.items() <= merged.items() for one in signatures)


def _merged(signatures: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: version for one in signatures for name, version in one.items()}
