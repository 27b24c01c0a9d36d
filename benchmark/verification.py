"""Verifying a bundle: its files, the truth, the maps, and every number, measured again from the maps inside."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from avbench.audio_sets import hears
from avbench.bundles import Result, folder_name, without_paths
from avbench.checkpoints import CONFIG
from avbench.errors import AvbenchError
from avbench.opening import Places, Progress, silent
from avbench.records import Record
from avbench.rescoring import AUDIO
from avbench.store import read_json
from avbench.stored import Stored
from avbench.training_curves import EVALUATIONS, read_curves
from avbench.truth import Truth
from avbench.unbundling import Opened
from avbench.verification_files import (
    described,
    entry_problems,
    list_problems,
    own_split,
    own_truth,
    part_problems,
    truth_problems,
)
from avbench.verification_invariants import Ceiling, ceiling_of, invariant_problems
from avbench.verification_reports import Check, Report, problem_of
from avbench.verification_scores import Row, answer_problems, record_problems, row_of, scored_again, sound_record

COMMON = ("av", "common")
"""The row that answers of avbench listen are about."""


@dataclass
class Verified:
    """What a verification found.

    Attributes:
        report: of all checks.
        stored: the predictions that could be used, by key.
        records: those of the bundle, by key of their predictions.
    """

    opened: Opened
    report: Report
    stored: dict[str, Stored] = field(default_factory=dict)
    records: dict[str, list[Record]] = field(default_factory=dict)

    @property
    def theirs(self) -> Path:
        """The folder that the bundle's own records were put into, out of the way of those made here."""
        return self.opened.folder.with_name("theirs")

    def put_back(self) -> None:
        """Put the bundle's own records in the place of those made here."""
        shutil.rmtree(self.opened.folder / "records", ignore_errors=True)
        self.theirs.rename(self.opened.folder / "records")

    def rows(self, key: str) -> list[Row]:
        """The rows that the bundle has of some predictions."""
        return [row_of(record) for record in self.records.get(key, [])]

    def prior(self, key: str) -> Stored | None:
        """The object maps that rows of some predictions fuse in."""
        priors = {entry.prior for entry in self.opened.manifest.entries if key in entry.audio.values() and entry.prior}
        return next((self.stored[one] for one in sorted(priors) if one in self.stored), None)


def verify(
    opened: Opened, places: Places, progress: Progress = silent, tell: Callable[[Check], None] = lambda check: None
) -> Verified:
    """Check a bundle that was opened.

    Its own records are put aside, and the truth in its folder is replaced by ours, before anything is scored.

    Args:
        opened: The bundle, in a folder that this may change.
        places: Of our own annotation files, and of media where masks belong to the truth.
        progress: For the bars.
        tell: Called with each check as it is made.

    Raises:
        UsageError: if our own annotation is not at hand.
    """
    found = Verified(opened, Report(tell=tell))
    found.report.shown = {opened.folder: "", found.theirs: "records/"}
    _predictions(found)
    _entries(found)
    if (opened.folder / "records").exists():
        (opened.folder / "records").rename(found.theirs)
    _records(found)
    by_split = sorted(found.stored.values(), key=lambda stored: (stored.split, stored.method, stored.audio, stored.key))
    for split, same in groupby(by_split, key=lambda stored: stored.split):
        _split(found, split, list(same), places, progress)
    _trainings(found)
    return found


def _predictions(found: Verified) -> None:
    folders = sorted((found.opened.folder / "predictions").glob("*/*"))
    problems = []
    for folder in folders:
        try:
            stored = described(folder)
        except AvbenchError as problem:
            problems.append(str(problem))
            continue
        if stored.key in found.stored:
            problems.append(f"the predictions {folder} are there twice: submit them once")
        found.stored[stored.key] = stored
    said = f"{len(folders)} folders described, their keys those of their inputs, no part missing"
    found.report.add("predictions", "all", said, problems)


def _entries(found: Verified) -> None:
    entries = found.opened.manifest.entries
    for entry in entries:
        audio = ", ".join(sorted(entry.audio, key=AUDIO.index))
        said = f"{audio} audio, selection {entry.selection}"
        found.report.add("entry", entry.title, said, entry_problems(entry, found.stored))
    owned = {key for entry in entries for key in (*entry.audio.values(), entry.prior)}
    strays = [
        f"the predictions {found.stored[key].folder.name} belong to no entry" for key in sorted({*found.stored} - owned)
    ]
    keys = [(entry.split, entry.key) for entry in entries]
    strays += [f"{entry.title} is listed twice" for n, entry in enumerate(entries) if keys[n] in keys[:n]]
    found.report.add("entries", "all", f"{len(entries)} entries, nothing besides", strays)


def _records(found: Verified) -> None:
    paths = [path for path in sorted(found.theirs.glob("*/*.json")) if ".listening-" not in path.name]
    problems = []
    for path in paths:
        try:
            record = sound_record(path)
            _keep(found, record)
        except AvbenchError as problem:
            problems.append(str(problem))
    tables = {path.with_suffix(".parquet") for path in paths}
    alone = sorted(tables ^ set(found.theirs.glob("*/*.parquet")))
    problems += [f"{path.parent.name}/{path.name} has no record, or a record lacks it: submit again" for path in alone]
    for entry in found.opened.manifest.entries:
        protocols = {protocol for _, protocol in found.rows(entry.key)}
        if protocols != set(entry.protocols) or not protocols:
            problems.append(
                f"{entry.title} is scored under {_named(protocols)}, and listed with {_named(entry.protocols)}"
            )
    found.report.add("records", "all", f"{len(paths)} records of this schema, their seals whole", problems)


def _named(protocols: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(protocols)) or "nothing"


def _keep(found: Verified, record: Record) -> None:
    """Put a record to its predictions."""
    key = record.provenance.get("key")
    stored = found.stored.get(key) if isinstance(key, str) else None
    told = (record.method, record.split, record.audio)
    if stored is None or told != (stored.method, stored.split, stored.audio):
        raise AvbenchError(f"the record {record.path} is of predictions that the bundle does not have: submit both")
    if row_of(record) in found.rows(stored.key):
        raise AvbenchError(f"the record {record.path} is there twice, under another name: submit it once")
    found.records.setdefault(stored.key, []).append(record)


def _split(found: Verified, name: str, same: Sequence[Stored], places: Places, progress: Progress) -> None:
    """All that is to be checked on one split."""
    try:
        split = own_split(name, places, progress)
    except AvbenchError as problem:
        if problem.exit_code != AvbenchError.exit_code:
            raise
        found.report.add("list", name, "", [str(problem)])
        return
    if not found.report.add("list", name, f"{split.n} samples, hash {split.sha256[:12]}", list_problems(same, split)):
        return
    ours, truth = own_truth(split, found.opened.folder.with_name("ours"))
    files = sorted({stored.truth_path for stored in same})
    problems = [problem for path in files for problem in truth_problems(path, truth)]
    found.report.add("truth", name, f"that of our own annotation, hash {truth.sha256[:12]}", problems)
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ours.read_bytes())
    ceiling = ceiling_of(truth)
    with progress(f"scoring {name}", len(same)) as advance:
        for stored in same:
            _score(found, stored, truth, ceiling)
            advance(1)
    _answers(found, name)


def _score(found: Verified, stored: Stored, truth: Truth, ceiling: Ceiling) -> None:
    theirs = found.records.get(stored.key, [])
    title = f"{stored.title} on {stored.split}{_selection(stored, theirs)}"
    said = f"{len(truth)} maps, ids in order, finite, within their score range"
    if found.report.add("maps", title, said, part_problems(stored, truth)):
        said = f"{len(theirs)} records and {len(theirs) * len(truth)} per-sample rows, the same when measured again"
        found.report.add("scores", title, said, _score_problems(found, stored, theirs, truth))
    broken = [problem for record in theirs for problem in invariant_problems(record, ceiling, truth)]
    found.report.add("invariants", title, f"hold for {len(theirs)} records", broken)


def _selection(stored: Stored, records: Sequence[Record]) -> str:
    """Tells checkpoints of one method apart."""
    return f", selection {records[0].selection}" if records and not stored.control else ""


def _score_problems(found: Verified, stored: Stored, theirs: Sequence[Record], truth: Truth) -> list[str]:
    rows = dict.fromkeys([*found.rows(stored.key), *([COMMON] if _may_listen(stored, truth) else [])])
    try:
        ours = scored_again(stored, list(rows), found.prior(stored.key)) if rows else {}
    except AvbenchError as problem:
        return [f"{stored.folder} cannot be scored: {problem}"]
    return [problem for record in theirs for problem in record_problems(record, ours[row_of(record)], truth)]


def _may_listen(stored: Stored, truth: Truth) -> bool:
    return hears(stored) and bool(truth.positive.any())


def _answers(found: Verified, split: str) -> None:
    paths = sorted((found.theirs / split).glob("*.listening-*.json"))
    if not paths:
        return
    problems = [problem for path in paths for problem in answer_problems(path, found.stored)]
    found.report.add("listening", split, f"{len(paths)} answers, the same when measured again", problems)


def _trainings(found: Verified) -> None:
    folder = found.opened.folder / "trainings"
    named = {folder_name(entry.method, entry.key): entry for entry in found.opened.manifest.entries if entry.training}
    there = {path.name for path in folder.glob("*")}
    problems = [
        f"the training {name} is listed and not there, or there and not listed" for name in sorted(there ^ {*named})
    ]
    for name in sorted(there & {*named}):
        problems += _training_problems(folder / name, named[name], found.stored)
    if named or there:
        found.report.add("trainings", "all", f"{len(named)} trainings, of the checkpoints that predicted", problems)


def _training_problems(folder: Path, entry: Result, stored: Mapping[str, Stored]) -> list[str]:
    problems = problem_of(lambda: read_curves(folder / EVALUATIONS))
    try:
        told = read_json(folder / CONFIG)
    except AvbenchError as problem:
        return [*problems, str(problem)]
    own = stored.get(entry.key)
    meta = told.get("meta") if isinstance(told, dict) else None
    described = {**meta, "method": told.get("method")} if isinstance(meta, dict) else None
    if own and without_paths(described) != own.resolved["checkpoint"].get("training"):
        problems.append(
            f"the training {folder.name} is not that of the checkpoint which {entry.title} was predicted with"
        )
    return problems
