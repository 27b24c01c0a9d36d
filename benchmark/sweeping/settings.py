"""The settings of a method and their defaults, read from its source without importing it where they stand plainly."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path
from typing import Any

from avbench.registry import MethodRef, load_class

Settings = dict[str, Any]


def defaults_of(ref: MethodRef) -> Settings:
    """Default by name of a setting, in the order of the method's config; ``MISSING`` where there is none.

    Raises:
        AvbenchError: for a method that has to be imported and cannot be.
    """
    found = _written(ref.source, ref.attribute) if ref.source else None
    if found is None:
        found = {f.name: f.default for f in fields(load_class(ref).config_class)}
    return found


def shortest(settings: Settings, base: Settings) -> Settings:
    """``settings`` without those that ``base`` has alike, so that equal trainings are known by equal keys.

    A whole number where ``base`` has a float becomes one.
    """
    alike = {key: float(value) if _wants_float(value, base.get(key)) else value for key, value in settings.items()}
    return {key: value for key, value in alike.items() if key not in base or not _same(value, base[key])}


def _wants_float(value: Any, default: Any) -> bool:
    return type(value) is int and type(default) is float


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _written(source: Path, attribute: str) -> Settings | None:
    """The defaults as the source writes them; None where they are not plain values of a class of its own."""
    classes = {node.name: node for node in ast.parse(source.read_bytes()).body if isinstance(node, ast.ClassDef)}
    config = classes.get(_config_name(classes.get(attribute)))
    if config is None or config.bases:
        return None
    try:
        return dict(_default(node) for node in config.body if isinstance(node, ast.AnnAssign))
    except (ValueError, TypeError):
        return None


def _config_name(cls: ast.ClassDef | None) -> str:
    calls = [node for node in cls.decorator_list if isinstance(node, ast.Call)] if cls else []
    values = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "config"]
    return next((value.id for value in values if isinstance(value, ast.Name)), "")


def _default(node: ast.AnnAssign) -> tuple[str, Any]:
    if node.value is None or not isinstance(node.target, ast.Name):
        raise ValueError("no plain default")
    return node.target.id, ast.literal_eval(node.value)
