"""Grids as HTML: a table that a screen reader can read, with its notes as lists."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from avbench.leaderboards.grids import Grid, GridCell, GridGroup, GridRow
from avbench.leaderboards.sweep_tables import STOREYS


def grid_html(grid: Grid) -> str:
    """A ``<figure>`` with the table, ``<strong>`` for the best value and ``<u>`` for the second, and its notes."""
    return "\n".join(
        [
            f'<figure class="grid" id="{escape(grid.name)}">',
            "<table>",
            f"<caption>{escape(grid.caption)}</caption>",
            "<thead>",
            *_head(grid),
            "</thead>",
            *(line for group in grid.groups for line in _body(grid, group)),
            "</table>",
            *_footnotes(grid),
            *_remarks(grid),
            "</figure>",
            "",
        ]
    )


def _head(grid: Grid) -> list[str]:
    """One line of headings, or two where columns have a common one."""
    storeys = 2 if any(STOREYS in column for column in grid.columns) else 1
    deep = ' rowspan="2"' if storeys == 2 else ""
    upper = [f'<th scope="col"{deep}>{escape(title)}</th>' for title in grid.row_header]
    lower = []
    for common, group in groupby(grid.columns, lambda column: column.rpartition(STOREYS)[0]):
        titles = [column.rpartition(STOREYS)[2] for column in group]
        if not common:
            upper += [f'<th scope="col"{deep}>{escape(title)}</th>' for title in titles]
            continue
        upper.append(f'<th scope="colgroup" colspan="{len(titles)}">{escape(common)}</th>')
        lower += [f'<th scope="col">{escape(title)}</th>' for title in titles]
    return [f"<tr>{''.join(line)}</tr>" for line in (upper, lower) if line]


def _body(grid: Grid, group: GridGroup) -> list[str]:
    width = len(grid.row_header) + len(grid.columns)
    title = f'<tr><th scope="rowgroup" colspan="{width}">{escape(group.title)}</th></tr>'
    return ["<tbody>", *([title] if group.title else []), *(_row(grid, row) for row in group.rows), "</tbody>"]


def _row(grid: Grid, row: GridRow) -> str:
    labels = [escape(label) for label in row.labels]
    labels[-1] += _references(grid, row.notes)
    heads = [f'<th scope="row">{label}</th>' for label in labels]
    shown = [[line for line in cell if line.text or line.missing] for cell in row.cells]
    cells = [f"<td>{'<br>'.join(_line(grid, line) for line in lines)}</td>" for lines in shown]
    return f"<tr>{''.join([*heads, *cells])}</tr>"


def _line(grid: Grid, line: GridCell) -> str:
    text = escape(line.text)
    if line.best:
        text = f"<strong>{text}</strong>"
    if line.second:
        text = f"<u>{text}</u>"
    title = f' title="{escape(line.title)}"' if line.title else ""
    missing = ' class="missing"' if line.missing else ""
    tie = f"<sup>{escape(line.tie)}</sup>" if line.tie else ""
    return f"<span{missing}{title}>{text}</span>{tie}{_references(grid, line.notes)}"


def _references(grid: Grid, notes: Sequence[str]) -> str:
    links = [f'<a href="#{_place(grid, number)}">{number}</a>' for number in grid.numbers(notes)]
    return f"<sup>{','.join(links)}</sup>" if links else ""


def _place(grid: Grid, number: int) -> str:
    return f"{escape(grid.name)}-note-{number}"


def _footnotes(grid: Grid) -> list[str]:
    if not grid.footnotes:
        return []
    entries = [f'<li id="{_place(grid, number)}">{escape(note)}</li>' for number, note in enumerate(grid.footnotes, 1)]
    return ['<ol class="footnotes">', *entries, "</ol>"]


def _remarks(grid: Grid) -> list[str]:
    if not grid.remarks:
        return []
    return ['<ul class="remarks">', *(f"<li>{escape(remark)}</li>" for remark in grid.remarks), "</ul>"]
