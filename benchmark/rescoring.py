"""Scoring predictions that lie on disk: no media, no annotation files, no network, no GPU. Imports no torch itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import get_args

from avbench.data.audio_modes import AudioMode
from avbench.errors import UsageError
from avbench.metrics.protocols import PROTOCOLS, Truth
from avbench.opening import Progress, silent
from avbench.records import Record, read_record
from avbench.request import ALL, Refinement, protocol_called, rows_of
from avbench.stored import OBJECT_PRIOR, Stored, Task, find_stored

AUDIO: tuple[str, ...] = get_args(AudioMode)


@dataclass(frozen=True)
class Choice:
    """Which of the stored predictions, and which rows of them.

    Attributes:
        methods: names; empty for all.
        splits: names; empty for all.
        audio: audio modes; empty for all.
        refine: refinements that give further rows where the stored maps allow them.
        protocols: names, or ``all``.
    """

    methods: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    audio: tuple[str, ...] = ()
    refine: tuple[Refinement, ...] = ()
    protocols: tuple[str, ...] = ("common",)


@dataclass(frozen=True)
class Group:
    """Stored predictions of the same samples, with the rows wanted of each; the methods come before the controls."""

    tasks: tuple[Task, ...]
    prior: Stored | None
    """The predictions of the object map, where they are fused in."""

    @property
    def truth_path(self) -> Path:
        """The file that holds what is true of the samples."""
        return self.tasks[0].stored.truth_path


def groups_of(places: Sequence[Path], choice: Choice) -> list[Group]:
    """What a choice wants of stored predictions, by split and samples; see :func:`rescore`."""
    found = find_stored(places)
    kept = sorted(chosen(found, choice), key=_samples_of)
    return [_group(list(same), found, choice) for _, same in groupby(kept, key=_samples_of)]


def rescore(places: Sequence[Path], choice: Choice, progress: Progress = silent) -> list[Record]:
    """The records of stored predictions, scored now where they are not yet, in the order found.

    Args:
        places: Runs folders, folders below their ``predictions/``, or records.
        choice: What is wanted of them.
        progress: For a bar per split.

    Raises:
        UsageError: for a place without predictions, a choice that leaves none, or a protocol whose truth they lack.
        AvbenchError: for files that are broken, incomplete or do not belong together.
    """
    return [record for group in groups_of(places, choice) for record in _records_of(group, progress)]


def chosen(found: Sequence[Stored], choice: Choice) -> list[Stored]:
    """Those of ``found`` that a choice names.

    Raises:
        UsageError: if a name is not among them, or none is left.
    """
    for kind, wanted, there in (
        ("method among the predictions", choice.methods, {stored.method for stored in found}),
        ("split among the predictions", choice.splits, {stored.split for stored in found}),
        ("audio mode among the predictions", choice.audio, {stored.audio for stored in found}),
    ):
        for name in wanted:
            if name not in there:
                raise UsageError(f"expected one {kind} ({', '.join(sorted(there))}), got {name!r}")
    kept = [stored for stored in found if _is_chosen(stored, choice)]
    if not kept:
        raise UsageError("no predictions are left of those chosen: name fewer of --method, --split and --audio")
    return kept


def _is_chosen(stored: Stored, choice: Choice) -> bool:
    pairs = ((stored.method, choice.methods), (stored.split, choice.splits), (stored.audio, choice.audio))
    return all(not wanted or name in wanted for name, wanted in pairs)


def _samples_of(stored: Stored) -> tuple[str, str, str]:
    return stored.split, str(stored.runs), stored.truth


def _group(same: Sequence[Stored], found: Sequence[Stored], choice: Choice) -> Group:
    prior = _prior(same[0], found) if "ogl" in choice.refine else None
    protocols = _protocols(same[0], choice.protocols)
    methods_first = sorted(same, key=lambda stored: (stored.control, stored.method, AUDIO.index(stored.audio)))
    if "iqr" in choice.refine and not any(stored.has_image_query for stored in same if not stored.control):
        names = ", ".join(dict.fromkeys(stored.method for stored in same))
        raise UsageError(f"the refinement iqr needs image-query maps, as jsa gives them, and none of {names} has any")
    return Group(tuple(_task(stored, protocols, choice.refine, prior) for stored in methods_first), prior)


def _prior(one: Stored, found: Sequence[Stored]) -> Stored:
    """The object maps of the samples of ``one``, chosen or not."""
    there = [s for s in found if s.method == OBJECT_PRIOR and _samples_of(s) == _samples_of(one)]
    if not there:
        raise UsageError(
            f"the refinement ogl needs the object maps of {one.split}, and there are no predictions of ogl in "
            f"{one.runs}: add them with avbench run --refine ogl"
        )
    if len(there) > 1:
        raise UsageError(
            f"the refinement ogl needs one set of object maps of {one.split}, and there are {len(there)} "
            f"({', '.join(s.folder.name for s in there)}): name folders of predictions with one of them"
        )
    return there[0]


def _records_of(group: Group, progress: Progress) -> list[Record]:
    paths = [task.record_path(*row) for task in group.tasks for row in task.rows]
    if not all(path.exists() and path.with_suffix(".parquet").exists() for path in paths):
        from avbench.scoring import score_and_record

        first = group.tasks[0].stored
        with progress(f"scoring {first.split}", first.samples) as advance:
            score_and_record(group.tasks, prior=group.prior, advance=advance)
    return [read_record(path) for path in paths]


def _task(stored: Stored, protocols: Sequence[str], refine: Sequence[Refinement], prior: Stored | None) -> Task:
    wanted = () if stored.control else tuple(one for one in refine if one != "iqr" or stored.has_image_query)
    return Task(stored, tuple(rows_of(protocols, wanted)), prior.key if prior else None)


def _protocols(stored: Stored, asked: Sequence[str]) -> tuple[str, ...]:
    """Those asked for; ``all`` stands for every one that the truth allows."""
    from avbench.truth import read_truth

    truth = read_truth(stored.truth_path)
    kinds: set[Truth] = {"boxes"}
    kinds |= {"masks"} if truth.has_masks else set()
    kinds |= {"sources"} if truth.has_sources else set()
    for name in asked:
        if name != ALL and protocol_called(name).truth not in kinds:
            raise UsageError(
                f"the protocol {name} scores against {protocol_called(name).truth}, which the truth of {stored.split} "
                "does not have: leave it out"
            )
    named = [name for one in asked for name in (PROTOCOLS if one == ALL else [one])]
    return tuple(dict.fromkeys(name for name in named if protocol_called(name).truth in kinds))
