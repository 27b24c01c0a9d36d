"""``avbench data list``: the data sets of the field."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from avbench.commands.shared import command_parser, log, parse
from avbench.data.official import DataSet, data_set, data_set_names, splits_of

EXAMPLES = """\
  avbench data list
  avbench data list --json
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    parser = command_parser("data list", "List the data sets: what each is, how many samples, its licence.", EXAMPLES)
    parser.add_argument("--json", action="store_true", help="print one JSON array on stdout and nothing else there")
    options = parse(parser, given)
    found = [data_set(name) for name in data_set_names()]
    if options.json:
        json.dump([_as_json(each) for each in found], sys.stdout, indent=1)
        print()
        return 0
    rows = [("data set", "samples", "licence", "what it is"), *map(_row, found)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]]))
    log("avbench data where NAME says whom to ask and how to lay a set out; fetch NAME brings its official files")
    return 0


def _row(found: DataSet) -> tuple[str, ...]:
    return found.name, found.samples, found.licence.partition(";")[0], found.title.partition(": ")[2]


def _as_json(found: DataSet) -> dict[str, object]:
    return {
        "name": found.name,
        "title": found.title,
        "samples": found.samples,
        "size": found.size,
        "licence": found.licence,
        "paper": found.paper,
        "splits": splits_of(found),
        "files": [file.place for file in found.files],
    }
