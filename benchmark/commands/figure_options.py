"""What the kinds of ``avbench figure`` share: options of samples, of media, of files; and the writing of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.shared import check_least, log, names, optional_path, picture_path
from avbench.errors import UsageError
from avbench.figures.choice import FigureChoice, Way

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".pdf", ".svg", ".png")
"""What a figure can be written as."""


def add_out(parser: ArgumentParser) -> None:
    """Where the figure goes."""
    parser.add_argument(
        "--out",
        "-o",
        required=True,
        type=str,
        metavar="FILE",
        help="ending in .pdf, .svg or .png; several, separated by commas",
    )


def outs_of(options: Namespace) -> list[Path]:
    """The files that ``--out`` names.

    Raises:
        UsageError: for another suffix, or a place where no file can be.
    """
    return [picture_path(text, SUFFIXES) for text in names(options.out, "file")]


def add_samples(parser: ArgumentParser, ways: Sequence[str]) -> None:
    """Which samples are shown."""
    which = parser.add_argument_group("which samples")
    which.add_argument(
        "--samples",
        type=str,
        default="even",
        help=f"ids, separated by commas, or a way to choose them: {', '.join(ways)} (default: even)",
    )
    which.add_argument("--count", type=int, default=None, help="how many are chosen (default: a figure's usual number)")
    which.add_argument("--seed", type=int, default=None, help="of a random choice (default: 0)")


def add_media(parser: ArgumentParser, of_sets: str = "") -> None:
    """Where annotation files and media stand."""
    where = parser.add_argument_group("where the data stand")
    where.add_argument("--metadata", type=str, default=None, metavar="DIR", help="folder of official annotation files")
    where.add_argument(
        "--data", type=str, default=None, metavar="ROOT", help=f"folder with frames/ and audio/{of_sets}"
    )


def samples_of(options: Namespace, ways: Sequence[str]) -> dict[str, Any]:
    """What of a :class:`FigureChoice` the options of :func:`add_samples` and :func:`add_media` say.

    Raises:
        UsageError: for options that contradict each other.
    """
    text = options.samples
    if options.seed is not None and text != "random":
        raise UsageError(f"--seed is for samples that are chosen at random, and these are {text}: leave it out")
    if options.count is not None and text not in get_args(Way):
        raise UsageError("--count is for samples that are chosen, and --samples names these: leave one of them out")
    if text in get_args(Way) and text not in ways:
        raise UsageError(f"expected --samples {', '.join(ways)} or ids for this figure, got {text!r}")
    check_least("--count", options.count, 1)
    check_least("--seed", options.seed, 0)
    return {
        "samples": cast("Way", text) if text in ways else tuple(names(text, "sample")),
        "count": options.count,
        "seed": options.seed or 0,
        "metadata": optional_path(options.metadata),
        "data": optional_path(options.data),
    }


def choice_of(options: Namespace, ways: Sequence[str]) -> FigureChoice:
    """The samples of a figure that is drawn from a method itself."""
    return FigureChoice(**samples_of(options, ways))


def write(figure: Figure, outs: Sequence[Path]) -> None:
    """Write a figure into all its files, and say so."""
    from avbench.figures.style import save

    for out in outs:
        save(figure, out)
        log(f"figure: {out}")
