"""Annotations of one's own as a table: CSV with a header, a row a box. Nothing here imports torch.

Of the columns only ``id`` has to be there. ``x0,y0,x1,y1`` are the corners of a box, fractions of the picture, or
pixels where the columns ``width`` and ``height`` say of what size the picture is. Rows of one id are boxes of one
sample. Where ``class``, ``image``, ``audio`` or ``sounding`` is empty or no column, the class is not known, the files
are called as the sample, and it sounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avbench.data.annotations import Annotation
from avbench.data.readers_strict import csv_rows, file_name
from avbench.errors import AvbenchError, unknown_name
from avbench.types import Box

CORNERS = ("x0", "y0", "x1", "y1")
SIZE = ("width", "height")
COMMON = ("class", "image", "audio", "sounding")
"""What the rows of one sample have to agree on."""
COLUMNS = ("id", "class", *CORNERS, *SIZE, *COMMON[1:])

SOUNDING = {"": True, "true": True, "1": True, "false": False, "0": False}
MARK = "\ufeff"
"""What spreadsheets write before a table in UTF-8."""


@dataclass(frozen=True)
class _Row:
    """A row: the file and its number for errors, counted from 1 with the header, and its cells by column."""

    where: str
    cells: dict[str, str]

    def get(self, column: str) -> str:
        return self.cells.get(column, "")


def read_table(path: Path, has_mask: Callable[[str], bool]) -> list[Annotation]:
    """Read a table strictly; samples are in the order of their first rows.

    Args:
        path: the CSV file.
        has_mask: whether a sample has a mask, which makes a box unnecessary.

    Raises:
        AvbenchError: naming the file and the row, for anything that is not the form above, rows of a sample that
            contradict each other, a box outside the picture or of no area, or a sounding sample with neither box nor
            mask.
    """
    rows: dict[str, list[_Row]] = {}
    for row in _rows(path):
        name = file_name(row.where, "id", row.get("id"))
        rows.setdefault(name, []).append(row)
    if not rows:
        raise AvbenchError(f"{path} holds no row below its header: expected one per box")
    return [_annotation(name, some, has_mask) for name, some in rows.items()]


def _rows(path: Path) -> list[_Row]:
    table = csv_rows(path)
    header = [cell.strip().removeprefix(MARK) for cell in table[0]] if table else []
    _check_header(path, header)
    rows = []
    for number, cells in enumerate(table[1:], start=2):
        where = f"{path}, row {number}"
        if cells and len(cells) != len(header):
            raise AvbenchError(f"{where}: expected {len(header)} cells as in the header, got {len(cells)}: {cells}")
        if cells:
            rows.append(_Row(where, dict(zip(header, (cell.strip() for cell in cells), strict=True))))
    return rows


def _check_header(path: Path, header: list[str]) -> None:
    if len(header) == 1 and ";" in header[0]:
        raise AvbenchError(f"{path} has its cells apart by semicolons: expected commas, save it so")
    for column in header:
        if column not in COLUMNS:
            problem = unknown_name("column of a table", column, COLUMNS, f"of {','.join(COLUMNS)} the first row")
            raise AvbenchError(f"{path}: {problem}")
        if header.count(column) > 1:
            raise AvbenchError(f"{path}: the column {column!r} is there twice: keep one")
    if "id" not in header:
        raise AvbenchError(f"{path} has no column 'id': begin with a row of {','.join(COLUMNS[:6])}")
    for group in (CORNERS, SIZE):
        there = [column for column in group if column in header]
        if there and len(there) < len(group):
            raise AvbenchError(f"{path} has the column {', '.join(there)} alone: {', '.join(group)} go together")


def _annotation(name: str, rows: list[_Row], has_mask: Callable[[str], bool]) -> Annotation:
    first = rows[0]
    for row in rows[1:]:
        _check_agreement(name, first, row)
    sounding = _sounding(first)
    boxes = tuple(box for row in rows if (box := _box(row)) is not None)
    if boxes and not sounding:
        raise AvbenchError(f"{first.where}: a sample in which nothing sounds has a box: empty it, or say it sounds")
    if sounding and not boxes and not has_mask(name):
        raise AvbenchError(
            f"{first.where}: {name} sounds and has neither a box nor a mask: give x0,y0,x1,y1 or masks/{name}.png"
        )
    return Annotation(
        id=name,
        label=first.get("class") or None,
        boxes=boxes,
        image=file_name(first.where, "image", first.get("image") or name),
        audio=file_name(first.where, "audio", first.get("audio") or name),
        sounding=sounding,
    )


def _check_agreement(name: str, first: _Row, row: _Row) -> None:
    for column in COMMON:
        if row.get(column) != first.get(column):
            raise AvbenchError(
                f"{row.where}: the {column} of {name} is {row.get(column)!r} here and {first.get(column)!r} before: "
                "rows of one id are boxes of one sample"
            )


def _sounding(row: _Row) -> bool:
    text = row.get("sounding")
    if text.lower() not in SOUNDING:
        raise AvbenchError(f"{row.where}: sounding is true or false, got {text!r}")
    return SOUNDING[text.lower()]


def _box(row: _Row) -> Box | None:
    texts = [row.get(column) for column in CORNERS]
    if not any(texts):
        return None
    x0, y0, x1, y1 = (_number(row, column) for column in CORNERS)
    width, height = (_number(row, column) if column in row.cells else 1.0 for column in SIZE)
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        fractions = "0 and 1 (pixels need the columns width and height)"
        size = f"the {width:g} x {height:g} pixels of width and height" if "width" in row.cells else fractions
        raise AvbenchError(
            f"{row.where}: the box {','.join(texts)} is no x0,y0,x1,y1 with x0 < x1 and y0 < y1 within {size}"
        )
    return x0 / width, y0 / height, x1 / width, y1 / height


def _number(row: _Row, column: str) -> float:
    try:
        value = float(row.get(column))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AvbenchError(f"{row.where}: expected a number under {column}, got {row.get(column)!r}")
    return value
