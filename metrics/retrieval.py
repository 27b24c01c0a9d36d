"""Cross-modal retrieval: the share of queries whose item is among the k most similar."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import torch
from torch import Tensor

Ties = Literal["stable", "pessimistic", "optimistic"]


def recall_at_k(
    similarity: Tensor, relevant: Tensor | None = None, ks: Sequence[int] = (1, 5, 10), *, ties: Ties = "stable"
) -> dict[int, float]:
    """Share of the queries with at least one relevant item among the ``k`` most similar.

    Args:
        similarity: ``[Q, N]``, any scale and sign, higher is closer; NaN is farther than anything.
        relevant: ``[Q, N]`` bool; :func:`same_label` gives class hits, None instance hits: query i wants item i.
        ks: Numbers of items looked at; one above N looks at all.
        ties: Items as similar as the best relevant one stand before it if their index is lower (``"stable"``), unless
            they are relevant themselves (``"pessimistic"``), or never (``"optimistic"``). A constant similarity has
            an instance recall of k/N, of 0 (for k < N), or of 1.

    Returns:
        The share in [0, 1] by k; NaN for no queries. A query whose relevant items are all NaN never hits.

    Raises:
        ValueError: if the shapes do not fit, ``ties`` is unknown, or a k is below 1.
    """
    if min(ks, default=1) < 1:
        raise ValueError(f"ks must be 1 or more, got {list(ks)}")
    rank = first_hit_rank(similarity, relevant, ties=ties)
    return {k: float((rank <= min(k, similarity.shape[1])).double().mean()) for k in ks}


def first_hit_rank(similarity: Tensor, relevant: Tensor | None = None, *, ties: Ties = "stable") -> Tensor:
    """The rank of each query's best relevant item, from 1; N + 1 where it has none with a similarity.

    Args:
        similarity: As in :func:`recall_at_k`.
        relevant: As in :func:`recall_at_k`.
        ties: As in :func:`recall_at_k`.

    Returns:
        ``[Q]`` int64 in [1, N + 1].

    Raises:
        ValueError: if the shapes do not fit or ``ties`` is unknown.
    """
    wanted = _own_pairs(similarity) if relevant is None else relevant
    if similarity.ndim != 2 or wanted.shape != similarity.shape:
        raise ValueError(
            f"similarity and relevant must both be [Q, N], got {list(similarity.shape)} and {list(wanted.shape)}"
        )
    eligible = wanted & ~similarity.isnan()
    best = similarity.masked_fill(~eligible, -torch.inf).amax(dim=1, keepdim=True)
    ahead = (similarity > best).sum(dim=1) + _tied_ahead(similarity == best, eligible, ties)
    return torch.where(eligible.any(dim=1), ahead + 1, similarity.shape[1] + 1)


def same_label(queries: Sequence[Hashable], items: Sequence[Hashable]) -> Tensor:
    """``[Q, N]`` bool, true where query and item have equal labels: the relevance of class hits."""
    number = {label: n for n, label in enumerate(dict.fromkeys([*queries, *items]))}
    rows, columns = (torch.tensor([number[label] for label in labels]) for labels in (queries, items))
    return rows[:, None] == columns


def chance_recall(relevant: Tensor, ks: Sequence[int] = (1, 5, 10)) -> dict[int, float]:
    """The expected :func:`recall_at_k` of a similarity that orders the items at random.

    Args:
        relevant: ``[Q, N]`` bool; the unit matrix for instance hits.
        ks: As in :func:`recall_at_k`.

    Returns:
        By k, the mean over queries of ``1 - C(N - r, k) / C(N, k)``, r relevant items of N.
    """
    items, wanted = relevant.shape[1], relevant.sum(dim=1, keepdim=True).double()
    drawn = torch.arange(min(max(ks), items), device=wanted.device)
    missed = ((items - wanted - drawn).clamp(min=0) / (items - drawn)).cumprod(dim=1).mean(dim=0)
    return {k: 1 - float(missed[min(k, items) - 1]) for k in ks}


def _own_pairs(similarity: Tensor) -> Tensor:
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1]:
        raise ValueError(f"instance hits need as many queries as items, got similarity {list(similarity.shape)}")
    return torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)


def _tied_ahead(tied: Tensor, eligible: Tensor, ties: Ties) -> Tensor:
    """``[Q]``, how many of the items tied with the best relevant one are counted before it."""
    if ties == "stable":
        seen = (tied & eligible).cumsum(dim=1)
        return (tied & (seen == 0)).sum(dim=1)
    if ties == "pessimistic":
        return (tied & ~eligible).sum(dim=1)
    if ties == "optimistic":
        return torch.zeros(len(tied), dtype=torch.int64, device=tied.device)
    raise ValueError(f"ties must be 'stable', 'pessimistic' or 'optimistic', got {ties!r}")
