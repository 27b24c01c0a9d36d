"""States of a training from which it goes on to the bit: written whole or not at all, the newest ones kept."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from avbench.checkpoints import MODEL, save_checkpoint
from avbench.errors import AvbenchError
from avbench.store import read_json, write_atomic, write_json
from avbench.training.chances import Chances, note, restore
from avbench.training.plan import Training, require_same
from avbench.training.step_log import MISFITS

NAME = re.compile(r"state-\d{9}")
OPTIMIZER, AVERAGE, RANDOM = "optimizer.safetensors", "average.safetensors", "random.safetensors"


@dataclass(frozen=True)
class Best:
    """The best evaluation so far under one rule.

    Attributes:
        epoch: after how many epochs.
        metric: which one tells.
        value: of the metric, a fraction; larger is better, and of two that are equal the earlier one stays.
        split: the list on which.
    """

    epoch: int
    metric: str
    value: float
    split: str


@dataclass
class Position:
    """How far a training is.

    Attributes:
        epoch: whole epochs done.
        batch: batches of the epoch at work that are done.
        step: batches done in all.
        best: by rule, of those that are asked for.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: dict[str, Best] = field(default_factory=dict)


@dataclass
class Parts:
    """What changes as a training goes on.

    Attributes:
        method: the network.
        optimizer: over its parameters.
        precision: has ``state_dict`` and ``load_state_dict``: the scale of losses in half precision.
        average: the slowly following copy of all weights, where the recipe has one.
    """

    method: Any
    optimizer: torch.optim.Optimizer
    precision: Any
    average: AveragedModel | None = None


def states(out: Path) -> list[Path]:
    """The whole states in a folder, the oldest first."""
    return sorted(path for path in out.glob("state-*") if NAME.fullmatch(path.name))


def unfinished(out: Path) -> bool:
    """Whether a training was begun in the folder that can go on."""
    return bool(states(out))


def save_state(training: Training, parts: Parts, position: Position) -> None:
    """Write the state, and let go of those that are not to be kept.

    Raises:
        AvbenchError: if the disk refuses; the states before stay.
    """
    final = training.out / f"state-{position.step:09d}"
    with _whole(final) as folder:
        save_checkpoint(folder, parts.method, name=training.ref.name, meta=training.meta(position.epoch))
        described = _save_optimizer(folder, parts.optimizer)
        if parts.average is not None:
            write_atomic(folder / AVERAGE, save(_contiguous(parts.average.state_dict())))
        chances = note(training.device)
        write_atomic(folder / RANDOM, save(chances.tensors))
        write_json(
            folder / "position.json",
            {
                **asdict(position),
                "optimizer": described,
                "precision": parts.precision.state_dict(),
                "random": chances.numbers,
            },
        )
    for older in states(training.out)[: -training.keeping.states]:
        shutil.rmtree(older)


def load_state(training: Training, parts: Parts, state: Path) -> Position:
    """Go back to a state.

    Raises:
        UsageError: if it is another training's.
        AvbenchError: if it is damaged.
    """
    try:
        told = read_json(state / "position.json")
        position = _position(told)
    except (AvbenchError, *MISFITS) as problem:
        raise _damaged(state, problem) from problem
    require_same(state, parts.method.config, training.ref.name, training.meta(position.epoch))
    try:
        _fill(training, parts, state, told)
    except (AvbenchError, SafetensorError, OSError, RuntimeError, *MISFITS) as problem:
        raise _damaged(state, problem) from problem
    return position


def remove_states(out: Path) -> None:
    """Let go of all states, whole or not."""
    for path in [*states(out), *out.glob(".state-*")]:
        shutil.rmtree(path)


def _fill(training: Training, parts: Parts, state: Path, told: dict[str, Any]) -> None:
    parts.method.load_state_dict(load_file(state / MODEL))
    parts.optimizer.load_state_dict(_optimizer_state(state, told["optimizer"]))
    _lay_out(parts.optimizer)
    parts.precision.load_state_dict(told["precision"])
    if parts.average is not None:
        parts.average.load_state_dict(load_file(state / AVERAGE))
    restore(Chances(load_file(state / RANDOM), told["random"]), training.device)


def _damaged(state: Path, problem: Exception) -> AvbenchError:
    return AvbenchError(
        f"expected in {state} the state to go on from, which is damaged ({' '.join(str(problem).split())}): "
        "delete that folder, to train from the state before it, or else from the beginning"
    )


def _position(told: dict[str, Any]) -> Position:
    best = {rule: Best(**value) for rule, value in told["best"].items()}
    return Position(int(told["epoch"]), int(told["batch"]), int(told["step"]), best)


@contextmanager
def _whole(final: Path) -> Iterator[Path]:
    """A folder that stands under its name once all is in it and on the disk, and not at all where that fails."""
    temporary = final.with_name(f".{final.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        yield temporary
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        _sync(final.parent)
    except OSError as problem:
        raise AvbenchError(
            f"{final} cannot be written ({problem.strerror}): free space or name another folder"
        ) from problem
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}


def _save_optimizer(folder: Path, optimizer: torch.optim.Optimizer) -> Any:
    """Write the tensors of an optimiser's state; returns its groups, which are plain numbers."""
    state = optimizer.state_dict()
    tensors = {f"{i}.{name}": value for i, entry in state["state"].items() for name, value in entry.items()}
    write_atomic(folder / OPTIMIZER, save(_contiguous(tensors)))
    return state["param_groups"]


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give every moment the memory layout of its weight, which files do not keep and fused optimisers rely on."""
    for parameter, entry in optimizer.state.items():
        for name, value in entry.items():
            if value.shape == parameter.shape:
                entry[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _optimizer_state(folder: Path, groups: Any) -> dict[str, Any]:
    entries: dict[int, dict[str, Tensor]] = {}
    for key, tensor in load_file(folder / OPTIMIZER).items():
        index, name = key.split(".", 1)
        entries.setdefault(int(index), {})[name] = tensor
    return {"state": entries, "param_groups": groups}
