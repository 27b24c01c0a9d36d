"""Small pictures that figures are made of: a picture, a map over it, a sound; framed and marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from avbench.figures.style import DARK, SMALL, PaperFigure, paper_figure
from avbench.metrics.maps import upsample
from avbench.pictures import HEAT, overlay
from avbench.training_curves import COLOURS
from avbench.types import CANVAS, Box

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

SIDE = 1.05
"""Width and height of a tile, in inches."""
DIGITS = 4
"""Of places in a figure, as fractions of it."""

Mark = Literal["own", "right", "wrong"]
"""Of what was found: the very partner, another of its class, one of another class."""

_MARKS: dict[Mark, tuple[str, str, float]] = {
    "own": (COLOURS[2], "\u25cf", 3.2),
    "right": (COLOURS[0], "\u2713", 2.0),
    "wrong": (COLOURS[1], "\u2717", 2.0),
}
"""Colour, sign and width of the frame: green, blue and vermilion, told apart without their colours too."""


def tiles(columns: float, rows: float) -> PaperFigure:
    """An empty figure with room for so many tiles."""
    return paper_figure(SIDE * columns, SIDE * rows)


def axes_of(figure: Any, rows: int, columns: int) -> list[list[Axes]]:
    """``rows`` times ``columns`` axes of a figure or a part of one, without ticks and borders."""
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    return [list(line) for line in axes]


def settled(figure: PaperFigure) -> PaperFigure:
    """The figure, arranged for good: its axes stand at round places.

    What arranges them gives last digits that differ from time to time, and files must not.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        place: Any = part.bbox_relative
        place.p0, place.p1 = place.p0.round(DIGITS), place.p1.round(DIGITS)
    for axis in figure.axes:
        axis.set_position(Bbox(axis.get_position(original=True).get_points().round(DIGITS)))
    return figure


def show_image(axis: Axes, image: Pixels, boxes: Sequence[Box] = ()) -> None:
    """A picture ``[224, 224, 3]`` with the boxes of the truth."""
    axis.imshow(image, interpolation="nearest")
    for x0, y0, x1, y1 in boxes:
        corner, width, height = (x0 * CANVAS, y0 * CANVAS), (x1 - x0) * CANVAS, (y1 - y0) * CANVAS
        for colour, line in (("black", 2.2), ("white", 1.1)):  # seen on bright and on dark
            axis.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=line))


def show_heat(axis: Axes, image: Pixels, weights: Floats) -> None:
    """Weights ``[h, w]`` in [0, 1] over a picture without its colours."""
    wide = upsample(torch.from_numpy(np.array(weights))[None], "bicubic", align_corners=False, keep_constant=True)
    axis.imshow(overlay(image, wide[0].numpy()), interpolation="nearest")


def show_spectrogram(axis: Axes, spectrogram: Floats, weights: Floats | None = None, *, span: int = 1) -> None:
    """A spectrogram ``[F, T]``, low frequencies below; in the colours of ``weights`` ``[P]`` in [0, 1] where given.

    Each weight covers ``span`` columns.
    """
    low, high = float(spectrogram.min()), float(spectrogram.max())
    grey = ((spectrogram - low) / max(high - low, 1e-12))[..., None].repeat(3, axis=2)
    if weights is not None:
        columns = np.repeat(np.clip(weights, 0, 1), span)[: spectrogram.shape[1]]
        grey = np.clip(0.35 * grey + 0.65 * mpl.colormaps[HEAT](columns)[None, :, :3], 0, 1)
    axis.imshow(grey, origin="lower", aspect="auto", interpolation="nearest")
    axis.set_box_aspect(1)


def show_sound(axis: Axes, envelope: Floats, image: Pixels) -> None:
    """A sound as its lowest and highest samples ``[2, n]`` in [-1, 1], below its own picture, which is pale."""
    axis.imshow(1 - 0.45 * (1 - image / 255), interpolation="nearest")
    axis.add_patch(Rectangle((-0.5, 0.58 * CANVAS), CANVAS, 0.42 * CANVAS, color="white", alpha=0.75, linewidth=0))
    loudest = max(float(np.abs(envelope).max()), 1e-9)
    middle, reach = 0.79 * CANVAS, 0.18 * CANVAS
    places = np.linspace(0.03 * CANVAS, 0.97 * CANVAS, envelope.shape[1])
    low, high = (middle - reach * side / loudest for side in envelope)
    axis.fill_between(places, low, high, color=DARK, linewidth=0.3)
    axis.set_xlim(-0.5, CANVAS - 0.5)
    axis.set_ylim(CANVAS - 0.5, -0.5)


def frame(axis: Axes, mark: Mark) -> None:
    """A coloured frame around a tile, with its sign in a corner; broken where it is wrong."""
    colour, sign, width = _MARKS[mark]
    line: Any = (0, (3, 1.5)) if mark == "wrong" else "solid"
    place: dict[str, Any] = {"transform": axis.transAxes, "clip_on": False}
    axis.add_patch(Rectangle((0, 0), 1, 1, fill=False, edgecolor=colour, linewidth=width, linestyle=line, **place))
    box = {"boxstyle": "square,pad=0.15", "facecolor": colour, "edgecolor": "none"}
    axis.text(0.95, 0.94, sign, fontsize=SMALL, color="white", ha="right", va="top", bbox=box, **place)


def beside(axis: Axes, text: str) -> None:
    """Words on the left of a tile, upright."""
    axis.text(-0.07, 0.5, text, transform=axis.transAxes, rotation=90, ha="right", va="center", fontsize=SMALL)


def below(axis: Axes, text: str) -> None:
    """Words under a tile."""
    axis.text(0.5, -0.04, text, transform=axis.transAxes, ha="center", va="top", fontsize=SMALL, color=DARK)
