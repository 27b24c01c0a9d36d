"""``avbench train``: train a method by a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from avbench.checkpoints import CONFIG
from avbench.commands.shared import (
    bar,
    check_device,
    check_least,
    command_parser,
    folder_path,
    log,
    names,
    optional_path,
    parse,
    settings_of,
)
from avbench.data.splits import Split
from avbench.errors import UsageError
from avbench.opening import Places, open_split
from avbench.processes import leads
from avbench.recipe import Recipe, changed, load_recipe
from avbench.registry import MethodRef, describe, find_method
from avbench.store import read_json
from avbench.tracking import check_trackers
from avbench.trained import checkpoint_folder, demo_recipe

if TYPE_CHECKING:
    from avbench.monitoring import Monitor
    from avbench.training import Training

EXAMPLES = """\
  avbench train --method ezvsl --split demo-train
  avbench train --method ezvsl --split demo-train --recipe demo --resume
  avbench train --method jsa --split mine.yaml --recipe vggsound-144k --out checkpoints/jsa --set width=0.5
  avbench train --method ezvsl --split demo-train --validate demo-val --oracle demo,demo-extended
  torchrun --nproc-per-node 8 -m avbench train --method jsa --recipe vggsound-144k --split vggsound-144k --data ROOT
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    options = parse(_parser(), given)
    _check(options)
    ref = find_method(options.method)
    info = describe(ref)
    if not info.trainable:
        raise UsageError(f"{ref.name} has nothing to train: run it as it is")
    places = Places(optional_path(options.metadata), optional_path(options.data))
    split = open_split(options.split, places, bar)
    overrides = settings_of(options.set, [ref.name])[ref.name]
    if info.control:
        _refuse_options(ref, options)
        from avbench.training import fit_prior

        log(f"checkpoint: {fit_prior(ref, split, _out(options, checkpoint_folder(ref, None, split, overrides)))}")
        return 0
    _train(_training(ref, split, overrides, places, options), options)
    return 0


def _check(options: Namespace) -> None:
    """Refuse values that no training could have, before anything is read."""
    check_device(options.device)
    for name in ("epochs", "seed", "workers"):
        check_least(f"--{name}", options[name], 0)
    if options.every is not None and options.validate is None and options.oracle is None:
        raise UsageError("--every says how often lists are evaluated, and none is named: add --validate or --oracle")
    for option, least in (("every", 1), ("save_every", 0), ("keep", 1), ("keep_every", 0)):
        check_least(f"--{option.replace('_', '-')}", options[option], least)


def _out(options: Namespace, default: Path) -> Path:
    return default if options.out is None else folder_path(options.out)


def _training(ref: MethodRef, split: Split, overrides: dict[str, Any], places: Places, options: Namespace) -> Training:
    from avbench.predicting import decoding_processes, resolve_device
    from avbench.request import Settings
    from avbench.training import Judging, Keeping, Training

    recipe, neighbours = _recipe(ref, options), _neighbours(options.neighbours)
    judged = places if options.judge_data is None else replace(places, data=Path(options.judge_data))
    oracle = [open_split(name, judged, bar) for name in names(options.oracle, "test list")] if options.oracle else []
    _check_tests(split, oracle)
    validation, split = _validation(split, oracle, judged, options)
    judging = Judging(validation, tuple(oracle), options.every or 1)
    default = checkpoint_folder(ref, recipe, split, overrides, neighbours=neighbours, judged=judging.described())
    settings = Settings(device=options.device, workers=options.workers)
    return Training(
        ref, recipe, split, _out(options, default), overrides, resolve_device(options.device),
        workers=decoding_processes(settings), neighbours=neighbours, judging=judging,
        keeping=Keeping(options.save_every, options.keep, options.keep_every), compiled=options.compile,
    )  # fmt: skip


def _check_tests(split: Split, tests: Sequence[Split]) -> None:
    """Say what of the tests is trained on, and refuse a test that is the training list itself."""
    from avbench.data.held_out import shared_ids

    for test in tests:
        if test.sha256 == split.sha256:
            raise UsageError(f"{test.name} is what is trained on: name a test list with --oracle")
        if shared := shared_ids(test, split):
            n = len(test.samples)
            log(f"{len(shared):,} of {n:,} samples of {test.name} are of videos that {split.name} holds too")


def _validation(split: Split, tests: Sequence[Split], places: Places, options: Namespace) -> tuple[Split | None, Split]:
    """The list to validate on, and what is left to train on without it."""
    if options.validate is None:
        return None, split
    from avbench.data.held_out import check_validation, require_disjoint, without

    held_out = open_split(options.validate, places, bar)
    require_disjoint(held_out, tests)
    unknown = check_validation(held_out, metadata=places.metadata)
    if unknown:
        log(f"{held_out.name} was not compared with {len(unknown)} test lists, whose files are not at hand")
    left = without(split, held_out)
    if left is not split:
        log(f"{len(split.samples) - len(left.samples)} samples of {split.name} are held out for {held_out.name}")
    return held_out, left


def _train(training: Training, options: Namespace) -> None:
    from avbench.training import train

    trackers = names(options.track, "tracker") if options.track else []
    check_trackers(trackers)
    if (training.out / CONFIG).exists():
        log(f"trained already: {train(training)}")
        return
    train(training, resume=options.resume, progress=bar, watch=partial(_watch, training, trackers))
    if leads():
        _report(training)


def _report(training: Training) -> None:
    """Say what came of a training."""
    from avbench.costing import in_words, measured
    from avbench.training import broken_samples

    out = training.out
    log(f"checkpoint: {out}")
    if broken := broken_samples(out):
        n = len(training.split.samples)
        log(f"{len(broken)} of {n} samples could not be decoded and were left out: {out / 'log.jsonl'} names them")
    if cost := measured(out):
        log(f"cost: {in_words(cost)}")
    for best in (out / f"best-{rule}" for rule in ("validation", "oracle")):
        if best.exists():
            log(f"{read_json(best / CONFIG)['meta']['selection']}: {best}")
    for picture in (out / name for name in ("curve.png", "evaluations.png")):
        if picture.exists():
            log(f"curve: {picture}")


def _watch(training: Training, trackers: Sequence[str], steps: int, done: int) -> Monitor:
    from avbench.commands.training_bar import TrainingBar
    from avbench.monitoring import TrainingMonitor
    from avbench.tracking import open_trackers

    title = f"training {training.ref.name} on {training.split.name} ({training.recipe.epochs} epochs)"
    opened = open_trackers(trackers, training.out, training.meta(training.recipe.epochs), done=done)
    return TrainingMonitor(
        training.out, steps=steps, done=done, device=training.device, trackers=opened, show=partial(TrainingBar, title)
    )


def _parser() -> ArgumentParser:
    parser = command_parser(
        "train", "Train a method by a recipe; every epoch ends in a state to resume from.", EXAMPLES
    )
    parser.add_argument("--method", required=True, type=str, help="a name, or path/to/file.py:Name")
    parser.add_argument("--split", required=True, type=str, help="a name, or a YAML, CSV or folder of your own")
    _add_recipe(parser)
    _add_judging(parser)
    _add_keeping(parser)
    parser.add_argument(
        "--metadata", type=str, default=None, metavar="DIR", help="folder with the official annotation files"
    )
    parser.add_argument("--data", type=str, default=None, metavar="ROOT", help="folder with frames/ and audio/")
    parser.add_argument("--device", type=str, default="auto")
    parser.add_argument("--workers", type=int, default=None, help="decoding processes (default: by the machine)")
    parser.add_argument("--compile", action="store_true", help="run the loss through torch.compile")
    parser.add_argument(
        "--track", type=str, default=None, metavar="NAME[,NAME]", help="tensorboard, wandb, beside log.jsonl"
    )
    return parser


def _add_recipe(parser: ArgumentParser) -> None:
    parser.add_argument("--recipe", type=str, default=None, help="demo (the default), vggsound-10k, ..., or a file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the method")
    parser.add_argument("--epochs", type=int, default=None, help="instead of the recipe's; 0 keeps the initial weights")
    parser.add_argument("--seed", type=int, default=None, help="instead of the recipe's")
    parser.add_argument(
        "--recipe-set", action="append", default=[], metavar="KEY=VALUE",
        help="a value of the recipe, e.g. batch_size=64, precision=bf16, accumulate=4, negatives=per-device",
    )  # fmt: skip
    parser.add_argument(
        "--neighbours", action="append", default=[], metavar="MODALITY=SOURCE",
        help="image=... and audio=...: an encoder or a table of avbench neighbours, instead of the recipe's",
    )  # fmt: skip


def _add_judging(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--validate", type=str, default=None, metavar="LIST",
        help="keep the best epoch on this list too, which is held out of training: vggsound-144k-val, demo-val, yours",
    )  # fmt: skip
    parser.add_argument(
        "--oracle", type=str, default=None, metavar="LIST[,LIST]",
        help="test lists for curves; also keeps the best epoch on the first, which is chosen on the test",
    )  # fmt: skip
    parser.add_argument(
        "--judge-data", type=str, default=None, metavar="ROOT",
        help="folder with the media of these lists, where they are not below --data; a pack for evaluation, for one",
    )  # fmt: skip
    parser.add_argument("--every", type=int, default=None, help="epochs from one evaluation to the next (default: 1)")


def _add_keeping(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=str, default=None, metavar="DIR", help="where the checkpoint goes (default: the store)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    parser.add_argument(
        "--save-every", type=int, default=0, metavar="STEPS", help="states to resume from inside epochs; 0 for none"
    )
    parser.add_argument("--keep", type=int, default=1, help="states that stay while it trains, the newest ones")
    parser.add_argument(
        "--keep-every", type=int, default=0, metavar="EPOCHS", help="weights of each such epoch stay; 0 for none"
    )


def _neighbours(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in given:
        modality, _, source = item.partition("=")
        if modality not in {"image", "audio"} or not source or modality in found:
            raise UsageError(f"expected --neighbours image=SOURCE and audio=SOURCE, each once, got {item!r}")
        found[modality] = source
    return found


def _refuse_options(ref: MethodRef, options: Namespace) -> None:
    of_recipes = ("recipe", "epochs", "seed", "neighbours", "set", "recipe_set", "validate", "oracle", "track")
    given = [name.replace("_", "-") for name in of_recipes if options[name] not in (None, [])]
    if given:
        raise UsageError(
            f"{ref.name} is fitted to annotations, without a recipe, epochs, chance or settings: leave --{given[0]} out"
        )


def _recipe(ref: MethodRef, options: Namespace) -> Recipe:
    name = "demo" if options.recipe is None else options.recipe
    recipe = demo_recipe(ref.name) if name == "demo" else load_recipe(ref.name, name)
    changes = {key: value for key, value in (("epochs", options.epochs), ("seed", options.seed)) if value is not None}
    return changed(replace(recipe, **changes), options.recipe_set)
