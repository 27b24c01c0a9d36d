"""``avbench new-method``: a working method to start from, with its test."""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from avbench.commands.shared import command_parser, folder_path, parse
from avbench.errors import AvbenchError, UsageError
from avbench.registry import method_names
from avbench.store import write_atomic

EXAMPLES = """\
  avbench new-method my-method
  avbench new-method my-method -o methods_of_mine
"""

TEMPLATES = ("method.py.txt", "test_method.py.txt")


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    parser = command_parser("new-method", "Write a working, trainable method to start from, with its test.", EXAMPLES)
    parser.add_argument("name", type=str, help="of the method; dashes become underscores in the file's name")
    parser.add_argument("--out", "-o", type=str, default=".", metavar="DIR", help="where the files go (default: here)")
    options = parse(parser, given)
    stem = _stem(options.name)
    words = {"stem": stem, "name": stem.replace("_", "-"), "Name": _class_name(stem)}
    folder = folder_path(options.out)
    method, test = (folder / f"{before}{stem}.py" for before in ("", "test_"))
    _check_free(method, test)
    _write(method, test, words)
    print(f"wrote {method} and {test}; what comes next:\n")
    print("\n".join(f"  {command}" for command in _next(f"{method}:{words['Name']}", test)))
    return 0


def _write(method: Path, test: Path, words: dict[str, str]) -> None:
    """Both files or none, so that what a full disk refused can be tried again."""
    code, check = (Template(_text(template)).substitute(words).encode() for template in TEMPLATES)
    write_atomic(method, code)
    try:
        write_atomic(test, check)
    except AvbenchError:
        method.unlink()
        raise


def _next(reference: str, test: Path) -> list[str]:
    return [
        f"avbench check {reference}",
        f"pytest {test}",
        f"avbench train --method {reference} --split demo-train",
        f"avbench run --method {reference} --split demo",
    ]


def _text(template: str) -> str:
    return (files("avbench.templates") / template).read_text(encoding="utf-8")


def _stem(name: str) -> str:
    """The file's name without ``.py``.

    Raises:
        UsageError: if no method, module or variable can be called so.
    """
    stem = name.replace("-", "_")
    if not re.fullmatch(r"[A-Za-z]\w*", stem, re.ASCII) or keyword.iskeyword(stem):
        raise UsageError(
            f"expected a name that Python allows for a file and a variable, got {name!r}: begin with a letter, go on "
            "with letters, digits and underscores, and take no keyword"
        )
    if stem.replace("_", "-") in method_names():
        raise UsageError(
            f"there is a method {stem.replace('_', '-')!r} already (avbench list methods): choose another name"
        )
    return stem


def _class_name(stem: str) -> str:
    """The class for ``my_method``: ``MyMethod``.

    Raises:
        UsageError: if the files need that name for something else.
    """
    name = "".join(part[:1].upper() + part[1:] for part in stem.split("_"))
    written = "".join(_text(template) for template in TEMPLATES)
    if re.search(rf"\b(import|as|,) {name}\b", written):
        raise UsageError(
            f"the class of {stem!r} would be {name}, which its file imports from elsewhere: choose another name"
        )
    return name


def _check_free(method: Path, test: Path) -> None:
    """Refuse to overwrite, and to hide a module that others import.

    Raises:
        UsageError: naming what is in the way.
    """
    for path in (method, test):
        if path.exists():
            raise UsageError(f"expected no file {path}, found one: choose another name, or another folder with --out")
    found = importlib.util.find_spec(method.stem)
    if found and found.origin:
        raise UsageError(
            f"there is a module {method.stem!r} already ({found.origin}), which {method} would hide: choose another "
            "name"
        )
