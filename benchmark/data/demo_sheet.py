"""A contact sheet of a split of the demo world: frames, boxes, classes and what the sounds look like."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.data.demo import ensure_demo

if TYPE_CHECKING:
    from PIL.Image import Image

SOUNDING, SILENT = (40, 220, 60), (235, 50, 40)
STRIP, GAP, COLUMNS = 56, 6, 6  # height of a spectrogram, space between the tiles (pixels), tiles in a row


def contact_sheet(name: str, out: Path, *, n: int = 24) -> None:
    """Write a PNG of up to ``n`` samples of a split, pairs of neighbours spread over all of it.

    Each frame carries the boxes and classes of its objects, green where they sound and red where not; under it lies
    the spectrogram of its sound, 0 to 8 kHz upwards, 60 dB from white to black.

    Raises:
        UsageError: for an unknown split.
        AvbenchError: if the split cannot be drawn or was changed.
    """
    from PIL import Image

    folder = ensure_demo(name)
    entries = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    pairs = [2 * (len(entries) * k // (n + 1) // 2) for k in range(0, n, 2)]
    tiles = [_tile(folder, entry) for start in pairs for entry in entries[start : start + 2]][:n]
    wide, high = tiles[0].width + GAP, tiles[0].height + GAP
    sheet = Image.new("RGB", (COLUMNS * wide + GAP, -(-len(tiles) // COLUMNS) * high + GAP), "white")
    for k, tile in enumerate(tiles):
        sheet.paste(tile, (GAP + k % COLUMNS * wide, GAP + k // COLUMNS * high))
    sheet.save(out, format="PNG")


def _tile(folder: Path, entry: dict[str, Any]) -> Image:
    from PIL import Image, ImageDraw

    with Image.open(folder / "frames" / f"{entry.get('image', entry['file'])}.png") as file:
        frame = file.convert("RGB")
    pen = ImageDraw.Draw(frame)
    for thing in sorted(entry["objects"], key=lambda thing: thing["sounding"]):
        x0, y0, x1, y1 = (c * side for c, side in zip(thing["bbox"], frame.size * 2, strict=True))
        colour = SOUNDING if thing["sounding"] else SILENT
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=2)
        pen.text((x0 + 4, y0 + 2), thing["class"], fill=colour, stroke_width=2, stroke_fill="black")
    strip = Image.fromarray(_spectrogram(folder / "audio" / f"{entry['file']}.wav")).resize((frame.width, STRIP))
    tile = Image.new("RGB", (frame.width, frame.height + STRIP + 2), "white")
    tile.paste(frame, (0, 0))
    tile.paste(strip, (0, frame.height + 2))
    ImageDraw.Draw(tile).text((4, frame.height + 4), entry["class"], fill=(0, 60, 200))
    return tile


def _spectrogram(path: Path) -> NDArray[np.uint8]:
    """``[257, T]``, high frequencies first, 255 for silence and 0 for the loudest."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32768
    windows = np.lib.stride_tricks.sliding_window_view(samples, 512)[::160] * np.hanning(512)
    decibels = 20 * np.log10(np.abs(np.fft.rfft(windows, axis=1)) + 1e-6)
    dark = np.clip((decibels - decibels.max()) / 60 + 1, 0, 1)
    shades: NDArray[np.uint8] = (255 * (1 - dark)).astype(np.uint8).T[::-1]
    return shades
