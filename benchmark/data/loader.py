"""The identical loader: every method of a run gets the same samples, decoded once, in the same order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch

from avbench.data.audio_modes import AudioMode, audio_sources
from avbench.data.batches import Decoded, RawBatch, hear, present, stream
from avbench.data.decoding import AUDIO_RATE, Pixels, Waveform, decode_pictures
from avbench.data.splits import Sample, Split
from avbench.errors import AvbenchError, UsageError
from avbench.types import Need, Picture, Window

__all__ = ["LoaderOptions", "RawBatch", "iterate_batches"]


@dataclass(frozen=True)
class LoaderOptions:
    """How batches are made.

    Attributes:
        batch_size: samples in a batch; the last one may be smaller.
        workers: decoding processes; 0 decodes in the caller's.
        audio_mode: what is heard in the place of each sample's sound, ``true`` being that sound.
        audio_rate: Hz to which sounds are resampled; None keeps each file's own, as most official loaders do.
        pictures: in which ways pictures are made; what is not ``squash`` comes in ``RawBatch.pictures``.
    """

    batch_size: int = 64
    workers: int = 0
    audio_mode: AudioMode = "true"
    audio_rate: int | None = AUDIO_RATE
    pictures: tuple[Picture, ...] = ("squash",)


DEFAULTS = LoaderOptions()


def iterate_batches(
    split: Split,
    indices: Sequence[int],
    *,
    windows: Collection[Window] = (),
    needs: Collection[Need] = ("image", "audio"),
    device: torch.device | str = "cpu",
    options: LoaderOptions = DEFAULTS,
) -> Iterator[RawBatch]:
    """Decode ``split.samples[i]`` for ``i`` in ``indices``, in that order.

    Args:
        split: loaded with media where ``needs`` names any.
        indices: which samples.
        windows: the parts of each clip that front-ends want; a sound is decoded once for all of them.
        needs: ``image`` and ``audio``; what is not named is not read.
        device: where the batches end up; for CUDA they are copied from page-locked memory on a stream of their own
            while the caller works on the batch before.
        options: batch size, workers, audio mode and rate.

    Yields:
        Batches of ``options.batch_size`` samples in order. Where files keep their own rate, a batch is split
        wherever the rate changes; where channels are kept apart, wherever their number does.

    Raises:
        AvbenchError: for a sample that cannot be decoded, after the batches before it were yielded; for an audio mode
            that finds no other sound.
        UsageError: where the split has no media.
    """
    if not split.has_media and not {"image", "audio"}.isdisjoint(needs):
        raise UsageError(f"the split {split.name} was given without media: pass --data with frames/ and audio/ in it")
    heard = tuple(windows) if "audio" in needs else ()
    decoder = _Decoder(split.samples, windows=heard, image="image" in needs, options=options)
    size = options.batch_size
    batches = [list(indices[i : i + size]) for i in range(0, len(indices), size)]
    return stream(decoder, batches, workers=options.workers, device=torch.device(device))


class _Decoder:
    """Samples by index, as they are tested."""

    def __init__(
        self, samples: tuple[Sample, ...], *, windows: tuple[Window, ...], image: bool, options: LoaderOptions
    ) -> None:
        self.samples, self.windows, self.image, self.options = samples, windows, image, options
        self.partners = audio_sources(samples, options.audio_mode) if windows else range(len(samples))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Decoded | AvbenchError:
        try:
            return self._decode(index)
        except AvbenchError as problem:
            return problem

    def _decode(self, index: int) -> Decoded:
        sample = self.samples[index]
        pictures = decode_pictures(present(sample.image, sample), self.options.pictures) if self.image else {}
        image = pictures.pop("squash", None)
        decoded = Decoded(index, sample, cast("Pixels | None", image), {}, pictures=pictures)
        if self.windows:
            decoded.waveforms, decoded.rate = self._hear(index)
        return decoded

    def _hear(self, index: int) -> tuple[dict[Window, Waveform], int]:
        source, options = self.samples[self.partners[index]], self.options
        return hear(
            source, self.windows, rate=options.audio_rate, mode=options.audio_mode, key=self.samples[index].id
        )  # fmt: skip
