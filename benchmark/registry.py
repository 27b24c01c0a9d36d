"""How a method is found: by file name, by path, or by entry point; described without importing it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from avbench.errors import AvbenchError, UsageError, unknown_name
from avbench.types import Need

GROUP = "avbench.methods"
"""Entry-point group of methods in other people's packages."""

MethodClass = TypeVar("MethodClass", bound=type)


@dataclass(frozen=True)
class MethodInfo:
    """What is known of a method before it is built."""

    name: str
    paper: str = ""
    official: str = ""
    needs: tuple[Need, ...] = ("image", "audio")
    control: bool = False
    """True for rows that no training produced: fixed shapes, priors, oracles."""
    trainable: bool = True
    """False where there is nothing to train, so that no checkpoint is asked for."""
    labels: str = "none"
    """What annotation its training reads, in words."""
    pretrained: str = "none"
    """Parts that start from other people's weights as published, in words."""
    summary: str = ""


@dataclass(frozen=True)
class MethodRef:
    """A method that was found but not imported."""

    name: str
    origin: str
    """``"built-in"``, a path, or the distribution that registered it."""
    module: str
    attribute: str
    source: Path | None
    """The file that defines it, hashed into the key of every result; None where it cannot be told."""


def register_method(name: str, *, config: type, **info: Any) -> Callable[[MethodClass], MethodClass]:
    """Class decorator: states a method's name, its config dataclass and what :class:`MethodInfo` holds.

    Write the keywords as literals: listings read them from the source, without importing it.
    """

    def attach(cls: MethodClass) -> MethodClass:
        cls.info = MethodInfo(name, summary=_first_line(cls.__doc__), **info)  # type: ignore[attr-defined]
        cls.config_class = config  # type: ignore[attr-defined]
        return cls

    return attach


def method_names() -> list[str]:
    """All registered names, built-in first, each kind sorted; imports no method."""
    own = sorted(_built_ins())
    return own + sorted(_plugins())


def find_method(text: str) -> MethodRef:
    """The method that ``text`` names: ``jsa``, ``path/to/file.py:Name``, or a plugin's entry-point name.

    Raises:
        UsageError: for an unknown name (with the closest ones), a missing file, or a name that two packages claim.
    """
    path, _, attribute = text.rpartition(":")
    if path.endswith(".py"):
        return _from_file(Path(path), attribute)
    if text.endswith(".py"):
        raise UsageError(f"expected a class of the method file {text}, got its name alone: write {text}:ClassName")
    own, plugins = _built_ins(), _plugins()
    twice = own.keys() & plugins.keys()
    if twice:
        first = sorted(twice)[0]
        raise UsageError(
            f"the method name {first!r} is built in, yet {plugins[first].origin} registers it too: rename it"
        )
    found = own.get(text) or plugins.get(text)
    if found is None:
        raise unknown_name("method", text, [*own, *plugins], "avbench list methods")
    return found


def describe(ref: MethodRef) -> MethodInfo:
    """What the source says of a method, read without importing it where the source is at hand.

    Raises:
        AvbenchError: for a source that is no Python, or, where it must be imported, that cannot be.
    """
    info = _static_info(ref.source, ref.attribute) if ref.source else None
    if info is None:
        info = load_class(ref).info
    return replace(info, name=ref.name)


def load_class(ref: MethodRef) -> Any:
    """Import and return the method's class.

    Raises:
        UsageError: for a class that is not in the module, or not registered.
        AvbenchError: for a module that cannot be imported.
    """
    module = _import_file(ref.source) if ref.origin == str(ref.source) and ref.source else _import(ref)
    cls = getattr(module, ref.attribute, None)
    if cls is None:
        raise UsageError(f"{ref.origin} has no class {ref.attribute!r}: name the method class after the colon")
    if not hasattr(cls, "info"):
        raise UsageError(f"{ref.attribute} in {ref.origin} is not registered: put @register_method(...) above it")
    return cls


def make_config(cls: type, overrides: dict[str, Any]) -> Any:
    """The config dataclass ``cls`` with ``overrides``, each checked against its field's type.

    Raises:
        UsageError: for an unknown key (with the closest) or a value of the wrong type.
    """
    known = [f.name for f in fields(cls)]
    for key in overrides:
        if key not in known:
            raise unknown_name(f"setting of {cls.__name__}", key, known, f"the fields are {', '.join(known)}; --help")
    if not overrides:
        return cls()
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, "config")
    try:
        parsed = parser.parse_args([f"--config.{key}={_as_text(value)}" for key, value in overrides.items()])
    except Exception as problem:
        reason = " ".join(str(problem).replace("Parser key", "").split())
        raise UsageError(f"a setting of {cls.__name__} has the wrong type: {reason}") from None
    return parser.instantiate(parsed).config


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@cache
def _built_ins() -> dict[str, MethodRef]:
    package = importlib.util.find_spec("avbench.methods")
    folders = list(package.submodule_search_locations or []) if package else []
    files = [f for folder in folders for f in Path(folder).glob("*.py") if not f.name.startswith("_")]
    if not files:
        raise AvbenchError(f"no method file was found in {folders}: the installation is broken, install avbench again")
    refs = {}
    for file in files:
        name = file.stem.replace("_", "-")
        refs[name] = MethodRef(name, "built-in", f"avbench.methods.{file.stem}", _registered_class(file), file)
    return refs


@cache
def _plugins() -> dict[str, MethodRef]:
    refs: dict[str, MethodRef] = {}
    for point in entry_points(group=GROUP):
        origin = point.dist.name if point.dist else point.value
        if point.name in refs:
            raise UsageError(
                f"two packages register a method {point.name!r}, {refs[point.name].origin} and {origin}: remove one"
            )
        refs[point.name] = MethodRef(point.name, origin, point.module, point.attr, _source_of(point.module))
    return refs


def _source_of(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _from_file(path: Path, attribute: str) -> MethodRef:
    if not path.is_file():
        raise UsageError(f"expected a method file, found nothing at {path}: give path/to/file.py:ClassName")
    info = _static_info(path, attribute)
    name = info.name if info else attribute.lower()
    return MethodRef(name, str(path), path.stem, attribute, path)


def _import(ref: MethodRef) -> ModuleType:
    try:
        return importlib.import_module(ref.module)
    except Exception as problem:  # whatever other people's code raises
        raise AvbenchError(
            f"the method {ref.name!r} of {ref.origin} cannot be imported ({_told(problem)}): install it again"
        ) from problem


def _import_file(path: Path) -> ModuleType:
    name = f"avbench_plugin_{path.stem}_{abs(hash(path.resolve())):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"expected a Python file, got {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as problem:  # whatever other people's code raises
        del sys.modules[name]
        raise AvbenchError(
            f"the method file {path} cannot be imported ({_told(problem)}): correct it, or install what it needs"
        ) from problem
    return module


def _told(problem: Exception) -> str:
    """Kind, message and place of an error in other people's code, on one line."""
    place = traceback.extract_tb(problem.__traceback__)[-1]
    message = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {message}, raised at {Path(place.filename).name}:{place.lineno}"


def _statements(path: Path) -> list[ast.stmt]:
    try:
        return ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError) as problem:
        raise AvbenchError(f"expected Python in the method file {path}, which has an error ({problem})") from problem


def _registered_class(path: Path) -> str:
    for node in _statements(path):
        if isinstance(node, ast.ClassDef) and _decoration(node):
            return node.name
    raise AvbenchError(f"{path.name} has no class under @register_method(...): a built-in method file registers one")


def _static_info(path: Path, attribute: str) -> MethodInfo | None:
    """The info that the decorator of class ``attribute`` in ``path`` will attach; None if it is not written plainly."""
    for node in _statements(path):
        if isinstance(node, ast.ClassDef) and node.name == attribute:
            call = _decoration(node)
            return _literal_info(call, ast.get_docstring(node)) if call else None
    return None


def _decoration(node: ast.ClassDef) -> ast.Call | None:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "register_method":
            return decorator
    return None


def _literal_info(call: ast.Call, doc: str | None) -> MethodInfo | None:
    try:
        keywords = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg and k.arg != "config"}
        return MethodInfo(ast.literal_eval(call.args[0]), summary=_first_line(doc), **keywords)
    except (ValueError, IndexError):
        return None


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().splitlines()[0] if (doc or "").strip() else ""
