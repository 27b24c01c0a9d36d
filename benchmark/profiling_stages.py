"""The stages of a training's steps, and how steps are timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from avbench.data.batches import RawBatch
from avbench.types import Batch

DATA, COPY, FRONT_END, FORWARD, BACKWARD, OPTIMISER, LOOP = STAGES = (
    *("data", "host to device", "front-end", "forward", "backward", "optimiser", "loop"),
)
"""Of a step, in their order: waiting for the decoded batch; its copy; augmentation, normalisation and spectrograms; the
loss; its gradients; the weights' step; and what else the loop does."""
AROUND = (DATA, COPY, FRONT_END, LOOP)
"""What a bare loop on resident batches does without."""

WARM_UP = 2
"""First steps that are not counted; with decoding processes also the batches that these hold ready at the start."""
PREFETCHED = 2
"""Batches that each decoding process makes ahead."""
Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Setup:
    """How training is timed.

    Attributes:
        batch_size: pairs a step.
        steps: that count, of each repeat too.
        repeats: how often the loops stand beside each other.
        precision: ``fp32``, ``bf16`` or ``fp16``, the latter two mixed.
        width: of the trunks, 1 as published.
        workers: decoding processes.
    """

    device: torch.device
    batch_size: int
    steps: int
    repeats: int
    precision: Precision = "fp32"
    width: float = 1.0
    workers: int = 0

    @property
    def unmeasured(self) -> int:
        """Steps that go before, until batches come as fast as they are decoded."""
        return WARM_UP + PREFETCHED * self.workers


@dataclass
class Stages:
    """Seconds of each stage of each step; what a GPU was asked for belongs to the stage that asked.

    Attributes:
        device: whose queue is emptied where a stage ends.
        apart: False leaves the queue alone, as a training does: only the first stage and the sum mean anything then.
        now: the clock.
        steps: seconds by stage.
    """

    device: torch.device
    apart: bool = True
    now: Callable[[], float] = time.perf_counter
    steps: list[dict[str, float]] = field(default_factory=list)
    _since: float = 0.0

    def over(self, batches: Iterator[RawBatch]) -> Iterator[RawBatch]:
        """The batches; a step lasts from the asking for one to the asking for the next."""
        self._since = self.now()
        while True:
            self.steps.append(dict.fromkeys(STAGES, 0.0))
            raw = next(batches, None)
            if raw is None:
                self.steps.pop()
                return
            self.end(DATA, finish=False)
            self.end(COPY)
            yield raw
            self.end(LOOP)

    def end(self, stage: str, *, finish: bool = True) -> None:
        """What passed since the end of the stage before belongs to this one."""
        if finish and self.apart:
            settle(self.device)
        now = self.now()
        self.steps[-1][stage] += now - self._since
        self._since = now

    @contextmanager
    def watching(self, method: Any, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """Note where the method's loss and the optimiser's step begin and end, whoever calls them."""
        loss = method.loss

        def timed(batch: Batch) -> dict[str, Tensor]:
            self.end(FRONT_END)
            terms: dict[str, Tensor] = loss(batch)
            self.end(FORWARD)
            return terms

        before = optimizer.register_step_pre_hook(lambda *_: self.end(BACKWARD))
        after = optimizer.register_step_post_hook(lambda *_: self.end(OPTIMISER))
        method.loss = timed
        try:
            yield
        finally:
            del method.loss
            before.remove()
            after.remove()


def settle(device: torch.device) -> None:
    """Wait until the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
