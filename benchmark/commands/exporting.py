"""``avbench export``: truth and predictions in a form that other tools open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.scoring import add_choice, choice_of
from avbench.commands.shared import bar, command_parser, log, names, parse
from avbench.errors import UsageError
from avbench.metrics.protocols import PROTOCOLS
from avbench.request import ALL, protocol_called
from avbench.rescoring import Group, groups_of

EXAMPLES = """\
  avbench export runs --split demo -o coco
  avbench export runs --split demo --method ezvsl --protocol ezvsl -o coco
  avbench export runs --split demo --truth masks -o coco
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    options = parse(_parser(), given)
    _check(options)
    choice = choice_of(options, names(options.protocol, "protocol"))
    groups = groups_of([Path(place) for place in options.runs], choice)
    if len(groups) > 1:
        found = ", ".join(dict.fromkeys(group.tasks[0].stored.split for group in groups))
        raise UsageError(f"expected predictions of one list of samples, found {len(groups)} ({found}): name a --split")
    _check_names(groups[0])
    _export(groups[0], options)
    return 0


def _check_names(group: Group) -> None:
    """Files are named by the method: two predictions of one would overwrite each other."""
    folders: dict[str, str] = {}
    for stored in (task.stored for task in group.tasks):
        if stored.title in folders:
            raise UsageError(
                f"expected one set of predictions of {stored.title}, found {folders[stored.title]} and "
                f"{stored.folder.name}: name the folder of one"
            )
        folders[stored.title] = stored.folder.name


def _parser() -> ArgumentParser:
    parser = command_parser("export", "Write truth and stored predictions in COCO's form.", EXAMPLES)
    parser.add_argument(
        "runs", nargs="+", type=str, metavar="RUN", help="a runs folder, one below its predictions/, or a record"
    )
    add_choice(parser)
    how = parser.add_argument_group("what is written")
    how.add_argument("--format", type=str, default="coco", help="coco")
    how.add_argument("--protocol", type=str, default="common", help="whose masks: names, separated by commas")
    how.add_argument(
        "--refine", type=str, default="none", help="none, ogl, iqr, or ogl,iqr: further rows of fused maps"
    )
    how.add_argument("--truth", type=str, default="boxes", help="boxes or masks: what the annotated pixels are")
    how.add_argument(
        "-o", "--out", required=True, type=str, metavar="DIR", help="a folder that is empty or not there yet"
    )
    return parser


def _check(options: Namespace) -> None:
    from avbench.coco import Of

    if options.format != "coco":
        raise UsageError(f"expected --format coco, got {options.format!r}")
    if options.truth not in get_args(Of):
        raise UsageError(f"expected --truth boxes or masks, got {options.truth!r}")
    for name in names(options.protocol, "protocol"):
        if name == ALL or protocol_called(name).truth == "sources":
            single = ", ".join(known for known, protocol in PROTOCOLS.items() if protocol.truth != "sources")
            raise UsageError(f"expected protocols that predict one mask a sample, got {name}: name some of {single}")
    out = Path(options.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"expected an empty folder at {out}, or none: there is something already, name another")


def _export(group: Group, options: Namespace) -> None:
    from avbench.coco import export_predictions, export_truth
    from avbench.truth import read_truth

    truth, out = read_truth(group.truth_path), Path(options.out)
    log(f"truth: {export_truth(truth, out, of=options.truth)}")
    for task in group.tasks:
        with bar(f"exporting {task.stored.title}", len(truth)) as advance:
            files = export_predictions(task, truth, out, prior=group.prior, advance=advance)
        for file in files:
            log(f"results: {file}")
