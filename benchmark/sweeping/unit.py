"""The unit of a sweep: one training and its evaluation, described by a file that any worker can take up."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from avbench.checkpoints import CONFIG
from avbench.data.coverage import covered
from avbench.data.splits import Split
from avbench.errors import AvbenchError
from avbench.opening import Places, Progress, open_split, silent
from avbench.recipe import Recipe, load_recipe
from avbench.records import Record, read_record
from avbench.registry import MethodRef, describe, find_method
from avbench.request import Job, MethodRequest, Settings
from avbench.runner import run
from avbench.store import read_json, write_json
from avbench.trained import checkpoint_folder, demo_recipe

DEMO = "demo"
"""The recipe that every method has."""


@dataclass(frozen=True)
class Where:
    """Where a unit finds its data and leaves its results, and on what it runs; nothing that its numbers depend on."""

    folder: str
    """From which relative paths count."""
    store: str
    """``$AVBENCH_HOME``: the same for all workers."""
    runs: str
    metadata: str | None = None
    data: str | None = None
    device: str = "auto"
    workers: int | None = None
    command: str = ""

    @property
    def places(self) -> Places:
        """Annotation files and media."""
        return Places(*(None if place is None else Path(place) for place in (self.metadata, self.data)))


@dataclass(frozen=True)
class Unit:
    """One training and its evaluation."""

    method: str
    """As ``--method`` takes it; a path counts from ``where.folder``, as those of recipe and splits do."""
    settings: dict[str, Any]
    recipe: str
    changes: dict[str, Any]
    """Values in the place of the recipe's."""
    train: str
    test: str
    protocol: str
    where: Where

    @cached_property
    def ref(self) -> MethodRef:
        """The method, not imported."""
        return find_method(self.method)

    @cached_property
    def used_recipe(self) -> Recipe:
        """The recipe with the changes."""
        changes: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in self.changes.items()
        }
        return replace(recipe_called(self.ref.name, self.recipe), **changes)

    @property
    def measured(self) -> Settings:
        """How the trained method is evaluated: with retrieval, so that tables with and without share a result."""
        where = self.where
        return Settings(
            protocols=(self.protocol,),
            retrieval=True,
            device=where.device,
            workers=where.workers,
            runs=Path(where.runs),
            command=where.command,
        )

    def checkpoint(self, split: Split) -> Path:
        """Where the store keeps what this unit trains on ``split``."""
        return checkpoint_folder(self.ref, self.used_recipe, split, self.settings)

    def request(self, checkpoint: Path) -> MethodRequest:
        """The evaluation of what was trained; its settings are in the checkpoint."""
        return MethodRequest(self.ref, describe(self.ref), checkpoint)


def recipe_called(method: str, text: str) -> Recipe:
    """The recipe ``text`` of a method; ``demo`` is there for each.

    Raises:
        UsageError: as :func:`avbench.recipe.load_recipe`.
    """
    return demo_recipe(method) if text == DEMO else load_recipe(method, text)


def is_trained(checkpoint: Path) -> bool:
    """Whether the training into this folder has ended."""
    return (checkpoint / CONFIG).exists()


def find_record(unit: Unit, checkpoint: Path, test: Split) -> Record | None:
    """The record of a unit that is done; None else. Reads no media and imports no torch.

    Args:
        unit: whose result is looked for.
        checkpoint: of :meth:`Unit.checkpoint`.
        test: the split ``unit.test``, opened.

    Raises:
        AvbenchError: for missing media of the test split, or a damaged record.
    """
    if not is_trained(checkpoint):
        return None
    request = unit.request(checkpoint)
    split, found = covered(test, sorted(request.info.needs))
    place = Job(request, split, found, unit.measured).record_path("av", unit.protocol)
    return read_record(place) if place.exists() else None


def run_unit(unit: Unit, progress: Progress = silent) -> None:
    """Train and evaluate what is not done yet; the record is found by :func:`find_record`.

    What another worker trains meanwhile is waited for, and what was interrupted goes on from its last state.

    Raises:
        AvbenchError: as :func:`avbench.training.train` and :func:`avbench.runner.run`.
    """
    split = open_split(unit.train, unit.where.places, progress)
    checkpoint = unit.checkpoint(split)
    if not is_trained(checkpoint):
        _train(unit, split, checkpoint, progress)
    run([unit.request(checkpoint)], unit.test, unit.where.places, unit.measured, progress)


def _train(unit: Unit, split: Split, out: Path, progress: Progress) -> None:
    from avbench.predicting import decoding_processes, resolve_device
    from avbench.training import Training, train

    device, workers = resolve_device(unit.where.device), decoding_processes(unit.measured)
    train(
        Training(unit.ref, unit.used_recipe, split, out, unit.settings, device, workers), resume=True, progress=progress
    )


def write_unit(path: Path, unit: Unit) -> None:
    """Write the file that :func:`read_unit` reads."""
    write_json(path, asdict(unit))


def read_unit(path: Path) -> Unit:
    """Read a unit.

    Raises:
        AvbenchError: for a file that is none.
    """
    content = read_json(path)
    try:
        return Unit(**{**content, "where": Where(**content["where"])})
    except (TypeError, KeyError) as problem:
        raise AvbenchError(f"expected the unit of a sweep in {path}, found another form ({problem})") from None
