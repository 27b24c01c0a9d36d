"""A batch that passes the network in parts, with the loss and the gradients of the whole.

Parts of a contrastive batch cannot simply be added up: each would be contrasted with itself alone, which is a smaller
batch under another name. Here every part passes twice. In the first pass, without gradients, it leaves behind what the
loss compares (:func:`avbench.nets.company.gathered`); in the second the loss of each part is that of the whole batch,
in which the other parts' rows are constants, and the sum of the parts' gradients is the gradient of the whole (Gao et
al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021). What the network draws is drawn
for the whole batch and dealt out. Batch norms alone see a part at a time; their running statistics move once a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from avbench.nets.company import Company, gather, in_company, present_company
from avbench.training.chances import note, restore
from avbench.training.devices import Given
from avbench.types import Batch


@dataclass
class _Exchange:
    """What the parts of a batch leave for each other: call by call, the rows of each part of all processes."""

    own: list[list[Tensor]]
    """By part of this process, and call."""
    all: list[list[Tensor]] = field(default_factory=list)
    """By call, and part of all processes."""
    listening: bool = True
    calls: int = 0


@dataclass(frozen=True)
class _Part(Company):
    """A part of a batch, which to the loss is a process of its own."""

    exchange: _Exchange = field(default_factory=lambda: _Exchange([]))
    first: int = 0
    """Number of this process's first part."""

    @property
    def processes(self) -> int:
        return self.world // len(self.exchange.own)

    @property
    def process(self) -> int:
        return self.first // len(self.exchange.own)

    @property
    def begins(self) -> bool:
        return self.exchange.listening and self.rank == self.first

    @property
    def members(self) -> range:
        """The parts that are contrasted with each other."""
        own = range(self.first, self.first + len(self.exchange.own))
        return own if self.negatives == "per-device" else range(self.world)

    def collect(self, rows: Tensor) -> Tensor:
        self.require_own(len(rows))
        exchange = self.exchange
        if exchange.listening:
            exchange.own[self.rank - self.first].append(rows.detach())
            total = sum(self.sizes[part] for part in self.members)
            return rows.repeat(-(-total // len(rows)), *[1] * (rows.ndim - 1))[:total]
        everyones = exchange.all[exchange.calls]
        exchange.calls += 1
        return torch.cat([self._own(rows) if part == self.rank else everyones[part] for part in self.members])

    def weight(self, n: int) -> float:
        self.require_own(n)
        return n * len(self.members) / sum(self.sizes[part] for part in self.members)

    def _own(self, rows: Tensor) -> Tensor:
        """``rows``, with the gradients that the losses of all parts, which are one, send to them."""
        if not rows.requires_grad:
            return rows
        passed = rows.view_as(rows)
        passed.register_hook(lambda gradient: gradient * len(self.members))  # type: ignore[no-untyped-call]
        return passed


@dataclass(frozen=True)
class Accumulator:
    """Takes the gradients of a batch in ``parts`` parts.

    Attributes:
        module: the loss, wrapped for the devices.
        method: the network in it.
        device: where it is.
        parts: one takes the batch at once; fewer are taken where a process has fewer rows.
    """

    fabric: Fabric
    module: Any
    method: nn.Module
    device: torch.device
    parts: int

    def backward(self, batch: Batch) -> dict[str, Tensor]:
        """Add the gradients of ``batch`` to the parameters; the terms of its loss, as of the whole batch."""
        company = present_company() or Company(0, (len(batch.ids),))
        number = min(self.parts, *company.sizes)
        return self._in_parts(_dealt(batch, company, number)) if number > 1 else self._at_once(batch)

    def _at_once(self, batch: Batch) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = self.module(Given(batch))
        self.fabric.backward(terms["total"])
        return terms

    def _in_parts(self, parts: list[tuple[_Part, Batch]]) -> dict[str, Tensor]:
        buffers = [(buffer, buffer.clone()) for buffer in self.method.buffers()]
        chances = note(self.device)
        with torch.no_grad():
            for company, part in parts:
                restore(chances, self.device)
                with in_company(company):
                    self.module(Given(part))
        for buffer, before in buffers:
            buffer.copy_(before)
        self._share([company for company, _ in parts])
        found = []
        for company, part in parts:
            restore(chances, self.device)
            found.append(self._gradients(company, part, last=part is parts[-1][1]))
        return {name: torch.stack([terms[name] for terms in found]).mean(dim=0) for name in found[0]}

    def _gradients(self, company: _Part, part: Batch, *, last: bool) -> dict[str, Tensor]:
        company.exchange.calls = 0
        with self.fabric.no_backward_sync(self.module, enabled=not last), in_company(company):
            terms: dict[str, Tensor] = self.module(Given(part))
            self.fabric.backward(terms["total"] / len(company.exchange.own))
        return {name: term.detach() for name, term in terms.items()}

    def _share(self, parts: Sequence[_Part]) -> None:
        """Bring what the parts of all processes left to each of them."""
        company, exchange = present_company(), parts[0].exchange
        exchange.listening = False
        for call in zip(*exchange.own, strict=True):
            rows = torch.cat(call)
            if company is not None and company.negatives == "gathered":
                everyones = gather(rows, company.sizes, company.rank)
                exchange.all.append(list(torch.split(everyones, list(parts[0].sizes))))
            else:
                own = torch.split(rows, [part.sizes[part.rank] for part in parts])
                exchange.all.append([own[0]] * parts[0].first + list(own))


def _dealt(batch: Batch, company: Company, number: int) -> list[tuple[_Part, Batch]]:
    dealt = [_cuts(size, number) for size in company.sizes]
    sizes = tuple(cut.stop - cut.start for cuts in dealt for cut in cuts)
    exchange, first = _Exchange([[] for _ in range(number)]), company.rank * number
    return [
        (_Part(first + i, sizes, company.negatives, exchange, first), _rows(batch, cut))
        for i, cut in enumerate(dealt[company.rank])
    ]


def _cuts(size: int, number: int) -> list[slice]:
    return [slice(size * i // number, size * (i + 1) // number) for i in range(number)]


def _rows(batch: Batch, cut: slice) -> Batch:
    def of(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[cut]

    return replace(
        batch,
        ids=batch.ids[cut],
        image=batch.image[cut],
        audio=of(batch.audio),
        truth=of(batch.truth),
        annotated=of(batch.annotated),
        image_views={view: images[cut] for view, images in batch.image_views.items()},
        audio_views={view: sounds[cut] for view, sounds in batch.audio_views.items()},
    )
