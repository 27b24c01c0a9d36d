"""The loop: one epoch after another, whatever the method, on one device or many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor

from avbench.data.batches import RawBatch
from avbench.data.sharding import Shard
from avbench.data.training_set import TrainingSet, iterate_training
from avbench.errors import AvbenchError
from avbench.monitoring import Monitor
from avbench.nets.company import Company, in_company
from avbench.preparing import prepare
from avbench.training.accumulating import Accumulator
from avbench.training.chances import seed_epoch
from avbench.training.devices import everyones, everyones_objects, share_chances
from avbench.training.optimising import learning_rate
from avbench.training.plan import Training
from avbench.training.states import Parts, Position
from avbench.training.step_log import BROKEN, StepLog
from avbench.types import Batch

LAG = 10
"""Steps of a GPU whose terms are fetched together, so that it need not stand still after each."""

Row = dict[str, Any]
Item = TypeVar("Item")


@dataclass
class Loop:
    """A training at work.

    Attributes:
        training: what is trained, and how.
        fabric: over the devices.
        module: the loss, wrapped for the devices.
        parts: what changes as it goes on.
        pairs: what it is trained on.
        per_epoch: steps of an epoch.
        log: of the steps; None in all processes but the first.
        monitor: what is told of each step.
        shard: which of the processes this is.
    """

    training: Training
    fabric: Fabric
    module: Any
    parts: Parts
    pairs: TrainingSet
    per_epoch: int
    log: StepLog | None
    monitor: Monitor
    shard: Shard
    _waiting: list[tuple[Row, Tensor, int, float]] = field(default_factory=list)

    def epoch(self, position: Position, save: Callable[[Position], None]) -> None:
        """Train from ``position`` to the end of its epoch.

        What is drawn depends on the epoch's number alone, or goes on as it stood where the position is inside one.
        ``save`` is called where a state is due before the end.
        """
        training, recipe = self.training, self.training.recipe
        if position.batch == 0:
            seed_epoch(recipe.seed, position.epoch)
        self.parts.method.train()
        if hasattr(self.parts.method, "start_epoch"):
            self.parts.method.start_epoch(position.epoch)
        batches = iterate_training(
            self.pairs,
            epoch=position.epoch,
            batch_size=recipe.batch_size,
            start=position.batch,
            workers=training.workers,
            device=training.device,
        )
        with closing(batches):
            for raw, waited in _timed(batches):
                self.step(raw, waited, position)
                if self._is_due(position):
                    self.flush()
                    save(position)
        self.flush()
        position.epoch, position.batch = position.epoch + 1, 0

    def step(self, raw: RawBatch, waited: float, position: Position) -> None:
        """Train on one batch, and note what its loss was; a batch that left a process without a sample is passed over.

        Raises:
            AvbenchError: if the loss stops being a number.
        """
        sizes = self._sizes(raw, position)
        if min(sizes) > 0:
            rate = learning_rate(self.training.recipe, position.step, self.per_epoch)
            with in_company(Company(self.shard.rank, sizes, self.training.recipe.negatives)):
                batch = prepare(raw, self.parts.method, self.training.recipe, self.training.split.samples)
                terms = self._trained(batch, rate)
            if len(set(sizes)) > 1:  # a method may have drawn for its own rows alone
                share_chances(self.training.device)
            self._note(self._place(position) | {"lr": rate}, terms, sum(sizes), waited)
        position.batch, position.step = position.batch + 1, position.step + 1

    def flush(self) -> None:
        """Write the rows of the steps whose terms are still on their way.

        Raises:
            AvbenchError: if the loss of one of them is no number.
        """
        if not self._waiting:
            return
        rows, terms, pairs, waits = zip(*self._waiting, strict=True)
        self._waiting.clear()
        values = torch.stack(terms)
        if self.shard.world > 1:
            dist.all_reduce(values)
            values /= self.shard.world
        for row, line, n, waited in zip(rows, values.tolist(), pairs, waits, strict=True):
            names = row.pop("terms")
            self._written({**row, **dict(zip(names, line, strict=True))}, n, waited)

    def _written(self, row: Row, pairs: int, waited: float) -> None:
        if not math.isfinite(row["total"]):
            terms = {key: value for key, value in row.items() if key not in {"epoch", "step", "lr"}}
            raise AvbenchError(f"the loss is no longer a number ({terms}): lower lr in the recipe and resume")
        if self.log is not None:
            self.log.write(row)
        self.monitor.step(row, pairs, waited)

    def _sizes(self, raw: RawBatch, position: Position) -> tuple[int, ...]:
        """How many samples of the batch each process has; what is broken is logged and counted by all."""
        if self.shard.world == 1:
            self._note_broken([raw.broken], position)
            return (len(raw.ids),)
        counts = everyones([len(raw.ids), len(raw.broken)], self.training.device)
        if any(broken for _, broken in counts):
            self._note_broken(everyones_objects(raw.broken), position)
        return tuple(n for n, _ in counts)

    def _note_broken(self, found: list[tuple[tuple[str, str], ...]], position: Position) -> None:
        for sample, reason in (item for one in found for item in one):
            self.pairs.broken.note(sample, reason)
            if self.log is not None:
                self.log.write({**self._place(position), BROKEN: sample, "reason": reason})

    @staticmethod
    def _place(position: Position) -> Row:
        return {"epoch": position.epoch + 1, "step": position.step + 1}

    def _trained(self, batch: Batch, rate: float) -> dict[str, Tensor]:
        for group in self.parts.optimizer.param_groups:
            group["lr"] = rate
        self.parts.optimizer.zero_grad(set_to_none=True)
        terms = self._gradients(batch)
        self.parts.precision.optimizer_step(self.parts.optimizer)
        if self.parts.average is not None:
            self.parts.average.update_parameters(self.parts.method)
        return terms

    def _gradients(self, batch: Batch) -> dict[str, Tensor]:
        parts, device = self.training.recipe.accumulate, self.training.device
        return Accumulator(self.fabric, self.module, self.parts.method, device, parts).backward(batch)

    def _note(self, row: Row, terms: dict[str, Tensor], pairs: int, waited: float) -> None:
        values = torch.stack([term.detach().double() for term in terms.values()])
        self._waiting.append(({**row, "terms": list(terms)}, values, pairs, waited))
        if row["step"] % (LAG if self.training.device.type == "cuda" else 1) == 0:
            self.flush()

    def _is_due(self, position: Position) -> bool:
        every = self.training.keeping.every_steps
        return every > 0 and position.step % every == 0 and position.batch < self.per_epoch


def _timed(batches: Iterator[Item]) -> Iterator[tuple[Item, float]]:
    """Each batch with the seconds that were waited for it."""
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - started
