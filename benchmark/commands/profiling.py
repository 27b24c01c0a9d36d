"""``avbench profile``: how fast a part of the suite is here, beside what it replaces."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

from avbench.errors import UsageError

COMMANDS = {
    "score": ("profile_score", "scoring, beside the official evaluators' steps"),
    "data": ("profile_data", "loading samples, beside the official loaders' steps"),
    "evaluation": ("profile_evaluation", "a whole evaluation, beside the official loop"),
}
"""Subcommand -> module in avbench.commands, and what it is for."""

EXAMPLES = """\
examples:
  avbench profile score
  avbench profile data
  avbench profile evaluation --method ezvsl,slavc
  avbench profile COMMAND --help         all options of a command, with examples
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand that the first argument names."""
    if not given or given[0].startswith("-"):
        return _overview(given)
    if given[0] not in COMMANDS:
        *others, last = COMMANDS
        raise UsageError(
            f"expected avbench profile {', '.join(others)} or {last}, got {given[0]!r}: these are what can be profiled"
        )
    command = importlib.import_module(f"avbench.commands.{COMMANDS[given[0]][0]}")
    return int(command.main(list(given[1:])))


def _overview(given: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="avbench profile",
        description="Time a part of the suite beside what it replaces, in one run.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, (_, purpose) in COMMANDS.items():
        commands.add_parser(name, help=purpose, add_help=False)
    parser.parse_args(list(given))
    parser.print_help()
    return 0
