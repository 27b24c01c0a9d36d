"""``avbench convert``: an authors' checkpoint becomes one of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from avbench.commands.shared import command_parser, folder_path, log, parse, settings_of
from avbench.official_files import readable
from avbench.registry import find_method

if TYPE_CHECKING:
    from avbench.converting import Conversion

EXAMPLES = """\
  avbench convert ezvsl best.pth -o checkpoints/ezvsl
  avbench convert jsa vggss_best.pth -o checkpoints/jsa --set decoders=false
  avbench convert lvs lvs.pth.tar -o checkpoints/lvs --all-keys
  avbench convert path/to/file.py:Name theirs.pth -o checkpoints/theirs --json
"""

SHOWN = 8
"""Names listed of each group without ``--all-keys``."""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0, or 1 for a file that does not fit, of which nothing is written."""
    options = parse(_parser(), given)
    out = folder_path(options.out)
    ref = find_method(options.method)
    overrides = settings_of(options.set, [ref.name])[ref.name]
    from avbench.checkpoints import check
    from avbench.converting import convert, write
    from avbench.registry import load_class

    conversion = convert(ref, Path(options.checkpoint), overrides)
    written = conversion.found.fits and write(conversion, out)
    if options.json:
        folder = str(out) if conversion.found.fits else None
        print(json.dumps({**conversion.report(), "folder": folder, "written": written}, indent=1, allow_nan=False))
    else:
        print(table(conversion, everything=options.all_keys))
    check(conversion.found, load_class(ref), conversion.source)
    log(f"checkpoint: {out}" if written else f"the same checkpoint is there already: {out}")
    return 0


def table(conversion: Conversion, *, everything: bool) -> str:
    """Counts per group, and the names of all but the kept: the first of each, or with ``everything`` all."""
    found, shapes = conversion.found, conversion.shapes
    groups: dict[str, Mapping[str, str]] = {
        "dropped": {key: f"{shapes[key]}  {why}" for key, why in found.dropped.items()},
        "stored in another type": {key: f"{shapes[key]}  {kind} in the file" for key, kind in found.recast.items()},
        "missing": dict.fromkeys(found.missing, ""),
        "unexpected": {key: str(shapes[key]) for key in found.unexpected},
        "of another shape": {key: f"{shape} in the file" for key, shape in found.reshaped.items()},
    }
    lines = [f"{len(shapes)} tensors in {conversion.source.name} for {conversion.ref.name}"]
    lines += _group("kept", dict.fromkeys(found.kept, "") if everything else {}, len(found.kept))
    for title, names in groups.items():
        shown = dict(list(names.items())[: None if everything else SHOWN])
        lines += _group(title, shown, len(names))
    return "\n".join(lines)


def _group(title: str, shown: Mapping[str, str], number: int) -> list[str]:
    names = {readable(key): note for key, note in shown.items()}
    width = max(map(len, names), default=0)
    lines = [f"{title:<24}{number:>6}", *(f"    {key:<{width}}  {note}".rstrip() for key, note in names.items())]
    return lines + ([f"    and {number - len(names)} more: --all-keys shows them"] if 0 < len(names) < number else [])


def _parser() -> ArgumentParser:
    parser = command_parser(
        "convert", "Turn an authors' checkpoint into one of ours: safetensors, settings and a model card.", EXAMPLES
    )
    parser.add_argument("method", type=str, help="a name, or path/to/file.py:Name")
    parser.add_argument("checkpoint", type=str, help="the authors' file, .pth or .pth.tar")
    parser.add_argument("--out", "-o", required=True, type=str, metavar="DIR", help="the folder to make")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the method")
    parser.add_argument("--all-keys", action="store_true", help="list all names, also those that were kept")
    parser.add_argument("--json", action="store_true", help="print a report as one JSON object on stdout instead")
    return parser
