"""What a method hears instead of a sample's own sound: nothing, noise, or the sound of another sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import count
from typing import Literal

import numpy as np

from avbench.data.decoding import Waveform
from avbench.data.splits import Sample
from avbench.errors import AvbenchError

AudioMode = Literal["true", "silent", "noise", "quiet-noise", "offscreen", "swapped"]
"""``true`` is a sample's own sound. ``silent``, ``noise`` and ``offscreen`` are the negative audio of "A Critical
Assessment of Visual Sound Source Localization Models Including Negative Audio" (ICASSP 2025) as its code draws it
(xavijuanola/vssl_eval, ``datasets/``). ``swapped`` is the off-screen sound put right: of another class for certain.
``quiet-noise`` is noise at a level that a recording could have."""

NOISE_RMS: dict[AudioMode, float] = {"noise": 1.0, "quiet-noise": 0.1}
"""Standard deviation of the Gaussian noise, full scale 1. The official code's is 1, far above any recording, and it
is not clipped; 0.1 is about the level of speech."""

INSTEAD: tuple[AudioMode, ...] = ("silent", *NOISE_RMS)
"""The modes in which nothing of any recording is heard."""


def altered(samples: Waveform, mode: AudioMode, *, key: str) -> Waveform:
    """The waveform that ``mode`` puts in the place of ``samples``, of the same length; noise has one channel.

    ``silent`` is zeros; ``noise`` and ``quiet-noise`` are white Gaussian of the standard deviation in
    :data:`NOISE_RMS`, seeded by ``key`` (the sample's id), hence the same in every run, and the same but for their
    level. The others change nothing: ``offscreen`` and ``swapped`` are other files.
    """
    if mode == "silent":
        return np.zeros_like(samples)
    if mode in NOISE_RMS:
        noise: Waveform = np.random.default_rng(_number("noise", key)).standard_normal(
            samples.shape[-1:], dtype=np.float32
        )
        noise *= np.float32(NOISE_RMS[mode])
        return noise
    return samples


def audio_sources(samples: Sequence[Sample], mode: AudioMode, *, seed: int = 0) -> Sequence[int]:
    """For each sample the index of the one whose sound it hears: its own in all modes but two.

    Raises:
        AvbenchError: if a sample has no partner such as ``offscreen`` or ``swapped`` needs.
    """
    if mode == "swapped":
        return swap_partners(samples, seed=seed)
    if mode == "offscreen":
        return offscreen_partners(samples, seed=seed)
    return range(len(samples))


def offscreen_partners(samples: Sequence[Sample], *, seed: int = 0) -> list[int]:
    """For each sample the index of one with another sound, of whatever class, whose sound it hears in ``offscreen``.

    Every other sound is equally likely for every sample, so that one may be heard several times and another never,
    and some are of the picture's own class, as in the official code. The draw depends on ids, sounds and ``seed``
    alone, not on the order of ``samples``.

    Raises:
        AvbenchError: if all samples have the same sound.
    """
    circle = sorted(range(len(samples)), key=lambda i: samples[i].id)
    sounds = [_sound(sample) for sample in samples]
    if len(set(sounds)) < 2:
        raise AvbenchError(
            f"there is no off-screen sound: expected samples of different sounds, got {len(samples)} with the same; "
            "choose another --audio"
        )

    def draw(i: int) -> int:
        tries = (circle[_number("offscreen", seed, samples[i].id, turn) % len(circle)] for turn in count())
        return next(j for j in tries if sounds[j] != sounds[i])

    return [draw(i) for i in range(len(samples))]


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
    return ("class", sample.label) if sample.label is not None else ("sound", _sound(sample))


def _sound(sample: Sample) -> str:
    return str(sample.audio or sample.id)


def _number(*parts: object) -> int:
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
