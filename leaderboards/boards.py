"""Leaderboards as data: who is ranked with whom, by what, and what is known beside the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from avbench.leaderboards.board_notes import notes
from avbench.leaderboards.board_pools import Pool, Row, pools
from avbench.leaderboards.board_tests import Measured, measure
from avbench.leaderboards.compared import LEVEL, Comparison
from avbench.leaderboards.entries import Badge, Entry
from avbench.leaderboards.sensitivity import is_control
from avbench.listening import Listening
from avbench.metrics.catalogue import METRICS
from avbench.metrics.resampling import RESAMPLES
from avbench.records import Record, Selection
from avbench.stored import OBJECT_PRIOR

PLAIN = "av"
"""The variant that is the method's own map, by which it is asked whether it listens."""

Verdict = Literal["yes", "no", "unclear"]

Family = Literal["control", "object prior", "semi-supervised", "self-supervised"]


@dataclass(frozen=True)
class Listens:
    """Whether a method listens, by the negative audio with which its success falls least.

    ``yes``: even that fall is shown. ``no``: no negative audio shows one. ``unclear``: some do, that one does not. A
    fall is shown if it is above 0 with a corrected p-value of at most 0.05. The numbers are those of the least fall,
    in fractions: the difference of success rates under the protocol ``common``, and its 95 % interval.
    """

    verdict: Verdict
    drop: float
    low: float
    high: float
    p_holm: float


@dataclass(frozen=True)
class Line:
    """A row of a board.

    Attributes:
        title: method and variant; where several rows of a badge have the same, with what tells them apart.
        values: by metric id, fractions; a metric that the method does not offer is absent.
        intervals: 95 %, of those metrics that have one.
        ranks: by metric of the board, 1 the best, equals sharing the better one; None for controls, for metrics that
            are not tested, and without a value.
        groups: tie groups by metric of the board, from 1, None as for ranks: no member can be told apart from the best
            of its group.
        listens: None where it hears nothing, was not asked, or the row is not the plain map.
        parameters: that inference reads; None where nobody counted them.
        seconds: per sample, for decoding, front-end and forward pass; None where nobody measured.
        device: where that was measured; empty where nobody says.
        n: samples.
        record: one of the entry's.
    """

    title: str
    method: str
    variant: str
    control: bool
    family: Family
    selection: Selection
    badge: Badge
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    ranks: dict[str, int | None]
    groups: dict[str, int | None]
    listens: Listens | None
    parameters: int | None
    seconds: float | None
    device: str
    n: int
    entry: Entry
    record: Record


@dataclass(frozen=True)
class Board:
    """Rows that may be ranked with each other, being of one list of samples, truth, protocol, badge and selection.

    Attributes:
        split_sha256: of the list of samples.
        truth: SHA-256 of what is true of them.
        version: of the protocol.
        selections: of checkpoints, those that are ranked; empty where nothing is trained.
        n_positive: of the n samples, those with a sounding object.
        metrics: ids, the first orders the lines; those that stand for the protocol, and AP and max-F1 where there are.
        tested: of these, the metrics that per-sample values give, so that ranks stand on tests.
        lines: by the first metric from the best, controls among the others; those without a value last.
        notes: what the reader must know, one line each.
        comparisons: the tests behind ranks and groups: one for each set of rows that have the same metrics.
    """

    split: str
    split_sha256: str
    truth: str
    protocol: str
    version: int
    badge: Badge
    selections: tuple[Selection, ...]
    n: int
    n_positive: int
    metrics: tuple[str, ...]
    tested: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    comparisons: tuple[Comparison, ...]


def boards(  # noqa: PLR0913 - each names one thing that may be wanted
    entries: Sequence[Entry],
    *,
    splits: Sequence[str] = (),
    protocols: Sequence[str] = (),
    selections: Sequence[Selection] = (),
    badges: Sequence[Badge] = (),
    metrics: Sequence[str] = (),
    resamples: int = RESAMPLES,
) -> list[Board]:
    """The boards of some entries; those of partial results are left out, whoever made them.

    A board has the rows of one list of samples, truth, protocol with its version, badge, and versions of the metrics
    that it shows; and of one selection of checkpoints, with what was never trained, such as the controls. The result
    does not depend on the order of the entries.

    Args:
        entries: All that there are.
        splits: Names of those wanted; as with the next three, empty for all.
        protocols: Names, with their parameters.
        selections: Of the checkpoints that are ranked.
        badges: Of the rows.
        metrics: Ids of those wanted, the first of which orders the lines; empty for each protocol's own, and AP and
            max-F1 where there are. One that no row of a board has is left out there.
        resamples: Of the bootstrap.

    Returns:
        By split, protocol as listings have them, badge, and selection.

    Raises:
        UsageError: for a metric that does not exist.
        AvbenchError: for per-sample values that cannot be read, or truths that differ though their hashes agree.
    """
    wanted = [
        pool
        for pool in pools(entries, metrics)
        if (not splits or pool.head.split in splits)
        and (not protocols or pool.head.protocol in protocols)
        and (not selections or {*pool.selections} & {*selections})
        and (not badges or pool.head.badge in badges)
    ]
    return [board_of(pool, resamples) for pool in wanted]


def board_of(pool: Pool, resamples: int = RESAMPLES) -> Board:
    """A board of its rows; raises as :func:`boards` for what the per-sample values hold."""
    outcome = measure(pool, resamples)
    first = pool.metrics[0]
    higher = METRICS[first].direction == "higher"

    def place(line: Line) -> tuple[bool, float, str]:
        value = line.values.get(first, 0.0)
        return first not in line.values, -value if higher else value, line.title

    lines = tuple(sorted((_line(row, outcome.rows[row.shown.title]) for row in pool.rows), key=place))
    record = pool.rows[0].record
    return Board(
        **pool.head._asdict(),
        selections=pool.selections,
        n=record.n_scored,
        n_positive=record.n_positive,
        metrics=pool.metrics,
        tested=outcome.tested,
        lines=lines,
        notes=tuple(notes(pool, outcome, lines)),
        comparisons=outcome.comparisons,
    )


def of_methods(board: Board, methods: Sequence[str]) -> Board:
    """The board with the rows of these methods and the controls alone, ranked as they were among all."""
    kept = tuple(line for line in board.lines if line.control or line.method in methods)
    left = sum(not line.control for line in board.lines) - sum(not line.control for line in kept)
    note = f"{left} further row{'' if left == 1 else 's'} not shown; ranks are among all."
    return replace(board, lines=kept, notes=(*board.notes, note) if left else board.notes)


def _line(row: Row, measured: Measured) -> Line:
    entry, record = row.entry, row.record
    heard = entry.listening if record.variant == PLAIN else None
    return Line(
        title=row.shown.title,
        method=record.method,
        variant=record.variant,
        control=entry.control,
        family=family(record),
        selection=record.selection,
        badge=entry.badge,
        **vars(measured),
        listens=None if heard is None else listens(heard),
        parameters=None if entry.parameters is None else entry.parameters.inference,
        seconds=record.seconds / record.n_scored if record.seconds > 0 else None,
        device=device(record),
        n=record.n_scored,
        entry=entry,
        record=record,
    )


def listens(found: Listening) -> Listens | None:
    """What an answer comes to; None where it is over less than the split."""
    if found.partial:
        return None
    shown = [audio for audio, drop in found.drops.items() if drop.value > 0 and drop.p_holm <= LEVEL]
    least = min(found.drops, key=lambda audio: (found.drops[audio].value, -found.drops[audio].p_holm))
    drop = found.drops[least]
    verdict: Verdict = "yes" if least in shown else "unclear" if shown else "no"
    return Listens(verdict, drop.value, drop.low, drop.high, drop.p_holm)


def family(record: Record) -> Family:
    """What kind of method a record is of; the boxes of a semi-supervised one are switched on by a setting."""
    if is_control(record):
        return "control"
    known = record.provenance
    if known["method"]["name"] == OBJECT_PRIOR:
        return "object prior"
    return "self-supervised" if known.get("config", {}).get("supervised", "off") == "off" else "semi-supervised"


def device(record: Record) -> str:
    """Where a record's seconds were measured; empty where it does not say."""
    run = record.run
    if run.get("device") != "cpu":
        return str(run.get("name") or run.get("device") or "")
    threads = run.get("threads")
    told = f", {threads} thread{'' if threads == 1 else 's'}" if threads else ""
    return f"CPU ({run.get('name', '')}{told})"
