"""What a cell of a published table asks of a result: method, map, training, test list, protocol, metric, selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from avbench.leaderboards.published_index import read_index
from avbench.leaderboards.published_names import (
    METHODS,
    SELECTIONS,
    metric_of,
    protocol_of,
    split_of,
    training_split_of,
)
from avbench.leaderboards.published_tables import Cell, PublishedTable, Row, published_tables
from avbench.records import Selection

if TYPE_CHECKING:
    from avbench.recipe import Recipe

Neighbours = Literal["", "supervised", "self-supervised"]

RELEASED = "released model"
"""The variant of rows that are of the authors' own weights."""
OBJECT_MAP = "ogl"
"""The method that is a row of its own where others mix it in."""
NOT_SAID: tuple[Selection, ...] = ("last", "validation", "unknown")
"""Where a paper does not say how a checkpoint was chosen: the first of these that is there."""
SEARCHES: dict[str, Neighbours] = {
    "supervised_encoders": "supervised",
    "self_supervised_encoders": "self-supervised",
}
"""The nearest-neighbour searches of the index's variants."""
STAND_INS = {"vggsound-ssltie-heard": "vggsound-heard"}
"""Training lists without recipes of their own, and those whose recipes stand in."""


@dataclass(frozen=True)
class Wanted:
    """What fills a cell."""

    method: str
    variant: str
    train: str | None
    """The split; None where nothing is trained, or the paper does not say."""
    recipe: str | None
    """As ``avbench train --recipe`` takes it; None where nothing is trained."""
    split: str
    protocol: str
    metric: str
    selections: tuple[Selection, ...]
    """Of checkpoints, the better ones first."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the method, those that are not the recipe's or its defaults."""
    neighbours: Neighbours = ""
    released: bool = False
    """Whether the row is of the authors' own weights."""


def wanted(table: PublishedTable, row: Row, cell: Cell) -> Wanted | None:
    """What fills a cell; None for methods that are not here, what is counted or timed, and untold test sets."""
    method = METHODS[read_index().methods[row.method]["key"]]
    metric, protocol = metric_of(cell.metric, cell.test_set), protocol_of(table.paper.id, cell.metric)
    split = split_of(table.paper.id, cell.test_set)
    if method is None or metric is None or protocol is None or split is None:
        return None
    asked = (SELECTIONS[cell.protocol],) if SELECTIONS[cell.protocol] else NOT_SAID
    fixed = method == OBJECT_MAP
    train = None if fixed else training_split_of(cell.train_set, row.variant)
    recipe = None if train is None else STAND_INS.get(train, train)
    return Wanted(
        method=method,
        variant="av+ogl" if cell.uses_ogl and not fixed else "av",
        train=train,
        recipe=recipe,
        split=split,
        protocol=protocol,
        metric=metric,
        selections=("none",) if fixed else tuple(one for one in asked if one),
        settings=changed_settings(method, recipe, settings_of(row.variant)),
        neighbours=_neighbours(row, method),
        released=row.variant == RELEASED,
    )


def settings_of(variant: str) -> Mapping[str, Any]:
    """The settings behind the variant of a row, as the sweeps have them; empty for the method as published."""
    return _settings().get(variant, {})


def changed_settings(method: str, recipe: str | None, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of ``settings`` that differ from what a method trained by a recipe has anyway."""
    own = published_settings(method, recipe) if settings else {}
    return {key: value for key, value in settings.items() if own.get(key) != value}


@cache
def published_settings(method: str, recipe: str | None) -> Mapping[str, Any]:
    """All settings of a method trained by a recipe; without one its defaults."""
    from avbench.registry import find_method
    from avbench.sweeping.settings import defaults_of

    return {**defaults_of(find_method(method)), **(recipe_called(method, recipe).method_values if recipe else {})}


@cache
def recipe_called(method: str, name: str) -> Recipe:
    """A recipe of the package."""
    from avbench.recipe import load_recipe

    return load_recipe(method, name)


@cache
def sweeps() -> dict[str, Any]:
    """The packaged sweeps that measure a published table again, by its id."""
    from avbench.sweeping.files import load_sweep, sweep_names

    found = [load_sweep(name) for name in sweep_names()]
    return {sweep.follows: sweep for sweep in found if sweep.follows == sweep.name}


@cache
def _settings() -> dict[str, Mapping[str, Any]]:
    """Settings by variant, from the sweeps' rows with the labels of the published ones."""
    found: dict[str, Mapping[str, Any]] = {}
    for table in published_tables():
        if table.id in sweeps():
            by_labels = {row.labels: row.settings for row in sweeps()[table.id].rows}
            found |= {row.variant: by_labels[row.labels] for row in table.rows}
    return found


def _neighbours(row: Row, method: str) -> Neighbours:
    """The search that a row names, else that with supervised encoders: the ablations' and the recipes'."""
    if method != "alignment" or not settings_of(row.variant).get("semantic", True):
        return ""
    said = dict(part.split("=", 1) for part in row.variant.split(";") if part.startswith("nn_search="))
    return SEARCHES[said.get("nn_search", "supervised_encoders")]
