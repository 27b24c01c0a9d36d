"""``avbench curves``: evaluations of trainings, epoch by epoch, as a picture and a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from avbench.commands.shared import command_parser, log, parse, picture_path

EXAMPLES = """\
  avbench curves checkpoints/jsa --out jsa.png                        the picture, and jsa.csv with its figures
  avbench curves checkpoints/jsa checkpoints/ezvsl --out both.pdf     several trainings on the same lists
  avbench curves checkpoints/jsa --out jsa.csv                        the table alone
"""

PURPOSE = (
    "Draw the evaluations of trainings, epoch by epoch: a panel per metric, a line per list, marked where the last "
    "checkpoint, the best on validation and the best on test (which is ranked with no other) stand. The figures go "
    "into a CSV of the same name."
)

SUFFIXES = (".png", ".svg", ".pdf", ".csv")


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    parser = command_parser("curves", PURPOSE, EXAMPLES)
    parser.add_argument(
        "trainings", type=str, nargs="+", metavar="FOLDER", help="of a training that was evaluated as it went"
    )
    parser.add_argument("--out", required=True, type=str, metavar="FILE", help="ending in .png, .svg, .pdf or .csv")
    parser.add_argument("--title", type=str, default=None, help="above the picture (default: what is drawn)")
    options = parse(parser, given)
    out = picture_path(options.out, SUFFIXES)
    table = out.with_suffix(".csv")
    from avbench.training_curves import draw_curves, read_curves, require_alike, write_table

    named = _names(options.trainings)
    trainings = [read_curves(place, name) for place, name in named.items()]
    require_alike(trainings)
    if out != table:
        default = trainings[0].name if len(trainings) == 1 else f"{len(trainings)} trainings"
        draw_curves(trainings, out, title=default if options.title is None else options.title)
        log(f"curves: {out}")
    write_table(trainings, table)
    log(f"figures: {table}")
    return 0


def _names(places: Sequence[str]) -> dict[Path, str]:
    """What each training is called: its folder's name, or as much of the path as it takes to tell them apart."""
    paths = {text: Path(text) for text in dict.fromkeys(places)}
    short = {text: (path if path.is_dir() else path.parent).resolve().name for text, path in paths.items()}
    counts = Counter(short.values())
    return {path: short[text] if counts[short[text]] == 1 else text for text, path in paths.items()}
