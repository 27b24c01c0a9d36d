"""A method with its weights, asked about samples of a split: what a figure shows that no result has stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch

from avbench.building import build_request
from avbench.data.coverage import covered
from avbench.data.loader import LoaderOptions, RawBatch, iterate_batches
from avbench.data.splits import Split
from avbench.errors import UsageError
from avbench.figures.choice import FigureChoice
from avbench.figures.picking import named, pick
from avbench.opening import Places, Progress, open_split
from avbench.predicting import as_batch, decoding_processes, images_of, picture_of, resolve_device
from avbench.request import MethodRequest, Settings
from avbench.trained import trained_checkpoint
from avbench.types import Batch

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Question:
    """Which method is asked, on which split.

    Attributes:
        request: the method. Its settings are put on top of those that its weights were trained with, or of the demo
            recipe's where it has no checkpoint and the split is the demo world's.
        split: a name, or a file of a user's own.
        places: where annotation files and media of real splits stand.
        settings: device, batch size and decoding processes.
    """

    request: MethodRequest
    split: str
    places: Places
    settings: Settings


@dataclass(frozen=True)
class Asked:
    """A method that is ready to answer; its network is in evaluation mode."""

    name: str
    split: Split
    network: Any
    settings: Settings

    def answers(
        self, indices: Sequence[int], ask: Callable[[Any, Batch], Answer], progress: Progress
    ) -> Iterator[tuple[RawBatch, Batch, Answer]]:
        """What ``ask(network, batch)`` says of the samples with these numbers, batch by batch in their order.

        Raises:
            AvbenchError: for a sample that cannot be decoded.
        """
        device, looks = resolve_device(self.settings.device), picture_of(self.network)
        heard = self.network.frontend
        batches = iterate_batches(
            self.split,
            indices,
            windows=() if heard is None else (heard.window,),
            device=device,
            options=LoaderOptions(self.settings.batch_size, decoding_processes(self.settings), pictures=(looks,)),
        )
        with progress(f"asking {self.name} about {self.split.name}", len(indices)) as advance:
            for raw in batches:
                with torch.inference_mode():
                    batch = as_batch(raw, self.network, {}, images_of(raw, device))
                    answer = ask(self.network, batch)
                yield raw, batch, answer
                advance(len(raw.ids))


def ready(question: Question, progress: Progress) -> Asked:
    """The method of ``question``, built with its weights, and its split with media.

    Raises:
        UsageError: for an unknown split, one without media, or a method without weights on a real split.
        AvbenchError: for missing media or weights that do not fit.
    """
    request = question.request
    split, _ = covered(open_split(question.split, question.places, progress), request.info.needs)
    trained = trained_checkpoint(replace(request, overrides={}), split, question.settings, progress)
    device = str(resolve_device(question.settings.device))
    network = build_request(replace(trained, overrides=request.overrides), device)
    return Asked(request.ref.name, split, network, question.settings)


def numbers_of(split: Split, choice: FigureChoice, *, count: int) -> list[int]:
    """Where the samples of a figure stand in ``split.samples``: those named, or some that have a sounding object.

    Raises:
        UsageError: for an id that is not there, or a choice that asks how results differ.
    """
    if isinstance(choice.samples, tuple):
        return named(choice.samples, [sample.id for sample in split.samples], split.name)
    if choice.samples == "differ":
        raise UsageError("one method differs from no other: choose the samples evenly, at random or by their ids")
    sounding = np.flatnonzero([sample.sounding for sample in split.samples])
    return pick(choice, sounding, np.empty((0, 0)), count=count)
