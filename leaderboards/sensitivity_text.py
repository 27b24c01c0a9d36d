"""The protocol-sensitivity table at the terminal, and as text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table
from tabulate import tabulate

from avbench.leaderboards.rows import percent
from avbench.leaderboards.selections import ranked_records, selections_of, title_of
from avbench.leaderboards.sensitivity import Sensitivity, sensitivity
from avbench.metrics.catalogue import METRICS
from avbench.records import Record, Selection

TAU = "Kendall's tau"


def print_sensitivity(records: Sequence[Record], asked: Sequence[Selection] = (), *, metric: str = "locacc") -> None:
    """Print the tables of :func:`sensitivities`; nothing where there is none."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=1000)
    for found in sensitivities(records, asked, metric=metric):
        table = Table(title=title(found), box=box.SIMPLE, title_justify="left")
        for number, heading in enumerate(headings(found)):
            table.add_column(heading, justify="right" if number else "left", no_wrap=True)
        for line in lines(found):
            table.add_row(*line)
        table.add_section()
        table.add_row(*tau_line(found))
        console.print(table)
        console.print(legend(found))
        for note in _scales(records, found):
            console.print(note)


def sensitivity_text(
    records: Sequence[Record], form: str, asked: Sequence[Selection] = (), *, metric: str = "locacc"
) -> str:
    """The same as Markdown (``md``) or LaTeX (``tex``); empty where there is no table."""
    style = {"md": "github", "tex": "latex_booktabs"}[form]
    blocks = []
    for found in sensitivities(records, asked, metric=metric):
        cells, titles = [*lines(found), tau_line(found)], headings(found)
        alignment = ["left", *["right"] * (len(titles) - 1)]
        table = tabulate(cells, titles, tablefmt=style, disable_numparse=True, colalign=alignment)
        head = f"**{title(found)}**" if form == "md" else f"% {title(found)}"
        said = [f"{'' if form == 'md' else '% '}{line}\n" for line in (legend(found), *_scales(records, found))]
        blocks.append("\n".join([f"{head}\n\n{table}\n", *said]))
    return "\n".join(blocks)


def sensitivities(
    records: Sequence[Record], asked: Sequence[Selection] = (), *, metric: str = "locacc"
) -> list[Sensitivity]:
    """A table of each split and selection of checkpoints with several protocols and methods, the splits by name.

    Each selection has ranks of its own, and what was never trained stands in all. With selections ``asked`` for there
    is one table of these together.

    Raises:
        UsageError: for selections asked for that are never ranked together.
    """
    ordered = sorted(records, key=lambda record: record.split)
    tables = []
    for _, group in groupby(ordered, key=lambda record: record.split):
        there = list(group)
        alone: list[tuple[Selection, ...]] = [(selection,) for selection in selections_of(there)] or [()]
        rankings = [tuple(asked)] if asked else alone
        tables += [sensitivity(ranked_records(there, ranking), metric) for ranking in rankings]
    return [table for table in tables if table is not None]


def title(found: Sensitivity) -> str:
    """What stands above the table."""
    what = f"{METRICS[found.metric].display} % of the same maps under every protocol, with ranks"
    return f"{found.split}: {what}{title_of(found.selections)}"


def headings(found: Sensitivity) -> tuple[str, ...]:
    """Column titles."""
    return ("method", *found.protocols)


def lines(found: Sensitivity) -> list[tuple[str, ...]]:
    """One line of cells per row: the value, and in brackets its rank where the row is ranked."""
    return [
        (row, *(_cell(value, place, found.metric) for value, place in zip(values, places, strict=True)))
        for row, values, places in zip(found.rows, found.values, found.places, strict=True)
    ]


def tau_line(found: Sensitivity) -> tuple[str, ...]:
    """How far each protocol orders the methods as the base does."""
    return (TAU, *("" if tau != tau else f"{tau:.2f}" for tau in found.tau))


def legend(found: Sensitivity) -> str:
    """What the reader must know of the table, and who leads where."""
    tops = {protocol: _leaders(found, place) for place, protocol in enumerate(found.protocols)}
    groups: dict[str, list[str]] = {}
    for protocol, who in tops.items():
        groups.setdefault(who, []).append(protocol)
    first = "; ".join(f"{who} under {', '.join(protocols)}" for who, protocols in groups.items())
    return (
        f"(n): rank among the methods; controls are not ranked. {TAU}-b compares a protocol's order with that of "
        f"{found.base}. First place: {first}."
    )


def _scales(records: Sequence[Record], found: Sensitivity) -> list[str]:
    """Under which protocols which rows are scaled by their own extremes, having no score range."""
    groups: dict[tuple[str, ...], list[str]] = {}
    there = ranked_records([record for record in records if record.split == found.split], found.selections)
    for protocol in dict.fromkeys(record.protocol for record in there):
        rows = [r.title for r in there if r.protocol == protocol and r.provenance.get("scale") == "own extremes"]
        if rows:
            groups.setdefault(tuple(rows), []).append(protocol)
    return [
        f"Without a score range, scaled by the extremes of each map under {', '.join(protocols)}: {', '.join(rows)}."
        for rows, protocols in groups.items()
    ]


def _leaders(found: Sensitivity, column: int) -> str:
    best = [row for row, places in zip(found.rows, found.places, strict=True) if places[column] == 1]
    return " and ".join(best)


def _cell(value: float | None, place: int | None, metric: str) -> str:
    if value is None or value != value:
        return ""
    shown = percent(value, METRICS[metric].decimals)
    return shown if place is None else f"{shown} ({place})"
