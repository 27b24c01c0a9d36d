"""Training as the official EZ-VSL program does it: every sample loaded alone, all terms in float32, plain Adam.

The steps that ``avbench profile train`` is timed beside, written from the description of that program: nothing of the
package is imported. The loader of one sample and the network stand in official_loading.py and official_evaluation.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

LEARNING_RATE = 1e-4

Pair = tuple[Tensor, Tensor]
Load = Callable[[Path, Path, str], Pair]
"""A picture's file and a sound's to the tensors of one sample, as a mode does it."""


class Pairs(Dataset[Pair]):
    """The training pairs, each read and decoded when it is asked for."""

    def __init__(self, files: Sequence[tuple[Path, Path]], load: Load) -> None:
        self.files, self.load = files, load

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Pair:
        return self.load(*self.files[index], "train")


def loader(files: Sequence[tuple[Path, Path]], load: Load, batch_size: int) -> DataLoader[Pair]:
    """Shuffled pictures ``[B, 3, 224, 224]`` and spectrograms ``[B, 1, F, T]``; an incomplete batch is dropped."""
    return DataLoader(Pairs(files, load), batch_size, shuffle=True, drop_last=True)


def optimizer_of(network: nn.Module) -> torch.optim.Optimizer:
    """Adam over all parameters, at a constant rate and without decay."""
    return torch.optim.Adam(network.parameters(), LEARNING_RATE)


def training_step(network: nn.Module, optimizer: torch.optim.Optimizer, batch: Sequence[Tensor]) -> float:
    """One step; the loss before it. The forward pass makes the maps as well, which nobody looks at."""
    image, spectrogram = batch
    loss, _ = network(image.float(), spectrogram.float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.item())
