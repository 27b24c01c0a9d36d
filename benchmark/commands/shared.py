"""What several subcommands share: options, parsing of lists and settings, progress bars."""

from __future__ import annotations

import re
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from avbench.errors import UsageError
from avbench.processes import leads
from avbench.registry import method_names

ALL = "all"


def command_parser(name: str, purpose: str, examples: str) -> ArgumentParser:
    """A parser whose values come from defaults, a file (``--config``), the environment, the command line, in turn."""
    parser = ArgumentParser(
        prog=f"avbench {name}",
        description=purpose,
        epilog=f"examples:\n{examples}",
        formatter_class=RawDescriptionHelpFormatter,
        default_env=True,
        env_prefix=f"AVBENCH_{name.upper().replace('-', '_').replace(' ', '_')}",
    )
    parser.add_argument("--config", action="config", help="YAML file with values for these options")
    return parser


def parse(parser: ArgumentParser, given: Sequence[str]) -> Namespace:
    """Parse; an unknown option or a value of the wrong type exits with code 2 and a sentence."""
    return parser.parse_args(list(given))


def names(text: str, kind: str) -> list[str]:
    """The parts of a comma-separated list, in order.

    Raises:
        UsageError: if it is empty or names something twice.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"expected at least one {kind}, got {text!r}")
    twice = [part for part in parts if parts.count(part) > 1]
    if twice:
        raise UsageError(f"the {kind} {twice[0]!r} is named twice in {text!r}: name it once")
    return parts


def methods_named(text: str, included: Callable[[str], bool]) -> list[str]:
    """The methods of a list; ``all`` stands for every one that is ``included``, but for those named beside it.

    Raises:
        UsageError: as :func:`names`.
    """
    named = names(text, "method")
    if ALL not in named:
        return named
    rest = [name for name in method_names() if name not in named and included(name)]
    place = named.index(ALL)
    return [*named[:place], *rest, *named[place + 1 :]]


def per_method(
    values: Sequence[str], methods: Sequence[str], option: str, *, implied: Sequence[str] = ()
) -> dict[str, list[str]]:
    """``VALUE`` or ``METHOD=VALUE`` items by method name; a bare value is for the only method.

    ``implied`` are methods that the run has without being named; nothing bare is for them.

    Raises:
        UsageError: for a bare value with several methods, or a method that is not in the run.
    """
    found: dict[str, list[str]] = {name: [] for name in [*methods, *implied]}
    for value in values:
        owner, _, rest = value.partition("=")
        if owner in found and rest:
            found[owner].append(rest)
        elif len(methods) == 1:
            found[methods[0]].append(value)
        else:
            raise UsageError(
                f"{option} {value!r} could be for any of {', '.join(methods)}: write {option} METHOD={value}"
            )
    return found


def settings_of(
    values: Sequence[str], methods: Sequence[str], *, implied: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """``--set KEY=VALUE`` or ``--set METHOD.KEY=VALUE`` items by method name; ``implied`` as for :func:`per_method`.

    Raises:
        UsageError: for an item without ``=``, or one that could be for several methods.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in [*methods, *implied]}
    for item in values:
        key, equals, value = item.partition("=")
        owner, dot, name = key.rpartition(".")
        if not equals:
            raise UsageError(f"expected --set KEY=VALUE or METHOD.KEY=VALUE, got {item!r}")
        if dot and owner not in found:
            raise UsageError(
                f"--set {item!r} is for {owner!r}, which this run does not have: its methods are {', '.join(found)}"
            )
        if not dot and len(methods) > 1:
            raise UsageError(f"--set {item!r} could be for any of {', '.join(methods)}: write --set METHOD.{item}")
        found[owner or methods[0]][name] = value
    return found


def optional_path(value: str | None) -> Path | None:
    """The path that an option names, None where it was left out."""
    return None if value is None else Path(value)


def picture_path(text: str, suffixes: Sequence[str] = (".png", ".jpg", ".pdf")) -> Path:
    """The file that a picture goes to.

    Raises:
        UsageError: for a suffix not in ``suffixes``, or a place below something that is no folder.
    """
    path = Path(text)
    if path.suffix not in suffixes:
        raise UsageError(f"expected --out FILE ending in {' or '.join(suffixes)}, got {text!r}")
    blocked = next((place for place in path.parents if place.exists() and not place.is_dir()), None)
    if blocked or path.is_dir():
        raise UsageError(f"--out {text!r} cannot be a file, since {blocked or path} is in its way: name another")
    return path


def folder_path(text: str, option: str = "--out") -> Path:
    """The folder that files go to, by ``option``.

    Raises:
        UsageError: for an empty text, or a place at or below something that is no folder.
    """
    if not text:
        raise UsageError(f"expected {option} DIR, got '': name a folder, . for this one")
    path = Path(text)
    blocked = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None)
    if blocked:
        raise UsageError(f"{option} {text!r} cannot be a folder, since {blocked} is a file: name another")
    return path


def check_device(text: str) -> None:
    """Refuse what is no device of ours; whether it is there is seen when it is used.

    Raises:
        UsageError: for anything but ``auto``, ``cpu``, ``cuda`` and ``cuda:N``.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise UsageError(f"expected --device auto, cpu, cuda or cuda:1 and so on, got {text!r}")


def check_least(option: str, value: int | None, least: int) -> None:
    """Refuse a number below ``least``; None, an option left out, passes.

    Raises:
        UsageError: naming the option.
    """
    if value is not None and value < least:
        raise UsageError(f"expected {option} of at least {least}, got {value}")


def log(message: str) -> None:
    """One line to the person at the terminal, of several processes by the first; results alone go to stdout."""
    if leads():
        print(message, file=sys.stderr)


@contextmanager
def bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr; where that is no terminal, one line at the start instead."""
    console = Console(stderr=True, quiet=not leads())
    if not console.is_terminal:
        log(f"{title}: {total}")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.advance(task, done)
