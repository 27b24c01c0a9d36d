"""Checkpoints: ours are safetensors that carry their own settings; official files are read, never executed.

Importing this module imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from avbench.errors import AvbenchError, UsageError
from avbench.registry import make_config
from avbench.store import read_json, write_atomic, write_json

if TYPE_CHECKING:
    from torch import Tensor

MODEL = "model.safetensors"
CONFIG = "config.json"
HEADER = "avbench"
"""Key of the safetensors header under which a checkpoint of ours describes itself, as JSON."""

ENTRIES = ("model", "model_state_dict", "state_dict")
"""Where official files keep the weights; a file without any of these is the state dict itself."""

PREFIX = re.compile(r"(?<![^.])module\.")
"""The wrapper's name that data-parallel training puts before a parameter's, as a whole part of the dotted path."""


class Weights(NamedTuple):
    """What a checkpoint file holds."""

    state: dict[str, Tensor]
    config: dict[str, Any] | None
    """The method's settings; None where the file does not say (official files)."""
    meta: dict[str, Any]
    """``method`` and what :func:`save_checkpoint` was told; empty for official files."""


def save_checkpoint(folder: Path, method: Any, *, name: str, meta: dict[str, Any]) -> None:
    """Write ``model.safetensors`` and, as a readable copy of its header, ``config.json``; each is whole or absent.

    Args:
        folder: made if it is not there; what it held under these names is replaced.
        method: a module with a dataclass ``config``; all parameters and buffers are stored.
        name: the method's registered name.
        meta: how it was made (recipe, epoch, selection rule, training split); anything JSON can hold.

    Raises:
        AvbenchError: if the disk refuses.
    """
    from safetensors.torch import save

    described = {"method": name, "config": asdict(method.config), "meta": meta}
    state = {key: value.detach().cpu().contiguous() for key, value in method.state_dict().items()}
    write_atomic(folder / MODEL, save(state, {HEADER: json.dumps(described, sort_keys=True)}))
    write_json(folder / CONFIG, described)


def load_checkpoint(path: Path, cls: Any, overrides: dict[str, Any]) -> Any:
    """Build the method ``cls`` and fill it from a checkpoint.

    A checkpoint of ours brings its settings and ``overrides`` change them; an official file has none, so that the
    defaults, the published values, hold. Nothing is downloaded: a ``pretrained`` setting, where the method has
    one, was overwritten by the training and is dropped. A method with a setting ``weights`` reads the file itself.

    Args:
        path: as :func:`load_weights`.
        cls: a registered method class.
        overrides: settings by name.

    Returns: the method on the CPU, in training mode as constructed.

    Raises:
        UsageError: for an unknown setting in ``overrides`` or one of the wrong type.
        AvbenchError: as :func:`load_weights`, for a checkpoint of another method, or for tensors that do not fit.
    """
    known = {f.name for f in fields(cls.config_class)}
    if "weights" in known:
        return cls(make_config(cls.config_class, {**overrides, "weights": str(path)}))
    weights = load_weights(path)
    foreign = sorted(set(weights.config or {}) - known)
    if foreign:
        raise AvbenchError(
            f"expected a checkpoint of {cls.info.name!r}, but {path} is one of {weights.meta.get('method')!r} with the "
            f"settings {', '.join(foreign)}: name the method that it belongs to"
        )
    config = make_config(cls.config_class, {**(weights.config or {}), **overrides})
    method = cls(replace(config, pretrained=None) if "pretrained" in known else config)
    fill(method, weights.state, path)
    return method


def fill(method: Any, state: dict[str, Tensor], path: Path) -> None:
    """Load ``state`` into ``method``, every tensor of both and no other.

    Raises:
        AvbenchError: with the numbers and the first names of what is missing, unexpected or of another shape.
    """
    own = method.state_dict()
    shapes = [f"{key} {list(state[key].shape)}" for key in own if key in state and state[key].shape != own[key].shape]
    fitting = {key: value for key, value in state.items() if key not in own or value.shape == own[key].shape}
    missing, unexpected = method.load_state_dict(fitting, strict=False)
    problems = {
        "missing": sorted(set(missing) - state.keys()),
        "unexpected": sorted(unexpected),
        "of another shape": shapes,
    }
    told = [f"{len(keys)} {kind} ({', '.join(keys[:3])})" for kind, keys in problems.items() if keys]
    if told:
        raise AvbenchError(
            f"{path} does not fit {type(method).__name__} as configured, of its {len(own)} tensors and the file's "
            f"{len(state)}: {'; '.join(told)}: give a checkpoint of this method, or the settings it was trained with"
        )


def load_weights(path: Path) -> Weights:
    """Read a checkpoint: one of ours (its folder or its ``.safetensors``) or an official file (``.pth``, ``.pth.tar``).

    Official files may hold the weights under ``model``, ``model_state_dict`` or ``state_dict`` or be them, with or
    without ``module.`` in the names; what else they hold (optimiser, epoch, numpy scalars) is dropped. No code of
    theirs runs.

    Raises:
        AvbenchError: for a file that is absent, damaged, no checkpoint, or would have to run code to be read.
    """
    file = weights_file(path)
    if not file.is_file():
        raise AvbenchError(f"expected a checkpoint, found nothing at {file}: give one of ours or an official .pth file")
    if file.suffix == ".safetensors":
        return _ours(file)
    return Weights(_state_of(_unpickled(file), file), None, {})


def checkpoint_given(path: Path) -> Path:
    """``path``, if a checkpoint can be there: a file, or a folder of ours.

    Raises:
        UsageError: if nothing is there, or a folder without weights.
    """
    if path.is_dir() and not weights_file(path).is_file():
        raise UsageError(f"expected {MODEL} in the folder {path}, found none: name the folder or file of a checkpoint")
    if not path.exists():
        raise UsageError(f"expected a checkpoint, found nothing at {path}: give one of ours or an official .pth file")
    return path


def weights_file(path: Path) -> Path:
    """The file with the weights: ``path``, or the one in it if it is a folder of ours."""
    return path / MODEL if path.is_dir() else path


def sha256_of(path: Path) -> str:
    """SHA-256 of a checkpoint's weights and, for one of ours, of its settings: both are in the file."""
    with weights_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ours(file: Path) -> Weights:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            header = opened.metadata() or {}
            state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as problem:
        raise AvbenchError(
            f"expected safetensors in {file}, which is damaged or something else ({problem}): fetch or train it again"
        ) from problem
    told = _description(header, file)
    return Weights(state, told.get("config"), {"method": told["method"], **told["meta"]} if told else {})


def _description(header: dict[str, str], file: Path) -> dict[str, Any]:
    """The header's description, which the readable copy beside the file, if there is one, must repeat."""
    copy = file.with_name(CONFIG)
    inside = _parsed(header[HEADER]) if HEADER in header else None
    beside = read_json(copy) if copy.is_file() else None
    if inside is not None and beside is not None and inside != beside:
        raise AvbenchError(
            f"{copy} says something else than the header of {file.name}, whose copy it should be: delete {CONFIG}, and "
            "change settings when loading"
        )
    told = beside if inside is None else inside
    if told is not None and not _is_description(told):
        raise AvbenchError(
            f"expected method, config and meta in the header of {file} or in {CONFIG} beside it, got something else: "
            "train it again"
        )
    return told or {}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_description(told: Any) -> bool:
    return (
        isinstance(told, dict) and "method" in told and all(isinstance(told.get(k), dict) for k in ("config", "meta"))
    )


def _unpickled(file: Path) -> Any:
    import torch

    try:
        with torch.serialization.safe_globals(_harmless()):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as problem:  # a damaged pickle raises whatever its bytes happen to mean
        wanted = re.search(r"GLOBAL (\S+)", str(problem))
        if wanted:
            raise AvbenchError(
                f"{file} was refused, since it needs {wanted[1]}, which is no weights and could run code: save its "
                "state dict alone with the code that made it"
            ) from problem
        raise AvbenchError(
            f"expected a PyTorch checkpoint in {file}, which is damaged or something else: fetch it again"
        ) from problem


def _harmless() -> list[Any]:
    """What official files hold beside tensors: the best epoch's metrics, as numpy scalars of any numpy version."""
    import numpy as np

    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, type(np.dtype(np.float64))]


def _state_of(content: Any, file: Path) -> dict[str, Tensor]:
    """The state dict in an official file, names without ``module.``."""
    found = next((content[e] for e in ENTRIES if e in content), content) if isinstance(content, Mapping) else None
    if not isinstance(found, Mapping) or not found or not all(hasattr(value, "shape") for value in found.values()):
        raise AvbenchError(
            f"expected weights by name in {file}, as a whole or under {', '.join(ENTRIES)}, got something else: give "
            "the checkpoint of a method"
        )
    return {PREFIX.sub("", str(key)): value for key, value in found.items()}
