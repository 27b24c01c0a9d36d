"""Optimisers and the rates of their steps."""

from __future__ import annotations

import math
from typing import Any

import torch

from avbench.errors import UsageError
from avbench.recipe import Recipe

WARM_UP = 0.15
"""Share of the steps over which the one-cycle schedule rises."""

DECAY = 0.9
"""Factor of the ``step`` schedule from one epoch to the next (JSA ``train_slot.py``, behind ``--scheduler``)."""


def steps_per_epoch(recipe: Recipe, samples: int) -> int:
    """Optimiser steps of an epoch; what is left after the last whole batch is dropped.

    Raises:
        UsageError: if there are fewer samples than a batch.
    """
    if samples < recipe.batch_size:
        raise UsageError(
            f"the recipe {recipe.name} has batches of {recipe.batch_size}, and the split holds {samples} samples: "
            "lower batch_size with --recipe-set batch_size=N, or in a recipe file"
        )
    return samples // recipe.batch_size


def total_steps(recipe: Recipe, samples: int) -> int:
    """Optimiser steps of the whole training; the last incomplete batch of an epoch is dropped.

    Raises:
        UsageError: if there are fewer samples than a batch.
    """
    return recipe.epochs * steps_per_epoch(recipe, samples)


def learning_rate(recipe: Recipe, step: int, per_epoch: int) -> float:
    """The rate of ``step``, counted from 0, where an epoch has ``per_epoch`` of them."""
    warm = round(recipe.warmup_epochs * per_epoch)
    if step < warm:
        return recipe.lr * (step + 1) / warm
    return recipe.lr * learning_rate_factor(
        recipe.schedule, step - warm, recipe.epochs * per_epoch - warm, per_epoch=per_epoch
    )


def learning_rate_factor(schedule: str, step: int, steps: int, *, per_epoch: int = 1) -> float:
    """Factor on the recipe's rate at ``step`` of ``steps``.

    ``constant``: 1. ``one-cycle``: a linear rise over the first 15 % of the steps and a cosine fall to zero.
    ``cosine``: the fall alone. ``step``: 0.9 to the number of whole epochs of ``per_epoch`` steps before.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return float(DECAY ** (step // per_epoch))
    rise = max(1, round(WARM_UP * steps)) if schedule == "one-cycle" else 0
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def make_optimizer(recipe: Recipe, method: Any, device: torch.device) -> torch.optim.Optimizer:
    """The recipe's optimiser over the method's trainable parameters; on CUDA in its fused form.

    On the CPU PyTorch's plain loop is kept: the fused form rounds differently, and recorded figures come from the
    former.

    Raises:
        UsageError: where nothing is trainable.
    """
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    trainable = [parameter for parameter in method.parameters() if parameter.requires_grad]
    if not trainable:
        raise UsageError(f"no parameter of {type(method).__name__} has requires_grad: there is nothing to train")
    fused = True if device.type == "cuda" else None
    return kind(trainable, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused)
