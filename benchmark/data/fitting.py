"""Which built-in splits the media of a folder are for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avbench.data.layouts import MediaIndex
from avbench.data.leftovers import clip_name, videos_by_name
from avbench.data.places import MediaNames, Packed, Place
from avbench.data.shelves import Shelf
from avbench.data.splits import Purpose, load_split, split_names, split_summary
from avbench.errors import AvbenchError


@dataclass(frozen=True)
class Fit:
    """How much of a split is there, by names alone.

    Attributes:
        split: its name.
        purpose: whether it is a test or a training list.
        n: its samples.
        covered: of these, how many have a picture and all their sounds.
        videos: of the others, how many have a video to make them from.
    """

    split: str
    purpose: Purpose
    n: int
    covered: int
    videos: int


def official_splits() -> list[str]:
    """Names of the built-in splits that are not drawn, sorted."""
    return [name for name in split_names() if split_summary(name).kind != "demo"]


def fits(media: MediaIndex, metadata: Path | None, progress: Callable[[int], None]) -> tuple[list[Fit], list[str]]:
    """The built-in splits of which something is in ``media``.

    Args:
        media: of the folder in question.
        metadata: folder of the official files, None for the store's.
        progress: called with 1 for each split that was looked at.

    Returns:
        The splits of which anything is there, whole ones first, then the largest share in percent, then the most
        samples there, then by name; and the names of those whose official files are not at hand.
    """
    found: list[Fit] = []
    absent: list[str] = []
    videos = set(videos_by_name(media))
    for name in official_splits():
        fit = _fit(name, media, metadata, videos)
        if fit is None:
            absent.append(name)
        elif fit.covered or fit.videos:
            found.append(fit)
        progress(1)
    return sorted(found, key=_order), absent


def _order(fit: Fit) -> tuple[bool, float, int, str]:
    there = fit.covered + fit.videos
    return there < fit.n, -round(there / fit.n, 2), -there, fit.split


def _fit(name: str, media: MediaIndex, metadata: Path | None, videos: set[str]) -> Fit | None:
    try:
        split = load_split(name, metadata=metadata, truth=False)
    except AvbenchError:
        return None
    uncovered = [s.names for s in split.samples if not _is_covered(s.names, media)]
    made = sum({clip_name(names.image), clip_name(names.audio)} <= videos for names in uncovered) if videos else 0
    return Fit(name, split.purpose, split.n, split.n - len(uncovered), made)


def _is_covered(names: MediaNames, media: MediaIndex) -> bool:
    sounds = (name for name in (names.audio, names.mixed) if name is not None)
    return _has(media.pictures, media.image, names.image) and all(
        _has(media.sounds, media.sound, name) for name in sounds
    )


def _has(shelf: Shelf, place: Callable[[str], Place], name: str) -> bool:
    """Whether there is a file, or in an index of a pack, whose shelves are empty, a part of a shard."""
    return shelf.has(name) if len(shelf) else isinstance(place(name), Packed)
