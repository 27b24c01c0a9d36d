"""Evaluating as the official EZ-VSL and SLAVC programs do it: batches of one, every network for every sample.

The second implementation that ``avbench run`` is timed beside, written from the description of those programs: nothing
of the package is imported. As there, the forward pass computes the training loss as well, SLAVC's runs its four trunks
whichever of them localises, and the object network runs anew for every sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18

TAU = 0.03
OBJECTS = "objects"
MAPS = ("av", OBJECTS, "av+objects")
"""What is scored of each sample."""

Box = tuple[float, float, float, float]
Scores = dict[str, dict[str, float]]
"""Of each of :data:`MAPS` its ``ciou`` and, where the program has one, its ``confidence``."""


class EZVSL(nn.Module):
    """Two trunks with a projection each; the forward pass gives the loss and the maps of the own pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.imgnet, self.audnet = trunk(3), trunk(1)
        self.img_proj, self.aud_proj = nn.Conv2d(512, 512, 1), nn.Linear(512, 512)

    def forward(self, image: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """A scalar and ``[B, 7, 7]``."""
        cells = F.normalize(self.img_proj(self.imgnet(image).unflatten(1, (512, 7, 7))), dim=1)
        sounds = F.normalize(self.aud_proj(self.audnet(audio)), dim=1)
        logits = torch.einsum("nchw,mc->nmhw", cells, sounds) / TAU
        pooled, own = logits.flatten(2).max(dim=2).values, torch.arange(len(image))
        loss = F.cross_entropy(pooled, own) + F.cross_entropy(pooled.T, own)
        return loss, logits[own, own]


class SLAVC(nn.Module):
    """Four trunks with two projections each; the forward pass gives the loss and the maps of the momentum half."""

    def __init__(self) -> None:
        super().__init__()
        for half in ("", "momentum_"):
            self.add_module(f"{half}imgnet", trunk(3))
            self.add_module(f"{half}audnet", trunk(1))
            for space in (1, 2):
                self.add_module(f"{half}img_proj{space}", nn.Conv2d(512, 512, 1))
                self.add_module(f"{half}aud_proj{space}", nn.Linear(512, 512))
        self.img_dropout, self.aud_dropout = nn.Dropout(0.9), nn.Dropout(0.0)

    def forward(self, image: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """A scalar and ``[B, 7, 7]``."""
        online, slow = (self._half(half, image, audio) for half in ("", "momentum_"))
        own = torch.arange(len(image))
        loss = sum(
            F.cross_entropy(_match(cells, sounds), own)
            for cells, sounds in ((online[0], slow[1]), (slow[0], online[1]))
        )
        first, second = (torch.einsum("nchw,mc->nmhw", *pair) / TAU for pair in zip(*slow, strict=True))
        return torch.as_tensor(loss), ((first + second) / 2)[own, own]

    def _half(self, half: str, image: Tensor, audio: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        cells = self.img_dropout(self.get_submodule(f"{half}imgnet")(image).unflatten(1, (512, 7, 7)))
        sounds = self.aud_dropout(self.get_submodule(f"{half}audnet")(audio))
        return (
            [F.normalize(self.get_submodule(f"{half}img_proj{space}")(cells), dim=1) for space in (1, 2)],
            [F.normalize(self.get_submodule(f"{half}aud_proj{space}")(sounds), dim=1) for space in (1, 2)],
        )


METHODS: dict[str, Any] = {"ezvsl": EZVSL, "slavc": SLAVC}
RANGES = {"av": (-1 / TAU, 1 / TAU), OBJECTS: (0.0, 2.5)}
"""What SLAVC's program assumes of the maps."""


def trunk(channels: int) -> nn.Module:
    """A ResNet-18 without classifier: ``[B, 512 * 7 * 7]`` of pictures, ``[B, 512]``, pooled, of spectrograms."""
    network = resnet18(weights=None)
    network.fc = nn.Identity()
    network.avgpool = nn.Identity() if channels == 3 else nn.AdaptiveMaxPool2d((1, 1))
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return network


def object_network() -> nn.Module:
    """A whole ResNet-18, so that its weights have the published names; :func:`object_map` leaves the classifier out."""
    return resnet18(weights=None)


def object_map(network: Any, image: Tensor) -> Tensor:
    """``[B, 7, 7]``: mean magnitude of the last block's channels."""
    x = network.maxpool(network.relu(network.bn1(network.conv1(image))))
    return network.layer4(network.layer3(network.layer2(network.layer1(x)))).abs().mean(dim=1)


@torch.no_grad()
def evaluate_sample(
    method: str, networks: tuple[nn.Module, nn.Module], loaded: tuple[Tensor, Tensor], boxes: Sequence[Box], steps: Any
) -> Scores:
    """One turn of the official loop, loading aside.

    Args:
        method: One of :data:`METHODS`.
        networks: The method's and the object network, in eval mode.
        loaded: The picture ``[3, 224, 224]`` and the spectrogram ``[1, F, T]``.
        boxes: Of the sounding object, as fractions of the frame.
        steps: The module with the steps of scoring.
    """
    place = next(networks[0].parameters()).device
    image, audio = (tensor[None].to(place).float() for tensor in loaded)
    _, native = networks[0](image, audio)
    maps = {"av": native, OBJECTS: object_map(networks[1], image)}
    arrays = {name: found[0].cpu().numpy() for name, found in maps.items()}
    rules, truth = steps.PROTOCOLS[method], truth_of(boxes)
    found: Scores = {}
    for name in MAPS:
        used = [(arrays[part], RANGES[part]) for part in name.split("+")]
        _, canvas = steps.canvas_of(used, rules, truth.shape)
        found[name] = {"ciou": steps.ciou(steps.mask_of(canvas, rules), truth)}
        if method == "slavc":
            found[name]["confidence"] = steps.confidence_of(used, rules, truth.shape)
    return found


def truth_of(boxes: Sequence[Box], side: int = 224) -> Any:
    """The union of the boxes, ``[side, side]`` of 0 and 1; corners are cut to whole pixels."""
    truth = np.zeros((side, side))
    for box in boxes:
        x0, y0, x1, y1 = (int(min(max(value, 0.0), 1.0) * side) for value in box)
        truth[y0:y1, x0:x1] = 1
    return truth


def _match(cells: list[Tensor], sounds: list[Tensor]) -> Tensor:
    """Log probability ``[N, M]`` that a sound belongs to a picture: which sound, times which cell, over the cells."""
    which, where = (torch.einsum("nchw,mc->nmhw", c, s).flatten(2) / TAU for c, s in zip(cells, sounds, strict=True))
    return torch.log((which.softmax(dim=1) * where.softmax(dim=2)).sum(dim=2))


def save_made_up(method: str, folder: Path) -> tuple[tuple[nn.Module, nn.Module], tuple[Path, Path]]:
    """Networks with weights drawn at random, and the files that hold them in the form of the authors' programs."""
    torch.manual_seed(0)
    networks = (METHODS[method]().eval(), object_network().eval())
    files = (folder / f"{method}.pth", folder / "resnet18.pth")
    torch.save({"model": networks[0].state_dict(), "epoch": 0}, files[0])
    torch.save(networks[1].state_dict(), files[1])
    return networks, files
