"""What a training costs: as it was measured, and what another on the same device would."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

from avbench.errors import UsageError
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


def estimate(cost: Cost, pairs: int) -> Cost:
    """The cost of ``pairs`` (samples times epochs) at the speed and with the memory of ``cost``, without evaluations.

    It holds for the same method, batch size, precision and device; a cold start and evaluations come on top.

    Raises:
        UsageError: if ``cost`` has no speed.
    """
    if cost.pairs_per_second <= 0:
        raise UsageError(
            f"expected a speed above 0 to estimate from, got {cost.pairs_per_second:g} pairs/s: train longer"
        )
    return replace(cost, seconds=pairs / cost.pairs_per_second)
