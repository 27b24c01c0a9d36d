"""How figures of papers look, in one place: sizes, fonts, lines that differ in more than colour, files that stay equal.

The colours are those of :mod:`avbench.training_curves`, Okabe and Ito's; every line has a pattern and a marker besides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from avbench.errors import UsageError
from avbench.pictures import save_figure
from avbench.training_curves import COLOURS, DASHES

ONE_COLUMN, TWO_COLUMNS = 3.3, 6.9
"""Widths in inches: a column of a page with two, and the whole page."""

SUFFIXES = (".pdf", ".svg", ".png")
"""What :func:`save` writes."""

MARKERS = ("o", "s", "D", "^", "v", "P", "X")
"""Beside :data:`avbench.training_curves.COLOURS`, one for each."""

GREY, DARK, FAINT = "#767676", "#333333", "#dddddd"
"""Of controls; of words about a figure; of lines that help to read it."""

SMALL = 6.0
"""Points of the smallest words."""

INTERVALS = "95 % (Wilson)"
"""What the caption calls intervals of rates."""

LETTER = 0.048
"""Inches that a letter of :data:`SMALL` takes, and a little more."""

_LOOKS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that a figure is the same everywhere
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "legend.fontsize": 6.5,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.2,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "text.parse_math": False,  # names and labels come from outside, with dollars in them or not
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "avbench",
}

_UNDATED: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}


@contextmanager
def looks() -> Iterator[None]:
    """The settings under which figures are made, whatever those of the user are; also a decorator, ``@looks()``."""
    with matplotlib.style.context(["default", _LOOKS]):
        yield


class PaperFigure(Figure):
    """A figure that is saved under :func:`looks` and without a date: equal figures give equal bytes."""

    def savefig(self, fname: Any, *, transparent: bool | None = None, **kwargs: Any) -> None:
        """As :meth:`matplotlib.figure.Figure.savefig`; ``format`` has to be given."""
        with looks():
            super().savefig(fname, transparent=transparent, metadata=_UNDATED[kwargs["format"]], **kwargs)


def paper_figure(width: float, height: float, *, arranged: bool = True) -> PaperFigure:
    """An empty figure of so many inches, whose axes matplotlib arranges unless told otherwise."""
    return PaperFigure(figsize=(width, height), layout="constrained" if arranged else None)


def save(figure: Figure, out: Path) -> None:
    """Write ``figure`` to ``out``, whole or not at all; the suffix, one of :data:`SUFFIXES`, tells the format.

    Raises:
        UsageError: for another suffix.
    """
    if out.suffix not in SUFFIXES:
        raise UsageError(f"expected a figure ending in {', '.join(SUFFIXES)}, got {out}")
    save_figure(figure, out)


@dataclass(frozen=True)
class Look:
    """Of one line."""

    color: str
    linestyle: str
    marker: str

    def line(self) -> dict[str, Any]:
        """What :meth:`matplotlib.axes.Axes.plot` takes."""
        return {"color": self.color, "linestyle": self.linestyle, "marker": self.marker}


def looks_of(controls: Sequence[bool]) -> list[Look]:
    """A look for each row of a figure: coloured lines for methods, the first of them whole, grey dashes for controls.

    No two looks of one kind have both pattern and colour, or both pattern and marker, in common.

    Args:
        controls: Of each row, whether it is a control.

    Raises:
        UsageError: for more methods or controls than can be told apart.
    """
    most = {False: len(COLOURS) * len(DASHES), True: len(MARKERS) * (len(DASHES) - 1)}
    for kind, name in ((False, "methods"), (True, "controls")):
        count = sum(control == kind for control in controls)
        if count > most[kind]:
            raise UsageError(
                f"{count} {name} are more lines than can be told apart: choose {most[kind]} at most with --method"
            )
    numbers = {False: iter(range(most[False])), True: iter(range(most[True]))}
    return [_of_control(next(numbers[True])) if control else _of_method(next(numbers[False])) for control in controls]


def caption(figure: Figure, text: str) -> None:
    """Say above a figure what it is of, so small that a paper's own words go first."""
    lines = fill(text, int(figure.get_figwidth() / LETTER))
    place: dict[str, Any] = {} if figure.get_layout_engine() else {"y": 1 - 0.05 / figure.get_figheight(), "va": "top"}
    figure.suptitle(lines, fontsize=SMALL, color=DARK, **place)


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """The legend of ``axes`` under the whole figure, in so many columns."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(handles)))


def _of_method(number: int) -> Look:
    again, place = divmod(number, len(COLOURS))
    return Look(COLOURS[place], DASHES[(place + again) % len(DASHES)], MARKERS[place])


def _of_control(number: int) -> Look:
    again, place = divmod(number, len(MARKERS))
    return Look(GREY, DASHES[1:][(place + again) % (len(DASHES) - 1)], MARKERS[place])
