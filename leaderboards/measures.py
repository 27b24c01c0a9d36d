"""What a metric takes from the per-sample values of a record: which column, which number of it, over which samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.metrics.protocols import Operator, Protocol
from avbench.metrics.resampling import success_area_per_sample

Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class Measure:
    """A metric that is the mean of one number per sample.

    Attributes:
        column: of the per-sample file.
        number: the sample's number, from the column's value and the protocol.
        flags: whether the number is 1 for a success and 0 for none, so that the metric is a rate.
        everywhere: over all samples, not only those with a box.
        gaps: whether NaN says that there is nothing to measure, as for the ROC curve of an empty truth; such samples
            are left out for all methods. NaN is a value like any other elsewhere.
    """

    column: str
    number: Callable[[Tensor, Protocol], Tensor]
    flags: bool = False
    everywhere: bool = False
    gaps: bool = False


@dataclass(frozen=True)
class Measured:
    """One measure of several methods.

    Attributes:
        rows: ``[N]`` bool, the samples that count.
        numbers: ``[M, n]`` float64, of those samples.
        rate: whether all numbers are 0 or 1, by the measure's own rule.
    """

    rows: Rows
    numbers: Tensor
    rate: bool


def _as_it_is(values: Tensor, _: Protocol) -> Tensor:
    return values


def _area(values: Tensor, _: Protocol) -> Tensor:
    return success_area_per_sample(values)


def _exact_area(values: Tensor, _: Protocol) -> Tensor:
    return values.clamp(0, 1).nan_to_num(nan=0.0)


def _success(values: Tensor, protocol: Protocol) -> Tensor:
    return _reaches(values, protocol, operator=protocol.success)


def _reaches(values: Tensor, _: Protocol, *, at: float = 0.5, operator: Operator = ">=") -> Tensor:
    return (values > at if operator == ">" else values >= at).double()


MEASURES: dict[str, Measure] = {
    "locacc": Measure("ciou", _success, flags=True),
    "auc": Measure("ciou", _area),
    "mean_ciou": Measure("ciou", _as_it_is),
    "auc_exact": Measure("ciou", _exact_area),
    "locacc_30": Measure("ciou", partial(_reaches, at=0.3), flags=True),
    "locacc_75": Measure("ciou", partial(_reaches, at=0.75), flags=True),
    "locacc_adap": Measure("ciou_adap", _reaches, flags=True),
    "auc_adap": Measure("ciou_adap", _area),
    "pointing": Measure("pointing", _as_it_is, flags=True, gaps=True),  # a share where several pixels are the largest
    "pixel_ap": Measure("pixel_ap", _as_it_is, gaps=True),
    "pixel_roc_auc": Measure("pixel_roc_auc", _as_it_is, gaps=True),
    "energy": Measure("energy", _as_it_is, gaps=True),
    "miou": Measure("iou", _as_it_is, everywhere=True),
    "piap": Measure("piap", _as_it_is, everywhere=True, gaps=True),
}
"""By metric id."""

DETECTIONS = {"ap": False, "max_f1": False, "ap_clean": True, "max_f1_clean": True}
"""Metrics of the order of all samples by confidence, and whether doubtful negatives are left out of it."""


def comparable(tables: Sequence[pd.DataFrame]) -> list[str]:
    """Ids of the metrics that the columns of all ``tables`` allow."""
    columns = set.intersection(*(set(table.columns) for table in tables))
    found = [name for name, measure in MEASURES.items() if measure.column in columns]
    if {"confidence", "ciou"} <= columns:
        cleaned = bool(tables[0]["doubtful"].any())
        found += [name for name, clean in DETECTIONS.items() if cleaned or not clean]
    return found


def measured(metric: str, tables: Sequence[pd.DataFrame], protocol: Protocol) -> Measured:
    """The numbers of a measure.

    Args:
        metric: One of :data:`MEASURES`.
        tables: Per-sample values of each method: the same samples in the same order.
        protocol: Under which they were measured.
    """
    measure = MEASURES[metric]
    columns = torch.stack([column_of(table, measure.column) for table in tables])
    rows = np.ones(len(tables[0]), dtype=bool) if measure.everywhere else sounding(tables[0])
    if measure.gaps:
        rows &= ~columns.isnan().any(dim=0).numpy()
    numbers = measure.number(columns[:, torch.from_numpy(rows)], protocol)
    return Measured(rows, numbers, measure.flags and bool(((numbers == 0) | (numbers == 1)).all()))


def column_of(table: pd.DataFrame, name: str) -> Tensor:
    """``[n]`` float64."""
    return torch.from_numpy(table[name].to_numpy(dtype=np.float64, copy=True))


def sounding(table: pd.DataFrame) -> Rows:
    """``[n]``: whether the sample has a box."""
    return table["boxes"].to_numpy() > 0
