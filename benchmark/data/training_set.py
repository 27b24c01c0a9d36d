"""Pairs for training: the same chances and the same order whatever number of workers decodes, cached or not."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from avbench.data.batches import Decoded, RawBatch, in_workers, present, stream
from avbench.data.decoding import (
    AUDIO_RATE,
    Pixels,
    Waveform,
    cut,
    cut_at_random,
    decode_audio,
    decode_image,
    decode_image_short_side,
    random_crop,
)
from avbench.data.splits import Split
from avbench.errors import AvbenchError, UsageError
from avbench.types import Window

FILL_BATCH = 32
"""Samples decoded at a time while the cache is filled; the first of them tell whether the set will fit."""

ORDER, CROP, SHIFT, PARTNER, PARTNER_CROP = range(5)
"""Which of an epoch's random numbers are drawn."""


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
    """

    crop: bool = True
    audio_rate: int | None = AUDIO_RATE
    cache_bytes: int = 0


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
    """

    def __init__(
        self, split: Split, windows: Collection[Window], *, seed: int, options: TrainingOptions = DEFAULTS
    ) -> None:
        self.samples, self.windows, self.seed, self.options = split.samples, tuple(windows), seed, options
        self._cache: list[Decoded] = []
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
            AvbenchError: if it cannot be decoded.
        """
        whole = self._cache[index] if self.cached else self.whole(index)
        if partners is not None:
            whole = replace(whole, partner=self._partner(*partners, chance=[self.seed, epoch, PARTNER_CROP, index]))
        if any(w.anchor == "random" for w in whole.waveforms):
            rng = np.random.default_rng([self.seed, epoch, SHIFT, index])
            whole = replace(whole, waveforms={w: _shifted(x, whole.rate, w, rng) for w, x in whole.waveforms.items()})
        return self._cropped(whole, [self.seed, epoch, CROP, index])

    def whole(self, index: int) -> Decoded:
        """The pair ``index`` before its chances: shorter side 246, or squashed where nothing is cropped.

        In place of a window at random stands the whole clip.

        Raises:
            AvbenchError: if it cannot be decoded.
        """
        return Decoded(index, self.samples[index], self._picture(index), *self._sound(index, self.windows))

    def _partner(self, seen: int, heard: int, *, chance: list[int]) -> Decoded:
        fixed = [w for w in self.windows if w.anchor != "random"]
        if self.cached:
            image, source = self._cache[seen].image, self._cache[heard]
            sounds, rate = {w: source.waveforms[w] for w in fixed}, source.rate
        else:
            image, (sounds, rate) = self._picture(seen), self._sound(heard, fixed)
        return self._cropped(Decoded(seen, self.samples[seen], image, sounds, rate), chance)

    def _picture(self, index: int) -> Pixels:
        sample = self.samples[index]
        decode = decode_image_short_side if self.options.crop else decode_image
        return decode(present(sample.image, sample))

    def _sound(self, index: int, windows: Collection[Window]) -> tuple[dict[Window, Waveform], int]:
        if not windows:
            return {}, 0
        sample = self.samples[index]
        samples, rate = decode_audio(present(sample.audio, sample), rate=self.options.audio_rate)
        return {w: samples if w.anchor == "random" else cut(samples, rate, w) for w in windows}, rate

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
            AvbenchError: for the first pair that cannot be decoded.
        """
        if self._cacheable and not self.cached:
            keys = range(len(self))
            batches = [keys[i : i + FILL_BATCH] for i in range(0, len(keys), FILL_BATCH)]
            with closing(in_workers(_Whole(self), batches, workers=workers, gather=list)) as items:
                self._fill(items)
        return self.cached

    def _fill(self, items: Iterator[Decoded | AvbenchError]) -> None:
        cache: list[Decoded] = []
        size = 0
        for item in items:
            if isinstance(item, AvbenchError):
                raise item
            cache.append(_own(item))
            size += _bytes(item)
            if len(cache) % FILL_BATCH == 0 and size / len(cache) * len(self) > self.options.cache_bytes:
                self._cacheable = False
                return
        self._cache = cache


def iterate_training(
    training_set: TrainingSet,
    *,
    epoch: int,
    batch_size: int,
    workers: int = 0,
    device: torch.device | str = "cpu",
    neighbours: Neighbours | None = None,
) -> Iterator[RawBatch]:
    """One epoch of shuffled batches, the remainder dropped.

    Args:
        training_set: with a cache that is allowed and big enough, the first call decodes everything into it, and
            batches then come from memory without workers.
        epoch: counted from 0.
        batch_size: pairs in each batch.
        workers: decoding processes; 0 decodes in this one.
        device: as for :func:`avbench.data.loader.iterate_batches`.
        neighbours: where given, each batch has a ``partner`` with samples drawn from them.

    Raises:
        UsageError: for a batch size above the number of pairs, which would leave no batch at all.
        AvbenchError: for a pair that cannot be decoded.
    """
    n = len(training_set)
    if not 0 < batch_size <= n:
        raise UsageError(f"a batch of {batch_size} cannot be drawn from {n} pairs: choose a batch size of 1 to {n}")
    if training_set.fill(workers=workers):
        workers = 0
    order = training_set.order(epoch)
    batches = [order[i : i + batch_size] for i in range(0, n - batch_size + 1, batch_size)]
    partners = None if neighbours is None else neighbours.partners(seed=training_set.seed, epoch=epoch)
    return stream(_Epoch(training_set, epoch, partners), batches, workers=workers, device=torch.device(device))


class _Whole:
    """Pairs before the crop, for the cache."""

    def __init__(self, pairs: TrainingSet) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Decoded | AvbenchError:
        try:
            return self.pairs.whole(index)
        except AvbenchError as problem:
            return problem


class _Epoch(_Whole):
    """Pairs as they are in one epoch."""

    def __init__(self, pairs: TrainingSet, epoch: int, partners: NDArray[np.int32] | None) -> None:
        super().__init__(pairs)
        self.epoch, self.partners = epoch, partners

    def __getitem__(self, index: int) -> Decoded | AvbenchError:
        try:
            return self.pairs.pair(index, epoch=self.epoch, partners=self._partners(index))
        except AvbenchError as problem:
            return problem

    def _partners(self, index: int) -> tuple[int, int] | None:
        if self.partners is None:
            return None
        seen, heard = self.partners[index].tolist()
        return seen, heard


def _shifted(samples: Waveform, rate: int, window: Window, rng: np.random.Generator) -> Waveform:
    return cut_at_random(samples, rate, window, rng=rng) if window.anchor == "random" else samples


def _own(item: Decoded) -> Decoded:
    """With waveforms that are no views, which would keep whole clips in memory."""
    return replace(item, waveforms={window: samples.copy() for window, samples in item.waveforms.items()})


def _bytes(item: Decoded) -> int:
    return sum(w.nbytes for w in item.waveforms.values()) + (0 if item.image is None else item.image.nbytes)
