"""Small builds of a method and batches of noise, on which its contract is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from avbench.nets.resnet import Trunk
from avbench.registry import make_config
from avbench.types import CANVAS, Batch, Box

SIZE = 4
"""Samples in a batch of noise."""

RATE = 16_000
"""Sampling rate of the noise, in Hz."""

SLIM: dict[str, float | int] = {"width": 1 / 16, "dim": 16, "out_dim": 16, "reciprocal_k": 2}
"""Settings that are lowered to these values where a config has them, of the same type and larger."""

OBJECTS: tuple[Box, ...] = ((0.1, 0.2, 0.5, 0.6), (0.5, 0.5, 0.9, 0.8))


def slim_settings(cls: Any) -> dict[str, Any]:
    """The settings that make ``cls`` small: those of :data:`SLIM` that it has, and what its own ``slim`` states."""
    config = cls.config_class()
    lowered = {
        key: value
        for key, value in SLIM.items()
        if type(getattr(config, key, None)) is type(value) and getattr(config, key) > value
    }
    return {**lowered, **_from_scratch(cls), **getattr(cls, "slim", {})}


def reads_weights(cls: Any) -> bool:
    """Whether the method would fetch published weights: it has a setting ``weights`` that nothing fills."""
    return "weights" in _names(cls) and _slim_config(cls).weights is None


def build_full(cls: Any) -> Any:
    """``cls`` with its default settings but no ``pretrained`` part: the same networks, and nothing is downloaded.

    It is on the meta device, with all its parameters and none of their memory, unless it reads weights or computes with
    tensors while it is built; then it is on the CPU.
    """
    config = make_config(cls.config_class, _from_scratch(cls))
    if reads_weights(cls):
        return _build(cls, config, seed=0)
    try:
        with torch.device("meta"):
            return _build(cls, config, seed=0)
    except Exception:  # whatever other people's code raises
        return _build(cls, config, seed=0)


def build_slim(cls: Any, seed: int = 0) -> Any:
    """``cls`` as :func:`slim_settings` says, on the CPU, in training mode; ``seed`` decides its weights.

    A method with a setting ``weights`` gets made-up ones of a ResNet-18 in the place of the published ones.
    """
    return _build(cls, _slim_config(cls), seed=seed)


def noise_batch(method: Any, *, silent: bool = False) -> Batch:
    """Four samples as ``localize`` sees them: pictures of noise, and noise through the method's own front-end.

    The method's ``needs`` decide what is there. With ``silent`` every sample is digital silence and a grey picture.
    """
    generator = torch.Generator().manual_seed(0)
    needs, objects = method.info.needs, [OBJECTS[: 1 + i % 2] for i in range(SIZE)]
    return Batch(
        [str(i) for i in range(SIZE)],
        _pictures(generator, silent=silent) if "image" in needs else torch.empty(SIZE, 3, 0, 0),
        None if method.frontend is None else _sounds(method.frontend, generator, silent=silent),
        objects=objects if "objects" in needs else None,
    )


def training_batch(method: Any) -> Batch:
    """The same four samples as ``loss`` sees them: with the ``views`` and the truth that the method asks for."""
    batch, generator = noise_batch(method), torch.Generator().manual_seed(1)
    for view in getattr(method, "views", ()):
        batch.image_views[view] = _pictures(generator)
        if method.frontend is not None:
            batch.audio_views[view] = _sounds(method.frontend, generator)
    if getattr(method, "wants_truth", False):
        batch.truth = torch.rand(SIZE, CANVAS, CANVAS, generator=generator).round()
        batch.annotated = torch.arange(SIZE) % 2 == 0
    return batch


def tensors_of(batch: Batch) -> dict[str, Tensor]:
    """The tensors of a batch by name."""
    plain = {name: getattr(batch, name) for name in ("image", "audio", "truth", "annotated")}
    views = {
        f"{kind}[{view!r}]": t for kind in ("image_views", "audio_views") for view, t in getattr(batch, kind).items()
    }
    return {name: tensor for name, tensor in {**plain, **views}.items() if tensor is not None}


def changed(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with ``change`` applied to each of its tensors; containers are new."""
    return replace(
        batch,
        ids=list(batch.ids),
        image=change(batch.image),
        audio=None if batch.audio is None else change(batch.audio),
        truth=None if batch.truth is None else change(batch.truth),
        annotated=None if batch.annotated is None else change(batch.annotated),
        image_views={view: change(t) for view, t in batch.image_views.items()},
        audio_views={view: change(t) for view, t in batch.audio_views.items()},
    )


def rows_of(batch: Batch, rows: Sequence[int]) -> Batch:
    """The samples ``rows`` of a batch, in that order."""
    chosen = changed(batch, lambda tensor: tensor[list(rows)])
    chosen.ids = [batch.ids[i] for i in rows]
    chosen.objects = None if batch.objects is None else [batch.objects[i] for i in rows]
    return chosen


def _names(cls: Any) -> set[str]:
    return {f.name for f in fields(cls.config_class)}


def _from_scratch(cls: Any) -> dict[str, Any]:
    return {"pretrained": None} if "pretrained" in _names(cls) else {}


@cache
def _slim_config(cls: Any) -> Any:
    return make_config(cls.config_class, slim_settings(cls))


def _build(cls: Any, config: Any, *, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]), _filled(cls, config) as settings:
        torch.manual_seed(seed)
        return cls(settings)


@contextmanager
def _filled(cls: Any, config: Any) -> Iterator[Any]:
    """The config, its ``weights`` naming a file of made-up ones where :func:`reads_weights` says so."""
    if not reads_weights(cls):
        yield config
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "resnet18.pth"
        torch.manual_seed(0)
        torch.save(Trunk().state_dict(), file)
        yield replace(config, weights=str(file))


def _pictures(generator: torch.Generator, *, silent: bool = False) -> Tensor:
    shape = (SIZE, 3, CANVAS, CANVAS)
    return torch.zeros(shape) if silent else torch.randn(shape, generator=generator)


def _sounds(frontend: Any, generator: torch.Generator, *, silent: bool = False) -> Tensor:
    shape = (SIZE, frontend.window.samples(RATE))
    loudness = torch.linspace(0.2, 1, SIZE)[:, None]
    waveform = torch.zeros(shape) if silent else loudness * (2 * torch.rand(shape, generator=generator) - 1)
    spectrogram: Tensor = frontend(waveform, RATE)
    return spectrogram
