"""What a method hears instead of a sample's own sound: nothing, noise, or another class."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from avbench.data.decoding import Waveform
from avbench.data.splits import Sample
from avbench.errors import AvbenchError

AudioMode = Literal["true", "silent", "noise", "swapped"]

NOISE_RMS = 0.1
"""Standard deviation of the Gaussian noise, full scale 1: about the level of speech."""


def altered(samples: Waveform, mode: AudioMode, *, key: str) -> Waveform:
    """The waveform that ``mode`` puts in the place of ``samples``, of the same length.

    ``silent`` is zeros; ``noise`` is white Gaussian of standard deviation :data:`NOISE_RMS`, seeded by ``key`` (the
    sample's id), hence the same in every run. The others change nothing: ``swapped`` is another file.
    """
    if mode == "silent":
        return np.zeros_like(samples)
    if mode == "noise":
        noise = np.random.default_rng(_number("noise", key)).standard_normal(len(samples), dtype=np.float32)
        return noise * np.float32(NOISE_RMS)
    return samples


def swap_partners(samples: Sequence[Sample], *, seed: int = 0) -> list[int]:
    """For each sample the index of one of another class, whose sound it hears in the mode ``swapped``.

    The pairing depends on ids, labels and ``seed`` alone, not on the order of ``samples``. Each sound is used once
    wherever the classes allow it. A sample without a label is paired with any other sound.

    Raises:
        AvbenchError: if a sample has no partner of another class.
    """
    circle = sorted(range(len(samples)), key=lambda i: (_number("swap", seed, samples[i].id), samples[i].id))
    kinds = [_kind(samples[i]) for i in circle]
    partner = [(i + 1) % len(circle) for i in range(len(circle))]
    for i, kind in enumerate(kinds):
        if kinds[partner[i]] == kind:
            _mend(partner, kinds, i)
    chosen = [0] * len(circle)
    for i, j in enumerate(partner):
        if kinds[i] == kinds[j]:
            raise AvbenchError(
                f"sound cannot be swapped: {samples[circle[i]].id} has no partner of another class among "
                f"{len(samples)} samples; choose another --audio"
            )
        chosen[circle[i]] = circle[j]
    return chosen


def _mend(partner: list[int], kinds: list[tuple[str, ...]], i: int) -> None:
    """Exchange partners with the next that suits both; failing that, share the next partner of another class."""
    n = len(partner)
    following = [(i + step) % n for step in range(1, n)]
    for j in following:
        if kinds[partner[j]] != kinds[i] and kinds[partner[i]] != kinds[j]:
            partner[i], partner[j] = partner[j], partner[i]
            return
    partner[i] = next((j for j in following if kinds[j] != kinds[i]), partner[i])


def _kind(sample: Sample) -> tuple[str, ...]:
    return ("class", sample.label) if sample.label is not None else ("sound", str(sample.audio or sample.id))


def _number(*parts: object) -> int:
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
