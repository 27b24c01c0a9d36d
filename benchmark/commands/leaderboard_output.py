"""What ``avbench leaderboard`` prints and writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.commands.shared import log

if TYPE_CHECKING:
    from avbench.leaderboards.board_pools import Pool
    from avbench.leaderboards.boards import Board
    from avbench.leaderboards.published_boards import PublishedBoard

FORMS = (".md", ".csv", ".tex", ".json")
"""Endings of the file that boards are written to."""


def show(found: Sequence[Board], published: Sequence[PublishedBoard]) -> None:
    """Print boards, and published numbers after them."""
    from avbench.leaderboards.boards_text import print_boards
    from avbench.leaderboards.published_boards import print_published

    print_boards(found)
    for board in published:
        print_published(board)


def show_moves(everything: Sequence[Pool], shown: Sequence[Pool], metrics: Sequence[str]) -> None:
    """Print how ranks move with the protocol, for each list, badge and selection that is shown."""
    from avbench.leaderboards.board_moves import moving, place_of
    from avbench.leaderboards.sensitivity_text import print_sensitivity, sensitivities

    places = {place_of(pool) for pool in shown}
    beside = [pool for pool in everything if place_of(pool) in places]
    metric = metrics[0] if metrics else "locacc"
    for one in moving(beside):
        if sensitivities(one.records, one.selections, metric=metric):
            print(f"Badge {one.badge}:")
            print_sensitivity(one.records, one.selections, metric=metric)
        else:
            print(f"{one.split}, {one.badge}: nothing moves, as there are fewer than two methods or protocols.")


def show_further(everything: Sequence[Pool], shown: Sequence[Pool]) -> None:
    """Print which boards there are beside those shown."""
    rest = [pool for pool in everything if pool not in shown]
    if rest:
        print("Further boards, by --split, --protocol, --selection and --badge:")
        for line in _described(rest):
            print(f"- {line}")


def told(found: Sequence[Pool]) -> str:
    """The boards that there are, in a sentence."""
    return "; ".join(_described(found)) or "none yet, accepted or in --runs"


def _described(found: Sequence[Pool]) -> Iterator[str]:
    """A line for each split and badge."""

    def place(pool: Pool) -> tuple[str, str]:
        return pool.head.split, pool.head.badge

    for (split, badge), group in groupby(sorted(found, key=place), key=place):
        pools = list(group)
        protocols = ", ".join(dict.fromkeys(pool.head.protocol for pool in pools))
        selections = ", ".join(dict.fromkeys(one for pool in pools for one in pool.selections))
        yield f"{split}, {badge}: {protocols}{f' ({selections})' if selections else ''}"


def print_json(found: Sequence[Board], published: Sequence[PublishedBoard]) -> None:
    """Print one JSON object."""
    json.dump(_content(found, published), sys.stdout, indent=1, allow_nan=False)
    print()


def write_out(found: Sequence[Board], published: Sequence[PublishedBoard], path: Path) -> None:
    """Write boards by the ending of ``path``; CSV, which is of fractions, has no published numbers."""
    from avbench.leaderboards.boards_text import boards_text
    from avbench.leaderboards.published_boards import published_board_text
    from avbench.store import write_atomic

    form = path.suffix.removeprefix(".")
    if form == "json":
        text = json.dumps(_content(found, published), indent=1, allow_nan=False) + "\n"
    elif form == "csv":
        text = boards_text(found, form)
    else:
        blocks = [boards_text(found, form)] if found else []
        text = "\n".join([*blocks, *(published_board_text(board, form) for board in published)])
    write_atomic(path, text.encode())
    if form == "csv" and published:
        log("published numbers are not in the CSV, as they are text: --out with .md, .tex or .json has them")
    log(f"leaderboard: {path}")


def _content(found: Sequence[Board], published: Sequence[PublishedBoard]) -> dict[str, Any]:
    from avbench.leaderboards.boards_text import boards_json

    return {"boards": boards_json(found), "published": [asdict(board) for board in published]}
