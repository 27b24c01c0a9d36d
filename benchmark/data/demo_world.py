"""The splits of the demo world and their samples: which scene, which sound, what the annotation says."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.data.demo_dice import Dice
from avbench.data.demo_drawing import HEIGHT, WIDTH, Pixels, background, finish, paint
from avbench.data.demo_scene import Scene, choose, compose, large_ones
from avbench.data.demo_shapes import STYLES
from avbench.data.demo_sound import mixture, silence
from avbench.errors import unknown_name

SCENE, SOUNDER, SOUND, NEGATIVE = range(4)
"""Last part of the keys of a sample's four streams of chance, ``(seed, number, stream)``."""


@dataclass(frozen=True)
class DemoSplit:
    """A split as its TOML file states it."""

    name: str
    title: str
    scheme: str
    """How its samples are made: a key of :data:`SCHEMES`."""
    n: int
    """Number of samples."""
    seed: int
    sha256: str
    """Hash of the text of ``SHA256SUMS``, which lists the hashes of all files of the split."""
    kinds: tuple[str, ...]
    """Classes of its objects."""
    shares: dict[str, float]
    """Probability of each layout in a fixed order, see :func:`avbench.data.demo_scene.compose`."""


@dataclass(frozen=True)
class Drawn:
    """A sample as it is written to disk."""

    id: str
    image: str
    """Name of the frame: the id, or what the samples of one image share."""
    frame: NDArray[np.uint8]
    """``[HEIGHT, WIDTH, 3]``."""
    mask: NDArray[np.bool_]
    """``[HEIGHT, WIDTH]``, the visible pixels of what sounds; all False where nothing visible does."""
    sound: NDArray[np.int16]
    """``[SAMPLES]`` at :data:`avbench.data.demo_sound.RATE`."""
    entry: dict[str, Any]
    """Its entry in ``annotations.json``."""


@cache
def demo_splits() -> tuple[str, ...]:
    """Names of all splits of the demo world, sorted."""
    files = resources.files("avbench.splits").iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.startswith("demo") and ".toml" in f.name))


@cache
def read_split(name: str) -> DemoSplit:
    """The definition of a split of the demo world.

    Raises:
        UsageError: for an unknown name, with the closest ones.
    """
    if name not in demo_splits():
        raise unknown_name("demo split", name, demo_splits(), "avbench list splits")
    text = resources.files("avbench.splits").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text)
    kinds = tuple(raw.get("classes", STYLES))
    fields = {key: raw[key] for key in ("name", "title", "scheme", "n", "seed", "sha256", "shares")}
    return DemoSplit(kinds=kinds, **fields)


def draw(split: DemoSplit, number: int) -> Drawn:
    """Sample ``number`` of the split, from 0; a function of its two arguments alone."""
    return SCHEMES[split.scheme](split, number)


@dataclass(frozen=True)
class _Picture:
    name: str
    scene: Scene
    frame: NDArray[np.uint8]
    masks: list[NDArray[np.bool_]]
    """Visible pixels of each thing."""

    def sample(self, sounding: list[int], sound: NDArray[np.int16], *, suffix: str = "", label: str = "") -> Drawn:
        """The sample in which the things ``sounding`` are heard; ``label`` replaces their classes."""
        kinds = [thing.kind for thing in self.scene.things]
        boxes = [_fractions(_extent(mask)) for mask in self.masks]
        listed = list(enumerate(zip(kinds, boxes, strict=True)))
        entry = {
            "file": self.name + suffix,
            **({"image": self.name} if suffix else {}),
            "class": label or " and ".join(kinds[i] for i in sounding),
            "bbox": [boxes[i] for i in sounding],
            "sounding": bool(sounding),
            "objects": [{"class": kind, "bbox": box, "sounding": i in sounding} for i, (kind, box) in listed],
        }
        heard = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
        for i in sounding:
            heard |= self.masks[i]
        return Drawn(self.name + suffix, self.name, self.frame, heard, sound, entry)


def _picture(split: DemoSplit, number: int) -> _Picture:
    dice = Dice(split.seed, number, SCENE)
    scene = compose(dice, split.kinds, split.shares)
    canvas = background(dice)
    masks: list[NDArray[np.bool_]] = []
    for thing in scene.things:
        covered = paint(canvas, thing.kind, thing.box, dice)
        masks = [*(mask & ~covered for mask in masks), covered]
    return _Picture(f"{split.name.replace('-', '_')}_{number:05d}", scene, finish(canvas), masks)


def _extent(mask: NDArray[np.bool_]) -> Pixels:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _fractions(box: Pixels) -> list[float]:
    return [box[0] / WIDTH, box[1] / HEIGHT, box[2] / WIDTH, box[3] / HEIGHT]


def _single(split: DemoSplit, number: int) -> Drawn:
    """One source."""
    picture = _picture(split, number)
    heard = choose(picture.scene, Dice(split.seed, number, SOUNDER))
    kind = picture.scene.things[heard].kind
    return picture.sample([heard], mixture([kind], Dice(split.seed, number, SOUND)))


def _duet(split: DemoSplit, number: int) -> Drawn:
    """Two sources, any two of the large objects."""
    picture = _picture(split, number)
    heard = sorted(Dice(split.seed, number, SOUNDER).shuffled(large_ones(picture.scene))[:2])
    kinds = [picture.scene.things[i].kind for i in heard]
    return picture.sample(heard, mixture(kinds, Dice(split.seed, number, SOUND)))


def _interactive(split: DemoSplit, number: int) -> Drawn:
    """One image twice in a row; each of its two large objects sounds once. The id ends in the one that sounds."""
    image, turn = divmod(number, 2)
    picture = _picture(split, image)
    heard = large_ones(picture.scene)[turn]
    kind = picture.scene.things[heard].kind
    return picture.sample([heard], mixture([kind], Dice(split.seed, number, SOUND)), suffix=f"_{kind}")


def _extended(split: DemoSplit, number: int) -> Drawn:
    """Positives and negatives of the same images.

    The first half are the samples of ``demo``, whose seed this split shares. The second half are their frames again:
    the first half of those with noise alone, the others with a source of a class that is not in the frame.
    """
    positives, demo = split.n // 2, replace(split, name="demo")
    if number < positives:
        return _single(demo, number)
    picture, dice = _picture(demo, number - positives), Dice(split.seed, number - positives, NEGATIVE)
    if number < positives * 3 // 2:
        return picture.sample([], silence(dice), suffix="_silent", label="silence")
    visible = {thing.kind for thing in picture.scene.things}
    kind = dice.pick([kind for kind in split.kinds if kind not in visible])
    return picture.sample([], mixture([kind], dice), suffix="_offscreen", label=kind)


SCHEMES: dict[str, Callable[[DemoSplit, int], Drawn]] = {
    "single": _single,
    "duet": _duet,
    "interactive": _interactive,
    "extended": _extended,
}
