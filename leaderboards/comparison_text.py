"""A comparison at the terminal, as Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from tabulate import tabulate

from avbench.leaderboards.compared import LEVEL, By, Comparison
from avbench.leaderboards.comparison_sheets import Sheet, notes, sheets, shown_pairs
from avbench.leaderboards.tables import STYLES
from avbench.leaderboards.terminal import WIDE

NAME_WIDTH = 8
"""Names are wrapped to no less."""

CSV_COLUMNS = (
    *("kind", "metric", "by", "part", "method", "other", "n", "value", "low", "high", "rank", "group", "p", "p_holm"),
    *("only_first", "only_second"),
)


def print_comparison(found: Comparison, by: Sequence[By] | None = None) -> None:
    """Print the tables and what must be known of them on stdout; names wrap where the terminal is narrow."""
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, emoji=False, width=WIDE)
    for sheet in sheets(found, by, every_pair=False):
        console.print(_drawn(sheet))
    for note in notes(found):
        console.print(note)
    if len(shown_pairs(found, every=False)) < len(found.results):
        console.print("The pairs of the other metrics: --metric with one of them first, --json, or --out.")


def comparison_text(found: Comparison, form: str, by: Sequence[By] | None = None) -> str:
    """The comparison as Markdown (``md``), LaTeX (``tex``) or CSV (``csv``), which holds every class and size.

    CSV is one table of fractions, not percents: a line for each value (``kind`` value), pair, value of a class or size
    (part), and pair of these (part pair); what does not apply is empty.
    """
    if form == "csv":
        return _csv(found)
    comment = "% " if form == "tex" else ""
    blocks = []
    for sheet in sheets(found, by):
        text = ["left"] * sheet.names + ["right"] * (len(sheet.headings) - sheet.names)
        table = tabulate(sheet.lines, sheet.headings, tablefmt=STYLES[form], disable_numparse=True, colalign=text)
        blocks.append(f"{f'% {sheet.title}' if comment else f'**{sheet.title}**'}\n\n{table}\n")
    lines = "\n".join(f"{comment or '- '}{note}" for note in notes(found))
    return "\n".join([*blocks, f"{lines}\n"])


def comparison_json(found: Comparison) -> dict[str, Any]:
    """Everything, as JSON can hold it: values are fractions, what is not a number is None."""
    content = plain(asdict(found))
    parts = [{**plain(asdict(part)), "pairs": [plain(pair._asdict()) for pair in part.pairs]} for part in found.parts]
    return {**content, "parts": parts, "level": LEVEL, "notes": notes(found)}


def _drawn(sheet: Sheet) -> Table:
    table = Table(title=sheet.title, box=box.SIMPLE, title_justify="left", padding=(0, 1, 0, 0))
    for number, heading in enumerate(sheet.headings):
        cells = [len(line[number]) for line in sheet.lines]
        if number < sheet.names:
            table.add_column(heading, overflow="fold", min_width=min(NAME_WIDTH, max(cells)))
        else:
            table.add_column(heading, justify="right", overflow="fold", min_width=max(cells))
    for number, line in enumerate(sheet.lines):
        if number == sheet.ranked:
            table.add_section()
        table.add_row(*line)
    return table


def _csv(found: Comparison) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ("split", "protocol", *CSV_COLUMNS), restval="", lineterminator="\n")
    writer.writeheader()
    for line in [*_result_lines(found), *_part_lines(found)]:
        known = {key: "" if value is None or value != value else value for key, value in line.items()}
        writer.writerow({"split": found.split, "protocol": found.protocol, **known})
    return buffer.getvalue()


def _result_lines(found: Comparison) -> Iterator[dict[str, Any]]:
    for result in found.results:
        head = {"metric": result.metric, "n": result.n}
        for one in result.standings:
            yield {"kind": "value", **head, **_renamed(asdict(one))}
        for pair in result.pairs:
            yield {"kind": "pair", **head, **_renamed(asdict(pair))}


def _part_lines(found: Comparison) -> Iterator[dict[str, Any]]:
    titles = [entrant.title for entrant in found.entrants if entrant.ranked]
    for part in found.parts:
        head = {"metric": part.metric, "by": part.by, "part": part.name, "n": part.n}
        for title, value, group in zip(titles, part.values, part.groups, strict=True):
            yield {"kind": "part", **head, "method": title, "value": value, "group": group}
        for pair in part.pairs:
            yield {"kind": "part pair", **head, **_renamed(pair._asdict())}


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    columns = {"title": "method", "first": "method", "second": "other", "difference": "value"}
    return {columns.get(key, key): value for key, value in values.items()}


def plain(value: Any) -> Any:
    """``value`` with None for what is not a number."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if value != value else value
