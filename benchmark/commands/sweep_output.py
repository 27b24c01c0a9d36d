"""What ``avbench sweep`` shows of a plan: its table and its JSON."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from avbench.leaderboards.sweep_tables import SweepRow, SweepTable
from avbench.records import Record
from avbench.sweeping.files import Row
from avbench.sweeping.plan import Plan
from avbench.sweeping.unit import recipe_called

LISTS = {"VGG-SS": "vggss"}
"""Test lists that papers name in headers, and what the names of their splits begin with."""

DEMO = "demo world, not comparable with the paper's numbers"


def as_table(plan: Plan) -> SweepTable:
    """The table of ``plan``, with what is done; a row of which any seed is missing is blank."""
    sweep = plan.sweep
    return SweepTable(
        caption=_caption(plan),
        notes=_notes(plan),
        row_header=sweep.row_header,
        columns=tuple((_header(column.header, plan.test.name), column.metric) for column in sweep.columns),
        rows=tuple(SweepRow(_labels(plan, row), _records(plan, row), row.default) for row in sweep.rows),
        transposed=sweep.transposed,
    )


def _header(printed: str, test: str) -> str:
    """A column's header as the paper prints it, but for a test list that it names and that was not the one."""
    for title, split in LISTS.items():
        if not test.startswith(split):
            printed = printed.replace(title, test)
    return printed


def as_json(plan: Plan) -> dict[str, Any]:
    """The units of ``plan``, row by row and seed by seed, each with its record, or None and the reason."""
    return {
        "sweep": plan.sweep.name,
        "follows": plan.sweep.follows or None,
        "scale": plan.scale,
        "demo": plan.is_demo,
        "units": [_unit(plan, place) for place in range(len(plan.entries))],
    }


def _unit(plan: Plan, place: int) -> dict[str, Any]:
    entry = plan.entries[place]
    record = plan.record(entry)
    return {
        "unit": entry.key,
        "labels": list(entry.row.labels),
        "default": entry.row.default,
        "seed": entry.seed,
        "epochs": entry.unit.used_recipe.epochs,
        "settings": entry.row.settings_at(plan.scale),
        "checkpoint": str(entry.checkpoint),
        "record": record.as_json() if record else None,
        "failed": plan.failed.get(entry.key),
    }


def _records(plan: Plan, row: Row) -> tuple[Record, ...]:
    found = [plan.record(entry) for entry in plan.entries if entry.row is row]
    whole = [record for record in found if record is not None]
    return tuple(whole) if len(whole) == len(found) else ()


def _labels(plan: Plan, row: Row) -> tuple[str, ...]:
    """The row's labels, the last of which names settings that differ at this scale."""
    own = ", ".join(f"{key} = {value}" for key, value in row.at.get(plan.scale, {}).items())
    return (*row.labels[:-1], f"{row.labels[-1]} (here {own})" if own else row.labels[-1])


def _caption(plan: Plan) -> str:
    scale, recipe = plan.sweep.scales[plan.scale], plan.entries[0].unit.used_recipe
    parts = [
        *([DEMO] if plan.is_demo else []),
        f"trained on {plan.train.name} by {recipe.name}, {_epochs(plan)}{_changes(plan)}",
        f"tested on {plan.test.name}, protocol {scale.protocol}, n = {plan.test.n}",
        _seeds(plan),
    ]
    shape = f" (the shape of {plan.sweep.follows})" if plan.sweep.follows else ""
    return f"{plan.sweep.title}{shape}: {'; '.join(parts)}"


def _epochs(plan: Plan) -> str:
    used = plan.entries[0].unit.used_recipe
    meant = recipe_called(used.method, plan.sweep.scales[plan.scale].recipe).epochs
    plural = "" if used.epochs == 1 else "s"
    return f"{used.epochs} epoch{plural}" + ("" if used.epochs == meant else f" instead of {meant}")


def _changes(plan: Plan) -> str:
    """The other values of the recipe that are not its own."""
    used = plan.entries[0].unit.used_recipe
    meant = recipe_called(used.method, plan.sweep.scales[plan.scale].recipe)
    elsewhere = {"epochs", "seed", "name", "method"}
    pairs = [(f.name, getattr(used, f.name), getattr(meant, f.name)) for f in fields(used) if f.name not in elsewhere]
    return "".join(f", {name} {value} instead of {own}" for name, value, own in pairs if value != own)


def _seeds(plan: Plan) -> str:
    seeds = list(dict.fromkeys(entry.seed for entry in plan.entries))
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"mean ± standard deviation over the seeds {', '.join(map(str, seeds))}"


def _notes(plan: Plan) -> tuple[str, ...]:
    why = plan.sweep.scales[plan.scale].why
    changed = [f"Settings of their own at this scale: {why}."] if why else []
    blank = [f"{len(plan.failed)} units failed, and their rows are blank."] if plan.failed else []
    return (*plan.sweep.notes, *changed, *blank)
