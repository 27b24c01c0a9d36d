"""``avbench data fetch``: official annotation files, verified by hash."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from avbench.commands.shared import bar, command_parser, log, optional_path, parse
from avbench.data.fetching import Fetched, Web, fetch, origin_of
from avbench.data.official import data_set_names, files_of
from avbench.errors import UsageError
from avbench.store import metadata_folder

EXAMPLES = """\
  avbench data fetch vggss
  avbench data fetch all --dry-run
  avbench data fetch all --from DOWNLOADS         files found by hash, under any name, in any folder of it
  avbench data fetch all --from https://mirror.example.org/metadata
  avbench data fetch avsbench --to METADATA       then --metadata METADATA with the other commands
"""

PURPOSE = (
    "Fetch official annotation files, verified by hash, from the public repositories or from where --from says. "
    "Media (pictures, sounds, videos) are never fetched: avbench data where NAME says whom to ask for them."
)


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0, or 1 if a file could not be had."""
    parser = command_parser("data fetch", PURPOSE, EXAMPLES)
    parser.add_argument("name", type=str, help=f"all, or one of {', '.join(data_set_names())}")
    parser.add_argument("--from", type=str, default=None, metavar="DIR|URL", help="a folder, or where a mirror begins")
    parser.add_argument("--to", type=str, default=None, metavar="DIR", help="folder (default: the store's)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--timeout", type=float, default=20.0, metavar="SECONDS", help="that a server may be silent")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    options = parse(parser, given)
    folder = _folder(options.to)
    found = _fetched(options, folder)
    if options.json:
        json.dump({"to": str(folder), "files": [_as_json(each) for each in found]}, sys.stdout, indent=1)
        print()
    _tell(found, folder, options)
    return 1 if any(each.failed for each in found) else 0


def _folder(text: str | None) -> Path:
    folder = optional_path(text) or metadata_folder()
    blocked = next((place for place in (folder, *folder.parents) if place.exists() and not place.is_dir()), None)
    if blocked or text == "":
        raise UsageError(f"expected --to with a folder, got {text!r}: {blocked or 'nothing'} is no folder")
    return folder


def _fetched(options: Namespace, folder: Path) -> list[Fetched]:
    if options.timeout <= 0:
        raise UsageError(f"expected --timeout above 0 seconds, got {options.timeout}")
    files = files_of(options.name)
    origin = origin_of(options["from"], Web(timeout=options.timeout))
    found = []
    with bar(f"official files of {options.name}", len(files)) as progress:
        for file in files:
            found.append(fetch(file, folder, origin, dry_run=options.dry_run))
            progress(1)
    return found


def _tell(found: Sequence[Fetched], folder: Path, options: Namespace) -> None:
    if not found:
        log(f"{options.name} has no official files: avbench data where {options.name}")
        return
    for each in found:
        if each.state not in {"there", "failed"}:
            log(f"  {each.state}: {each.path} from {each.origin}{_instead(each)}")
    for each in found:
        if each.failed:
            log(f"  failed: {each.file.place}: {'; '.join(each.problems)}")
    counts = ", ".join(f"{n} {state}" for state, n in Counter(each.state for each in found).items())
    log(f"{len(found)} official files in {folder}: {counts}")
    _by_hand([each for each in found if each.failed], options.name, to=options.to)


def _instead(each: Fetched) -> str:
    told = "; the file that stood there was another one" if each.state in {"replaced", "to replace"} else ""
    return told + (f" (before that: {'; '.join(each.problems)})" if each.problems else "")


def _by_hand(failed: Sequence[Fetched], name: str, *, to: str | None) -> None:
    if not failed:
        log(f"media are not fetched: avbench data where {name if name != 'all' else 'NAME'} says whom to ask")
        return
    log("to get the others by hand, save these pages' raw files into a folder DIR, under any name:")
    for each in failed:
        log(f"  {each.file.sources[0].page}")
    there = "" if to is None else f" --to {to}"
    log(f"and then: avbench data fetch {name} --from DIR{there}")


def _as_json(each: Fetched) -> dict[str, object]:
    return {
        "file": each.file.place,
        "state": each.state,
        "sha256": each.file.sha256,
        "path": str(each.path),
        "origin": each.origin,
        "problems": list(each.problems),
    }
