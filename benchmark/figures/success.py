"""The success rate over the threshold: what lies behind one number at 0.5 and the area that papers print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray
from torch import Tensor

from avbench.figures.choice import FigureChoice
from avbench.figures.gathering import about, gather_rows, sounding_rows
from avbench.figures.style import (
    GREY,
    INTERVALS,
    ONE_COLUMN,
    Look,
    caption,
    legend_below,
    looks,
    looks_of,
    paper_figure,
)
from avbench.leaderboards.contestants import Contestant
from avbench.leaderboards.measures import column_of
from avbench.leaderboards.rows import percent
from avbench.leaderboards.sensitivity import is_control
from avbench.metrics.catalogue import METRICS
from avbench.metrics.statistics import wilson_interval
from avbench.metrics.success import area_under_success, success_curve
from avbench.opening import Progress, silent

BAND = 0.14
"""How much of an interval's colour is seen."""

BETWEEN = 5
"""Steps from one of the papers' thresholds to the next."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class SuccessLine:
    """One row.

    Attributes:
        rates: ``[101]`` share of the samples whose cIoU is ``>=`` each threshold; NaN fails.
        low: ``[101]`` lower ends of their 95 % Wilson intervals.
        high: ``[101]`` upper ends.
        auc: area under the 21 of the papers by the trapezoid rule.
    """

    title: str
    control: bool
    rates: Numbers
    low: Numbers
    high: Numbers
    auc: float


@dataclass(frozen=True)
class SuccessData:
    """What is drawn.

    Attributes:
        about: what the figure is of, in words.
        thresholds: ``[101]`` from 0 to 1; every fifth is one of the papers' 21, ``0.05 * k`` to the bit.
        lines: in the order of the legend.
    """

    about: str
    thresholds: Numbers
    lines: tuple[SuccessLine, ...]


def gather(places: Sequence[Path], choice: FigureChoice, progress: Progress = silent) -> SuccessData:
    """The success rates of stored results.

    Args:
        places: Runs folders, folders below their ``predictions/``, or records.
        choice: Of what.
        progress: For a bar where something has to be scored first.

    Raises:
        UsageError: as :func:`~avbench.figures.gathering.gather_rows`, and where no sample has a box.
        AvbenchError: as :func:`~avbench.figures.gathering.gather_rows`.
    """
    rows = sounding_rows(gather_rows(places, choice, progress))
    thresholds = _thresholds(column_of(rows[0].samples, "ciou"))
    return SuccessData(about(rows, "samples with a box"), thresholds, tuple(map(_line, rows)))


@looks()
def draw(data: SuccessData) -> Figure:
    """Success rates in percent over the threshold, with their intervals; the papers' thresholds have the markers."""
    figure = paper_figure(ONE_COLUMN, 2.5 + 0.13 * -(-len(data.lines) // 2))
    axes = figure.subplots()
    for line, look in zip(data.lines, looks_of([line.control for line in data.lines]), strict=True):
        _draw_line(axes, data.thresholds, line, look)
    axes.axvline(0.5, color=GREY, linewidth=0.5, zorder=0.5)
    axes.set(xlim=(0, 1), ylim=(0, 100), xlabel="threshold on cIoU", ylabel="success rate (%)")
    axes.xaxis.set_major_locator(MultipleLocator(0.1))
    legend_below(figure, axes, 2)
    caption(figure, f"{data.about}; bands: {INTERVALS}")
    return figure


def _line(row: Contestant) -> SuccessLine:
    values = column_of(row.samples, "ciou")
    counts = (values.numpy()[:, None] >= _thresholds(values)).sum(axis=0)
    ends = np.array([wilson_interval(int(count), len(values)) for count in counts])
    auc = float(area_under_success(values))
    return SuccessLine(row.record.title, is_control(row.record), counts / len(values), ends[:, 0], ends[:, 1], auc)


def _thresholds(values: Tensor) -> Numbers:
    """The papers' thresholds, and those between."""
    marks = success_curve(values)[0].numpy()
    between = marks[:-1, None] + np.diff(marks)[:, None] * np.arange(BETWEEN) / BETWEEN
    return np.append(between.ravel(), marks[-1])


def _draw_line(axes: Axes, thresholds: Numbers, line: SuccessLine, look: Look) -> None:
    label = f"{line.title} (AUC {percent(line.auc, METRICS['auc'].decimals)})"
    axes.plot(thresholds, 100 * line.rates, **look.line(), markevery=BETWEEN, label=label, zorder=2 - line.control)
    axes.fill_between(thresholds, 100 * line.low, 100 * line.high, color=look.color, alpha=BAND, linewidth=0)
