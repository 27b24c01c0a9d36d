"""Accepted and local results: one method, one checkpoint, with its own sounds on one split, under all its protocols."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from avbench.metrics.protocols import PROTOCOLS
from avbench.records import Record, Selection

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from avbench.leaderboards.contestants import Contestant
    from avbench.listening import Listening

Badge = Literal["verified", "submitted", "local"]
"""Re-run by the maintainers; accepted with its per-sample values; in the user's own runs folder."""

GALLERY = 12
"""The most samples whose maps an entry keeps."""


@dataclass(frozen=True)
class Parameters:
    """How many numbers a network has: all of them, as in training, and those that ``localize`` reads."""

    training: int
    inference: int


@dataclass(frozen=True)
class Accepted:
    """When, by whom and why an entry was accepted; ``date`` is YYYY-MM-DD, ``url`` may be empty."""

    date: str
    by: str
    note: str
    url: str


@dataclass(frozen=True)
class Largest:
    """What a re-run differed by at most: in a metric of a record, and in the cIoU of a sample."""

    metrics: float
    ciou: float


@dataclass(frozen=True)
class Rerun:
    """With what a verified entry was run again, and how far that was from what was submitted."""

    avbench: str
    git: str
    torch: str
    largest: Largest


@dataclass(frozen=True)
class Entry:
    """All records of one method, one checkpoint and one selection on one split, with what else is known of it.

    Attributes:
        records: by protocol in the order of listings, then by variant; at least one; none of another sound.
        parameters: None where nobody counted them.
        listening: whether the method listens; None where it was not asked.
        evaluations: of the training, one row an evaluation, as its ``evaluations.jsonl`` has them.
        maps: native maps ``[h, w]`` float32 by sample id, of at most :data:`GALLERY` samples.
        accepted: None for a local one.
        rerun: None for one that nobody ran again.
        path: the JSON file, of a local one the runs folder.
    """

    badge: Badge
    records: tuple[Record, ...]
    parameters: Parameters | None = None
    listening: Listening | None = None
    evaluations: tuple[dict[str, Any], ...] = ()
    maps: dict[str, NDArray[np.float32]] = field(default_factory=dict, compare=False)
    accepted: Accepted | None = None
    rerun: Rerun | None = None
    path: Path = field(default=Path(), compare=False)

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.records[0].method

    @property
    def split(self) -> str:
        """Name of the split."""
        return self.records[0].split

    @property
    def selection(self) -> Selection:
        """How the checkpoint was chosen."""
        return self.records[0].selection

    @property
    def key(self) -> str:
        """SHA-256 over everything that the predictions depend on."""
        return str(self.records[0].provenance["key"])

    @property
    def control(self) -> bool:
        """Whether the method is a control."""
        return bool(self.records[0].provenance["method"].get("info", {}).get("control", False))

    @property
    def name(self) -> str:
        """What its files are called, but for their endings."""
        return f"{self.method}-{self.selection}-{self.key[:12]}"

    def contestant(self, record: Record) -> Contestant:
        """A record with its per-sample values, which are read now.

        Args:
            record: One of :attr:`records`.

        Raises:
            AvbenchError: if the values cannot be read.
        """
        from avbench.leaderboards.contestants import Contestant
        from avbench.leaderboards.entry_samples import own_samples, samples_of

        return Contestant(record, own_samples(record) if self.badge == "local" else samples_of(self._samples, record))

    @cached_property
    def _samples(self) -> Any:
        from avbench.leaderboards.entry_samples import read_samples

        return read_samples(self.path.with_suffix(".parquet"))


def in_order(records: Iterable[Record]) -> tuple[Record, ...]:
    """Records by protocol as listings have them, then by variant, the plain map first."""
    names = list(PROTOCOLS)

    def place(record: Record) -> tuple[int, str, bool, str]:
        base = record.protocol.partition(":")[0]
        known = names.index(base) if base in names else len(names)
        return known, record.protocol, record.variant != "av", record.variant

    return tuple(sorted(records, key=place))


def gallery_ids(ids: Sequence[str]) -> list[str]:
    """At most :data:`GALLERY` of ``ids``, those of samples with boxes, spread evenly from the first on."""
    count = min(GALLERY, len(ids))
    return [ids[place * len(ids) // count] for place in range(count)]
