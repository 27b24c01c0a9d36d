"""The authors' checkpoint files: read, never executed. Importing this module imports no torch."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from avbench.errors import AvbenchError

if TYPE_CHECKING:
    from torch import Tensor

ENTRIES = ("model", "model_state_dict", "state_dict")
"""Where official files keep the weights; a file without a table under any of these is the state dict itself."""

PREFIX = re.compile(r"(?<![^.])module\.")
"""The wrapper's name that data-parallel training puts before a parameter's, as a whole part of the dotted path."""

WANTED = re.compile(
    r"GLOBAL (\S+)|(?:Can only (?:build|create)|Trying to call reduce) .*?(<class '\S+?'>|function .+)"
    r"|(TorchScript|legacy \.tar format)"
)
"""Where PyTorch's refusal names what a file asked for."""

SLACK = 2**24
"""Bytes by which an archive may unpack to more than it is: PyTorch stores tensors as they are, compresses only code."""


class Form(NamedTuple):
    """How an official file holds its weights."""

    entry: str | None
    """The entry they stand under; None where the file is the state dict itself."""
    prefixed: bool
    """Whether names carry ``module.``."""
    rest: dict[str, Any]
    """The other entries of the file, such as epoch, scores and optimiser."""


def read_official(file: Path) -> tuple[dict[str, Tensor], Form]:
    """The weights of an authors' file, names without ``module.``, and how it held them. No code of theirs runs.

    Raises:
        AvbenchError: for a file that is damaged, no checkpoint, would have to run code to be read, or whose tensors are
            not as large as it says.
    """
    state, form = _state_of(_unpickled(file), file)
    _check_tensors(state, file)
    return state, form


def readable(text: str) -> str:
    """A name from a file for people to read: on one line, without control characters, 120 characters at most."""
    shown = text if text.isprintable() else ascii(text)[1:-1]
    return shown if len(shown) <= 120 else f"{shown[:117]}..."


def _unpickled(file: Path) -> Any:
    try:
        return _loaded(file)
    except AvbenchError:
        raise
    except Exception as problem:  # a damaged pickle raises whatever its bytes happen to mean
        wanted = WANTED.search(str(problem))
        if wanted:
            name = next(filter(None, wanted.groups()))
            raise AvbenchError(
                f"{file} was refused, since it needs {readable(name)}, which is no weights and could run code: save "
                "its state dict alone with the code that made it"
            ) from problem
        raise AvbenchError(
            f"expected a PyTorch checkpoint in {file}, which is damaged or something else: fetch it again"
        ) from problem


def _loaded(file: Path) -> Any:
    import torch

    _check_archive(file)
    with torch.serialization.safe_globals(_harmless()):
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_archive(file: Path) -> None:
    """Refuse an archive that unpacks to far more than it is, or whose checksums, which PyTorch ignores, do not hold."""
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        claimed, size = sum(item.file_size for item in archive.infolist()), file.stat().st_size
        if claimed > size + SLACK:
            raise AvbenchError(
                f"{file} was refused, since it says that it unpacks to {claimed} bytes from {size}, which no "
                "checkpoint of PyTorch does: fetch it again"
            )
        damaged = archive.testzip()
    if damaged is not None:
        raise AvbenchError(
            f"expected a whole file, but {file} is damaged, since its record {readable(damaged)} does not have the "
            "checksum that was stored with it: fetch it again"
        )


def _harmless() -> list[Any]:
    """What official files hold beside tensors: the best epoch's metrics, as numpy scalars of any numpy version."""
    import numpy as np

    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, type(np.dtype(np.float64))]


def _state_of(content: Any, file: Path) -> tuple[dict[str, Tensor], Form]:
    """The state dict in an official file, names without ``module.``, and how it was held."""
    named = content if isinstance(content, Mapping) else {}
    entry = next((e for e in ENTRIES if isinstance(named.get(e), Mapping)), None)
    found = content if entry is None else content[entry]
    if not isinstance(found, Mapping) or not found or not all(hasattr(value, "shape") for value in found.values()):
        raise AvbenchError(
            f"expected weights by name in {file}, as a whole or under {', '.join(ENTRIES)}, got something else: give "
            "the checkpoint of a method"
        )
    rest = {} if entry is None else {str(key): value for key, value in content.items() if key != entry}
    state = {PREFIX.sub("", str(key)): value for key, value in found.items()}
    if len(state) < len(found):
        raise AvbenchError(f"two names in {file} differ by module. alone, so that one would be lost: rename them")
    return state, Form(entry, any(PREFIX.search(str(key)) for key in found), rest)


def _check_tensors(state: dict[str, Tensor], file: Path) -> None:
    import torch

    size = file.stat().st_size
    for key, value in state.items():
        plain = isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu"
        if not plain or value.is_quantized or value.numel() * value.element_size() > size:
            raise AvbenchError(
                f"{file} was refused, since its {readable(key)} is no plain array of numbers within the file: save the "
                "state dict with the code that made it"
            )
