"""What methods cost at their published size on the present device, measured once and kept in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avbench.errors import AvbenchError, UsageError
from avbench.opening import Progress, silent
from avbench.registry import describe, find_method, method_names
from avbench.runner import request_for
from avbench.sources import source_fingerprint
from avbench.store import code_fingerprint, hash_json, home, read_json, write_json

BATCHES = {"cpu": 4, "cuda": 32}
"""Samples of a batch by kind of device, unless named."""
BELOW_BATCH = {"jsa": ("reciprocal_k", 20)}
"""Settings by method, as published, that have to be smaller than the batch; their size costs nothing to speak of."""
CODE = ("measuring.py", "card.py", "building.py", "frontends.py", "nets")
"""Our source that a measurement depends on, beside the method's own."""


@dataclass(frozen=True)
class DeviceCost:
    """What a method costs on a device."""

    method: str
    batch_size: int
    step_seconds: float
    """Of a training iteration: loss, gradients and Adam on a batch."""
    step_bytes: int
    """Most memory that tensors held at a time, of a training iteration."""
    image_seconds: float
    """Of an image with its sound, at inference in such batches."""
    image_bytes: int
    """As ``step_bytes``, at inference."""
    repetitions: int
    """Of a training iteration; the times are medians."""
    device: str
    name: str
    threads: int
    torch: str
    measured: str
    """The day."""
    settings: str
    """Those that are not the published ones; empty for none."""


def count_parameters(method: str, settings: Mapping[str, Any]) -> int:
    """Parameters of a method as published, but for some settings; it is built, which takes a second, and not run.

    Raises:
        UsageError: for an unknown method or setting.
    """
    from avbench.building import build_request

    built = build_request(request_for(method, None, dict(settings)), "cpu")
    return sum(parameter.numel() for parameter in built.parameters())


def trained_methods() -> list[str]:
    """All methods that learn, sorted."""
    infos = {name: describe(find_method(name)) for name in method_names()}
    return sorted(name for name, info in infos.items() if info.trainable and not info.control)


def device_costs(
    methods: Sequence[str], *, device: str, batch_size: int | None, again: bool = False, progress: Progress = silent
) -> list[DeviceCost]:
    """What methods cost on a device, those in the store as they are and the others measured.

    Args:
        methods: Names of methods that learn.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        batch_size: Samples of a batch; None for that of :data:`BATCHES`.
        again: Measure all, whatever is in the store.
        progress: Shows how far it is.

    Raises:
        UsageError: for an unknown method or device, or a batch that a method's loss refuses.
        AvbenchError: for a damaged file of the store, or for whatever a method raises.
    """
    place = _described(device)
    size = batch_size or BATCHES[str(place["device"]).partition(":")[0]]
    files = {method: _file(method, place, size) for method in methods}
    missing = [method for method, file in files.items() if again or not file.exists()]
    if missing:
        title = f"measuring on {place['name']}, batches of {size}"
        with progress(title, len(missing)) as advance:
            for method in missing:
                write_json(files[method], asdict(_measured(method, place, size)))
                advance(1)
    return [_read(file) for file in files.values()]


def _described(device: str) -> dict[str, Any]:
    """The device as cards describe it; what they are of does not matter."""
    from avbench.card import make_card

    return make_card(request_for("whole", None, {}), device=device, batch_size=1, measured=False).machine


def _measured(method: str, place: dict[str, Any], size: int) -> DeviceCost:
    from avbench.card import make_card

    settings = _settings(method, size)
    request = request_for(method, None, settings)
    measured = make_card(request, device=place["device"], batch_size=size, measured=True).measured
    if measured is None or measured.step is None:
        raise UsageError(f"{method} has nothing to train: leave it out")
    return DeviceCost(
        method=method,
        batch_size=size,
        step_seconds=measured.step.seconds * size,
        step_bytes=measured.step.peak_bytes,
        image_seconds=measured.localize.seconds,
        image_bytes=measured.localize.peak_bytes,
        repetitions=measured.step.repetitions,
        device=place["device"],
        name=place["name"],
        threads=place["threads"],
        torch=place["torch"],
        measured=datetime.now(UTC).date().isoformat(),
        settings=", ".join(f"{key} {value} instead of {BELOW_BATCH[method][1]}" for key, value in settings.items()),
    )


def _settings(method: str, size: int) -> dict[str, int]:
    """What is set so that a batch is large enough."""
    key, published = BELOW_BATCH.get(method, ("", 0))
    return {key: size - 1} if published >= size else {}


KEY = ("device", "name", "threads", "torch")
"""What of a device decides about a measurement."""


def _file(method: str, place: dict[str, Any], size: int) -> Path:
    source = source_fingerprint(find_method(method))
    key = hash_json([source, code_fingerprint(*CODE), {key: place[key] for key in KEY}, size])
    return home() / "costs" / f"{method}-{key[:12]}.json"


def _read(path: Path) -> DeviceCost:
    content = read_json(path)
    try:
        return DeviceCost(**content)
    except TypeError as problem:
        raise AvbenchError(f"expected a measurement in {path}, found another form ({problem}): delete it") from None
