"""Training one method by a recipe: resumable, logged, the same whatever the interruptions."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from avbench.building import training_layout
from avbench.checkpoints import CONFIG, save_checkpoint
from avbench.data.batches import RawBatch
from avbench.data.coverage import media_fingerprint
from avbench.data.splits import DEMO_SOURCE, Split
from avbench.data.training_set import Neighbours, TrainingOptions, TrainingSet, iterate_training
from avbench.encoders import Machine
from avbench.errors import AvbenchError, UsageError
from avbench.locking import locked
from avbench.neighbours import find_neighbours
from avbench.opening import Progress, silent
from avbench.preparing import prepare, training_windows, views_of
from avbench.recipe import Recipe
from avbench.registry import MethodRef, load_class, make_config
from avbench.request import contents
from avbench.sources import source_fingerprint
from avbench.store import read_json, write_atomic, write_json
from avbench.types import Batch
from avbench.weights import is_annotated, truth_weights

Advance = Callable[[dict[str, float]], None]
LOG = "log.jsonl"
BROKEN = "broken"
"""In a row of the log that is no step's: the id of a sample that could not be decoded, beside the ``reason``."""
MISFITS = (ValueError, LookupError, TypeError, AttributeError)
"""What reading raises where a file holds something else than its writer put there."""
CACHE_BYTES = 2_000_000_000
"""Decoded pairs are kept in memory between epochs where all of them fit into this."""
WARM_UP = 0.15
"""Share of the steps over which the one-cycle schedule rises."""


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
        """What the checkpoint says of its own making."""
        neighbours = {"neighbours": contents(self.sources)} if self.sources else {}
        return {
            **neighbours,
            "recipe": asdict(self.recipe),
            "split": {"name": self.split.name, "sha256": self.split.sha256, "n": len(self.split.samples)},
            "epoch": epoch,
            "selection": self.recipe.selection,
            "made_from": self.made_from,
        }


def train(
    training: Training, *, resume: bool = False, progress: Progress = silent, advance: Advance = lambda terms: None
) -> Path:
    """Train and return the checkpoint's folder: model.safetensors, config.json, log.jsonl, curve.png.

    A finished training of the same method, settings, recipe and split is left as it is. A recipe of 0 epochs leaves
    the weights as initialised, for an untrained row in a table. Every epoch ends with a state from which ``resume``
    goes on; the seed of each epoch depends on its number alone, so that an interrupted training ends with the weights
    of an uninterrupted one. A second process that trains into the same folder waits for the first.

    A sample that cannot be decoded is left out of its batch, and the log says so in a row of its own, with its id and
    the reason; :func:`broken_samples` reads them.

    Args:
        training: what is trained.
        resume: go on from the last state in the folder.
        progress: shows how far the training is, and the search for neighbours before it.
        advance: called with the log's row of each step.

    Raises:
        UsageError: if the folder holds another checkpoint, or a state and ``resume`` is False, or a state of another
            training; for fewer samples than a batch; or for neighbours that the method does not read.
        AvbenchError: if the loss stops being a number, a state is damaged, or more than 1 % of the samples cannot be
            decoded.
    """
    with locked(training.out):
        meta = training.meta(training.recipe.epochs)  # now: the files may change while it trains
        torch.manual_seed(training.recipe.seed)
        cls = load_class(training.ref)
        method = cls(make_config(cls.config_class, {**training.recipe.method_values, **training.overrides}))
        if training.neighbours and "conceptual" not in views_of(method):
            raise UsageError(f"{training.ref.name} as it is set reads no conceptual views: leave --neighbours out")
        if (training.out / CONFIG).exists():
            _require_same(training.out, method, training.ref.name, meta)
            return training.out
        states = sorted(training.out.glob("epoch-*"))
        if states and not resume:
            raise UsageError(
                f"{training.out} holds an unfinished training: add --resume, or name another folder with --out"
            )
        method.to(training.device, memory_format=training_layout(method, training.device))
        if training.recipe.epochs:
            _fit(training, method, states[-1] if states else None, progress=progress, advance=advance)
            _draw_curve(training)
        save_checkpoint(training.out, method, name=training.ref.name, meta=meta)
        for state in training.out.glob("epoch-*"):
            shutil.rmtree(state)
    return training.out


def _require_same(folder: Path, method: Any, name: str, meta: dict[str, Any]) -> None:
    """Refuse a folder that another training made.

    Raises:
        UsageError: if method, settings, recipe or split differ, or files that they read.
    """
    made = read_json(folder / CONFIG)
    wanted = {"method": name, "config": asdict(method.config), "meta": meta}
    if made != json.loads(json.dumps(wanted)):
        raise UsageError(
            f"{folder} holds a training of another method, recipe, split or setting, or of files that have changed "
            "since: go on with those, or name another folder with --out"
        )


def _draw_curve(training: Training) -> None:
    from avbench.pictures import training_curve

    title = f"{training.recipe.name} on {training.split.name}"
    training_curve(training.out / LOG, training.out / "curve.png", title=title)


def fit_prior(ref: MethodRef, split: Split, out: Path) -> Path:
    """Fit a control that learns from ground truth alone (it has ``fit``), and save it like a trained method.

    What was fitted already is left as it is.

    Raises:
        UsageError: if the folder holds another checkpoint, or a training.
    """
    meta = {
        "split": {"name": split.name, "sha256": split.sha256, "n": len(split.samples)},
        "selection": "mean of annotations",
        "made_from": {"source": source_fingerprint(ref)},
    }
    with locked(out):
        cls = load_class(ref)
        method = cls(cls.config_class())
        if (out / CONFIG).exists():
            _require_same(out, method, ref.name, meta)
            return out
        if any(out.glob("epoch-*")):
            raise UsageError(f"{out} holds an unfinished training: name another folder with --out")
        method.fit(truth_weights(sample) for sample in split.samples if is_annotated(sample))
        save_checkpoint(out, method, name=ref.name, meta=meta)
    return out


def total_steps(recipe: Recipe, samples: int) -> int:
    """Optimiser steps of the whole training; the last incomplete batch of an epoch is dropped.

    Raises:
        UsageError: if there are fewer samples than a batch.
    """
    if samples < recipe.batch_size:
        raise UsageError(
            f"the recipe {recipe.name} has batches of {recipe.batch_size}, and the split holds {samples} samples"
        )
    return recipe.epochs * (samples // recipe.batch_size)


@dataclass
class _Fit:
    """A training at work."""

    training: Training
    method: Any
    optimizer: torch.optim.Optimizer
    pairs: TrainingSet
    steps: int

    def epoch(self, epoch: int, shown: Callable[[int], None], advance: Advance) -> None:
        """Train one epoch, whose chances depend on its number alone; every step is logged as it ends."""
        training, recipe = self.training, self.training.recipe
        torch.manual_seed(recipe.seed * 1_000_003 + epoch)
        self.method.train()
        if hasattr(self.method, "start_epoch"):
            self.method.start_epoch(epoch)
        batches = iterate_training(
            self.pairs, epoch=epoch, batch_size=recipe.batch_size, workers=training.workers, device=training.device
        )
        with (training.out / LOG).open("a", encoding="utf-8", buffering=1) as log:
            for step, raw in enumerate(batches, epoch * (self.steps // recipe.epochs)):
                place = {"epoch": epoch + 1, "step": step + 1}
                for sample, reason in raw.broken:
                    log.write(json.dumps({**place, BROKEN: sample, "reason": reason}) + "\n")
                if raw.ids:
                    row = {**place, **self._step(raw, step)}
                    log.write(json.dumps(row) + "\n")
                    advance(row)
                shown(1)

    def _step(self, raw: RawBatch, step: int) -> dict[str, float]:
        recipe = self.training.recipe
        rate = recipe.lr * learning_rate_factor(recipe.schedule, step, self.steps)
        batch = prepare(raw, self.method, recipe, self.training.split.samples)
        return {"lr": rate, **_step(self.method, self.optimizer, batch, rate)}


def _fit(training: Training, method: Any, state: Path | None, *, progress: Progress, advance: Advance) -> None:
    recipe, split = training.recipe, training.split
    steps = total_steps(recipe, len(split.samples))
    optimizer = _optimizer(recipe, method)
    done = _restore(training, state, method, optimizer) if state else 0
    _trim_log(training.out / LOG, done)
    options = TrainingOptions(crop=recipe.images == "crop", cache_bytes=CACHE_BYTES)
    near = _neighbours(training, method, progress)
    pairs = TrainingSet(split, training_windows(method), seed=recipe.seed, options=options, neighbours=near)
    pairs.broken.reasons.update(broken_samples(training.out))
    fit = _Fit(training, method, optimizer, pairs, steps)
    training.out.mkdir(parents=True, exist_ok=True)
    title = f"training {training.ref.name} on {split.name} ({recipe.epochs} epochs)"
    with progress(title, steps) as shown:
        shown(done * (steps // recipe.epochs))
        for epoch in range(done, recipe.epochs):
            fit.epoch(epoch, shown, advance)
            _save_state(training, method, optimizer, epoch + 1)


def _neighbours(training: Training, method: Any, progress: Progress) -> Neighbours | None:
    """What conceptual views are drawn from; None for methods without."""
    if "conceptual" in views_of(method):
        machine = Machine(training.device, training.workers, progress)
        return find_neighbours(training.split, training.sources, int(getattr(method, "neighbours", 0)), machine)
    return None


def learning_rate_factor(schedule: str, step: int, steps: int) -> float:
    """Factor on the recipe's rate at ``step`` of ``steps``: 1, or a linear rise and a cosine fall to zero."""
    if schedule == "constant":
        return 1.0
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _step(method: Any, optimizer: torch.optim.Optimizer, batch: Batch, rate: float) -> dict[str, float]:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    terms: dict[str, Tensor] = method.loss(batch)
    values = {name: float(term.detach()) for name, term in terms.items()}
    if not math.isfinite(values["total"]):
        raise AvbenchError(f"the loss is no longer a number ({values}): lower lr in the recipe and resume")
    terms["total"].backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return values


def _optimizer(recipe: Recipe, method: Any) -> torch.optim.Optimizer:
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    trainable = [parameter for parameter in method.parameters() if parameter.requires_grad]
    if not trainable:
        raise UsageError(f"no parameter of {type(method).__name__} has requires_grad: there is nothing to train")
    return kind(trainable, lr=recipe.lr, weight_decay=recipe.weight_decay)


def _save_state(training: Training, method: Any, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    final, temporary = training.out / f"epoch-{epoch:04d}", training.out / f".epoch-{epoch:04d}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    save_checkpoint(temporary, method, name=training.ref.name, meta=training.meta(epoch))
    state = optimizer.state_dict()
    tensors = {f"{i}.{name}": value for i, entry in state["state"].items() for name, value in entry.items()}
    write_atomic(temporary / "optimizer.safetensors", save({key: t.contiguous() for key, t in tensors.items()}))
    write_json(temporary / "optimizer.json", state["param_groups"])
    temporary.rename(final)
    for older in training.out.glob("epoch-*"):
        if older != final:
            shutil.rmtree(older)


def _restore(training: Training, state: Path, method: Any, optimizer: torch.optim.Optimizer) -> int:
    """Load a state; returns the number of finished epochs."""
    done = int(state.name.removeprefix("epoch-"))
    _require_same(state, method, training.ref.name, training.meta(done))
    try:
        method.load_state_dict(load_file(state / "model.safetensors"))
        optimizer.load_state_dict(_optimizer_state(state))
    except (AvbenchError, SafetensorError, OSError, RuntimeError, *MISFITS) as problem:
        raise AvbenchError(
            f"expected in {state} the state to go on from, which is damaged ({' '.join(str(problem).split())}): "
            "delete that folder, to train from the state before it, or else from the beginning"
        ) from problem
    return done


def _optimizer_state(state: Path) -> dict[str, Any]:
    entries: dict[int, dict[str, Tensor]] = {}
    for key, tensor in load_file(state / "optimizer.safetensors").items():
        index, name = key.split(".", 1)
        entries.setdefault(int(index), {})[name] = tensor
    return {"state": entries, "param_groups": read_json(state / "optimizer.json")}


def broken_samples(folder: Path) -> dict[str, str]:
    """Why, by id, samples were left out of the training in ``folder``, as its log has it.

    Raises:
        AvbenchError: for a log that is damaged.
    """
    rows = (row for _, row in _logged(folder / LOG))
    return {row[BROKEN]: str(row.get("reason")) for row in rows if BROKEN in row}


def _trim_log(path: Path, epochs: int) -> None:
    """Drop the rows of epochs that will be trained again."""
    if path.exists():
        write_atomic(path, "".join(line for line, row in _logged(path) if row["epoch"] <= epochs).encode())


def _logged(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The lines of a log and what they hold, without one that a killed process left unfinished."""
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8") as file:
            lines = [(line, json.loads(line)) for line in file if line.endswith("\n")]
        for _, row in lines:
            row["epoch"] + 0
    except MISFITS as problem:
        raise AvbenchError(
            f"expected a step's row of JSON in each line of {path}, which has another ({problem}): delete "
            f"{path.parent} to begin again, or that line to go on"
        ) from problem
    return lines
