"""Published tables with our results in their cells: what is best and what is as good, among ours alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from avbench.leaderboards.grids import best_and_second
from avbench.leaderboards.paper_matches import Ours, ours
from avbench.leaderboards.paper_wanted import Wanted, wanted
from avbench.leaderboards.published_names import higher_is_better
from avbench.leaderboards.published_tables import Cell, PublishedTable
from avbench.leaderboards.rows import percent
from avbench.metrics.catalogue import METRICS

if TYPE_CHECKING:
    from avbench.leaderboards.contestants import Contestant
    from avbench.leaderboards.entries import Entry

Place = tuple[int, int]
"""Row and column of a table."""

RESAMPLES = 10_000
"""Of the tests behind tie groups."""
PARAMETERS = "params"
"""The index's metric of what is counted."""
HERE = "Ours, on this device"
"""Above rows of our methods, measured where the command runs."""
COUNTED = "verified"
"""The badge of what is counted or timed by the command itself."""


@dataclass(frozen=True)
class Number:
    """What stands in a cell for us, in the unit of its column."""

    value: float
    decimals: int
    badge: str
    difference: float | None = None
    """From the published value, of two from the authors' re-run; None where there is none."""
    deviation: float | None = None
    runs: int = 1
    samples: int | None = None
    """Of the test list; None for what is counted or timed."""
    selection: str = ""
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The number as shown, of several runs with its standard deviation."""
        shown = points(self.value, self.decimals)
        if self.deviation is None:
            return shown
        return f"{shown} ± {points(self.deviation, self.decimals)} ({self.runs} runs)"

    @property
    def difference_text(self) -> str:
        """The difference with its sign, 0.00 without; empty for none."""
        if self.difference is None:
            return ""
        shown = points(self.difference, self.decimals, "+")
        return shown if float(shown) else shown.lstrip("+-")


@dataclass(frozen=True)
class Mark:
    """How a number of ours stands among those of its column with its badge, test list and selection."""

    best: bool = False
    second: bool = False
    tie: str = ""
    """Letter of the group that the paired tests do not tell apart; empty where there is nothing to compare."""


@dataclass(frozen=True)
class Filled:
    """A published table and what is ours of it, by place."""

    table: PublishedTable
    numbers: Mapping[Place, Number] = field(default_factory=dict)
    marks: Mapping[Place, Mark] = field(default_factory=dict)
    wanted: Mapping[Place, Wanted] = field(default_factory=dict)
    """Of all cells that a result could fill, filled or not."""
    remarks: tuple[str, ...] = ()


def points(value: float, decimals: int, sign: str = "") -> str:
    """A number of the papers' units; what ends in a 5 but for the last bit is rounded up."""
    return percent(value / 100, decimals, sign)


def filled(table: PublishedTable, entries: Sequence[Entry], *, resamples: int = RESAMPLES) -> Filled:
    """A table with our results.

    Args:
        table: The published one.
        entries: In which results are looked for.
        resamples: Of the tests behind tie groups.
    """
    asked = _asked(table)
    found = {place: one for place, want in asked.items() if (one := ours(want, entries))}
    numbers = {(i, j): _number(table.cells[i][j], one) for (i, j), one in found.items()}
    return Filled(table, numbers, _marks(table, found, resamples), asked)


def filled_count(table: PublishedTable, entries: Sequence[Entry]) -> str:
    """How many cells have a number of ours, of how many; parameters always, as they are counted when asked for."""
    total = sum(map(len, table.cells))
    counted = sum(cell.metric == PARAMETERS for row in table.cells for cell in row)
    return f"{counted + sum(ours(want, entries) is not None for want in _asked(table).values())} of {total}"


def _asked(table: PublishedTable) -> dict[Place, Wanted]:
    return {
        (i, j): want
        for i, row in enumerate(table.rows)
        for j, cell in enumerate(table.cells[i])
        if (want := wanted(table, row, cell))
    }


def reference(cell: Cell) -> float | None:
    """The published value that ours is held against: of two the authors' re-run; None for a dash."""
    told = [float(one.text) for one in cell.printed if one.text]
    return told[-1] if told else None


def difference(cell: Cell, value: float) -> float | None:
    """Ours less the published value, in the unit of the cell; None for a dash."""
    published = reference(cell)
    return None if published is None else value - published


def _number(cell: Cell, one: Ours) -> Number:
    value = 100 * one.value
    return Number(
        value=value,
        decimals=METRICS[one.metric].decimals,
        badge=one.badge,
        difference=difference(cell, value),
        deviation=None if one.deviation is None else 100 * one.deviation,
        runs=len(one.runs),
        samples=one.samples,
        selection=one.selection,
        notes=one.notes,
    )


def _marks(table: PublishedTable, found: Mapping[Place, Ours], resamples: int) -> dict[Place, Mark]:
    """Of numbers that may be ranked with each other: of one column, badge, test list, protocol and selection."""
    fields: dict[Hashable, list[Place]] = defaultdict(list)
    for place, one in found.items():
        fields[_field(table, place, one)].append(place)
    marks: dict[Place, Mark] = {}
    for places in fields.values():
        better = higher_is_better(table.columns[places[0][1]].metric)
        best, second = best_and_second([found[place].value for place in places], higher=better)
        marks |= {place: Mark(a, b) for place, a, b in zip(places, best, second, strict=True)}
    for place, letter in _ties(table, found, resamples).items():
        marks[place] = replace(marks[place], tie=letter)
    return marks


def _field(table: PublishedTable, place: Place, one: Ours) -> tuple[Any, ...]:
    """What numbers that may be ranked together have alike; what was never trained goes with the last checkpoints."""
    record = one.runs[0].record
    known = record.provenance
    selection = "last" if one.selection == "none" else one.selection
    lists = (table.cells[place[0]][place[1]].train_set, known["split"]["sha256"], known.get("truth"))
    versions = (known["protocol"].get("version"), known.get("metrics", {}).get(one.metric))
    return place[1], one.badge, selection, *lists, record.protocol, *versions


def _ties(table: PublishedTable, found: Mapping[Place, Ours], resamples: int) -> dict[Place, str]:
    """The letter of each number of one run that has per-sample values to be compared by."""
    fields: dict[Hashable, dict[Place, Ours]] = defaultdict(dict)
    for place, one in found.items():
        if len(one.runs) == 1 and one.runs[0].record.per_sample:
            fields[_field(table, place, one)][place] = one
    letters: dict[Place, str] = {}
    for those in fields.values():
        if len(those) > 1:
            letters |= _letters(those, resamples)
    return letters


def _letters(found: Mapping[Place, Ours], resamples: int) -> dict[Place, str]:
    from avbench.leaderboards.compared import Plan
    from avbench.leaderboards.comparison import compare
    from avbench.leaderboards.measures import comparable

    metric = next(iter(found.values())).metric
    contestants = {str(place[0]): _contestant(str(place[0]), one) for place, one in found.items()}
    if metric not in comparable([one.samples for one in contestants.values()]):
        return {}
    plan = Plan(metrics=(metric,), resamples=resamples, ranked=_names(contestants), parts=False)
    (result,) = compare([*contestants.values()], plan).results
    groups = {one.title: one.group for one in result.standings}
    return {place: chr(ord("a") + group - 1) for place in found if (group := groups[str(place[0])]) is not None}


def _contestant(title: str, one: Ours) -> Contestant:
    """The row's result and per-sample values, under a title of its own."""
    from avbench.leaderboards.contestants import Contestant

    run = one.runs[0]
    found = run.entry.contestant(run.record)
    return Contestant(replace(found.record, method=title, variant="av"), found.samples)


def _names(contestants: Mapping[str, Contestant]) -> tuple[str, ...]:
    """All methods: the papers rank the object prior, a control here, with the others."""
    return tuple({str(one.record.provenance["method"]["name"]) for one in contestants.values()})
