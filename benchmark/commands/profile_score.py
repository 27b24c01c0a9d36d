"""``avbench profile score``: how fast scoring is here, beside the official evaluators' steps."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.shared import bar, check_least, command_parser, optional_path, parse
from avbench.store import PACKAGE

if TYPE_CHECKING:
    from avbench.profiling import ScoringProfile, Step

ORACLE = PACKAGE.parent / "tests" / "oracles" / "official_scoring.py"
"""In a source checkout."""

EXAMPLES = """\
  avbench profile score                        made-up boxes; the official steps of the source checkout beside it
  avbench profile score --metadata DIR         the real boxes of VGG-SS
  avbench profile score --samples 512 --json
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    options = parse(_parser(), given)
    found = _profile(options)
    if options.json:
        json.dump(_as_json(found), sys.stdout, indent=1)
        print()
    else:
        _show(found)
    return 0


def _parser() -> ArgumentParser:
    parser = command_parser(
        "profile score", "Time scoring beside the official evaluators' steps, in one run.", EXAMPLES
    )
    parser.add_argument("--samples", type=int, default=5158, help="maps to score")
    parser.add_argument(
        "--oracle", type=str, default=None, metavar="FILE", help="the official steps, or none (default: the checkout's)"
    )
    parser.add_argument("--oracle-samples", type=int, default=42, help="maps that the official steps score")
    parser.add_argument(
        "--metadata", type=str, default=None, metavar="DIR", help="folder with the official annotation files"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    return parser


def _profile(options: Namespace) -> ScoringProfile:
    from avbench.profiling import Steps, load_oracle, profile_scoring

    check_least("--samples", options.samples, 1)
    check_least("--oracle-samples", options.oracle_samples, 1)
    module = None if options.oracle == "none" else load_oracle(Path(options.oracle) if options.oracle else ORACLE)
    oracle = Steps(module, options.oracle_samples) if module else None
    with bar("scoring", options.samples) as advance:
        return profile_scoring(options.samples, _boxes(optional_path(options.metadata)), oracle=oracle, advance=advance)


def _boxes(metadata: Path | None) -> list[Any] | None:
    if metadata is None:
        return None
    from avbench.data.splits import load_split

    return [sample.boxes for sample in load_split("vggss", metadata=metadata).samples]


def _as_json(found: ScoringProfile) -> dict[str, Any]:
    from avbench.provenance import machine, software

    steps = {
        step.name: {
            "size": step.size,
            "seconds": step.ours.wall / max(_rounds(step), 1),
            "cpu_seconds": step.ours.cpu / max(_rounds(step), 1),
            "ratio": step.ratio,
            "goal_seconds": step.goal[0],
            "goal_ratio": step.goal[1],
        }
        for step in found.steps
    }
    known = {"samples": found.samples, "protocols": found.protocols, "peak_bytes": found.peak_bytes}
    return {**known, "steps": steps, "machine": machine("cpu"), "software": software()}


def _rounds(step: Step) -> int:
    """How many times the whole of a step was timed; the maps are one whole."""
    return 1 if step.name.startswith("maps") else step.ours.items


def _show(found: ScoringProfile) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, title=f"scoring on {found.threads} threads", title_justify="left")
    for number, heading in enumerate(("what", "seconds", "CPU seconds", "in plain steps", "goal")):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for step in found.steps:
        rounds = _rounds(step)
        ratio = "" if step.ratio is None else f"{step.ratio:.1f} times as long"
        goal = f"{step.goal[0]:g} s" + (f", {step.goal[1]:g} times" if step.goal[1] else "")
        table.add_row(step.size, _seconds(step.ours.wall / rounds), _seconds(step.ours.cpu / rounds), ratio, goal)
    console = Console()
    console = console if console.is_terminal else Console(width=200)
    console.print(table)
    peaks = ", ".join(f"{bytes_ / 2**20:.0f} MB for {count}" for count, bytes_ in found.peak_bytes.items())
    console.print(f"Memory beyond the imported libraries at its highest: {peaks} samples.")


def _seconds(value: float) -> str:
    return f"{value:.4f}" if value < 0.1 else f"{value:.2f}"
