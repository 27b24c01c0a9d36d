"""What the page tells of one method: curves and shares from the per-sample values of its entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.figures.detection import line_of
from avbench.figures.reliability import panel_of
from avbench.leaderboards.contestants import Contestant
from avbench.leaderboards.entries import Entry
from avbench.leaderboards.measures import MEASURES, column_of, measured, sounding
from avbench.leaderboards.parts import NO_CLASS
from avbench.metrics.catalogue import METRICS
from avbench.metrics.protocols import get_protocol
from avbench.metrics.sizes import bucket_members
from avbench.metrics.statistics import wilson_interval
from avbench.metrics.success import success_curve
from avbench.records import Record

POINTS = 60
"""The most thresholds of a precision-recall curve."""

PURPOSES = {"validation": "validation list", "oracle": "test list"}
"""What a training was judged by."""


def page_of(entries: Sequence[Entry]) -> dict[str, Any]:
    """The figures of one method's page, of each of its entries and of the trainings behind them."""
    return {"entries": [_figures(entry) for entry in entries], "curves": _curves(entries), "losses": []}


def plain_record(entry: Entry) -> Record:
    """The record that stands for an entry: its own map under its first protocol."""
    return next((record for record in entry.records if record.variant == "av"), entry.records[0])


def _figures(entry: Entry) -> dict[str, Any]:
    record = plain_record(entry)
    row = entry.contestant(record)
    samples = row.samples
    found: dict[str, Any] = {
        "entry": entry.name,
        "split": entry.split,
        "protocol": record.protocol,
        "selection": "" if entry.selection == "none" else entry.selection,
        "badge": entry.badge,
        "success": None,
        "classes": [],
        "sizes": [],
        "detection": None,
        "reliability": None,
        "listening": _listening(entry),
    }
    if MEASURES["locacc"].column not in samples or not sounding(samples).any():
        return found
    heard = torch.from_numpy(sounding(samples))
    reached = measured("locacc", [samples], get_protocol(record.protocol)).numbers[0].bool()
    thresholds, rates = success_curve(column_of(samples, "ciou")[heard])
    found |= {
        "success": {"thresholds": _rounded(thresholds), "rates": _rounded(rates)},
        "classes": list(_shares(_classes(samples[heard.numpy()]), reached)),
        "sizes": list(_shares(_sizes(samples[heard.numpy()]), reached)),
    }
    if "confidence" in samples and not samples["confidence"].isna().all():
        found["reliability"] = _reliability(row)
        found["detection"] = None if heard.all() else _detection(row)
    return found


def _reliability(row: Contestant) -> list[list[float]]:
    """Confidence, share of localised samples and count of each bin, from the least sure."""
    return [[_round(one.sure), _round(one.share), one.n] for one in panel_of(row).bins]


def _detection(row: Contestant) -> dict[str, list[float]]:
    """The curve of precision over recall, at no more points than a picture shows."""
    line = line_of(row)
    count = min(POINTS, len(line.recall))
    picked = np.linspace(0, len(line.recall) - 1, count).round().astype(int)
    return {"recall": [*map(_round, line.recall[picked])], "precision": [*map(_round, line.precision[picked])]}


def _classes(samples: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    labels = samples["label"].fillna(NO_CLASS).to_numpy(dtype=str)
    for name in sorted(set(labels.tolist())):
        yield name, labels == name


def _sizes(samples: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    everywhere = torch.ones(len(samples), dtype=torch.bool)
    for name, members in bucket_members(column_of(samples, "area"), everywhere).items():
        if members.any():
            yield name, members.numpy()


def _shares(parts: Iterable[tuple[str, NDArray[np.bool_]]], reached: Tensor) -> Iterator[list[Any]]:
    """Name, samples, success rate and its Wilson interval of each part."""
    for name, rows in parts:
        hits, count = int(reached[torch.from_numpy(rows)].sum()), int(rows.sum())
        yield [name, count, _round(hits / count), *map(_round, wilson_interval(hits, count))]


def _listening(entry: Entry) -> dict[str, dict[str, float]] | None:
    heard = entry.listening
    if heard is None or heard.partial:
        return None
    return {
        "rates": {kind: _round(rate.value) for kind, rate in heard.success.items()},
        "drops": {kind: _round(drop.value) for kind, drop in heard.drops.items()},
    }


def _curves(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A curve per list and leading metric of each training, whichever entries came of it."""
    trainings = {str(entry.evaluations): entry.evaluations for entry in entries if entry.evaluations}
    found: list[dict[str, Any]] = []
    for number, rows in enumerate(trainings.values(), start=1):
        label = f"training {number}" if len(trainings) > 1 else "training"
        ordered = sorted(rows, key=lambda row: (row["split"], row["epoch"]))
        for split, group in groupby(ordered, key=lambda row: str(row["split"])):
            found += _lines(label, split, list(group))
    return found


def _lines(label: str, split: str, rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for metric in ("locacc", "auc"):
        values = {row["epoch"]: row.get(metric) for row in rows}
        known = {epoch: _round(value) for epoch, value in values.items() if value is not None and value == value}
        if known:
            yield {
                "label": label,
                "split": split,
                "purpose": PURPOSES.get(rows[0]["purpose"], rows[0]["purpose"]),
                "metric": METRICS[metric].id,
                "epochs": list(known),
                "values": list(known.values()),
            }


def _rounded(values: Tensor) -> list[float]:
    return [_round(value) for value in values.tolist()]


def _round(value: float) -> float:
    """Enough for a picture."""
    return round(value, 5)
