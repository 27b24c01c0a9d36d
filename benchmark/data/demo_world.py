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
from avbench.data.demo_scene import Scene, choose, compose
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
    """Probability of each layout, see :func:`avbench.data.demo_scene.compose`."""


@dataclass(frozen=True)
class Drawn:
    """A sample as it is written to disk."""

    id: str
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
    scene: Scene
    frame: NDArray[np.uint8]
    masks: list[NDArray[np.bool_]]
    """Visible pixels of each thing."""

    def sample(self, sample_id: str, sounding: list[int], sound: NDArray[np.int16], **extra: Any) -> Drawn:
        """The sample in which the things ``sounding`` are heard."""
        kinds = [thing.kind for thing in self.scene.things]
        boxes = [_fractions(_extent(mask)) for mask in self.masks]
        listed = zip(kinds, boxes, strict=True)
        entry = {
            "file": sample_id,
            "class": " and ".join(kinds[i] for i in sounding),
            "bbox": [boxes[i] for i in sounding],
            "sounding": bool(sounding),
            "objects": [{"class": k, "bbox": box, "sounding": i in sounding} for i, (k, box) in enumerate(listed)],
            **extra,
        }
        heard = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
        for i in sounding:
            heard |= self.masks[i]
        return Drawn(sample_id, self.frame, heard, sound, entry)


def _picture(split: DemoSplit, number: int) -> _Picture:
    dice = Dice(split.seed, number, SCENE)
    scene = compose(dice, split.kinds, split.shares)
    canvas = background(dice)
    masks: list[NDArray[np.bool_]] = []
    for thing in scene.things:
        covered = paint(canvas, thing.kind, thing.box, dice)
        masks = [*(mask & ~covered for mask in masks), covered]
    return _Picture(scene, finish(canvas), masks)


def _extent(mask: NDArray[np.bool_]) -> Pixels:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _fractions(box: Pixels) -> list[float]:
    return [box[0] / WIDTH, box[1] / HEIGHT, box[2] / WIDTH, box[3] / HEIGHT]


def _prefix(split: DemoSplit) -> str:
    return split.name.replace("-", "_")


def _single(split: DemoSplit, number: int) -> Drawn:
    """One source."""
    picture = _picture(split, number)
    heard = choose(picture.scene, Dice(split.seed, number, SOUNDER))
    sound = mixture([picture.scene.things[heard].kind], Dice(split.seed, number, SOUND))
    return picture.sample(f"{_prefix(split)}_{number:05d}", [heard], sound)


def _duet(split: DemoSplit, number: int) -> Drawn:
    """Two sources, the two large objects."""
    picture = _picture(split, number)
    heard = [i for i, thing in enumerate(picture.scene.things) if thing.large]
    sound = mixture([picture.scene.things[i].kind for i in heard], Dice(split.seed, number, SOUND))
    return picture.sample(f"{_prefix(split)}_{number:05d}", heard, sound)


def _interactive(split: DemoSplit, number: int) -> Drawn:
    """One image twice in a row; each of its two large objects sounds once. The id ends in the one that sounds."""
    image, turn = divmod(number, 2)
    picture = _picture(split, image)
    heard = [i for i, thing in enumerate(picture.scene.things) if thing.large][turn]
    kind = picture.scene.things[heard].kind
    return picture.sample(
        f"{_prefix(split)}_{image:05d}_{kind}", [heard], mixture([kind], Dice(split.seed, number, SOUND))
    )


def _extended(split: DemoSplit, number: int) -> Drawn:
    """The first half are the samples of ``demo``, whose seed this split shares; the second half are the same frames,
    with no source at all (the first half of them) or with a source of a class that is not in the frame."""
    positives = split.n // 2
    if number < positives:
        return _single(replace(split, name="demo"), number)
    image = number - positives
    picture, dice = _picture(split, image), Dice(split.seed, image, NEGATIVE)
    if image < positives // 2:
        return _negative(picture, f"demo_silent_{image:05d}", "silence", silence(dice))
    visible = {thing.kind for thing in picture.scene.things}
    kind = dice.pick([kind for kind in split.kinds if kind not in visible])
    return _negative(picture, f"demo_offscreen_{image:05d}", kind, mixture([kind], dice))


def _negative(picture: _Picture, sample_id: str, kind: str, sound: NDArray[np.int16]) -> Drawn:
    drawn = picture.sample(sample_id, [], sound)
    return replace(drawn, entry={**drawn.entry, "class": kind})


SCHEMES: dict[str, Callable[[DemoSplit, int], Drawn]] = {
    "single": _single,
    "duet": _duet,
    "interactive": _interactive,
    "extended": _extended,
}
