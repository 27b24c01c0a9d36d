"""What a method saw of a sample, and what its stored map says of those very pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from avbench.data.batches import present
from avbench.data.decoding import decode_pictures, open_rgb
from avbench.data.places import Packed, Place
from avbench.data.splits import Sample, Split, split_names
from avbench.data.user_sets import is_user_set
from avbench.errors import AvbenchError, UsageError
from avbench.figures.choice import FigureChoice
from avbench.metrics.canvases import Canvases
from avbench.metrics.scoring import Row, predicted_mask
from avbench.opening import Places, Progress, open_split
from avbench.parts import Part, read_part
from avbench.records import Record
from avbench.request import PART, part_path
from avbench.scoring import part_rows
from avbench.stored import Stored, Task, find_stored
from avbench.truth import Truth, read_truth
from avbench.types import CANVAS, Box, Picture

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Heat:
    """A map under a protocol, on what its method saw: the middle of the picture where that was cropped.

    Attributes:
        values: ``[224, 224]`` in [0, 1], what the protocol compares with its threshold.
        predicted: ``[224, 224]``, what passes it.
    """

    values: Floats
    predicted: Flags


@dataclass(frozen=True)
class Seen:
    """A sample as a method saw it.

    Attributes:
        pixels: ``[224, 224, 3]``.
        boxes: of the truth, as fractions of these pixels; beyond [0, 1] where they were cropped away.
    """

    pixels: Pixels
    boxes: tuple[Box, ...]


class Maps:
    """The stored maps of one record, as its protocol sees them."""

    def __init__(self, record: Record) -> None:
        (self.stored,) = find_stored([record.path])
        self.truth: Truth = read_truth(self.stored.truth_path)
        self.protocol = record.protocol
        self.part = cache(self._part)

    def heat(self, sample: str) -> Heat:
        """The map of the sample with this id.

        Raises:
            AvbenchError: for a part file that cannot be read, or is of other samples.
        """
        place = self.truth.ids.index(sample)
        part, row = self.part(place // PART)
        if part.ids[place % PART : place % PART + 1] != [sample]:
            raise AvbenchError(
                f"the predictions in {self.stored.folder} are of other samples than their truth, {sample} being absent "
                "where it is expected: predict again"
            )
        maps = row.maps[slice(place % PART, place % PART + 1)]
        finished = Canvases((CANVAS, CANVAS)).of(maps, row.protocol).finished()[0]
        predicted = predicted_mask(maps, row.protocol)[0]
        return Heat(finished.float().nan_to_num(nan=0).clamp(0, 1).numpy(), predicted.numpy())

    def _part(self, number: int) -> tuple[Part, Row]:
        part = read_part(part_path(self.stored.folder, number), ("map",))
        task = Task(self.stored, (("av", self.protocol),))
        return part, part_rows(task, part, None, family=self.truth.family)["av", self.protocol]


def picture_of(stored: Stored) -> Picture:
    """In which way the method of stored predictions looked at pictures: what its settings say, else squashed."""
    picture: Picture = (stored.resolved["config"] or {}).get("picture", "squash")
    return picture


def see(sample: Sample, boxes: Sequence[Box], picture: Picture) -> Seen:
    """The pixels of a sample as a method sees them, with its boxes where they lie there.

    Args:
        sample: With its picture.
        boxes: As fractions of the whole picture.
        picture: How the method looks at it.

    Raises:
        UsageError: for a sample without media.
        AvbenchError: for a picture that cannot be read.
    """
    place = present(sample.image, sample)
    made = decode_pictures(place, [picture])[picture]
    pixels = made if made.dtype == np.uint8 else np.rint(255 * made.clip(0, 1)).astype(np.uint8)
    left, top, right, bottom = part_seen(place, picture)
    width, height = right - left, bottom - top
    moved = [((a - left) / width, (b - top) / height, (c - left) / width, (d - top) / height) for a, b, c, d in boxes]
    return Seen(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)), tuple(moved))


def split_with_pictures(record: Record, choice: FigureChoice, progress: Progress) -> Split:
    """The split of a record with its media.

    Raises:
        UsageError: where nothing says where they are.
        AvbenchError: for another list than that of the record, or annotation files that cannot be read.
    """
    name, places = record.split, Places(choice.metadata, choice.data)
    if name not in split_names():
        if choice.data is None or not is_user_set(str(choice.data)):
            raise UsageError(
                f"this figure needs the pictures of {name}, which is no split of avbench: name the YAML file of the "
                "set with --data"
            )
        name, places = str(choice.data), Places(choice.metadata)
    split = open_split(name, places, progress)
    if split.sha256 != record.provenance["split"]["sha256"]:
        raise AvbenchError(
            f"the list of {split.name} has the hash {split.sha256[:12]} and the results that of "
            f"{record.provenance['split']['sha256'][:12]}: name the annotation files that they were made with"
        )
    return split


def part_seen(place: Place, picture: Picture) -> Box:
    """Which part of the whole picture a method sees: that of :func:`avbench.data.decoding.centre_crop`, or all."""
    if picture != "centre-crop" or isinstance(place, Packed):
        return WHOLE
    size = open_rgb(place).size
    small = [CANVAS * side // min(size) for side in size]
    left, top = (round((side - CANVAS) / 2) / side for side in small)
    return left, top, left + CANVAS / small[0], top + CANVAS / small[1]
