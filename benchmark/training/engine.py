"""Training one method by a recipe: resumable to the bit, logged, the same whatever the interruptions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from avbench.building import training_layout
from avbench.checkpoints import CONFIG, save_checkpoint
from avbench.data.sharding import Shard
from avbench.data.splits import Split
from avbench.data.training_set import Neighbours, TrainingOptions, TrainingSet
from avbench.encoders import Machine
from avbench.errors import UsageError
from avbench.locking import locked
from avbench.monitoring import Monitor, TrainingMonitor, Unwatched
from avbench.neighbours import find_neighbours
from avbench.nets.batch_norm import synchronise_batch_norms
from avbench.opening import Progress, silent
from avbench.preparing import training_windows, views_of, within_share
from avbench.processes import shard_of_process
from avbench.registry import load_class, make_config
from avbench.training.devices import Loss, open_fabric, share_buffers
from avbench.training.judging import BEST, Judge, best_folder, check_lists, telling
from avbench.training.loop import Loop
from avbench.training.optimising import make_optimizer, steps_per_epoch, total_steps
from avbench.training.plan import Training, require_same
from avbench.training.states import Best, Parts, Position, load_state, remove_states, save_state, states
from avbench.training.step_log import EVALUATIONS, LOG, StepLog, broken_samples, evaluations, trim
from avbench.weights import is_annotated

CACHE_BYTES = 2_000_000_000
"""Decoded pairs are kept in memory between epochs where all of them fit into this."""

Watch = Callable[[int, int], Monitor]
"""Makes a monitor, told the steps of the training and those done already."""

EPOCHS = "epochs"
"""Folder of the weights of single epochs, below the checkpoint's."""

AVERAGE = "ema"
"""Folder of the averaged weights, below the checkpoint's."""


def train(training: Training, *, resume: bool = False, progress: Progress = silent, watch: Watch | None = None) -> Path:
    """Train and return the checkpoint's folder: model.safetensors, config.json, log.jsonl, curve.png.

    A finished training of the same method, settings, recipe, split and judging is left as it is. A recipe of 0 epochs
    leaves the weights as initialised, for an untrained row in a table. Every epoch ends with a state from which
    ``resume`` goes on, and so does every so many steps where ``training.keeping`` says so; a state holds the weights,
    the optimiser, the scale of half-precision losses, the generators, the place in the epoch and the best so far, so
    that an interrupted training ends with the weights of an uninterrupted one: bit for bit on the CPU. A second
    training into the same folder waits for the first.

    Where torchrun started several processes, they train as one: each takes its part of every batch (the recipe's batch
    size is that of all), and the first of them writes. All of them must see the same folder.

    With ``training.judging`` the method is evaluated as it goes (evaluations.jsonl), and the checkpoints that are best
    by it stand in ``best-validation`` and ``best-oracle``.

    A sample that cannot be decoded is left out of its batch, and the log says so in a row of its own, with its id and
    the reason; :func:`avbench.training.broken_samples` reads them.

    Args:
        training: what is trained.
        resume: go on from the last state in the folder.
        progress: shows the search for neighbours, and the steps where there is no ``watch``.
        watch: makes what is told of each step, in the first process.

    Raises:
        UsageError: if the folder holds another checkpoint, or a state and ``resume`` is False, or a state of another
            training; for fewer samples than a batch; or for neighbours that the method does not read.
        AvbenchError: if the loss stops being a number, a state is damaged, the disk is full, or more than 1 % of the
            samples cannot be decoded.
    """
    shard = shard_of_process()
    with locked(training.out) if shard.rank == 0 else nullcontext():
        if shard.world == 1 and _is_done(training):
            return training.out
        fabric = open_fabric(training.device, training.recipe.precision)
        if not fabric.broadcast(_is_done(training)):
            _Session(training, fabric, shard, progress, watch).run(resume=resume)
    return training.out


def _is_done(training: Training) -> bool:
    """Whether the folder holds the finished training.

    Raises:
        UsageError: if it holds another.
    """
    if not (training.out / CONFIG).exists():
        return False
    require_same(training.out, _config(training), training.ref.name, training.meta(training.recipe.epochs))
    remove_states(training.out)  # a process that was killed at the very end leaves one
    return True


def _config(training: Training) -> Any:
    settings = {**training.recipe.method_values, **training.overrides}
    return make_config(load_class(training.ref).config_class, settings)


class _Session:
    """One call of :func:`train`, in one of its processes."""

    def __init__(
        self, training: Training, fabric: Fabric, shard: Shard, progress: Progress, watch: Watch | None
    ) -> None:
        self.training, self.fabric, self.shard = training, fabric, shard
        self.progress, self.watch = progress, watch
        self.leads = shard.rank == 0

    def run(self, *, resume: bool) -> None:
        """Train from the last state, or from the beginning, to the end."""
        training = self.training
        finished = training.meta(training.recipe.epochs)  # now: the files may change while it trains
        torch.manual_seed(training.recipe.seed)
        method = load_class(training.ref)(_config(training))
        if training.neighbours and "conceptual" not in views_of(method):
            raise UsageError(f"{training.ref.name} as it is set reads no conceptual views: leave --neighbours out")
        begun = states(training.out)
        if begun and not resume:
            raise UsageError(
                f"{training.out} holds an unfinished training: add --resume, or name another folder with --out"
            )
        _check_annotated(training, method)
        check_lists(training)
        method.to(training.device, memory_format=training_layout(method, training.device))
        average = self._fit(method, begun[-1] if begun else None) if training.recipe.epochs else None
        if self.leads:
            self._finish(method, average, finished)
        self._meet()

    def _fit(self, method: Any, state: Path | None) -> AveragedModel | None:
        training, recipe = self.training, self.training.recipe
        per_epoch = steps_per_epoch(recipe, len(training.split.samples))
        if recipe.batch_norm == "synchronised":
            method = synchronise_batch_norms(method)
        parts = self._parts(method)
        position = load_state(training, parts, state) if state else Position()
        self._keep_best(method, position)
        pairs = self._pairs(method, position)
        loss = Loss(method)
        if training.compiled:
            loss.compile()
        module = self.fabric.setup(loss, move_to_device=False)
        with self._log() as log, self._monitor(position.step) as monitor:
            loop = Loop(training, self.fabric, module, parts, pairs, per_epoch, log, monitor, self.shard)
            while position.epoch < recipe.epochs:
                loop.epoch(position, lambda position: self._save(parts, position))
                self._judge(parts, position, monitor)
                self._save(parts, position)
                self._keep_best(parts.method, position)
        return parts.average

    def _parts(self, method: Any) -> Parts:
        recipe = self.training.recipe
        optimizer = make_optimizer(recipe, method, self.training.device)
        average = None
        if recipe.ema:
            following = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
            average = AveragedModel(method, multi_avg_fn=following, use_buffers=True)
        return Parts(method, optimizer, self.fabric.strategy.precision, average)

    def _pairs(self, method: Any, position: Position) -> TrainingSet:
        training, recipe = self.training, self.training.recipe
        near = self._neighbours(method)
        if self.leads:
            training.out.mkdir(parents=True, exist_ok=True)
            if position.step == 0:
                _clear(training.out)
            trim(training.out, steps=position.step, epochs=position.epoch)
        self._meet()
        options = TrainingOptions(crop=recipe.images == "crop", cache_bytes=CACHE_BYTES, shard=self.shard)
        pairs = TrainingSet(
            training.split, training_windows(method), seed=recipe.seed, options=options, neighbours=near
        )
        pairs.broken.reasons.update(broken_samples(training.out))
        self._meet()  # before the first writes a row that another would read as one of before
        return pairs

    def _neighbours(self, method: Any) -> Neighbours | None:
        """What conceptual views are drawn from; None for methods without."""
        training = self.training
        if "conceptual" not in views_of(method):
            return None
        machine = Machine(training.device, training.workers, self.progress)
        return find_neighbours(training.split, training.sources, int(getattr(method, "neighbours", 0)), machine)

    @contextmanager
    def _log(self) -> Iterator[StepLog | None]:
        if not self.leads:
            yield None
            return
        log = StepLog(self.training.out / LOG)
        try:
            yield log
        finally:
            log.close()

    @contextmanager
    def _monitor(self, done: int) -> Iterator[Monitor]:
        training = self.training
        steps = total_steps(training.recipe, len(training.split.samples))
        if not self.leads:
            yield Unwatched()
        elif self.watch is None:
            title = f"training {training.ref.name} on {training.split.name} ({training.recipe.epochs} epochs)"
            with self.progress(title, steps) as shown:
                shown(done)
                yield _Bar(shown)
        else:
            with closing(self.watch(steps, done)) as monitor:
                yield monitor

    def _judge(self, parts: Parts, position: Position, monitor: Monitor) -> None:
        """Evaluate where it is due, and keep the checkpoints that are the best so far."""
        beside = monitor.beside if isinstance(monitor, TrainingMonitor) else silent
        judge = Judge(self.training, parts.method, self.shard, beside)
        if not judge.is_due(position.epoch):
            return
        seen: set[str] = set()
        for row in judge.rows(position.epoch):
            with closing(StepLog(self.training.out / EVALUATIONS)) as log:
                log.write(row)
            monitor.evaluated(row)
            if row["purpose"] not in seen:
                metric, value = telling(row)
                best = position.best.get(row["purpose"])
                if best is None or value > best.value:
                    position.best[row["purpose"]] = Best(position.epoch, metric, value, row["split"])
            seen.add(row["purpose"])

    def _keep_best(self, method: Any, position: Position) -> None:
        """Write the checkpoints that the epoch just ended made the best.

        The state that says so is written before: a process killed in between makes up for it when it goes on.
        """
        training, epoch = self.training, position.epoch
        lists: dict[str, Split] = dict(reversed(training.judging.lists))
        for rule, best in position.best.items() if self.leads and position.batch == 0 else ():
            if best.epoch == epoch:
                kind = "validation" if rule == "validation" else "test, oracle"
                told = f"best {best.metric} on {best.split} ({kind}), epoch {epoch} of {training.recipe.epochs}"
                selected = {"rule": rule, **asdict(best), "sha256": lists[rule].sha256}
                meta = {**training.meta(epoch), "selection": told, "selected": selected}
                save_checkpoint(best_folder(training.out, rule), method, name=training.ref.name, meta=meta)

    def _save(self, parts: Parts, position: Position) -> None:
        share_buffers(parts.method)
        if not self.leads:
            return
        save_state(self.training, parts, position)
        every = self.training.keeping.every_epochs
        if every and position.batch == 0 and position.epoch % every == 0:
            folder = self.training.out / EPOCHS / f"epoch-{position.epoch:04d}"
            meta = self.training.meta(position.epoch)
            meta["selection"] = f"epoch {position.epoch} of {self.training.recipe.epochs}"
            save_checkpoint(folder, parts.method, name=self.training.ref.name, meta=meta)

    def _finish(self, method: Any, average: AveragedModel | None, meta: dict[str, Any]) -> None:
        training = self.training
        if average is not None:
            told = f"{meta['selection']}, weights averaged with momentum {training.recipe.ema:g}"
            folder, averaged = training.out / AVERAGE, {**meta, "selection": told}
            save_checkpoint(folder, average.module, name=training.ref.name, meta=averaged)
        if training.recipe.epochs:
            _draw(training.out, f"{training.recipe.name} on {training.split.name}")
        save_checkpoint(training.out, method, name=training.ref.name, meta=meta)
        remove_states(training.out)

    def _meet(self) -> None:
        if self.shard.world > 1:
            dist.barrier()


def _check_annotated(training: Training, method: Any) -> None:
    """Refuse a method that learns from annotations where there are none: its term would be 0 all along."""
    recipe, split = training.recipe, training.split
    if getattr(method, "wants_truth", False) and recipe.epochs:
        used = (is_annotated(sample) and within_share(sample.id, recipe.annotated) for sample in split.samples)
        if not any(used):
            raise UsageError(
                f"{training.ref.name} as it is set learns from boxes too, and {split.name} has none that the recipe "
                "uses: train on a split with boxes, or switch supervised off"
            )


def _clear(out: Path) -> None:
    """Let go of what a training left that came to no state: this one begins."""
    for folder in (*out.glob(f"{BEST}*"), out / EPOCHS, out / AVERAGE):
        shutil.rmtree(folder, ignore_errors=True)


class _Bar(Unwatched):
    """A monitor that moves a bar."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self.advance = advance

    def step(self, row: Mapping[str, float], pairs: int, waited: float) -> None:
        """One step further."""
        self.advance(1)


def _draw(out: Path, title: str) -> None:
    """Draw what a training logged: curve.png of its loss, evaluations.png where it was evaluated."""
    from avbench.pictures import training_curve
    from avbench.training_curves import draw_evaluations

    training_curve(out / LOG, out / "curve.png", title=title)
    if evaluations(out):
        draw_evaluations(out, out / "evaluations.png", title=title)
