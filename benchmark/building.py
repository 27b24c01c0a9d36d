"""Building a method, from its settings or from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from avbench.checkpoints import load_checkpoint
from avbench.registry import MethodRef, load_class, make_config
from avbench.request import MethodRequest

NARROW = 16
"""Channels below which a shortcut keeps the ordinary layout on the CPU, with a margin."""


def build(ref: MethodRef, checkpoint: Path | None, device: str, config: dict[str, Any]) -> Any:
    """The method on ``device`` in eval mode; see :func:`avbench.load_method`."""
    cls = load_class(ref)
    if checkpoint is None:
        method = cls(make_config(cls.config_class, config))
    else:
        method = load_checkpoint(checkpoint, cls, config)
    return method.to(torch.device(device)).eval()


def build_request(request: MethodRequest, device: str) -> Any:
    """The network of a request, to be asked and not trained; what has no weights draws them from seed 0.

    Its convolutions lie channels last, which spares the CPU a third of the time of a ResNet.
    """
    torch.manual_seed(0)
    return build(request.ref, request.checkpoint, device, request.overrides).to(memory_format=torch.channels_last)


def place_of(method: Any) -> tuple[torch.device, torch.dtype]:
    """Device and floating type of the method's first floating parameter or buffer; CPU and float32 without any."""
    tensors = method.state_dict().values() if hasattr(method, "state_dict") else ()
    first = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))
    return first.device, first.dtype


def training_layout(method: torch.nn.Module, device: torch.device) -> torch.memory_format:
    """The memory layout in which a network trains: channels last, the quickest, wherever it is safe.

    On the CPU PyTorch 2.11 writes past its memory in the gradient of a channels-last 1 x 1 convolution of stride 2 with
    few channels (8 and fewer were seen to crash, 9 and more not): slim networks keep the ordinary layout there.
    """
    if device.type == "cpu" and any(_is_narrow_shortcut(part) for part in method.modules()):
        return torch.contiguous_format
    return torch.channels_last


def _is_narrow_shortcut(part: torch.nn.Module) -> bool:
    if not isinstance(part, torch.nn.Conv2d):
        return False
    return part.kernel_size == (1, 1) and part.stride != (1, 1) and part.in_channels < NARROW
