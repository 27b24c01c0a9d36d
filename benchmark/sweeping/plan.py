"""From a sweep to its units: what is to be trained, what is known already, and what came of it. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from avbench.data.splits import DEMO_SOURCE, Split
from avbench.errors import UsageError
from avbench.opening import Progress, open_split, silent
from avbench.records import Record
from avbench.registry import describe, find_method, load_class, make_config
from avbench.request import protocols_for
from avbench.sweeping.files import Row, Sweep
from avbench.sweeping.settings import defaults_of, shortest
from avbench.sweeping.unit import Unit, Where, find_record, is_trained, recipe_called, write_unit

State = Literal["done", "trained", "begun", "new", "unknown"]
"""How far a unit is: evaluated, trained alone, with states to go on from, nothing; or media are needed to tell."""

Tell = Callable[[str, str], None]
"""``tell(unit's key, what happened)``."""

Launch = Callable[[Sequence[Path], Tell], dict[Path, str]]
"""Brings the units in these files to their records; returns for those that failed the sentence that says why."""

KEPT = Path("sweeps")
"""Folder of the unit files and the workers' logs, inside the runs."""


@dataclass(frozen=True)
class Entry:
    """A row of a sweep under one seed."""

    row: Row
    seed: int
    unit: Unit
    checkpoint: Path | None
    """None where media are needed to tell."""
    tested: str
    """Hash of the test split."""

    @property
    def key(self) -> str:
        """Equal for equal units: the name of what is trained, and how it is tested."""
        name = self.checkpoint.name if self.checkpoint else self.title
        test = f"{Path(self.unit.test).stem}-{self.tested[:6]}"
        return ".".join([name, test, self.unit.protocol.replace(":", "-")])

    @property
    def title(self) -> str:
        """Labels and seed."""
        return f"{' | '.join(self.row.labels)}, seed {self.seed}"


@dataclass
class Plan:
    """A sweep at one scale."""

    sweep: Sweep
    scale: str
    train: Split
    test: Split
    entries: list[Entry]
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by key."""

    @property
    def is_demo(self) -> bool:
        """Whether the numbers are of the embedded world."""
        return self.test.source == DEMO_SOURCE

    def record(self, entry: Entry) -> Record | None:
        """What came of a unit, if it is done."""
        if entry.checkpoint is None or entry.key in self.failed:
            return None
        return find_record(entry.unit, entry.checkpoint, self.test)

    def state(self, entry: Entry) -> State:
        """How far a unit is."""
        if entry.checkpoint is None:
            return "unknown"
        if not is_trained(entry.checkpoint):
            return "begun" if entry.checkpoint.exists() else "new"
        return "done" if self.test.has_media and self.record(entry) else "trained"

    def missing(self) -> dict[str, Entry]:
        """The units without a record by key, each once."""
        return {entry.key: entry for entry in self.entries if self.record(entry) is None}

    def complete(self, launch: Launch, tell: Tell) -> None:
        """Bring every unit to its record; afterwards :attr:`failed` says which could not be.

        Raises:
            UsageError: for settings of the wrong type, before anything is trained.
        """
        missing = self.missing()
        if not missing:
            return
        check_settings([entry.unit for entry in missing.values()])
        files = {unit_file(entry): key for key, entry in missing.items()}
        for path, key in files.items():
            write_unit(path, missing[key].unit)
        reasons = launch(list(files), tell)
        self.failed = {files[path]: reason for path, reason in reasons.items()}
        for key, entry in missing.items():
            if key not in self.failed and self.record(entry) is None:
                self.failed[key] = (
                    "its worker ended without a result that this program knows, as happens when its source changes "
                    "meanwhile: run the same command again"
                )


@dataclass(frozen=True)
class Choices:
    """What a person may choose beside the sweep itself."""

    where: Where
    scale: str | None = None
    seeds: tuple[int, ...] = ()
    """In the place of the recipe's one."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Values in the place of the recipe's."""
    dry: bool = False
    """Whether the list of units is all that is wanted, for which media are not needed."""


def make_plan(sweep: Sweep, choices: Choices, progress: Progress = silent) -> Plan:
    """The units of ``sweep``, row by row, seed by seed.

    Raises:
        UsageError: for an unknown scale, recipe or split, a method with nothing to train, a protocol without truth, or
            media that are not named.
        AvbenchError: for missing or broken files.
    """
    name = sweep.scale(choices.scale)
    scale, places = sweep.scales[name], choices.where.places
    ref = find_method(sweep.method)
    info = describe(ref)
    if info.control or not info.trainable:
        raise UsageError(f"the sweep {sweep.name} is of {ref.name}, which has nothing to train: name another method")
    recipe = recipe_called(ref.name, scale.recipe)
    base = {**defaults_of(ref), **recipe.method_values}
    train, test = (open_split(split, places, progress) for split in (scale.train, scale.test))
    protocols_for(test, (scale.protocol,))
    told = train.has_media or not choices.dry
    entries = []
    for row in sweep.rows:
        settings = shortest(row.settings_at(name), base)
        for seed in choices.seeds or (recipe.seed,):
            changes = {**choices.changes, "seed": seed}
            unit = Unit(
                sweep.method, settings, scale.recipe, changes, scale.train, scale.test, scale.protocol, choices.where
            )
            entries.append(Entry(row, seed, unit, unit.checkpoint(train) if told else None, test.sha256))
    return Plan(sweep, name, train, test, entries)


def check_settings(units: Sequence[Unit]) -> None:
    """Refuse settings that the method does not take, before anything is trained.

    Raises:
        UsageError: as :func:`avbench.registry.make_config`.
    """
    for unit in units:
        make_config(load_class(unit.ref).config_class, {**unit.used_recipe.method_values, **unit.settings})


def unit_file(entry: Entry) -> Path:
    """Where the file of a unit stands, its worker's log beside it."""
    return (Path(entry.unit.where.runs) / KEPT / f"{entry.key}.json").absolute()
