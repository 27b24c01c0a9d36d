"""The contrastive loss that the methods share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(logits: Tensor) -> Tensor:
    """Symmetric InfoNCE: mean cross-entropy of the rows plus that of the columns, summed and not halved.

    Args:
        logits: ``[B, B]`` similarities over the temperature; row n and column n belong together.

    Returns: a scalar.
    """
    own = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
