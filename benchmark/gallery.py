"""The picture grid of a run: image, truth, each method's heat map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avbench.data.places import Place
from avbench.data.splits import Sample
from avbench.records import Record
from avbench.request import Job

ROWS = 8


def draw_grid(jobs: Sequence[Job], records: Sequence[Record], out: Path) -> None:
    """Draw up to eight samples, spread evenly over those with boxes, with the ``av`` map of each job.

    Args:
        jobs: Complete; those of one run.
        records: The ``av`` record of each job, in the same order.
        out: The PNG file.
    """
    from avbench.data.decoding import decode_image
    from avbench.pictures import GridRow, picture_grid

    samples = jobs[0].split.samples
    places = _spread([place for place, sample in enumerate(samples) if sample.boxes])
    heat = [_heat(job, places) for job in jobs]
    scores = [_scores(record, places) for record in records]
    rows = [
        GridRow(
            title=f"{samples[place].label or ''}\n{samples[place].id}",
            image=np.moveaxis(np.asarray(decode_image(_image(samples[place]))), 0, -1),
            boxes=samples[place].boxes,
            maps=[maps[row] for maps in heat],
            scores=[values[row] for values in scores],
        )
        for row, place in enumerate(places)
    ]
    picture_grid(rows, [record.title for record in records], out)


def _spread(places: list[int]) -> list[int]:
    step = max(1, len(places) // ROWS)
    return places[::step][:ROWS]


def _image(sample: Sample) -> Place:
    if sample.image is None:
        raise ValueError(f"{sample.id} has no image to draw")
    return sample.image


def _heat(job: Job, places: Sequence[int]) -> list[np.ndarray]:
    import torch

    from avbench.metrics.maps import minmax_guarded, upsample
    from avbench.parts import read_part
    from avbench.request import PART, part_path

    maps = []
    for place in places:
        part = read_part(part_path(job.folder, place // PART), ("map",))
        native = part.tensors["map"][place % PART][None]
        wide = minmax_guarded(upsample(native, "bicubic", align_corners=False, keep_constant=True))
        maps.append(torch.clamp(wide[0], 0, 1).numpy())
    return maps


def _scores(record: Record, places: Sequence[int]) -> list[float]:
    import pandas as pd

    values = pd.read_parquet(record.path.with_name(record.per_sample), columns=["ciou"])["ciou"]
    return [float(values.iloc[place]) for place in places]
