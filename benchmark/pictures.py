"""Pictures: the grid of heat maps, one localization, the training curve."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from avbench.store import write_atomic
from avbench.types import CANVAS, Box

CELL = 1.5
"""Side of a picture in a grid, in inches."""
DOTS = 110
HEAT = "inferno"
"""Colours of maps: of even steps, and in order of lightness however one sees colours."""


@dataclass(frozen=True)
class GridRow:
    """One sample of a grid: pixels ``[224, 224, 3]`` uint8, truth, and a map in [0, 1] per method with its cIoU."""

    title: str
    image: Any
    boxes: Sequence[Box]
    maps: Sequence[Any]
    scores: Sequence[float]


def picture_grid(rows: Sequence[GridRow], methods: Sequence[str], out: Path) -> None:
    """Draw samples (rows) against image, truth and each method's map (columns) into the PNG ``out``.

    The green rectangles are the annotated boxes; the number is the sample's cIoU.
    """
    columns = 1 + len(methods)
    figure = Figure(figsize=(CELL * columns, CELL * len(rows) * 1.12), dpi=DOTS, layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        _show(line[0], row.image, row.title)
        _outline(line[0], row.boxes)
        for axis, heat, score in zip(line[1:], row.maps, row.scores, strict=True):
            _show(axis, overlay(row.image, heat), f"{score:.2f}")
            _outline(axis, row.boxes)
    for axis, name in zip(axes[0], ["image, truth", *methods], strict=True):
        axis.set_title(f"{name}\n{axis.get_title()}", fontsize=7)
    save_figure(figure, out)


def overlay(image: Any, heat: Any) -> Any:
    """``image`` ``[H, W, 3]`` uint8 in shades of grey under the colours of ``heat`` ``[H, W]`` in [0, 1]; in [0, 1]."""
    grey = (image @ np.array([0.299, 0.587, 0.114]))[..., None] / 255
    return np.clip(0.35 * grey + 0.65 * mpl.colormaps[HEAT](np.clip(heat, 0, 1))[..., :3], 0, 1)


def localization(image: Any, heat: Any, title: str, out: Path) -> None:
    """Draw one image beside its map into ``out``, whose suffix tells the format."""
    figure = Figure(figsize=(7, 3.7), dpi=DOTS, layout="constrained")
    left, right = figure.subplots(1, 2)
    _show(left, image, "image")
    _show(right, overlay(image, heat), title)
    save_figure(figure, out)


def training_curve(log: Path, out: Path, *, title: str) -> None:
    """Draw the loss terms of a training's JSONL log, one panel each, into the PNG ``out``."""
    rows = [row for row in map(json.loads, log.read_text(encoding="utf-8").splitlines()) if "lr" in row]
    terms = [name for name in rows[0] if name not in {"epoch", "step", "lr"}]
    figure = Figure(figsize=(3.2 * len(terms), 2.6), dpi=DOTS, layout="constrained")
    steps = [row["step"] for row in rows]
    for axis, name in zip(figure.subplots(1, len(terms), squeeze=False)[0], terms, strict=True):
        axis.plot(steps, [row[name] for row in rows], linewidth=1)
        axis.set_title(name, fontsize=8)
        axis.set_xlabel("step", fontsize=7)
        axis.tick_params(labelsize=6)
    figure.suptitle(title, fontsize=9)
    save_figure(figure, out)


def save_figure(figure: Figure, out: Path) -> None:
    """Write ``figure`` to ``out``, whole or not at all; the suffix tells the format."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=out.suffix.removeprefix("."))
    write_atomic(out, buffer.getvalue())


def _show(axis: Any, image: Any, title: str) -> None:
    axis.imshow(image)
    axis.set_title(title, fontsize=6)
    axis.set_axis_off()


def _outline(axis: Any, boxes: Sequence[Box]) -> None:
    for x0, y0, x1, y1 in boxes:
        corner, width, height = (x0 * CANVAS, y0 * CANVAS), (x1 - x0) * CANVAS, (y1 - y0) * CANVAS
        axis.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="lime", linewidth=1.2))
