"""The frames of the demo world: a background of noise in two colours, and objects painted over it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avbench.data.demo_dice import Dice, Floats
from avbench.data.demo_shapes import STYLES, Variation

WIDTH, HEIGHT = 240, 180
"""Size of a frame in pixels: not square, as real frames are, so that the resize is exercised."""

OUTLINE = 2.5
"""Width of the dark outline of an object, in pixels."""

Pixels = tuple[int, int, int, int]
"""A box in whole pixels ``(x0, y0, x1, y1)``, the right and lower edge excluded."""


def rgb(hue: float, saturation: float, value: float) -> list[float]:
    """Red, green and blue in [0, 255] of a hue in turns and a saturation and value in [0, 1]."""
    channels = []
    for shift in (5, 3, 1):
        sector = (shift + hue * 6) % 6
        channels.append(255 * value * (1 - saturation * max(0.0, min(sector, 4 - sector, 1.0))))
    return channels


def _doubled(field: Floats, shape: tuple[int, int]) -> Floats:
    """The field at twice the size, interpolated linearly, and cut to ``shape``."""
    rows = np.empty((2 * field.shape[0] - 1, field.shape[1]), dtype=np.float32)
    rows[::2], rows[1::2] = field, (field[1:] + field[:-1]) * np.float32(0.5)
    both = np.empty((rows.shape[0], 2 * rows.shape[1] - 1), dtype=np.float32)
    both[:, ::2], both[:, 1::2] = rows, (rows[:, 1:] + rows[:, :-1]) * np.float32(0.5)
    return both[: shape[0], : shape[1]]


def _clouds(dice: Dice, *, octaves: int, fade: float) -> Floats:
    """Noise of the frame's size in about [-1, 1]; each of the finest ``octaves`` has ``fade`` times the one before."""
    shapes = [(HEIGHT, WIDTH)]
    while shapes[-1][0] > 4:
        shapes.append((shapes[-1][0] // 2 + 1, shapes[-1][1] // 2 + 1))
    height = 0.6
    field = dice.noise(*shapes[-1]) * np.float32(height)
    for level, shape in enumerate(shapes[-2::-1]):
        field = _doubled(field, shape)
        if level < octaves:
            height *= fade
            field = field + dice.noise(*shape) * np.float32(height)
    return field


def background(dice: Dice) -> Floats:
    """A canvas ``[3, HEIGHT, WIDTH]`` in [0, 255] of two random colours, mixed and shaded by noise."""
    hue, saturation = dice.uniform(0, 1), dice.uniform(0.1, 0.75)
    first = rgb(hue, saturation, dice.uniform(0.35, 0.8))
    second = rgb(hue + dice.uniform(-0.2, 0.2), saturation * dice.uniform(0.5, 1), dice.uniform(0.35, 0.8))
    mix = np.clip(0.5 + 0.9 * _clouds(dice, octaves=3, fade=0.6), 0, 1)
    shade = 1 + 0.35 * _clouds(dice, octaves=6, fade=0.75)
    canvas = np.empty((3, HEIGHT, WIDTH), dtype=np.float32)
    for channel in range(3):
        canvas[channel] = (first[channel] + (second[channel] - first[channel]) * mix) * shade
    return canvas


def _colours(dice: Dice, kind: str) -> list[list[float]]:
    shift, style = dice.uniform(-0.035, 0.035), STYLES[kind]
    strong, bright = dice.uniform(0.75, 1.15), dice.uniform(0.8, 1.1)
    return [
        rgb(hue + shift, min(1.0, saturation * strong), min(1.0, value * bright))
        for hue, saturation, value in (style.light, style.dark)
    ]


def paint(canvas: Floats, kind: str, box: Pixels, dice: Dice) -> NDArray[np.bool_]:
    """Paint an object of class ``kind`` into ``box`` of the canvas, and say which pixels it covers.

    Args:
        canvas: ``[3, HEIGHT, WIDTH]`` in [0, 255], changed in place.
        kind: a key of :data:`STYLES`.
        box: where; the outline touches all four sides.
        dice: the object's colours, pattern and mirroring.

    Returns:
        ``[HEIGHT, WIDTH]``, True where at least half of the pixel is the object's.
    """
    x0, y0, x1, y1 = box
    colours = _colours(dice, kind)
    look = Variation(rate=dice.factor(0.35), phase=dice.uniform(0, 1))
    mirror = -1 if dice.coin() else 1
    u = ((np.arange(x1 - x0, dtype=np.float32) + np.float32(0.5)) * 2 / (x1 - x0) - 1) * np.float32(mirror)
    v = (np.arange(y1 - y0, dtype=np.float32) + np.float32(0.5)) * 2 / (y1 - y0) - 1
    across, down = (np.ascontiguousarray(axis) for axis in np.broadcast_arrays(u[None, :], v[:, None]))
    inside, tone = STYLES[kind].look(across, down, look)
    inside = inside * np.float32(min(x1 - x0, y1 - y0) / 2)
    alpha = np.clip(inside + np.float32(0.5), 0, 1)
    rim = np.clip(inside * np.float32(1 / OUTLINE), 0.25, 1)
    shade = rim * (1.04 - 0.16 * down - 0.1 * mirror * across)
    for channel, (light, dark) in enumerate(zip(*colours, strict=True)):
        part = canvas[channel, y0:y1, x0:x1]
        part += alpha * ((light + (dark - light) * tone) * shade - part)
    covered = np.zeros(canvas.shape[1:], dtype=np.bool_)
    covered[y0:y1, x0:x1] = alpha >= 0.5
    return covered


def finish(canvas: Floats) -> NDArray[np.uint8]:
    """The canvas as ``[HEIGHT, WIDTH, 3]`` bytes."""
    return np.ascontiguousarray(np.clip(canvas, 0, 255).astype(np.uint8).transpose(1, 2, 0))
