"""Many samples as one tensor, with as few copies as can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from avbench.data.decoding import Waveform
from avbench.types import Window

Change = Callable[[Tensor], Tensor]


def stack(rows: Sequence[NDArray[np.uint8] | NDArray[np.float32]]) -> Tensor:
    """Arrays of one shape and type as ``[B, ...]``; in a worker process in memory that the caller's process shares."""
    shape = (len(rows), *rows[0].shape)
    if get_worker_info() is None:
        return torch.from_numpy(np.stack(rows))
    place = torch.UntypedStorage._new_shared(math.prod(shape) * rows[0].itemsize)  # type: ignore[no-untyped-call]
    dtype = torch.uint8 if rows[0].dtype == np.uint8 else torch.float32
    stacked = torch.empty(0, dtype=dtype).set_(place).view(shape)
    np.stack(rows, out=stacked.numpy())
    return stacked


def stack_windows(sounds: Sequence[dict[Window, Waveform]]) -> dict[Window, Tensor]:
    """Each window of all ``sounds``, which have the same windows, as one tensor.

    Where a window was cut from within another one, at the same place in every sound, it is a view of that one's
    tensor: the middle of clips of one length is copied once, however many methods hear parts of it.

    Returns:
        ``[B, n]``, or ``[B, channels, n]`` where the sounds have several channels, not always contiguous; in the order
        of the first sound's windows.
    """
    made: dict[Window, Tensor] = {}
    for window in sorted(sounds[0], key=lambda w: sounds[0][w].size, reverse=True):
        inner = [sound[window] for sound in sounds]
        within = (_view(made[outer], inner, [sound[outer] for sound in sounds]) for outer in made)
        shared = next((view for view in within if view is not None), None)
        made[window] = stack(inner) if shared is None else shared
    return {window: made[window] for window in sounds[0]}


def change_together(tensors: dict[Window, Tensor], change: Change) -> dict[Window, Tensor]:
    """``change`` applied to the memory of ``tensors``, once for those that share it; they share it again afterwards."""
    changed: dict[int, Tensor] = {}
    for tensor in tensors.values():
        place = tensor.untyped_storage()
        if place.data_ptr() not in changed:
            whole = torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(place)
            changed[place.data_ptr()] = change(whole)
    return {
        window: changed[t.untyped_storage().data_ptr()].as_strided(t.size(), t.stride(), t.storage_offset())
        for window, t in tensors.items()
    }


def _view(stacked: Tensor, inner: Sequence[Waveform], outer: Sequence[Waveform]) -> Tensor | None:
    first = _offset(inner[0], outer[0])
    if first is None or any(_offset(i, o) != first for i, o in zip(inner, outer, strict=True)):
        return None
    return stacked[:, first : first + len(inner[0])]


def _offset(inner: Waveform, outer: Waveform) -> int | None:
    """Where in ``outer`` the memory of ``inner`` begins, in samples; None where it is not within."""
    if inner.ndim != 1 or outer.ndim != 1:
        return None
    begin = (_address(inner) - _address(outer)) // inner.itemsize
    return begin if 0 <= begin <= len(outer) - len(inner) else None


def _address(samples: Waveform) -> int:
    address: int = samples.__array_interface__["data"][0]
    return address
