"""The looks of the demo world: what each of the twelve classes is shaped and patterned like.

A look is a function of the box coordinates ``u`` (right) and ``v`` (down), both in [-1, 1], and of a variation. It
gives how far inside the outline a pixel lies (about a distance, in half box sides, positive inside) and the tone,
0 for the first colour of the class and 1 for the second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from avbench.data.demo_dice import Floats, exp2, floats, sine, turn


@dataclass(frozen=True)
class Variation:
    """How one object differs from the next of its class."""

    rate: float = 1.0
    """Factor on the spatial frequency of the pattern."""
    phase: float = 0.0
    """Shift of the pattern, in periods, [0, 1)."""


Look = Callable[[Floats, Floats, Variation], tuple[Floats, Floats]]


def ellipse(u: Floats, v: Floats, centre: tuple[float, float], radii: tuple[float, float]) -> Floats:
    """Inside an ellipse."""
    across, along = (u - centre[0]) / radii[0], (v - centre[1]) / radii[1]
    return floats((1 - np.sqrt(across * across + along * along)) * min(radii))


def block(u: Floats, v: Floats, centre: tuple[float, float], sides: tuple[float, float]) -> Floats:
    """Inside a rectangle with the given half sides."""
    return floats(np.minimum(sides[0] - np.abs(u - centre[0]), sides[1] - np.abs(v - centre[1])))


def rod(u: Floats, v: Floats, ends: tuple[float, float, float, float], thick: float) -> Floats:
    """Within ``thick`` of the segment from ``ends[:2]`` to ``ends[2:]``."""
    x0, y0, x1, y1 = ends
    dx, dy = x1 - x0, y1 - y0
    along = np.clip(((u - x0) * dx + (v - y0) * dy) / (dx * dx + dy * dy), 0, 1)
    gap_x, gap_y = u - x0 - along * dx, v - y0 - along * dy
    return floats(thick - np.sqrt(gap_x * gap_x + gap_y * gap_y))


def hard(inside: Floats, *, edge: float = 12.0) -> Floats:
    """0 outside to 1 inside, with a soft edge."""
    return floats(np.clip(inside * np.float32(edge) + np.float32(0.5), 0, 1))


def wave(turns: Floats) -> Floats:
    """A smooth pattern in [0, 1] that repeats every turn."""
    return floats(np.clip(0.5 + 0.9 * sine(turns), 0, 1))


def zigzag(turns: Floats) -> Floats:
    """A triangle wave in [0, 1]."""
    return floats(np.abs(2 * (turns - np.floor(turns)) - 1))


def bell(u: Floats, v: Floats, look: Variation) -> tuple[Floats, Floats]:
    """A flared cup with horizontal bands and a clapper."""
    down = np.clip((v + 1) / 2, 0, 1)
    square = down * down
    half = 0.66 * np.sqrt(np.clip(down * 2.2, 0, 1)) + 0.64 * square * square * down
    cup = np.minimum(half - np.abs(u), 0.76 - v)
    clapper = ellipse(u, v, (0, 0.78), (0.24, 0.22))
    bands = wave(v * (1.6 * look.rate) + look.phase) * hard(cup)
    return np.maximum(cup, clapper), np.maximum(bands, 1 - hard(cup))


def string(u: Floats, v: Floats, look: Variation) -> tuple[Floats, Floats]:
    """A waisted body with a round hole and strings over it."""
    body = np.maximum(ellipse(u, v, (0, -0.5), (0.74, 0.5)), ellipse(u, v, (0, 0.36), (1, 0.64)))
    strings = hard(sine(u * (3.6 * look.rate) + 0.25) - 0.55, edge=3) * hard(0.42 - np.abs(u))
    hole = ellipse(u, v, (0, -0.05), (0.36, 0.3))
    bridge = block(u, v, (0, 0.6 + 0.1 * look.phase), (0.5, 0.08))
    return body, np.maximum(np.maximum(strings, hard(hole) * (1 - strings)), hard(bridge))


def drum(u: Floats, v: Floats, look: Variation) -> tuple[Floats, Floats]:
    """A barrel with a light skin and lacing around it."""
    skin = ellipse(u, v, (0, -0.62), (0.98, 0.38))
    barrel = np.maximum(block(u, v, (0, 0.02), (0.98, 0.64)), ellipse(u, v, (0, 0.64), (0.98, 0.36)))
    lace = zigzag(u * (1.8 * look.rate) + look.phase)
    lacing = hard(0.14 - np.abs((v - 0.5 * u * u - 0.15) * 0.8 - (lace - 0.5) * 0.8), edge=14)
    return np.maximum(skin, barrel), np.maximum(hard(skin + 0.03), lacing * (1 - hard(skin)))


def engine(u: Floats, v: Floats, look: Variation) -> tuple[Floats, Floats]:
    """A cog wheel with round holes and a hub."""
    radius, angle = np.sqrt(u * u + v * v), turn(v, u)
    teeth = np.clip(2.5 * sine(angle * 9 + look.phase), -1, 1)
    holes = hard(0.5 * sine(angle * 5 + 2 * look.phase) + 0.1, edge=6) * hard(0.16 - np.abs(radius - 0.47))
    hub = hard(0.12 * look.rate - np.abs(radius - 0.06))
    return 0.87 + 0.12 * teeth - radius, np.maximum(holes, hub)


def siren(u: Floats, v: Floats, look: Variation) -> tuple[Floats, Floats]:
    """A lamp dome with rays on a dark foot."""
    dome = np.minimum(ellipse(u, v, (0, 0.45), (0.84, 1.45)), 0.5 - v)
    foot = block(u, v, (0, 0.72), (1, 0.27))
    rays = wave(turn(v - 0.5, u) * 12 * look.rate + look.phase)
    return np.maximum(dome, foot), np.maximum(rays * (1 - hard(foot)), hard(foot))


def bird(u: Floats, v: Floats, look: Variation) -> tuple[Floats, Floats]:
    """Body, head, beak and tail, with spotted feathers."""
    body = np.maximum(ellipse(u, v, (0.08, 0.3), (0.72, 0.68)), ellipse(u, v, (-0.42, -0.45), (0.42, 0.52)))
    beak = np.minimum(0.18 * (u + 1) / 0.3 - np.abs(v + 0.42), -0.6 - u)
    tail = np.minimum(0.1 + 0.42 * (u - 0.3) - np.abs(v + 0.05 - 0.1 * u), 0.99 - u)
    spots = sine(u * (3.4 * look.rate) + look.phase) * sine(v * (3.0 * look.rate) + look.phase)
    eye = hard(ellipse(u, v, (-0.5, -0.55), (0.13, 0.13)), edge=20)
    feathers = hard(spots - 0.25, edge=4) * hard(u * 0.5 + v + 0.1, edge=4)
    return np.maximum(np.maximum(body, beak), tail), np.maximum(np.maximum(feathers, eye), hard(beak))


def water(u: Floats, v: Floats, look: Variation) -> tuple[Floats, Floats]:
    """A drop with rolling waves in it."""
    tip = np.minimum((0.86 * (v + 1) - np.abs(u)) * 0.75, 0.1 - v)
    drop = np.maximum(ellipse(u, v, (0, 0.27), (0.98, 0.73)), tip)
    rolling = v * (2.2 * look.rate) + 0.22 * sine(u * 1.3 + look.phase) + look.phase
    return drop, wave(rolling)


def clock(u: Floats, v: Floats, look: Variation) -> tuple[Floats, Floats]:
    """A dial with a rim, twelve marks and two hands."""
    radius = np.sqrt(u * u + v * v)
    rim = hard(0.12 - np.abs(radius - 0.92), edge=16)
    marks = hard(sine(turn(v, u) * 12 + 0.25) - 0.6, edge=4) * hard(0.09 - np.abs(radius - 0.66), edge=16)
    hands = np.zeros_like(u)
    for length, turns in ((0.62, look.phase), (0.42, 5 * look.rate)):
        x, y = sine(floats([turns, turns + 0.75])).tolist()
        hands = np.maximum(hands, hard(rod(u, v, (0, 0, length * x, length * y), 0.07), edge=16))
    return floats(1 - radius), np.maximum(np.maximum(rim, marks), hands)


def horn(u: Floats, v: Floats, look: Variation) -> tuple[Floats, Floats]:
    """A funnel that opens to the right, with bands across and a dark mouth."""
    along = np.clip((u + 1) / 2, 0, 1)
    half = 0.28 + 0.7 * along * along
    funnel = np.minimum((half - np.abs(v)) * 0.8, 0.86 - np.abs(u + 0.14))
    mouth = ellipse(u, v, (0.74, 0), (0.25, 1))
    bands = hard(sine(u * (2.2 * look.rate) + look.phase) - 0.35, edge=3)
    return np.maximum(funnel, mouth), np.maximum(hard(mouth - 0.06, edge=16), bands * (1 - hard(mouth, edge=16)))


def cricket(u: Floats, v: Floats, look: Variation) -> tuple[Floats, Floats]:
    """A long body with a bent leg and a feeler, checkered."""
    body = np.maximum(ellipse(u, v, (0.12, 0.32), (0.86, 0.5)), ellipse(u, v, (-0.66, 0.1), (0.33, 0.42)))
    leg = np.maximum(rod(u, v, (-0.1, 0.4, 0.42, -0.86), 0.15), rod(u, v, (0.42, -0.86, 0.84, 0.88), 0.11))
    limbs = np.maximum(leg, rod(u, v, (-0.72, 0, -0.9, -0.9), 0.09))
    checks = sine(u * (2.6 * look.rate) + look.phase) * sine(v * (2.6 * look.rate) + look.phase)
    return np.maximum(body, limbs), hard(checks, edge=5) * (1 - hard(limbs)) + hard(limbs) * 0.8


def saw(u: Floats, v: Floats, look: Variation) -> tuple[Floats, Floats]:
    """A blade with teeth below and a handle with a hole."""
    teeth = zigzag(u * (3.2 * look.rate) + look.phase)
    blade = np.minimum((0.55 + 0.42 * teeth - v) * 0.5, v + 0.72 - 0.3 * u)
    blade = np.minimum(blade, np.minimum(u + 0.75, 0.99 - u))
    handle = ellipse(u, v, (-0.6, 0), (0.4, 0.98))
    hole = hard(ellipse(u, v, (-0.62, 0.0), (0.16, 0.5)))
    glint = hard(sine((u + 0.6 * v) * 1.1 + look.phase) - 0.6, edge=3) * 0.35
    return np.maximum(blade, handle), np.maximum(hard(handle) * (1 - hole), glint * (1 - hard(handle)))


def voice(u: Floats, v: Floats, look: Variation) -> tuple[Floats, Floats]:
    """A face with hair, eyes and an open mouth."""
    face = ellipse(u, v, (0, 0), (1, 1))
    hair = hard(-0.42 + 0.12 * sine(u * (2.4 * look.rate) + look.phase) - v)
    eyes = hard(ellipse(np.abs(u), v, (0.4, -0.14), (0.15, 0.12)), edge=20)
    ring = ellipse(u, v, (0, 0.46), (0.46, 0.16 + 0.14 * exp2(-look.phase)))
    mouth = hard(ring) * (1 - 0.6 * hard(ring - 0.12))
    return face, np.maximum(np.maximum(hair, eyes), mouth)


@dataclass(frozen=True)
class Style:
    """Look and colours of a class: hue in turns, saturation and value in [0, 1], of the two tones."""

    look: Look
    light: tuple[float, float, float]
    dark: tuple[float, float, float]


STYLES: dict[str, Style] = {
    "bell": Style(bell, (0.13, 0.85, 0.95), (0.07, 0.9, 0.55)),
    "string": Style(string, (0.06, 0.75, 0.8), (0.10, 0.35, 0.3)),
    "drum": Style(drum, (0.99, 0.85, 0.8), (0.11, 0.18, 0.98)),
    "engine": Style(engine, (0.60, 0.18, 0.62), (0.02, 0.75, 0.4)),
    "siren": Style(siren, (0.99, 0.9, 1.0), (0.63, 0.85, 0.55)),
    "bird": Style(bird, (0.52, 0.65, 0.9), (0.12, 0.9, 0.95)),
    "water": Style(water, (0.57, 0.85, 0.85), (0.50, 0.3, 1.0)),
    "clock": Style(clock, (0.15, 0.12, 0.98), (0.74, 0.65, 0.4)),
    "horn": Style(horn, (0.15, 0.6, 1.0), (0.85, 0.7, 0.5)),
    "cricket": Style(cricket, (0.28, 0.75, 0.75), (0.36, 0.85, 0.35)),
    "saw": Style(saw, (0.56, 0.08, 0.85), (0.03, 0.7, 0.5)),
    "voice": Style(voice, (0.07, 0.42, 0.97), (0.93, 0.75, 0.45)),
}
"""The twelve classes by name; their order is part of the drawn content."""
