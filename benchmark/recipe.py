"""Recipes: how a method is trained, and where each value comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from avbench.errors import UsageError, unknown_name
from avbench.processes import shard_of_process
from avbench.recipe_files import PARTS, columns, find, is_file, packaged, used

Augmentation = Literal["flip", "blur", "jitter", "grayscale", "masks", "masks_fixed"]
"""Of images, but for masks, which are for spectrograms: ``masks`` as the official code draws them, ``masks_fixed``
each from its own axis. Cropping belongs to ``images``."""

LEAST = {
    "epochs": 0,
    "batch_size": 1,
    "weight_decay": 0,
    "seed": 0,
    "accumulate": 1,
    "warmup_epochs": 0,
    "ema": 0,
}
"""Smallest value allowed, by key; ``ema`` must be below 1."""

POSITIVE = frozenset({"lr", "annotated"})
"""Values that must be above 0; ``annotated`` at most 1."""


@dataclass(frozen=True)
class Recipe:
    """One way to train one method: the values used. The file has the paper's and the official code's beside them.

    Raises:
        UsageError: for values that do not go together.
    """

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
    schedule: Literal["constant", "one-cycle", "cosine", "step"]
    """See :func:`avbench.training.learning_rate_factor`."""
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
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """``bf16`` and ``fp16`` compute under autocast, with weights in 32 bits; ``fp16`` scales the loss."""
    accumulate: int = 1
    """Parts in which a batch passes the network one after the other. The loss is that of the whole batch (its
    negatives too), at the price of a second forward pass; batch norms see a part at a time."""
    negatives: Literal["gathered", "per-device"] = "gathered"
    """Of several devices: whether a loss contrasts the samples of all, or each device its own (official EZ-VSL)."""
    batch_norm: Literal["per-device", "synchronised"] = "per-device"
    """Of several devices: whose statistics a batch norm takes."""
    warmup_epochs: float = 0.0
    """Epochs over which the rate rises linearly, before the schedule begins."""
    ema: float = 0.0
    """Above 0, weights that follow the trained ones with this momentum after each step are kept beside them."""
    annotated: float = 1.0
    """Share, in (0, 1], of the annotated clips whose annotation the training uses; the rest count as unannotated. Which
    ones depends on a hash of the id alone, and those of a share are among those of a larger one."""

    def __post_init__(self) -> None:
        if {"masks", "masks_fixed"} <= set(self.augment):
            raise UsageError(f"the recipe {self.name} draws masks twice: keep masks or masks_fixed under augment")
        if self.ema >= 1:
            raise UsageError(f"the recipe {self.name} expects ema below 1, got {self.ema}: weights would never move")
        if self.annotated > 1:
            raise UsageError(
                f"the recipe {self.name} expects annotated of at most 1, got {self.annotated}: it is a share"
            )
        if self.warmup_epochs and self.warmup_epochs >= self.epochs > 0:
            raise UsageError(
                f"the recipe {self.name} warms up for {self.warmup_epochs:g} of its {self.epochs} epochs: lower "
                "warmup_epochs"
            )
        if self.accumulate > self.batch_size:
            raise UsageError(
                f"the recipe {self.name} expects parts of at least one sample, got accumulate = {self.accumulate} for "
                f"batches of {self.batch_size}: lower accumulate"
            )

    @property
    def neighbours(self) -> dict[str, str]:
        """What tells neighbours by ``image`` and by ``audio``, as far as it is named."""
        named = {"image": self.image_neighbours, "audio": self.audio_neighbours}
        return {modality: name for modality, name in named.items() if name}


OPTIONAL = frozenset(f.name for f in fields(Recipe) if f.default is not MISSING) - {"method_values"}
"""Values that a file may leave out."""


def processes_that_matter(recipe: Recipe) -> int:
    """How many processes torchrun started, where each has statistics or negatives of its own; else 1."""
    own = "per-device" in {recipe.batch_norm, recipe.negatives}
    return shard_of_process().world if own else 1


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


def changed(recipe: Recipe, given: Sequence[str]) -> Recipe:
    """``recipe`` with ``KEY=VALUE`` items in the place of its own values, as :func:`values_given` reads them.

    Raises:
        UsageError: as :func:`values_given`, and for values that do not go together.
    """
    return replace(recipe, **values_given(recipe.name, given))


def values_given(recipe: str, given: Sequence[str]) -> dict[str, Any]:
    """Values of a recipe from ``KEY=VALUE`` items; lists are written with commas.

    Args:
        recipe: its name, for errors.
        given: the items.

    Raises:
        UsageError: for an unknown key, or a value that a recipe file could not hold either.
    """
    found: dict[str, Any] = {}
    for item in given:
        key, equals, text = item.partition("=")
        if not equals:
            raise UsageError(f"expected a value of the recipe as KEY=VALUE, got {item!r}")
        known = _values() - {"split", "selection", "summary"}
        if key not in known:
            raise unknown_name("recipe value", key, known, f"avbench list recipes --show {recipe}")
        value = _from_text(text, get_type_hints(Recipe)[key])
        found[key] = _checked(recipe, key, value, advice=f"correct {item!r}")
    return found


def _from_text(text: str, hint: Any) -> Any:
    """``text`` as a recipe file would have it; what is no number where one is wanted stays a text."""
    if get_origin(hint) is tuple:
        return [part for part in text.split(",") if part]
    for kind in (int, float):
        if hint in {int, float} and (hint, kind) != (int, float):
            with suppress(ValueError):
                return kind(text)
    return text


def _values() -> set[str]:
    """What stands in the table ``values`` of a recipe, or above it."""
    return {f.name for f in fields(Recipe)} - {"name", "method", "method_values"}


def _parse(name: str, content: dict[str, Any], method: Any) -> Recipe:
    owner = content.get("method")
    if not isinstance(owner, str):
        raise UsageError(f'the recipe {name} does not say which method it is for: write method = "NAME" at its top')
    if owner != method:
        raise UsageError(f"the recipe {name} is for {owner!r}, not for {method!r}: name one of {method}'s")
    plain = {key: value for key, value in content.items() if key not in {*PARTS, "method"}}
    found = {**plain, **used(name, content, "values")}
    known = _values()
    for key in found:
        if key not in known:
            raise unknown_name(
                "recipe value", key, known, f"the values are {', '.join(sorted(known))}; the file {name}"
            )
    missing = known - found.keys() - OPTIONAL
    if missing:
        raise UsageError(f"the recipe {name} lacks {', '.join(sorted(missing))}: see avbench/recipes for whole ones")
    checked = {key: _checked(name, key, value) for key, value in found.items()}
    return Recipe(name=name, method=method, method_values=used(name, content, "method_values"), **checked)


def _checked(name: str, key: str, value: Any, *, advice: str = "correct the file") -> Any:
    """``value`` as the field ``key`` has it, if it is of the field's type and in its range."""
    hint = get_type_hints(Recipe)[key]
    if not _fits(value, hint):
        raise UsageError(f"the recipe {name} expects {_wanted(hint)} under {key}, got {value!r}: {advice}")
    if key in LEAST and value < LEAST[key]:
        raise UsageError(f"the recipe {name} expects {key} of at least {LEAST[key]}, got {value!r}: {advice}")
    if key in POSITIVE and value <= 0:
        raise UsageError(f"the recipe {name} expects {key} above 0, got {value!r}: {advice}")
    if hint is float:
        return float(value)  # 0 and 0.0 are one recipe, under one key
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
