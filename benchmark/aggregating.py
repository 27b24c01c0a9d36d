"""From per-sample values to the numbers of a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from avbench.metrics.extended import aggregate_extended
from avbench.metrics.interactive import area_under_interactive_success, interactive_success_rate
from avbench.metrics.multisource import class_aware_ap
from avbench.metrics.protocols import Protocol
from avbench.metrics.scoring import aggregate
from avbench.metrics.segmentation import f_score_batches, f_score_dataset, f_score_image, miou
from avbench.metrics.sizes import bucket_members
from avbench.metrics.statistics import wilson_interval
from avbench.metrics.success import area_under_success, exact_area_under_success, success_rate
from avbench.truth import Truth

Values = Mapping[str, Tensor]

AVSBENCH_BATCH = 20
"""Frames in a batch of AVSBench's evaluation: 4 clips of 5."""


@dataclass
class Numbers:
    """The metrics of a record, and of those that are shares of something the number of things counted."""

    metrics: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, **metrics: float) -> None:
        """Add means."""
        self.metrics |= metrics

    def add_rates(self, count: int, **metrics: float) -> None:
        """Add shares of ``count`` samples."""
        self.metrics |= metrics
        self.counts |= dict.fromkeys(metrics, count)

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Wilson's 95 % interval of each share."""
        return {
            name: wilson_interval(round(self.metrics[name] * count), count)
            for name, count in self.counts.items()
            if count
        }


def numbers_of(values: Values, truth: Truth, area: Tensor, protocol: Protocol) -> Numbers:
    """All aggregates that the per-sample values of a row allow.

    Args:
        values: ``[n]`` columns of :func:`~avbench.metrics.scoring.measure_rows`, or of several sources.
        truth: Of the same n samples.
        area: ``[n]``, the sum of each sample's truth in pixels.
        protocol: Under which the values were measured.
    """
    numbers = Numbers()
    if protocol.truth == "masks":
        _segmentation(numbers, values)
    elif protocol.truth == "sources":
        _sources(numbers, values, truth)
    else:
        _localisation(numbers, values, truth.positive, protocol)
        _by_size(numbers, values, bucket_members(area, truth.positive), protocol)
        _interactive(numbers, values, truth)
        _detection(numbers, values, truth)
    return numbers


def _localisation(numbers: Numbers, values: Values, positive: Tensor, protocol: Protocol) -> None:
    """Over the samples with a sounding object."""
    seen = {name: column[positive] for name, column in values.items()}
    ciou, adaptive, count = seen["ciou"], seen["ciou_adap"], int(positive.sum())
    found = aggregate(ciou, protocol)
    numbers.add_rates(
        count,
        locacc=found.pop("locacc"),
        locacc_30=float(success_rate(ciou, 0.3)),
        locacc_75=float(success_rate(ciou, 0.75)),
        locacc_adap=float(success_rate(adaptive)),
    )
    numbers.add(**found, auc_exact=float(exact_area_under_success(ciou)), auc_adap=float(area_under_success(adaptive)))
    # The ROC curve of a sample whose truth is empty or everything does not exist.
    numbers.add(**{name: float(seen[name].nanmean()) for name in ("pixel_ap", "pixel_roc_auc", "pointing", "energy")})


def _by_size(numbers: Numbers, values: Values, members: Mapping[str, Tensor], protocol: Protocol) -> None:
    for size, rows in members.items():
        if rows.any():
            rate = float(success_rate(values["ciou"][rows], operator=protocol.success))
            numbers.add_rates(int(rows.sum()), **{f"locacc_{size}": rate})


def _interactive(numbers: Numbers, values: Values, truth: Truth) -> None:
    """Where pictures come with several sounds: all of a picture's samples have to succeed."""
    rows = truth.positive
    groups = [name for name, kept in zip(truth.image_names, rows.tolist(), strict=True) if kept]
    count = len(set(groups))
    if count in {0, len(groups)}:
        return
    for suffix in ("", "_adap"):
        ciou = values[f"ciou{suffix}"][rows]
        rate = float(interactive_success_rate(ciou, groups))
        if rate == rate:  # a group with a value that is not a number has no rate
            numbers.add_rates(count, **{f"iiou{suffix}": rate})
        else:
            numbers.add(**{f"iiou{suffix}": rate})
        numbers.add(**{f"iauc{suffix}": float(area_under_interactive_success(ciou, groups))})


def _detection(numbers: Numbers, values: Values, truth: Truth) -> None:
    """Over all samples, where some have no sounding object; once more without the doubtful ones."""
    if "confidence" not in values:
        return
    sure, ciou = values["confidence"], values["ciou"]
    numbers.add(**aggregate_extended(sure, ciou, sounding=truth.positive))
    clean = ~torch.tensor(truth.doubtful)
    if not clean.all():
        kept = aggregate_extended(sure[clean], ciou[clean], sounding=truth.positive[clean])
        numbers.add(**{f"{name}_clean": value for name, value in kept.items()})


def _segmentation(numbers: Numbers, values: Values) -> None:
    curves, nonempty = values["f_curve"], values["nonempty"].bool()
    whole, rest = divmod(len(nonempty), AVSBENCH_BATCH)
    sizes = [AVSBENCH_BATCH] * whole + [rest] * bool(rest)
    numbers.add(
        miou=float(miou(values["iou"])),
        miou_official=float(miou(values["iou"], batches=sizes)),
        fscore=float(f_score_dataset(curves, nonempty)),
        fscore_official=float(f_score_batches(curves, nonempty, sizes)),
        fscore_image=float(f_score_image(curves, nonempty)[nonempty].mean()),
    )


def _sources(numbers: Numbers, values: Values, truth: Truth) -> None:
    there = ~values["source_ciou"].isnan()
    ciou, ap = values["source_ciou"][there], values["source_ap"][there]
    labels = [source.label for sources in truth.sources for source in sources]
    numbers.add_rates(len(ciou), source_success_30=float(success_rate(ciou, 0.3)))
    numbers.add(
        source_success_50=float(success_rate(ciou)),
        source_auc=float(area_under_success(ciou)),
        source_ciou=float(ciou.mean()),
        cap=float(class_aware_ap(ap, labels)),
        piap=float(values["piap"].nanmean()),
    )
