"""How fast training is: stage by stage, our loop beside a bare one, and a step beside the official one, in one run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from avbench.building import training_layout
from avbench.data.batches import RawBatch, present
from avbench.data.sharding import ALONE
from avbench.data.splits import Split
from avbench.data.training_set import Neighbours, TrainingOptions, TrainingSet, iterate_training
from avbench.errors import UsageError
from avbench.measuring import peak_rise, weight_bytes
from avbench.monitoring import Unwatched
from avbench.preparing import prepare, training_windows, views_of
from avbench.profiling_stages import AROUND, DATA, Setup, Stages, settle
from avbench.profiling_ways import Advance, Goal, Way, time_ways
from avbench.recipe import Recipe, load_recipe
from avbench.registry import find_method, load_class, make_config
from avbench.training import Training
from avbench.training.devices import Loss, open_fabric
from avbench.training.loop import Loop
from avbench.training.optimising import make_optimizer
from avbench.training.states import Parts, Position
from avbench.training.step_log import LOG, StepLog
from avbench.types import Batch

TRAINED_ON = "vggsound-144k"
"""The training list whose recipes are timed."""
PAIRS = 144_000
"""On that list."""
GOALS = {"ezvsl": 2000.0, "jsa": 1500.0}
"""Pairs a second on one H100, batches of 256, from shards: 80 minutes for JSA's 50 epochs."""
OVERHEAD = Goal(most=1.03)
"""Our loop's time over the bare loop's."""

BARE, PREPARING, OURS = "bare loop", "bare loop, front-end included", "our loop"
OFFICIAL, WHOLE = "official steps", "our loop, loading included"

RESIDENT = 2
"""Batches that lie ready on the device for both loops, in turn."""
CHUNK = {"cpu": 1, "cuda": 10}
"""Steps before the other loop has its turn: on a GPU several, since a bare loop runs ahead of the device."""
NEAR = 8
"""Made-up neighbours of each sample, where conceptual views are drawn."""
TOLERANCE = 1e-4
"""Of the official loss and ours, relative; float32 leaves 1e-6."""


Item = TypeVar("Item")


@dataclass(frozen=True)
class TrainingProfile:
    """What was measured of one method.

    Attributes:
        seconds: of each step from decoding on, as the loop runs; ``waiting`` of them for data.
        stages: of each step of another pass, with the device's queue emptied where a stage ends.
        ways: the bare loop on prepared batches, the same with the front-end, and ours; on the same few batches, which
            lie on the device.
        peak_bytes: most memory of tensors, weights and batches included.
        epochs: of the recipe.
    """

    method: str
    setup: Setup
    seconds: tuple[float, ...]
    waiting: tuple[float, ...]
    stages: tuple[dict[str, float], ...]
    ways: tuple[Way, Way, Way]
    peak_bytes: int
    epochs: int

    @property
    def per_second(self) -> float:
        """Pairs trained on in a second, over all steps that count."""
        return self.setup.batch_size * len(self.seconds) / sum(self.seconds)

    @property
    def step_ms(self) -> float:
        """Milliseconds of a step, over all that count."""
        return 1000 * sum(self.seconds) / len(self.seconds)

    @property
    def waiting_share(self) -> float:
        """Of the time, the share in which the loop stood still for data."""
        return sum(self.waiting) / sum(self.seconds)

    @property
    def floor(self) -> float:
        """Of the time of a step, the share that the bare loop's takes; above 1 where the machine was busier then."""
        return self.ways[0].ms * self.per_second / 1000

    @property
    def epoch_seconds(self) -> float:
        """Of an epoch on VGGSound-144k at this speed."""
        return PAIRS / self.per_second

    @property
    def limit(self) -> str:
        """What takes longest of all that the bare loop does without."""
        return max(AROUND, key=self.share)

    def ms(self, stage: str) -> float:
        """Milliseconds of a stage, median of the steps."""
        return 1000 * median(step[stage] for step in self.stages)

    def share(self, stage: str) -> float:
        """A stage's share of all the time in that pass."""
        return sum(step[stage] for step in self.stages) / sum(sum(step.values()) for step in self.stages)


@dataclass(frozen=True)
class OfficialProfile:
    """The official steps of EZ-VSL, and ours, from files on: step by step in turn, both loading in this process.

    Attributes:
        difference: of the losses of one batch under the same weights, relative.
    """

    ways: tuple[Way, Way]
    difference: float

    @property
    def agrees(self) -> bool:
        """Whether both compute the same loss."""
        return self.difference <= TOLERANCE


@dataclass(frozen=True)
class Oracle:
    """The modules with the official steps, of loading, evaluating (which has the network) and training."""

    loading: Any
    evaluation: Any
    training: Any


class Trained:
    """A method at work: our loop over it, with weights drawn at random and no monitor.

    Args:
        name: of a method with a recipe for VGGSound-144k.
        split: its samples are gone through as often as an epoch of ``setup`` takes.
        setup: how.
        log: where the loop writes its steps.

    Raises:
        UsageError: for a method without that recipe.
    """

    def __init__(self, name: str, split: Split, setup: Setup, log: StepLog) -> None:
        self.setup, self.recipe = setup, _recipe(name, setup)
        self.split = _repeated(split, (setup.unmeasured + setup.steps) * setup.batch_size)
        ref = find_method(name)
        cls = load_class(ref)
        torch.manual_seed(self.recipe.seed)
        self.method: Any = cls(make_config(cls.config_class, self.recipe.method_values)).train()
        self.method.to(setup.device, memory_format=training_layout(self.method, setup.device))
        if hasattr(self.method, "start_epoch"):
            self.method.start_epoch(self.recipe.epochs - 1)
        self.optimizer = make_optimizer(self.recipe, self.method, setup.device)
        self.scaler = torch.amp.grad_scaler.GradScaler(setup.device.type, enabled=setup.precision == "fp16")
        near = _neighbours(len(self.split.samples)) if "conceptual" in views_of(self.method) else None
        options = TrainingOptions(crop=self.recipe.images == "crop")
        self.pairs = TrainingSet(self.split, training_windows(self.method), seed=0, options=options, neighbours=near)
        training = Training(ref, self.recipe, self.split, log.path.parent, {}, setup.device, setup.workers)
        fabric = open_fabric(setup.device, setup.precision)
        self.loop = Loop(
            training=training,
            fabric=fabric,
            module=fabric.setup(Loss(self.method), move_to_device=False),
            parts=Parts(self.method, self.optimizer, fabric.strategy.precision),
            pairs=self.pairs,
            per_epoch=max(PAIRS // setup.batch_size, 1),
            log=log,
            monitor=Unwatched(),
            shard=ALONE,
        )
        self.position = Position()

    def batches(self, *, workers: int) -> Generator[RawBatch, None, None]:
        """One epoch, decoded as it goes on."""
        setup = self.setup
        return iterate_training(self.pairs, epoch=0, batch_size=setup.batch_size, workers=workers, device=setup.device)

    def first(self, count: int) -> list[RawBatch]:
        """So many batches."""
        with closing(self.batches(workers=0)) as batches:
            return list(islice(batches, count))

    def prepared(self, raw: RawBatch) -> Batch:
        """The batch as the method's loss gets it."""
        return prepare(raw, self.method, self.recipe, self.split.samples)

    def bare(self, batch: Batch) -> None:
        """A step without anything else."""
        self.optimizer.zero_grad(set_to_none=True)
        with _autocast(self.setup):
            total = self.method.loss(batch)["total"]
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def ours(self, batches: Iterable[RawBatch]) -> None:
        """Our loop over these batches."""
        for raw in batches:
            self.loop.step(raw, 0.0, self.position)
        self.loop.flush()


@contextmanager
def at_work(name: str, split: Split, setup: Setup) -> Iterator[Trained]:
    """:class:`Trained`, with a log that is thrown away."""
    with TemporaryDirectory() as folder, closing(StepLog(Path(folder) / LOG)) as log:
        yield Trained(name, split, setup, log)


def profile_training(name: str, split: Split, setup: Setup, *, advance: Advance) -> TrainingProfile:
    """Time the training of a method by its recipe for VGGSound-144k.

    Args:
        name: of the method.
        split: see :class:`Trained`.
        setup: how.
        advance: called with the number of steps done, :func:`steps_of` in all.

    Raises:
        UsageError: for a method without that recipe, or one that refuses such batches.
        AvbenchError: for a sample that cannot be decoded.
    """
    with at_work(name, split, setup) as trained:
        loop = _epoch(trained, Stages(setup.device, apart=False), advance)
        stages = _epoch(trained, Stages(setup.device), advance)
        ready = trained.first(RESIDENT)
        ways = _loops(trained, ready)
        time_ways(ways, setup.steps, chunk=CHUNK[setup.device.type], repeats=setup.repeats, advance=advance)
        return TrainingProfile(
            method=name,
            setup=setup,
            seconds=tuple(sum(step.values()) for step in loop),
            waiting=tuple(step[DATA] for step in loop),
            stages=tuple(stages),
            ways=ways,
            peak_bytes=_peak(trained, trained.prepared(ready[0])),
            epochs=trained.recipe.epochs,
        )


def steps_of(setup: Setup) -> int:
    """How many steps :func:`profile_training` tells of."""
    return 2 * (setup.unmeasured + setup.steps) + setup.repeats * setup.steps


def profile_official(split: Split, setup: Setup, oracle: Oracle, *, advance: Advance) -> OfficialProfile:
    """Time EZ-VSL's training from files on beside the official steps, on the CPU and in float32 both.

    Args:
        split: see :class:`Trained`; in plain files.
        setup: how; full width, and no decoding processes.
        oracle: the official steps.
        advance: called with the number of steps done, ``setup.repeats * setup.steps`` in all.

    Raises:
        UsageError: for a split that lies packed.
        AvbenchError: for a sample that cannot be decoded.
    """
    with at_work("ezvsl", split, setup) as trained:
        network = oracle.evaluation.METHODS["ezvsl"]()
        network.load_state_dict(trained.method.state_dict())
        difference = _difference(trained, network)
        optimizer = oracle.training.optimizer_of(network)
        loader = oracle.training.loader(_files(split), oracle.loading.load_sample, setup.batch_size)
        official, own = _endless(lambda: loader), _endless(lambda: trained.batches(workers=0))

        def step(batches: Iterable[Sequence[Tensor]]) -> None:
            for batch in batches:
                oracle.training.training_step(network, optimizer, batch)

        def load(train: Callable[[Any], None], batches: Iterator[Any], indices: Sequence[int]) -> int:
            train(islice(batches, len(indices)))
            return len(indices) * setup.batch_size

        ways = (
            Way(OFFICIAL, load=partial(load, step, official)),
            Way(WHOLE, OFFICIAL, load=partial(load, trained.ours, own)),
        )
        time_ways(ways, setup.steps, chunk=1, repeats=setup.repeats, advance=advance)
        return OfficialProfile(ways, difference)


def _epoch(trained: Trained, stages: Stages, advance: Advance) -> list[dict[str, float]]:
    """One epoch by our loop; the steps that count."""
    with (
        closing(trained.batches(workers=trained.setup.workers)) as batches,
        stages.watching(trained.method, trained.optimizer),
    ):
        trained.ours(stages.over(_told(batches, advance)))
    return stages.steps[trained.setup.unmeasured :]


def _told(batches: Iterator[RawBatch], advance: Advance) -> Iterator[RawBatch]:
    for raw in batches:
        advance(1)
        yield raw


def _loops(trained: Trained, ready: Sequence[RawBatch]) -> tuple[Way, Way, Way]:
    """The bare loop over prepared batches, over batches that it prepares, and ours over the same."""
    prepared = [trained.prepared(raw) for raw in ready]

    def load(train: Callable[[Iterator[Any]], None], batches: Sequence[Any], indices: Sequence[int]) -> int:
        train(batches[index % len(batches)] for index in indices)
        settle(trained.setup.device)
        return len(indices) * trained.setup.batch_size

    def bare(batches: Iterator[Batch]) -> None:
        for batch in batches:
            trained.bare(batch)

    def bare_from_raw(batches: Iterator[RawBatch]) -> None:
        bare(map(trained.prepared, batches))

    return (
        Way(BARE, load=partial(load, bare, prepared)),
        Way(PREPARING, load=partial(load, bare_from_raw, ready)),
        Way(OURS, PREPARING, OVERHEAD, load=partial(load, trained.ours, ready)),
    )


def _endless(epoch: Callable[[], Iterable[Item]]) -> Iterator[Item]:
    while True:
        yield from epoch()


def _peak(trained: Trained, batch: Batch) -> int:
    """Weights, moments and the batch, and what a bare step adds to them at its highest."""
    moments = [value for state in trained.optimizer.state.values() for value in state.values()]
    given = [batch.image, batch.audio, *batch.image_views.values(), *batch.audio_views.values(), *moments]
    standing = sum(tensor.nbytes for tensor in given if isinstance(tensor, Tensor))
    return standing + weight_bytes(trained.method) + peak_rise(lambda: trained.bare(batch), trained.setup.device)


def _difference(trained: Trained, network: torch.nn.Module) -> float:
    """Between the official loss of one batch and ours, relative to ours; no weight is changed."""
    batch = trained.prepared(trained.first(1)[0])
    with torch.no_grad():
        official, _ = network(batch.image, batch.audio)
        ours = trained.method.loss(batch)["total"]
    return float((official - ours).abs() / ours.abs())


def _recipe(name: str, setup: Setup) -> Recipe:
    recipe = load_recipe(name, TRAINED_ON)
    values = {**recipe.method_values, "width": setup.width}
    values.pop("pretrained", None)
    return replace(recipe, batch_size=setup.batch_size, precision=setup.precision, method_values=values)


def _repeated(split: Split, count: int) -> Split:
    """So many samples, those of the split in turn."""
    return replace(split, samples=tuple(islice(cycle(split.samples), count)))


def _neighbours(count: int) -> Neighbours:
    """Made up: which samples resemble each other takes no time."""
    table = np.random.default_rng(0).integers(count, size=(count, NEAR), dtype=np.int32)
    return Neighbours(table, table)


def _files(split: Split) -> list[tuple[Path, Path]]:
    places = [(present(sample.image, sample), present(sample.audio, sample)) for sample in split.samples]
    files = [(image, audio) for image, audio in places if isinstance(image, Path) and isinstance(audio, Path)]
    if len(files) < len(places):
        raise UsageError(f"{split.name} lies packed, which the official loader cannot read: name plain folders")
    return files


def _autocast(setup: Setup) -> AbstractContextManager[object]:
    if setup.precision == "fp32":
        return nullcontext()
    return torch.autocast(setup.device.type, torch.bfloat16 if setup.precision == "bf16" else torch.float16)
