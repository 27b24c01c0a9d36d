"""``avbench submit``: pack results with their maps into a bundle that others can score again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.shared import command_parser, log, names, parse, per_method
from avbench.errors import UsageError
from avbench.rescoring import Choice

EXAMPLES = """\
  avbench submit runs -o bundle.zip                          everything that was predicted and scored there
  avbench submit runs --split vggss --method mine -o mine.zip --by "A. Author" --url https://example.org/paper
  avbench submit runs --method mine --training mine=TRAINED -o mine.zip       with the curves of its training
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    options = parse(_parser(), given)
    out = Path(options.out)
    if out.suffix != ".zip" or out.is_dir():
        raise UsageError(f"expected -o FILE ending in .zip, got {options.out!r}")
    trainings = _trainings(options)
    from avbench.bundles import write_bundle
    from avbench.bundling import collect

    chosen = {kind: () if options[kind] is None else tuple(names(options[kind], kind)) for kind in ("method", "split")}
    choice = Choice(methods=chosen["method"], splits=chosen["split"])
    told = {name: options[name] for name in ("by", "note", "url")}
    with TemporaryDirectory(prefix="avbench-submit-") as staging:
        found = collect([Path(place) for place in options.run], choice, trainings, Path(staging))
        is_new = write_bundle(out, told, found.entries, found.files)
    for note in found.notes:
        log(f"note: {note}")
    for entry in found.entries:
        audio, protocols = ", ".join(entry.audio), ", ".join(entry.protocols)
        print(f"{entry.title}: {audio} audio; scored under {protocols}; selection {entry.selection}")
    megabytes = out.stat().st_size / 1e6
    print(f"{out}: {len(found.entries)} entries, {len(found.files)} files, {megabytes:.1f} MB", end="")
    print("" if is_new else "; it was there already")
    print(f"check it: avbench verify {out}")
    return 0


def _parser() -> ArgumentParser:
    parser = command_parser(
        "submit", "Pack results with their maps into a bundle that others can score again, to hand in.", EXAMPLES
    )
    parser.add_argument(
        "run", nargs="+", type=str, metavar="RUN", help="a runs folder, one below its predictions/, or a record"
    )
    parser.add_argument("--out", "-o", required=True, type=str, metavar="FILE", help="the bundle, a .zip")
    which = parser.add_argument_group("which of the results; of each method go all kinds of audio that were predicted")
    which.add_argument("--method", type=str, default=None, help="names, separated by commas (default: all)")
    which.add_argument("--split", type=str, default=None, help="names, separated by commas (default: all)")
    which.add_argument(
        "--training",
        action="append",
        default=[],
        metavar="METHOD=FOLDER",
        help="the folder of a training, for its curves; its weights must be those of the results",
    )
    told = parser.add_argument_group("what is told with them")
    told.add_argument("--by", type=str, default="", metavar="NAME", help="who hands them in")
    told.add_argument("--note", type=str, default="", metavar="TEXT", help="what there is to know")
    told.add_argument("--url", type=str, default="", help="where more is told: a paper, code, weights")
    return parser


def _trainings(options: Namespace) -> dict[str, list[Path]]:
    """The folders of trainings by method."""
    methods = list(dict.fromkeys(item.partition("=")[0] for item in options.training))
    for item in options.training:
        if not item.partition("=")[2]:
            raise UsageError(f"expected --training METHOD=FOLDER, got {item!r}")
    found = per_method(options.training, methods, "--training")
    for folder in (Path(one) for folders in found.values() for one in folders):
        if not folder.is_dir():
            raise UsageError(f"expected the folder of a training at {folder}, found none: check --training")
    return {method: [Path(one) for one in folders] for method, folders in found.items()}
