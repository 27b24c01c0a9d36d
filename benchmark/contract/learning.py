"""Demands on how a method learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from avbench.contract.asking import ContractError, ask_loss, has_loss, in_training, require_close, some


def loss(cls: Any) -> str | None:
    """The loss gives finite scalar terms, ``total`` among them, in the first epoch and in late ones."""
    if not has_loss(cls) and cls.info.trainable and not hasattr(cls, "fit"):
        raise ContractError(
            "expected loss(batch), since the method is registered as trainable, found none: write it, or register with "
            "trainable=False"
        )
    return _on_loss(cls, lambda method: (ask_loss(method), ask_loss(in_training(cls, epoch=0))))


def gradients(cls: Any) -> str | None:
    """The loss gives every parameter with ``requires_grad`` a finite gradient."""
    return _on_loss(cls, _check_gradients)


def _check_gradients(method: Any) -> None:
    learning = {name: p for name, p in method.named_parameters() if p.requires_grad}
    total = ask_loss(method)["total"]
    if not total.requires_grad:
        raise ContractError(
            f"expected a total that depends on the {len(learning)} parameters with requires_grad, got one that depends "
            "on none: do not detach it"
        )
    total.backward()  # type: ignore[no-untyped-call]
    lost = [name for name, p in learning.items() if p.grad is None]
    if lost:
        raise ContractError(
            f"expected a gradient for each of {len(learning)} parameters with requires_grad, but {len(lost)} got none "
            f"({some(lost)}): use them in the loss, or freeze them with requires_grad_(False)"
        )
    wild = [name for name, p in learning.items() if not p.grad.isfinite().all()]
    if wild:
        raise ContractError(
            f"expected finite gradients, but {len(wild)} of {len(learning)} are not ({some(wild)}): look for a root, a "
            "logarithm or a division at zero"
        )


def same_loss(cls: Any) -> str | None:
    """One seed, one loss: what is random in training is drawn with torch."""

    def check(method: Any) -> None:
        one, twin = ask_loss(method), ask_loss(in_training(cls))
        remedy = "draw what is random with torch, not with random or numpy"
        require_close(one, twin, where="twice from the same seed", remedy=remedy, tolerance=0)

    return _on_loss(cls, check)


def forward(cls: Any) -> str | None:
    """``forward(batch)`` is the loss, as wrappers for several devices expect."""
    if cls.forward is nn.Module.forward:
        return "it has no forward of its own"

    def check(method: Any) -> None:
        called, lost = ask_loss(method, name="__call__"), ask_loss(in_training(cls))
        require_close(lost, called, where="from forward", remedy="let forward return self.loss(batch)", tolerance=0)

    return _on_loss(cls, check)


def step(cls: Any) -> str | None:
    """A step of the optimiser changes the loss."""

    def check(method: Any) -> None:
        optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-3, weight_decay=0)
        before = ask_loss(method)["total"]
        before.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if ask_loss(method)["total"].item() == before.item():
            raise ContractError(
                f"expected a step of AdamW to change the loss, but it stays at {before.item():.6g}: let total depend "
                "on the parameters"
            )

    return _on_loss(cls, check)


def _on_loss(cls: Any, check: Callable[[Any], object]) -> str | None:
    if not has_loss(cls):
        return "it has no loss"
    check(in_training(cls))
    return None
