"""``avbench figure``: the figures of papers, a kind each."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import NamedTuple

from avbench.commands.grouped import run_grouped


class Kind(NamedTuple):
    """A kind of figure: the module in avbench.commands that draws it, what it is, and an example of its options."""

    module: str
    about: str
    example: str


KINDS = {
    "grid": Kind(
        "figure_results", "samples with the maps of methods side by side", "runs --method jsa,ezvsl -o grid.pdf"
    ),
    "sizes": Kind("figure_results", "such samples by the size of the object", "runs --method jsa,ezvsl -o sizes.pdf"),
    "success": Kind(
        "figure_results", "success rate over the threshold", "runs --protocol jsa -o success.pdf,success.svg"
    ),
    "precision-recall": Kind(
        "figure_results", "precision over recall, of the extended sets", "runs --split demo-extended -o pr.pdf"
    ),
    "reliability": Kind(
        "figure_results", "how often a confidence is right", "runs --split demo-extended -o reliability.pdf"
    ),
    "bump": Kind("figure_results", "how ranks move with the protocol", "runs --split demo -o bump.pdf"),
    "retrieval": Kind(
        "figure_results", "queries and what is most similar to them", "runs --method jsa --top 5 -o retrieval.pdf"
    ),
    "attention": Kind(
        "figure_methods", "where the slots of a method look and listen", "--method jsa --split demo -o attention.pdf"
    ),
    "false-negatives": Kind(
        "figure_methods",
        "which samples of a batch a method takes for false negatives",
        "--method jsa --split demo --set reciprocal_k=10 -o negatives.pdf",
    ),
    "curves": Kind("figure_curves", "evaluations of trainings, epoch by epoch", "checkpoints/jsa -o curves.pdf"),
}
"""In the order of the help."""

PURPOSE = "Draw the figures of papers: PDF, SVG or PNG by the suffix of FILE, several at once with commas."


def main(given: Sequence[str]) -> int:
    """Draw the kind of figure that the first argument names; the exit code is 0."""
    if given and given[0] in KINDS:
        command = importlib.import_module(f"avbench.commands.{KINDS[given[0]].module}")
        return int(command.main(given[0], KINDS[given[0]].about, example(given[0]), given[1:]))
    commands = {name: (kind.module, kind.about) for name, kind in KINDS.items()}
    return run_grouped("figure", given, commands, purpose=PURPOSE, examples=_examples())


def example(kind: str) -> str:
    """A whole command line, for the help."""
    return f"  avbench figure {kind} {KINDS[kind].example}\n"


def _examples() -> str:
    lines = "".join(map(example, KINDS))
    return f"examples:\n{lines}  avbench figure KIND --help            all options of a kind\n"
