"""Building a method, from its settings or from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from avbench.checkpoints import load_checkpoint
from avbench.registry import MethodRef, load_class, make_config
from avbench.request import MethodRequest


def build(ref: MethodRef, checkpoint: Path | None, device: str, config: dict[str, Any]) -> Any:
    """The method on ``device`` in eval mode; see :func:`avbench.load_method`."""
    cls = load_class(ref)
    if checkpoint is None:
        method = cls(make_config(cls.config_class, config))
    else:
        method = load_checkpoint(checkpoint, cls, config)
    return method.to(torch.device(device)).eval()


def build_request(request: MethodRequest, device: str) -> Any:
    """The network of a request; what has no weights draws them from seed 0."""
    torch.manual_seed(0)
    return build(request.ref, request.checkpoint, device, request.overrides)


def place_of(method: Any) -> tuple[torch.device, torch.dtype]:
    """Device and floating type of the method's first floating parameter or buffer; CPU and float32 without any."""
    tensors = method.state_dict().values() if hasattr(method, "state_dict") else ()
    first = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))
    return first.device, first.dtype
