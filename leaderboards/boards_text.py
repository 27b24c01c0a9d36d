"""Boards at the terminal, as Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from tabulate import tabulate

from avbench.leaderboards.boards import Board, Line
from avbench.leaderboards.comparison_text import EDGE, GAP, plain
from avbench.leaderboards.rows import percent
from avbench.leaderboards.selections import title_of
from avbench.leaderboards.tables import STYLES
from avbench.leaderboards.terminal import WIDE
from avbench.metrics.catalogue import METRICS

SPARED = ("n", "badge", "selection")
"""Columns that a narrow terminal does without, one after the other, as title and notes tell what they hold."""

HEAD = ("split", "protocol", "version", "badge", "split_sha256", "truth")
"""What a line of CSV has of its board."""


@dataclass(frozen=True)
class Column:
    """A column of a board; a heading may have two lines."""

    name: str
    heading: str
    cells: tuple[str, ...]
    text: bool = False

    @property
    def width(self) -> int:
        """Characters of the widest cell, or line of the heading."""
        return max(map(len, (*self.heading.split("\n"), *self.cells)))


def print_boards(found: Sequence[Board]) -> None:
    """Print boards and what must be known of them on stdout; names wrap where the terminal is narrow."""
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, emoji=False, width=WIDE)
    for board in found:
        console.print(caption(board), style="bold")
        console.print(_table(_fitting(columns(board, _several(found)), console.width)), crop=False)
        for note in board.notes:
            console.print(f"- {note}")
        console.print()


def boards_text(found: Sequence[Board], form: str) -> str:
    """Boards as ``md``, ``tex`` or ``csv``.

    CSV is one table of fractions, not percents, a line for each row of each board; what does not apply is empty.
    """
    if form == "csv":
        return _csv(found)
    comment = "% " if form == "tex" else ""
    blocks = []
    for board in found:
        shown = columns(board, _several(found))
        titles = [column.heading.replace("\n", " ") for column in shown]
        sides = ["left" if column.text else "right" for column in shown]
        lines = list(zip(*(column.cells for column in shown), strict=True))
        table = tabulate(lines, titles, tablefmt=STYLES[form], disable_numparse=True, colalign=sides)
        told = "\n".join(f"{comment or '- '}{note}" for note in board.notes)
        blocks.append(f"{f'% {caption(board)}' if comment else f'**{caption(board)}**'}\n\n{table}\n\n{told}\n")
    return "\n".join(blocks)


def boards_json(found: Sequence[Board]) -> list[dict[str, Any]]:
    """Boards as JSON can hold them: values are fractions."""
    return [_board_json(board) for board in found]


def caption(board: Board) -> str:
    """What stands above a board."""
    count = f"{board.n} samples"
    return f"{board.split}, protocol {board.protocol}, {board.badge}{title_of(board.selections)}: {count}"


def letters(group: int | None) -> str:
    """a to z, then aa and so on; empty for a row without a group."""
    if group is None:
        return ""
    more, last = divmod(group - 1, 26)
    return (letters(more) if more else "") + chr(ord("a") + last)


def columns(board: Board, badges: bool = False) -> list[Column]:
    """The columns of a board; ``badges`` for that of the badge, which is the same in all rows."""

    def column(name: str, heading: str, cells: Iterator[str], *, text: bool = False) -> Column:
        return Column(name, heading, tuple(cells), text)

    lines, first = board.lines, board.metrics[0]
    found = [
        column("rank", "rank", (_number(line.ranks[first]) for line in lines)),
        column("tie", "tie", (letters(line.groups[first]) for line in lines), text=True),
        column("method", "method", (line.title for line in lines), text=True),
        column("badge", "badge", (line.badge for line in lines), text=True),
        column("selection", "selection", (_selection(line) for line in lines), text=True),
        *(column(metric, _heading(metric), (_value(line, metric) for line in lines)) for metric in board.metrics),
        column("listens", "listens?", (_listens(line) for line in lines), text=True),
        column("parameters", "M", (_millions(line.parameters) for line in lines)),
        column("ms", "ms", (_milliseconds(line.seconds) for line in lines)),
        column("n", "n", (str(line.n) for line in lines)),
    ]
    place = next(number for number, one in enumerate(found) if one.name == first) + 1
    found.insert(place, column("interval", "95 %", (_interval(line, first) for line in lines)))
    return [one for one in found if badges or one.name != "badge"]


def _several(found: Sequence[Board]) -> bool:
    return len({board.badge for board in found}) > 1


def _fitting(shown: Sequence[Column], width: int) -> list[Column]:
    """The columns without as many of those that can be spared as it takes to fit."""
    kept = list(shown)
    for name in SPARED:
        if EDGE + sum(GAP + column.width for column in kept) > width:
            kept = [column for column in kept if column.name != name]
    return kept


def _table(shown: Sequence[Column]) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for column in shown:
        wraps = column.name == "method"
        table.add_column(column.heading, justify="left" if column.text else "right", no_wrap=not wraps, overflow="fold")
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*cells)
    return table


def _heading(metric: str) -> str:
    """Over two lines where it has two words."""
    first, _, rest = METRICS[metric].display.rpartition(" ")
    return f"{first}\n{rest} %" if first else f"{rest} %"


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _selection(line: Line) -> str:
    return "" if line.selection == "none" else line.selection


def _value(line: Line, metric: str) -> str:
    return percent(line.values[metric], METRICS[metric].decimals) if metric in line.values else ""


def _interval(line: Line, metric: str) -> str:
    if metric not in line.intervals:
        return ""
    low, high = line.intervals[metric]
    return f"{percent(low, 1)} to {percent(high, 1)}"


def _listens(line: Line) -> str:
    return "" if line.listens is None else f"{line.listens.verdict} {percent(line.listens.drop, 1)}"


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.2f}" if count else "0"


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.1f}"


def _csv(found: Sequence[Board]) -> str:
    metrics = dict.fromkeys(metric for board in found for metric in board.metrics)
    own = [f"{metric}{ending}" for metric in metrics for ending in ("", "_low", "_high", "_rank", "_tie")]
    about = ("method", "variant", "title", "family", "selection", *own, "listens", "drop", "drop_low", "drop_high")
    buffer = io.StringIO()
    fields = (*HEAD, "ranked", *about, "parameters", "seconds", "device", "n", "key")
    writer = csv.DictWriter(buffer, fields, restval="", lineterminator="\n")
    writer.writeheader()
    for board in found:
        head = {name: getattr(board, name) for name in HEAD} | {"ranked": " and ".join(board.selections)}
        for line in board.lines:
            known = {**head, **_csv_line(line), **_csv_values(line, board.metrics)}
            writer.writerow({name: "" if value is None else value for name, value in known.items()})
    return buffer.getvalue()


def _csv_line(line: Line) -> dict[str, Any]:
    heard = line.listens
    drop = {} if heard is None else {"drop": heard.drop, "drop_low": heard.low, "drop_high": heard.high}
    names = ("method", "variant", "title", "family", "selection", "parameters", "seconds", "device", "n")
    known = {name: getattr(line, name) for name in names}
    return {**known, **plain(drop), "listens": heard and heard.verdict, "key": line.entry.key}


def _csv_values(line: Line, metrics: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for metric in metrics:
        low, high = line.intervals.get(metric, (None, None))
        found |= {metric: line.values.get(metric), f"{metric}_low": low, f"{metric}_high": high}
        found |= {f"{metric}_rank": line.ranks[metric], f"{metric}_tie": letters(line.groups[metric])}
    return found


def _board_json(board: Board) -> dict[str, Any]:
    known = {name: value for name, value in vars(board).items() if name not in {"lines", "comparisons"}}
    lines = []
    for line in board.lines:
        about = {name: value for name, value in vars(line).items() if name not in {"entry", "record", "listens"}}
        heard = None if line.listens is None else asdict(line.listens)
        lines.append({**about, "listens": heard, "entry": line.entry.name, "key": line.entry.key})
    tests = [
        {"metric": result.metric, "n": result.n, "exact": result.exact, "pairs": [vars(pair) for pair in result.pairs]}
        for found in board.comparisons
        for result in found.results
    ]
    return dict(plain({**known, "title": caption(board), "lines": lines, "tests": tests}))
