"""``avbench sweep``: train and evaluate every row of a table, on one machine or many."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.shared import bar, check_device, check_least, command_parser, folder_path, log, names, parse
from avbench.errors import UsageError, unknown_name
from avbench.recipe import values_given
from avbench.store import home
from avbench.sweeping.files import load_sweep
from avbench.sweeping.locally import Local
from avbench.sweeping.on_ray import OnRay
from avbench.sweeping.on_slurm import OnSlurm
from avbench.sweeping.plan import KEPT, Choices, Entry, Launch, Plan, make_plan
from avbench.sweeping.unit import Where

EXAMPLES = """\
  avbench sweep jsa-supp-3 --jobs 2
  avbench sweep jsa-supp-3 --dry-run
  avbench sweep jsa-supp-5 --seeds 0,1,2 --epochs 2 --out table.tex
  avbench sweep alignment-9 --scale paper --metadata DIR --data ROOT --neighbours audio=vggsound.npy
  avbench sweep jsa-supp-4 --scale paper --data ROOT --launcher ray --ray-address auto --ray-gpus 1
  avbench sweep jsa-supp-6 --scale paper --data ROOT --launcher slurm --slurm partition=gpu,gpus_per_node=1
  avbench sweep mine.toml
"""

FORMS = (".md", ".csv", ".tex")
LAUNCHERS = ("local", "ray", "slurm")
OWN: dict[str, Any] = {"ray_address": None, "ray_cpus": 1.0, "ray_gpus": 0.0, "slurm_folder": None, "slurm": []}
"""Options of one launcher alone, with their defaults."""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0, or 1 where units failed."""
    options = parse(_parser(), given)
    launcher = _checked(options)
    choices = _choices(options, "avbench sweep " + " ".join(given))
    plan = make_plan(load_sweep(options.sweep), choices, bar)
    if options.dry_run:
        _list(plan)
        return 0
    titles = {entry.key: entry.title for entry in reversed(plan.entries)}
    _announce(plan)
    plan.complete(launcher, lambda key, event: log(f"{titles[key]}: {event}"))
    _show(plan, options)
    for key, reason in plan.failed.items():
        log(f"avbench: {titles[key]} failed: {reason}")
    return 1 if plan.failed else 0


def _show(plan: Plan, options: Namespace) -> None:
    from avbench.commands.sweep_output import as_json, as_table
    from avbench.leaderboards.sweep_tables import print_sweep, sweep_text
    from avbench.store import write_atomic

    if options.json:
        json.dump(as_json(plan), sys.stdout, indent=1, allow_nan=False)
        print()
    else:
        print_sweep(as_table(plan))
    if options.out:
        path = Path(options.out)
        write_atomic(path, sweep_text(as_table(plan), path.suffix.removeprefix(".")).encode())
        log(f"table: {path}")


def _announce(plan: Plan) -> None:
    units = {entry.key for entry in plan.entries}
    log(f"{plan.sweep.name} at the scale {plan.scale}: {len(units)} units, {len(plan.missing())} to do")


def _list(plan: Plan) -> None:
    """Every unit once: how far it is, what it is, and where its checkpoint stands or will."""
    said: set[str] = set()
    for entry in plan.entries:
        if entry.key not in said:
            said.add(entry.key)
            print(_described(plan, entry))


def _described(plan: Plan, entry: Entry) -> str:
    settings = ", ".join(f"{key} = {value}" for key, value in entry.unit.settings.items()) or "the recipe's settings"
    place = entry.checkpoint or "known when --data names the media"
    return f"{plan.state(entry):8} {entry.title}: {settings}; {place}"


def _checked(options: Namespace) -> Launch:
    check_device(options.device)
    for name, least in (("epochs", 0), ("workers", 0), ("jobs", 1)):
        check_least(f"--{name}", options[name], least)
    if options.out is not None and Path(options.out).suffix not in FORMS:
        raise UsageError(f"expected --out FILE ending in .md, .csv or .tex, got {options.out!r}")
    folder_path(options.runs, "--runs")
    return _launcher(options)


def _choices(options: Namespace, command: str) -> Choices:
    where = Where(
        folder=str(Path.cwd()),
        store=str(home().absolute()),
        runs=options.runs,
        metadata=options.metadata,
        data=options.data,
        device=options.device,
        workers=options.workers,
        command=command,
    )
    changes: dict[str, Any] = {} if options.epochs is None else {"epochs": options.epochs}
    changes |= _neighbours(options.neighbours)
    changes |= values_given(f"of {options.sweep}", options.recipe_set)
    if "seed" in changes:
        raise UsageError("the seeds of a sweep are named with --seeds: leave seed out of --recipe-set")
    return Choices(where, options.scale, _seeds(options.seeds), changes, options.dry_run)


def _seeds(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    parts = names(text, "seed")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(f"expected --seeds as whole numbers from 0, separated by commas, got {text!r}")
    return tuple(map(int, parts))


def _neighbours(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in given:
        modality, _, source = item.partition("=")
        key = f"{modality}_neighbours"
        if modality not in {"image", "audio"} or not source or key in found:
            raise UsageError(f"expected --neighbours image=SOURCE and audio=SOURCE, each once, got {item!r}")
        found[key] = source
    return found


def _launcher(options: Namespace) -> Launch:
    _refuse_options_of_others(options)
    if options.launcher == "local":
        return Local(options.jobs)
    if options.launcher == "ray":
        return OnRay(options.jobs, options.ray_address, options.ray_cpus, options.ray_gpus)
    folder = options.slurm_folder or str(Path(options.runs) / KEPT / "slurm")
    return OnSlurm(options.jobs, folder_path(folder, "--slurm-folder"), _parameters(options.slurm))


def _refuse_options_of_others(options: Namespace) -> None:
    if options.launcher not in LAUNCHERS:
        raise unknown_name("launcher", options.launcher, LAUNCHERS, f"the list {', '.join(LAUNCHERS)}")
    for name, value in options.items():
        owner = name.partition("_")[0]
        if owner in LAUNCHERS and owner != options.launcher and value != OWN[name]:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} is for --launcher {owner}, this is --launcher {options.launcher}: drop one")
    for name in ("ray_cpus", "ray_gpus"):
        if options[name] < 0:
            raise UsageError(f"expected --{name.replace('_', '-')} of at least 0, got {options[name]}")


def _parameters(given: Sequence[str]) -> dict[str, str | int | float]:
    found: dict[str, str | int | float] = {}
    for item in [part for text in given for part in names(text, "parameter of SLURM")]:
        key, _, value = item.partition("=")
        if not key or not value or key in found:
            raise UsageError(f"expected --slurm KEY=VALUE, each key once, got {item!r}")
        found[key] = _number(value)
    return found


def _number(text: str) -> str | int | float:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _parser() -> ArgumentParser:
    parser = command_parser(
        "sweep", "Train and evaluate every row of a table; what is known already is not done again.", EXAMPLES
    )
    parser.add_argument("sweep", type=str, help="a name of avbench list sweeps, or FILE.toml")
    _add_choices(parser)
    _add_launchers(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--dry-run", action="store_true", help="list the units and how far each is, and do nothing")
    output.add_argument("--json", action="store_true", help="print units and records as JSON, nothing else on stdout")
    output.add_argument("--out", type=str, default=None, metavar="FILE", help="also write the table: .md, .csv or .tex")
    output.add_argument(
        "--runs", type=str, default="runs", metavar="DIR", help="folder of predictions, records and logs"
    )
    return parser


def _add_choices(parser: ArgumentParser) -> None:
    what = parser.add_argument_group("what is trained and tested")
    what.add_argument("--scale", type=str, default=None, help="demo (the default) or paper, or one of your file's own")
    what.add_argument("--seeds", type=str, default=None, metavar="N,N", help="instead of the recipe's one")
    what.add_argument("--epochs", type=int, default=None, help="instead of the recipe's; the table says so")
    what.add_argument(
        "--recipe-set", action="append", default=[], metavar="KEY=VALUE",
        help="a value of the recipe, such as batch_size=128; the table says so",
    )  # fmt: skip
    what.add_argument(
        "--neighbours", action="append", default=[], metavar="MODALITY=SOURCE",
        help="image=... and audio=...: an encoder or a table of avbench neighbours, instead of the recipe's",
    )  # fmt: skip
    what.add_argument(
        "--metadata", type=str, default=None, metavar="DIR", help="folder with the official annotation files"
    )
    what.add_argument("--data", type=str, default=None, metavar="ROOT", help="folder with frames/ and audio/")


def _add_launchers(parser: ArgumentParser) -> None:
    how = parser.add_argument_group("where it runs")
    how.add_argument("--launcher", type=str, default="local", help=f"{', '.join(LAUNCHERS)} (default: local)")
    how.add_argument("--jobs", type=int, default=1, help="units at a time; a cluster of Ray's decides by itself")
    how.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1")
    how.add_argument("--workers", type=int, default=None, help="decoding processes of a unit (default: by the machine)")
    how.add_argument("--ray-address", type=str, default=None, help="of a running cluster, or auto")
    how.add_argument("--ray-cpus", type=float, default=OWN["ray_cpus"], help="processors of a unit (default: 1)")
    how.add_argument("--ray-gpus", type=float, default=OWN["ray_gpus"], help="GPUs of a unit (default: 0)")
    how.add_argument("--slurm-folder", type=str, default=None, metavar="DIR", help="of submitit's own files")
    how.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE",
        help="partition=..., gpus_per_node=1, timeout_min=60, ...; cluster=local runs without SLURM",
    )  # fmt: skip
