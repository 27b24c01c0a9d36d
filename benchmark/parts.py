"""Part files: predictions of a numbered range of samples, each whole or absent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from avbench.errors import AvbenchError
from avbench.request import part_count, part_path
from avbench.store import write_atomic


@dataclass
class Part:
    """Predictions of consecutive samples: ``tensors["map"]`` is ``[n, h, w]``, the rest named as in Prediction."""

    ids: list[str]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    score_range: tuple[float, float] | None = None
    """What the method says its maps can reach, lower end first; with it they can be scored without the method."""


def missing_parts(folder: Path, samples: int) -> list[int]:
    """The parts of ``samples`` samples that ``folder`` does not hold yet."""
    return [n for n in range(part_count(samples)) if not part_path(folder, n).exists()]


def write_part(folder: Path, number: int, part: Part) -> None:
    """Write one part: float32 tensors on the CPU; a map that all rows share is stored once."""
    tensors = {name: _stored(name, tensor) for name, tensor in part.tensors.items()}
    known = json.dumps({"ids": part.ids, "score_range": part.score_range})  # one entry: several come in any order
    write_atomic(part_path(folder, number), save(tensors, metadata={"part": known}))


def read_parts(folder: Path, samples: int, names: tuple[str, ...] | None = None) -> Iterator[Part]:
    """The parts in order, with the tensors ``names`` (all where None).

    Raises:
        AvbenchError: if a part is absent, cannot be read, or lacks a tensor.
    """
    for number in range(part_count(samples)):
        yield read_part(part_path(folder, number), names)


def read_part(path: Path, names: tuple[str, ...] | None = None) -> Part:
    """One part file; see :func:`read_parts`."""
    try:
        with safe_open(path, framework="pt") as file:
            known = json.loads(file.metadata()["part"])
            ids, ends = known["ids"], known["score_range"]
            wanted = names if names is not None else tuple(file.keys())
            tensors = {name: file.get_tensor(name) for name in wanted}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as problem:
        raise AvbenchError(f"the part file {path} cannot be read ({problem}): delete it and run again") from problem
    restored = {name: _restored(name, tensor, len(ids)) for name, tensor in tensors.items()}
    return Part(ids, restored, (ends[0], ends[1]) if ends else None)


def _stored(name: str, tensor: Tensor) -> Tensor:
    if name == "map" and tensor.stride(0) == 0:
        tensor = tensor[:1]
    return tensor.detach().to("cpu", torch.float32).contiguous()


def _restored(name: str, tensor: Tensor, rows: int) -> Tensor:
    return tensor.expand(rows, *tensor.shape[1:]) if name == "map" and len(tensor) == 1 else tensor
