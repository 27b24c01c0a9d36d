"""``avbench data prepare``: make pictures and sounds from videos."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from avbench.commands.shared import bar, check_least, command_parser, folder_path, log, optional_path, parse
from avbench.data.splits import load_split
from avbench.errors import UsageError
from avbench.locking import locked

if TYPE_CHECKING:
    from avbench.data.preparation import Report

SHOWN = 5
"""Missing names that are printed."""

EXAMPLES = """\
  avbench data prepare --src VIDEOS --dst ROOT
  avbench data prepare --src VIDEOS --dst ROOT --split vggss --metadata DIR
  avbench data prepare --src VIDEOS --dst ROOT --at 3.5 --rate 44100 --image png --workers 4
  avbench data prepare --src VIDEOS --dst ROOT --json > report.json
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 1 where a video is broken or refused, or a sample has none."""
    options = parse(_parser(), given)
    check_least("--workers", options.workers, 0)
    check_least("--rate", options.rate, 1)
    at, root = _moment(options.at), folder_path(options.dst, "--dst")
    if options.image not in {"jpg", "png"}:
        raise UsageError(f"expected --image jpg or png, got {options.image!r}")
    wanted = _wanted(options.split, optional_path(options.metadata))
    from avbench.data.preparation import prepare_videos
    from avbench.data.preparation_clip import Making

    workers = len(os.sched_getaffinity(0)) if options.workers is None else options.workers
    with locked(root):
        report = prepare_videos(
            Path(options.src),
            root,
            Making(at, options.rate, options.image),
            wanted=wanted,
            workers=workers,
            progress=bar,
        )
    _show(report, as_json=options.json)
    return 0 if report.complete else 1


def _parser() -> ArgumentParser:
    parser = command_parser(
        "data prepare",
        "Make ROOT/frames/<id>.jpg and ROOT/audio/<id>.wav from videos, by time; the same command goes on where it was "
        "interrupted, and does nothing where all is done. ROOT/manifest.jsonl says what was made from what.",
        EXAMPLES,
    )
    parser.add_argument("--src", required=True, type=str, metavar="VIDEOS", help="folder of videos, with all below it")
    parser.add_argument("--dst", required=True, type=str, metavar="ROOT", help="folder that frames/ and audio/ go to")
    parser.add_argument("--split", type=str, default=None, help="only the samples of this split (default: every video)")
    parser.add_argument(
        "--metadata", type=str, default=None, metavar="DIR", help="folder with the split's official annotation files"
    )
    parser.add_argument(
        "--at", type=str, default="middle", metavar="middle|SECONDS", help="which frame (default: middle)"
    )
    parser.add_argument("--rate", type=int, default=16000, help="of the sounds in Hz (default: 16000)")
    parser.add_argument("--image", type=str, default="jpg", help="jpg (quality 95, 4:4:4) or png (default: jpg)")
    parser.add_argument("--workers", type=int, default=None, help="processes (default: by the machine; 0: this one)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON on stdout and nothing else there")
    return parser


def _moment(text: str) -> float | None:
    if text == "middle":
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"expected --at middle or a time in seconds such as 3.5, got {text!r}")
    return seconds


def _wanted(split: str | None, metadata: Path | None) -> set[str] | None:
    """The names of all pictures and sounds of a split."""
    if split is None:
        return None
    names = [sample.names for sample in load_split(split, metadata=metadata, truth=False).samples]
    return {name for some in names for name in (some.image, some.audio, some.mixed) if name}


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        json.dump(asdict(report), sys.stdout, indent=1)
        print()
        return
    if report.missing:
        more = f" and {len(report.missing) - SHOWN:,} more (--json has all)" if len(report.missing) > SHOWN else ""
        print(f"missing: {', '.join(report.missing[:SHOWN])}{more}")
    for name, notes in report.made.items():
        if notes:
            print(f"note: {name}: {', '.join(notes)}")
    for title, reasons in (("broken", report.broken), ("refused", report.refused)):
        for video, reason in reasons.items():
            print(f"{title}: {video}: {reason}")
    counts = (len(part) for part in (report.made, report.kept, report.broken, report.refused, report.missing))
    print("{} made, {} kept, {} broken, {} refused, {} missing, {} not wanted".format(*counts, report.unwanted))
    if report.broken:
        log("a broken video is tried again when it, or the decoder, has changed")
