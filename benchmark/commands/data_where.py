"""``avbench data where``: a data set on one page."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from avbench.commands.shared import command_parser, parse
from avbench.data.official import DataSet, OfficialFile, data_set, data_set_names, splits_of
from avbench.store import metadata_folder

EXAMPLES = """\
  avbench data where vggss
  avbench data where avsbench --json
"""

WIDTH, INDENT = 110, 13


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    parser = command_parser(
        "data where", "Say where a data set comes from, whom to ask, and how to lay it out.", EXAMPLES
    )
    parser.add_argument("name", type=str, help=f"one of {', '.join(data_set_names())}")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    options = parse(parser, given)
    found = data_set(options.name)
    if options.json:
        json.dump(_as_json(found), sys.stdout, indent=1)
        print()
    else:
        print("\n".join(_page(found)))
    return 0


def _as_json(found: DataSet) -> dict[str, Any]:
    values = asdict(found)
    for file, official in zip(values["files"], found.files, strict=True):
        file["sources"] = [
            {"url": source.url, "page": source.page, "pinned": source.pinned} for source in official.sources
        ]
    return {**values, "splits": splits_of(found)}


def _page(found: DataSet) -> Iterator[str]:
    yield found.title
    yield ""
    yield from _entry("what", found.about)
    for title in ("size", "paper", "licence", "media"):
        yield from _entry(title, getattr(found, title))
    for link in found.links:
        yield from _entry("", f"{link.url} ({link.what}{'' if link.verified else '; not verified'})")
    yield from _entry("splits", ", ".join(splits_of(found)) or "none yet")
    yield ""
    yield "layout, the folder ROOT being what --data names:"
    yield from (f"    {line}" for line in found.layout.rstrip().splitlines())
    yield from _listed("also recognised:", found.recognised)
    yield from _listed("good to know:", found.notes)
    yield from _official(found)


def _entry(title: str, text: str) -> Iterator[str]:
    first, *rest = wrap(text, WIDTH - INDENT, break_long_words=False, break_on_hyphens=False)
    yield f"{title:{INDENT}}{first}"
    yield from (" " * INDENT + line for line in rest)


def _listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
    for line in lines:
        first, *rest = wrap(line, WIDTH - 6, break_long_words=False, break_on_hyphens=False)
        yield f"    - {first}"
        yield from (f"      {more}" for more in rest)


def _official(found: DataSet) -> Iterator[str]:
    if not found.files:
        return
    yield ""
    yield f"official files (avbench data fetch {found.name}), kept in {metadata_folder()} or where --metadata says:"
    width = max(len(file.place) for file in found.files)
    for file in found.files:
        yield f"    {file.place:{width}}  {file.entries:>7,}  {file.what}"
        yield f"    {'':{width}}           sha256 {file.sha256[:16]}..., {_origin(file)}"
    for other in found.also:
        yield f"    and those of {other}"


def _origin(file: OfficialFile) -> str:
    first = file.sources[0]
    version = first.version[:12] if first.pinned else "newest version, not pinned"
    return f"{first.repository} ({version}), {first.path}"
