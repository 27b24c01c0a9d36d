"""Pairs for training: the same chances and the same order whatever number of workers decodes, cached or not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from avbench.data.batches import Broken, Decoded, Failure, RawBatch, in_workers, present, stream
from avbench.data.broken import BrokenSampleError, BrokenSamples, named
from avbench.data.decoding import (
    AUDIO_RATE,
    Pixels,
    Waveform,
    cut,
    cut_at_random,
    decode_image,
    decode_image_short_side,
    decode_sounds,
    random_crop,
)
from avbench.data.sharding import ALONE, Shard, batches_of
from avbench.data.splits import Split
from avbench.errors import AvbenchError, UsageError
from avbench.types import Window

FILL_BATCH = 32
"""Samples decoded at a time while the cache is filled; the first of them tell whether the set will fit."""

ORDER, CROP, SHIFT, PARTNER, PARTNER_CROP = range(5)
"""Which of an epoch's random numbers are drawn."""

Half = TypeVar("Half")
Given = ParamSpec("Given")
Sound = tuple[dict[Window, Waveform], int]
"""What is heard of a clip, and its rate in Hz."""


@dataclass(frozen=True)
class TrainingOptions:
    """How pairs are decoded.

    Attributes:
        crop: a random 224-pixel square of the picture at shorter side 246 (EZ-VSL, SLAVC, FNAC, JSA
            ``datasets.py``); False squashes the picture as in testing.
        audio_rate: Hz to which sounds are resampled; None keeps each file's own, and a batch is then split where
            it changes.
        cache_bytes: memory in which decoded pictures and cut waveforms are kept for later epochs, used only where
            the whole set fits.
        shard: this process's part of each batch.
    """

    crop: bool = True
    audio_rate: int | None = AUDIO_RATE
    cache_bytes: int = 0
    shard: Shard = ALONE


DEFAULTS = TrainingOptions()


@dataclass(frozen=True)
class Neighbours:
    """Which samples of a split resemble each of them, by picture and by sound.

    Attributes:
        image: indices, ``[N, k]``.
        audio: the same by sound.
    """

    image: NDArray[np.int32]
    audio: NDArray[np.int32]

    def partners(self, *, seed: int, epoch: int) -> NDArray[np.int32]:
        """For each sample one of its neighbours by picture and one by sound, each equally likely: ``[N, 2]``."""
        rng = np.random.default_rng([seed, epoch, PARTNER])
        rows = np.arange(len(self.image))
        drawn = [table[rows, rng.integers(table.shape[1], size=len(rows))] for table in (self.image, self.audio)]
        return np.stack(drawn, axis=1)


class TrainingSet:
    """The pairs of a split, decoded for training.

    Args:
        split: loaded with media.
        windows: the parts of each clip that the front-ends want, cut as in testing, or at random.
        seed: of crops, cuts, partners and order; they depend on it, the epoch and the sample's index alone.
        options: see :class:`TrainingOptions`.
        neighbours: where given, each pair has a ``partner`` whose picture and sound are drawn from them.

    Attributes:
        broken: those of its samples that were met and could not be decoded.

    Raises:
        UsageError: for a split whose sounds are mixed of two each.
    """

    def __init__(
        self,
        split: Split,
        windows: Collection[Window],
        *,
        seed: int,
        options: TrainingOptions = DEFAULTS,
        neighbours: Neighbours | None = None,
    ) -> None:
        if any(sample.mixed is not None for sample in split.samples):
            raise UsageError(f"the sounds of {split.name} are mixed of two each, for testing: train on another split")
        self.split, self.samples, self.windows = split, split.samples, tuple(windows)
        self.seed, self.options, self.neighbours = seed, options, neighbours
        self.broken = BrokenSamples(split)
        self._cache: list[_Halves] = []
        self._cacheable = options.cache_bytes > 0

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def cached(self) -> bool:
        """Whether all pairs lie decoded in memory."""
        return len(self._cache) == len(self.samples)

    def pair(self, index: int, *, epoch: int, partners: tuple[int, int] | None = None) -> Decoded:
        """The pair ``index`` as it is in ``epoch``; image uint8 ``[3, 224, 224]``.

        With ``partners`` it brings the picture of the first of them and the sound of the second, in all windows but
        those at random, as its own ``partner``.

        Raises:
            BrokenSampleError: if it, or what it brings, cannot be decoded.
        """
        whole = Decoded(index, self.samples[index], self._picture(index), *self._sound(index, self.windows))
        if partners is not None:
            whole = replace(whole, partner=self._partner(*partners, chance=[self.seed, epoch, PARTNER_CROP, index]))
        if any(w.anchor == "random" for w in whole.waveforms):
            rng = np.random.default_rng([self.seed, epoch, SHIFT, index])
            whole = replace(whole, waveforms={w: _shifted(x, whole.rate, w, rng) for w, x in whole.waveforms.items()})
        return self._cropped(whole, [self.seed, epoch, CROP, index])

    def halves(self, index: int) -> _Halves:
        """The pair ``index`` before its chances: shorter side 246, or squashed where nothing is cropped.

        In place of a window at random stands the whole clip.
        """
        return _Halves(_or_broken(self._picture, index), _or_broken(self._sound, index, self.windows))

    def _partner(self, seen: int, heard: int, *, chance: list[int]) -> Decoded:
        sound = self._sound(heard, [w for w in self.windows if w.anchor != "random"])
        return self._cropped(Decoded(seen, self.samples[seen], self._picture(seen), *sound), chance)

    def _picture(self, index: int) -> Pixels:
        if self.cached:
            return _given(self._cache[index].image)
        sample = self.samples[index]
        decode = decode_image_short_side if self.options.crop else decode_image
        with named(sample):
            return decode(present(sample.image, sample))

    def _sound(self, index: int, windows: Collection[Window]) -> Sound:
        """In place of a window at random stands the whole clip."""
        if not windows:
            return {}, 0
        if self.cached:
            sounds, rate = _given(self._cache[index].sound)
            return {w: sounds[w] for w in windows}, rate
        sample = self.samples[index]
        with named(sample):
            ways = {w.channels for w in windows}
            mixed, rate = decode_sounds(present(sample.audio, sample), ways, rate=self.options.audio_rate)
        heard = {w: mixed[w.channels] for w in windows}
        return {w: x if w.anchor == "random" else cut(x, rate, w) for w, x in heard.items()}, rate

    def _cropped(self, whole: Decoded, chance: list[int]) -> Decoded:
        if not self.options.crop or whole.image is None:
            return whole
        image, place = random_crop(whole.image, rng=np.random.default_rng(chance))
        return replace(whole, image=image, place=place)

    def order(self, epoch: int) -> list[int]:
        """All indices, shuffled by seed and epoch."""
        order: list[int] = np.random.default_rng([self.seed, epoch, ORDER]).permutation(len(self)).tolist()
        return order

    def fill(self, *, workers: int) -> bool:
        """Decode all pairs into memory, once, if they fit into ``options.cache_bytes``; whether they lie there.

        Raises:
            AvbenchError: where more than 1 % of the pairs cannot be decoded.
        """
        if self._cacheable and not self.cached:
            keys = range(len(self))
            batches = [keys[i : i + FILL_BATCH] for i in range(0, len(keys), FILL_BATCH)]
            with closing(in_workers(_Whole(self), batches, workers=workers, gather=list)) as items:
                self._fill(items)
        return self.cached

    def _fill(self, items: Iterator[_Halves | Failure]) -> None:
        cache: list[_Halves] = []
        size = 0
        for item in items:
            if isinstance(item, Failure):
                raise item
            for problem in item.broken:
                self.broken.note(problem.id, problem.reason)
            cache.append(item.own())
            size += item.nbytes
            if len(cache) % FILL_BATCH == 0 and size / len(cache) * len(self) > self.options.cache_bytes:
                self._cacheable = False
                return
        self._cache = cache


def iterate_training(
    training_set: TrainingSet,
    *,
    epoch: int,
    batch_size: int,
    start: int = 0,
    workers: int = 0,
    device: torch.device | str = "cpu",
) -> Generator[RawBatch, None, None]:
    """One epoch of shuffled batches, the remainder dropped; this process's part of each, of ``options.shard``.

    Order and chances depend on seed and epoch alone, so that batch ``k`` is the same, bit for bit, whatever the
    workers and the cache, and wherever the epoch was begun; together the parts of all processes are the same, whatever
    their number. A sample that cannot be decoded, or whose partner cannot, is left out: its batch is one shorter, down
    to an empty one, and says so in ``broken``. Nothing is put in its place.

    Args:
        training_set: with a cache that is allowed and big enough, the first call decodes everything into it, and
            batches then come from memory without workers.
        epoch: counted from 0.
        batch_size: pairs in each batch of all processes together.
        start: batches of the epoch that are passed over, without a file being opened.
        workers: decoding processes; 0 decodes in this one.
        device: as for :func:`avbench.data.loader.iterate_batches`.

    Raises:
        UsageError: for a batch size above the number of pairs, which would leave no batch at all, or below that of
            processes; for a start behind the epoch's end; for a split without media.
        AvbenchError: where more than 1 % of the list are broken, in as far as this process met them, or if a worker
            process dies.
    """
    batches = batches_of(training_set.order(epoch), batch_size, training_set.options.shard)
    if not 0 <= start <= len(batches):
        raise UsageError(f"an epoch of {len(batches)} batches cannot begin at batch {start}: begin at 0 to its end")
    if training_set.fill(workers=workers):
        workers = 0
    made = stream(_Epoch(training_set, epoch), batches[start:], workers=workers, device=torch.device(device))
    return _counted(training_set, made)


def _counted(training_set: TrainingSet, batches: Generator[RawBatch, None, None]) -> Generator[RawBatch, None, None]:
    with closing(batches):
        for batch in batches:
            for sample, reason in batch.broken:
                training_set.broken.note(sample, reason)
            yield batch


@dataclass
class _Halves:
    """A pair before its chances, each half decoded, or what is broken in its place."""

    image: Pixels | Broken
    sound: Sound | Broken

    @property
    def broken(self) -> list[Broken]:
        return [half for half in (self.image, self.sound) if isinstance(half, Broken)]

    @property
    def nbytes(self) -> int:
        sounds = {} if isinstance(self.sound, Broken) else self.sound[0]
        return sum(w.nbytes for w in sounds.values()) + (0 if isinstance(self.image, Broken) else self.image.nbytes)

    def own(self) -> _Halves:
        """With waveforms that are no views, which would keep whole clips in memory."""
        if isinstance(self.sound, Broken):
            return self
        sounds, rate = self.sound
        return replace(self, sound=({window: samples.copy() for window, samples in sounds.items()}, rate))


class _Whole:
    """Pairs before their chances, for the cache."""

    def __init__(self, pairs: TrainingSet) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> _Halves | Failure:
        try:
            return self.pairs.halves(index)
        except AvbenchError as problem:
            return problem


class _Epoch:
    """Pairs as they are in one epoch."""

    def __init__(self, pairs: TrainingSet, epoch: int) -> None:
        self.pairs, self.epoch = pairs, epoch
        near = pairs.neighbours
        self.partners = None if near is None else near.partners(seed=pairs.seed, epoch=epoch)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Decoded | Broken | Failure:
        try:
            return self.pairs.pair(index, epoch=self.epoch, partners=self._partners(index))
        except BrokenSampleError as problem:
            return Broken(problem.sample, str(problem))
        except AvbenchError as problem:
            return problem

    def _partners(self, index: int) -> tuple[int, int] | None:
        if self.partners is None:
            return None
        seen, heard = self.partners[index].tolist()
        return seen, heard


def _or_broken(decode: Callable[Given, Half], *given: Given.args, **options: Given.kwargs) -> Half | Broken:
    try:
        return decode(*given, **options)
    except BrokenSampleError as problem:
        return Broken(problem.sample, str(problem))


def _given(half: Half | Broken) -> Half:
    if isinstance(half, Broken):
        raise BrokenSampleError(half.id, half.reason)
    return half


def _shifted(samples: Waveform, rate: int, window: Window, rng: np.random.Generator) -> Waveform:
    return cut_at_random(samples, rate, window, rng=rng) if window.anchor == "random" else samples
