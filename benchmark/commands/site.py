"""``avbench site``: the leaderboard as one page that opens from disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from avbench.commands.shared import bar, command_parser, folder_path, log, optional_path, parse
from avbench.errors import UsageError

if TYPE_CHECKING:
    from avbench.data.splits import Split
    from avbench.leaderboards.entries import Entry

EXAMPLES = """\
  avbench site -o site                                the accepted records: site/index.html, to be opened from disk
  avbench site -o site --runs runs                    with your own results, in boards of their own
  avbench site -o site --gallery vggss --data ROOT --metadata DIR
  avbench site -o site --gallery none
"""

PURPOSE = (
    "Write the leaderboard as one page: boards that sort and filter, how ranks move between protocols, a page for each "
    "method, a gallery, the papers' tables, and the records to download. It needs no server and loads nothing."
)

NONE, DEFAULT = "none", "demo"


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    parser = command_parser("site", PURPOSE, EXAMPLES)
    parser.add_argument("-o", "--out", required=True, type=str, metavar="DIR", help="where index.html goes")
    parser.add_argument("--records", type=str, default=None, metavar="DIR", help="accepted records (default: our own)")
    parser.add_argument("--runs", type=str, nargs="+", default=[], metavar="DIR", help="also your own runs folders")
    parser.add_argument(
        "--gallery",
        type=str,
        default=DEFAULT,
        metavar="SPLIT",
        help="whose pictures are shown (default: demo), or none",
    )
    parser.add_argument(
        "--data", type=str, default=None, metavar="ROOT", help="media of that split: a folder, or a set's YAML file"
    )
    parser.add_argument("--metadata", type=str, default=None, metavar="DIR", help="folder with its annotation files")
    options = parse(parser, given)
    out = folder_path(options.out, "--out") / "index.html"
    entries = _entries(options)
    from avbench.leaderboards.site.page import render
    from avbench.pages.data import Site, site_data
    from avbench.pages.published import tables_for_page
    from avbench.store import write_atomic

    site = Site(tuple(entries), _pictures(options, entries), tables_for_page(entries, bar))
    text = render(site_data(site, bar)).encode()
    write_atomic(out, text)
    log(f"page: {out} ({len(text) / 1e6:.2f} MB, {len(entries)} entries)")
    return 0


def _entries(options: Namespace) -> list[Entry]:
    from avbench.leaderboards.entry_files import read_entries
    from avbench.leaderboards.local_entries import entries_of_runs

    place = optional_path(options.records)
    if place is not None and not place.is_dir():
        raise UsageError(f"expected a folder of accepted records in --records, got {place}: name one that is there")
    found = read_entries(place)
    own = entries_of_runs([Path(runs) for runs in options.runs], note=log) if options.runs else []
    if not found and not own:
        raise UsageError("expected records to show, found none: name a folder of yours with --runs")
    return [*found, *own]


def _pictures(options: Namespace, entries: Sequence[Entry]) -> Split | None:
    """The split of the gallery with its media; None where it is left out, or no entry is of it by default."""
    if options.gallery == NONE:
        return None
    shown = next((entry for entry in entries if entry.split == options.gallery), None)
    if shown is None:
        if options.gallery == DEFAULT:
            return None
        there = ", ".join(sorted({entry.split for entry in entries}))
        raise UsageError(f"no record is of the split {options.gallery}: choose --gallery from {there}, or none")
    from avbench.figures.choice import FigureChoice
    from avbench.figures.seeing import split_with_pictures

    where = FigureChoice(data=optional_path(options.data), metadata=optional_path(options.metadata))
    return split_with_pictures(shown.records[0], where, bar)
