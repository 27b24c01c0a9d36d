"""``avbench compare``: which differences between stored results mean something."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.scoring import add_choice, choice_of
from avbench.commands.shared import bar, check_least, command_parser, log, names, parse
from avbench.errors import AvbenchError, UsageError
from avbench.records import Record
from avbench.rescoring import rescore
from avbench.selection import rules_named

if TYPE_CHECKING:
    from avbench.leaderboards.compared import By, Comparison, Plan
    from avbench.leaderboards.contestants import Contestant

EXAMPLES = """\
  avbench compare runs                                every method there, on the one split it has
  avbench compare runs --split demo --method ezvsl,jsa
  avbench compare mine/runs theirs/runs --split vggss --common
  avbench compare runs --split demo --method jsa,disc      names a control, so that it is ranked
  avbench compare runs --split demo --metric auc,pixel_ap --by class
  avbench compare runs --split demo --selection oracle     the checkpoints that were best on a test set, alone
  avbench compare runs --split demo --protocol all --out comparison.md
"""
FORMS = (".md", ".csv", ".tex")


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    from avbench.leaderboards.comparison import compare
    from avbench.leaderboards.contestants import told_apart

    options = parse(_parser(), given)
    plan, by = _plan(options), _by(options.by)
    _check_out(options.out)
    protocols = names(options.protocol, "protocol")
    records, doubles = told_apart(rescore([Path(place) for place in options.runs], choice_of(options, protocols), bar))
    if doubles:
        log(f"the same predictions lie in several places and are compared once: {', '.join(doubles)}")
    main_protocol = records[0].protocol
    found = compare([_contestant(record) for record in records if record.protocol == main_protocol], plan)
    if options.out:
        _write(found, records, Path(options.out), by)
    if options.json:
        json.dump(_json(found, records), sys.stdout, indent=1, allow_nan=False)
        print()
    else:
        _show(found, records, by)
    return 0


def _parser() -> ArgumentParser:
    parser = command_parser(
        "compare",
        "Say which differences between stored results mean something: intervals, paired tests, ranks.",
        EXAMPLES,
    )
    parser.add_argument(
        "runs", nargs="+", type=str, metavar="RUN", help="a runs folder, one below its predictions/, or a record"
    )
    add_choice(parser)
    how = parser.add_argument_group("how it is compared")
    how.add_argument(
        "--protocol",
        type=str,
        default="common",
        help="a name (default: common); of several, or all, the first, and how the ranks move under the others",
    )
    how.add_argument(
        "--refine", type=str, default="none", help="none, ogl, iqr, or ogl,iqr: further rows of fused maps"
    )
    how.add_argument("--metric", type=str, default=None, help="ids, separated by commas (default: the protocol's own)")
    how.add_argument(
        "--selection",
        type=str,
        default=None,
        help="of checkpoints: last, validation, unknown or oracle, each ranked alone (default: the first of these that "
        "is there), or unknown beside last or validation",
    )
    how.add_argument("--common", action="store_true", help="compare on the samples that all rows have")
    how.add_argument("--resamples", type=int, default=10_000, help="of the bootstrap (default: 10000)")
    how.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--by", type=str, default=None, help="size, class, both or none (default: sizes and the most different classes)"
    )
    output.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    output.add_argument(
        "--out", type=str, default=None, metavar="FILE", help="also write the comparison as .md, .csv or .tex"
    )
    return parser


def _plan(options: Namespace) -> Plan:
    from avbench.leaderboards.compared import Plan
    from avbench.leaderboards.selections import RANKED

    check_least("--resamples", options.resamples, 1)
    check_least("--seed", options.seed, 0)
    return Plan(
        metrics=tuple(names(options.metric, "metric")) if options.metric is not None else (),
        common=options.common,
        resamples=options.resamples,
        seed=options.seed,
        ranked=tuple(names(options.method, "method")) if options.method is not None else (),
        selections=tuple(rules_named(names(options.selection, "selection"), RANKED))
        if options.selection is not None
        else (),
    )


def _by(text: str | None) -> list[By] | None:
    from avbench.leaderboards.compared import By

    if text is None or text == "none":
        return None if text is None else []
    parts = names(text, "division")
    if not set(parts) <= set(get_args(By)):
        raise UsageError(f"expected --by size, class, size,class or none, got {text!r}")
    return cast("list[By]", parts)


def _contestant(record: Record) -> Contestant:
    import pandas as pd

    from avbench.leaderboards.contestants import Contestant
    from avbench.scoring import per_sample_path

    path = per_sample_path(record)
    try:
        return Contestant(record, pd.read_parquet(path))
    except (OSError, ValueError) as problem:  # pyarrow's errors are of the second kind
        raise AvbenchError(
            f"the per-sample values {path} cannot be read ({problem}): delete them and compare again"
        ) from None


def _json(found: Comparison, records: Sequence[Record]) -> dict[str, object]:
    from avbench.leaderboards.comparison_text import comparison_json, plain
    from avbench.leaderboards.sensitivity_text import sensitivities

    return {
        **comparison_json(found),
        "sensitivity": [plain(asdict(table)) for table in sensitivities(records, found.selections)],
    }


def _show(found: Comparison, records: Sequence[Record], by: Sequence[By] | None) -> None:
    from avbench.leaderboards.comparison_text import print_comparison
    from avbench.leaderboards.sensitivity_text import print_sensitivity

    print_comparison(found, by)
    print_sensitivity(records, found.selections)


def _check_out(out: str | None) -> None:
    if out is not None and Path(out).suffix not in FORMS:
        raise UsageError(f"expected --out FILE ending in .md, .csv or .tex, got {out!r}")


def _write(found: Comparison, records: Sequence[Record], path: Path, by: Sequence[By] | None) -> None:
    from avbench.leaderboards.comparison_text import comparison_text
    from avbench.leaderboards.sensitivity_text import sensitivity_text
    from avbench.store import write_atomic

    form = path.suffix.removeprefix(".")
    moved = "" if form == "csv" else sensitivity_text(records, form, found.selections)
    write_atomic(path, (comparison_text(found, form, by) + (f"\n{moved}" if moved else "")).encode())
    log(f"comparison: {path}")
