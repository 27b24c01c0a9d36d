"""Precision in which delicate steps are computed, whatever the caller's autocast."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32; float64 stays as it is."""
    return x if x.dtype == torch.float64 else x.float()
