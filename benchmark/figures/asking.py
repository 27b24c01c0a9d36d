"""A method with its weights, asked about samples of a split: what a figure shows that no result has stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from avbench.building import build_request
from avbench.data.coverage import covered
from avbench.data.loader import LoaderOptions, RawBatch, iterate_batches
from avbench.data.splits import Sample, Split
from avbench.errors import UsageError
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


def numbers_of(samples: Sequence[Sample], wanted: Sequence[str] | int, *, split: str) -> list[int]:
    """Where the samples of a figure stand in ``samples``.

    Args:
        samples: to choose from.
        wanted: ids, in the order of the figure; or how many, spread evenly over those with a sounding object.
        split: what errors call the list.

    Raises:
        UsageError: for an id that is not there, or is named twice.
    """
    if isinstance(wanted, int):
        sounding = [place for place, sample in enumerate(samples) if sample.sounding] or list(range(len(samples)))
        step = max(1, len(sounding) // wanted)
        return sounding[::step][:wanted]
    there = {sample.id: place for place, sample in enumerate(samples)}
    for name in wanted:
        if name not in there:
            raise UsageError(f"the split {split} has no sample {name!r} with media: name ids of its list")
    return [there[name] for name in wanted]


def picture(sample: Sample) -> NDArray[np.uint8]:
    """The squashed picture of a sample: uint8 ``[224, 224, 3]``.

    Raises:
        UsageError: where the split was loaded without media.
        AvbenchError: if it cannot be decoded.
    """
    from avbench.data.batches import present
    from avbench.data.decoding import decode_image

    return np.moveaxis(decode_image(present(sample.image, sample)), 0, -1)
