"""The two calls of the Python interface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avbench.records import Record
from avbench.registry import find_method, load_class, make_config


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
    import torch

    cls = load_class(find_method(name))
    if checkpoint is None:
        method = cls(make_config(cls.config_class, config))
    else:
        from avbench.checkpoints import load_checkpoint

        method = load_checkpoint(Path(checkpoint), cls, config)
    return method.to(torch.device(device)).eval()


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
        method: A name as for :func:`load_method`, or an object with ``frontend`` and ``localize`` in eval mode.
        split: A split's name, or the path of a YAML file that describes one's own.
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
