"""Published numbers by split: copied from papers, each measured in its own way, and therefore never ranked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from tabulate import tabulate

from avbench.leaderboards.published_index import read_index
from avbench.leaderboards.published_names import METHODS, metric_of, split_of
from avbench.leaderboards.published_tables import MARKS, Cell, PublishedTable, Row, published_tables
from avbench.leaderboards.tables import STYLES
from avbench.leaderboards.terminal import WIDE
from avbench.metrics.catalogue import METRICS

NOTES = (
    "Badge paper: numbers copied from papers, each measured in its own way; nothing here is ranked, nor to be compared "
    "with rows of other badges.",
    "chosen: checkpoints by early stop on the test set, or the latest; blank where the paper does not say. *: with the "
    "object map (OGL). Of two values of a cell the second is the authors' own re-run. avbench table TABLE has the "
    "footnotes.",
)
HEADINGS = ("method", "table", "trained on", "chosen")


@dataclass(frozen=True)
class PublishedLine:
    """A row of a paper's table, as far as it is about one split.

    Attributes:
        title: the row's labels as printed, behind the method's name where they do not tell it.
        method: the method's name here; None for one that this suite does not have.
        table: id of the table.
        chosen: early_stop, latest, zero_shot, or empty.
        fused: whether the maps are fused with the object map.
        values: by metric id, as printed, percent.
    """

    title: str
    method: str | None
    table: str
    train_set: str
    chosen: str
    fused: bool
    values: dict[str, str]


@dataclass(frozen=True)
class PublishedBoard:
    """What papers print of one split, in their order, without ranks."""

    split: str
    metrics: tuple[str, ...]
    lines: tuple[PublishedLine, ...]


def published_board(split: str, *, methods: Sequence[str] = (), metrics: Sequence[str] = ()) -> PublishedBoard | None:
    """The published numbers of a split, None where there are none.

    Args:
        split: Name.
        methods: Names here of the methods wanted; empty for all, those that this suite does not have too.
        metrics: Ids of those wanted; empty for all.
    """
    lines = tuple(
        line
        for table in published_tables()
        for line in _lines(table, split, metrics)
        if not methods or line.method in methods
    )
    there = {metric for line in lines for metric in line.values}
    shown = tuple(metric for metric in metrics or METRICS if metric in there)
    return PublishedBoard(split, shown, lines) if lines else None


def print_published(board: PublishedBoard) -> None:
    """Print the board on stdout."""
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, emoji=False, width=WIDE)
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for number, heading in enumerate(_headings(board)):
        text = number < len(HEADINGS)
        table.add_column(heading, justify="left" if text else "right", no_wrap=number > 0, overflow="fold")
    for line in board.lines:
        table.add_row(*_cells(board, line))
    console.print(caption(board), style="bold")
    console.print(table, crop=False)
    for note in NOTES:
        console.print(f"- {note}")
    console.print()


def published_board_text(board: PublishedBoard, form: str) -> str:
    """The board as ``md`` or ``tex``."""
    comment = "% " if form == "tex" else ""
    sides = ["left"] * len(HEADINGS) + ["right"] * len(board.metrics)
    cells = [_cells(board, line) for line in board.lines]
    table = tabulate(cells, _headings(board), tablefmt=STYLES[form], disable_numparse=True, colalign=sides)
    told = "\n".join(f"{comment or '- '}{note}" for note in NOTES)
    return f"{f'% {caption(board)}' if comment else f'**{caption(board)}**'}\n\n{table}\n\n{told}\n"


def caption(board: PublishedBoard) -> str:
    """What stands above the board."""
    return f"{board.split}, paper: {len(board.lines)} rows of published tables"


def _lines(table: PublishedTable, split: str, metrics: Sequence[str]) -> Iterator[PublishedLine]:
    keys = read_index().methods
    for row, cells in zip(table.rows, table.cells, strict=True):
        groups: dict[tuple[str, str, bool], dict[str, str]] = {}
        for cell in cells:
            metric = metric_of(cell.metric, cell.test_set)
            if metric is None or metric not in (metrics or METRICS):
                continue
            if split_of(table.paper.id, cell.test_set) == split:
                of_group = groups.setdefault((cell.train_set, cell.protocol, cell.uses_ogl), {})
                of_group[metric] = _printed(cell)
        for (train_set, chosen, fused), values in groups.items():
            if any(values.values()):
                yield PublishedLine(
                    _title(row), METHODS[keys[row.method]["key"]], table.id, train_set, chosen, fused, values
                )


def _printed(cell: Cell) -> str:
    return "/".join(printed.text for printed in cell.printed if printed.text)


def _title(row: Row) -> str:
    """The row's labels, behind the method's name where these do not tell it."""
    labels = ", ".join(dict.fromkeys(label for label in row.labels if label not in {"", *MARKS.values()}))
    return labels if row.method in labels else f"{row.method}: {labels}"


def _headings(board: PublishedBoard) -> list[str]:
    return [*HEADINGS, *(f"{METRICS[metric].display} %" for metric in board.metrics)]


def _cells(board: PublishedBoard, line: PublishedLine) -> list[str]:
    title = f"{line.title} *" if line.fused else line.title
    values = [line.values.get(metric, "") for metric in board.metrics]
    return [title, line.table, line.train_set, line.chosen.replace("_", " "), *values]
