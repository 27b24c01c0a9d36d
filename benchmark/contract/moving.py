"""Demands on a method that moves: into a checkpoint, another floating type, another device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from avbench.contract.asking import (
    ContractError,
    ask_everything,
    ask_loss,
    doubled,
    has_loss,
    in_training,
    require_close,
    some,
)
from avbench.contract.noise import changed, noise_batch

ACROSS = 1e-3
"""As :data:`avbench.contract.asking.TOLERANCE`, between devices and between floating types."""


def state(cls: Any) -> str | None:
    """The state dict is the whole method: saved and loaded into a twin, it gives the same answers and loss."""
    method, twin = in_training(cls, seed=7).eval(), in_training(cls, seed=8).eval()
    held = {name: value.contiguous() for name, value in method.state_dict().items()}
    if not held:
        return "it has no weights"
    try:
        saved = save(held)
    except RuntimeError as problem:
        reason = " ".join(str(problem).split())
        raise ContractError(
            f"expected a state dict that a checkpoint can hold, but {reason}: register a shared tensor under one name"
        ) from problem
    twin.load_state_dict(load(saved))
    usual, other = (ask_everything(one, noise_batch(one)) for one in (method, twin))
    if has_loss(cls):
        usual, other = {**usual, **_loss_of(method)}, {**other, **_loss_of(twin)}
    remedy = "hold all that is drawn in parameters or buffers"
    require_close(usual, other, where="in a twin with its state dict", remedy=remedy, tolerance=0)
    return None


def float64(cls: Any) -> str | None:
    """In float64 it answers in float64, with the same values."""
    method, twin = in_training(cls).eval(), in_training(cls).double().eval()
    if not any(tensor.is_floating_point() for tensor in method.state_dict().values()):
        return "it has no weights"
    usual, found = _everything(method, Tensor.clone), _everything(twin, doubled)
    single = [name for name, value in found.items() if value.dtype != torch.float64]
    if single:
        raise ContractError(f"expected float64 from weights in float64, but {some(single)} came otherwise: do not cast")
    require_close(
        usual, found, where="in float64", remedy="look for a sum or an exponent that overflows", tolerance=ACROSS
    )
    return None


def device(cls: Any) -> str | None:
    """On a GPU it gives the CPU's answers and loss."""
    gpu = accelerator()
    if gpu is None:
        return "no GPU here"
    method, twin = in_training(cls).eval(), in_training(cls).eval().to(gpu)
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        found = _everything(twin, lambda tensor: tensor.to(gpu))
    remedy = "make every tensor on the device and in the type of what it meets"
    require_close(_everything(method, Tensor.clone), found, where=f"on {gpu}", remedy=remedy, tolerance=ACROSS)
    return None


def accelerator() -> torch.device | None:
    """The GPU on which answers are compared with the CPU's; None where there is none."""
    return torch.device("cuda") if torch.cuda.is_available() else None


def _everything(method: Any, change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The answers and the loss of a method in eval mode for batches of which ``change`` was made."""
    answers = ask_everything(method, changed(noise_batch(method), change))
    return {**answers, **_loss_of(method, change)} if has_loss(type(method)) else answers


def _loss_of(method: Any, change: Callable[[Tensor], Tensor] = Tensor.clone) -> dict[str, Tensor]:
    return {f"the loss's {name}": value for name, value in ask_loss(method, change=change).items()}
