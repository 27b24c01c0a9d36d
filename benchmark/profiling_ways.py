"""Ways of doing the same work, timed in turn so that all of them meet the same load of the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from avbench.clock import Clock

Load = Callable[[Sequence[int]], int]
"""Does the work for the samples of these indices, and says for how many it was done."""
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Goal:
    """What a way should reach; None where nothing is said.

    Attributes:
        least: the time of the way that it stands beside, over its own.
        per_second: samples that should be loaded in a second.
        most: its own time over that of the way that it stands beside.
    """

    least: float | None = None
    per_second: float | None = None
    most: float | None = None


@dataclass
class Timed:
    """A way of doing the work, and the time that it took.

    Attributes:
        name: unique in a profile.
        beside: name of the way whose time its own is compared with.
        goal: what it should reach.
        rounds: time spent, one entry for each repeat.
    """

    name: str
    beside: str | None = None
    goal: Goal = field(default_factory=Goal)
    rounds: list[Clock] = field(default_factory=list)

    @property
    def ms(self) -> float:
        """Milliseconds a sample, median of the repeats."""
        return median(clock.ms for clock in self.rounds)

    @property
    def least_ms(self) -> float:
        """The same of the quickest repeat."""
        return min(clock.ms for clock in self.rounds)

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of the processors a sample, median of the repeats."""
        return median(clock.cpu_ms for clock in self.rounds)

    def ratio(self, other: Timed) -> float:
        """Median of :meth:`ratios`."""
        return median(self.ratios(other))

    def ratios(self, other: Timed) -> list[float]:
        """The other's time over the own, or upside down where the goal is a ``most``, repeat by repeat."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        if self.goal.most:
            return [own.ms / beside.ms for own, beside in pairs]
        return [beside.ms / own.ms for own, beside in pairs]


@dataclass(kw_only=True)
class Way(Timed):
    """A way of loading samples.

    Attributes:
        load: the work.
        whole: how often the list is gone through at a stretch, for ways that start processes; 0 goes chunk by chunk, in
            turn with the others.
        source_bytes: read for a sample, on average.
    """

    load: Load
    whole: int = 0
    source_bytes: float = 0.0


def time_ways(ways: Sequence[Way], samples: int, *, chunk: int, repeats: int, advance: Advance) -> None:
    """Fill ``rounds`` of all ways; each begins in turn, and none is timed before it ran once.

    Args:
        ways: What is timed.
        samples: How many there are.
        chunk: How many a way loads before the next has its turn.
        repeats: How often all is done.
        advance: Called with the number of samples done.
    """
    starts = range(0, samples, chunk)
    for way in ways:
        way.load(range(min(chunk, samples)))
    for repeat in range(repeats):
        for way in ways:
            way.rounds.append(Clock())
        for number, start in enumerate(starts):
            indices = range(start, min(start + chunk, samples))
            for way in _turned([way for way in ways if not way.whole], number):
                _timed(way, indices)
            advance(len(indices))
        for way in _turned([way for way in ways if way.whole], repeat):
            _timed(way, list(range(samples)) * way.whole)


def _timed(way: Way, indices: Sequence[int]) -> None:
    clock = way.rounds[-1]
    clock.start()
    clock.stop(way.load(indices))


def _turned(ways: list[Way], number: int) -> list[Way]:
    first = number % max(len(ways), 1)
    return ways[first:] + ways[:first]
