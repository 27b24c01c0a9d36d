"""``avbench table``: a paper's table, its numbers beside ours."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.shared import bar, check_device, check_least, command_parser, log, parse, picture_path
from avbench.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from avbench.device_costs import DeviceCost
    from avbench.leaderboards.entries import Entry
    from avbench.leaderboards.paper_cells import Filled
    from avbench.leaderboards.paper_text import Shown

ALL = "all"
SUFFIXES = {".md": "md", ".csv": "csv", ".tex": "latex", ".html": "html"}
FORMS = tuple(SUFFIXES.values())

EXAMPLES = """\
  avbench table jsa-supp-1
  avbench table alignment-1 --how                      with the commands that fill its blank cells
  avbench table jsa-supp-3 --runs runs                 results of your own among ours, marked local
  avbench table slavc-supp-1 --format latex
  avbench table oassl-supp-4 --device cuda --batch-size 64 --remeasure
  avbench table all --out tables.html
  avbench table all --json
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    options = parse(_parser(), given)
    names, form, out = _checked(options)
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # PyTorch's profiler complains of every missing GPU; read at import
    from avbench.leaderboards.paper_cells import filled
    from avbench.leaderboards.paper_commands import steps
    from avbench.leaderboards.paper_text import cells_json, tables_text
    from avbench.leaderboards.published_tables import published_table

    entries = _entries(options)
    tables = [_counted(filled(published_table(name), entries)) for name in names]
    costs = _costs(tables, options)
    shown = [_shown(table, form, costs) for table in tables]
    found = steps(tables) if options.how else []
    text = tables_text(shown, form, found)
    if options.json:
        how = {"how": [vars(step) for step in found]} if options.how else {}
        measured = {"costs": [vars(cost) for cost in costs]} if costs else {}
        json.dump({"cells": cells_json(shown), **measured, **how}, sys.stdout, indent=1, allow_nan=False)
        print()
    elif out is None:
        print(text, end="")
    if out is not None:
        _write(out, text)
    return 0


def _checked(options: Namespace) -> tuple[Sequence[str], str, Path | None]:
    """The tables, the form and the file; refuses what cannot be done before anything is measured."""
    from avbench.leaderboards.published_tables import table_ids

    if options.table not in {ALL, *table_ids()}:
        raise unknown_name("table", options.table, [ALL, *table_ids()], "avbench list tables")
    check_device(options.device)
    check_least("--batch-size", options.batch_size, 1)
    out = None if options.out is None else picture_path(options.out, tuple(SUFFIXES))
    form = _form(options.format, out)
    if options.how and form == "csv" and not options.json:
        raise UsageError("--how has no place in CSV, which holds the cells alone: choose another format, or --json")
    return (table_ids() if options.table == ALL else (options.table,)), form, out


def _form(asked: str | None, out: Path | None) -> str:
    if asked is not None and asked not in FORMS:
        raise unknown_name("format", asked, FORMS, f"the list {', '.join(FORMS)}")
    by_suffix = None if out is None else SUFFIXES[out.suffix]
    if asked and by_suffix and asked != by_suffix:
        raise UsageError(f"--format {asked} and --out {out} ask for different forms: leave one of them out")
    return asked or by_suffix or "md"


def _entries(options: Namespace) -> list[Entry]:
    """What was accepted, and what is in the user's own folders."""
    from avbench.leaderboards.entry_files import read_entries

    found = read_entries()
    if options.runs:
        from avbench.leaderboards.local_entries import entries_of_runs

        found += entries_of_runs([Path(place) for place in options.runs], note=log)
    return found


def _counted(table: Filled) -> Filled:
    from avbench.leaderboards.paper_costs import counts_parameters, with_sizes

    if not counts_parameters(table.table):
        return table
    from avbench.device_costs import count_parameters

    return with_sizes(table, count_parameters)


def _costs(tables: Sequence[Filled], options: Namespace) -> list[DeviceCost]:
    """What our methods cost here, where a table asks for it."""
    from avbench.leaderboards.paper_costs import times_methods

    if not any(times_methods(table.table) for table in tables):
        return []
    from avbench.device_costs import device_costs, trained_methods

    return device_costs(
        trained_methods(), device=options.device, batch_size=options.batch_size, again=options.remeasure, progress=bar
    )


def _shown(table: Filled, form: str, costs: Sequence[DeviceCost]) -> Shown:
    from avbench.leaderboards.paper_costs import times_methods, told, with_costs
    from avbench.leaderboards.paper_text import Shown, paper_grid

    grid = paper_grid(table, form)
    if not times_methods(table.table):
        return Shown(table, grid)
    return Shown(table, with_costs(grid, costs), told(table.table, costs))


def _write(out: Path, text: str) -> None:
    from avbench.store import write_atomic

    write_atomic(out, text.encode())
    log(f"table: {out}")


def _parser() -> ArgumentParser:
    parser = command_parser("table", "Print a paper's table, its numbers beside ours.", EXAMPLES)
    parser.add_argument("table", type=str, help="an id of avbench list tables, or all")
    parser.add_argument("--format", type=str, default=None, help=f"{', '.join(FORMS)} (default: by --out, else md)")
    parser.add_argument("--how", action="store_true", help="also the commands that would fill the blank cells")
    parser.add_argument(
        "--runs", nargs="+", type=str, default=[], metavar="DIR", help="runs folders of your own; marked local"
    )
    parser.add_argument(
        "--out", type=str, default=None, metavar="FILE", help="write a file (.md, .csv, .tex, .html) instead of stdout"
    )
    parser.add_argument("--json", action="store_true", help="print cells as JSON, nothing else on stdout")
    costs = parser.add_argument_group("what methods cost here (oassl-supp-4)")
    costs.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1")
    costs.add_argument("--batch-size", type=int, default=None, help="samples of a batch (default: 4, on a GPU 32)")
    costs.add_argument("--remeasure", action="store_true", help="measure again what was measured on this device")
    return parser
