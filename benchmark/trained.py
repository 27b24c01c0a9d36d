"""The checkpoints that a run may use: given, found in the store, or, on the demo world alone, trained now."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from avbench.data.coverage import media_fingerprint
from avbench.data.splits import DEMO_SOURCE, Split
from avbench.errors import UsageError
from avbench.opening import Places, Progress, open_split
from avbench.recipe import Recipe, load_recipe, processes_that_matter, recipe_names
from avbench.registry import MethodRef
from avbench.request import DECODING, PREDICTING, SCORING, MethodRequest, Settings, contents
from avbench.sources import source_fingerprint
from avbench.store import code_fingerprint, hash_json, home

TRAINING = (
    *("training", "preparing.py", "neighbours.py", "encoders.py", "augment.py", "frontends.py", "types.py"),
    *("building.py", "checkpoints.py", "official_files.py", "nets", "metrics/ground_truth.py", "weights.py"),
    *(*DECODING, "data/broken.py", "data/sharding.py", "data/training_set.py"),
    *(
        f"data/demo{part}.py"
        for part in ("", "_dice", "_drawing", "_files", "_portions", "_scene", "_shapes", "_sound")
    ),
    "data/demo_world.py",
)
"""The source on which a training depends, beside the method's own file and the recipe."""


def trained_checkpoint(request: MethodRequest, split: Split, settings: Settings, progress: Progress) -> MethodRequest:
    """The request with a checkpoint where its method needs one; on the demo world it is trained if it is not there.

    Raises:
        UsageError: on a real split without a checkpoint: nothing is trained there by itself.
    """
    if request.checkpoint is not None or not request.info.trainable:
        return request
    source = training_split_of(split)
    if source is None:
        name = request.ref.name
        raise UsageError(
            f"{name} needs trained weights for {split.name}: give --checkpoint FILE (ours or the authors'), "
            f"or train with avbench train --method {name} --split YOURS.yaml"
        )
    return from_demo_recipe(request, source, settings, progress)


def from_demo_recipe(request: MethodRequest, source: str, settings: Settings, progress: Progress) -> MethodRequest:
    """The request with the checkpoint that its demo recipe gives on ``source``, trained now if the store has none."""
    split = open_split(source, Places(), progress)
    recipe = None if request.info.control else demo_recipe(request.ref.name)
    out = checkpoint_folder(request.ref, recipe, split, request.overrides)
    if not (out / "config.json").exists():
        _train(request, recipe, split, out, settings, progress)
    # The overrides went into the training; the checkpoint's own config holds them now.
    return replace(request, checkpoint=out, overrides={})


def training_split_of(split: Split) -> str | None:
    """The demo split on which methods are trained for ``split``; None for a real one."""
    if split.source != DEMO_SOURCE:
        return None
    return "demo-heard-train" if split.name in {"demo-heard", "demo-unheard"} else "demo-train"


def demo_recipe(method: str) -> Recipe:
    """The method's own demo recipe, or the one for any method."""
    own = f"{method}-demo" in recipe_names()
    return load_recipe(method, "demo") if own else replace(load_recipe("any", "demo"), method=method)


def checkpoint_folder(
    ref: MethodRef,
    recipe: Recipe | None,
    split: Split,
    overrides: dict[str, Any],
    *,
    neighbours: dict[str, str] | None = None,
    judged: dict[str, Any] | None = None,
) -> Path:
    """Where the store keeps what this method, recipe, training split and settings give.

    ``neighbours`` are those of :class:`avbench.training.Training`, ``judged`` what its ``judging`` says of itself.
    """
    sources = {**(recipe.neighbours if recipe else {}), **(neighbours or {})}
    processes = processes_that_matter(recipe) if recipe else 1
    key = hash_json(
        {
            "method": source_fingerprint(ref),
            "recipe": asdict(recipe) if recipe else None,
            "method_values": contents(recipe.method_values) if recipe else None,
            "split": split.sha256,
            "media": None if split.source == DEMO_SOURCE else media_fingerprint(split, ("image", "audio")),
            "overrides": contents(overrides),
            "neighbours": contents(sources),
            "code": code_fingerprint(*TRAINING),
            **({"judged": [judged, code_fingerprint(*PREDICTING, *SCORING, "completing.py")]} if judged else {}),
            **({"processes": processes} if processes > 1 else {}),
        }
    )
    title = f"{ref.name}-{recipe.name.removeprefix(ref.name + '-')}" if recipe else ref.name
    return home() / "checkpoints" / f"{title}-{split.name}-{key[:12]}"


def _train(
    request: MethodRequest, recipe: Recipe | None, split: Split, out: Path, settings: Settings, progress: Progress
) -> None:
    from avbench.predicting import decoding_processes, resolve_device
    from avbench.training import Training, fit_prior, train

    if recipe is None:
        fit_prior(request.ref, split, out)
        return
    device, workers = resolve_device(settings.device), decoding_processes(settings)
    training = Training(request.ref, recipe, split, out, request.overrides, device, workers)
    train(training, resume=True, progress=progress)
