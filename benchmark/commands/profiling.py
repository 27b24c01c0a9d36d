"""``avbench profile``: how fast a part of the suite is here, beside what it replaces."""

from __future__ import annotations

from collections.abc import Sequence

from avbench.commands.grouped import run_grouped

COMMANDS = {
    "score": ("profile_score", "scoring, beside the official evaluators' steps"),
    "data": ("profile_data", "loading samples, beside the official loaders' steps"),
    "evaluation": ("profile_evaluation", "a whole evaluation, beside the official loop"),
    "train": ("profile_train", "training, stage by stage, beside the official steps"),
}
"""Subcommand -> module in avbench.commands, and what it is for."""

PURPOSE = "Time a part of the suite beside what it replaces, in one run."

EXAMPLES = """\
examples:
  avbench profile score
  avbench profile data
  avbench profile evaluation --method ezvsl,slavc
  avbench profile train --method ezvsl
  avbench profile COMMAND --help         all options of a command, with examples
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand that the first argument names."""
    return run_grouped("profile", given, COMMANDS, purpose=PURPOSE, examples=EXAMPLES)
