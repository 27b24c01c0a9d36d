"""``avbench score``: score stored predictions again, under any protocol, without media, model or GPU."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.running import SIDE_BY_SIDE, refinements
from avbench.commands.shared import bar, command_parser, log, names, parse
from avbench.errors import UsageError
from avbench.metrics.protocols import PROTOCOLS, get_protocol
from avbench.records import Record
from avbench.request import ALL
from avbench.rescoring import Choice, rescore

EXAMPLES = """\
  avbench score runs                                  every protocol on everything that was ever predicted there
  avbench score runs --split demo --method ezvsl,jsa --protocol common,jsa
  avbench score runs/predictions/demo --refine iqr --out table.md
  avbench score runs --protocol common --detail       all metrics, those that tables leave out as well
  avbench score runs --json
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    options = parse(_parser(), given)
    _check_out(options.out)
    records = rescore([Path(place) for place in options.runs], _choice(options), bar)
    if options.json:
        json.dump([record.as_json() for record in records], sys.stdout, indent=1, allow_nan=False)
        print()
    else:
        _show(records, options)
    if options.out:
        _write(records, Path(options.out), options)
    return 0


def add_choice(parser: ArgumentParser) -> None:
    """The options that choose among stored predictions."""
    which = parser.add_argument_group("which of the predictions")
    which.add_argument("--method", type=str, default=None, help="names, separated by commas (default: all)")
    which.add_argument("--split", type=str, default=None, help="names, separated by commas (default: all)")
    which.add_argument(
        "--audio", type=str, default="true", help="what the methods heard, or all (default: their own sound)"
    )


def choice_of(options: Namespace, protocols: Sequence[str]) -> Choice:
    """What ``options`` choose, under these protocols."""
    audio = () if options.audio == ALL else tuple(names(options.audio, "audio mode"))
    return Choice(
        methods=_named(options.method, "method"),
        splits=_named(options.split, "split"),
        audio=audio,
        refine=refinements(options.refine),
        protocols=tuple(protocols),
    )


def _parser() -> ArgumentParser:
    parser = command_parser(
        "score", "Score stored predictions under any protocol: no media, model or GPU is needed.", EXAMPLES
    )
    parser.add_argument(
        "runs", nargs="+", type=str, metavar="RUN", help="a runs folder, one below its predictions/, or a record"
    )
    add_choice(parser)
    how = parser.add_argument_group("how it is scored")
    how.add_argument("--protocol", type=str, default=ALL, help="names, separated by commas, or all (default: all)")
    how.add_argument(
        "--refine", type=str, default="none", help="none, ogl, iqr, or ogl,iqr: further rows of fused maps"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--detail", action="store_true", help="show the metrics that tables leave out as well")
    output.add_argument("--side-by-side", action="store_true", help=SIDE_BY_SIDE)
    output.add_argument("--json", action="store_true", help="print one JSON array on stdout and nothing else there")
    output.add_argument(
        "--out", type=str, default=None, metavar="FILE", help="also write the tables as .md, .csv or .tex"
    )
    return parser


def _choice(options: Namespace) -> Choice:
    return choice_of(options, _protocols(options))


def _protocols(options: Namespace) -> list[str]:
    return names(options.protocol, "protocol")


def _named(text: str | None, kind: str) -> tuple[str, ...]:
    return () if text is None else tuple(names(text, kind))


def _show(records: Sequence[Record], options: Namespace) -> None:
    """A table per protocol; where all were asked for, the one that ranks and those against other truths, then how the
    ranks move."""
    from avbench.leaderboards.contestants import told_apart
    from avbench.leaderboards.sensitivity_text import print_sensitivity
    from avbench.leaderboards.terminal import print_side_by_side, print_table

    records, _ = told_apart(records)
    every = ALL in _protocols(options)
    printed = print_side_by_side if options.side_by_side else print_table
    printed([record for record in records if not every or _is_shown(record)], detail=options.detail)
    print_sensitivity(records)
    if every:
        log("tables of the other protocols: --protocol NAME, or all of them with --out FILE")
    for folder in sorted({str(record.path.parent) for record in records}):
        log(f"records: {folder}")


def _is_shown(record: Record) -> bool:
    return record.protocol == next(iter(PROTOCOLS)) or get_protocol(record.protocol).truth != "boxes"


def _check_out(out: str | None) -> None:
    if out is not None and Path(out).suffix not in {".md", ".csv", ".tex"}:
        raise UsageError(f"expected --out FILE ending in .md, .csv or .tex, got {out!r}")


def _write(records: Sequence[Record], path: Path, options: Namespace) -> None:
    from avbench.leaderboards.contestants import told_apart
    from avbench.leaderboards.sensitivity_text import sensitivity_text
    from avbench.leaderboards.tables import side_by_side_text, table_text
    from avbench.store import write_atomic

    records, _ = told_apart(records)
    form = path.suffix.removeprefix(".")
    text = (side_by_side_text if options.side_by_side else table_text)(records, form, detail=options.detail)
    if form != "csv":
        text = f"{text}\n{sensitivity_text(records, form)}"
    write_atomic(path, text.encode())
    log(f"tables: {path}")
