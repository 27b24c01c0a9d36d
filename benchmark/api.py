"""The two calls of the Python interface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avbench.records import Record
from avbench.registry import find_method


def load_method(name: str, checkpoint: str | Path | None = None, device: str = "cpu", **config: Any) -> Any:
    """Build a method in eval mode.

    Args:
        name: ``jsa``, ``path/to/file.py:Name``, or the name of a plugin.
        checkpoint: One of ours (folder or .safetensors) or an official file (.pth, .pth.tar); None leaves the
            weights as initialised.
        device: Where it will run.
        config: Settings of the method's config dataclass; a checkpoint of ours brings its own, which these override.

    Raises:
        UsageError: for an unknown method or setting.
        AvbenchError: for a checkpoint that cannot be read or does not fit.
    """
    from avbench.building import build

    return build(find_method(name), _path(checkpoint), device, config)


def evaluate(
    method: Any,
    split: str | Path,
    *,
    data: str | Path | None = None,
    metadata: str | Path | None = None,
    protocol: str = "common",
    **options: Any,
) -> Record:
    """Evaluate a method on a split and return the record of its ``av`` row.

    Args:
        method: A name as for :func:`load_method`, or an object with ``frontend`` and ``localize``, in eval mode; an
            object is evaluated anew each time, on the device where its weights are.
        split: A split's name, or the path of a YAML file, a CSV or a folder of one's own (docs/your_data.md).
        data: Folder with ``frames/`` and ``audio/``.
        metadata: Folder with the official annotation files.
        protocol: One of ``avbench list protocols``.
        options: ``checkpoint``, ``config`` (a dict of the method's settings), and the fields of
            :class:`avbench.request.Settings`.
    """
    from avbench.runner import evaluate_one

    places = {"data": _path(data), "metadata": _path(metadata)}
    return evaluate_one(method, str(split), places, protocols=(protocol,), **options)


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


__all__: Sequence[str] = ["evaluate", "load_method"]
