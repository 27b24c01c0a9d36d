"""How places move from protocol to protocol, the maps being the same: a bump chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from avbench.errors import UsageError
from avbench.figures.choice import FigureChoice
from avbench.figures.gathering import gather_records
from avbench.figures.style import DARK, TWO_COLUMNS, Look, caption, looks, looks_of, paper_figure
from avbench.leaderboards.selections import title_of
from avbench.leaderboards.sensitivity import Sensitivity, sensitivity
from avbench.metrics.catalogue import METRICS
from avbench.opening import Progress, silent

METRIC = "locacc"
"""What places are by."""

APART = 0.22
"""How far lines lie apart that share a place, in places."""


@dataclass(frozen=True)
class BumpLine:
    """A method and its place under each protocol, 1 the best, equals sharing the better one."""

    title: str
    places: tuple[int, ...]


@dataclass(frozen=True)
class BumpData:
    """What is drawn.

    Attributes:
        about: what the figure is of, in words.
        protocols: from left to right.
        tau: Kendall's tau-b of the values under each protocol with those under ``base``; NaN where one ties all.
        lines: in the order of the places under the first protocol.
    """

    about: str
    protocols: tuple[str, ...]
    base: str
    tau: tuple[float, ...]
    lines: tuple[BumpLine, ...]


def gather(places: Sequence[Path], choice: FigureChoice, progress: Progress = silent) -> BumpData:
    """The places of stored results under each protocol of the choice by cIoU; controls have none, nor partial results.

    Args:
        places: Runs folders, folders below their ``predictions/``, or records.
        choice: Of what, under two protocols or more.
        progress: For a bar where something has to be scored first.

    Raises:
        UsageError: as :func:`~avbench.figures.gathering.gather_records`, and for fewer than two methods or protocols.
        AvbenchError: for files that are broken.
    """
    records = gather_records(places, choice, choice.protocols, progress)
    found = sensitivity(records, METRIC)
    if found is None:
        there = ", ".join(dict.fromkeys(record.title for record in records))
        raise UsageError(
            "a bump chart needs two methods or more that are no controls, complete on their split and placed by "
            f"{METRICS[METRIC].display} under two protocols or more, got {there} under "
            f"{', '.join(choice.protocols)}: name more"
        )
    return data_of(found, samples=records[0].n_expected)


def data_of(found: Sensitivity, *, samples: int) -> BumpData:
    """What a table of ranks by protocol draws; rows without a place under some protocol are left out.

    Args:
        found: From :func:`avbench.leaderboards.sensitivity.sensitivity`.
        samples: Of the split.
    """
    rows = zip(found.rows, found.places, strict=True)
    lines = [BumpLine(title, tuple(p for p in each if p is not None)) for title, each in rows if None not in each]
    metric = METRICS[found.metric].display
    return BumpData(
        about=f"{found.split}, places by {metric}, {samples} samples{title_of(found.selections)}",
        protocols=found.protocols,
        base=found.base,
        tau=found.tau,
        lines=tuple(sorted(lines, key=lambda line: line.places)),
    )


def heights(lines: Sequence[BumpLine], at: int) -> list[float]:
    """Where each line passes the protocol ``at``: at its place; lines that share one beside each other in the middle of
    the places that they fill, in the order of ``lines``."""
    column = [line.places[at] for line in lines]
    found = []
    for number, place in enumerate(column):
        equals, before = column.count(place), column[:number].count(place)
        middle = (equals - 1) / 2
        found.append(place + middle + APART * (before - middle))
    return found


@looks()
def draw(data: BumpData) -> Figure:
    """Places from the best above to the last below, protocols from left to right, with tau under their names."""
    width = min(TWO_COLUMNS, 2.2 + 0.62 * len(data.protocols))
    figure = paper_figure(width, 0.75 + 0.24 * len(data.lines))
    axes = figure.subplots()
    columns = [heights(data.lines, at) for at in range(len(data.protocols))]
    for number, look in enumerate(looks_of([False] * len(data.lines))):
        _draw_line(axes, data.lines[number], [column[number] for column in columns], look)
    for side, at in (("left", 0), ("right", len(data.protocols) - 1)):
        _name(axes, data, at, side)
    axes.set_xticks(range(len(data.protocols)), [_under(data, at) for at in range(len(data.protocols))])
    axes.set(ylim=(len(data.lines) + 0.5, 0.5), yticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    caption(figure, f"{data.about}; \N{GREEK SMALL LETTER TAU}: agreement with {data.base}")
    return figure


def _draw_line(axes: Axes, line: BumpLine, at: Sequence[float], look: Look) -> None:
    axes.plot(range(len(at)), at, label=line.title, markersize=10, markerfacecolor="white", **look.line())
    for x, (place, height) in enumerate(zip(line.places, at, strict=True)):
        axes.annotate(str(place), (x, height), ha="center", va="center_baseline", fontsize=5.5, color=DARK)


def _name(axes: Axes, data: BumpData, at: int, side: str) -> None:
    """Titles beside the first or the last protocol, each on a line of its own where several share a place."""
    column = [line.places[at] for line in data.lines]
    sign, align = (-1, "right") if side == "left" else (1, "left")
    for number, line in enumerate(data.lines):
        row = line.places[at] + column[:number].count(line.places[at])
        axes.annotate(
            line.title, (at, row), xytext=(9 * sign, 0), textcoords="offset points", ha=align, va="center", color=DARK
        )


def _under(data: BumpData, at: int) -> str:
    tau = data.tau[at]
    return f"{data.protocols[at]}\n\N{GREEK SMALL LETTER TAU} = {'-' if isnan(tau) else f'{tau:.2f}'}"
