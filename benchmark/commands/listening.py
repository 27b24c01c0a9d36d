"""``avbench listen``: whether methods listen, from their maps with true, silent, noise and off-screen audio."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from jsonargparse import ArgumentParser, Namespace

from avbench.audio_sets import OFF_SCREEN, OffScreen, negatives
from avbench.commands.running import add_machine, add_places, add_weights, evaluated
from avbench.commands.shared import bar, check_least, command_parser, log, names, optional_path, parse
from avbench.errors import UsageError
from avbench.listening import Plan, listen
from avbench.rescoring import Choice, chosen
from avbench.stored import Stored, find_stored, read_stored

if TYPE_CHECKING:
    from avbench.listening import Answers

EXAMPLES = """\
  avbench run --method jsa,ezvsl --split demo --audio true,silent,noise,offscreen
  avbench listen runs                                   what was predicted there, without media or model
  avbench listen --method jsa,ezvsl --split demo        the same, predicting first what is missing
  avbench listen runs --split demo --method jsa --off-screen swapped
  avbench listen runs --split demo --threshold-from runs/predictions/demo-extended
  avbench listen runs --split demo --out listening.md
"""
FORMS = (".md", ".csv", ".tex")
PREDICTING = ("checkpoint", "set", "metadata", "data", "allow_missing")
"""Options that mean nothing where predictions are given."""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    options = parse(_parser(), given)
    plan = _plan(options)
    _check_out(options.out)
    found = _stored(options) if options.run else _predicted(options, "avbench listen " + " ".join(given))
    answers = _told(listen(found, plan, bar), found)
    _show(answers, as_json=options.json)
    if options.out:
        _write(answers, Path(options.out))
    return 0


def _parser() -> ArgumentParser:
    parser = command_parser(
        "listen",
        "Say whether methods listen: true against silent, noise and off-screen audio, and the universal threshold.",
        EXAMPLES,
    )
    parser.add_argument(
        "run", nargs="*", type=str, metavar="RUN", help="a runs folder, or one below its predictions/; none: predict"
    )
    which = parser.add_argument_group("which predictions, or what is predicted")
    which.add_argument("--method", type=str, default=None, help="names, separated by commas (default: all of RUN)")
    which.add_argument("--split", type=str, default=None, help="names, separated by commas (default: all of RUN)")
    how = parser.add_argument_group("how it is asked")
    how.add_argument(
        "--off-screen",
        type=str,
        default=None,
        help="offscreen (any other clip) or swapped (of another class); default: offscreen, if predicted",
    )
    how.add_argument(
        "--threshold-from", type=str, default=None, metavar="RUN", help="take the universal thresholds from there"
    )
    how.add_argument("--resamples", type=int, default=10_000, help="of the bootstrap (default: 10000)")
    how.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    how.add_argument("--audio-rate", type=str, default="16000", help="Hz, or native as the official loaders do")
    add_weights(parser)
    add_places(parser)
    add_machine(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    output.add_argument(
        "--out", type=str, default=None, metavar="FILE", help="also write the tables as .md, .csv or .tex"
    )
    output.add_argument("--runs", type=str, default="runs", metavar="DIR", help="folder of what is predicted")
    return parser


def _plan(options: Namespace) -> Plan:
    check_least("--resamples", options.resamples, 1)
    check_least("--seed", options.seed, 0)
    if options.off_screen not in {None, *OFF_SCREEN}:
        raise UsageError(f"expected --off-screen offscreen or swapped, got {options.off_screen!r}")
    return Plan(
        off_screen=cast("OffScreen | None", options.off_screen),
        threshold_from=optional_path(options.threshold_from),
        resamples=options.resamples,
        seed=options.seed,
    )


def _stored(options: Namespace) -> list[Stored]:
    for name in PREDICTING:
        if options[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} is for predicting, and {options.run[0]} holds predictions: leave out one "
                "of the two"
            )
    choice = Choice(methods=_named(options.method, "method"), splits=_named(options.split, "split"))
    return chosen(find_stored([Path(place) for place in options.run]), choice)


def _named(text: str | None, kind: str) -> tuple[str, ...]:
    return () if text is None else tuple(names(text, kind))


def _predicted(options: Namespace, command: str) -> list[Stored]:
    """Predictions with all kinds of audio, made now where they are not stored."""
    if options.method is None or options.split is None:
        raise UsageError("expected a RUN with predictions, or --method and --split to predict first: give either")
    off_screen = cast("OffScreen", options.off_screen or OFF_SCREEN[0])
    audio = ",".join(("true", *negatives(off_screen)))
    fixed = {"audio": audio, "protocol": None, "refine": "none", "retrieval": False, "controls": False}
    fixed["selection"] = None
    for name, value in fixed.items():
        options[name] = value
    outcomes = [outcome for found in evaluated(options, command) for outcome in found]
    folders = dict.fromkeys(job.folder for outcome in outcomes for job in outcome.jobs)
    return [read_stored(folder) for folder in folders]


def _told(answers: Answers, found: Sequence[Stored]) -> Answers:
    """The answers with the selection of their checkpoints behind their titles, where tables must tell it."""
    from avbench.leaderboards.selections import CAUTIONS, must_tell

    there = {one.key: one.selection for one in found}
    selections = [there[one.provenance["keys"]["true"]] for one in answers.found]
    if not must_tell(selections):
        return answers
    for selection in CAUTIONS:
        if selection in selections:
            log(CAUTIONS[selection])
    titles = [
        one.title if selection == "none" else f"{one.title}@{selection}"
        for one, selection in zip(answers.found, selections, strict=True)
    ]
    shown = tuple(replace(one, title=title) for one, title in zip(answers.found, titles, strict=True))
    return replace(answers, found=shown)


def _show(answers: Answers, *, as_json: bool) -> None:
    from avbench.leaderboards.listening_text import listening_json, print_listening

    if as_json:
        json.dump(listening_json(answers), sys.stdout, indent=1, allow_nan=False)
        print()
        return
    print_listening(answers)
    for folder in sorted({str(answer.path.parent) for answer in answers.found}):
        log(f"answers: {folder}")


def _check_out(out: str | None) -> None:
    if out is not None and Path(out).suffix not in FORMS:
        raise UsageError(f"expected --out FILE ending in .md, .csv or .tex, got {out!r}")


def _write(answers: Answers, path: Path) -> None:
    from avbench.leaderboards.listening_text import listening_text
    from avbench.store import write_atomic

    write_atomic(path, listening_text(answers, path.suffix.removeprefix(".")).encode())
    log(f"tables: {path}")
