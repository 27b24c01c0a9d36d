"""What of a split is in a folder of media, what is missing, what is broken, and what is there under another name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from avbench.data.inspecting import FileKind, problems
from avbench.data.layouts import MediaIndex
from avbench.data.places import Packed, Place
from avbench.data.shelves import Shelf
from avbench.data.splits import Sample, Split

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Begins a progress bar of so many steps, which is called with the steps that are done."""


class Wanted(NamedTuple):
    """One file that a sample needs; ``place`` is None, or a path where nothing is, for one that is missing."""

    id: str
    kind: FileKind
    name: str
    place: Place | None

    @property
    def is_there(self) -> bool:
        """Whether there is such a file; a broken link is none."""
        return isinstance(self.place, Packed) or (self.place is not None and self.place.exists())


@dataclass(frozen=True)
class Broken:
    """A file that the loader cannot read, of the sample ``id``, and why."""

    id: str
    kind: FileKind
    place: Place
    reason: str


@dataclass(frozen=True)
class Several:
    """Files that could all be the one of the sample ``id``: the first is taken, or none where it is ambiguous."""

    id: str
    kind: FileKind
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What became of the samples of a split; found, missing and broken ones add up to ``expected``.

    Attributes:
        expected: samples of the split.
        found: ids of those whose files are all there and can be read, in the split's order, as all that follows.
        missing: ids of those that lack a file.
        broken: ids of those that lack none and have one that cannot be read.
        lacking: what is missing, file by file.
        files: broken ones, of whatever sample.
        duplicates: of samples that several files fit.
        ambiguous: of missing samples with a folder of frames of which none is known to be the right one.
        masks: samples with a mask, needed or not.
        wanted: all files that the samples need.
    """

    expected: int
    found: tuple[str, ...]
    missing: tuple[str, ...]
    broken: tuple[str, ...]
    lacking: tuple[Wanted, ...]
    files: tuple[Broken, ...]
    duplicates: tuple[Several, ...]
    ambiguous: tuple[Several, ...]
    masks: int
    wanted: tuple[Wanted, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every sample was found."""
        return len(self.found) == self.expected

    def without(self, kind: FileKind) -> list[str]:
        """Ids of the samples that lack a file of this kind."""
        return list(dict.fromkeys(wanted.id for wanted in self.lacking if wanted.kind == kind))


def diagnose(
    split: Split,
    media: MediaIndex,
    *,
    annotation: Callable[[str], Path | None],
    decode: bool = False,
    workers: int | None = None,
    progress: Progress,
) -> Diagnosis:
    """Look for the files of every sample of ``split`` in ``media``, and at each that is there.

    Every sample needs its picture and its sounds; the file of boxes where a list has its boxes in files by sample; its
    mask where no sample of a test list has boxes. A file that several samples share is looked at once.

    Args:
        split: with or without media; its samples' names are looked up again.
        media: of the folder in question.
        annotation: finds the file of boxes of a picture by its name.
        decode: True decodes every file as the loader does, False reads headers and ends.
        workers: processes, None for as many as are worth it.
        progress: called once.

    Raises:
        AvbenchError: if a process that looks at files dies.
    """
    masks = _needs_masks(split)
    wanted = [file for s in split.samples for file in _wanted(s, media, annotation=annotation, masks=masks)]
    there = {(file.kind, file.place): None for file in wanted if file.place is not None and file.is_there}
    lacking = tuple(file for file in wanted if (file.kind, file.place) not in there)
    files = list(there)
    with progress("looking at files", len(files)) as step:
        found = problems(files, decode=decode, workers=workers, progress=step)
    reasons = {file: reason for file, reason in zip(files, found, strict=True) if reason is not None}
    broken = tuple(
        Broken(file.id, file.kind, file.place, reasons[file.kind, file.place])
        for file in wanted
        if file.place is not None and (file.kind, file.place) in reasons
    )
    missing = {file.id for file in lacking}
    bad = {file.id for file in broken} - missing
    return Diagnosis(
        expected=len(split.samples),
        found=tuple(s.id for s in split.samples if s.id not in missing and s.id not in bad),
        missing=tuple(s.id for s in split.samples if s.id in missing),
        broken=tuple(s.id for s in split.samples if s.id in bad),
        lacking=lacking,
        files=broken,
        duplicates=tuple(_several(wanted, media, Shelf.duplicates)),
        ambiguous=tuple(_several(lacking, media, Shelf.ambiguous)),
        masks=sum(media.mask(s.names.mask) is not None for s in split.samples),
        wanted=tuple(wanted),
    )


def shelf_of(kind: FileKind, media: MediaIndex) -> Shelf:
    """Where the files of a kind are looked for; videos are no one's."""
    shelves = {"picture": media.pictures, "sound": media.sounds, "mask": media.masks, "annotation": media.annotations}
    return shelves[kind]


def _wanted(
    sample: Sample, media: MediaIndex, *, annotation: Callable[[str], Path | None], masks: bool
) -> Iterator[Wanted]:
    names = sample.names
    yield Wanted(sample.id, "picture", names.image, media.image(names.image))
    for name in (names.audio, names.mixed):
        if name is not None:
            yield Wanted(sample.id, "sound", name, media.sound(name))
    if sample.consensus:
        yield Wanted(sample.id, "annotation", names.image, annotation(names.image))
    elif sample.sounding and masks:
        yield Wanted(sample.id, "mask", names.mask, media.mask(names.mask))


def _needs_masks(split: Split) -> bool:
    """Whether masks are the only truth that a test list can have."""
    return split.purpose == "test" and not any(sample.boxes or sample.consensus for sample in split.samples)


def _several(
    wanted: Iterable[Wanted], media: MediaIndex, which: Callable[[Shelf, str], tuple[Path, ...]]
) -> Iterator[Several]:
    for file in wanted:
        if files := which(shelf_of(file.kind, media), file.name):
            yield Several(file.id, file.kind, files)
