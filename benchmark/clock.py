"""Measuring time: that on the wall, and that of the processors."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Clock:
    """Seconds spent, summed over the intervals measured.

    Attributes:
        wall: on the wall.
        cpu: of the processors, in all threads of this process and in the processes that it started and that ended.
        items: what was done meanwhile.
    """

    wall: float = 0.0
    cpu: float = 0.0
    items: int = 0

    def start(self) -> None:
        """Count from now on."""
        self.wall, self.cpu = self.wall - time.perf_counter(), self.cpu - _processors()

    def stop(self, items: int = 0) -> None:
        """Count no longer; so many items were done since the start."""
        self.wall, self.cpu = self.wall + time.perf_counter(), self.cpu + _processors()
        self.items += items

    @contextmanager
    def on(self, items: int) -> Iterator[None]:
        """Add what passes meanwhile, for so many items."""
        self.start()
        yield
        self.stop(items)

    @property
    def ms(self) -> float:
        """Milliseconds on the wall per item."""
        return 1000 * self.wall / self.items

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of the processors per item."""
        return 1000 * self.cpu / self.items


def _processors() -> float:
    used = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)
