"""The processes that share a batch, so that their losses, gradients and chances are those of one process.

Each process holds some rows of the batch and works on those alone until something needs all rows.
DistributedDataParallel (DDP) takes the mean of the processes' gradients. A loss that is computed from :func:`gathered`
rows is the same number on every process, and that mean its gradient; means over the own rows are made to add up by
:func:`weight_of_rows`; and what :func:`drawn` draws does not depend on how the rows are dealt. Outside
:func:`in_company`, and with one process inside, all of them hand on what they are given, so that evaluation and
training on one device know nothing of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from avbench.errors import AvbenchError


@dataclass(frozen=True)
class Company:
    """How the processes of the default process group share a batch; the same on all of them but for ``rank``."""

    rank: int
    """Number of this process."""
    sizes: tuple[int, ...]
    """Rows that each process holds, by rank; the batch is all of them one after the other."""
    negatives: Literal["gathered", "per-device"] = "gathered"
    """``"per-device"``: every process computes the loss of its own rows as if they were the batch, and DDP takes the
    mean of these losses, as the official code of EZ-VSL, SLAVC and FNAC does on several devices."""

    @property
    def world(self) -> int:
        """Number of processes."""
        return len(self.sizes)

    @property
    def total(self) -> int:
        """Rows of the whole batch."""
        return sum(self.sizes)

    @property
    def rows(self) -> slice:
        """The rows of the batch that are this process's."""
        start = sum(self.sizes[: self.rank])
        return slice(start, start + self.sizes[self.rank])

    @property
    def processes(self) -> int:
        """Processes that make this pass at once."""
        return self.world

    @property
    def process(self) -> int:
        """Number of this process."""
        return self.rank

    @property
    def begins(self) -> bool:
        """Whether what happens once a batch, such as a momentum update, is to happen in this pass."""
        return True

    def collect(self, rows: Tensor) -> Tensor:
        """As :func:`gathered`."""
        if self.negatives == "per-device":
            return rows
        self.require_own(len(rows))
        return gather(rows, self.sizes, self.rank)

    def weight(self, n: int) -> float:
        """As :func:`weight_of_rows`."""
        if self.negatives == "per-device":
            return 1.0
        self.require_own(n)
        return n * self.world / self.total

    def require_own(self, n: int) -> None:
        """Make sure that ``n`` rows are this process's share.

        Raises:
            AvbenchError: if they are not.
        """
        if n != self.sizes[self.rank]:
            raise AvbenchError(
                f"process {self.rank} holds {self.sizes[self.rank]} rows of the batch, but was given {n} to share: "
                "share one row per sample"
            )


_CURRENT: ContextVar[Company | None] = ContextVar("company", default=None)


@contextmanager
def in_company(company: Company) -> Iterator[None]:
    """In the body this process shares its batch; enter it around each step, in the thread that makes the step."""
    token = _CURRENT.set(company if company.world > 1 else None)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def present_company() -> Company | None:
    """The processes that share the batch; None for a process on its own."""
    return _CURRENT.get()


def gathered(rows: Tensor) -> Tensor:
    """All processes' rows one after the other by rank, with gradient.

    Where DDP averages, every process's gradient must contain what its rows did to the losses of all: the gradient of
    the own rows is the sum of all processes' gradients of them, added up in at least float32. Every process must call
    this in the same order.

    Args:
        rows: ``[n, ...]``, this process's rows, of any dtype; all but n is the same on all processes.

    Returns:
        ``[total, ...]``; ``rows`` itself for a process on its own, or with negatives ``"per-device"``.

    Raises:
        AvbenchError: if n is not this process's share of the batch.
    """
    company = _CURRENT.get()
    return rows if company is None else company.collect(rows)


def gather(rows: Tensor, sizes: tuple[int, ...], rank: int) -> Tensor:
    """As :func:`gathered`, of ``sizes[rank]`` rows here and as many elsewhere as ``sizes`` says."""
    found: Tensor = _Gather.apply(rows, sizes, rank)  # type: ignore[no-untyped-call]
    return found


def weight_of_rows(n: int) -> float:
    """Factor on a mean over this process's ``n`` rows, so that the mean over the processes is that over all rows.

    The processes' means count alike in DDP's mean, however many rows they have: each is weighted by its share of the
    rows times the number of processes. 1 for a process on its own, and with negatives ``"per-device"``.

    Raises:
        AvbenchError: as :func:`gathered`.
    """
    company = _CURRENT.get()
    return 1.0 if company is None else company.weight(n)


def begins_batch() -> bool:
    """Whether this is the first pass of a batch, in which what happens once a batch is to happen.

    A batch that passes in parts (:mod:`avbench.training.accumulating`) passes several times.
    """
    company = _CURRENT.get()
    return company is None or company.begins


def drawn(n: int, draw: Callable[[int], Tensor]) -> Tensor:
    """The chances of ``n`` rows, which no dealing of the batch to processes changes.

    Every process draws for the whole batch and keeps its rows. Where their generators start alike, all processes draw
    the same, and their generators go on alike.

    Args:
        n: rows of this process.
        draw: makes the chances of as many rows as it is told, ``[rows, ...]``.

    Returns:
        ``[n, ...]``; ``draw(n)`` for a process on its own.

    Raises:
        AvbenchError: as :func:`gathered`.
    """
    company = _CURRENT.get()
    if company is None:
        return draw(n)
    company.require_own(n)
    return draw(company.total)[company.rows]


class Dropout(nn.Dropout):
    """Dropout whose chances are :func:`drawn`: on the CPU those of one process, element by element."""

    def forward(self, x: Tensor) -> Tensor:
        """``[n, ...]`` of any shape."""
        if _CURRENT.get() is None or not self.training:
            return super().forward(x)
        return x * drawn(len(x), lambda n: F.dropout(_ones(n, x), self.p))


def _ones(n: int, like: Tensor) -> Tensor:
    """``n`` rows of ones in the memory layout of ``like``, in whose order chances are drawn."""
    return like.new_empty_strided((n, *like.shape[1:]), like.stride()).fill_(1)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: tuple[int, ...], rank: int) -> Tensor:
        start, most = sum(sizes[:rank]), max(sizes)
        ctx.own = slice(start, start + sizes[rank])
        padded = F.pad(rows, [0, 0] * (rows.ndim - 1) + [0, most - len(rows)]).contiguous()
        everyones = padded.new_empty(len(sizes) * most, *rows.shape[1:])
        dist.all_gather_into_tensor(everyones, padded)
        return torch.cat([block[:n] for block, n in zip(torch.split(everyones, most), sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        wide = torch.promote_types(gradient.dtype, torch.float32)
        summed = gradient.to(wide, copy=True, memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed[ctx.own].to(gradient.dtype), None, None
