"""``avbench data``: what concerns the data sets themselves, one command each."""

from __future__ import annotations

from collections.abc import Sequence

from avbench.commands.grouped import run_grouped

COMMANDS = {
    "list": ("data_list", "list the data sets: what each is, how many samples, its licence"),
    "where": ("data_where", "say where a data set comes from, whom to ask, and how to lay it out"),
    "doctor": ("data_doctor", "say what of a data set is in a folder, what is missing, what is broken"),
    "fetch": ("data_fetch", "fetch official annotation files, verified by hash"),
    "prepare": ("data_prepare", "make frames and sounds from videos"),
    "pack": ("data_pack", "pack a split into shards"),
    "check": ("data_check", "check files, duplicates, silence, and leakage between training and test lists"),
}
"""Subcommand -> module in avbench.commands, and what it is for."""

PURPOSE = "Find, fetch, prepare, pack and check the data sets."

EXAMPLES = """\
examples:
  avbench data list
  avbench data where vggss
  avbench data fetch vggss
  avbench data prepare --src VIDEOS --dst ROOT
  avbench data doctor --data ROOT --split vggss
  avbench data pack --split vggss --data ROOT --out PACKED
  avbench data check --split vggss --data ROOT
  avbench data COMMAND --help            all options of a command, with examples
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand that the first argument names."""
    return run_grouped("data", given, COMMANDS, purpose=PURPOSE, examples=EXAMPLES)
