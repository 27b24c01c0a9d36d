"""Slowly following copies of networks."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


def momentum_copy(net: Net) -> Net:
    """A copy of ``net``, buffers included, whose parameters no optimiser moves."""
    return deepcopy(net).requires_grad_(False)


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Move each parameter of ``slow`` to ``momentum * slow + (1 - momentum) * fast``; buffers stay as they are."""
    for behind, ahead in zip(slow.parameters(), fast.parameters(), strict=True):
        behind.lerp_(ahead, 1 - momentum)
