"""Recipes: how a method is trained, and where each value comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from avbench.errors import UsageError, unknown_name
from avbench.recipe_files import PARTS, columns, find, is_file, packaged, used

Augmentation = Literal["flip", "blur", "jitter", "grayscale", "masks", "masks_fixed"]
"""Of images, but for masks, which are for spectrograms: ``masks`` as the official code draws them, ``masks_fixed``
each from its own axis. Cropping belongs to ``images``."""

LEAST = {"epochs": 0, "batch_size": 1, "weight_decay": 0, "seed": 0}
"""Smallest value allowed, by key; ``lr`` must be above 0."""


@dataclass(frozen=True)
class Recipe:
    """One way to train one method: the values used. The file has the paper's and the official code's beside them."""

    name: str
    """``<method>-<training set>``, or the name of the file."""
    method: str
    split: str
    """The training split that it was made for; empty where any will do, or the list was not released."""
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
    image_neighbours: str = ""
    """What tells which pictures resemble each other, for methods with conceptual views: an encoder, a .npy file of its
    vectors, or a table of ``avbench neighbours``."""
    audio_neighbours: str = ""
    """The same for sounds."""

    @property
    def neighbours(self) -> dict[str, str]:
        """What tells neighbours by ``image`` and by ``audio``, as far as it is named."""
        named = {"image": self.image_neighbours, "audio": self.audio_neighbours}
        return {modality: name for modality, name in named.items() if name}


OPTIONAL = frozenset({"seed", "image_neighbours", "audio_neighbours"})
"""Values that a file may leave out."""


def recipe_names() -> list[str]:
    """The recipes in the package, sorted."""
    return list(packaged())


def recipe_summaries() -> list[tuple[str, ...]]:
    """Name and summary of each recipe in the package."""
    return [(name, str(content["summary"])) for name, content in packaged().items()]


def recipe_table(text: str) -> list[tuple[str, ...]]:
    """A recipe beside its sources: a row per value with the cells ``paper``, ``official``, ``used`` and ``why``.

    Args:
        text: one of :func:`recipe_names`, ``FILE.toml`` or ``FILE.toml:SET``.

    Returns: rows of texts, the first of which names the columns; what the recipe leaves out is empty.

    Raises:
        UsageError: as :func:`load_recipe`.
    """
    name, content = find(text)
    _parse(name, content, content.get("method"))
    return columns(name, content)


def load_recipe(method: str, text: str) -> Recipe:
    """The recipe ``text`` for ``method``.

    Args:
        method: a method's name.
        text: ``demo``, or the training set that another recipe of the package is for, such as ``vggsound-10k``, with
            or without the method's name before it; or ``FILE.toml`` of the same form, ``FILE.toml:SET`` where it has a
            recipe for each of several sets.

    Raises:
        UsageError: for an unknown recipe, another method's, or a file with unknown, missing or impossible values.
    """
    whole = is_file(text) or (text.startswith(f"{method}-") and text in packaged())
    return _parse(*find(text if whole else f"{method}-{text}"), method)


def _parse(name: str, content: dict[str, Any], method: Any) -> Recipe:
    owner = content.get("method")
    if not isinstance(owner, str):
        raise UsageError(f'the recipe {name} does not say which method it is for: write method = "NAME" at its top')
    if owner != method:
        raise UsageError(f"the recipe {name} is for {owner!r}, not for {method!r}: name one of {method}'s")
    plain = {key: value for key, value in content.items() if key not in {*PARTS, "method"}}
    found = {**plain, **used(name, content, "values")}
    known = {f.name for f in fields(Recipe)} - {"name", "method", "method_values"}
    for key in found:
        if key not in known:
            raise unknown_name(
                "recipe value", key, known, f"the values are {', '.join(sorted(known))}; the file {name}"
            )
    missing = known - found.keys() - OPTIONAL
    if missing:
        raise UsageError(f"the recipe {name} lacks {', '.join(sorted(missing))}: see avbench/recipes for whole ones")
    checked = {key: _checked(name, key, value) for key, value in found.items()}
    if {"masks", "masks_fixed"} <= set(checked["augment"]):
        raise UsageError(f"the recipe {name} draws masks twice: keep masks or masks_fixed under augment")
    return Recipe(name=name, method=method, method_values=used(name, content, "method_values"), **checked)


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
