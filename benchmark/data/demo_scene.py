"""What stands where in a frame of the demo world, and which of it sounds.

A scene is drawn whole before its sounder is chosen, with dice of its own, so that neither the place, the order of
painting nor the look of an object says whether it sounds; its size does so in part, on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avbench.data.demo_dice import Dice
from avbench.data.demo_drawing import HEIGHT, WIDTH, Pixels

LARGE = (0.30, 0.44)
"""Share of the frame that the box of a large object covers."""

MEDIUM = (0.18, 0.25)
"""The same of one of four objects, two of which sound."""

SMALL = (0.035, 0.075)
"""The same of a small object."""

SMALL_SOUNDS = {"exchangeable": 0.24, "central": 0.06, "edge": 0.06}
"""Chance that a small object sounds where there is one, by layout."""


@dataclass(frozen=True)
class Thing:
    """One object of a scene."""

    kind: str
    box: Pixels
    large: bool


@dataclass(frozen=True)
class Scene:
    """A layout by its name, and the objects in the order of painting."""

    layout: str
    things: list[Thing]


def _box(centre: tuple[float, float], size: tuple[float, float]) -> Pixels:
    """The pixel box of a centre and a size in fractions of the frame, moved inside the frame where it sticks out."""
    wide, high = round(size[0] * WIDTH), round(size[1] * HEIGHT)
    x0 = min(max(round(centre[0] * WIDTH - wide / 2), 0), WIDTH - wide)
    y0 = min(max(round(centre[1] * HEIGHT - high / 2), 0), HEIGHT - high)
    return x0, y0, x0 + wide, y0 + high


def _towards(dice: Dice, side: int, size: float, *, loose: float) -> float:
    """Centre of an interval of ``size`` at the low (0) or high (1) end, away from it by up to ``loose`` of the rest."""
    gap = dice.uniform(0, loose) * (1 - size)
    return gap + size / 2 if side == 0 else 1 - gap - size / 2


def _pair_sizes(dice: Dice, layout: str) -> tuple[float, float]:
    area = dice.uniform(*LARGE)
    if layout == "beside":
        wide = dice.uniform(max(0.33, area / 0.99), min(0.5, area / 0.68))
    elif layout == "stacked":
        wide = dice.uniform(max(0.68, area / 0.5), min(0.99, area / 0.34))
    else:
        area = dice.uniform(LARGE[0], 0.38)
        wide = dice.uniform(max(0.48, area / 0.66), min(0.66, area / 0.48))
    return wide, area / wide


def _pair(dice: Dice) -> list[Pixels]:
    """Two large boxes at opposite sides or corners of the frame, in a random order."""
    layout = dice.pick(("beside", "beside", "corners", "corners", "corners", "stacked"))
    flip, boxes = dice.below(2), []
    for side in (0, 1):
        wide, high = _pair_sizes(dice, layout)
        along = side if layout != "stacked" else dice.below(2)
        down = {"beside": dice.below(2), "stacked": side, "corners": side ^ flip}[layout]
        x, y = _towards(dice, along, wide, loose=0.15), _towards(dice, down, high, loose=0.15)
        boxes.append(_box((x, y), (wide, high)))
    return dice.shuffled(boxes)


def _quarters(dice: Dice) -> list[Pixels]:
    """Four boxes, each in another corner and at most a quarter of the frame, in a random order."""
    boxes = []
    for corner in dice.shuffled(range(4)):
        area = dice.uniform(*MEDIUM)
        wide = dice.uniform(max(0.42, area / 0.52), min(0.54, area / 0.38))
        x = _towards(dice, corner % 2, wide, loose=0.1)
        boxes.append(_box((x, _towards(dice, corner // 2, area / wide, loose=0.1)), (wide, area / wide)))
    return boxes


def _one(dice: Dice, *, central: bool) -> Pixels:
    """One large box, near the centre or at an edge or corner."""
    area, ratio = dice.uniform(*LARGE), dice.factor(0.35)
    wide = area**0.5 * ratio
    high = area / wide
    if central:
        return _box((0.5 + dice.uniform(-0.05, 0.05), 0.5 + dice.uniform(-0.05, 0.05)), (wide, high))
    x = _towards(dice, dice.below(2), wide, loose=0.12)
    y = _towards(dice, dice.below(2), high, loose=dice.pick((0.12, 0.9)))
    return _box((x, y), (wide, high))


def _overlap(a: Pixels, b: Pixels) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _little(dice: Dice, others: list[Pixels]) -> Pixels:
    """A small box, of ten random places the one that hides least of the others."""
    places = []
    for _ in range(10):
        area, ratio = dice.uniform(*SMALL), dice.factor(0.3)
        wide = area**0.5 * ratio
        places.append(_box((dice.uniform(0, 1), dice.uniform(0, 1)), (wide, area / wide)))
    return min(places, key=lambda box: sum(_overlap(box, other) for other in others))


def compose(dice: Dice, kinds: Sequence[str], shares: dict[str, float]) -> Scene:
    """Draw a scene of two to four objects, all of different classes.

    Args:
        dice: the scene's own stream.
        kinds: the classes to choose from, at least four.
        shares: probability of each layout; they sum to 1. ``exchangeable``: two large objects, in half of the scenes
            a small one too. ``central`` and ``edge``: one large object, one or two small ones. ``quarters``:
            four objects of medium size, which count as large.
    """
    classes, layout = dice.shuffled(kinds), _layout(dice, shares)
    if layout == "quarters":
        large, count = _quarters(dice), 0
    elif layout == "exchangeable":
        large, count = _pair(dice), dice.below(2)
    else:
        large, count = [_one(dice, central=layout == "central")], 1 + dice.below(2)
    boxes = list(large)
    for _ in range(count):
        boxes.append(_little(dice, boxes))
    named = enumerate(zip(classes, boxes, strict=False))
    return Scene(layout, [Thing(kind, box, large=i < len(large)) for i, (kind, box) in named])


def _layout(dice: Dice, shares: dict[str, float]) -> str:
    """One of the layouts, by its share; the last one takes what rounding leaves."""
    draw = dice.uniform(0, 1)
    for layout, share in shares.items():
        draw -= share
        if draw < 0:
            return layout
    return layout


def choose(scene: Scene, dice: Dice) -> int:
    """Which object sounds: a small one in a fixed share of the scenes that have one, else any of the large ones."""
    small = [i for i, thing in enumerate(scene.things) if not thing.large]
    share = SMALL_SOUNDS.get(scene.layout, 0)
    return dice.pick(small if small and dice.coin(share) else large_ones(scene))


def large_ones(scene: Scene) -> list[int]:
    """Places of the large objects in the order of painting."""
    return [i for i, thing in enumerate(scene.things) if thing.large]
