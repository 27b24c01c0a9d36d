"""A comparison at the terminal, as Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from tabulate import tabulate

from avbench.leaderboards.compared import LEVEL, By, Comparison
from avbench.leaderboards.comparison_sheets import Sheet, notes, sheets, shown_pairs
from avbench.leaderboards.tables import STYLES
from avbench.leaderboards.terminal import WIDE

NAME_WIDTH = 9
"""Names are wrapped to no less."""
HEADING_WIDTH = 10
"""Longer words of a heading are cut into lines."""
METRIC_WIDTH = 30
"""What a metric's value, interval and rank take at most."""
GAP = 2
"""Between columns."""
EDGE = 1
"""Beside the outermost columns, beyond a gap."""

CSV_COLUMNS = (
    *("kind", "metric", "by", "part", "method", "other", "n", "value", "low", "high", "rank", "group", "p", "p_holm"),
    *("only_first", "only_second"),
)


def print_comparison(found: Comparison, by: Sequence[By] | None = None) -> None:
    """Print the tables and what must be known of them on stdout; where it is narrow, names wrap and numbers do not."""
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, emoji=False, width=WIDE)
    abreast = max((console.width - NAME_WIDTH) // METRIC_WIDTH, 1)
    for sheet in sheets(found, by, every_pair=False, abreast=abreast):
        console.print(sheet.title, style="italic")
        console.print(_drawn(sheet, console.width), crop=False)
    for note in notes(found, by):
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
    lines = "\n".join(f"{comment or '- '}{note}" for note in notes(found, by))
    return "\n".join([*blocks, f"{lines}\n"])


def comparison_json(found: Comparison) -> dict[str, Any]:
    """Everything, as JSON can hold it: values are fractions, what is not a number is None."""
    content = plain(asdict(found))
    parts = [{**plain(asdict(part)), "pairs": [plain(pair._asdict()) for pair in part.pairs]} for part in found.parts]
    return {**content, "parts": parts, "level": LEVEL, "notes": notes(found)}


def _drawn(sheet: Sheet, width: int) -> Table:
    """The table in ``width`` columns, or in as many more as its numbers need."""
    columns = list(zip(*sheet.lines, strict=True))
    widths = [max(map(len, cells)) for cells in columns]
    heads = [_wrapped_heading(heading, least) for heading, least in zip(sheet.headings, widths, strict=True)]
    taken = [max(cell, *map(len, head.split("\n"))) for cell, head in zip(widths, heads, strict=True)]
    budgets = _budgets(taken[: sheet.names], width - EDGE - GAP * len(taken) - sum(taken[sheet.names :]))
    needed = EDGE + GAP * len(taken) + sum(budgets) + sum(taken[sheet.names :])
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), width=needed if needed > width else None)
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number < sheet.names else "right", no_wrap=True)
    for number, line in enumerate(sheet.lines):
        if number == sheet.ranked:
            table.add_section()
        names = ["\n".join(wrap(cell, budget)) for cell, budget in zip(line[: sheet.names], budgets, strict=True)]
        table.add_row(*names, *line[sheet.names :])
    return table


def _wrapped_heading(heading: str, least: int) -> str:
    """Over as many lines as keep it about as narrow as its column; a percent sign stays with its word."""
    kept = heading.replace(" %", "\N{NO-BREAK SPACE}%")
    longest = max(len(word) for word in kept.replace("-", "- ").split(" "))
    return "\n".join(wrap(kept, max(least, min(longest, HEADING_WIDTH))))


def _budgets(widths: Sequence[int], room: int) -> list[int]:
    """``room`` shared out: what is narrow gets its width, what is wide an equal share, and at least a little."""
    found: dict[int, int] = {}
    for done, column in enumerate(sorted(range(len(widths)), key=widths.__getitem__)):
        found[column] = min(widths[column], max(room // (len(widths) - done), NAME_WIDTH))
        room -= found[column]
    return [found[column] for column in range(len(widths))]


def _csv(found: Comparison) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ("split", "protocol", "selection", *CSV_COLUMNS), restval="", lineterminator="\n")
    writer.writeheader()
    head = {"split": found.split, "protocol": found.protocol, "selection": " and ".join(found.selections)}
    for line in [*_result_lines(found), *_part_lines(found)]:
        known = {key: "" if value is None or value != value else value for key, value in line.items()}
        writer.writerow({**head, **known})
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
