"""Samples that nobody has to fetch, as heavy to decode as real ones: noise in the official layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avbench.data.demo_files import wav
from avbench.store import write_atomic, write_json

WIDTH, HEIGHT = 640, 360
QUALITY, SPREAD = 85, 12.0
"""Of the JPEGs, and standard deviation of their channels: 45 KB a picture, as frames of VGGSound have."""
RATE, SECONDS = 16_000, 10
FIELDS = 8
"""Different pictures; the others are shifts of them, which wrap around."""


def draw_samples(folder: Path, count: int, advance: Callable[[int], None] = lambda done: None) -> Path:
    """Write ``frames/NAME.jpg``, ``audio/NAME.wav`` and one box each; the YAML file that describes them.

    Pictures are noise whose amplitude falls with the frequency, 640 x 360, JPEG of quality 85; sounds are 10 s of white
    noise, mono, 16 kHz, 16 bits. The same files every time.

    Args:
        folder: made where it is not there.
        count: of samples.
        advance: called with the number of samples that were written.

    Raises:
        AvbenchError: if the disk refuses.
    """
    rng = np.random.default_rng(0)
    fields = [_field(rng) for _ in range(min(count, FIELDS))]
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(count):
        name = f"noise_{number:05d}"
        shift = (int(rng.integers(HEIGHT)), int(rng.integers(WIDTH)))
        picture = np.roll(fields[number % len(fields)], shift, axis=(0, 1))
        Image.fromarray(picture).save(folder / "frames" / f"{name}.jpg", quality=QUALITY)
        sound = (0.1 * 32767 * rng.standard_normal(RATE * SECONDS)).clip(-32768, 32767).astype(np.int16)
        write_atomic(folder / "audio" / f"{name}.wav", wav(sound, RATE))
        left, top = rng.uniform(0.0, 0.5, size=2).round(3).tolist()
        entries.append({"file": name, "class": "noise", "bbox": [[left, top, left + 0.5, top + 0.5]]})
        advance(1)
    write_json(folder / "boxes.json", entries)
    described = "name: noise\nformat: vggss\nannotations: boxes.json\nframes: frames\naudio: audio\n"
    write_atomic(folder / "noise.yaml", described.encode())
    return folder / "noise.yaml"


def _field(rng: np.random.Generator) -> NDArray[np.uint8]:
    """``[HEIGHT, WIDTH, 3]``; the spectrum is the reciprocal of the frequency."""
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH))
    frequency[0, 0] = np.inf
    white = np.fft.rfft2(rng.standard_normal((3, HEIGHT, WIDTH)))
    pink = np.fft.irfft2(white / frequency, (HEIGHT, WIDTH))
    shown = 128 + SPREAD * pink / pink.std(axis=(1, 2), keepdims=True)
    return np.ascontiguousarray(shown.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
