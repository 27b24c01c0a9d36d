"""Checkpoints: ours are safetensors that carry their own settings; official files are read, never executed.

Importing this module imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from avbench.errors import AvbenchError, UsageError
from avbench.official_files import Form, read_official, readable
from avbench.registry import make_config
from avbench.store import json_bytes, read_json, write_atomic

if TYPE_CHECKING:
    from torch import Tensor

MODEL = "model.safetensors"
CONFIG = "config.json"
HEADER = "avbench"
"""Key of the safetensors header under which a checkpoint of ours describes itself, as JSON."""


class Weights(NamedTuple):
    """What a checkpoint file holds."""

    state: dict[str, Tensor]
    config: dict[str, Any] | None
    """The method's settings; None where the file does not say (official files)."""
    meta: dict[str, Any]
    """``method`` and what :func:`save_checkpoint` was told; empty for official files."""
    form: Form = Form(None, False, {})


@dataclass(frozen=True)
class Match:
    """How the tensors of a file meet those of a method, by name."""

    kept: list[str]
    recast: dict[str, str]
    """Kept names whose floating type differs from the method's -> the file's type."""
    dropped: dict[str, str]
    """Names that the method documents as not needed -> its reason."""
    missing: list[str]
    unexpected: list[str]
    reshaped: dict[str, str]
    """Names of another shape or kind -> what the file has, ``"[3]"`` or ``"[3] complex64"``."""

    @property
    def fits(self) -> bool:
        """Whether every tensor of the method is there, and nothing that is not understood."""
        return not (self.missing or self.unexpected or self.reshaped)


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
    for file, content in packed(method, name=name, meta=meta).items():
        write_atomic(folder / file, content)


def packed(method: Any, *, name: str, meta: dict[str, Any]) -> dict[str, bytes]:
    """The files of a checkpoint of ours, equal bytes for equal contents; arguments as :func:`save_checkpoint`."""
    from safetensors.torch import save

    described = {"method": name, "config": asdict(method.config), "meta": meta}
    state = {key: value.detach().cpu().contiguous() for key, value in method.state_dict().items()}
    return {MODEL: save(state, {HEADER: json.dumps(described, sort_keys=True)}), CONFIG: json_bytes(described)}


def load_checkpoint(path: Path, cls: Any, overrides: dict[str, Any]) -> Any:
    """Build the method ``cls`` and fill it from a checkpoint.

    A checkpoint of ours brings its settings and ``overrides`` change them; an official file has none, so that the
    defaults, the published values, hold, but for what its shapes give away (``settings_of``). Tensors that the method
    documents as not needed (``droppings``) are left out. Nothing is downloaded: a ``pretrained`` setting, where the
    method has one, was overwritten by the training and is dropped. A method with a setting ``weights`` reads the file
    itself.

    Args:
        path: as :func:`load_weights`.
        cls: a registered method class.
        overrides: settings by name.

    Returns: the method on the CPU, in training mode as constructed.

    Raises:
        UsageError: for an unknown setting in ``overrides`` or one of the wrong type.
        AvbenchError: as :func:`load_weights`, for a checkpoint of another method, or for tensors that do not fit.
    """
    if "weights" in {f.name for f in fields(cls.config_class)}:
        return cls(make_config(cls.config_class, {**overrides, "weights": str(path)}))
    found, build = matched(cls, load_weights(path), overrides, path)
    check(found, cls, path)
    return build()


def matched(cls: Any, weights: Weights, overrides: dict[str, Any], path: Path) -> tuple[Match, Callable[[], Any]]:
    """How ``weights`` meet the method that they and ``overrides`` ask for, and a call that builds and fills it.

    Where the weights' own shapes set the method's size, nothing of that size is allocated before the call: a file that
    lies is found out by the comparison. Such a method, one with ``settings_of``, must build on the meta device.

    Raises:
        UsageError, AvbenchError: as :func:`load_checkpoint`, but for tensors that do not fit.
    """
    import torch

    known = {f.name for f in fields(cls.config_class)}
    foreign = sorted(set(weights.config or {}) - known)
    if foreign:
        raise AvbenchError(
            f"expected a checkpoint of {cls.info.name!r}, but {path} is one of {weights.meta.get('method')!r} with the "
            f"settings {', '.join(foreign)}: name the method that it belongs to"
        )
    implied = _implied(cls, weights.state, path) if weights.config is None else {}
    config = make_config(cls.config_class, {**(weights.config or implied), **overrides})
    config = replace(config, pretrained=None) if "pretrained" in known else config
    with torch.device("meta" if implied else "cpu"):
        compared = cls(config)
    found = match(compared, weights.state)

    def build() -> Any:
        method = cls(config) if implied else compared
        method.load_state_dict({key: weights.state[key] for key in found.kept})
        return method

    return found, build


def _implied(cls: Any, state: dict[str, Tensor], path: Path) -> dict[str, Any]:
    """The settings that the shapes of ``state`` give away; none where it is of another method, whose names say so."""
    try:
        implied = dict(cls.settings_of(state)) if hasattr(cls, "settings_of") else {}
        make_config(cls.config_class, implied)
    except LookupError:
        return {}
    except UsageError as problem:
        raise AvbenchError(f"{path} has tensors of a shape that {cls.info.name} cannot have: {problem}") from problem
    return implied


def match(method: Any, state: dict[str, Tensor]) -> Match:
    """Compare ``state`` with the method's own tensors; only what it does not have may be one of its ``droppings``."""
    own = method.state_dict()
    shared = [key for key in own if key in state]
    reshaped = {key: _shape(state[key], own[key]) for key in shared if not _fits(state[key], own[key])}
    foreign = sorted(state.keys() - own.keys())
    reasons = {key: _reason(key, getattr(method, "droppings", {})) for key in foreign}
    kept = [key for key in shared if key not in reshaped]
    return Match(
        kept=kept,
        recast={key: str(state[key].dtype)[6:] for key in kept if state[key].dtype != own[key].dtype},
        dropped={key: reason for key, reason in reasons.items() if reason},
        missing=sorted(own.keys() - state.keys()),
        unexpected=[key for key in foreign if not reasons[key]],
        reshaped=reshaped,
    )


def _reason(key: str, droppings: Mapping[str, str]) -> str:
    return next((reason for pattern, reason in droppings.items() if re.fullmatch(pattern, key)), "")


def _fits(came: Tensor, wanted: Tensor) -> bool:
    return came.shape == wanted.shape and came.is_floating_point() == wanted.is_floating_point()


def _shape(came: Tensor, wanted: Tensor) -> str:
    kind = "" if came.is_floating_point() == wanted.is_floating_point() else f" {str(came.dtype)[6:]}"
    return f"{list(came.shape)}{kind}"


def fill(method: Any, state: dict[str, Tensor], path: Path) -> None:
    """Load ``state`` into ``method``: every tensor of both, but for the method's ``droppings``.

    Raises:
        AvbenchError: as :func:`check`.
    """
    found = match(method, state)
    check(found, type(method), path)
    method.load_state_dict({key: state[key] for key in found.kept})


def check(found: Match, cls: type, path: Path) -> None:
    """Refuse a file that does not fit.

    Raises:
        AvbenchError: with the numbers and the first names of what is missing, unexpected or of another shape.
    """
    if found.fits:
        return
    problems = {
        "missing": found.missing,
        "unexpected": found.unexpected,
        "of another shape": [f"{key} {shape}" for key, shape in found.reshaped.items()],
    }
    told = [f"{len(keys)} {kind} ({', '.join(map(readable, keys[:3]))})" for kind, keys in problems.items() if keys]
    both = len(found.kept) + len(found.reshaped)
    raise AvbenchError(
        f"{path} does not fit {cls.__name__} as configured, of its {both + len(found.missing)} tensors and the file's "
        f"{both + len(found.unexpected) + len(found.dropped)}: {'; '.join(told)}: give a checkpoint of this method, or "
        "the settings it was trained with"
    )


def load_weights(path: Path) -> Weights:
    """Read a checkpoint: one of ours (its folder or its ``.safetensors``) or an official file (``.pth``, ``.pth.tar``).

    Official files may hold the weights under ``model``, ``model_state_dict`` or ``state_dict`` or be them, with or
    without ``module.`` in the names; what else they hold (optimiser, epoch, numpy scalars) is set aside. No code of
    theirs runs.

    Raises:
        AvbenchError: for a file that is absent, damaged, no checkpoint, or would have to run code to be read.
    """
    file = weights_file(path)
    if not file.is_file():
        raise AvbenchError(f"expected a checkpoint, found nothing at {file}: give one of ours or an official .pth file")
    if file.suffix == ".safetensors":
        return _ours(file)
    state, form = read_official(file)
    return Weights(state, None, {}, form)


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
    """SHA-256 of a checkpoint's weights and, for one of ours, of its settings.

    Both are in the file; where its header says nothing of the settings, the ``config.json`` that does is hashed too.

    Raises:
        AvbenchError: for damaged safetensors that such a file stands beside.
    """
    file = weights_file(path)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256")
    if _is_described_beside(file):
        digest.update(file.with_name(CONFIG).read_bytes())
    return digest.hexdigest()


def _is_described_beside(file: Path) -> bool:
    if file.suffix != ".safetensors" or not file.with_name(CONFIG).is_file():
        return False
    with _opened(file, "np") as opened:
        return HEADER not in (opened.metadata() or {})


def _ours(file: Path) -> Weights:
    with _opened(file, "pt") as opened:
        header = opened.metadata() or {}
        state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (not a dict)
    told = _description(header, file)
    return Weights(state, told.get("config"), {"method": told["method"], **told["meta"]} if told else {})


@contextmanager
def _opened(file: Path, framework: str) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework=framework) as opened:
            yield opened
    except (SafetensorError, OSError) as problem:
        raise AvbenchError(
            f"expected safetensors in {file}, which is damaged or something else ({problem}): fetch or train it again"
        ) from problem


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
