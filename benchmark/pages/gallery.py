"""The page's gallery: pictures of a split with the maps that its entries keep."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from avbench.data.batches import present
from avbench.data.decoding import decode_image
from avbench.data.splits import Sample, Split
from avbench.figures.seeing import part_seen
from avbench.leaderboards.entries import Entry
from avbench.leaderboards.measures import column_of
from avbench.metrics.maps import minmax_guarded, upsample
from avbench.metrics.sizes import BUCKETS, size_bucket
from avbench.pages.methods import plain_record
from avbench.pictures import overlay
from avbench.types import CANVAS, Box, Picture

SIDE, QUALITY = 168, 68
"""Pixels of a picture's side, and its JPEG quality: three quarters of what methods see, about 5 kB."""

ABOUT = (
    "samples spread evenly over the list, nobody's pick. Colours: each map from its own least value to its largest; "
    "cIoU under the first protocol of its entry, common where it has that."
)
CROPPED = "Where a method sees the middle of a picture alone, its map lies there, and the rest is as it was: {}."

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Column:
    """An entry with the sizes of its samples' objects and its cIoU on them, where it has one."""

    entry: Entry
    picture: Picture
    sizes: dict[str, str]
    values: dict[str, float]

    @classmethod
    def of(cls, entry: Entry) -> _Column:
        record = plain_record(entry)
        samples = entry.contestant(record).samples
        names, buckets = list(samples["id"]), size_bucket(column_of(samples, "area")).tolist()
        values = column_of(samples, "ciou").tolist() if "ciou" in samples else []
        return cls(
            entry,
            (record.provenance.get("config") or {}).get("picture", "squash"),
            {name: list(BUCKETS)[bucket] for name, bucket in zip(names, buckets, strict=True)},
            {name: round(value, 4) for name, value in zip(names, values, strict=False) if value == value},
        )


def has_maps(entry: Entry, split: Split) -> bool:
    """Whether an entry keeps maps of the samples of ``split``: of this very list, not of another of its name."""
    return bool(entry.maps) and plain_record(entry).provenance["split"]["sha256"] == split.sha256


def gallery(split: Split, entries: Sequence[Entry]) -> dict[str, Any] | None:
    """The samples whose maps entries of ``split`` keep; None where there are none.

    Args:
        split: With its media.
        entries: A column each, in this order; those of another list, or without maps, are left out.
    """
    shown = [_Column.of(entry) for entry in entries if has_maps(entry, split)]
    kept = {name for column in shown for name in column.entry.maps}
    samples = [sample for sample in split.samples if sample.id in kept and sample.image is not None]
    if not samples:
        return None
    cropped = ", ".join(column.entry.method for column in shown if column.picture == "centre-crop")
    return {
        "split": split.name,
        "about": f"{ABOUT} {CROPPED.format(cropped)}" if cropped else ABOUT,
        "samples": [_sample(sample, shown) for sample in samples],
    }


def _sample(sample: Sample, columns: Sequence[_Column]) -> dict[str, Any]:
    place = present(sample.image, sample)
    pixels: Pixels = np.moveaxis(np.asarray(decode_image(place)), 0, -1)
    having = [column for column in columns if sample.id in column.entry.maps]
    maps = [
        {
            "title": column.entry.method,
            "method": column.entry.method,
            "uri": _jpeg(_heated(pixels, column.entry.maps[sample.id], part_seen(place, column.picture))),
            "ciou": column.values.get(sample.id),
        }
        for column in having
    ]
    return {
        "id": sample.id,
        "label": sample.label or "",
        "size": having[0].sizes[sample.id],
        "image": _jpeg(pixels),
        "boxes": [[round(end, 5) for end in box] for box in sample.boxes],
        "maps": maps,
    }


def _heated(pixels: Pixels, native: NDArray[np.float32], seen: Box) -> Pixels:
    """The picture under a map's colours, in the part of it that the method saw."""
    left, top, right, bottom = (round(CANVAS * end) for end in seen)
    wide = upsample(
        torch.from_numpy(np.array(native))[None],
        "bicubic",
        align_corners=False,
        size=(bottom - top, right - left),
        keep_constant=True,
    )
    heat = minmax_guarded(wide)[0].clamp(0, 1).numpy()
    shown = pixels.copy()
    shown[top:bottom, left:right] = (255 * overlay(pixels[top:bottom, left:right], heat)).round().astype(np.uint8)
    return shown


def _jpeg(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    small.save(buffer, format="JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
