"""``avbench figure curves``: what ``avbench curves`` draws, among the other figures."""

from __future__ import annotations

from collections.abc import Sequence

from avbench.commands import curves
from avbench.commands.figure_options import add_out, outs_of
from avbench.commands.shared import command_parser, parse


def main(kind: str, about: str, examples: str, given: Sequence[str]) -> int:
    """Draw them; the exit code is 0."""
    parser = command_parser(f"figure {kind}", f"Draw {about}; as avbench curves, with the same table beside.", examples)
    parser.add_argument(
        "trainings", type=str, nargs="+", metavar="FOLDER", help="of a training that was evaluated as it went"
    )
    add_out(parser)
    parser.add_argument("--title", type=str, default=None, help="above the figure (default: what is drawn)")
    options = parse(parser, given)
    title = [] if options.title is None else ["--title", options.title]
    for out in outs_of(options):
        curves.main([*options.trainings, "--out", str(out), *title])
    return 0
