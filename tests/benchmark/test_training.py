"""Training: recipes, checkpoints, the log, resuming, the store."""

import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

import avbench
from avbench.cli import main
from avbench.data.splits import load_split
from avbench.errors import AvbenchError, UsageError
from avbench.locking import locked
from avbench.monitoring import Unwatched
from avbench.recipe import load_recipe, recipe_names
from avbench.registry import find_method, load_class, make_config
from avbench.trained import checkpoint_folder
from avbench.training import Training, fit_prior, learning_rate_factor, total_steps, train


@pytest.fixture
def training(trainable_plugin, tiny_set, tmp_path) -> Training:
    recipe = replace(load_recipe("any", "demo"), name="any-test", method="learner", epochs=3, batch_size=2)
    ref = find_method(f"{trainable_plugin}:Tiny")
    return Training(ref, recipe, load_split(str(tiny_set)), tmp_path / "out", {}, torch.device("cpu"))


def weights(folder):
    return load_file(folder / "model.safetensors")


def steps_logged(folder):
    return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_training_leaves_a_checkpoint_a_log_and_a_curve(training):
    out = train(training)
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "curve.png", "log.jsonl", "model.safetensors"]
    assert steps_logged(out) == [1, 2, 3, 4, 5, 6]
    described = json.loads((out / "config.json").read_text())
    assert described["config"] == {"gain": 1.0}
    assert described["meta"]["selection"] == "last epoch"
    assert described["meta"]["epoch"] == 3
    assert weights(out)["weight"] != 1


def test_no_epochs_leave_the_initial_weights(training):
    out = train(replace(training, recipe=replace(training.recipe, epochs=0)))
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors"]
    assert weights(out)["weight"] == 1


class StopError(Exception):
    """What ends a training in these tests."""


class Watcher(Unwatched):
    """Calls ``told`` with the row of each step."""

    def __init__(self, told):
        self.told = told

    def step(self, row, pairs, waited):
        self.told(row)


def watch(told):
    return lambda steps, done: Watcher(told)


def stop_at(step):
    def told(row):
        if row["step"] == step:
            raise StopError

    return watch(told)


def test_an_interrupted_training_ends_with_the_same_weights(training, tmp_path):
    whole = train(replace(training, out=tmp_path / "whole"))
    with pytest.raises(StopError):
        train(training, watch=stop_at(4))
    assert [path.name for path in training.out.glob("state-*")] == ["state-000000002"]
    train(training, resume=True)
    assert torch.equal(weights(training.out)["weight"], weights(whole)["weight"])
    assert (training.out / "log.jsonl").read_text() == (whole / "log.jsonl").read_text()


def test_an_unfinished_training_is_not_overwritten(training):
    with pytest.raises(StopError):
        train(training, watch=stop_at(4))
    with pytest.raises(UsageError, match=r"holds an unfinished training: add --resume"):
        train(training)


def test_another_recipe_does_not_go_on_with_it(training):
    with pytest.raises(StopError):
        train(training, watch=stop_at(4))
    other = replace(training, recipe=replace(training.recipe, epochs=5))
    with pytest.raises(UsageError, match=r"holds a training of another method, recipe, split or setting"):
        train(other, resume=True)


def test_another_setting_does_not_go_on_with_it(training):
    with pytest.raises(StopError):
        train(training, watch=stop_at(4))
    with pytest.raises(UsageError, match=r"holds a training of another method, recipe, split or setting"):
        train(replace(training, overrides={"gain": 2.0}), resume=True)


def test_a_finished_training_is_left_as_it_is(training):
    written = (train(training) / "model.safetensors").stat().st_mtime_ns
    assert (train(training) / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(UsageError, match=r"holds a training of another"):
        train(replace(training, overrides={"gain": 2.0}))


def test_a_folder_of_something_else_is_not_taken_for_trained(capsys, trainable_plugin, larger_set, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    command = ["train", "--method", f"{trainable_plugin}:Tiny", "--split", str(larger_set), "--out", str(tmp_path)]
    assert main(command) == 2
    assert "holds a training of another method" in capsys.readouterr().err


def test_a_control_does_not_overwrite_a_trained_method(capsys, training, tiny_set, tmp_path):
    written = (train(training) / "model.safetensors").read_bytes()
    command = ["train", "--method", "training-prior", "--split", str(tiny_set), "--out"]
    assert main([*command, str(training.out)]) == 2
    assert "holds a training of another method" in capsys.readouterr().err
    assert (training.out / "model.safetensors").read_bytes() == written
    assert [main([*command, str(tmp_path / "prior")]) for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(
    "option", ["--recipe=demo", "--epochs=3", "--seed=0", "--neighbours=image=colours", "--set=a=1"]
)
def test_a_control_has_no_recipe(capsys, tiny_set, tmp_path, option):
    command = ["train", "--method", "training-prior", "--split", str(tiny_set), "--out", str(tmp_path / "prior")]
    assert main([*command, option]) == 2
    expected = f"training-prior is fitted to annotations, without .*: leave {option.partition('=')[0]} out"
    assert re.search(expected, capsys.readouterr().err)
    assert not (tmp_path / "prior").exists()


def unfinished(training):
    """The state that an interruption leaves."""
    with pytest.raises(StopError):
        train(training, watch=stop_at(4))
    return training.out / "state-000000002"


@pytest.mark.parametrize("finished", [True, False])
def test_a_changed_method_file_is_noticed(training, trainable_plugin, finished):
    if finished:
        train(training)
    else:
        unfinished(training)
    trainable_plugin.write_text(trainable_plugin.read_text().replace("- 1).square()", "- 2).square()"))
    expected = (
        r"or of files that have changed since \(meta.made_from.source: .*\): go on with those, or name another folder"
    )
    with pytest.raises(UsageError, match=expected):
        train(replace(training), resume=True)


def test_changed_media_are_noticed(training):
    train(training)
    training.split.samples[0].audio.touch()
    with pytest.raises(UsageError, match=r"or of files that have changed since"):
        train(replace(training))


def test_files_that_settings_name_count_by_their_contents(training, store, tmp_path):
    file = tmp_path / "w.pth"
    recipe = replace(training.recipe, method_values={"pretrained": str(file)})
    folders = set()
    for content in ("one", "two"):
        file.write_text(content)
        folders.add(checkpoint_folder(training.ref, recipe, training.split, {}))
    assert len(folders) == 2


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "position.json", "random.safetensors"])
@pytest.mark.parametrize("content", [b"junk", b"[]", save({"a": torch.ones(1)})], ids=["junk", "json", "other"])
def test_a_damaged_state_is_named(training, file, content):
    state = unfinished(training)
    (state / file).write_bytes(content)
    with pytest.raises(
        AvbenchError, match=r"expected in .*state-000000002 the state to go on from, .*: delete that folder"
    ):
        train(training, resume=True)


@pytest.mark.parametrize("row", ["junk", "[]", '{"step": 1}', '{"epoch": "1"}'])
def test_a_damaged_log_is_named(training, row):
    unfinished(training)
    with (training.out / "log.jsonl").open("a") as log:
        log.write(f"{row}\n")
    with pytest.raises(AvbenchError, match=r"expected a step's row of JSON in each line of .*log.jsonl, which has"):
        train(training, resume=True)


def test_a_training_goes_into_the_folder_where_one_is(training, monkeypatch):
    training.out.mkdir()
    monkeypatch.chdir(training.out)
    train(replace(training, out=Path()))
    assert (training.out / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("/", "expected a folder to write into, got /, the root of all"),
        ("", "expected --out DIR, got ''"),
        ("mine.yaml", "--out 'mine.yaml' cannot be a folder, since mine.yaml is a file"),
    ],
)
def test_where_no_training_can_go(capsys, trainable_plugin, larger_set, tmp_path, monkeypatch, out, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("mine")
    command = ["train", "--method", f"{trainable_plugin}:Tiny", "--split", str(larger_set), "--epochs", "0"]
    assert main([*command, "--out", out]) == 2
    assert message in capsys.readouterr().err


def test_no_lock_is_left_behind(training, tmp_path):
    train(training)
    with pytest.raises(UsageError, match="split or setting"):
        train(replace(training, overrides={"gain": 2.0}))
    assert list(tmp_path.glob(".*")) == []


def test_one_at_a_time_holds_the_lock(tmp_path):
    """Also where those who wait have opened a file whose name the one before them removes."""
    inside, most = [], []

    def work(_):
        with locked(tmp_path / "a"):
            inside.append(1)
            time.sleep(0.005)
            most.append(len(inside))
            inside.pop()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12)))
    assert most == [1] * 12


def test_two_processes_train_one_after_the_other(trainable_plugin, larger_set, store):
    named = ["--method", f"{trainable_plugin}:Tiny", "--split", str(larger_set)]
    command = [sys.executable, "-m", "avbench", "train", *named]
    both = [subprocess.Popen([*command, "--epochs", "2"], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(process.communicate()[1], process.returncode) for process in both]
    assert [code for _, code in ended] == [0, 0], ended


def test_a_loss_that_is_no_number_stops_the_training(training, monkeypatch):
    cls = load_class(training.ref)
    monkeypatch.setattr(cls, "loss", lambda self, batch: {"total": self.weight * float("nan")})
    with pytest.raises(AvbenchError, match=r"the loss is no longer a number .*'total': nan"):
        train(training)


def test_fewer_samples_than_a_batch():
    with pytest.raises(UsageError, match=r"jsa-demo has batches of 64, and the split holds 5 samples"):
        total_steps(load_recipe("jsa", "demo"), 5)


def test_the_one_cycle_rises_and_falls():
    factors = [learning_rate_factor("one-cycle", step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 15)
    assert factors[14] == factors[15] == 1
    assert factors.index(max(factors)) == 14
    assert factors[-1] < 0.001
    assert learning_rate_factor("constant", 50, 100) == 1


def test_a_step_uses_the_rate_of_the_schedule(training):
    rates = []
    train(training, watch=watch(lambda row: rates.append(row["lr"])))
    expected = [training.recipe.lr * learning_rate_factor("one-cycle", step, 6) for step in range(6)]
    assert rates == expected


def test_the_prior_is_the_mean_of_the_truth(tiny_set, tmp_path):
    split = load_split(str(tiny_set))
    fit_prior(find_method("training-prior"), split, tmp_path / "prior")
    prior = avbench.load_method("training-prior", tmp_path / "prior").map
    x = 112
    covering = [
        box[0] for sample in split.samples for box in sample.boxes if box[0] * 224 <= x < (box[0] + 0.5) * 224 - 1
    ]
    assert prior[112, x] == pytest.approx(len(covering) / 5)
    assert prior[0].max() == 0, "no box reaches the upper border"


@pytest.mark.parametrize("name", [name for name in recipe_names() if not name.startswith("any-")])
def test_recipes_fit_their_methods(name):
    method, _, short = name.partition("-")
    recipe = load_recipe(method, short)
    config = make_config(load_class(find_method(method)).config_class, recipe.method_values)
    assert all(str(getattr(config, key)) == str(value) for key, value in recipe.method_values.items())


RECIPE = """
method = "jsa"
split = ""
selection = "last epoch"
summary = "a test"
[values]
epochs = { used = 1 }
batch_size = { used = 2 }
optimizer = { used = "adam" }
lr = { used = 0.1 }
weight_decay = { used = 0.0 }
schedule = { used = "constant" }
images = { used = "squash" }
augment = { used = ["flip"] }
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = { used = 1 }", "epochs = 1"), r"gives epochs no value: write epochs = \{ paper"),
        (("epochs =", "epoch ="), r"no recipe value called 'epoch': did you mean epochs"),
        (("lr = { used = 0.1 }", ""), r"lacks lr"),
        (('"jsa"', '"ezvsl"'), r"is for 'ezvsl', not for 'jsa'"),
        (("[values]", "[values"), r"expected TOML in the recipe"),
    ],
)
def test_a_recipe_file_with_a_mistake(tmp_path, change, message):
    place = tmp_path / "mine.toml"
    place.write_text(RECIPE.replace(*change))
    with pytest.raises(UsageError, match=message):
        load_recipe("jsa", str(place))


def test_a_recipe_file_of_ones_own(tmp_path):
    place = tmp_path / "mine.toml"
    place.write_text(RECIPE)
    assert load_recipe("jsa", str(place)).lr == 0.1


def test_an_unknown_recipe_answers_with_the_closest():
    with pytest.raises(UsageError, match=r"no recipe called 'jsa-dmeo': did you mean jsa-demo"):
        load_recipe("jsa", "dmeo")


def test_the_command_trains_into_the_store_and_finds_it_again(capsys, trainable_plugin, larger_set, store):
    command = ["train", "--method", f"{trainable_plugin}:Tiny", "--split", str(larger_set), "--epochs", "1"]
    assert main(command) == 0
    (folder,) = (store / "checkpoints").glob("learner*")
    assert f"checkpoint: {folder}" in capsys.readouterr().err
    assert main(command) == 0
    assert f"trained already: {folder}" in capsys.readouterr().err


def test_ctrl_c_in_a_training_says_how_to_go_on(capsys, monkeypatch, trainable_plugin, larger_set, store):
    command = ["train", "--method", f"{trainable_plugin}:Tiny", "--split", str(larger_set), "--epochs", "2"]
    monkeypatch.setenv("TINY_IS_INTERRUPTED_AT", "clip_007")
    assert main(command) == 130
    assert "the same command with --resume goes on from there" in capsys.readouterr().err
    monkeypatch.delenv("TINY_IS_INTERRUPTED_AT")
    assert main([*command, "--resume"]) == 0

    assert len(list((store / "checkpoints").glob("*/config.json"))) == 1


def test_what_needs_no_training_says_so(capsys, tiny_set):
    assert main(["train", "--method", "disc", "--split", str(tiny_set)]) == 2
    assert "disc has nothing to train" in capsys.readouterr().err


def test_the_demo_trains_first_and_finds_it_again(capsys, trainable_plugin, larger_set, store, tmp_path, monkeypatch):
    """The demo world is stood in for by a small set, so that the route is tested in seconds."""
    monkeypatch.setattr("avbench.trained.training_split_of", lambda split: str(larger_set))
    trained = []
    fit = avbench.training.train
    monkeypatch.setattr(avbench.training, "train", lambda *a, **k: trained.append(1) or fit(*a, **k))
    recipe = replace(load_recipe("any", "demo"), epochs=1)
    monkeypatch.setattr("avbench.trained.demo_recipe", lambda name: replace(recipe, method=name))
    command = [
        "run",
        "--method",
        f"{trainable_plugin}:Tiny",
        "--split",
        str(larger_set),
        "--runs",
        str(tmp_path / "runs"),
    ]
    options = ["--controls", "false", "--pictures", "false", "--json"]
    assert main([*command, *options]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main([*command, *options]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert trained == [1]
    assert first[0]["provenance"]["checkpoint"]["selection"] == "last epoch"


@pytest.mark.parametrize(("width", "layout"), [(1 / 8, torch.contiguous_format), (1 / 4, torch.channels_last)])
def test_slim_networks_keep_the_ordinary_layout_on_the_cpu(width, layout):
    from avbench.building import training_layout
    from avbench.nets.resnet import Trunk

    trunk = Trunk(3, width=width)
    assert training_layout(trunk, torch.device("cpu")) == layout
    assert training_layout(trunk, torch.device("cuda")) == torch.channels_last
