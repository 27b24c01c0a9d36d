"""Recipes: how a method is trained, and where each value comes from."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from avbench.errors import UsageError, unknown_name

Augmentation = Literal["flip", "blur", "jitter", "grayscale", "masks"]
"""Of images, but for masks, which are for spectrograms; cropping belongs to ``images``."""

LEAST = {"epochs": 0, "batch_size": 1, "weight_decay": 0, "seed": 0}
"""Smallest value allowed, by key; ``lr`` must be above 0."""


@dataclass(frozen=True)
class Recipe:
    """One way to train one method: the values used. The file has the paper's and the official code's beside them."""

    name: str
    """``<method>-<recipe>``, the name of the file."""
    method: str
    split: str
    """The training split that it was made for; empty where any will do."""
    selection: str
    """How the checkpoint is chosen, written into every record that uses it."""
    summary: str
    epochs: int
    batch_size: int
    """Global, whatever the number of devices."""
    optimizer: Literal["adam", "adamw"]
    lr: float
    weight_decay: float
    schedule: Literal["constant", "one-cycle"]
    images: Literal["squash", "crop"]
    """``squash`` to 224 x 224 (decoded once), or shorter side 246 and a random crop (decoded each epoch)."""
    augment: tuple[Augmentation, ...]
    method_values: dict[str, Any] = field(default_factory=dict)
    seed: int = 0


def recipe_names() -> list[str]:
    """The recipes in the package, sorted."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in files("avbench.recipes").iterdir() if entry.name.endswith(".toml")
    )


def recipe_summaries() -> list[tuple[str, ...]]:
    """Name and summary of each recipe in the package."""
    texts = [(name, (files("avbench.recipes") / f"{name}.toml").read_text(encoding="utf-8")) for name in recipe_names()]
    return [(name, str(tomllib.loads(text)["summary"])) for name, text in texts]


def load_recipe(method: str, text: str) -> Recipe:
    """The recipe ``text`` for ``method``: ``demo``, ``paper``, or a path to a TOML file of the same form.

    Raises:
        UsageError: for an unknown recipe, another method's, or a file with unknown, missing or impossible values.
    """
    if text.endswith(".toml"):
        return _parse(Path(text).stem, _read(Path(text)), method)
    name = f"{method}-{text}"
    if name not in recipe_names():
        raise unknown_name("recipe", name, recipe_names(), "avbench list recipes")
    return _parse(name, tomllib.loads((files("avbench.recipes") / f"{name}.toml").read_text(encoding="utf-8")), method)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"expected a recipe file, found nothing at {path}") from None
    except ValueError as problem:
        raise UsageError(f"expected TOML in the recipe {path}, which has an error ({problem})") from None


def _parse(name: str, content: dict[str, Any], method: str) -> Recipe:
    if content.get("method") != method:
        raise UsageError(
            f"the recipe {name} is for {content.get('method')!r}, not for {method!r}: name one of {method}'s"
        )
    used, values = _table(name, content, "values"), _table(name, content, "method_values")
    plain = {key: value for key, value in content.items() if key not in {"values", "method_values", "method"}}
    found = {**plain, **used}
    known = {f.name for f in fields(Recipe)} - {"name", "method", "method_values"}
    for key in found:
        if key not in known:
            raise unknown_name(
                "recipe value", key, known, f"the values are {', '.join(sorted(known))}; the file {name}"
            )
    missing = known - found.keys() - {"seed"}
    if missing:
        raise UsageError(f"the recipe {name} lacks {', '.join(sorted(missing))}: see avbench/recipes for whole ones")
    checked = {key: _checked(name, key, value) for key, value in found.items()}
    return Recipe(name=name, method=method, method_values=values, **checked)


def _checked(name: str, key: str, value: Any) -> Any:
    """``value`` as the field ``key`` has it, if it is of the field's type and in its range."""
    hint = get_type_hints(Recipe)[key]
    if not _fits(value, hint):
        raise UsageError(f"the recipe {name} expects {_wanted(hint)} under {key}, got {value!r}: correct the file")
    if key in LEAST and value < LEAST[key]:
        raise UsageError(f"the recipe {name} expects {key} of at least {LEAST[key]}, got {value!r}: correct the file")
    if key == "lr" and value <= 0:
        raise UsageError(f"the recipe {name} expects lr above 0, got {value!r}: correct the file")
    return tuple(value) if isinstance(value, list) else value


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is tuple:
        return isinstance(value, list) and all(_fits(item, get_args(hint)[0]) for item in value)
    if hint is float:
        return type(value) in {int, float} and math.isfinite(value)
    return type(value) is hint


def _wanted(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list of {', '.join(get_args(get_args(hint)[0]))}"
    return {str: "a text", int: "a whole number", float: "a finite number"}[hint]


def _table(name: str, content: dict[str, Any], title: str) -> dict[str, Any]:
    cells = content.get(title, {})
    if not isinstance(cells, dict):
        raise UsageError(f"the recipe {name} expects a table under {title}, got {cells!r}: write [{title}]")
    return {key: _used(name, key, cell) for key, cell in cells.items()}


def _used(name: str, key: str, cell: Any) -> Any:
    if not isinstance(cell, dict) or "used" not in cell:
        raise UsageError(
            f"the recipe {name} gives {key} no value: write {key} = {{ paper = ..., official = ..., used = ... }}"
        )
    return cell["used"]
