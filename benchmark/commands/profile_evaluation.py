"""``avbench profile evaluation``: how fast a whole evaluation is here, beside the official loop."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.shared import bar, check_device, check_least, command_parser, log, names, parse
from avbench.errors import unknown_name
from avbench.store import PACKAGE

if TYPE_CHECKING:
    from avbench.profiling_evaluation import EvaluationProfile, Oracle
    from avbench.profiling_ways import Timed

ORACLES = PACKAGE.parent / "tests" / "oracles"
"""In a source checkout."""

WANTED = {
    "official_loading.py": ("load_sample",),
    "official_scoring.py": ("PROTOCOLS", "canvas_of", "mask_of", "ciou", "confidence_of"),
    "official_evaluation.py": ("evaluate_sample", "save_made_up"),
}
METHODS = ("ezvsl", "slavc")

EXAMPLES = """\
  avbench profile evaluation                            EZ-VSL and SLAVC, beside the official steps of the checkout
  avbench profile evaluation --method ezvsl --samples 64 --repeats 5
  avbench profile evaluation --device cuda --batch-size 64 --json
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0, or 1 where the official scores and ours differ."""
    options = parse(_parser(), given)
    check_least("--samples", options.samples, 1)
    check_least("--repeats", options.repeats, 1)
    check_device(options.device)
    found = _profile(options, _methods(options.method))
    if options.json:
        json.dump(_as_json(found, options.device), sys.stdout, indent=1)
        print()
    else:
        _show(found)
    if all(one.agrees for one in found):
        return 0
    log("the official scores and ours are not the same: the times are of different work")
    return 1


def _parser() -> ArgumentParser:
    parser = command_parser(
        "profile evaluation",
        "Time whole evaluations with object maps beside the official loop, on made-up samples with made-up weights.",
        EXAMPLES,
    )
    parser.add_argument("--method", type=str, default=",".join(METHODS), help=f"of {', '.join(METHODS)}")
    parser.add_argument("--samples", type=int, default=96, help="how many")
    parser.add_argument("--repeats", type=int, default=3, help="how often everything is timed")
    parser.add_argument("--batch-size", type=int, default=32, help="of ours")
    parser.add_argument(
        "--workers", type=int, default=None, help="decoding processes of ours (default: by the machine)"
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument(
        "--oracle", type=str, default=None, metavar="DIR", help="folder of the official steps (default: the checkout's)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    return parser


def _methods(text: str) -> list[str]:
    found = names(text, "method")
    for name in found:
        if name not in METHODS:
            raise unknown_name(
                "method whose official loop can be profiled", name, METHODS, f"of {', '.join(METHODS)} one"
            )
    return found


def _oracle(options: Namespace) -> Oracle:
    from avbench.profiling import load_oracle
    from avbench.profiling_evaluation import Oracle

    folder = Path(options.oracle) if options.oracle else ORACLES
    return Oracle(*(load_oracle(folder / file, wanted) for file, wanted in WANTED.items()))


def _profile(options: Namespace, methods: Sequence[str]) -> list[EvaluationProfile]:
    from avbench.profiling_evaluation import profile_evaluation
    from avbench.profiling_samples import draw_samples
    from avbench.request import Settings

    oracle = _oracle(options)
    settings = Settings(device=options.device, batch_size=options.batch_size, workers=options.workers)
    with tempfile.TemporaryDirectory() as folder:
        with bar("drawing samples", options.samples) as advance:
            described = draw_samples(Path(folder), options.samples, advance)
        found = []
        for method in methods:
            with bar(f"evaluating {method}", options.repeats * options.samples) as advance:
                found.append(
                    profile_evaluation(
                        method, described, oracle=oracle, settings=settings, repeats=options.repeats, advance=advance
                    )
                )
    return found


def _as_json(found: Sequence[EvaluationProfile], device: str) -> dict[str, Any]:
    from avbench.predicting import resolve_device
    from avbench.provenance import machine, software

    methods = {
        one.method: {
            "samples": one.samples,
            "differences": one.differences,
            "ways": {way.name: _way(way, one.ways[0]) for way in one.ways},
        }
        for one in found
    }
    return {"methods": methods, "machine": machine(str(resolve_device(device))), "software": software()}


def _way(way: Timed, loop: Timed) -> dict[str, Any]:
    return {
        "ms": way.ms,
        "ms_least": way.least_ms,
        "cpu_ms": way.cpu_ms,
        "ratio": way.ratio(loop) if way.beside else None,
        "ratios": way.ratios(loop) if way.beside else None,
        "goal": asdict(way.goal),
    }


def _show(found: Sequence[EvaluationProfile]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console = console if console.is_terminal else Console(width=160)
    for one in found:
        title = f"{one.method} with object maps, {one.samples} samples: medians of {len(one.ways[0].rounds)} repeats"
        table = Table(box=box.SIMPLE, title=title, title_justify="left")
        for number, heading in enumerate(("what", "ms", "least", "CPU ms", "beside the loop", "goal")):
            table.add_column(heading, justify="right" if number in {1, 2, 3} else "left", no_wrap=True)
        for way in one.ways:
            numbers = (f"{way.ms:.1f}", f"{way.least_ms:.1f}", f"{way.cpu_ms:.1f}")
            table.add_row(
                way.name, *numbers, _beside(way, one.ways[0]), f"{way.goal.least:.2f}" if way.goal.least else ""
            )
        console.print(table)
        differences = ", ".join(f"{value:+.1e} ({name})" for name, value in one.differences.items())
        console.print(f"Difference of the mean cIoU from the official one: {differences}.")


def _beside(way: Timed, loop: Timed) -> str:
    if way.beside is None:
        return ""
    return f"{way.ratio(loop):.2f} times as fast (at worst {min(way.ratios(loop)):.2f})"
