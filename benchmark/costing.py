"""What a training cost, as it was measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from avbench.monitoring import SPEED, speed_lines


@dataclass(frozen=True)
class Cost:
    """Time and memory of a training.

    Attributes:
        seconds: on the wall, evaluations included.
        pairs_per_second: the median of what was measured along the way, evaluations left out.
        waiting: mean share of the time in which the loop stood still for data, in [0, 1].
        memory_bytes: the most, as :func:`avbench.monitoring.memory_used` counts it.
    """

    seconds: float
    pairs_per_second: float
    waiting: float
    memory_bytes: int


def measured(folder: Path) -> Cost | None:
    """The cost of the training in ``folder`` until its last row of speed.jsonl; None where there is no row.

    Raises:
        AvbenchError: for a speed.jsonl that is damaged.
    """
    rows = [row for _, row in speed_lines(folder / SPEED)]
    if not rows:
        return None
    return Cost(
        seconds=rows[-1]["seconds"],
        pairs_per_second=median(row["pairs_per_second"] for row in rows),
        waiting=fmean(row["waiting"] for row in rows),
        memory_bytes=max(row["memory_bytes"] for row in rows),
    )


def in_words(cost: Cost) -> str:
    """``3 min 20 s, 412 pairs/s, 3 % of the time waiting for data, 1.2 GB``."""
    minutes, seconds = divmod(round(cost.seconds), 60)
    took = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    return (
        f"{took}, {cost.pairs_per_second:,.0f} pairs/s, {cost.waiting:.0%} of the time waiting for data, "
        f"{cost.memory_bytes / 1e9:.1f} GB"
    ).replace("%", " %")
