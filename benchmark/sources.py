"""Which source files decide what a method answers: part of the key under which its results are found again."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from avbench.registry import MethodRef
from avbench.store import fingerprint


def source_fingerprint(ref: MethodRef) -> str:
    """SHA-256 of the method's own source: its file, and for another's method what that file imports from beside it.

    For a method in an installed package that is the whole package. What cannot be told (a module without a source
    file) is represented by its name.
    """
    if ref.source is None:
        return ref.module
    if ref.origin == "built-in":
        return fingerprint([ref.source])
    if "." in ref.module:
        package = ref.source.parents[ref.module.count(".") - 1]
        return fingerprint(sorted(package.rglob("*.py")))
    return fingerprint(sorted(_with_neighbours(ref.source)))


def _with_neighbours(file: Path) -> set[Path]:
    """``file`` and the modules and packages beside it that it imports, and so on."""
    found, ahead = {file}, [file]
    while ahead:
        for neighbour in _neighbours(ahead.pop()):
            if neighbour not in found:
                found.add(neighbour)
                ahead.append(neighbour)
    return found


def _neighbours(file: Path) -> Iterator[Path]:
    for name in _imported(file):
        module, package = file.with_name(f"{name}.py"), file.parent / name
        if module.is_file():
            yield module
        elif (package / "__init__.py").is_file():
            yield from package.rglob("*.py")


def _imported(file: Path) -> Iterator[str]:
    """First parts of the names of the modules that ``file`` imports anywhere."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from [(node.module or "").split(".")[0]] if node.module else [alias.name for alias in node.names]
