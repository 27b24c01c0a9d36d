"""Lines of a published table's CSV file, one printed value each, read strictly: nothing is skipped or repaired."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from avbench.errors import AvbenchError
from avbench.leaderboards.published_index import Index, text_of
from avbench.leaderboards.published_names import unit_of

NUMBER = re.compile(r"[0-9]+([.][0-9]+)?")
FLAGS = {"true": True, "false": False}
PROTOCOLS = ("early_stop", "latest", "zero_shot")
"""Best checkpoint on the test set, last checkpoint, other data set without fine-tuning."""
DASH = "dash"
"""Marker of a cell that is printed as a dash."""


class Line(NamedTuple):
    """Cells of a line as they stand in the file, in its order."""

    table_id: str
    paper: str
    caption_short: str
    method: str
    method_variant: str
    uses_ogl: str
    pretrained_vision: str
    train_set: str
    test_set: str
    protocol: str
    metric: str
    value: str
    unit: str
    marker: str
    note: str

    @property
    def markers(self) -> tuple[str, ...]:
        """Keys into the index's markers."""
        return tuple(self.marker.split(";")) if self.marker else ()


def read_lines(path: Path, index: Index, *, table: str, paper: str) -> dict[int, Line]:
    """The lines of a file by their number in it, from 2.

    Raises:
        AvbenchError: for a file that cannot be read, a header other than the fields of :class:`Line` in their order,
            or a cell that is not what its column holds.
    """
    header, found = _cells(path)
    _check_header(path, header)
    for number, cells in found.items():
        if len(cells) != len(Line._fields):
            raise _wrong(path, number, f"{len(Line._fields)} cells", f"{len(cells)}")
    lines = {number: Line(*cells) for number, cells in found.items()}
    for number, line in lines.items():
        _check_line(path, number, line, {**_known(index), "table_id": (table,), "paper": (paper,)})
        if line.caption_short != lines[min(lines)].caption_short:
            raise _wrong(path, number, "the caption of the lines before", repr(line.caption_short))
    return lines


def _cells(path: Path) -> tuple[list[str], dict[int, list[str]]]:
    reader = csv.reader(io.StringIO(text_of(path)), strict=True)
    found: dict[int, list[str]] = {}
    try:
        header = next(reader, [])
        for cells in reader:
            found[reader.line_num] = cells
    except csv.Error as problem:
        raise AvbenchError(f"{path}, line {reader.line_num}: expected CSV ({problem}): restore the file") from problem
    return header, found


def _check_header(path: Path, header: Sequence[str]) -> None:
    for place, (wanted, came) in enumerate(zip_longest(Line._fields, header), 1):
        if wanted != came:
            told = "nothing" if came is None else repr(came)
            expected = "no further column" if wanted is None else f"the column {wanted!r} in place {place}"
            raise _wrong(path, 1, expected, told, remedy=f"the columns are {', '.join(Line._fields)}, in this order")


def _known(index: Index) -> dict[str, Collection[str]]:
    """What columns may hold by name, but those that depend on the table or the line."""
    return {
        "method": index.methods,
        "uses_ogl": FLAGS,
        "pretrained_vision": (*FLAGS, ""),
        "train_set": (*index.train_sets, ""),
        "test_set": (*index.test_sets, ""),
        "protocol": (*PROTOCOLS, ""),
        "metric": index.metrics,
        "marker": index.markers,
    }


def _check_line(path: Path, number: int, line: Line, known: dict[str, Collection[str]]) -> None:
    """Raise for the first cell that is not what its column holds."""
    for name, values in {**known, "unit": (unit_of(line.metric),)}.items():
        for came in line.markers if name == "marker" else (getattr(line, name),):
            if came not in values:
                wanted = " or ".join(value or "nothing" for value in values)
                raise _wrong(path, number, f"{wanted} as {name}", repr(came))
    _check_value(path, number, line)


def _check_value(path: Path, number: int, line: Line) -> None:
    if DASH in line.markers:
        if line.value:
            raise _wrong(path, number, f"no value beside the marker {DASH}", repr(line.value))
        return
    if not NUMBER.fullmatch(line.value):
        raise _wrong(path, number, f"a number as value, in {line.unit}", repr(line.value))
    if line.unit == "percent" and float(line.value) > 100:
        raise _wrong(path, number, "at most 100 percent as value", repr(line.value))


def _wrong(path: Path, number: int, wanted: str, came: str, remedy: str = "restore the file") -> AvbenchError:
    return AvbenchError(f"{path}, line {number}: expected {wanted}, got {came}: {remedy}")
