"""What a method costs: parameters, floating-point operations, memory and time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from avbench.building import place_of, training_layout
from avbench.types import CANVAS, Batch, Embeddings, Need, Prediction

RATE = 16_000
"""Of the made-up sounds, in Hz: what ``avbench run`` decodes to unless told otherwise."""
WARM_UP = {"cpu": 1, "cuda": 3}
"""Untimed repetitions, by kind of device."""
REPETITIONS = (3, 20)
"""Fewest and most timed repetitions."""
ENOUGH_SECONDS = 5.0
"""No repetition begins after this much timed work, once there are the fewest."""


@dataclass(frozen=True)
class Counts:
    """What follows from the architecture alone, on any device."""

    parameters: int
    """Elements of all parameters, frozen ones included."""
    trainable: int
    """Those with a gradient in training."""
    inference: int
    """Those that ``localize`` reads; a tensor counts as a whole or not at all."""
    buffers: int
    localize_flops: float
    """Per sample, as :func:`watch` counts."""
    step_flops: float | None
    """Per sample, of the loss and its gradients; None where nothing is trained."""
    prediction: Prediction
    """What ``localize`` answers; the values mean nothing."""
    embeddings: Embeddings | None


@dataclass(frozen=True)
class Cost:
    """What one sample of a batch takes."""

    seconds: float
    """Median over ``repetitions`` of a batch's time, divided by its size."""
    repetitions: int
    peak_bytes: int
    """Most memory that tensors held at a time, for the whole batch; see :func:`peak_rise`."""


@dataclass(frozen=True)
class Measured:
    """What was measured on one device."""

    localize: Cost
    step: Cost | None
    """A whole training step: loss, gradients, Adam. None where nothing is trained."""


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered: counts operations, and notes whose storage they read."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.storages: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func`` and note it."""
        named = kwargs or {}
        self.storages |= {_storage(leaf) for leaf in tree_leaves((args, named)) if isinstance(leaf, Tensor)}
        out = func(*args, **named)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **named, out_val=out)
        return out

    def read(self, tensors: Sequence[Tensor]) -> int:
        """Elements of those ``tensors`` that an operation took in; they must have been alive all the while."""
        return sum(tensor.numel() for tensor in tensors if _storage(tensor) in self.storages)


def watch(run: Callable[[], object]) -> Watch:
    """Operations and reads of one call of ``run``.

    Convolutions and matrix products are counted, one multiply-accumulate being 2 FLOPs, with their gradients where
    ``run`` asks for them; normalisations, activations, pooling and Fourier transforms are not (PyTorch's
    ``torch.utils.flop_counter`` has the formulas).
    """
    seen = Watch()
    with seen:
        run()
    return seen


def example_batch(method: Any, needs: Sequence[Need], size: int, *, training: bool = False) -> Batch:
    """Noise as a batch of ``size``, on the method's device and in its dtype, spectrograms by its own front-end.

    With ``training`` it has whatever further positives and truth the method's loss asks for.
    """
    device, dtype = place_of(method)
    generator = torch.Generator().manual_seed(0)
    side = CANVAS if "image" in needs else 0

    def pictures() -> Tensor:
        return torch.randn(size, 3, side, side, generator=generator, dtype=dtype).to(device)

    def sounds() -> Tensor:
        samples = method.frontend.window.samples(RATE)
        waveform = torch.rand(size, samples, generator=generator, dtype=dtype) * 2 - 1
        spectrogram: Tensor = method.frontend(waveform, RATE)
        return spectrogram.to(device)

    audio = sounds() if method.frontend is not None else None
    objects: Any = [((0.1, 0.1, 0.6, 0.6),)] * size if "objects" in needs else None
    batch = Batch([str(i) for i in range(size)], pictures(), audio, objects=objects)
    if training and getattr(method, "wants_truth", False):
        batch.truth = torch.zeros(size, CANVAS, CANVAS, dtype=dtype, device=device)
        batch.truth[:, : CANVAS // 2] = 1
        batch.annotated = torch.ones(size, dtype=torch.bool, device=device)
    for view in getattr(method, "views", ()) if training else ():
        batch.image_views[view], batch.audio_views[view] = pictures(), sounds()
    return batch


def count(method: nn.Module, size: int) -> Counts:
    """Parameters, operations and shapes of a registered ``method`` for batches of ``size``; it is left as it was.

    Nothing is computed where the method runs on PyTorch's meta device; one that looks at values is run where it is.
    """
    try:
        return _count(deepcopy(method).to("meta"), size)
    except (RuntimeError, NotImplementedError):  # what meta tensors raise when asked for a value
        return _count(deepcopy(method), size)


def _count(method: Any, size: int) -> Counts:
    parameters = list(method.parameters())
    batch = example_batch(method.eval(), method.info.needs, size)
    answers: dict[str, Any] = {}
    with torch.no_grad():
        seen = watch(lambda: answers.update(map=method.localize(batch)))
        embeds = hasattr(method, "embed") and batch.audio is not None
        embeddings = method.embed(batch) if embeds else None
    return Counts(
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        inference=seen.read(parameters),
        buffers=sum(b.numel() for b in method.buffers()),
        localize_flops=seen.flops / size,
        step_flops=_step_flops(method, size) if learns(method) else None,
        prediction=answers["map"],
        embeddings=embeddings,
    )


def _step_flops(method: Any, size: int) -> float:
    batch = _training_batch(method, size)
    return watch(lambda: method.loss(batch)["total"].backward()).flops / size


def learns(method: Any) -> bool:
    """Whether there is a loss to train ``method`` by."""
    return bool(method.info.trainable and hasattr(method, "loss"))


def _training_batch(method: Any, size: int) -> Batch:
    """The first batch of a training, the method made ready for it."""
    method.train()
    if hasattr(method, "start_epoch"):
        method.start_epoch(0)
    return example_batch(method, method.info.needs, size, training=True)


def measure(method: Any, size: int) -> Measured:
    """Time and memory of ``method`` where it is, per sample of batches of ``size``; its weights stay as they were.

    As ``avbench run`` and ``avbench train`` call it, but without decoding and front-end: ``localize`` in inference
    mode; a training step of loss, gradients and Adam, in the layout of a training.
    """
    batch = example_batch(method.eval(), method.info.needs, size)
    localize = _cost(partial(_localize, method, batch), method, [*_tensors(method), *_given(batch)], size)
    if not learns(method):
        return Measured(localize, None)
    learner = deepcopy(method).to(memory_format=training_layout(method, place_of(method)[0]))
    batch = _training_batch(learner, size)
    optimizer = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad])
    step = partial(_step, learner, optimizer, batch)
    step()
    moments = [moment for state in optimizer.state.values() for moment in state.values()]
    return Measured(localize, _cost(step, learner, [*_tensors(learner), *_given(batch), *moments], size))


@torch.inference_mode()
def _localize(method: Any, batch: Batch) -> None:
    method.localize(batch)


def _step(method: Any, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    method.loss(batch)["total"].backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _cost(run: Callable[[], object], method: Any, standing: Sequence[Tensor], size: int) -> Cost:
    """What ``run`` takes, beside the ``standing`` tensors that are there before it."""
    device = place_of(method)[0]
    seconds = times(run, device)
    return Cost(statistics.median(seconds) / size, len(seconds), _bytes(standing) + peak_rise(run, device))


def times(run: Callable[[], object], device: torch.device) -> list[float]:
    """Seconds of each repetition of ``run`` after warm-up, the device's queue emptied before and after each."""
    for _ in range(WARM_UP[device.type]):
        run()
    found: list[float] = []
    fewest, most = REPETITIONS
    while len(found) < fewest or (len(found) < most and sum(found) < ENOUGH_SECONDS):
        _finish(device)
        started = time.perf_counter()
        run()
        _finish(device)
        found.append(time.perf_counter() - started)
    return found


def peak_rise(run: Callable[[], object], device: torch.device) -> int:
    """Bytes by which the memory of tensors rises, at its highest, while ``run`` goes on.

    What PyTorch's allocator hands out: on a GPU ``torch.cuda.max_memory_allocated``, on the CPU the running sum of what
    PyTorch's profiler records. Scratch memory that the CPU's libraries take elsewhere, the interpreter and the
    libraries themselves are not in it.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        _finish(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as trace:
        run()
    recorder = trace.profiler
    if recorder is None or recorder.kineto_results is None:
        raise RuntimeError("the profiler kept no record of the memory")
    events = [event for event in recorder.kineto_results.events() if event.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def weight_bytes(method: nn.Module) -> int:
    """Bytes of all parameters and buffers."""
    return _bytes(_tensors(method))


def _tensors(method: nn.Module) -> list[Tensor]:
    return [*method.parameters(), *method.buffers()]


def _given(batch: Batch) -> list[Tensor]:
    given = [batch.image, batch.audio, batch.truth, *batch.image_views.values(), *batch.audio_views.values()]
    return [tensor for tensor in given if tensor is not None]


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
