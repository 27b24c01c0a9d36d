"""The commands behind ``--how``: what fills what, and that every one of them is understood by its own parser."""

import shlex
from importlib import import_module

import pytest

from avbench.cli import COMMANDS
from avbench.data.splits import split_names
from avbench.leaderboards.paper_cells import Number, filled
from avbench.leaderboards.paper_commands import PLACEHOLDERS, Step, placeholders, steps
from avbench.leaderboards.paper_text import how_text
from avbench.leaderboards.published_tables import published_table, published_tables, table_ids
from avbench.recipe import changed, load_recipe
from avbench.registry import find_method, load_class, make_config, method_names
from avbench.request import protocol_called
from avbench.selection import rules_named
from avbench.sweeping.files import load_sweep

PLACES = "--data ROOT --metadata DIR"


def how(*names: str) -> list[Step]:
    return steps([filled(published_table(name), []) for name in names])


def of(found: list[Step], title: str) -> Step:
    return next(step for step in found if step.title == title)


@pytest.fixture(scope="module")
def everything() -> list[Step]:
    return how(*table_ids())


def parsed(command: str):
    program, name, *given = shlex.split(command)
    assert program == "avbench"
    module = import_module(f"avbench.commands.{COMMANDS[name][0]}")
    return name, module._parser().parse_args(given) if hasattr(module, "_parser") else given


def test_every_command_is_understood(everything):
    commands = [command for step in everything for command in step.commands]
    assert len(commands) == len(set(commands)), "each once"
    seen = set()
    for command in commands:
        name, options = parsed(command)
        seen.add(name)
        CHECKS[name](options)
    assert seen == {"train", "run", "sweep", "convert", "new-method"}


def check_train(options):
    ref = find_method(options.method)
    recipe = changed(load_recipe(ref.name, options.recipe), options.recipe_set)
    settings = {key: VALUES.get(value, value) for key, _, value in (item.partition("=") for item in options.set)}
    numbers = {key: int(value) if str(value).isdigit() else value for key, value in settings.items()}
    make_config(load_class(ref).config_class, {**recipe.method_values, **numbers})
    assert {options.split, *([options.oracle] if options.oracle else [])} <= set(split_names())
    assert options.out.startswith("checkpoints/")


VALUES = {"true": True, "false": False}


def check_run(options):
    assert options.method in method_names()
    assert set(options.split.split(",")) <= set(split_names())
    protocol = protocol_called(options.protocol)
    assert options.refine == "none" or protocol.fusion
    if options.selection:
        rules_named(options.selection.split(","))


def check_sweep(options):
    assert options.scale in load_sweep(options.sweep).scales


def check_convert(options):
    assert (options.method, options.checkpoint) == ("lvs", "FILE")


def check_new_method(given):
    from avbench.commands.new_method import _stem

    (name,) = given
    assert _stem(name).replace("_", "-") == name, "the name is free and can be one"


CHECKS = {
    "train": check_train,
    "run": check_run,
    "sweep": check_sweep,
    "convert": check_convert,
    "new-method": check_new_method,
}


def test_every_blank_cell_has_a_command(everything):
    for table in published_tables():
        counted = sum(sum(step.fills.get(table.id, {}).values()) for step in everything)
        blank = sum(map(len, table.cells)) - (3 if table.id == "jsa-supp-1" else 0)
        assert counted == blank, table.id


def test_what_a_training_serves_is_listed_once(everything):
    step = of(everything, "ezvsl trained on vggsound-144k")
    assert {table: sum(rows.values()) for table, rows in step.fills.items()} == {
        "jsa-supp-2": 2,
        "alignment-1": 8,
        "alignment-5": 2,
        "alignment-6": 6,
        "alignment-7": 6,
    }
    out = "checkpoints/ezvsl-vggsound-144k"
    splits = "vggss-4655,flickr,flickr-extended,vggss-extended"
    assert step.commands == (
        f"avbench train --method ezvsl --recipe vggsound-144k --split vggsound-144k {PLACES} --out {out}",
        f"avbench run --method ezvsl --split avsbench-ms3,avsbench-s4 --protocol avsbench {PLACES} --checkpoint {out}",
        f"avbench run --method ezvsl --split {splits} --protocol alignment --refine ogl --retrieval {PLACES} "
        f"--checkpoint {out}",
    )


def test_a_sweep():
    (step,) = how("jsa-supp-4")
    assert step.commands == (f"avbench sweep jsa-supp-4 --scale paper {PLACES}",)
    assert step.fills == {"jsa-supp-4": {"10": 8, "20": 8, "30": 8, "50": 8}}


def test_the_best_and_the_last_checkpoint_come_from_one_training():
    step = of(how("slavc-supp-1"), "lvs trained on flickr-10k, with the best epoch on flickr")
    out = "checkpoints/lvs-flickr-10k-best-on-flickr"
    assert step.commands == (
        f"avbench train --method lvs --recipe flickr-10k --split flickr-10k {PLACES} --out {out} --oracle flickr",
        f"avbench run --method lvs --split flickr --protocol slavc --selection oracle,last {PLACES} --checkpoint {out}",
    )
    assert step.fills == {"slavc-supp-1": {"LVS": 6}}


def test_neighbours_that_are_not_in_the_package_are_asked_for():
    found = how("alignment-2")
    title = "alignment trained on flickr-144k, neighbours by self-supervised encoders"
    train = of(found, title).commands[0]
    assert train.endswith("-self-supervised --neighbours image=PICTURES.npy --neighbours audio=SOUNDS.npy")
    assert list(placeholders(found)) == list(PLACEHOLDERS)


def test_what_is_not_in_the_package():
    step = how("oassl-supp-1")[0]
    assert step.title == "NoPrior (Kim et al., CVPR 2024) is not in the package: write it first"
    assert step.commands == ("avbench new-method noprior",)
    assert step.fills == {"oassl-supp-1": {"NoPrior": 3}}


def test_what_is_filled_is_not_asked_for():
    table = filled(published_table("jsa-supp-3"), [])
    done = {place: Number(1.0, 2, "local") for place in table.wanted}
    left = type(table)(table.table, done, {}, table.wanted)
    assert steps([left]) == []
    done.pop((0, 7))
    assert steps([left])[0].fills == {"jsa-supp-3": {"1": 1}}


def test_the_text_says_what_is_to_be_put_in():
    text = how_text(how("jsa-supp-6"))
    assert text.splitlines() == [
        "To fill the blank cells:",
        "",
        "the sweep jsa-supp-6",
        "  fills 10 cells of jsa-supp-6: 1, 1; 1, 2; 1, 3; 2, 1; 3, 1",
        f"    avbench sweep jsa-supp-6 --scale paper {PLACES}",
        "",
        "ROOT: the folder with frames/ and audio/",
        "DIR: the folder with the official annotation files",
    ]
