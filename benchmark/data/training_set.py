"""Pairs for training: the same crops and the same order whatever number of workers decodes, cached or not."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch

from avbench.data.batches import Decoded, RawBatch, hear, in_workers, present, stream
from avbench.data.decoding import AUDIO_RATE, decode_image, decode_image_short_side, random_crop
from avbench.data.splits import Split
from avbench.errors import AvbenchError, UsageError
from avbench.types import Window

FILL_BATCH = 32
"""Samples decoded at a time while the cache is filled; the first of them tell whether the set will fit."""

ORDER, CROP = 0, 1
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


class TrainingSet:
    """The pairs of a split, decoded for training.

    Args:
        split: loaded with media.
        windows: the parts of each clip that the front-ends want, cut as in testing.
        seed: of the crops and of the order; both depend on it, the epoch and the sample's index alone.
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

    def pair(self, index: int, *, epoch: int) -> Decoded:
        """The pair ``index`` as it is in ``epoch``; image uint8 ``[3, 224, 224]``.

        Raises:
            AvbenchError: if it cannot be decoded.
        """
        whole = self._cache[index] if self.cached else self.whole(index)
        if not self.options.crop or whole.image is None:
            return whole
        rng = np.random.default_rng([self.seed, epoch, CROP, index])
        return replace(whole, image=random_crop(whole.image, rng=rng))

    def whole(self, index: int) -> Decoded:
        """The pair ``index`` before the crop: shorter side 246, or squashed where nothing is cropped.

        Raises:
            AvbenchError: if it cannot be decoded.
        """
        sample = self.samples[index]
        decode = decode_image_short_side if self.options.crop else decode_image
        image = decode(present(sample.image, sample))
        if not self.windows:
            return Decoded(index, sample, image, {})
        return Decoded(index, sample, image, *hear(sample, self.windows, rate=self.options.audio_rate))

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
            cache.append(item)
            size += _bytes(item)
            if len(cache) % FILL_BATCH == 0 and size / len(cache) * len(self) > self.options.cache_bytes:
                self._cacheable = False
                return
        self._cache = cache


def iterate_training(
    training_set: TrainingSet, *, epoch: int, batch_size: int, workers: int = 0, device: torch.device | str = "cpu"
) -> Iterator[RawBatch]:
    """One epoch of shuffled batches, the remainder dropped.

    Args:
        training_set: with a cache that is allowed and big enough, the first call decodes everything into it, and
            batches then come from memory without workers.
        epoch: counted from 0.
        batch_size: pairs in each batch.
        workers: decoding processes; 0 decodes in this one.
        device: as for :func:`avbench.data.loader.iterate_batches`.

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
    return stream(_Epoch(training_set, epoch), batches, workers=workers, device=torch.device(device))


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

    def __init__(self, pairs: TrainingSet, epoch: int) -> None:
        super().__init__(pairs)
        self.epoch = epoch

    def __getitem__(self, index: int) -> Decoded | AvbenchError:
        try:
            return self.pairs.pair(index, epoch=self.epoch)
        except AvbenchError as problem:
            return problem


def _bytes(item: Decoded) -> int:
    return sum(w.nbytes for w in item.waveforms.values()) + (0 if item.image is None else item.image.nbytes)
