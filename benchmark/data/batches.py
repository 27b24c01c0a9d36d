"""How decoded samples become batches on a device: worker processes, page-locked memory, a copying stream."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from avbench.data.audio_modes import INSTEAD, AudioMode, altered
from avbench.data.decoding import Pixels, Shown, Waveform, cut, decode_sounds
from avbench.data.places import Place
from avbench.data.splits import Sample
from avbench.data.stacking import change_together, stack, stack_windows
from avbench.errors import AvbenchError, UsageError
from avbench.types import Box, Picture, Window

Failure = AvbenchError
"""Errors travel from a worker as values: raised there, the message would arrive wrapped in a traceback."""


Item = TypeVar("Item")
Made = TypeVar("Made")
Made_co = TypeVar("Made_co", covariant=True)

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
"""The part of a picture that is all of it."""


@dataclass
class RawBatch:
    """Decoded samples, before normalisation and front-ends.

    Attributes:
        indices: places of the samples in ``split.samples``.
        ids: their ids.
        image: uint8 ``[B, 3, 224, 224]``, squashed or cropped in training; None where no such image was needed.
        waveforms: for each window float32 ``[B, window.samples(rate)]``, or ``[B, channels, window.samples(rate)]``
            where it hears each of several channels; empty where no audio was needed. They may share memory.
        rate: of the waveforms in Hz; 0 where there are none.
        objects: boxes of all visible objects per sample; None where the split does not know them.
        places: the part of its picture that each image is, as fractions of the frame; a crop in training.
        partner: pictures and sounds of other samples that resemble these, row by row; in training alone. Its indices
            and ids are those of the pictures.
        broken: in training, ids of samples that could not be decoded, and why. For each of them the batch is one
            shorter: nothing takes its place, so that later batches stay what they are.
        pictures: the images in further ways, ``[B, 3, 224, 224]`` as :func:`avbench.data.decoding.decode_pictures`
            makes them; in testing alone, where a method asks for them.
    """

    indices: list[int]
    ids: list[str]
    image: Tensor | None
    waveforms: dict[Window, Tensor] = field(default_factory=dict)
    rate: int = 0
    objects: list[tuple[Box, ...]] | None = None
    places: list[Box] = field(default_factory=list)
    partner: RawBatch | None = None
    broken: tuple[tuple[str, str], ...] = ()
    pictures: dict[Picture, Tensor] = field(default_factory=dict)

    def tensors(self) -> list[Tensor]:
        """The images and the waveforms, as far as there are any, and those of the partners."""
        images = [] if self.image is None else [self.image]
        own = [*self.waveforms.values(), *images, *self.pictures.values()]
        return own if self.partner is None else own + self.partner.tensors()

    def pin_memory(self) -> RawBatch:
        """The batch in page-locked memory, from which copies to a GPU run beside other work."""
        return self._map(Tensor.pin_memory)

    def to(self, device: torch.device) -> RawBatch:
        """The batch on ``device``; a copy from page-locked memory is only queued when this returns."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def _map(self, change: Callable[[Tensor], Tensor]) -> RawBatch:
        image = None if self.image is None else change(self.image)
        partner = None if self.partner is None else self.partner._map(change)
        waveforms = change_together(self.waveforms, change)
        pictures = {kind: change(t) for kind, t in self.pictures.items()}
        return replace(self, image=image, waveforms=waveforms, partner=partner, pictures=pictures)


@dataclass
class Decoded:
    """One sample as a decoder hands it over; ``rate`` is 0 without waveforms, the rest as in :class:`RawBatch`."""

    index: int
    sample: Sample
    image: Pixels | None
    waveforms: dict[Window, Waveform]
    rate: int = 0
    place: Box = WHOLE
    partner: Decoded | None = None
    pictures: dict[Picture, Shown] = field(default_factory=dict)

    @property
    def likeness(self) -> tuple[object, ...]:
        """What samples must have in common to be stacked: rates and numbers of channels, the partner's too."""
        own = self.rate, tuple(samples.shape[:-1] for samples in self.waveforms.values())
        return own if self.partner is None else (*own, *self.partner.likeness)


@dataclass(frozen=True)
class Broken:
    """A sample that cannot be decoded, by its id, and why, where the others are to go on without it."""

    id: str
    reason: str


class Decoder(Protocol[Made_co]):
    """What a worker process runs; it has to be picklable."""

    def __getitem__(self, key: int) -> Made_co:
        """The sample that ``key`` stands for."""

    def __len__(self) -> int:
        """How many keys there are."""


def hear(
    sample: Sample, windows: Collection[Window], *, rate: int | None, mode: AudioMode = "true", key: str = ""
) -> tuple[dict[Window, Waveform], int]:
    """The windows of a sample's sound and their rate; each file is decoded once.

    ``mode`` and ``key`` are those of :func:`avbench.data.audio_modes.altered`, applied before the cut. A second sound
    is cut likewise and added, without a weight (stoneMo/AVGN ``datasets.py``); silence and noise stand for both.

    Raises:
        AvbenchError: for a sound that cannot be decoded, or two of different rates, or of channels that do not fit.
    """
    asked = rate
    sounds, rate = decode_sounds(present(sample.audio, sample), {w.channels for w in windows}, rate=asked)
    heard = {way: altered(samples, mode, key=key) for way, samples in sounds.items()}
    found = {w: cut(heard[w.channels], rate, w) for w in windows}
    if sample.mixed is None or mode in INSTEAD:
        return found, rate
    others, its_rate = decode_sounds(sample.mixed, {w.channels for w in windows}, rate=asked)
    if its_rate != rate:
        raise AvbenchError(
            f"{sample.mixed} has {its_rate} Hz and {sample.audio}, which it is mixed with, {rate}: name an --audio-rate"
        )
    return {w: _sum(sample, own, cut(others[w.channels], rate, w)) for w, own in found.items()}, rate


def _sum(sample: Sample, own: Waveform, other: Waveform) -> Waveform:
    """Two sounds at once; one channel stands for all of several."""
    if own.ndim > 1 and other.ndim > 1 and len({len(own), len(other), 1}) > 2:
        raise AvbenchError(
            f"{sample.audio} has {len(own)} channels and {sample.mixed}, which it is mixed with, {len(other)}: hear "
            "their mean, or convert one"
        )
    return own + other


def present(place: Place | None, sample: Sample) -> Place:
    """``place``, for a sample that was loaded with media.

    Raises:
        UsageError: for one that was not.
    """
    if place is None:
        raise UsageError(f"{sample.id} was loaded without media: pass --data with frames/ and audio/ in it")
    return place


def stream(
    decoder: Decoder[Decoded | Broken | Failure],
    batches: Sequence[Sequence[int]],
    *,
    workers: int,
    device: torch.device,
) -> Generator[RawBatch, None, None]:
    """Decode the keys of ``batches`` in order and bring them to ``device``.

    Raises:
        AvbenchError: for the first batch that holds a failure, after those before it were yielded, or if a worker
            process dies.
    """
    pin = device.type == "cuda"
    with closing(in_workers(decoder, batches, workers=workers, gather=collate, pin=pin)) as collated:
        for item in _prefetched(collated, device) if pin else (_moved(batch, device) for batch in collated):
            if isinstance(item, Failure):
                raise item
            yield item


def collate(items: list[Decoded | Broken | Failure]) -> list[RawBatch | Failure]:
    """Stack samples, splitting wherever the sampling rate changes, or the number of channels kept apart.

    One failure takes the place of all. Broken samples are left out and named by the first batch, which is empty where
    there is no other sample.
    """
    for item in items:
        if isinstance(item, Failure):
            return [item]
    good = [item for item in items if isinstance(item, Decoded)]
    stacked = [_stack(list(group)) for _, group in groupby(good, key=lambda item: item.likeness)]
    first, *others = stacked or [RawBatch([], [], None)]
    broken = tuple((item.id, item.reason) for item in items if isinstance(item, Broken))
    return [replace(first, broken=broken), *others]


def _stack(items: list[Decoded]) -> RawBatch:
    images = [item.image for item in items if item.image is not None]
    objects = [item.sample.objects for item in items if item.sample.objects is not None]
    partners = [item.partner for item in items if item.partner is not None]
    return RawBatch(
        indices=[item.index for item in items],
        ids=[item.sample.id for item in items],
        image=stack(images) if images else None,
        waveforms=stack_windows([item.waveforms for item in items]),
        rate=items[0].rate,
        objects=objects if len(objects) == len(items) else None,
        places=[item.place for item in items],
        partner=_stack(partners) if partners else None,
        pictures={kind: stack([item.pictures[kind] for item in items]) for kind in items[0].pictures},
    )


def in_workers(
    decoder: Decoder[Made],
    batches: Sequence[Sequence[int]],
    *,
    workers: int,
    gather: Callable[[list[Made]], list[Item]],
    pin: bool = False,
) -> Generator[Item | Failure, None, None]:
    """Decode ``batches`` of keys in order, ``gather`` each where it was decoded, and hand on what came out.

    ``workers=0`` decodes in this process. A worker that dies ends the iteration with an error as a value. Close the
    generator where it is not used up: workers that the garbage collector finds take five seconds each to end.
    """
    loader: DataLoader[list[Item]] = DataLoader(
        decoder,  # type: ignore[arg-type]
        batch_sampler=[list(batch) for batch in batches],
        num_workers=min(workers, len(batches)),
        collate_fn=gather,
        pin_memory=pin,
        generator=torch.Generator(),  # else the loader draws from the global one, and so moves the caller's numbers
    )
    try:
        for items in loader:
            yield from items
    except RuntimeError as problem:
        if "DataLoader worker" not in str(problem):
            raise
        yield AvbenchError(f"a decoding process died ({problem}): memory may be short, use fewer --workers")


def _moved(batch: RawBatch | Failure, device: torch.device) -> RawBatch | Failure:
    return batch if isinstance(batch, Failure) else batch.to(device)


def _prefetched(batches: Iterable[RawBatch | Failure], device: torch.device) -> Iterator[RawBatch | Failure]:
    """Copy each batch on a stream of its own while the caller works on the one before."""
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    ahead: tuple[RawBatch | Failure, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(side):
            copied = _moved(batch, device), side.record_event()
        if ahead is not None:
            yield _arrived(*ahead, device)
        ahead = copied
    if ahead is not None:
        yield _arrived(*ahead, device)


def _arrived(batch: RawBatch | Failure, copied: torch.cuda.Event, device: torch.device) -> RawBatch | Failure:
    """Let the caller's stream wait for the copy, and the allocator know that this stream uses the memory too."""
    current = torch.cuda.current_stream(device)
    current.wait_event(copied)
    if isinstance(batch, RawBatch):
        for tensor in batch.tensors():
            tensor.record_stream(current)
    return batch
