"""Grids as text: Markdown, CSV and LaTeX, and HTML from the module beside."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence

from tabulate import tabulate

from avbench.leaderboards.grid_html import grid_html
from avbench.leaderboards.grids import Grid, GridCell, GridRow
from avbench.leaderboards.sweep_tables import STOREYS, escaped, upper_storey
from avbench.leaderboards.tables import STYLES

READ_BY_MARKDOWN = "\\`*_|<>~[]"
BREAK = r" \\ "
"""Between lines of LaTeX. What follows is in braces, since it takes a star or a bracket for its own."""


def grid_text(grid: Grid, form: str) -> str:
    """A grid as ``md``, ``csv``, ``latex`` or ``html``.

    The best value is bold and the second underlined; a letter behind a value says which rows are as good as each
    other, a number is that of a footnote. In LaTeX (with booktabs and amssymb) and HTML headings have two storeys.
    CSV has no marks, a column for each line of a cell, and the notes of a row in its last column.
    """
    return FORMS[form](grid)


def _markdown(grid: Grid) -> str:
    titles = [*grid.row_header, *grid.columns]
    lines = []
    for group in grid.groups:
        if group.title:
            lines.append([f"**{_plain(group.title)}**", *[""] * (len(titles) - 1)])
        lines += [[*_markdown_labels(grid, row), *_markdown_cells(grid, row)] for row in group.rows]
    sides = ["left"] * len(grid.row_header) + ["right"] * len(grid.columns)
    table = tabulate(lines, [*map(_plain, titles)], tablefmt=STYLES["md"], disable_numparse=True, colalign=sides)
    footnotes = [f"{number}. {_plain(note)}" for number, note in enumerate(grid.footnotes, 1)]
    remarks = [f"- {_plain(remark)}" for remark in grid.remarks]
    blocks = [f"**{grid.name}: {_plain(grid.caption)}**", table, "\n".join(footnotes), "\n".join(remarks)]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _markdown_labels(grid: Grid, row: GridRow) -> list[str]:
    *first, last = map(_plain, row.labels)
    return [*first, last + _sup(map(str, grid.numbers(row.notes)))]


def _markdown_cells(grid: Grid, row: GridRow) -> list[str]:
    return ["<br>".join(_told(_markdown_line(grid, line) for line in cell)) for cell in row.cells]


def _told(lines: Iterable[str]) -> list[str]:
    """The lines of a cell without empty ones at its end."""
    told = list(lines)
    while told and not told[-1]:
        told.pop()
    return told


def _markdown_line(grid: Grid, line: GridCell) -> str:
    text = _plain(line.text)
    if line.best:
        text = f"**{text}**"
    if line.second:
        text = f"<u>{text}</u>"
    return text + _sup(_marks(grid, line))


def _marks(grid: Grid, line: GridCell) -> list[str]:
    """What stands behind a value: the letter of its ties, and the numbers of its footnotes."""
    return [*([line.tie] if line.tie else []), *map(str, grid.numbers(line.notes))]


def _sup(marks: Iterable[str]) -> str:
    told = ",".join(marks)
    return f"<sup>{told}</sup>" if told else ""


def _plain(text: str) -> str:
    """``text`` as Markdown prints it."""
    return "".join(f"\\{character}" if character in READ_BY_MARKDOWN else character for character in text)


def _csv(grid: Grid) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    titles = [_line_title(grid, column, line) for column in grid.columns for line in grid.lines]
    writer.writerow(["table", "group", *grid.row_header, *titles, "notes"])
    for group in grid.groups:
        for row in group.rows:
            values = [line.text for cell in row.cells for line in cell]
            writer.writerow([grid.name, group.title, *row.labels, *values, _csv_notes(grid, row)])
    return buffer.getvalue()


def _line_title(grid: Grid, column: str, line: str) -> str:
    return column if len(grid.lines) == 1 else f"{column} ({line})"


def _csv_notes(grid: Grid, row: GridRow) -> str:
    """All notes of a row: its own, then those of each line of a cell behind the title of its column."""
    notes = ["; ".join(row.notes)]
    for column, cell in zip(grid.columns, row.cells, strict=True):
        for name, line in zip(grid.lines, cell, strict=True):
            told = [*line.notes, *([f"tie {line.tie}"] if line.tie else [])]
            notes += [f"{_line_title(grid, column, name)}: {'; '.join(told)}"] if told else []
    return "; ".join(filter(None, notes))


def _latex(grid: Grid) -> str:
    titles = [*grid.row_header, *grid.columns]
    lines = [
        "% needs the packages booktabs and amssymb",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escaped(grid.caption)}}}",
        f"\\label{{tab:{grid.name}}}",
        f"\\begin{{tabular}}{{{'l' * len(grid.row_header)}{'r' * len(grid.columns)}}}",
        "\\toprule",
        *upper_storey(titles),
        _latex_line([escaped(title.rpartition(STOREYS)[2]) for title in titles]),
    ]
    for group in grid.groups:
        lines.append("\\midrule")
        if group.title:
            lines.append(f"\\multicolumn{{{len(titles)}}}{{l}}{{\\emph{{{escaped(group.title)}}}}} \\\\")
        lines += [_latex_line([*_latex_labels(grid, row), *_latex_cells(grid, row)]) for row in group.rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", *_latex_notes(grid), "\\end{table}", ""])


def _latex_line(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _latex_labels(grid: Grid, row: GridRow) -> list[str]:
    *first, last = map(escaped, row.labels)
    return [f"{{{label}}}" for label in first] + [f"{{{last}}}{_raised(map(str, grid.numbers(row.notes)))}"]


def _latex_cells(grid: Grid, row: GridRow) -> list[str]:
    cells = [_told(_latex_value(grid, line) for line in cell) for cell in row.cells]
    return [_stacked(cell) if len(cell) > 1 else "".join(cell) for cell in cells]


def _stacked(lines: Sequence[str]) -> str:
    return f"\\begin{{tabular}}[t]{{@{{}}r@{{}}}}{BREAK.join(f'{{{line}}}' for line in lines)}\\end{{tabular}}"


def _latex_value(grid: Grid, line: GridCell) -> str:
    text = escaped(line.text)
    if line.best:
        text = f"\\textbf{{{text}}}"
    if line.second:
        text = f"\\underline{{{text}}}"
    return text + _raised(_marks(grid, line))


def _raised(marks: Iterable[str]) -> str:
    told = ",".join(marks)
    return f"\\textsuperscript{{{told}}}" if told else ""


def _latex_notes(grid: Grid) -> list[str]:
    numbered = [f"{_raised([str(number)])} {escaped(note)}" for number, note in enumerate(grid.footnotes, 1)]
    notes = [*numbered, *map(escaped, grid.remarks)]
    if not notes:
        return []
    head = ["\\par\\smallskip", "\\begin{minipage}{\\linewidth}\\footnotesize\\raggedright"]
    return [*head, " \\par\n".join(notes), "\\end{minipage}"]


FORMS: dict[str, Callable[[Grid], str]] = {"md": _markdown, "csv": _csv, "latex": _latex, "html": grid_html}
"""How a grid is written, by the name of the form."""
