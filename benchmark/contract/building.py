"""Demands on what a method is: its class, settings, weights and front-end."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, fields
from typing import Any, get_args

import torch

from avbench.contract.asking import ContractError, some, told
from avbench.contract.noise import RATE, SIZE, build_full, build_slim
from avbench.registry import make_config
from avbench.types import Need, Window

MEMBERS = ("localize", "state_dict", "load_state_dict", "train", "eval", "to")


def registered(cls: Any) -> None:
    """The class says what it is and has what every method has."""
    if not hasattr(cls, "info") or not hasattr(cls, "config_class"):
        raise ContractError(f"expected a registered class, {cls.__name__} is not: put @register_method(...) above it")
    lacking = [name for name in MEMBERS if not callable(getattr(cls, name, None))]
    if lacking:
        raise ContractError(
            f"expected a torch.nn.Module with localize(batch), {cls.__name__} has no {', '.join(lacking)}: add it"
        )
    strange = sorted(set(cls.info.needs) - set(get_args(Need)))
    if strange:
        raise ContractError(f"expected needs out of {', '.join(get_args(Need))}, got {', '.join(strange)}: correct it")


def config(cls: Any) -> None:
    """The settings are a frozen dataclass, complete by default, the same after a trip through JSON."""
    kind = cls.config_class
    stated = getattr(kind, "__dataclass_params__", None)
    if stated is None or not stated.frozen:
        raise ContractError(
            f"expected {kind.__name__} to be a frozen dataclass, it is not: write @dataclass(frozen=True) above it"
        )
    bare = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    if bare:
        raise ContractError(f"expected a default for every setting, {', '.join(bare)} has none: give one")
    default = kind()
    try:
        written = json.dumps(asdict(default), allow_nan=False)
    except (TypeError, ValueError) as problem:
        raise ContractError(
            f"expected settings that JSON can hold, but {problem}: use numbers, texts, lists and None"
        ) from problem
    again = make_config(kind, json.loads(written))
    if again != default:
        raise ContractError(f"expected {default} to be read back from JSON, got {again}: correct the fields' types")


def full_size(cls: Any) -> None:
    """It builds with its default settings."""
    build_full(cls)


def small(cls: Any) -> None:
    """It builds small, and keeps the config that it was built with."""
    kept = getattr(build_slim(cls), "config", None)
    if not isinstance(kept, cls.config_class):
        raise ContractError(
            f"expected self.config to be the {cls.config_class.__name__} that checkpoints store, got {told(kept)}: "
            "write self.config = config in __init__"
        )


def same_weights(cls: Any) -> str | None:
    """One seed, one set of weights."""
    one, twin = (build_slim(cls, seed=7).state_dict() for _ in range(2))
    different = [name for name in one if not torch.equal(one[name], twin[name])]
    if different:
        raise ContractError(
            f"expected the same weights from the same seed, but {some(different)} differ: draw them with torch alone"
        )
    return None if one else "it has no weights"


def front_end(cls: Any) -> str | None:
    """The front-end is there for a method that hears, can be shared, and gives spectrograms."""
    method, hears = build_slim(cls), "audio" in cls.info.needs
    if not hasattr(method, "frontend") or (method.frontend is not None) != hears:
        raise ContractError(
            f"expected self.frontend to be {'a front-end' if hears else 'None'}, since needs "
            f"{'names' if hears else 'does not name'} audio, got {getattr(method, 'frontend', 'no attribute')}: "
            "correct one of the two"
        )
    if not hears:
        return "it does not hear"
    frontend, twin = method.frontend, build_slim(cls).frontend
    if not isinstance(getattr(frontend, "window", None), Window):
        raise ContractError(f"expected frontend.window to be a Window, {told(frontend)} has none: state what it hears")
    if frontend != twin or hash(frontend) != hash(twin):
        raise ContractError("expected equal front-ends in two builds, got different ones: make it a frozen dataclass")
    audio = frontend(torch.zeros(SIZE, frontend.window.samples(RATE)), RATE)
    if audio.ndim != 4 or audio.shape[:2] != (SIZE, 1) or not audio.isfinite().all():
        raise ContractError(
            f"expected a finite spectrogram [{SIZE}, 1, F, T] of {SIZE} silent waveforms, got {told(audio)}: correct "
            "the front-end"
        )
    return None
