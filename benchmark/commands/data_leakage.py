"""Leakage between training lists and test splits, as ``avbench data check`` reports it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from avbench.commands.shared import log, names, optional_path
from avbench.data.leakage import Kind, Overlap, TrainingClips, kind_of, overlap
from avbench.data.splits import DEMO_SOURCE, Split, load_split, split_names, split_summary
from avbench.errors import AvbenchError, UsageError
from avbench.records import Record
from avbench.store import code_fingerprint, hash_json, home, read_json, write_json

LISTS_NAME: dict[str, Kind] = {"vggsound": "youtube", "flickr": "flickr"}
"""What the built-in training lists of a family name; lists of the other kind need not be read."""


def matrix(options: Namespace) -> int:
    """Compare every test split with every training list, those that are named or all at hand; the exit code is 0."""
    if options.data is not None:
        raise UsageError("--leakage compares lists and looks at no media: leave --data out")
    lists = _loaded(_asked(options.train) or _built_in("train"), options, needed=options.train is not None)
    trains = [TrainingClips(split) for split in lists]
    tests = list(_loaded(_asked(options.split) or _built_in("test"), options, needed=options.split is not None))
    if not trains or not tests:
        raise AvbenchError(
            "there is no training list or no test list at hand: avbench data fetch all brings the official ones, or "
            "name a folder of them with --metadata"
        )
    named = options.split is not None and options.train is not None
    found = [train.overlap(test) for test in tests for train in trains if named or train.comparable(test)]
    if options.json:
        json.dump([as_json(each) for each in found], sys.stdout, indent=1)
        print()
    else:
        _print(found)
        _tell_apart(tests, found)
    return 0


def _tell_apart(tests: Sequence[Split], found: Sequence[Overlap]) -> None:
    """Say which test splits stand in no table."""
    compared = {each.test for each in found}
    apart = [test.name for test in tests if test.name not in compared]
    if apart:
        log(
            f"compared with no training list: {', '.join(apart)}; their names are of no list's kind and cannot tell: "
            "name a list of the same names with --train"
        )


def leaks_of(split: Split, options: Namespace) -> list[Overlap]:
    """What ``split`` shares with the training lists that are named, else with all at hand whose names mean the same.

    A list to validate on stands in the place of a training list, before the test splits at hand.
    """
    if split.purpose == "train" or split.source == DEMO_SOURCE:
        return []
    if split.purpose == "validation" and options.train is None:
        clips = TrainingClips(split)
        return [
            clips.overlap(test) for test in _loaded(_built_in("test"), options, needed=False) if clips.comparable(test)
        ]
    kind = kind_of(split)
    related = [name for name in _built_in("train") if LISTS_NAME.get(split_summary(name).family) == kind]
    trains = map(TrainingClips, _loaded(_asked(options.train) or related, options, needed=options.train is not None))
    return [train.overlap(split) for train in trains]


def of_checkpoints(records: Sequence[Record], test: Split, metadata: Path | None) -> Iterator[str]:
    """A sentence for each method whose checkpoint names a built-in training list: how much of ``test`` that holds.

    What was compared once is remembered in the store: lists are long, and a run that is repeated should not wait.
    """
    named = {record.method: _trained_on(record) for record in records}
    known = set(_built_in("train"))
    for method, train in named.items():
        if train in known:
            yield f"{method}: {_remembered(train, test, metadata)}"


def _trained_on(record: Record) -> str:
    told = (record.provenance.get("checkpoint") or {}).get("training")
    split = told.get("split") if isinstance(told, dict) else None
    return str(split.get("name")) if isinstance(split, dict) else ""


def _remembered(train: str, test: Split, metadata: Path | None) -> str:
    ids = [sample.id for sample in test.samples]
    key = hash_json([split_summary(train).sha256, test.name, test.sha256, ids, code_fingerprint("data/leakage.py")])
    place = home() / "leakage" / f"{key[:24]}.json"
    if place.is_file():
        return str(read_json(place))
    try:
        told = overlap(load_split(train, metadata=metadata, truth=False), test).told
    except AvbenchError as problem:
        return f"whether the training list {train} holds samples of {test.name} is not known, since {problem}"
    write_json(place, told)
    return told


def as_json(found: Overlap) -> dict[str, Any]:
    """All of it, ids included."""
    return asdict(found)


def _asked(text: str | None) -> list[str]:
    return [] if text is None else names(text, "split")


def _built_in(purpose: str) -> list[str]:
    """Splits of the data sets; those of the demo world share nothing by construction."""
    known = [split_summary(name) for name in split_names()]
    return [summary.name for summary in known if summary.purpose == purpose and summary.kind != "demo"]


def _loaded(wanted: Sequence[str], options: Namespace, *, needed: bool) -> Iterator[Split]:
    """The lists; those that cannot be read are left out with a word, unless they were named."""
    absent = []
    for name in wanted:
        try:
            yield load_split(name, metadata=optional_path(options.metadata), truth=False)
        except AvbenchError as problem:
            if needed:
                raise
            absent.append((name, str(problem)))
    if absent:
        log(f"not at hand, left out: {', '.join(name for name, _ in absent)} ({absent[0][1]})")


def _print(found: Sequence[Overlap]) -> None:
    """A table for each group of training lists that can be compared with the same test splits."""
    if not found:
        return
    print("test samples that a training list holds / that are cut from its videos")
    columns: dict[tuple[str, ...], list[str]] = {}
    for test in dict.fromkeys(each.test for each in found):
        trains = tuple(each.train for each in found if each.test == test)
        columns.setdefault(trains, []).append(test)
    cells = {(each.test, each.train): each for each in found}
    for trains, tests in columns.items():
        rows = [("", "samples", *trains)]
        rows += [_row([cells[test, train] for train in trains]) for test in tests]
        print()
        print("\n".join(_aligned(rows)))


def _row(overlaps: Sequence[Overlap]) -> tuple[str, ...]:
    cells = (f"{len(each.ids):,} / {len(each.videos):,}" for each in overlaps)
    return overlaps[0].test, f"{overlaps[0].n_test:,}", *cells


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        yield "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))])
