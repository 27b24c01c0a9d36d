"""Commands of two words, such as ``avbench data list``."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence

from avbench.errors import unknown_name


def run_grouped(
    group: str, given: Sequence[str], commands: Mapping[str, tuple[str, str]], *, purpose: str, examples: str
) -> int:
    """Run the subcommand of ``avbench GROUP`` that the first argument names; without one show what there is.

    Args:
        group: the first word.
        given: the arguments behind it.
        commands: subcommand -> module in avbench.commands, and what it is for.
        purpose: of the group, for its help.
        examples: for its help.

    Raises:
        UsageError: for an unknown subcommand, with the closest ones.
    """
    if not given or given[0].startswith("-"):
        return _overview(group, given, commands, purpose=purpose, examples=examples)
    if given[0] not in commands:
        raise unknown_name(f"command of avbench {group}", given[0], commands, f"avbench {group} --help")
    command = importlib.import_module(f"avbench.commands.{commands[given[0]][0]}")
    return int(command.main(list(given[1:])))


def _overview(
    group: str, given: Sequence[str], commands: Mapping[str, tuple[str, str]], *, purpose: str, examples: str
) -> int:
    parser = argparse.ArgumentParser(
        prog=f"avbench {group}",
        description=purpose,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = parser.add_subparsers(metavar="COMMAND")
    for name, (_, about) in commands.items():
        known.add_parser(name, help=about, add_help=False)
    parser.parse_args(list(given))
    parser.print_help()
    return 0
