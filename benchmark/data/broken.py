"""Samples that a training has to do without: whose they are, and how many are too many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avbench.data.places import Packed
from avbench.data.splits import Sample, Split
from avbench.errors import AvbenchError, UsageError

MOST_BROKEN = 0.01
"""Share of a list's samples that may be broken before a training fails."""

SHOWN = 3
"""Broken samples that an error names."""


class BrokenSampleError(AvbenchError):
    """A sample that cannot be decoded: ``sample`` is its id, the message says why."""

    def __init__(self, sample: str, reason: str) -> None:
        super().__init__(reason)
        self.sample = sample


class BrokenSamples:
    """Which samples of a split were met and could not be decoded, each once however often it was met.

    Attributes:
        reasons: why, by id.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.reasons: dict[str, str] = {}

    def note(self, sample: str, reason: str) -> None:
        """Count a sample.

        Raises:
            AvbenchError: where more than 1 % of the list are broken.
        """
        self.reasons.setdefault(sample, reason)
        if len(self.reasons) > MOST_BROKEN * len(self.split.samples):
            raise AvbenchError(self._complaint())

    def _complaint(self) -> str:
        first, n = list(self.reasons)[:SHOWN], len(self.split.samples)
        shown = ", ".join(first) + (", ..." if len(self.reasons) > SHOWN else "")
        folders = {str(folder) for sample in self.split.samples if sample.id in first for folder in _folders(sample)}
        return (
            f"{len(self.reasons)} of {n} samples of {self.split.name} cannot be decoded, more than {MOST_BROKEN:.0%} "
            f"({shown}; {self.reasons[first[0]]}): mend {' and '.join(sorted(folders))}, or take these samples off the "
            "list"
        )


@contextmanager
def named(sample: Sample) -> Iterator[None]:
    """Says whose file is broken; a request that is wrong stays what it is."""
    try:
        yield
    except UsageError:
        raise
    except AvbenchError as problem:
        raise BrokenSampleError(sample.id, str(problem)) from problem


def _folders(sample: Sample) -> Iterator[Path]:
    for place in (sample.image, sample.audio):
        if place is not None:
            yield (place.shard if isinstance(place, Packed) else place).parent
