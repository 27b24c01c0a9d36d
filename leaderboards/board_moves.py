"""How ranks move between the boards of one list, truth, badge and selection that differ in the protocol alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from avbench.leaderboards.board_pools import Pool
from avbench.leaderboards.entries import Badge
from avbench.records import Record, Selection


class Moving(NamedTuple):
    """Rows under several protocols, with titles of their own: what :mod:`avbench.leaderboards.sensitivity` takes."""

    split: str
    badge: Badge
    selections: tuple[Selection, ...]
    records: tuple[Record, ...]


def moving(found: Sequence[Pool]) -> list[Moving]:
    """The rows of boards, put together over the protocols; of several versions of a protocol the newest counts.

    Args:
        found: Of one set of entries, as :func:`avbench.leaderboards.board_pools.pools` orders them.
    """
    groups: dict[tuple[str, str, str, Badge, tuple[Selection, ...]], dict[str, Pool]] = {}
    for pool in found:
        head = pool.head
        group = groups.setdefault((head.split, head.split_sha256, head.truth, head.badge, pool.selections), {})
        group[head.protocol] = pool  # versions come in ascending order
    return [
        Moving(split, badge, selections, tuple(row.shown for pool in by_protocol.values() for row in pool.rows))
        for (split, _, _, badge, selections), by_protocol in groups.items()
    ]
