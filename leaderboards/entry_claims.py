"""Whether an entry can be what it says it is: its key, its method, its list, its badge, its answer about listening.

What no file of an entry can show is left to those who accept it: see docs/leaderboard.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from avbench.leaderboards.entries import Entry
from avbench.leaderboards.sensitivity import is_control
from avbench.records import Record
from avbench.store import hash_json

if TYPE_CHECKING:
    from avbench.listening import Listening

TOLERANCE = 1e-9
"""How far a number may be from what others give."""

RATES = ("locacc", "locacc_30", "locacc_75")
"""Success rates over the samples with a sounding object."""

BUILT_IN = "built-in"
"""The origin of methods of the package."""


def claim_problems(entry: Entry) -> Iterator[str]:
    """What an entry says of itself and cannot be, one sentence each."""
    from avbench.data.splits import split_names

    yield from _badge(entry)
    if entry.split in split_names():
        for record in entry.records:
            where = f"{record.variant}/{record.protocol} in {entry.path}"
            yield from _record(record, where)
            yield from _rates(record, where)
        yield from _method(entry)
    if entry.parameters and not 0 <= entry.parameters.inference <= entry.parameters.training:
        told = f"{entry.parameters.inference} of {entry.parameters.training}"
        yield f"{entry.path} tells {told} parameters read by inference, which is no number of them: count them again"
    yield from _answer(entry)


def _badge(entry: Entry) -> Iterator[str]:
    from avbench.rerunning import NEAR

    path, rerun = entry.path, entry.rerun
    if rerun is None:
        if entry.badge == "verified":
            yield f"{path} is verified without a re-run: run it again, or accept it as submitted"
        return
    if entry.badge != "verified":
        yield f"{path} is {entry.badge} and has a re-run, which only what is verified has: leave it out"
    largest = rerun.largest
    if not (0 <= largest.metrics <= NEAR and 0 <= largest.ciou <= 1):
        yield (
            f"{path} tells a re-run that was {largest.metrics:g} off in a metric and {largest.ciou:g} in a sample, "
            f"where {NEAR:g} and 1 are the most: accept it as submitted"
        )


def _record(record: Record, where: str) -> Iterator[str]:
    """What its key is made of against what it says, and its list against ours."""
    from avbench.data.splits import split_summary

    known, inputs = record.provenance, record.provenance["inputs"]
    checkpoint = known["checkpoint"] or {}
    for holds, wrong in (
        (hash_json(inputs) == known["key"], "its key is not that of its inputs"),
        (inputs.get("method") == known["method"].get("name") == record.method, "its inputs name another method"),
        (inputs.get("split") == known["split"].get("sha256"), "its inputs name another list"),
        (known["split"].get("name") == record.split, "its list has another name"),
        (inputs.get("checkpoint") == checkpoint.get("sha256"), "its inputs name another checkpoint"),
        (inputs.get("audio") == record.audio, "its inputs name other audio"),
    ):
        if not holds:
            yield f"the record {where} cannot be, since {wrong}: restore the file"
            return
    ours = split_summary(record.split)
    told = (known["split"]["sha256"], record.n_expected)
    if ours.sha256 and told != (ours.sha256, ours.n):
        yield (
            f"the record {where} is of {told[1]} samples of the list {str(told[0])[:12]}, and {record.split} has "
            f"{ours.n} of {ours.sha256[:12]}: predict again"
        )


def _rates(record: Record, where: str) -> Iterator[str]:
    """Success rates whose intervals are not Wilson's."""
    from avbench.metrics.statistics import wilson_interval

    for name in RATES:
        value, ends = record.metrics.get(name, math.nan), record.intervals.get(name)
        if ends is None or not (0 <= value <= 1 and record.n_positive > 0):
            continue
        given = wilson_interval(round(value * record.n_positive), record.n_positive)
        if not all(map(_close, ends, given)):
            told = f"{ends[0]:.6g} to {ends[1]:.6g}, where Wilson's is {given[0]:.6g} to {given[1]:.6g}"
            yield f"the interval of {name} of the record {where} is {told}: score again"


def _method(entry: Entry) -> Iterator[str]:
    from avbench.registry import describe, find_method, method_names

    record = entry.records[0]
    built_in = record.provenance["method"].get("origin") == BUILT_IN
    ours = entry.method in method_names() and find_method(entry.method).origin == BUILT_IN
    if built_in is not ours:
        other = "and avbench has none of that name" if built_in else "under the name of one of avbench's own"
        yield f"{entry.path} is of the {'built-in ' * built_in}method {entry.method}, {other}: give it its own name"
        return
    if entry.badge == "verified" and not built_in:
        yield f"{entry.path} is verified, and {entry.method} is no method of avbench's own to be run again: submit it"
    if built_in and any(is_control(one) is not describe(find_method(entry.method)).control for one in entry.records):
        yield f"{entry.path} does not say of {entry.method} as avbench does whether it is a control: restore the file"


def _answer(entry: Entry) -> Iterator[str]:
    """An answer of other predictions, or whose numbers do not give each other."""
    answer, path = entry.listening, entry.path
    if answer is None:
        return
    keys = answer.provenance.get("keys")
    own = keys.get("true") if isinstance(keys, Mapping) else None
    if (answer.method, answer.split, own) != (entry.method, entry.split, entry.key):
        yield f"{path} has an answer about listening that is of other predictions: leave it out, or ask again"
        return
    try:
        wrong = [*_rate(entry, answer), *_drops(answer)]
    except (KeyError, TypeError, ValueError, AttributeError):
        wrong = ["is incomplete"]
    yield from (f"the answer about listening in {path} {said}: ask again" for said in wrong)


def _rate(entry: Entry, answer: Listening) -> Iterator[str]:
    told = answer.success["true"].value
    common = next((one for one in entry.records if (one.variant, one.protocol) == ("av", "common")), None)
    if common and not answer.partial and not _close(told, common.metrics.get("locacc", math.nan)):
        yield f"tells a success rate of {told:.6g}, and its record {common.metrics.get('locacc', math.nan):.6g}"


def _drops(answer: Listening) -> Iterator[str]:
    from avbench.metrics.statistics import holm

    told = answer.success["true"].value
    for audio, drop in answer.drops.items():
        given = told - answer.success[audio].value
        if not _close(drop.value, given):
            yield f"tells a drop of {drop.value:.6g} with {audio} audio, and its success rates give {given:.6g}"
        if not drop.low - TOLERANCE <= drop.value <= drop.high + TOLERANCE:
            yield f"tells an interval of the drop with {audio} audio that does not hold it"
    values = [drop.p for drop in answer.drops.values()]
    if not all(0 <= p <= 1 for p in values):
        yield "tells p-values that are none"
        return
    for (audio, drop), given in zip(answer.drops.items(), holm(values), strict=True):
        if not _close(drop.p_holm, given):
            yield f"tells a corrected p-value of {drop.p_holm:.6g} with {audio} audio, its p-values give {given:.6g}"


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE
