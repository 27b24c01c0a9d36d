"""``avbench data doctor``: what of a data set is in a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.doctor_report import Checkup, Survey
from avbench.commands.shared import bar, check_least, command_parser, log, optional_path, parse
from avbench.data.doctor import diagnose
from avbench.data.fitting import fits, official_splits
from avbench.data.inspecting import FileKind, problems
from avbench.data.layouts import MediaIndex, index_media, look_below
from avbench.data.leftovers import leftovers
from avbench.data.places import Place
from avbench.data.readers import xml_files
from avbench.data.splits import Split, load_split, split_names, split_summary
from avbench.data.user_sets import is_user_set, read_user_set
from avbench.errors import UsageError
from avbench.store import metadata_folder

EXAMPLES = """\
  avbench data doctor --data ROOT                        the layout, broken files, and the splits that fit
  avbench data doctor --data ROOT --split vggss          what of it is there, missing or broken
  avbench data doctor --split my.yaml --decode           every file decoded in full, as the loader does
  avbench data doctor --data ROOT --split flickr --json  all ids, as JSON on stdout
  avbench data doctor --data VIDEOS                      how many samples the videos in there would make
"""

SHOWN = 5
"""Ids of a kind that the table shows."""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0 where all is whole, 1 where anything is missing or broken."""
    options = parse(_parser(), given)
    check_least("--limit", options.limit, 0)
    check_least("--workers", options.workers, 0)
    report = _survey(options) if options.split is None else _examined(options)
    if options.json:
        json.dump(report.as_json(), sys.stdout, indent=1)
        print()
    else:
        print(report.as_text(options.limit).encode(errors="backslashreplace").decode())  # names of files are bytes
    return 0 if report.is_whole else 1


def _parser() -> ArgumentParser:
    parser = command_parser(
        "data doctor", "Say what of a data set is in a folder, what is missing, and more.", EXAMPLES
    )
    parser.add_argument("--data", type=str, default=None, help="folder of the media, in any layout, or of a pack")
    parser.add_argument(
        "--split", type=str, default=None, help="a built-in split or a set of your own (default: say which splits fit)"
    )
    parser.add_argument("--metadata", type=str, default=None, help="folder of the official files (default: the store)")
    parser.add_argument("--decode", action="store_true", help="decode every file in full; else headers and ends")
    parser.add_argument("--limit", type=int, default=SHOWN, help=f"ids of a kind to show, 0 for all (default: {SHOWN})")
    parser.add_argument("--workers", type=int, default=None, help="processes (default: as many as are worth it)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with all ids, and nothing else")
    return parser


def _examined(options: Namespace) -> Checkup:
    metadata = optional_path(options.metadata)
    split, media = _opened(options.split, optional_path(options.data), metadata)
    annotations = xml_files(metadata or metadata_folder()) if any(s.consensus for s in split.samples) else {}
    found = diagnose(
        split,
        media,
        annotation=lambda name: media.annotation(name) or annotations.get(name),
        decode=options.decode,
        workers=options.workers,
        progress=bar,
    )
    given = tuple(
        text for name in ("split", "metadata", "data") if options[name] for text in (f"--{name}", options[name])
    )
    rest = leftovers(found, media, workers=options.workers, progress=bar)
    return Checkup(media, given, split, found, rest, decoded=options.decode)


def _folder(data: Path | None) -> Path:
    if data is None:
        raise UsageError("expected the folder to look at: pass --data ROOT, or a set of your own as --split")
    return data


def _opened(name: str, data: Path | None, metadata: Path | None) -> tuple[Split, MediaIndex]:
    """The list alone, and what is in the folder."""
    if name not in split_names() and is_user_set(name):
        official = split_summary("vggss").files["boxes"].sha256
        mine = read_user_set(Path(name), data=data, taken=split_names(), official=official)
        return load_split(name, data=data), mine.media
    if split_summary(name).kind == "demo":
        from avbench.data.demo import ensure_demo

        return load_split(name, data=data), index_media(ensure_demo(name))
    return load_split(name, metadata=metadata, truth=False), _indexed(_folder(data))


def _indexed(root: Path) -> MediaIndex:
    """What is in the folder, be it nothing that could be run on."""
    try:
        return index_media(root)
    except UsageError as problem:
        media = look_below(root)
        log(str(problem))
        return media


def _survey(options: Namespace) -> Survey:
    """All that is in the folder, whatever it is for."""
    media = _indexed(_folder(optional_path(options.data)))
    shelves: list[tuple[FileKind, list[Path]]] = [
        ("picture", [Path(path) for path in sorted(media.pictures.files())]),
        ("sound", [Path(path) for path in sorted(media.sounds.files())]),
        ("video", media.videos()),
    ]
    files: list[tuple[FileKind, Place]] = [(kind, path) for kind, paths in shelves for path in paths]
    with bar("looking at files", len(files)) as step:
        found = problems(files, decode=options.decode, workers=options.workers, progress=step)
    broken = [(place, reason) for (_, place), reason in zip(files, found, strict=True) if reason is not None]
    if not files:
        return Survey(media, (), (), (), decoded=options.decode)
    with bar("looking at splits", len(official_splits())) as step:
        fitting, absent = fits(media, optional_path(options.metadata), step)
    return Survey(media, tuple(broken), tuple(fitting), tuple(absent), decoded=options.decode)
