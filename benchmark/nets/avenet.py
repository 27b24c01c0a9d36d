"""The two-stream network of LVS, which Alignment uses too (both official repositories, ``models/base_models.py``)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.nets.resnet import Trunk, load_imagenet

DROPPINGS = {
    r"imgnet\.(conv1_a|conv1_flow)\.weight": "first convolutions for sound and flow, which the image net never runs",
    r"audnet\.(conv1|conv1_flow)\.weight": "first convolutions for pictures and flow, which the sound net never runs",
    r"(imgnet|audnet)\.fc\.(weight|bias)": "a classifier of 1000 kinds, which neither net runs",
}
"""Layers of the official class that no pass uses: 1,076,176 of its 23,422,928 parameters."""


class AVENet(nn.Module):
    """Two ResNet-18 from scratch, the last stage at stride 1: 14 x 14 cells of a picture, one vector of a sound.

    All features come after a ReLU, so that every cosine lies in [0, 1].

    Convolutions start kaiming-normal (fan-out, ReLU), batch-norm weights in both nets normal(1, 0.02), biases 0.

    Args:
        width: of both trunks: 1 = ResNet-18 as published.
        pretrained: of the image trunk: None, ``"imagenet"`` or a path, as :func:`load_imagenet` takes it.
    """

    droppings = DROPPINGS

    def __init__(self, *, width: float, pretrained: str | None) -> None:
        super().__init__()
        self.imgnet = Trunk(3, width=width, last_stride=1)
        self.audnet = Trunk(1, width=width, stem="conv1_a", last_stride=1)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight, mean=1.0, std=0.02)
        if pretrained is not None:
            load_imagenet(self.imgnet, pretrained)

    def cells(self, image: Tensor) -> Tensor:
        """``[B, 3, H, W]`` to ``[B, features, ceil(H / 16), ceil(W / 16)]``, at least 0, not normalised."""
        found: Tensor = self.imgnet(image)
        return found

    def sound(self, audio: Tensor | None) -> Tensor:
        """``[B, 1, F, T]`` to each channel's maximum ``[B, features]``, at least 0, not normalised."""
        found: Tensor = self.audnet(audio).amax(dim=(2, 3))
        return found

    def cosines(self, image: Tensor, audio: Tensor | None) -> Tensor:
        """Cosine of each sample's own cells and sound, ``[B, h, w]`` in [0, 1]."""
        cells, sounds = F.normalize(self.cells(image), dim=1), F.normalize(self.sound(audio), dim=1)
        return torch.einsum("nchw,nc->nhw", cells, sounds)
