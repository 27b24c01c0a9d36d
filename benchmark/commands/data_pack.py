"""``avbench data pack``: a split as packed shards, for speed, other tools, and disks that dislike small files."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.shared import bar, check_least, command_parser, folder_path, log, optional_path, parse
from avbench.errors import UsageError

if TYPE_CHECKING:
    from avbench.data.packing import PackRequest, PackResult
    from avbench.data.splits import Split

SHOWN = 5
"""Samples left out that are named."""

EXAMPLES = """\
  avbench data pack --split vggss --metadata OFFICIAL --data ROOT --out packed/vggss --workers 8
  avbench data pack --split vggss --metadata OFFICIAL --data ROOT --out packed/native --audio-rate native
  avbench data pack --split mine.yaml --out packed/mine
  avbench data pack --split vggsound-144k --data ROOT --out packed/144k --for training --workers 16
  avbench run --method ezvsl --split vggss --metadata OFFICIAL --data packed/vggss

A pack for evaluation gives to the bit what plain folders give. One for training has loss: JPEG at shorter side 246 and
the mean of the channels in 16 bits. A run that was interrupted goes on where it was when the command is given again.
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    options = parse(_parser(), given)
    request, out = _request(options), folder_path(options.out)
    result = _packed(options, request, out)
    _show(result, out, as_json=options.json)
    return 0


def _parser() -> ArgumentParser:
    parser = command_parser("data pack", "Pack a split into uncompressed tar shards with an index.", EXAMPLES)
    what = parser.add_argument_group("what is packed")
    what.add_argument("--split", type=str, required=True, help="a built-in name, or a YAML, CSV or folder of your own")
    what.add_argument("--metadata", type=str, default=None, metavar="DIR", help="official annotation files")
    what.add_argument("--data", type=str, default=None, metavar="ROOT", help="folder of pictures and sounds")
    what.add_argument("--allow-missing", action="store_true", help="leave out what is missing or broken, and record it")
    how = parser.add_argument_group("how")
    how.add_argument("--out", type=str, required=True, metavar="PACKED", help="folder of the pack")
    how.add_argument("--for", type=str, default="evaluation", metavar="PURPOSE", help="evaluation or training")
    how.add_argument("--audio-rate", type=str, default="16000", help="Hz, or native to keep each file's own")
    how.add_argument("--audio", type=str, default="flac", help="flac or int16: how a pack for training holds sounds")
    how.add_argument("--jpeg-quality", type=int, default=95, help="of the pictures of a pack for training, 1 to 100")
    how.add_argument("--shard-size", type=int, default=512, metavar="SAMPLES", help="in each shard (default: 512)")
    how.add_argument("--workers", type=int, default=0, help="processes; 0 packs in this one")
    how.add_argument("--json", action="store_true", help="print what was packed as JSON on stdout")
    return parser


def _request(options: Namespace) -> PackRequest:
    check_least("--shard-size", options.shard_size, 1)
    check_least("--workers", options.workers, 0)
    if options.jpeg_quality not in range(1, 101):
        raise UsageError(f"expected --jpeg-quality of 1 to 100, got {options.jpeg_quality}")
    for option, value, allowed in (
        ("--for", options["for"], ("evaluation", "training")),
        ("--audio", options.audio, ("flac", "int16")),
    ):
        if value not in allowed:
            raise UsageError(f"expected {option} {' or '.join(allowed)}, got {value!r}")
    import avbench
    from avbench.data.packing import PackRequest
    from avbench.data.packing_shard import PackOptions

    made = PackOptions(options["for"], _rate(options.audio_rate), options.audio, options.jpeg_quality)
    return PackRequest(made, options.shard_size, options.workers, options.allow_missing, avbench.__version__)


def _rate(text: str) -> int | None:
    if text == "native":
        return None
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"expected --audio-rate native or a rate in Hz such as 16000, got {text!r}")


def _packed(options: Namespace, request: PackRequest, out: Path) -> PackResult:
    from avbench.data.layouts import index_media
    from avbench.data.packing import BrokenSamplesError, pack_split
    from avbench.locking import locked
    from avbench.opening import Places, open_split

    data = optional_path(options.data)
    split = open_split(options.split, Places(optional_path(options.metadata), data), bar)
    media = None if data is None else index_media(data)
    try:
        with locked(out), bar(_title(split), len(split.samples)) as advance:
            return pack_split(split, out, request=request, media=media, advance=advance)
    except BrokenSamplesError as problem:
        for name, why in problem.broken:
            log(f"{name}: {why}")
        raise


def _title(split: Split) -> str:
    return f"packing {split.name}"


def _show(result: PackResult, out: Path, *, as_json: bool) -> None:
    made = result.manifest
    for name, why in made.left_out[:SHOWN]:
        log(f"left out: {name}: {why}")
    if len(made.left_out) > SHOWN:
        log(f"left out: {len(made.left_out) - SHOWN:,} more, all of them in {out / 'pack.json'}")
    log(
        f"pack: {out}, {made.samples} of {made.split_n} samples of {made.split} for {made.purpose} in "
        f"{len(made.shards)} shards ({result.kept} of them finished before), {made.size / 1e6:.1f} MB"
    )
    if as_json:
        values: dict[str, Any] = {"pack": str(out), "kept": result.kept, "bytes": made.size, **asdict(made)}
        json.dump(values, sys.stdout, indent=1)
        print()
