"""``avbench demo-sheet``: a contact sheet of a demo split."""

from __future__ import annotations

from collections.abc import Sequence

from avbench.commands.shared import check_least, command_parser, log, parse, picture_path

EXAMPLES = """\
  avbench demo-sheet
  avbench demo-sheet --split demo-duet --out duet.png
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    parser = command_parser("demo-sheet", "Draw frames, boxes and spectrograms of a demo split.", EXAMPLES)
    parser.add_argument("--split", type=str, default="demo")
    parser.add_argument("--out", type=str, default=None, metavar="FILE", help="PNG (default: SPLIT-sheet.png)")
    parser.add_argument("--samples", type=int, default=24)
    options = parse(parser, given)
    check_least("--samples", options.samples, 1)
    out = picture_path(options.out or f"{options.split}-sheet.png", (".png",))
    from avbench.data.demo_sheet import contact_sheet

    contact_sheet(options.split, out, n=options.samples)
    log(f"contact sheet: {out}")
    return 0
