"""The page's gallery: pictures of a split with the maps that its entries keep."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from avbench.data.decoding import decode_image
from avbench.data.splits import Sample, Split
from avbench.leaderboards.entries import Entry
from avbench.leaderboards.measures import column_of
from avbench.metrics.maps import minmax_guarded, upsample
from avbench.metrics.sizes import BUCKETS, size_bucket
from avbench.pages.methods import plain_record
from avbench.pictures import overlay

SIDE, QUALITY = 168, 68
"""Pixels of a picture's side, and its JPEG quality: three quarters of what methods see, about 5 kB."""

Pixels = NDArray[np.uint8]


def gallery(split: Split, entries: Sequence[Entry]) -> dict[str, Any] | None:
    """The samples whose maps entries of ``split`` keep; None where there are none.

    Args:
        split: With its media.
        entries: A column each, in this order; those of another list, or without maps, are left out.
    """
    shown = [entry for entry in entries if entry.maps and entry.split == split.name]
    kept = {name for entry in shown for name in entry.maps}
    samples = [sample for sample in split.samples if sample.id in kept and sample.image is not None]
    if not samples:
        return None
    values = [_values(entry) for entry in shown]
    return {
        "split": split.name,
        "about": (
            "samples spread evenly over the list, nobody's pick. Colours: each map from its own least value to its "
            "largest; cIoU under the first protocol of its entry, common where it has that."
        ),
        "samples": [_sample(sample, shown, values) for sample in samples],
    }


def _sample(sample: Sample, entries: Sequence[Entry], values: Sequence[dict[str, float]]) -> dict[str, Any]:
    if sample.image is None:
        raise ValueError(f"{sample.id} has no image to draw")
    pixels: Pixels = np.moveaxis(np.asarray(decode_image(sample.image)), 0, -1)
    maps = [
        {
            "title": entry.method,
            "method": entry.method,
            "uri": _jpeg(_heated(pixels, entry.maps[sample.id])),
            "ciou": round(known[sample.id], 4),
        }
        for entry, known in zip(entries, values, strict=True)
        if sample.id in entry.maps and sample.id in known
    ]
    return {
        "id": sample.id,
        "label": sample.label or "",
        "size": _size(entries[0], sample.id),
        "image": _jpeg(pixels),
        "boxes": [[round(end, 5) for end in box] for box in sample.boxes],
        "maps": maps,
    }


def _values(entry: Entry) -> dict[str, float]:
    samples = entry.contestant(plain_record(entry)).samples
    return dict(zip(samples["id"], column_of(samples, "ciou").tolist(), strict=True))


def _size(entry: Entry, sample: str) -> str:
    samples = entry.contestant(plain_record(entry)).samples
    area = column_of(samples[samples["id"] == sample], "area")
    return list(BUCKETS)[int(size_bucket(area)[0])]


def _heated(pixels: Pixels, native: NDArray[np.float32]) -> Pixels:
    wide = upsample(torch.from_numpy(np.array(native))[None], "bicubic", align_corners=False, keep_constant=True)
    heat = minmax_guarded(wide)[0].clamp(0, 1).numpy()
    shown: Pixels = (255 * overlay(pixels, heat)).round().astype(np.uint8)
    return shown


def _jpeg(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    small.save(buffer, format="JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
