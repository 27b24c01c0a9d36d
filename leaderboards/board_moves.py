"""How ranks move between the boards of one list, truth, badge and selection that differ in the protocol alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from avbench.leaderboards.board_pools import Pool
from avbench.leaderboards.entries import Badge
from avbench.records import Record, Selection

Place: TypeAlias = tuple[str, str, str, Badge, tuple[Selection, ...]]


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
    groups: dict[Place, dict[str, Pool]] = {}
    for pool in found:
        groups.setdefault(place_of(pool), {})[pool.head.protocol] = pool  # versions come in ascending order
    return [
        Moving(split, badge, selections, tuple(row.shown for pool in by_protocol.values() for row in pool.rows))
        for (split, _, _, badge, selections), by_protocol in groups.items()
    ]


def place_of(pool: Pool) -> Place:
    """What boards have in common between which ranks move: split, its hash, truth, badge and selections."""
    head = pool.head
    return head.split, head.split_sha256, head.truth, head.badge, pool.selections
