"""Qualitative grids: samples below each other, their picture, the truth and the map of each method beside each other.

As in the papers (JSA, supplement, figures 3 to 7; SLAVC, supplement, figures 2 to 5), but for what a map is laid over:
the very pixels that its method saw, and on them the region that the protocol makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from avbench.data.splits import Sample
from avbench.errors import UsageError
from avbench.figures.choice import FigureChoice
from avbench.figures.gathering import gather_rows
from avbench.figures.picking import Indices, named, pick
from avbench.figures.seeing import Flags, Heat, Maps, Pixels, Seen, picture_of, see, split_with_pictures
from avbench.figures.style import DARK, SMALL, TWO_COLUMNS, caption, looks, paper_figure
from avbench.figures.tiles import beside, show_heat, show_image
from avbench.leaderboards.contestants import Contestant
from avbench.leaderboards.measures import sounding
from avbench.leaderboards.rows import percent
from avbench.leaderboards.selections import selections_of, title_of
from avbench.leaderboards.sensitivity import is_control
from avbench.opening import Progress, silent
from avbench.truth import Truth
from avbench.types import CANVAS, Box, Picture

ROWS = 6
"""Samples of a grid, unless told otherwise."""

LEAST, MOST = 0.72, 1.2
"""Inches of a picture's side."""

GAP, BETWEEN, HEADER, MARGIN = 0.035, 0.12, 0.42, 0.3
"""Inches between pictures, between blocks, above them and on their left."""

SEEN: dict[Picture, str] = {"squash": "", "tensor": "", "centre-crop": "\n(centre crop)"}
"""What stands under the name of a method that sees a part of each picture."""


@dataclass(frozen=True)
class Cell:
    """What a method saw of a sample, its map, and the sample's cIoU; None where nothing sounds."""

    seen: Seen
    heat: Heat
    score: float | None


@dataclass(frozen=True)
class GridRow:
    """A sample.

    Attributes:
        label: class of the sound, empty where it is not known.
        whole: the whole picture with the boxes of the truth.
        mask: ``[224, 224]``, the sounding pixels; None where there is no mask.
        cells: one for each method.
    """

    id: str
    label: str
    whole: Seen
    mask: Flags | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Block:
    """Samples that belong together, and what they have in common, empty in a grid of one block."""

    title: str
    rows: tuple[GridRow, ...]


@dataclass(frozen=True)
class GridData:
    """What is drawn: what it is of in words, the titles of the methods, and the samples."""

    about: str
    titles: tuple[str, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Gathered:
    """Stored results, in the order of the split's list.

    Attributes:
        tables: per-sample values of each row.
        scores: ``[M, N]`` cIoU of the methods, or of the controls where there is no method.
        sounding: ``[N]``, whether a sample has a box.
        pictures: whose sample is where in the split.
    """

    rows: tuple[Contestant, ...]
    truth: Truth
    tables: tuple[pd.DataFrame, ...]
    scores: NDArray[np.float64]
    sounding: Flags
    pictures: Mapping[str, Sample]
    maps: tuple[Maps, ...]


def gather(places: Sequence[Path], choice: FigureChoice, progress: Progress = silent) -> GridData:
    """Samples with stored maps: those that the choice names, or some of those with a box.

    Args:
        places: Runs folders, folders below their ``predictions/``, or records.
        choice: Of what.
        progress: For bars where something has to be scored or drawn first.

    Raises:
        UsageError: as :func:`~avbench.figures.gathering.gather_rows`, for an id that is not there, and for a split
            whose pictures nothing says the place of.
        AvbenchError: for files that are broken or do not belong together.
    """
    found = gather_samples(places, choice, progress)
    eligible = np.flatnonzero(found.sounding)
    if isinstance(choice.samples, tuple):
        picked = named(choice.samples, found.truth.ids, found.truth.split)
    else:
        picked = picked_of(found, choice, eligible, count=ROWS)
    return data_of(found, {"": picked})


def gather_samples(places: Sequence[Path], choice: FigureChoice, progress: Progress) -> Gathered:
    """Everything that :func:`data_of` shows samples from; raises as :func:`gather` does."""
    rows = gather_rows(places, choice, progress)
    maps = tuple(Maps(row.record) for row in rows)
    truth = maps[0].truth
    tables = tuple(row.samples.set_index("id").loc[list(truth.ids)] for row in rows)
    own = [n for n, row in enumerate(rows) if not is_control(row.record)] or list(range(len(rows)))
    split = split_with_pictures(rows[0].record, choice, progress)
    return Gathered(
        rows=tuple(rows),
        truth=truth,
        tables=tables,
        scores=np.stack([tables[n]["ciou"].to_numpy(dtype=np.float64) for n in own]),
        sounding=sounding(tables[0]),
        pictures={sample.id: sample for sample in split.samples},
        maps=maps,
    )


def picked_of(found: Gathered, choice: FigureChoice, eligible: Indices, *, count: int) -> list[int]:
    """Places of samples in the list, some of ``eligible``.

    Raises:
        UsageError: where none is.
    """
    if not len(eligible):
        raise UsageError(f"this figure chooses among samples with a box, and {found.truth.split} has none: name ids")
    return pick(choice, eligible, found.scores, count=count)


def data_of(found: Gathered, picked: Mapping[str, Sequence[int]]) -> GridData:
    """What is drawn of the samples at these places, by the title of their block."""
    record = found.rows[0].record
    told = title_of(selections_of([row.record for row in found.rows]))
    ways = [picture_of(maps.stored) for maps in found.maps]
    return GridData(
        about=f"{record.split}, protocol {record.protocol}{told}; solid: the truth, dashed: what is predicted; "
        "in the corner of each map the sample's cIoU (%)",
        titles=tuple(f"{row.record.title}{SEEN[way]}" for row, way in zip(found.rows, ways, strict=True)),
        blocks=tuple(
            Block(title, tuple(_row(found, place, ways) for place in places)) for title, places in picked.items()
        ),
    )


@looks()
def draw(data: GridData) -> Figure:
    """A line of pictures for each sample, the methods' names above, the samples' classes on the left."""
    columns, lines = 2 + len(data.titles), sum(len(block.rows) for block in data.blocks)
    margin = MARGIN * (2 if any(block.title for block in data.blocks) else 1)
    side = min(max((TWO_COLUMNS - margin) / columns - GAP, LEAST), MOST)
    height = HEADER + lines * (side + GAP) + (len(data.blocks) - 1) * BETWEEN
    figure = paper_figure(margin + columns * (side + GAP), height, arranged=False)
    top = height - HEADER
    for block in data.blocks:
        bottom = top - len(block.rows) * (side + GAP)
        _name_block(figure, block.title, (bottom + GAP, top))
        for number, row in enumerate(block.rows):
            corner = (margin, top - number * (side + GAP) - side)
            _draw_row([_picture_at(figure, corner, side, column) for column in range(columns)], row)
        top = bottom - BETWEEN
    for axes, title in zip(figure.axes, ("picture", "truth", *data.titles), strict=False):
        axes.set_title(title, pad=2)
    caption(figure, data.about)
    return figure


def _row(found: Gathered, place: int, ways: Sequence[Picture]) -> GridRow:
    truth, name = found.truth, found.truth.ids[place]
    sample, boxes = found.pictures[name], truth.boxes[place]
    views = {way: see(sample, boxes, way) for way in dict.fromkeys(["squash", *ways])}
    scores = [float(table["ciou"].iloc[place]) if found.sounding[place] else None for table in found.tables]
    return GridRow(
        id=name,
        label=truth.labels[place] or "",
        whole=views["squash"],
        mask=_mask_of(truth, place),
        cells=tuple(
            Cell(views[way], maps.heat(name), score) for way, maps, score in zip(ways, found.maps, scores, strict=True)
        ),
    )


def _mask_of(truth: Truth, place: int) -> Flags | None:
    if truth.rles[place] is None:
        return None
    mask: Flags = truth.masks(slice(place, place + 1))[0].bool().numpy()
    return mask if mask.any() else None


def _name_block(figure: Figure, title: str, ends: tuple[float, float]) -> None:
    """The title of a block on the very left, beside a line from its bottom to its top, in inches."""
    width, height = figure.get_size_inches()
    bottom, top = (end / height for end in ends)
    if title:
        figure.text(0.04 / width, (bottom + top) / 2, title, rotation=90, va="center", ha="left", linespacing=1.1)
        place = MARGIN / width
        figure.add_artist(Line2D([place, place], [bottom, top], color=DARK, linewidth=0.6))


def _picture_at(figure: Figure, corner: tuple[float, float], side: float, column: int) -> Axes:
    """Axes without ticks in a column, ``side`` inches wide, given the lower left corner of the first."""
    width, height = figure.get_size_inches()
    left, bottom = corner[0] + column * (side + GAP), corner[1]
    axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
    axes.set_axis_off()
    return axes


def _draw_row(line: Sequence[Axes], row: GridRow) -> None:
    shown = row.whole.pixels if row.mask is None else _dimmed(row.whole.pixels, ~row.mask)
    show_image(line[0], row.whole.pixels)
    show_image(line[1], shown, row.whole.boxes)
    beside(line[0], row.label)
    if not row.whole.boxes and row.mask is None:
        _tell(line[1], "nothing sounds")
    for axes, cell in zip(line[2:], row.cells, strict=True):
        show_heat(axes, cell.seen.pixels, cell.heat.values)
        _draw_boxes(axes, cell.seen.boxes)
        _draw_predicted(axes, cell.heat.predicted)
        if cell.score is not None:
            _tell(axes, percent(cell.score, 0))


def _draw_boxes(axes: Axes, boxes: Sequence[Box]) -> None:
    """The truth over a map, thinner than in its own column."""
    for x0, y0, x1, y1 in boxes:
        corner, width, height = (x0 * CANVAS, y0 * CANVAS), (x1 - x0) * CANVAS, (y1 - y0) * CANVAS
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="white", linewidth=0.6))


def _draw_predicted(axes: Axes, predicted: Flags) -> None:
    """The border of what is predicted, unless that is nothing or everything."""
    if predicted.any() and not predicted.all():
        axes.contour(predicted, levels=[0.5], colors="white", linewidths=0.7, linestyles="dashed")


def _tell(axes: Axes, text: str) -> None:
    """Words in the lower right corner of a picture."""
    box = {"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    axes.text(0.97, 0.04, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=SMALL, bbox=box)


def _dimmed(pixels: Pixels, where: Flags) -> Pixels:
    """A picture that is darker where nothing sounds."""
    factors = np.where(where, 0.4, 1.0)[..., None]
    dimmed: Pixels = (pixels * factors).astype(np.uint8)
    return dimmed
