"""What of a split is really there, before any work begins."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from avbench.data.places import Packed, Place
from avbench.data.splits import Sample, Split
from avbench.errors import AvbenchError, UsageError
from avbench.types import Need

SHOWN = 3
"""Missing ids that an error names."""


@dataclass(frozen=True)
class Coverage:
    """How much of a split was found; part of every result.

    Attributes:
        expected: length of the whole list.
        found: samples with all the media that were needed.
        missing: ids of the others, in the split's order.
    """

    expected: int
    found: int
    missing: tuple[str, ...]


def coverage(split: Split, needs: Collection[Need]) -> Coverage:
    """What of ``split`` is there, by listing each folder once; no file is opened. What is packed is there.

    Args:
        split: as loaded.
        needs: ``image`` and ``audio`` are looked for; without either everything counts as found.

    Raises:
        UsageError: where media are needed and the split was loaded without.
    """
    names = {folder: set(_names(folder)) for folder in _folders(split, needs)}
    missing = [s.id for s in split.samples if not all(p.name in names[p.parent] for p in _files(s, needs))]
    return Coverage(split.n, len(split.samples) - len(missing), tuple(missing))


def covered(split: Split, needs: Collection[Need], *, allow_missing: bool = False) -> tuple[Split, Coverage]:
    """The split to run on, with its coverage.

    Returns:
        The split itself where nothing is missing; with ``allow_missing`` else one of the samples that are there.

    Raises:
        AvbenchError: if anything is missing and ``allow_missing`` is False, or if nothing at all is there.
    """
    found = coverage(split, needs)
    if not found.missing:
        return split, found
    if not allow_missing or not found.found:
        raise AvbenchError(_complaint(split, needs, found))
    missing = set(found.missing)
    samples = tuple(s for s in split.samples if s.id not in missing)
    return replace(split, samples=samples), found


def media_fingerprint(split: Split, needs: Collection[Need]) -> str:
    """SHA-256 over name, size and modification time (ns) of the media that ``needs`` names, in the split's order.

    It tells whether media changed since a result was stored; contents are not read. A missing file counts as such.

    Raises:
        UsageError: where media are needed and the split was loaded without.
    """
    stats = {folder: _stats(folder) for folder in _folders(split, needs)}
    places = [place for sample in split.samples for place in _places(sample, needs)]
    shards = {shard: _stat(shard) for shard in {place.shard for place in places if isinstance(place, Packed)}}
    digest = hashlib.sha256()
    for place in places:
        if isinstance(place, Packed):
            digest.update(f"{place.shard.name}/{place.offset}:{shards[place.shard]}\n".encode())
        else:
            digest.update(f"{place.parent.name}/{place.name}:{stats[place.parent].get(place.name)}\n".encode())
    return digest.hexdigest()


def _places(sample: Sample, needs: Collection[Need]) -> Iterator[Place]:
    for need, place in (("image", sample.image), ("audio", sample.audio), ("audio", sample.mixed)):
        if need in needs and place is not None:
            yield place


def _files(sample: Sample, needs: Collection[Need]) -> Iterator[Path]:
    """The media of a sample that have files of their own."""
    return (place for place in _places(sample, needs) if not isinstance(place, Packed))


def _folders(split: Split, needs: Collection[Need]) -> set[Path]:
    if {"image", "audio"}.isdisjoint(needs):
        return set()
    if not split.has_media:
        raise UsageError(f"the split {split.name} was given without media: pass --data with frames/ and audio/ in it")
    return {p.parent for s in split.samples for p in _files(s, needs)}


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - names alone, many thousands


def _stat(shard: Path) -> tuple[int, int] | None:
    stat = shard.stat() if shard.exists() else None
    return None if stat is None else (stat.st_size, stat.st_mtime_ns)


def _stats(folder: Path) -> dict[str, tuple[int, int]]:
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {e.name: (e.stat().st_size, e.stat().st_mtime_ns) for e in entries}


def _complaint(split: Split, needs: Collection[Need], found: Coverage) -> str:
    first = ", ".join(found.missing[:SHOWN]) + (", ..." if len(found.missing) > SHOWN else "")
    places = " and ".join(sorted(str(folder) for folder in _folders(split, needs)))
    advice = "complete the media" + (", or pass --allow-missing for a partial result" if found.found else "")
    return (
        f"{len(found.missing)} of {found.expected} samples of {split.name} miss media in {places} ({first}): {advice}"
    )
