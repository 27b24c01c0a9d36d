"""What is trained, on what, how it is judged meanwhile, and what is kept."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from avbench.checkpoints import CONFIG
from avbench.data.coverage import media_fingerprint
from avbench.data.splits import DEMO_SOURCE, Split
from avbench.errors import UsageError
from avbench.recipe import Recipe, processes_that_matter
from avbench.registry import MethodRef
from avbench.request import contents
from avbench.sources import source_fingerprint
from avbench.store import read_json

SHOWN = 40
"""Characters of a value that an error shows."""

Rule = Literal["last", "validation", "oracle"]
"""How a checkpoint is chosen: the last one, the best on a validation list, the best on a test list (which cheats)."""


@dataclass(frozen=True)
class Judging:
    """What a training is evaluated on as it goes; this changes no weight of it.

    Attributes:
        validation: a list disjoint from all tests, by which ``best-validation`` is chosen.
        oracle: test lists, for curves; ``best-oracle`` is chosen on the first. The figures of such a checkpoint are
            those of one that was chosen on the test, as EZ-VSL, SLAVC, FNAC and JSA do (their ``train.py``).
        every: epochs from one evaluation to the next; the last epoch is always evaluated.
    """

    validation: Split | None = None
    oracle: tuple[Split, ...] = ()
    every: int = 1

    @property
    def lists(self) -> list[tuple[Rule, Split]]:
        """The lists with the rule that each serves."""
        found: list[tuple[Rule, Split]] = [("oracle", split) for split in self.oracle]
        return found if self.validation is None else [("validation", self.validation), *found]

    def described(self) -> dict[str, Any]:
        """For the key and the description of the checkpoint; empty where nothing is evaluated."""
        if not self.lists:
            return {}
        named = [{"rule": rule, "split": split.name, "sha256": split.sha256} for rule, split in self.lists]
        return {"lists": named, "every": self.every}


@dataclass(frozen=True)
class Keeping:
    """What stays on the disk; none of it changes a weight.

    Attributes:
        every_steps: optimiser steps from one state to the next, beside the one at each epoch's end; 0 for none.
        states: how many of the newest states stay while it trains.
        every_epochs: the weights of each such epoch stay for good, under ``epochs``; 0 keeps none.
    """

    every_steps: int = 0
    states: int = 1
    every_epochs: int = 0


@dataclass(frozen=True)
class Training:
    """What is trained, on what, and where it goes."""

    ref: MethodRef
    recipe: Recipe
    split: Split
    out: Path
    overrides: dict[str, Any]
    device: torch.device
    workers: int = 0
    neighbours: dict[str, str] = field(default_factory=dict)
    """What tells neighbours by ``image`` and ``audio``, in the place of the recipe's."""
    judging: Judging = Judging()
    keeping: Keeping = Keeping()
    compiled: bool = False
    """Whether the loss runs through ``torch.compile``."""

    @property
    def processes(self) -> int:
        """How many processes train, where that changes the weights; else 1."""
        return processes_that_matter(self.recipe)

    @property
    def sources(self) -> dict[str, str]:
        """What tells neighbours in this training; see :func:`avbench.neighbours.find_neighbours`."""
        return {**self.recipe.neighbours, **self.neighbours}

    @cached_property
    def made_from(self) -> dict[str, Any]:
        """Hashes of the method's source, the media and the files that settings name, when first asked for."""
        real = self.split.source != DEMO_SOURCE
        return {
            "source": source_fingerprint(self.ref),
            "media": media_fingerprint(self.split, ("image", "audio")) if real else None,
            "settings": contents({**self.recipe.method_values, **self.overrides}),
        }

    def meta(self, epoch: int) -> dict[str, Any]:
        """What the checkpoint after ``epoch`` epochs says of its own making."""
        neighbours = {"neighbours": contents(self.sources)} if self.sources else {}
        judged = {"judged": self.judging.described()} if self.judging.lists else {}
        processes = {"processes": self.processes} if self.processes > 1 else {}
        rule = "last" if epoch == self.recipe.epochs else "unknown"  # who takes an earlier one has chosen it somehow
        return {
            **neighbours,
            **judged,
            **processes,
            "recipe": asdict(self.recipe),
            "split": {"name": self.split.name, "sha256": self.split.sha256, "n": len(self.split.samples)},
            "epoch": epoch,
            "selection": self.recipe.selection,
            "selected": {"rule": rule, "split": None, "metric": None, "value": None, "epoch": epoch},
            "made_from": self.made_from,
        }


def require_same(folder: Path, config: Any, name: str, meta: dict[str, Any]) -> None:
    """Refuse a folder that another training made; ``config`` are the settings of the method ``name``.

    Raises:
        UsageError: if method, settings, recipe, split or judging differ, or files that they read.
    """
    made = read_json(folder / CONFIG)
    wanted = json.loads(json.dumps({"method": name, "config": asdict(config), "meta": meta}))
    if made != wanted:
        raise UsageError(
            f"{folder} holds a training of another method, recipe, split or setting, or of files that have changed "
            f"since ({_first_difference(made, wanted)}): go on with those, or name another folder with --out"
        )


def _first_difference(there: Any, here: Any, place: str = "") -> str:
    """Where two descriptions differ first, and by what, such as ``meta.recipe.epochs: 5 there, 7 here``."""
    if not (isinstance(there, dict) and isinstance(here, dict)):
        return f"{place or 'all'}: {_short(there)} there, {_short(here)} here"
    keys = [key for key in sorted(there.keys() | here.keys()) if there.get(key, ...) != here.get(key, ...)]
    key = next((key for key in keys if key != "selected"), keys[0])
    return _first_difference(there.get(key), here.get(key), f"{place}.{key}" if place else key)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
