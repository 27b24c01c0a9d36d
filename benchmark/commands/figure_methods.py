"""``avbench figure`` of the kinds that ask a method itself: they need its weights, and media."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from avbench.checkpoints import checkpoint_given
from avbench.commands.figure_options import add_media, add_out, add_samples, choice_of, outs_of, write
from avbench.commands.shared import (
    bar,
    check_device,
    check_least,
    command_parser,
    optional_path,
    parse,
    settings_of,
)
from avbench.opening import Places
from avbench.request import Settings
from avbench.runner import request_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from avbench.figures.asking import Question

WAYS = ("even", "random")


def main(kind: str, about: str, examples: str, given: Sequence[str]) -> int:
    """Draw a figure of this kind; the exit code is 0."""
    drawn = {"attention": _attention, "false-negatives": _negatives}[kind]
    parser = command_parser(f"figure {kind}", f"Draw {about}, asking the method itself.", examples)
    _add_method(parser)
    add_media(parser)
    if kind == "attention":
        add_samples(parser, WAYS)
    else:
        _add_batch(parser)
    options = parse(parser, given)
    check_device(options.device)
    outs = outs_of(options)
    write(drawn(options), outs)
    return 0


def _add_method(parser: ArgumentParser) -> None:
    add_out(parser)
    what = parser.add_argument_group("who is asked about what")
    what.add_argument("--method", required=True, type=str, help="a name, or path/to/file.py:Name")
    what.add_argument("--split", required=True, type=str, help="a name, or a YAML, CSV or folder of your own")
    what.add_argument(
        "--checkpoint",
        type=str,
        default=None,
        metavar="PATH",
        help="trained weights, ours or the authors' (default: those of the demo recipe, on the demo world)",
    )
    what.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the method, on top of those that its weights were trained with",
    )
    what.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1")


def _add_batch(parser: ArgumentParser) -> None:
    batch = parser.add_argument_group("which batch")
    batch.add_argument("--batch", type=int, default=64, metavar="N", help="samples in the batch (default: 64)")
    batch.add_argument("--seed", type=int, default=0, help="of the draw of the batch (default: 0)")
    batch.add_argument("--rows", type=int, default=6, help="samples that are shown with their partners (default: 6)")
    batch.add_argument("--columns", type=int, default=6, help="partners of each that are shown (default: 6)")


def _question(options: Namespace) -> Question:
    from avbench.figures.asking import Question

    checkpoint = checkpoint_given(Path(options.checkpoint)) if options.checkpoint else None
    overrides = settings_of(options.set, [options.method])[options.method]
    return Question(
        request=request_for(options.method, checkpoint, overrides),
        split=options.split,
        places=Places(optional_path(options.metadata), optional_path(options.data)),
        settings=Settings(device=options.device),
    )


def _attention(options: Namespace) -> Figure:
    choice = choice_of(options, WAYS)
    from avbench.figures import attention

    return attention.draw(attention.gather(_question(options), choice, bar))


def _negatives(options: Namespace) -> Figure:
    for name, least in (("batch", 2), ("seed", 0), ("rows", 1), ("columns", 1)):
        check_least(f"--{name}", options[name], least)
    from avbench.figures.negatives import BatchChoice, draw, gather

    choice = BatchChoice(options.batch, options.seed, options.rows, options.columns)
    return draw(gather(_question(options), choice, bar))
