"""Lists to validate on, kept apart from what is trained on and from all that is tested on. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from avbench.data.annotations import Annotation
from avbench.data.leakage import TrainingClips
from avbench.data.splits import DEMO_SOURCE, Sample, Split, content_hash, load_split, split_names, split_summary
from avbench.errors import AvbenchError, UsageError

SHOWN = 3
"""Ids that an error names."""

_ADVICE = "validate on another, such as those called -val in avbench list splits"


def shared_ids(split: Split, other: Split) -> tuple[str, ...]:
    """Ids of the samples of ``split`` that are of a video of which ``other`` holds a clip, in the split's order.

    Clips and videos are told by their names, as :mod:`avbench.data.leakage` does. Splits of the demo world, whose
    names repeat, share all their scenes where they are drawn from one seed, else none.
    """
    if DEMO_SOURCE in {split.source, other.source}:
        return tuple(sample.id for sample in split.samples) if _one_drawing(split, other) else ()
    return TrainingClips(other).overlap(split).videos


def without(split: Split, held_out: Split) -> Split:
    """The samples of ``split`` of whose videos ``held_out`` holds no clip, in their order, with the same media.

    Returns:
        The split itself where nothing is shared; else one whose name says what was taken out, with the
        :attr:`avbench.data.splits.Split.sha256` of the list that remains.

    Raises:
        UsageError: if nothing would be left, or samples of ``split`` were left out already, so that the rest of its
            list is not known.
    """
    shared = set(shared_ids(split, held_out))
    if not shared:
        return split
    if len(split.samples) != split.n:
        raise UsageError(
            f"{split.name} holds {len(split.samples):,} of its {split.n:,} samples: take {held_out.name} out of the "
            "whole list, before missing ones are left out"
        )
    samples = tuple(sample for sample in split.samples if sample.id not in shared)
    if not samples:
        raise UsageError(
            f"nothing of {split.name} is left to train on without the videos of {held_out.name}: validate on a list "
            "that holds a part of them, or none"
        )
    return replace(
        split,
        name=f"{split.name} minus {held_out.name}",
        title=f"{split.title}, without the videos of {held_out.name}",
        samples=samples,
        sha256=content_hash(map(_annotation, samples)),
        n=len(samples),
    )


def require_disjoint(validation: Split, tests: Iterable[Split]) -> None:
    """Refuse to select on what is tested on.

    Args:
        validation: the list that checkpoints are to be selected on.
        tests: lists that it may share no clip and no video with, as far as names tell.

    Raises:
        UsageError: naming the first test list of which it holds anything.
    """
    for test in tests:
        if validation.name == test.name:
            raise UsageError(f"{test.name} is a list to test on: {_ADVICE}")
        if shared := shared_ids(validation, test):
            first = ", ".join(shared[:SHOWN]) + (", ..." if len(shared) > SHOWN else "")
            raise UsageError(
                f"{len(shared):,} of {len(validation.samples):,} samples of {validation.name} ({first}) are of videos "
                f"that the test list {test.name} holds: {_ADVICE}"
            )


def check_validation(validation: Split, *, metadata: Path | None = None) -> tuple[str, ...]:
    """Refuse a list to validate on that shares anything with a test list of the package.

    The package's own validation lists were drawn so, and are not compared again.

    Args:
        validation: as loaded, with media or without.
        metadata: folder of the official files, None for the store's.

    Returns:
        Names of the test lists whose official files are not at hand or not whole, with which nothing was compared.

    Raises:
        UsageError: as :func:`require_disjoint`.
    """
    if validation.purpose == "validation":
        return ()
    tests = {name: _list(name, metadata) for name in split_names() if split_summary(name).purpose == "test"}
    require_disjoint(validation, [test for test in tests.values() if test is not None])
    return tuple(name for name, test in tests.items() if test is None)


def _list(name: str, metadata: Path | None) -> Split | None:
    """A built-in list without media, None where its official files are not at hand or not whole."""
    try:
        return load_split(name, metadata=metadata, truth=False, draw=False)
    except AvbenchError:
        return None


def _one_drawing(split: Split, other: Split) -> bool:
    from avbench.data.demo_world import read_split

    return split.source == other.source and read_split(split.name).seed == read_split(other.name).seed


def _annotation(sample: Sample) -> Annotation:
    """What of a sample's entry its split's hash is taken of."""
    names = sample.names
    return Annotation(
        id=sample.id,
        label=sample.label,
        boxes=sample.boxes,
        image=names.image,
        audio=names.audio,
        sounding=sample.sounding,
        group=None if sample.image_name == names.image else sample.image_name,
        mask=None if names.mask == sample.id else names.mask,
        mixed=names.mixed,
        consensus=sample.consensus,
    )
