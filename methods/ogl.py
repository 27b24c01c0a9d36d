"""OGL, the object-guided map: how strongly an ImageNet classifier responds to each image cell; hears nothing.

A baseline, and the prior that EZ-VSL (``test.py``) and its successors mix into their maps; the mixing belongs to the
protocols. Official code: stoneMo/EZ-VSL ``test.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from avbench.nets.resnet import Trunk, load_imagenet
from avbench.registry import register_method
from avbench.types import Batch, Picture, Prediction


@dataclass(frozen=True)
class OGLConfig:
    """Settings of OGL."""

    weights: str | None = (
        None  # a file of torchvision's resnet18; None = IMAGENET1K_V1 (official code), cached or fetched
    )
    picture: Picture = "squash"  # as the method that it is mixed into


@register_method(
    "ogl",
    config=OGLConfig,
    paper="arXiv:2203.09324",
    official="stoneMo/EZ-VSL",
    needs=("image",),
    control=True,
    trainable=False,
)
class OGL(nn.Module):
    """Object-guided localization: mean activation of the last block of an ImageNet ResNet-18, image only."""

    frontend = None
    score_range = (0.0, 2.5)
    """Not a bound but the range that SLAVC (``test.py``) assumes where it needs absolute scores."""

    def __init__(self, config: OGLConfig) -> None:
        super().__init__()
        self.config = config
        self.picture = config.picture
        self.trunk = Trunk()
        load_imagenet(self.trunk, config.weights or "imagenet")
        self.requires_grad_(False)
        self.eval()

    def localize(self, batch: Batch) -> Prediction:
        """Mean over the channels of the magnitude of the last block, ``[B, h, w]``, at least 0, unbounded."""
        return Prediction(self.trunk(batch.image).abs().mean(dim=1))
