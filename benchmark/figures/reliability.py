"""Reliability of confidence: whether a method is right more often where it is surer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import rankdata

from avbench.errors import UsageError
from avbench.figures.choice import FigureChoice
from avbench.figures.gathering import about, gather_rows
from avbench.figures.style import GREY, INTERVALS, SMALL, TWO_COLUMNS, Look, caption, looks, looks_of, paper_figure
from avbench.leaderboards.contestants import Contestant
from avbench.leaderboards.measures import MEASURES, column_of, sounding
from avbench.leaderboards.sensitivity import is_control
from avbench.metrics.protocols import get_protocol
from avbench.metrics.statistics import wilson_interval
from avbench.opening import Progress, silent

BINS, LEAST = 10, 5
"""The most bins, and samples that a bin is meant to have: fewer bins are made of fewer samples."""

ACROSS = 4
"""Panels in a row."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Bin:
    """Samples of similar confidence: how sure their method is of them on the mean, and how often it is right.

    Attributes:
        sure: mean of the confidences, or of their quantiles.
        right: of the ``n`` samples; ``low`` and ``high`` are the ends of the 95 % Wilson interval of their share.
    """

    sure: float
    n: int
    right: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Of the samples that are localised."""
        return self.right / self.n


@dataclass(frozen=True)
class ReliabilityPanel:
    """One row.

    Attributes:
        probability: whether all confidences lie in [0, 1]; else a bin's ``sure`` is of the quantiles of their ranks.
        bins: from the least sure.
        error: expected calibration error: the mean over the samples of how far ``sure`` and ``share`` of their bin are
            apart; None where the confidence is no probability.
        without: samples whose confidence is not a number; they are in no bin.
    """

    title: str
    control: bool
    probability: bool
    bins: tuple[Bin, ...]
    error: float | None
    without: int


@dataclass(frozen=True)
class ReliabilityData:
    """What is drawn: what it is of in words, and a panel for each row."""

    about: str
    panels: tuple[ReliabilityPanel, ...]


def gather(places: Sequence[Path], choice: FigureChoice, progress: Progress = silent) -> ReliabilityData:
    """How often stored results are right, by their confidence.

    Samples in which nothing sounds count, as never localised.

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
    what = f"samples, {int(heard.sum())} of them with a box"
    return ReliabilityData(about(rows, what), tuple(map(panel_of, rows)))


@looks()
def draw(data: ReliabilityData) -> Figure:
    """A panel for each row: the share of localised samples over the confidence, with intervals."""
    across = min(ACROSS, len(data.panels))
    down = -(-len(data.panels) // across)
    figure = paper_figure(TWO_COLUMNS * across / ACROSS + 0.3 * (across < ACROSS), 0.3 + 1.75 * down)
    grid = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    looks_ = looks_of([panel.control for panel in data.panels])
    for axes, panel, look in zip(grid, data.panels, looks_, strict=False):
        _draw_panel(axes, panel, look)
    for axes in grid[len(data.panels) :]:
        axes.set_axis_off()
    for axes in grid[::across]:
        axes.set_ylabel("localised (%)")
    caption(figure, f"{data.about}; bars: {INTERVALS}")
    return figure


def bins_of(confidence: Numbers) -> NDArray[np.intp]:
    """The bin of each sample, 0 the least sure; a number may be left out.

    With n samples there are 10 bins, or ``n // 5`` where that is less, and one at least. A sample of rank r, equals
    having the mean of their ranks, is in bin ``(r - 1/2) * bins // n``: bins are of the same size but for ties, which
    are never torn apart.

    Args:
        confidence: ``[n]`` without NaN.

    Returns:
        ``[n]`` integers.
    """
    bins = max(1, min(BINS, len(confidence) // LEAST))
    number: NDArray[np.intp] = ((rankdata(confidence) - 0.5) * bins // len(confidence)).astype(np.intp)
    return number


def panel_of(row: Contestant) -> ReliabilityPanel:
    """The bins of one row; raises :class:`UsageError` where no confidence is a number."""
    confidence = column_of(row.samples, "confidence").numpy()
    there = ~np.isnan(confidence)
    if not there.any():
        raise UsageError(
            f"no confidence of {row.record.title} on {row.record.split} is a number: leave it out with --method"
        )
    right, confidence = _right(row)[there], confidence[there]
    probability = bool(((confidence >= 0) & (confidence <= 1)).all())
    sure = confidence if probability else (rankdata(confidence) - 0.5) / len(confidence)
    number = bins_of(confidence)
    bins = tuple(_bin(sure[number == one], right[number == one]) for one in np.unique(number))
    error = sum(one.n * abs(one.sure - one.share) for one in bins) / len(confidence)
    return ReliabilityPanel(
        title=row.record.title,
        control=is_control(row.record),
        probability=probability,
        bins=bins,
        error=error if probability else None,
        without=int((~there).sum()),
    )


def _right(row: Contestant) -> NDArray[np.bool_]:
    """Whether a sample sounds and is localised, by the protocol's operator at 0.5."""
    success = MEASURES["locacc"].number(column_of(row.samples, "ciou"), get_protocol(row.record.protocol))
    right: NDArray[np.bool_] = sounding(row.samples) & success.bool().numpy()
    return right


def _bin(sure: Numbers, right: NDArray[np.bool_]) -> Bin:
    count = int(right.sum())
    return Bin(float(sure.mean()), len(right), count, *wilson_interval(count, len(right)))


def _draw_panel(axes: Axes, panel: ReliabilityPanel, look: Look) -> None:
    sure, share = [one.sure for one in panel.bins], [100 * one.share for one in panel.bins]
    bars = [[100 * (one.share - one.low) for one in panel.bins], [100 * (one.high - one.share) for one in panel.bins]]
    if panel.probability:
        axes.plot([0, 1], [0, 100], color=GREY, linewidth=0.5, linestyle=":")
    axes.errorbar(sure, share, yerr=bars, capsize=1.5, elinewidth=0.7, **look.line())
    axes.set(xlim=(0, 1), ylim=(0, 100), title=panel.title)
    axes.set_xlabel("confidence" if panel.probability else "quantile of confidence")
    notes = [] if panel.error is None else [f"ECE {100 * panel.error:.1f}"]
    notes += [f"{panel.without} without"] if panel.without else []
    axes.text(0.03, 0.97, "\n".join(notes), transform=axes.transAxes, va="top", fontsize=SMALL)
