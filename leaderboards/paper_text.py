"""Published tables with ours as text, pages and data, and the commands that fill what is blank."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from avbench.leaderboards.grids import Grid, GridCell
from avbench.leaderboards.paper_cells import COUNTED, HERE, Filled, Mark, Number, Place
from avbench.leaderboards.paper_commands import Step, placeholders
from avbench.leaderboards.published_grids import published_grid
from avbench.leaderboards.published_names import unit_of
from avbench.leaderboards.published_text import grid_text

LINES = ("ours", "difference")
"""Below a published value."""
CSV_LINES = ("ours", "difference", "samples", "badge")
READING = (
    "Below a published value: ours, then its difference from the published one in the column's unit (of two values the "
    "authors' re-run), the samples of the test list, and the badge: verified = run again by us from weights or counted "
    "by this command, submitted = accepted with per-sample values, local = of your own runs. Ours are marked among "
    "themselves, of one badge, test list and selection; methods with one letter are not told apart by paired tests."
)
"""What stands under a table with numbers of ours."""
NOTHING = "No result of ours is in this table: avbench table {id} --how says what would fill it."
COLUMNS = ("table", "paper", "group", "row", "column", "metric", "unit", "published", "ours", "deviation", "runs")
COLUMNS_MORE = ("difference", "samples", "badge", "selection", "notes")
"""Of the one CSV file of several tables: a line for each cell."""


@dataclass(frozen=True)
class Shown:
    """A table and its grid; :func:`~avbench.leaderboards.paper_costs.with_costs` may have added rows to it."""

    filled: Filled
    grid: Grid
    further: tuple[tuple[str, str, str, float], ...] = ()
    """Method, column, metric and value of these rows, in the order of reading."""


def paper_grid(filled: Filled, form: str) -> Grid:
    """The grid of a table for a form of :func:`~avbench.leaderboards.published_text.grid_text`.

    A table without numbers of ours has the published ones alone, but in CSV, whose columns are always the same.
    """
    stacked = form == "csv"
    if not filled.numbers and not stacked:
        fillable = (NOTHING.format(id=filled.table.id),) if filled.wanted else ()
        return published_grid(filled.table, remarks=(*filled.remarks, *fillable))

    def further(i: int, j: int) -> tuple[GridCell, ...]:
        return _lines(filled, (i, j), stacked=stacked)

    return published_grid(
        filled.table, further, lines=CSV_LINES if stacked else LINES, remarks=(*filled.remarks, READING)
    )


def _lines(filled: Filled, place: Place, *, stacked: bool) -> tuple[GridCell, ...]:
    number, count = filled.numbers.get(place), len(CSV_LINES if stacked else LINES)
    if number is None:
        return (GridCell(missing=place in filled.wanted), *[GridCell()] * (count - 1))
    mark = filled.marks.get(place, Mark())
    first = GridCell(number.text, mark.best, mark.second, mark.tie, number.notes, title=_told(number))
    samples = "" if number.samples is None else str(number.samples)
    if stacked:
        return first, GridCell(number.difference_text), GridCell(samples), GridCell(number.badge)
    parts = [number.difference_text, samples and f"n {samples}", number.badge]
    return first, GridCell(f"({', '.join(filter(None, parts))})")


def _told(number: Number) -> str:
    """What a page shows while the pointer is on a number."""
    samples = "" if number.samples is None else f"{number.samples} samples"
    selection = number.selection and f"checkpoint: {number.selection}"
    return ", ".join(filter(None, [number.badge, samples, selection]))


def tables_text(shown: Sequence[Shown], form: str, found: Sequence[Step]) -> str:
    """Tables one below the other, and the commands of ``found`` below them; several as CSV are one long list."""
    if form == "csv":
        return grid_text(shown[0].grid, form) if len(shown) == 1 else _long(shown)
    texts = [grid_text(one.grid, form) for one in shown]
    if form == "html":
        return _page(texts, found, [one.filled.table.id for one in shown])
    how = how_text(found) if found else ""
    if form == "latex":
        how = "".join(f"% {line}\n" for line in how.splitlines())
    return "\n".join([*texts, *([how] if how else [])])


def how_text(found: Sequence[Step]) -> str:
    """The commands, each with what it fills, and what is to be put in them."""
    lines = ["To fill the blank cells:", ""]
    for step in found:
        lines += [f"{step.title}", *(f"  fills {told}" for told in fills_words(step))]
        lines += [*(f"    {command}" for command in step.commands), ""]
    return "\n".join([*lines, *(f"{name}: {meaning}" for name, meaning in placeholders(found).items())]).rstrip() + "\n"


def fills_words(step: Step) -> Iterator[str]:
    """What a step fills, a text for each table."""
    for table, rows in step.fills.items():
        count = sum(rows.values())
        yield f"{count} cell{'' if count == 1 else 's'} of {table}: {'; '.join(rows)}"


def cells_json(shown: Sequence[Shown]) -> list[dict[str, Any]]:
    """Every cell of tables as data: published values, ours with badge and difference, and what would fill it."""
    return [_cell_json(one.filled, (i, j)) for one in shown for i, j in _places(one.filled)]


def _places(filled: Filled) -> Iterator[Place]:
    for i in range(len(filled.table.rows)):
        for j in range(len(filled.table.columns)):
            yield i, j


def _cell_json(filled: Filled, place: Place) -> dict[str, Any]:
    table, (i, j) = filled.table, place
    row, column, cell = table.rows[i], table.columns[j], table.cells[i][j]
    number, want = filled.numbers.get(place), filled.wanted.get(place)
    return {
        "table": table.id,
        "row": list(row.labels),
        "group": row.group,
        "method": row.method,
        "variant": row.variant,
        "column": column.header,
        "metric": cell.metric,
        "unit": cell.unit,
        "published": [asdict(one) for one in cell.printed],
        "ours": None if number is None else {**asdict(number), **asdict(filled.marks.get(place, Mark()))},
        "wanted": None if want is None else asdict(want),
    }


def _long(shown: Sequence[Shown]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*COLUMNS, *COLUMNS_MORE])
    for one in shown:
        writer.writerows(_long_line(one.filled, place) for place in _places(one.filled))
        writer.writerows(_further_line(one.filled, *told) for told in one.further)
    return buffer.getvalue()


def _long_line(filled: Filled, place: Place) -> list[str]:
    table, (i, j) = filled.table, place
    row, cell = table.rows[i], table.cells[i][j]
    published = "/".join(one.text for one in cell.printed)
    own = [table.id, table.paper.id, row.group, " | ".join(row.labels), table.columns[j].header, cell.metric, cell.unit]
    return [*own, published, *_long_number(filled.numbers.get(place))]


def _further_line(filled: Filled, method: str, column: str, metric: str, value: float) -> list[str]:
    own = [filled.table.id, filled.table.paper.id, HERE, method, column, metric, unit_of(metric), ""]
    return [*own, *_long_number(Number(value, 3, COUNTED))]


def _long_number(number: Number | None) -> list[str]:
    if number is None:
        return [""] * (len(COLUMNS) - 8 + len(COLUMNS_MORE))
    numbers = [number.value, number.deviation, number.runs, number.difference, number.samples]
    value, deviation, runs, difference, samples = ("" if one is None else f"{one:.10g}" for one in numbers)
    return [value, deviation, runs, difference, samples, number.badge, number.selection, "; ".join(number.notes)]


STYLE = """\
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
figure { margin: 0 0 3rem; overflow-x: auto; }
table { border-collapse: collapse; border-block: 2px solid; }
caption { text-align: left; font-weight: 600; padding-block: .5rem; }
th, td { padding: .2rem .6rem; text-align: right; vertical-align: top; }
th[scope="row"], th[scope="rowgroup"], thead tr:first-child th:first-child { text-align: left; font-weight: normal; }
th[scope="rowgroup"] { font-style: italic; }
th[scope="colgroup"] { text-align: center; border-bottom: 1px solid; }
tbody { border-top: 1px solid; }
.footnotes, .remarks { font-size: .85rem; max-width: 60rem; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid color-mix(in srgb, currentcolor 30%, transparent); }
"""


def _page(figures: Sequence[str], found: Sequence[Step], ids: Sequence[str]) -> str:
    """A page of its own."""
    subject = ids[0] if len(ids) == 1 else "the papers' tables"
    title = f"avbench: {subject}"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>",
            *figures,
            *_how_page(found),
            "</body>\n</html>\n",
        ]
    )


def _how_page(found: Sequence[Step]) -> Iterator[str]:
    if not found:
        return
    yield "<section>\n<h2>To fill the blank cells</h2>"
    for step in found:
        fills = "".join(f"<li>{escape(told)}</li>" for told in fills_words(step))
        commands = escape("\n".join(step.commands))
        yield f"<h3>{escape(step.title)}</h3>\n<ul>{fills}</ul>\n<pre>{commands}</pre>"
    meanings = [f"<dt>{escape(name)}</dt><dd>{escape(told)}</dd>" for name, told in placeholders(found).items()]
    yield f"<dl>{''.join(meanings)}</dl>\n</section>"
