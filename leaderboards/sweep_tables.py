"""Tables of sweeps, in the shape that a paper has: rows or columns of settings, headings in two storeys."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table
from tabulate import tabulate

from avbench.leaderboards.rows import percent
from avbench.leaderboards.tables import STYLES
from avbench.leaderboards.terminal import WIDE
from avbench.metrics.catalogue import METRICS
from avbench.records import Record

STOREYS = " / "
"""Between a common heading and a column's own."""
DEFAULT = " (default)"
"""Behind the last label of the rows that hold the paper's own setting."""

LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "±": r"$\pm$",
    "λ": r"$\lambda$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
    "↳": r"$\hookrightarrow$",
    "†": r"$\dagger$",
    "\N{EN DASH}": "--",
    "—": "---",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
}
"""Characters that LaTeX does not take as they are; the check mark needs amssymb."""


@dataclass(frozen=True)
class SweepRow:
    """One setting."""

    labels: tuple[str, ...]
    records: tuple[Record, ...]
    """One per seed; empty where one of them is missing, since a mean over the others would be another number."""
    default: bool = False


@dataclass(frozen=True)
class SweepTable:
    """A sweep with its results."""

    caption: str
    notes: tuple[str, ...]
    row_header: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    """Heading and metric id of each."""
    rows: tuple[SweepRow, ...]
    transposed: bool = False
    """Whether settings are columns and metrics rows."""


def sweep_text(table: SweepTable, form: str) -> str:
    """The table as ``md``, ``csv`` or ``tex``.

    Markdown and LaTeX have the caption above and the notes below; CSV has one line per setting, whatever the
    orientation, and the caption as its last column. Cells are percent, of several seeds the mean and the standard
    deviation (of a sample: n - 1); empty where there is no number.
    """
    if form == "csv":
        return _csv(table)
    titles, lines = _grid(table)
    if form == "md":
        text = tabulate(lines, titles, tablefmt=STYLES[form], disable_numparse=True, colalign=_alignment(table, titles))
        return "\n\n".join([f"**{table.caption}**", text, *table.notes]) + "\n"
    return _latex(table, titles, lines)


def print_sweep(table: SweepTable) -> None:
    """Print the table on stdout."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    titles, lines = _grid(table)
    shown = Table(box=box.SIMPLE)
    for title, side in zip(titles, _alignment(table, titles), strict=True):
        shown.add_column(title.replace(STOREYS, "\n"), justify="left" if side == "left" else "right", no_wrap=True)
    for line in lines:
        shown.add_row(*line)
    console.print(table.caption, markup=False)
    console.print(shown)
    for note in table.notes:
        console.print(note, markup=False)


def _grid(table: SweepTable) -> tuple[list[str], list[list[str]]]:
    """Headings and lines, as they are oriented."""
    marked = [[*row.labels[:-1], row.labels[-1] + (DEFAULT if row.default else "")] for row in table.rows]
    cells = [[cell(row, metric) for _, metric in table.columns] for row in table.rows]
    headers = [header for header, _ in table.columns]
    if not table.transposed:
        return [*table.row_header, *headers], [[*a, *b] for a, b in zip(marked, cells, strict=True)]
    titles = [STOREYS.join(table.row_header), *(", ".join(labels) for labels in marked)]
    return titles, [[header, *column] for header, *column in zip(headers, *cells, strict=True)]


def cell(row: SweepRow, metric: str) -> str:
    """One number of a row as it is shown; empty where a record has none, or not a number."""
    values = [record.metrics.get(metric, float("nan")) for record in row.records]
    if not values or any(value != value for value in values):
        return ""
    decimals = METRICS[metric].decimals
    if len(values) == 1:
        return percent(values[0], decimals)
    return f"{percent(statistics.fmean(values), decimals)} ± {percent(statistics.stdev(values), decimals)}"


def _alignment(table: SweepTable, titles: Sequence[str]) -> list[str]:
    left = 1 if table.transposed else len(table.row_header)
    return ["left"] * left + ["right"] * (len(titles) - left)


def _csv(table: SweepTable) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*table.row_header, *(header for header, _ in table.columns), "default", "table"])
    for row in table.rows:
        cells = [cell(row, metric) for _, metric in table.columns]
        writer.writerow([*row.labels, *cells, "yes" if row.default else "", table.caption])
    return buffer.getvalue()


def _latex(table: SweepTable, titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    sides = "".join(side[0] for side in _alignment(table, titles))
    return "\n".join(
        [
            f"% {table.caption}",
            f"\\begin{{tabular}}{{{sides}}}",
            "\\toprule",
            *upper_storey(titles),
            _latex_line([title.rpartition(STOREYS)[2] for title in titles]),
            "\\midrule",
            *map(_latex_line, lines),
            "\\bottomrule",
            "\\end{tabular}",
            *(f"% {note}" for note in table.notes),
            "",
        ]
    )


def upper_storey(titles: Sequence[str]) -> list[str]:
    """The lines of LaTeX with common headings and the rules below them; none where no column has one."""
    cells, rules, place = [], [], 1
    for common, group in groupby(title.rpartition(STOREYS)[0] for title in titles):
        width = len(list(group))
        if common:
            cells.append(f"\\multicolumn{{{width}}}{{c}}{{{escaped(common)}}}")
            rules.append(f"\\cmidrule(lr){{{place}-{place + width - 1}}}")
        else:
            cells += [""] * width
        place += width
    return [f"{' & '.join(cells)} \\\\", " ".join(rules)] if rules else []


def _latex_line(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(escaped, cells))} \\\\"


def escaped(text: str) -> str:
    """``text`` as LaTeX prints it."""
    return "".join(LATEX.get(character, character) for character in text)
