"""``avbench train``: train a method by a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from avbench.checkpoints import CONFIG
from avbench.commands.shared import (
    bar,
    check_device,
    check_least,
    command_parser,
    folder_path,
    log,
    optional_path,
    parse,
    settings_of,
)
from avbench.errors import UsageError
from avbench.opening import Places, open_split
from avbench.recipe import Recipe, load_recipe
from avbench.registry import MethodRef, describe, find_method
from avbench.trained import checkpoint_folder, demo_recipe

if TYPE_CHECKING:
    from avbench.training import Training

EXAMPLES = """\
  avbench train --method ezvsl --split demo-train
  avbench train --method ezvsl --split demo-train --recipe demo --resume
  avbench train --method jsa --split mine.yaml --recipe vggsound-144k --out checkpoints/jsa --set width=0.5
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    options = parse(_parser(), given)
    check_device(options.device)
    for name in ("epochs", "seed", "workers"):
        check_least(f"--{name}", options[name], 0)
    ref = find_method(options.method)
    info = describe(ref)
    if not info.trainable:
        raise UsageError(f"{ref.name} has nothing to train: run it as it is")
    places = Places(optional_path(options.metadata), optional_path(options.data))
    split = open_split(options.split, places, bar)
    overrides = settings_of(options.set, [ref.name])[ref.name]
    if info.control:
        _refuse_options(ref, options)
    recipe = None if info.control else _recipe(ref, options)
    neighbours = _neighbours(options.neighbours)
    default = checkpoint_folder(ref, recipe, split, overrides, neighbours=neighbours)
    out = default if options.out is None else folder_path(options.out)
    from avbench.predicting import decoding_processes, resolve_device
    from avbench.request import Settings
    from avbench.training import Training, fit_prior

    if recipe is None:
        log(f"checkpoint: {fit_prior(ref, split, out)}")
        return 0
    settings = Settings(device=options.device, workers=options.workers)
    device, workers = resolve_device(options.device), decoding_processes(settings)
    _train(Training(ref, recipe, split, out, overrides, device, workers, neighbours), resume=options.resume)
    return 0


def _train(training: Training, *, resume: bool) -> None:
    from avbench.training import broken_samples, train

    out = training.out
    if (out / CONFIG).exists():
        log(f"trained already: {train(training)}")
        return
    train(training, resume=resume, progress=bar)
    log(f"checkpoint: {out}")
    if broken := broken_samples(out):
        n = len(training.split.samples)
        log(f"{len(broken)} of {n} samples could not be decoded and were left out: {out / 'log.jsonl'} names them")
    if training.recipe.epochs:
        log(f"curve: {out / 'curve.png'}")


def _parser() -> ArgumentParser:
    parser = command_parser(
        "train", "Train a method by a recipe; every epoch ends in a state to resume from.", EXAMPLES
    )
    parser.add_argument("--method", required=True, type=str, help="a name, or path/to/file.py:Name")
    parser.add_argument("--split", required=True, type=str, help="a name, or a YAML, CSV or folder of your own")
    parser.add_argument("--recipe", type=str, default=None, help="demo (the default), vggsound-10k, ..., or a file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the method")
    parser.add_argument("--epochs", type=int, default=None, help="instead of the recipe's; 0 keeps the initial weights")
    parser.add_argument("--seed", type=int, default=None, help="instead of the recipe's")
    parser.add_argument(
        "--out", type=str, default=None, metavar="DIR", help="where the checkpoint goes (default: the store)"
    )
    parser.add_argument(
        "--neighbours", action="append", default=[], metavar="MODALITY=SOURCE",
        help="image=... and audio=...: an encoder or a table of avbench neighbours, instead of the recipe's",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    parser.add_argument(
        "--metadata", type=str, default=None, metavar="DIR", help="folder with the official annotation files"
    )
    parser.add_argument("--data", type=str, default=None, metavar="ROOT", help="folder with frames/ and audio/")
    parser.add_argument("--device", type=str, default="auto")
    parser.add_argument("--workers", type=int, default=None, help="decoding processes (default: by the machine)")
    return parser


def _neighbours(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in given:
        modality, _, source = item.partition("=")
        if modality not in {"image", "audio"} or not source or modality in found:
            raise UsageError(f"expected --neighbours image=SOURCE and audio=SOURCE, each once, got {item!r}")
        found[modality] = source
    return found


def _refuse_options(ref: MethodRef, options: Namespace) -> None:
    given = [name for name in ("recipe", "epochs", "seed", "neighbours", "set") if options[name] not in (None, [])]
    if given:
        raise UsageError(
            f"{ref.name} is fitted to annotations, without a recipe, epochs, chance or settings: leave --{given[0]} out"
        )


def _recipe(ref: MethodRef, options: Namespace) -> Recipe:
    name = "demo" if options.recipe is None else options.recipe
    recipe = demo_recipe(ref.name) if name == "demo" else load_recipe(ref.name, name)
    changes = {key: value for key, value in (("epochs", options.epochs), ("seed", options.seed)) if value is not None}
    return replace(recipe, **changes)
