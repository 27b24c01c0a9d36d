"""Truth and predictions in COCO's form, so that other tools can open them.

    annotations.json              images, categories (classes of the sounds), one annotation per sample with truth
    METHOD.VARIANT.PROTOCOL.json  one result per sample in which the method predicts anything

An image is a sample, numbered from 1 in the truth's order: two sounds of one picture are two images. The frame is the
224 x 224 canvas. Masks are compressed RLE; boxes are ``[x, y, width, height]`` in pixels, those of results the extent
of the predicted pixels. A sample without a sounding object, or whose boxes have no area, has no annotation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from avbench.metrics.canvases import Canvases
from avbench.metrics.chunk import mask_of
from avbench.metrics.confidence import top_quarter
from avbench.metrics.scoring import Row
from avbench.parts import read_parts
from avbench.request import PART
from avbench.scoring import RowKey, checked_parts, object_maps, part_rows
from avbench.store import write_json
from avbench.stored import Stored, Task
from avbench.truth import Truth
from avbench.types import CANVAS

Of = Literal["boxes", "masks"]
"""What the annotated pixels are: the union of the boxes, of whichever annotator, or the mask."""

ANNOTATIONS = "annotations.json"
UNNAMED = "sounding object"
"""The category of samples without a label."""


@dataclass(frozen=True)
class _Names:
    images: dict[str, int]
    categories: dict[str, int]

    @classmethod
    def of(cls, truth: Truth) -> _Names:
        labels = sorted({label or UNNAMED for label in truth.labels})
        return cls({name: n for n, name in enumerate(truth.ids, 1)}, {name: n for n, name in enumerate(labels, 1)})


def export_truth(truth: Truth, folder: Path, *, of: Of = "boxes") -> Path:
    """Write ``annotations.json``.

    Args:
        truth: Of the samples.
        folder: Made if it is not there.
        of: What the annotated pixels are.

    Returns:
        The file.

    Raises:
        AvbenchError: if masks are asked for and a sounding sample has none, or the disk refuses.
    """
    names = _Names.of(truth)
    drawn = truth.union_maps if of == "boxes" else truth.masks
    annotations = []
    for start in range(0, len(truth), PART):
        rows = range(start, min(start + PART, len(truth)))
        for row, encoded in zip(rows, _encoded(drawn(slice(start, rows.stop)) > 0), strict=True):
            if encoded["area"]:
                annotations.append(_annotation(truth, row, names, encoded))
    content = {
        "info": {"description": f"{truth.title} ({truth.split})", "version": truth.sha256},
        "images": [_image(name, number) for name, number in names.images.items()],
        "categories": [{"id": n, "name": name} for name, n in names.categories.items()],
        "annotations": annotations,
    }
    path = folder / ANNOTATIONS
    write_json(path, content)
    return path


def export_predictions(
    task: Task, truth: Truth, folder: Path, *, prior: Stored | None, advance: Callable[[int], None]
) -> list[Path]:
    """Write a file of results for each row of a task; the score of a result is the protocol's confidence.

    Args:
        task: Stored predictions of the samples of ``truth``.
        truth: Of the samples.
        folder: As in :func:`export_truth`.
        prior: The predictions of the object map that ``av+ogl`` fuses in.
        advance: Called with the number of samples done.

    Returns:
        The files, in the order of the rows.

    Raises:
        AvbenchError: for part files that cannot be read or are of other samples.
    """
    names, found = _Names.of(truth), {row: _nothing() for row in task.rows}
    priors = read_parts(prior.folder, len(truth), ("map",)) if prior else None
    start = 0
    for part in checked_parts(task, truth):
        rows = part_rows(task, part, object_maps(next(priors)) if priors else None, family=truth.family)
        own = part.tensors.get("confidence")
        for key, row in rows.items():
            found[key] += _results(row, own, names, range(start, start + len(part.ids)), truth)
        start += len(part.ids)
        advance(len(part.ids))
    return [_write(task, folder, row, results) for row, results in found.items()]


def _nothing() -> list[dict[str, Any]]:
    return []


def _image(name: str, number: int) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": CANVAS, "height": CANVAS}


def _annotation(truth: Truth, row: int, names: _Names, encoded: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row + 1,
        "image_id": row + 1,
        "category_id": names.categories[truth.labels[row] or UNNAMED],
        "segmentation": encoded["segmentation"],
        "area": encoded["area"],
        "bbox": encoded["bbox"],
        "iscrowd": 0,
        "boxes": [list(box) for box in truth.boxes[row]],
    }


def _results(row: Row, own: Tensor | None, names: _Names, places: range, truth: Truth) -> list[dict[str, Any]]:
    masks, sure = _predicted(row, len(places))
    scores = (sure if own is None else own.double()).tolist()
    return [
        {
            "image_id": place + 1,
            "category_id": names.categories[truth.labels[place] or UNNAMED],
            "segmentation": encoded["segmentation"],
            "bbox": encoded["bbox"],
            "score": score,
        }
        for place, encoded, score in zip(places, _encoded(masks), scores, strict=True)
        if encoded["area"] and score == score
    ]


def _predicted(row: Row, count: int) -> tuple[Tensor, Tensor]:
    """The predicted pixels ``[n, 224, 224]``, and ``[n]`` how sure the maps are."""
    canvases = Canvases((CANVAS, CANVAS))
    masks = mask_of(canvases.of(row.maps, row.protocol, row.priors).finished(), row.protocol)
    sure = canvases.confidence(row.maps, row.protocol, row.priors)
    confidence = top_quarter(sure.finish(sure.values))
    return masks.expand(count, -1, -1), confidence.expand(count)


def _encoded(masks: Tensor) -> list[dict[str, Any]]:
    """Segmentation, area and box of each of ``[n, 224, 224]``, as JSON holds them."""
    from pycocotools import mask as coco

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools asks NumPy 2 in NumPy 1's way
        pictures = masks.to(torch.uint8).numpy()
        # One by one: of 256 masks and more pycocotools stops at NumPy 2.
        rles = [coco.encode(np.asfortranarray(picture)) for picture in pictures]
        areas, boxes = [int(coco.area(rle)) for rle in rles], [coco.toBbox(rle).tolist() for rle in rles]
    return [
        {"segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}, "area": area, "bbox": box}
        for rle, area, box in zip(rles, areas, boxes, strict=True)
    ]


def _write(task: Task, folder: Path, row: RowKey, results: list[dict[str, Any]]) -> Path:
    variant, protocol = row
    heard = "" if task.stored.audio == "true" else f".{task.stored.audio}"
    path = folder / f"{task.stored.method}{heard}.{variant}.{protocol.replace(':', '-')}.json"
    write_json(path, results)
    return path
