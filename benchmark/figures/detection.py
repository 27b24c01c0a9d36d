"""Precision over recall on extended sets: whether a method knows when nothing in the frame sounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from avbench.errors import UsageError
from avbench.figures.choice import FigureChoice
from avbench.figures.gathering import about, gather_rows
from avbench.figures.style import (
    DARK,
    GREY,
    ONE_COLUMN,
    SMALL,
    Look,
    caption,
    legend_below,
    looks,
    looks_of,
    paper_figure,
)
from avbench.leaderboards.contestants import Contestant
from avbench.leaderboards.measures import column_of, sounding
from avbench.leaderboards.rows import percent
from avbench.leaderboards.sensitivity import is_control
from avbench.metrics.catalogue import METRICS
from avbench.metrics.extended import average_precision, f1, precision_recall
from avbench.opening import Progress, silent

ISO_F1 = (0.2, 0.4, 0.6, 0.8)
"""Values of F1 whose lines are drawn."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class DetectionLine:
    """One row.

    Attributes:
        precision: ``[T]`` at each distinct confidence, from the highest; NaN is never detected.
        recall: ``[T]`` likewise.
        ap: the area under these steps.
        best: where in them F1 is largest, the highest confidence of several.
        max_f1: that F1.
    """

    title: str
    control: bool
    precision: Numbers
    recall: Numbers
    ap: float
    best: int
    max_f1: float


@dataclass(frozen=True)
class DetectionData:
    """What is drawn: what it is of in words, and the rows in the order of the legend."""

    about: str
    lines: tuple[DetectionLine, ...]


def gather(places: Sequence[Path], choice: FigureChoice, progress: Progress = silent) -> DetectionData:
    """Precision and recall of stored results, a sample being found where its cIoU is ``>=`` 0.5.

    Args:
        places: Runs folders, folders below their ``predictions/``, or records.
        choice: Of what.
        progress: For a bar where something has to be scored first.

    Raises:
        UsageError: as :func:`~avbench.figures.gathering.gather_rows`, and for a method without a confidence that is a
            number.
        AvbenchError: as :func:`~avbench.figures.gathering.gather_rows`.
    """
    rows = gather_rows(places, choice, progress, columns=("ciou", "confidence"))
    heard = sounding(rows[0].samples)
    return DetectionData(about(rows, f"samples, {int(heard.sum())} of them with a box"), tuple(map(line_of, rows)))


@looks()
def draw(data: DetectionData) -> Figure:
    """Precision over recall in percent, the points of the largest F1 marked, on lines of equal F1."""
    figure = paper_figure(ONE_COLUMN, 2.6 + 0.13 * len(data.lines))
    axes = figure.subplots()
    _draw_iso_f1(axes)
    for line, look in zip(data.lines, looks_of([line.control for line in data.lines]), strict=True):
        _draw_line(axes, line, look)
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="recall (%)", ylabel="precision (%)")
    legend_below(figure, axes, 1)
    caption(figure, data.about)
    return figure


def line_of(row: Contestant) -> DetectionLine:
    """The curve of one row; raises :class:`UsageError` where no confidence is a number."""
    confidence, ciou = (column_of(row.samples, name) for name in ("confidence", "ciou"))
    heard = torch.from_numpy(sounding(row.samples))
    at = torch.from_numpy(np.unique(confidence[~confidence.isnan()].numpy())).flip(0)
    if not len(at):
        raise UsageError(
            f"no confidence of {row.record.title} on {row.record.split} is a number: leave it out with --method"
        )
    precision, recall = precision_recall(confidence, ciou, sounding=heard, at=at)
    scores = f1(precision, recall)
    return DetectionLine(
        title=row.record.title,
        control=is_control(row.record),
        precision=precision.numpy(),
        recall=recall.numpy(),
        ap=float(average_precision(confidence, ciou, sounding=heard)),
        best=int(scores.argmax()),
        max_f1=float(scores.max()),
    )


def _draw_iso_f1(axes: Axes) -> None:
    for value in ISO_F1:
        recall = np.linspace(value / (2 - value), 1, 200)
        precision = value * recall / (2 * recall - value)
        axes.plot(100 * recall, 100 * precision, color=GREY, linewidth=0.4, linestyle=(0, (1, 3)), zorder=0.5)
        axes.text(102, 100 * precision[-1], f"F1 {100 * value:.0f}", va="center", fontsize=SMALL, color=DARK)


def _draw_line(axes: Axes, line: DetectionLine, look: Look) -> None:
    ap, best = (percent(value, METRICS[name].decimals) for name, value in (("ap", line.ap), ("max_f1", line.max_f1)))
    label = f"{line.title} (AP {ap}, max-F1 {best})"
    recall, precision = np.append(0, line.recall), np.append(line.precision[0], line.precision)
    above = 2 - line.control
    axes.plot(
        100 * recall, 100 * precision, drawstyle="steps-pre", label=label, zorder=above, **look.line(),
        markevery=[line.best + 1], markersize=5, markeredgecolor="white", markeredgewidth=0.5, clip_on=False,
    )  # fmt: skip
