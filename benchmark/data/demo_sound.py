"""The sounds of the demo world: twelve timbres, five seconds each, from wave tables and integer phases."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from avbench.data.demo_dice import SINE, TABLE, Dice, Floats, exp2, floats

RATE = 16_000
"""Samples per second."""

SAMPLES = 5 * RATE
"""Length of every clip in samples."""

_PHASE_BITS = 20  # a phase is a 32-bit fraction of a turn; its upper 12 bits index the table


def harmonics(*heights: float) -> Floats:
    """A wave table ``[TABLE]`` with the given heights of the first, second, ... harmonic."""
    steps = np.arange(TABLE)
    table = np.zeros(TABLE, dtype=np.float32)
    for k, height in enumerate(heights, start=1):
        table = table + SINE[(k * steps) & (TABLE - 1)] * np.float32(height)
    return table


def tone(hertz: float, n: int = SAMPLES, *, table: Floats = SINE) -> Floats:
    """A steady tone of ``n`` samples."""
    phase = np.arange(n, dtype=np.uint32) * np.uint32(int(hertz * 2.0**32 / RATE))
    return floats(table[phase >> np.uint32(_PHASE_BITS)])


def glide(hertz: Floats, *, table: Floats = SINE) -> Floats:
    """A tone whose pitch follows ``hertz``, one value per sample."""
    steps = (hertz.astype(np.float64) * (2.0**32 / RATE)).astype(np.int64)
    return floats(table[(np.cumsum(steps) >> _PHASE_BITS) & (TABLE - 1)])


def decay(n: int, half_life: float) -> Floats:
    """``n`` samples that halve every ``half_life`` seconds, from 1."""
    curve = np.ones(n, dtype=np.float64)
    done, factor = 1, exp2(-1 / (RATE * half_life))
    while done < n:
        step = min(done, n - done)
        curve[done : done + step] = curve[:step] * factor
        done, factor = done + step, factor * factor
    return floats(curve)


def ramps(n: int, rise: float, fall: float) -> Floats:
    """An envelope of ``n`` samples: up in ``rise`` seconds, flat at 1, down in ``fall`` seconds."""
    steps = np.arange(n, dtype=np.float32)
    up, down = steps / np.float32(rise * RATE), (np.float32(n) - steps) / np.float32(fall * RATE)
    return floats(np.minimum(np.minimum(up, down), np.float32(1)))


def swell(hertz: float, low: float, n: int = SAMPLES) -> Floats:
    """A slow wave between ``low`` and 1."""
    return np.float32((1 + low) / 2) + tone(hertz, n) * np.float32((1 - low) / 2)


def smooth(noise: Floats, times: int) -> Floats:
    """Noise whose neighbours were averaged ``times`` times over, which leaves the low frequencies."""
    for _ in range(times):
        noise = (noise + np.roll(noise, 1)) * np.float32(0.5)
    return noise


def beats(dice: Dice, period: float, *, loose: float = 0.0) -> Iterator[tuple[int, int]]:
    """Number and first sample of events every ``period`` seconds, each late by up to ``loose`` periods."""
    first = -dice.uniform(0, 1)
    for k in range(int(5 / period) + 2):
        at = int((first + k + dice.uniform(0, loose)) * period * RATE)
        if -RATE < at < SAMPLES:
            yield k, at


def place(clip: Floats, sound: Floats, at: int) -> None:
    """Add a sound to the clip from sample ``at`` on, cutting what lies outside."""
    start, stop = max(at, 0), min(at + len(sound), len(clip))
    if start < stop:
        clip[start:stop] += sound[start - at : stop - at]


def bell(dice: Dice, pitch: float, tempo: float) -> Floats:
    """Strokes of inharmonic partials that ring out."""
    partials = ((1.0, 1.0, 0.7), (2.0, 0.7, 0.45), (2.41, 0.6, 0.35), (3.02, 0.45, 0.25), (4.49, 0.35, 0.12))
    length = 2 * RATE
    stroke = np.zeros(length, dtype=np.float32)
    for ratio, height, half_life in partials:
        stroke += tone(620 * pitch * ratio, length) * decay(length, half_life) * np.float32(height)
    clip = np.zeros(SAMPLES, dtype=np.float32)
    for _, at in beats(dice, 1.3 / tempo):
        place(clip, stroke, at)
    return clip


def string(dice: Dice, pitch: float, tempo: float) -> Floats:
    """Plucked notes of a five-tone scale, bright at first and then dull."""
    bright, dull = harmonics(*(1 / k for k in range(1, 16))), harmonics(1, 0.3, 0.1)
    clip = np.zeros(SAMPLES, dtype=np.float32)
    length = int(0.9 * RATE)
    fast, slow = decay(length, 0.04), decay(length, 0.18)
    for _, at in beats(dice, 0.42 / tempo, loose=0.1):
        hertz = 165 * pitch * dice.pick((1, 9 / 8, 5 / 4, 3 / 2, 5 / 3, 2))
        place(clip, tone(hertz, length, table=bright) * fast + tone(hertz, length, table=dull) * slow, at)
    return clip


def drum(dice: Dice, pitch: float, tempo: float) -> Floats:
    """Low thuds whose pitch drops, with a burst of noise, every second one weaker."""
    length = int(0.4 * RATE)
    thud = glide(65 * pitch * (1 + 1.6 * decay(length, 0.03))) * decay(length, 0.07)
    burst = smooth(dice.noise(length), 1) * decay(length, 0.015)
    clip = np.zeros(SAMPLES, dtype=np.float32)
    for k, at in beats(dice, 0.36 / tempo):
        place(clip, (thud + burst * np.float32(0.9)) * np.float32(0.55 if k % 2 else 1.0), at)
    return clip


def engine(dice: Dice, pitch: float, tempo: float) -> Floats:
    """A growl of many harmonics whose speed drifts."""
    growl = harmonics(*(1 / (1 + 0.25 * k) for k in range(1, 25)))
    drift = 1 + 0.16 * tone(0.31 * tempo) + 0.03 * tone(5.3)
    rattle = smooth(dice.noise(SAMPLES), 2) * swell(22 * pitch, 0.2)
    return glide(48 * pitch * drift, table=growl) + rattle * np.float32(1.2)


def siren(dice: Dice, pitch: float, tempo: float) -> Floats:
    """A wail that sweeps up and down."""
    steps = np.arange(SAMPLES, dtype=np.float64) * (0.45 * tempo / RATE) + dice.uniform(0, 1)
    sweep = np.abs(2 * (steps - np.floor(steps)) - 1)
    return glide(560 * pitch * (1 + 1.2 * sweep), table=harmonics(1, 0.25, 0.35, 0.1, 0.12))


def bird(dice: Dice, pitch: float, tempo: float) -> Floats:
    """Groups of short whistles that slide upwards or downwards."""
    clip = np.zeros(SAMPLES, dtype=np.float32)
    for _, at in beats(dice, 0.75 / tempo, loose=0.25):
        slope, start = dice.uniform(-0.45, 0.7), 3000 * pitch * dice.factor(0.15)
        length = int(dice.uniform(0.07, 0.11) * RATE)
        along = np.arange(length, dtype=np.float64) / length
        whistle = glide(start * (1 + slope * along)) * ramps(length, 0.015, 0.03)
        for k in range(2 + dice.below(3)):
            place(clip, whistle, at + int(k * 1.35 * length))
    return clip


def water(dice: Dice, pitch: float, tempo: float) -> Floats:
    """A rush of soft noise with bubbles in it."""
    clip = smooth(dice.noise(SAMPLES), 6) * swell(0.8 * tempo, 0.45)
    for _, at in beats(dice, 0.085 / tempo, loose=0.9):
        length = int(dice.uniform(0.03, 0.08) * RATE)
        rise = 1 + np.arange(length, dtype=np.float64) / length
        bubble = glide(rise * (420 * pitch * dice.factor(0.7))) * ramps(length, 0.004, 0.03)
        place(clip, bubble * np.float32(dice.uniform(0.15, 0.6)), at)
    return clip


def clock(dice: Dice, pitch: float, tempo: float) -> Floats:
    """Tick and tock: very short clicks of two heights."""
    length = int(0.06 * RATE)
    click = dice.noise(length) * decay(length, 0.0015)
    clip = np.zeros(SAMPLES, dtype=np.float32)
    for k, at in beats(dice, 0.3 / tempo):
        body = tone((2300 if k % 2 else 1500) * pitch, length) * decay(length, 0.006)
        place(clip, body + click, at)
    return clip


def horn(dice: Dice, pitch: float, tempo: float) -> Floats:
    """Long brassy notes with pauses."""
    brass = harmonics(0.7, 1, 0.95, 0.8, 0.6, 0.45, 0.3, 0.2, 0.12)
    clip = np.zeros(SAMPLES, dtype=np.float32)
    length = int(0.85 * RATE / tempo)
    for _, at in beats(dice, 1.1 / tempo):
        hertz = 262 * pitch * dice.pick((1, 4 / 3, 3 / 2))
        vibrato = 1 + 0.008 * tone(5.5, length).astype(np.float64)
        place(clip, glide(hertz * vibrato, table=brass) * ramps(length, 0.06, 0.12), at)
    return clip


def cricket(dice: Dice, pitch: float, tempo: float) -> Floats:
    """High chirps of a few fast pulses."""
    length = int(0.022 * RATE)
    pulse = tone(4300 * pitch, length) * ramps(length, 0.006, 0.012)
    count = 3 + dice.below(3)
    clip = np.zeros(SAMPLES, dtype=np.float32)
    for _, at in beats(dice, 0.38 / tempo):
        for k in range(count):
            place(clip, pulse, at + int(k * 0.034 * RATE))
    return clip


def saw(dice: Dice, pitch: float, tempo: float) -> Floats:
    """Rasping strokes of noise, to and fro."""
    noise = dice.noise(SAMPLES)
    rasp = (noise - np.roll(noise, 1)) * swell(95 * pitch, 0.0)
    clip = np.zeros(SAMPLES, dtype=np.float32)
    length = int(0.33 * RATE / tempo)
    whine = tone(1250 * pitch, length, table=harmonics(0.5, 0.4, 0.3))
    for k, at in beats(dice, 0.45 / tempo):
        start = max(at, 0)
        stroke = rasp[start : start + length]
        stroke = (stroke + whine[: len(stroke)] * np.float32(0.25)) * ramps(len(stroke), 0.05, 0.15)
        place(clip, stroke * np.float32(0.6 if k % 2 else 1.0), start)
    return clip


def voice(dice: Dice, pitch: float, tempo: float) -> Floats:
    """Syllables of a few vowels on a moving pitch."""
    hertz = 150 * pitch
    formants = ((730, 1090, 2440), (300, 2200, 2950), (500, 900, 2400), (550, 1800, 2500))
    vowels = [_vowel(hertz, *three) for three in dice.shuffled(formants)[:3]]
    clip = np.zeros(SAMPLES, dtype=np.float32)
    for _, at in beats(dice, 0.3 / tempo, loose=0.15):
        length = int(dice.uniform(0.18, 0.28) * RATE / tempo)
        bend = 1 + dice.uniform(-0.18, 0.18) * np.arange(length, dtype=np.float64) / length
        syllable = glide(hertz * dice.factor(0.12) * bend, table=dice.pick(vowels))
        place(clip, syllable * ramps(length, 0.03, 0.06), at)
    return clip


def _vowel(hertz: float, *formants: float) -> Floats:
    """A wave table of a voice at ``hertz``: harmonics stand out near the formants."""
    heights = []
    for k in range(1, 26):
        away = [(k * hertz - formant) / (90 + 0.06 * formant) for formant in formants]
        heights.append(sum(weight / (1 + x * x) for weight, x in zip((1.0, 0.6, 0.35), away, strict=True)))
    return harmonics(*heights)


Timbre = Callable[[Dice, float, float], Floats]

TIMBRES: dict[str, Timbre] = {
    "bell": bell,
    "string": string,
    "drum": drum,
    "engine": engine,
    "siren": siren,
    "bird": bird,
    "water": water,
    "clock": clock,
    "horn": horn,
    "cricket": cricket,
    "saw": saw,
    "voice": voice,
}


def source(kind: str, dice: Dice) -> Floats:
    """``[SAMPLES]`` of one source with its largest value at 1; pitch and tempo vary by up to ``2**0.4``."""
    clip = TIMBRES[kind](dice, dice.factor(0.4), dice.factor(0.4))
    return floats(clip / np.abs(clip).max())


def hiss(dice: Dice) -> Floats:
    """``[SAMPLES]`` of white or pink noise in [-1, 1]."""
    if dice.coin():
        return dice.noise(SAMPLES)
    pink = dice.noise(SAMPLES)
    for k in range(1, 7):
        pink += np.repeat(dice.noise(SAMPLES >> k), 1 << k)
    return pink * np.float32(1 / 7)


def level(clip: Floats) -> float:
    """Root mean square, from integers so that the order of the sum does not matter."""
    steps = np.rint(clip * np.float32(1 << 14)).astype(np.int64)
    return math.sqrt(int((steps * steps).sum()) / len(clip)) / (1 << 14)


def quantised(clip: Floats) -> NDArray[np.int16]:
    """Samples in [-1, 1] as 16-bit integers, clipped."""
    steps: NDArray[np.int16] = np.rint(np.clip(clip, -1, 1) * np.float32(32767)).astype(np.int16)
    return steps


def decibel(x: float) -> float:
    """The factor on the amplitude that ``x`` dB are."""
    return exp2(x * 0.16609640474436813)


def mixture(kinds: list[str], dice: Dice) -> NDArray[np.int16]:
    """A clip in which ``kinds`` sound together, at most 3 dB apart, over noise.

    The largest value of the sources is 0.15 to 0.9; the noise lies 8 to 25 dB under them.
    """
    clip = np.zeros(SAMPLES, dtype=np.float32)
    for kind in kinds:
        part = source(kind, dice)
        clip = clip + part * np.float32(0.1 * decibel(dice.uniform(-1.5, 1.5)) / level(part))
    clip = clip * np.float32(dice.uniform(0.15, 0.9) / np.abs(clip).max())
    noise = hiss(dice)
    return quantised(clip + noise * np.float32(level(clip) * decibel(-dice.uniform(8, 25)) / level(noise)))


def silence(dice: Dice) -> NDArray[np.int16]:
    """A clip without any source: noise alone, between -70 and -25 dB of full scale."""
    noise = hiss(dice)
    return quantised(noise * np.float32(decibel(dice.uniform(-70, -25)) / level(noise)))
