"""``avbench leaderboard``: accepted results and one's own, ranked among those of one kind, with intervals and ties."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.leaderboard_output import FORMS, print_json, show, show_further, show_moves, told, write_out
from avbench.commands.shared import bar, check_least, command_parser, log, names, parse
from avbench.errors import UsageError, unknown_name
from avbench.request import ALL
from avbench.selection import rules_named

if TYPE_CHECKING:
    from avbench.leaderboards.board_pools import Pool
    from avbench.leaderboards.boards import Board
    from avbench.leaderboards.entries import Entry
    from avbench.leaderboards.published_boards import PublishedBoard

EXAMPLES = """\
  avbench leaderboard                                  one split, under the protocol common
  avbench leaderboard --runs runs                      with your own results beside, on a board of their own
  avbench leaderboard --split demo --protocol jsa,common --selection last
  avbench leaderboard --split all --protocol all --out boards.csv
  avbench leaderboard --moves                          how the ranks move with the protocol
  avbench leaderboard --split vggss --badge paper      what papers print of a split
  avbench leaderboard --check                          everything that is wrong with the accepted records
"""
PAPER = "paper"
DEFAULT_SPLIT, DEFAULT_PROTOCOL = "demo", "common"


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0, of ``--check`` 1 if anything is wrong."""
    options = parse(_parser(), given)
    if options.check is not None:
        return _check(Path(options.check) if options.check else None)
    _check_options(options)
    everything = _pools(options)
    shown = _chosen(everything, options)
    published = _published(shown, options)
    if not shown and not published:
        raise UsageError(
            f"expected boards of {_asked(options)}, there are {told(everything)}: ask for less, or name --runs"
        )
    found = _boards(shown, published, options)
    if options.out:
        write_out(found, published, Path(options.out))
    if options.json:
        print_json(found, published)
    else:
        show(found, published)
        if options.moves:
            show_moves(everything, shown, _named(options.metric, "metric"))
        show_further(everything, shown)
    return 0


def _asked(options: Namespace) -> str:
    named = {name: getattr(options, name) for name in ("split", "protocol", "selection", "badge")}
    return " ".join(f"--{name} {given}" for name, given in named.items() if given) or "accepted results"


def _parser() -> ArgumentParser:
    parser = command_parser(
        "leaderboard",
        "Rank accepted results, each with those of its kind alone: one list of samples, protocol, badge, selection.",
        EXAMPLES,
    )
    which = parser.add_argument_group("which boards")
    which.add_argument(
        "--split", type=str, default=None, help="names, or all (default: demo, or the first of your own, or of all)"
    )
    which.add_argument("--protocol", type=str, default=None, help="names, or all (default: common, or else the first)")
    which.add_argument("--selection", type=str, default=None, help="last, validation, unknown, oracle (default: all)")
    which.add_argument("--badge", type=str, default=None, help="verified, submitted, local, paper (default: all)")
    which.add_argument("--runs", nargs="+", type=str, default=[], metavar="RUN", help="your own runs folders: local")
    what = parser.add_argument_group("what they show")
    what.add_argument("--metric", type=str, default=None, help="ids, the first orders (default: the protocol's own)")
    what.add_argument("--method", type=str, default=None, help="show these and the controls, ranked among all")
    what.add_argument("--moves", action="store_true", help="also how the ranks move under the other protocols")
    what.add_argument("--resamples", type=int, default=10_000, help="of the bootstrap (default: 10000)")
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    output.add_argument("--out", type=str, default=None, metavar="FILE", help="also write .md, .csv, .tex or .json")
    output.add_argument(
        "--check",
        nargs="?",
        type=str,
        const="",
        default=None,
        metavar="DIR",
        help="instead, check accepted records, those of avbench unless a folder is named: exit code 1 if any is wrong",
    )
    return parser


def _check(folder: Path | None) -> int:
    from avbench.leaderboards.entry_checks import problems
    from avbench.leaderboards.entry_files import RECORDS, read_entries

    place = folder or RECORDS
    found = problems(place)
    for problem in found:
        print(problem)
    if found:
        return 1
    entries = read_entries(place)
    print(f"nothing is wrong with {len(entries)} entries, {sum(len(entry.records) for entry in entries)} records")
    return 0


def _check_options(options: Namespace) -> None:
    check_least("--resamples", options.resamples, 1)
    if options.out is not None and Path(options.out).suffix not in FORMS:
        raise UsageError(f"expected --out FILE ending in .md, .csv, .tex or .json, got {options.out!r}")


def _pools(options: Namespace) -> list[Pool]:
    from avbench.leaderboards.board_pools import pools
    from avbench.leaderboards.entry_files import read_entries

    entries: list[Entry] = read_entries()
    if options.runs:
        from avbench.leaderboards.local_entries import entries_of_runs

        entries += entries_of_runs([Path(place) for place in options.runs], note=log)
    return pools(entries, _named(options.metric, "metric"))


def _named(text: str | None, kind: str) -> list[str]:
    return [] if text is None else names(text, kind)


def _chosen(everything: Sequence[Pool], options: Namespace) -> list[Pool]:
    """The boards that are asked for."""
    from avbench.leaderboards.board_pools import BADGES
    from avbench.leaderboards.selections import RANKED

    selections = rules_named(_named(options.selection, "selection"), RANKED)
    badges = _named(options.badge, "badge")
    for badge in badges:
        if badge not in (*BADGES, PAPER):
            raise unknown_name("badge", badge, (*BADGES, PAPER), f"the list {', '.join((*BADGES, PAPER))}")
    found = [pool for pool in everything if not badges or pool.head.badge in badges]
    found = [pool for pool in found if not selections or {*pool.selections} & {*selections}]
    own = [pool.head.split for pool in found if pool.head.badge == "local"]
    splits = _wanted(options.split, "split", DEFAULT_SPLIT, own or [pool.head.split for pool in found])
    found = [pool for pool in found if pool.head.split in splits]
    there = [pool.head.protocol for pool in found]
    protocols = _wanted(options.protocol, "protocol", DEFAULT_PROTOCOL, there)
    return [pool for pool in found if pool.head.protocol in protocols]


def _wanted(text: str | None, kind: str, default: str, there: Sequence[str]) -> list[str]:
    """The names asked for; by default one that is there."""
    if text is None:
        return [default] if default in there else list(there[:1])
    return list(there) if text == ALL else names(text, kind)


def _published(shown: Sequence[Pool], options: Namespace) -> list[PublishedBoard]:
    """Published numbers of the splits asked for; by default of those shown."""
    badges = _named(options.badge, "badge")
    if badges and PAPER not in badges:
        return []
    from avbench.leaderboards.published_boards import published_board
    from avbench.leaderboards.published_names import TEST_SETS

    splits = [pool.head.split for pool in shown]
    if options.split == ALL or (options.split is None and badges == [PAPER]):
        splits += [split for split in TEST_SETS.values() if split]
    elif options.split is not None:
        splits += names(options.split, "split")
    methods, metrics = _named(options.method, "method"), _named(options.metric, "metric")
    boards = [published_board(split, methods=methods, metrics=metrics) for split in dict.fromkeys(splits)]
    return [board for board in boards if board is not None]


def _boards(shown: Sequence[Pool], published: Sequence[PublishedBoard], options: Namespace) -> list[Board]:
    from avbench.leaderboards.boards import board_of, of_methods

    methods = _named(options.method, "method")
    known = {row.record.method for pool in shown for row in pool.rows}
    known |= {line.method for board in published for line in board.lines if line.method}
    for method in methods:
        if method not in known:
            raise unknown_name("method on these boards", method, known, "avbench leaderboard")
    with bar("boards", len(shown)) as advance:
        found = []
        for pool in shown:
            board = board_of(pool, options.resamples)
            found.append(of_methods(board, methods) if methods else board)
            advance(1)
    return found
