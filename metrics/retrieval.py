"""Cross-modal retrieval: the share of queries whose item is among the k most similar.

:func:`retrieval_ranks` goes from embeddings to ranks block by block; :func:`recalls` turns ranks into shares. The other
functions take the whole matrix of similarities.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Ties = Literal["stable", "pessimistic", "optimistic"]
Similarity = Callable[[Tensor, Tensor], Tensor]
"""From b images and m audios to ``[b, m]``, higher is closer; a pair's value is a matter of this pair alone."""


class _Wanted(NamedTuple):
    """Each query's relevant items, ``[N, r]``: their numbers, and which places hold one."""

    items: Tensor
    valid: Tensor


def retrieval_ranks(
    images: Tensor,
    audios: Tensor,
    *,
    labels: Sequence[Hashable] | None = None,
    block: int = 512,
    ties: Ties = "stable",
    similarity: Similarity | None = None,
) -> dict[str, Tensor]:
    """The rank of each query's best relevant item among all N, both ways, without the whole matrix of similarities.

    It is :func:`first_hit_rank` of the matrix and of its transpose, computed for ``block`` queries at a time on the
    device of the embeddings; no more than ``block * N`` similarities are held at once.

    Args:
        images: ``[N, D]``, or ``[N, ...]`` as ``similarity`` takes them; NaN is farther than anything.
        audios: As ``images``; number i belongs to image i.
        labels: N labels: relevant to a query are also all items of its label, for the ranks of class hits.
        block: Queries at a time; it changes memory and time alone.
        ties: As in :func:`recall_at_k`.
        similarity: Of images and audios, called with a block of images and all audios and the other way round;
            None is the cosine, in float32 or finer, and 0 where an embedding is zero.

    Returns:
        ``[N]`` int64 in [1, N + 1] by direction and kind of hit: ``i2a_instance``, where the images are the queries,
        and ``a2i_instance``; with labels also ``i2a_class`` and ``a2i_class``. N + 1 stands for a query whose
        relevant items are all NaN.

    Raises:
        ValueError: if the lengths differ, the default similarity gets no matrices of equal width, ``similarity``
            returns another shape, ``block`` is below 1, or ``ties`` is unknown.

    References:
        Senocak et al., Sound Source Localization is All about Cross-Modal Alignment, ICCV 2023, section 4.2; what a
        hit is there is not stated, and there is no official code.
    """
    count = len(images)
    _check_pairs(count, len(audios), labels, block=block, ties=ties)
    if similarity is None:
        images, audios, similarity = _unit(images), _unit(audios), _products
    own = torch.arange(count, device=images.device)[:, None]
    wanted = {"instance": _Wanted(own, torch.ones_like(own, dtype=torch.bool))}
    if labels is not None:
        wanted["class"] = _of_equal_label(labels, images.device)
    found = {f"{way}_{kind}": torch.empty_like(own[:, 0]) for kind in wanted for way in ("i2a", "a2i")}
    for rows in (slice(start, min(start + block, count)) for start in range(0, count, block)):
        strips = {
            "i2a": _compared(similarity, images[rows], audios),
            "a2i": _compared(similarity, images, audios[rows]).T,
        }
        for (way, strip), (kind, (items, valid)) in itertools.product(strips.items(), wanted.items()):
            found[f"{way}_{kind}"][rows] = _ranks(strip, _Wanted(items[rows], valid[rows]), ties)
    return found


def recalls(ranks: Tensor, ks: Sequence[int] = (1, 5, 10), *, items: int | None = None) -> dict[int, float]:
    """Share of the queries whose best relevant item is among the ``k`` most similar.

    Args:
        ranks: ``[Q]`` int64, of :func:`retrieval_ranks` or :func:`first_hit_rank`.
        ks: Numbers of items looked at; one above their number looks at all.
        items: How many items there are; as many as queries if None.

    Returns:
        The share in [0, 1] by k; NaN for no queries.

    Raises:
        ValueError: if a k is below 1.
    """
    if min(ks, default=1) < 1:
        raise ValueError(f"ks must be 1 or more, got {list(ks)}")
    whole = len(ranks) if items is None else items
    return {k: float((ranks <= min(k, whole)).double().mean()) for k in ks}


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
    return recalls(first_hit_rank(similarity, relevant, ties=ties), ks, items=similarity.shape[-1])


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


def _check_pairs(images: int, audios: int, labels: Sequence[Hashable] | None, *, block: int, ties: Ties) -> None:
    if images != audios:
        raise ValueError(f"images and audios must be as many, got {images} and {audios}")
    if labels is not None and len(labels) != images:
        raise ValueError(f"labels must be one per pair, got {len(labels)} for {images} pairs")
    if block < 1:
        raise ValueError(f"block must be 1 or more, got {block}")
    if ties not in get_args(Ties):
        raise ValueError(f"ties must be 'stable', 'pessimistic' or 'optimistic', got {ties!r}")


def _unit(embeddings: Tensor) -> Tensor:
    if embeddings.ndim != 2:
        raise ValueError(f"the cosine needs embeddings [N, D], got {list(embeddings.shape)}: give a similarity")
    return F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=1)


def _products(images: Tensor, audios: Tensor) -> Tensor:
    if images.shape[1] != audios.shape[1]:
        raise ValueError(f"images and audios must be of equal width, got {images.shape[1]} and {audios.shape[1]}")
    return images @ audios.T


def _compared(similarity: Similarity, images: Tensor, audios: Tensor) -> Tensor:
    found = similarity(images, audios).detach()
    if found.shape != (len(images), len(audios)):
        raise ValueError(f"similarity must return one value per image and audio, got {list(found.shape)}")
    return found.to(torch.promote_types(found.dtype, torch.float32))


def _of_equal_label(labels: Sequence[Hashable], device: torch.device) -> _Wanted:
    members: dict[Hashable, list[int]] = {}
    for n, label in enumerate(labels):
        members.setdefault(label, []).append(n)
    width = max(map(len, members.values()), default=0)
    rows = [members[label] + [-1] * (width - len(members[label])) for label in labels]
    items = torch.tensor(rows, dtype=torch.int64, device=device).reshape(len(labels), width)
    return _Wanted(items.clamp(min=0), items >= 0)


def _ranks(similarity: Tensor, wanted: _Wanted, ties: Ties) -> Tensor:
    """:func:`first_hit_rank` that reads the relevant items by their numbers; ties are looked at only where some are."""
    near = similarity.gather(1, wanted.items)
    eligible = wanted.valid & ~near.isnan()
    best = near.masked_fill(~eligible, -torch.inf).amax(dim=1, keepdim=True)
    equal = eligible & (near == best)
    ahead = _count(similarity, operator.gt, best)
    if ties == "optimistic":
        return torch.where(eligible.any(dim=1), ahead + 1, similarity.shape[1] + 1)
    strangers = _count(similarity, operator.ge, best) - ahead - equal.sum(dim=1)
    if ties == "stable":
        rows = strangers.nonzero()[:, 0]
        strangers[rows] = _before(similarity[rows] == best[rows], wanted.items[rows], equal[rows])
    return torch.where(eligible.any(dim=1), ahead + strangers + 1, similarity.shape[1] + 1)


def _before(tied: Tensor, items: Tensor, equal: Tensor) -> Tensor:
    """How many of the tied items have a number below that of the first relevant one among them."""
    first = items.masked_fill(~equal, tied.shape[1]).amin(dim=1, keepdim=True)
    return (tied & (torch.arange(tied.shape[1], device=tied.device) < first)).sum(dim=1)


def _count(similarity: Tensor, compare: Callable[[Any, Any], Any], best: Tensor) -> Tensor:
    """``[b]``, how many of each row's values compare so with its best one."""
    if similarity.device.type == "cpu":  # numpy compares and counts in half the time, and wakes no other thread
        return torch.from_numpy(np.count_nonzero(compare(similarity.numpy(), best.numpy()), axis=1))
    counted: Tensor = compare(similarity, best).sum(dim=1)
    return counted
