"""``avbench profile train``: how fast training is here, stage by stage, and beside the official steps."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.shared import (
    ALL,
    bar,
    check_device,
    check_least,
    command_parser,
    log,
    names,
    optional_path,
    parse,
)
from avbench.errors import UsageError
from avbench.registry import describe, find_method
from avbench.store import PACKAGE, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from avbench.data.splits import Split
    from avbench.profiling_stages import Setup
    from avbench.profiling_training import OfficialProfile, Oracle, TrainingProfile
    from avbench.profiling_ways import Way

ORACLES = PACKAGE.parent / "tests" / "oracles"
"""In a source checkout."""

WANTED = {
    "official_loading.py": ("load_sample",),
    "official_evaluation.py": ("METHODS",),
    "official_training.py": ("loader", "optimizer_of", "training_step"),
}
PRECISIONS = ("fp32", "bf16", "fp16")
STEPS = {"cpu": 3, "cuda": 60}
FEWEST = 128
"""Samples that are drawn unless told otherwise; two batches where that is more."""

EXAMPLES = """\
  avbench profile train                        EZ-VSL at batch 32, beside the official steps of the source checkout
  avbench profile train --method ezvsl,jsa --width 0.25 --oracle none --json
  avbench profile train --method all --batch-size 256 --precision bf16 --packed --device cuda
"""


@dataclass(frozen=True)
class _Found:
    """What was measured, and why nothing was compared with the official steps where that is so."""

    methods: list[TrainingProfile]
    official: OfficialProfile | None
    alone: str


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0, or 1 where the official loss and ours differ."""
    options = parse(_parser(), given)
    _check(options)
    found = _profile(options, _methods(options.method))
    if options.out is not None:
        write_json(Path(options.out), _as_json(found))
    if options.json:
        json.dump(_as_json(found), sys.stdout, indent=1)
        print()
    else:
        _show(found)
    if found.official is None or found.official.agrees:
        return 0
    log("the official loss and ours are not the same: the times are of different work")
    return 1


def _parser() -> ArgumentParser:
    parser = command_parser(
        "profile train",
        "Time training on made-up samples with made-up weights: its stages, the loop beside a bare one, and EZ-VSL's "
        "steps beside the official ones, in one run.",
        EXAMPLES,
    )
    what = parser.add_argument_group("what is trained")
    what.add_argument("--method", type=str, default="ezvsl", help="names, or all: the six methods")
    what.add_argument("--batch-size", type=int, default=32, help="pairs a step")
    what.add_argument("--precision", type=str, default="fp32", help=f"of {', '.join(PRECISIONS)}")
    what.add_argument("--width", type=float, default=1.0, help="of the trunks, 1 as published")
    what.add_argument("--samples", type=int, default=None, help="how many are drawn (default: 128, or two batches)")
    what.add_argument("--packed", action="store_true", help="feed from shards, with sounds in 16 bits")
    how = parser.add_argument_group("how")
    how.add_argument("--steps", type=int, default=None, help="that count (default: 3, on a GPU 60)")
    how.add_argument("--repeats", type=int, default=3, help="how often the loops stand beside each other")
    how.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1")
    how.add_argument("--workers", type=int, default=None, help="decoding processes (default: by the machine)")
    how.add_argument(
        "--oracle",
        type=str,
        default=None,
        metavar="DIR",
        help="folder of the official steps, or none (default: the checkout's, where the two can be compared)",
    )
    parser.add_argument("--out", type=str, default=None, metavar="FILE", help="write the JSON object to this file too")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    return parser


def _check(options: Namespace) -> None:
    for name, least in (("batch_size", 2), ("samples", 1), ("steps", 1), ("repeats", 1), ("workers", 0)):
        check_least(f"--{name.replace('_', '-')}", options[name], least)
    check_device(options.device)
    if options.precision not in PRECISIONS:
        raise UsageError(f"expected --precision of {', '.join(PRECISIONS)}, got {options.precision!r}")
    if not 0 < options.width <= 1:
        raise UsageError(f"expected --width above 0 and at most 1, got {options.width:g}")
    if options.samples is not None and options.samples < options.batch_size:
        raise UsageError(
            f"a batch of {options.batch_size} needs as many samples, and --samples draws {options.samples}: "
            "raise --samples, or lower --batch-size"
        )
    if options.out is not None and not options.out.endswith(".json"):
        raise UsageError(f"expected --out FILE ending in .json, got {options.out!r}")


def _methods(text: str) -> list[str]:
    """The methods that are named, each of them one with a recipe for the training list."""
    from avbench.profiling_data import METHODS
    from avbench.profiling_training import TRAINED_ON
    from avbench.recipe import load_recipe

    found = [name for part in names(text, "method") for name in (METHODS if part == ALL else (part,))]
    for name in found:
        info = describe(find_method(name))
        if info.control or not info.trainable:
            raise UsageError(f"{name} learns nothing step by step: name one of {', '.join(METHODS)}")
        load_recipe(name, TRAINED_ON)
    return list(dict.fromkeys(found))


def _profile(options: Namespace, methods: Sequence[str]) -> _Found:
    from avbench.profiling_training import profile_official, profile_training, steps_of

    setup = _setup(options)
    alone = _cannot_compare(options, methods, setup)
    oracle = None if alone else _oracle(options)
    with tempfile.TemporaryDirectory() as folder:
        plain, fed = _splits(options, Path(folder), setup.workers)
        found = []
        for name in methods:
            with bar(f"training {name}", steps_of(setup)) as advance:
                found.append(profile_training(name, fed, setup, advance=advance))
        if oracle is None:
            return _Found(found, None, alone)
        with bar("training ezvsl beside the official steps", setup.repeats * setup.steps) as advance:
            return _Found(found, profile_official(plain, setup, oracle, advance=advance), "")


def _setup(options: Namespace) -> Setup:
    from avbench.predicting import decoding_processes, resolve_device
    from avbench.profiling_stages import Setup
    from avbench.request import Settings

    device = resolve_device(options.device)
    return Setup(
        device=device,
        batch_size=options.batch_size,
        steps=options.steps or STEPS[device.type],
        repeats=options.repeats,
        precision=options.precision,
        width=options.width,
        workers=decoding_processes(Settings(device=options.device, workers=options.workers)),
    )


def _cannot_compare(options: Namespace, methods: Sequence[str], setup: Setup) -> str:
    """Why the official steps are not timed; empty where they are.

    Raises:
        UsageError: where they were asked for and cannot be.
    """
    if options.oracle == "none":
        return "--oracle none"
    reasons = {
        "they train EZ-VSL": "ezvsl" not in methods,
        "they are timed on the CPU": setup.device.type != "cpu",
        "they know full width alone": setup.width != 1,
        "they compute in fp32": setup.precision != "fp32",
        "the source checkout is not at hand": options.oracle is None and not ORACLES.is_dir(),
    }
    reason = next((reason for reason, holds in reasons.items() if holds), "")
    if reason and options.oracle is not None:
        raise UsageError(f"the official steps cannot be timed, since {reason}: change that, or leave --oracle out")
    return reason


def _oracle(options: Namespace) -> Oracle:
    from avbench.profiling import load_oracle
    from avbench.profiling_training import Oracle

    folder = optional_path(options.oracle) or ORACLES
    return Oracle(*(load_oracle(folder / file, wanted) for file, wanted in WANTED.items()))


def _splits(options: Namespace, folder: Path, workers: int) -> tuple[Split, Split]:
    """The samples in plain files, and as they are fed."""
    from avbench.opening import Places, open_split
    from avbench.profiling_data import packed_media
    from avbench.profiling_samples import draw_samples

    count = options.samples or max(FEWEST, 2 * options.batch_size)
    with bar("drawing samples", count) as advance:
        split = open_split(str(draw_samples(folder / "noise", count, advance)), Places())
    if not options.packed:
        return split, split
    with bar("packing, for evaluation and for training", 2 * count) as advance:
        media = packed_media(split, folder, workers=workers, advance=advance)
    return split, media.training or split


def _as_json(found: _Found) -> dict[str, Any]:
    from avbench.provenance import machine, software

    official, setup = found.official, found.methods[0].setup
    return {
        "setup": {**asdict(setup), "device": str(setup.device)},
        "methods": {one.method: _method(one) for one in found.methods},
        "official": None
        if official is None
        else {"difference": official.difference, "ways": _ways(official.ways, setup.batch_size)},
        "machine": machine(str(setup.device)),
        "software": software(),
    }


def _method(one: TrainingProfile) -> dict[str, Any]:
    from avbench.profiling_stages import STAGES
    from avbench.profiling_training import GOALS

    return {
        "per_second": one.per_second,
        "goal_per_second": GOALS.get(one.method),
        "step_ms": one.step_ms,
        "waiting": one.waiting_share,
        "stages": {stage: {"ms": one.ms(stage), "share": one.share(stage)} for stage in STAGES},
        "floor": one.floor,
        "limit": one.limit,
        "ways": _ways(one.ways, one.setup.batch_size),
        "peak_bytes": one.peak_bytes,
        "epoch_seconds": one.epoch_seconds,
        "epochs": one.epochs,
        "training_hours": one.epochs * one.epoch_seconds / 3600,
    }


def _ways(ways: Sequence[Way], batch_size: int) -> dict[str, Any]:
    by_name = {way.name: way for way in ways}
    return {
        way.name: {
            "step_ms": way.ms * batch_size,
            "step_ms_least": way.least_ms * batch_size,
            "cpu_ms": way.cpu_ms * batch_size,
            "beside": way.beside,
            "ratio": way.ratio(by_name[way.beside]) if way.beside else None,
            "ratios": way.ratios(by_name[way.beside]) if way.beside else None,
            "goal": asdict(way.goal),
        }
        for way in ways
    }


def _show(found: _Found) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console = console if console.is_terminal else Console(width=200)
    for one in found.methods:
        console.print(_title(one))
        console.print(_stages(one, Table(box=box.SIMPLE)))
        console.print(_told(one), soft_wrap=True)
    if found.official is None:
        console.print(f"Nothing was compared with the official steps: {found.alone}.")
    else:
        console.print(_compared(found.official, found.methods[0].setup.batch_size), soft_wrap=True)


def _title(one: TrainingProfile) -> str:
    setup = one.setup
    fed = f"{setup.workers} decoding process{'' if setup.workers == 1 else 'es'}"
    return (
        f"{one.method}, batches of {setup.batch_size}, {setup.precision}, width {setup.width:g}, {setup.device}, {fed}"
    )


def _stages(one: TrainingProfile, table: Table) -> Table:
    from avbench.profiling_stages import STAGES

    for heading in ("stage", "ms", "share"):
        table.add_column(heading, justify="left" if heading == "stage" else "right", no_wrap=True)
    for stage in STAGES:
        table.add_row(stage, f"{one.ms(stage):.1f}", f"{100 * one.share(stage):.1f} %")
    return table


def _told(one: TrainingProfile) -> str:
    from avbench.profiling_training import GOALS, OVERHEAD, TRAINED_ON

    bare, preparing, ours = one.ways
    goal = f" (goal on an H100: {GOALS[one.method]:g})" if one.method in GOALS else ""
    ratios = ", ".join(f"{ratio:.3f}" for ratio in ours.ratios(preparing))
    return (
        f"{one.per_second:.1f} pairs a second{goal}, {one.step_ms:.1f} ms a step, "
        f"{100 * one.waiting_share:.1f} % of it waiting for data:\n"
        f"{_time(one.epoch_seconds)} an epoch of {TRAINED_ON}, "
        f"{_time(one.epochs * one.epoch_seconds)} for the recipe's {one.epochs} epochs.\n"
        f"The bare loop on batches that lie ready takes {bare.ms * one.setup.batch_size:.1f} ms a step, "
        f"{100 * one.floor:.1f} % of the step; of what it does without, {one.limit} takes longest.\n"
        f"Our loop takes {ours.ratio(preparing):.3f} times as long as the bare one with the same front-end, "
        f"median of {ratios} (goal: at most {OVERHEAD.most:g}).\n"
        f"At most {one.peak_bytes / 1e9:.2f} GB of tensors.\n"
    )


def _compared(official: OfficialProfile, batch_size: int) -> str:
    theirs, ours = official.ways
    ratios = ", ".join(f"{ratio:.2f}" for ratio in ours.ratios(theirs))
    return (
        f"From files on, an official step of EZ-VSL takes {theirs.ms * batch_size:.0f} ms "
        f"(least {theirs.least_ms * batch_size:.0f}) and one of ours {ours.ms * batch_size:.0f} "
        f"(least {ours.least_ms * batch_size:.0f}): {ours.ratio(theirs):.2f} times as fast, median of {ratios}.\n"
        f"The losses of one batch differ by {official.difference:.1e} of their size."
    )


def _time(seconds: float) -> str:
    if seconds < 180:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3 * 3600 else f"{seconds / 3600:.1f} h"
