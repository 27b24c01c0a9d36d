"""``avbench figure`` of the kinds that are drawn from stored results."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.figure_options import add_media, add_out, add_samples, outs_of, samples_of, write
from avbench.commands.shared import bar, check_least, command_parser, names, parse
from avbench.errors import unknown_name
from avbench.figures.choice import FigureChoice
from avbench.records import SELECTIONS, Selection


class Stored(NamedTuple):
    """A kind: its module in avbench.figures, how its samples can be chosen, under which protocol it is by default."""

    module: str
    ways: tuple[str, ...] = ()
    protocol: str = "common"


KINDS = {
    "grid": Stored("grid", ("even", "random", "differ")),
    "sizes": Stored("sizes", ("even", "random", "differ")),
    "success": Stored("success"),
    "precision-recall": Stored("detection"),
    "reliability": Stored("reliability"),
    "bump": Stored("bump", protocol="all"),
    "retrieval": Stored("retrieval", ("even", "random")),
}
DIRECTIONS = ("sound-to-image", "image-to-sound")


def main(kind: str, about: str, examples: str, given: Sequence[str]) -> int:
    """Draw a figure of this kind; the exit code is 0."""
    options = parse(_parser(kind, about, examples), given)
    outs, choice = outs_of(options), _choice(kind, options)
    further = _retrieval(options) if kind == "retrieval" else {}
    figures = importlib.import_module(f"avbench.figures.{KINDS[kind].module}")
    data = figures.gather([Path(place) for place in options.runs], choice, bar, **further)
    write(figures.draw(data), outs)
    return 0


def _parser(kind: str, about: str, examples: str) -> ArgumentParser:
    parser = command_parser(f"figure {kind}", f"Draw {about}, from stored results.", examples)
    parser.add_argument(
        "runs", nargs="+", type=str, metavar="RUN", help="a runs folder, one below its predictions/, or a record"
    )
    add_out(parser)
    which = parser.add_argument_group("which of the results")
    which.add_argument("--method", type=str, default=None, help="names, in the figure's order (default: all)")
    which.add_argument("--split", type=str, default=None, help="one name (default: the only one that is there)")
    which.add_argument("--selection", type=str, default=None, help="of checkpoints (default: the only one there)")
    if kind == "retrieval":
        _add_retrieval(parser)
    else:
        several = ", or several, or all" if KINDS[kind].protocol == "all" else ""
        which.add_argument(
            "--protocol",
            type=str,
            default=KINDS[kind].protocol,
            help=f"a name{several} (default: {KINDS[kind].protocol})",
        )
    if KINDS[kind].ways:
        add_samples(parser, KINDS[kind].ways)
        add_media(parser, ", or the YAML file of a set of your own")
    return parser


def _add_retrieval(parser: ArgumentParser) -> None:
    shown = parser.add_argument_group("what is shown of them")
    shown.add_argument("--top", type=int, default=5, help="answers of each query (default: 5)")
    shown.add_argument(
        "--direction", type=str, default=",".join(DIRECTIONS), help=f"{' or '.join(DIRECTIONS)} (default: both)"
    )


def _retrieval(options: Namespace) -> dict[str, Any]:
    check_least("--top", options.top, 1)
    directions = names(options.direction, "direction")
    for direction in directions:
        if direction not in DIRECTIONS:
            raise unknown_name("direction", direction, DIRECTIONS, "avbench figure retrieval --help")
    return {"top": options.top, "directions": directions}


def _choice(kind: str, options: Namespace) -> FigureChoice:
    if options.selection is not None and options.selection not in SELECTIONS:
        raise unknown_name("selection", options.selection, SELECTIONS, f"the list {', '.join(SELECTIONS)}")
    shown = samples_of(options, KINDS[kind].ways) if KINDS[kind].ways else {}
    return FigureChoice(
        methods=_named(options.method, "method"),
        splits=_named(options.split, "split"),
        protocols=tuple(names(options.get("protocol", "common"), "protocol")),
        selection=cast("Selection | None", options.selection),
        **shown,
    )


def _named(text: str | None, kind: str) -> tuple[str, ...]:
    return () if text is None else tuple(names(text, kind))
