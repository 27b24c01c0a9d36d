"""``avbench neighbours``: which samples of a split resemble each other."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from avbench.commands.shared import (
    bar,
    check_device,
    check_least,
    command_parser,
    log,
    optional_path,
    parse,
    picture_path,
)
from avbench.errors import UsageError
from avbench.opening import Places, open_split
from avbench.store import write_atomic

EXAMPLES = """\
  avbench neighbours --split demo-train --encoder colours -k 100
  avbench neighbours --split demo-train --encoder spectrum -k 100 --out sounds.safetensors
  avbench neighbours --split mine.yaml --encoder resnet18 --weights resnet18-f37072fd.pth
  avbench neighbours --split mine.yaml --encoder clip.npy --modality image
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    options = parse(_parser(), given)
    check_device(options.device)
    check_least("-k", options.k, 1)
    check_least("--workers", options.workers, 0)
    if options.modality not in {None, "image", "audio"}:
        raise UsageError(f"expected --modality image or audio, got {options.modality!r}")
    out = None if options.out is None else picture_path(options.out, (".safetensors",))
    from avbench.encoders import Machine, encoder_called
    from avbench.neighbours import Search, neighbour_table
    from avbench.predicting import decoding_processes, resolve_device
    from avbench.request import Settings

    encoder = encoder_called(options.encoder, options.modality, optional_path(options.weights))
    split = open_split(options.split, Places(optional_path(options.metadata), optional_path(options.data)), bar)
    settings = Settings(device=options.device, workers=options.workers)
    machine = Machine(resolve_device(options.device), decoding_processes(settings), bar)
    path = neighbour_table(split, Search(encoder, options.k), machine)
    if out:
        write_atomic(out, path.read_bytes())
    log(f"neighbours: {out or path}")
    return 0


def _parser() -> ArgumentParser:
    parser = command_parser(
        "neighbours", "Find the samples that resemble each sample of a split most, for conceptual views.", EXAMPLES
    )
    parser.add_argument("--split", required=True, type=str, help="a name, or a YAML, CSV or folder of your own")
    parser.add_argument(
        "--encoder", required=True, type=str, help="resnet18 or colours of pictures, spectrum of sounds, or a .npy file"
    )
    parser.add_argument("--modality", type=str, default=None, help="image or audio: what a .npy file holds")
    parser.add_argument("-k", "--k", type=int, default=1000, help="neighbours of each sample")
    parser.add_argument(
        "--out", type=str, default=None, metavar="FILE", help="also write the table there (.safetensors)"
    )
    parser.add_argument(
        "--weights", type=str, default=None, metavar="FILE", help="of resnet18 (default: torchvision's cache)"
    )
    parser.add_argument(
        "--metadata", type=str, default=None, metavar="DIR", help="folder with the official annotation files"
    )
    parser.add_argument("--data", type=str, default=None, metavar="ROOT", help="folder with frames/ and audio/")
    parser.add_argument("--device", type=str, default="auto")
    parser.add_argument("--workers", type=int, default=None, help="decoding processes (default: by the machine)")
    return parser
