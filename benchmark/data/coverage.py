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
"""Missing ids, and folders, that an error names."""

WORTH_LISTING = 20
"""Files wanted of a folder from which on it is listed as a whole."""


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
    _check_media(split, needs)
    there = _there(split, needs)
    missing = [s.id for s in split.samples if not there.issuperset(_files(s, needs))]
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
    _check_media(split, needs)
    places = [place for sample in split.samples for place in _places(sample, needs)]
    stats = {path: _stat(path) for path in {p.shard if isinstance(p, Packed) else p for p in places}}
    digest = hashlib.sha256()
    for place in places:
        if isinstance(place, Packed):
            digest.update(f"{place.shard.name}/{place.offset}:{stats[place.shard]}\n".encode())
        else:
            digest.update(f"{place.parent.name}/{place.name}:{stats[place]}\n".encode())
    return digest.hexdigest()


def _places(sample: Sample, needs: Collection[Need]) -> Iterator[Place]:
    for need, place in (("image", sample.image), ("audio", sample.audio), ("audio", sample.mixed)):
        if need in needs and place is not None:
            yield place


def _files(sample: Sample, needs: Collection[Need]) -> Iterator[Path]:
    """The media of a sample that have files of their own."""
    return (place for place in _places(sample, needs) if not isinstance(place, Packed))


def _check_media(split: Split, needs: Collection[Need]) -> None:
    if not split.has_media and not {"image", "audio"}.isdisjoint(needs):
        raise UsageError(f"the split {split.name} was given without media: pass --data with frames/ and audio/ in it")


def _there(split: Split, needs: Collection[Need]) -> set[Path]:
    """The files of the samples that are there; a folder of a single sample's frames is not worth being listed."""
    wanted: dict[Path, set[Path]] = {}
    for path in (p for s in split.samples for p in _files(s, needs)):
        wanted.setdefault(path.parent, set()).add(path)
    there: set[Path] = set()
    for folder, paths in wanted.items():
        if len(paths) < WORTH_LISTING:
            there.update(path for path in paths if path.is_file())
        else:
            names = _names(folder)
            there.update(path for path in paths if path.name in names)
    return there


def _names(folder: Path) -> set[str]:
    """Files in ``folder``, links that lead nowhere aside; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _complaint(split: Split, needs: Collection[Need], found: Coverage) -> str:
    first = ", ".join(found.missing[:SHOWN]) + (", ..." if len(found.missing) > SHOWN else "")
    places = " and ".join(_folders(split, needs))
    advice = "complete the media" + (", or pass --allow-missing for a partial result" if found.found else "")
    return (
        f"{len(found.missing)} of {found.expected} samples of {split.name} miss media in {places} ({first}): {advice}"
    )


def _folders(split: Split, needs: Collection[Need]) -> list[str]:
    """The folders that media are missing from, sorted; of many, as of frames by sample, those that hold them."""
    folders = {path.parent for sample in split.samples for path in _files(sample, needs)}
    while len(folders) > SHOWN:
        deepest = max(len(folder.parts) for folder in folders)
        folders = {folder.parent if len(folder.parts) == deepest else folder for folder in folders}
    return sorted(map(str, folders))
