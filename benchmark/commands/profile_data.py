"""``avbench profile data``: how fast samples are loaded here, beside the official loaders' steps."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.shared import bar, check_device, check_least, command_parser, log, optional_path, parse
from avbench.errors import UsageError
from avbench.store import PACKAGE

if TYPE_CHECKING:
    from avbench.data.splits import Split
    from avbench.profiling_data import LoadingProfile
    from avbench.profiling_ways import Way

ORACLE = PACKAGE.parent / "tests" / "oracles" / "official_loading.py"
"""In a source checkout."""

WANTED = ("load_sample",)

EXAMPLES = """\
  avbench profile data                         made-up samples; the official steps of the source checkout beside ours
  avbench profile data --data ROOT --split vggss --metadata DIR
  avbench profile data --oracle none --device cuda --workers 16 --samples 4096
  avbench profile data --samples 64 --repeats 1 --json
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0, or 1 where the official loader's tensors and ours differ."""
    options = parse(_parser(), given)
    check_least("--samples", options.samples, 1)
    check_least("--repeats", options.repeats, 1)
    check_least("--workers", options.workers, 0)
    check_device(options.device)
    if options.split is None and (options.data or options.metadata):
        raise UsageError("--data and --metadata say where a split stands, and none is named: add --split NAME")
    found = _profile(options)
    if options.json:
        json.dump(_as_json(found), sys.stdout, indent=1, allow_nan=False)
        print()
    else:
        _show(found)
    if found.agreement is None or found.agreement.holds:
        return 0
    log("the official loader's tensors and ours are not the same: the times are of different work")
    return 1


def _parser() -> ArgumentParser:
    parser = command_parser(
        "profile data", "Time the loading of samples beside the official loaders' steps, in one run.", EXAMPLES
    )
    what = parser.add_argument_group("what is loaded")
    what.add_argument("--samples", type=int, default=256, help="how many, the first of a split that are there")
    what.add_argument("--split", type=str, default=None, help="a name or a YAML file (default: made-up samples)")
    what.add_argument(
        "--metadata", type=str, default=None, metavar="DIR", help="folder with the official annotation files"
    )
    what.add_argument("--data", type=str, default=None, metavar="ROOT", help="folder with the media, not packed")
    how = parser.add_argument_group("how")
    how.add_argument("--repeats", type=int, default=3, help="how often everything is timed")
    how.add_argument("--workers", type=int, default=None, help="decoding processes (default: one per processor)")
    how.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1")
    how.add_argument(
        "--oracle", type=str, default=None, metavar="FILE", help="the official steps, or none (default: the checkout's)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    return parser


def _profile(options: Namespace) -> LoadingProfile:
    from avbench.predicting import resolve_device
    from avbench.profiling import load_oracle
    from avbench.profiling_data import Loading, packed_media, profile_loading

    path = Path(options.oracle) if options.oracle else ORACLE
    oracle = None if options.oracle == "none" else load_oracle(path, WANTED)
    device = resolve_device(options.device)
    workers = len(os.sched_getaffinity(0)) if options.workers is None else options.workers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split = _split(options, folder)
        with bar("packing, for evaluation and for training", 2 * len(split.samples)) as advance:
            media = packed_media(split, folder, workers=workers, advance=advance)
        with bar(f"loading {split.name}", options.repeats * len(split.samples)) as advance:
            loading = Loading(media, device, workers)
            return profile_loading(loading, oracle=oracle, repeats=options.repeats, advance=advance)


def _split(options: Namespace, folder: Path) -> Split:
    from avbench.data.coverage import covered
    from avbench.opening import Places, open_split
    from avbench.profiling_samples import draw_samples

    if options.split is None:
        with bar("drawing samples", options.samples) as advance:
            described = draw_samples(folder / "noise", options.samples, advance)
        return open_split(str(described), Places())
    places = Places(optional_path(options.metadata), optional_path(options.data))
    split, _ = covered(open_split(options.split, places, bar), ("image", "audio"), allow_missing=True)
    return replace(split, samples=split.samples[: options.samples])


def _as_json(found: LoadingProfile) -> dict[str, Any]:
    from avbench.provenance import machine, software

    agreement = found.agreement
    return {
        "samples": found.samples,
        "workers": found.workers,
        "ways": {way.name: _way(way, found.ways) for way in found.ways},
        "steps": {step.name: {"ms": step.ms, "ms_least": step.least_ms, "of": step.beside} for step in found.steps},
        "limit": found.limit,
        "agreement": None if agreement is None else {**vars(agreement), "largest": _finite(agreement.largest)},
        "machine": machine(found.device),
        "software": software(),
    }


def _way(way: Way, ways: Sequence[Way]) -> dict[str, Any]:
    other = next((other for other in ways if other.name == way.beside), None)
    return {
        "ms": way.ms,
        "ms_least": way.least_ms,
        "cpu_ms": way.cpu_ms,
        "per_second": 1000 / way.ms,
        "bytes_per_second": 1000 * way.source_bytes / way.ms,
        "beside": way.beside,
        "ratio": None if other is None else way.ratio(other),
        "ratios": None if other is None else way.ratios(other),
        "goal": vars(way.goal),
    }


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None


def _show(found: LoadingProfile) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console = console if console.is_terminal else Console(width=200)
    title = f"loading {found.samples} samples on {found.device}: medians of {len(found.ways[0].rounds)} repeats"
    table = Table(box=box.SIMPLE, title=title, title_justify="left")
    for number, heading in enumerate(("what", "ms", "least", "CPU ms", "a second", "MB/s", "beside", "goal")):
        table.add_column(heading, justify="left" if number in {0, 6, 7} else "right", no_wrap=True)
    for way in found.ways:
        speed = 1000 * way.source_bytes / way.ms / 1e6
        numbers = (f"{way.ms:.2f}", f"{way.least_ms:.2f}", f"{way.cpu_ms:.2f}", f"{1000 / way.ms:.0f}", f"{speed:.0f}")
        table.add_row(way.name, *numbers, _beside(way, found.ways), _goal(way))
    console.print(table)
    steps = Table(box=box.SIMPLE, title="one sample, step by step, in one process", title_justify="left")
    for heading in ("step", "ms", "least"):
        steps.add_column(heading, justify="left" if heading == "step" else "right", no_wrap=True)
    for step in found.steps:
        steps.add_row(step.name, f"{step.ms:.3f}", f"{step.least_ms:.3f}")
    console.print(steps)
    console.print(f"From folders, the longest step is: {found.limit}.")
    console.print(_agreement(found))


def _beside(way: Way, ways: Sequence[Way]) -> str:
    other = next((other for other in ways if other.name == way.beside), None)
    if other is None:
        return ""
    least = max(way.ratios(other)) if way.goal.most else min(way.ratios(other))
    what = "times as long as" if way.goal.most else "times as fast as"
    return f"{way.ratio(other):.2f} {what} {other.name} (at worst {least:.2f})"


def _goal(way: Way) -> str:
    goal = way.goal
    found = [f"at least {goal.least:g}"] if goal.least else []
    found += [f"at most {goal.most:g}"] if goal.most else []
    return ", ".join([*found, *([f"{goal.per_second:g} a second"] if goal.per_second else [])])


def _agreement(found: LoadingProfile) -> str:
    agreement = found.agreement
    if agreement is None:
        return "Nothing was compared with the official loader."
    packed = {True: "; packed samples are equal to the bit", False: "; packed samples differ", None: ""}
    return (
        f"Of {agreement.samples} samples {agreement.pictures} have the official loader's picture to the bit and "
        f"{agreement.spectrograms} its log spectrogram within 1e-4 (largest difference {agreement.largest:.1e})"
        f"{packed[agreement.packed]}."
    )
