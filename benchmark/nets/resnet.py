"""The ResNet-18 trunk that the methods share, under torchvision's parameter names."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights
from torchvision.models.resnet import BasicBlock

from avbench.checkpoints import load_weights
from avbench.errors import AvbenchError, UsageError

STRIDE = 32
"""Input pixels, or spectrogram frames, per cell of the trunk's output; a part of a cell counts as one."""


class Trunk(nn.Module):
    """ResNet-18 without pooling and classifier; at width 1 torchvision's, so that official keys load unchanged.

    Convolutions start kaiming-normal (fan-out, ReLU), batch norms at weight 1 and bias 0, as torchvision does.

    Args:
        channels: channels of the input, 3 for pictures, 1 for spectrograms.
        width: multiplies all channel counts; ``features`` is ``round(64 * width) * 8``.
        stem: name of the first convolution; JSA calls that of the audio trunk ``conv1_1``, LVS ``conv1_a``.
        last_stride: 1 keeps the last stage at twice the resolution, 14 x 14 cells of 224 x 224 pixels (LVS, Alignment).
    """

    def __init__(
        self, channels: int = 3, *, width: float = 1.0, stem: str = "conv1", last_stride: Literal[1, 2] = 2
    ) -> None:
        super().__init__()
        base = round(64 * width)
        if base < 1:
            raise UsageError(f"width must leave at least one of 64 channels, got width = {width:g}: use 1/64 or more")
        self.base, self.features, self.stem = base, base * 8, stem
        self.add_module(stem, nn.Conv2d(channels, base, kernel_size=7, stride=2, padding=3, bias=False))
        self.bn1 = nn.BatchNorm2d(base)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = _stage(base, base, stride=1)
        self.layer2 = _stage(base, base * 2, stride=2)
        self.layer3 = _stage(base * 2, base * 4, stride=2)
        self.layer4 = _stage(base * 4, base * 8, stride=last_stride)
        reset_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, H, W]`` to the last block's ``[B, features, ceil(H / 32), ceil(W / 32)]``, at least 0.

        With ``last_stride=1`` the cells are ``ceil(H / 16)`` by ``ceil(W / 16)``.
        """
        x = self.maxpool(self.relu(self.bn1(self.get_submodule(self.stem)(x))))
        cells: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return cells


def _stage(inside: int, outside: int, *, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or inside != outside:
        shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
    return nn.Sequential(BasicBlock(inside, outside, stride, shortcut), BasicBlock(outside, outside))


def reset_convolutions(net: nn.Module) -> None:
    """Draw the weights of all convolutions in ``net`` kaiming-normal (fan-out, ReLU); biases stay as they are."""
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


def load_imagenet(trunk: Trunk, pretrained: str) -> None:
    """Fill ``trunk`` with ImageNet weights; parts that it has beside a ResNet-18 (a projection) are left alone.

    Args:
        trunk: a three-channel trunk of width 1.
        pretrained: ``"imagenet"`` for the published weights, or the path of a file that holds them.

    Raises:
        UsageError: for another width: the published weights have 64 base channels.
        AvbenchError: as :func:`imagenet_weights`.
    """
    if trunk.base != 64:
        raise UsageError(
            f"ImageNet weights need width = 1, got {trunk.base / 64:g}: drop the pretrained weights or the width"
        )
    trunk.load_state_dict(imagenet_weights(None if pretrained == "imagenet" else Path(pretrained)), strict=False)


def imagenet_weights(path: Path | None) -> dict[str, Tensor]:
    """The ImageNet weights of torchvision's ``resnet18`` (IMAGENET1K_V1), classifier dropped.

    Args:
        path: a file that holds them; None looks in torchvision's cache folder, then downloads them there.

    Raises:
        AvbenchError: where the file cannot be read or is none of a ResNet-18, or nothing can be had without a path.
    """
    file = _published() if path is None else path
    state = load_weights(file).state
    found = {key: value for key, value in state.items() if not key.startswith("fc.")}
    with torch.device("meta"):
        expected = Trunk().state_dict()
    wrong = sorted(k for k in expected.keys() | found.keys() if _shape(expected, k) != _shape(found, k))
    if wrong:
        raise AvbenchError(
            f"expected the {len(expected)} tensors of torchvision's resnet18 in {file}, but {len(wrong)} are "
            f"missing, unknown or of another shape ({', '.join(wrong[:3])}): give the file that torchvision publishes"
        )
    return found


def _shape(state: dict[str, Tensor], key: str) -> torch.Size | None:
    return state[key].shape if key in state else None


def _published() -> Path:
    url: str = ResNet18_Weights.IMAGENET1K_V1.url
    folder, name = Path(torch.hub.get_dir()) / "checkpoints", url.rsplit("/", 1)[-1]
    file = folder / name
    if not file.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix=Path(name).stem.split("-")[1], progress=False)
        except (OSError, RuntimeError) as problem:
            raise AvbenchError(
                f"the ImageNet weights {name} are not in {folder} and cannot be downloaded ({problem}): put the file "
                f"there, or name it, for ogl with --set ogl.weights={name}, for neighbours with --weights {name}"
            ) from problem
    return file
