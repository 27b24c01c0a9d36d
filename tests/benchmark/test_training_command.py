"""``avbench train`` from the command line: lists to judge by, values of the recipe, what is refused."""

import json
import re

import pytest

from avbench.cli import main


@pytest.fixture
def sets(tmp_path, noise_set):
    """Lists of noise without a video in common."""
    made = {name: noise_set(tmp_path / name, 9, seed, name) for seed, name in enumerate(("pairs", "held", "tests"))}
    for name, place in made.items():
        place.write_text(place.read_text().replace("name: tiny", f"name: {name}"))
    return {name: str(place) for name, place in made.items()}


@pytest.fixture
def command(trainable_plugin, sets, store, tmp_path):
    """A short training into ``out``."""
    given = ["train", "--method", f"{trainable_plugin}:Tiny", "--split", sets["pairs"], "--out", str(tmp_path / "out")]
    return [*given, "--epochs", "2", "--recipe-set", "batch_size=4"]


def test_three_checkpoints_of_one_training_in_one_table(capsys, command, sets, tmp_path, trainable_plugin):
    out = tmp_path / "out"
    assert main([*command, "--validate", sets["held"], "--oracle", sets["tests"], "--track", "tensorboard"]) == 0
    said = capsys.readouterr().err
    assert re.search(r"best locacc on held \(validation\), epoch [12] of 2: .*best-validation", said)
    assert re.search(r"best locacc on tests \(test, oracle\), epoch [12] of 2: .*best-oracle", said)
    assert re.search(r"cost: \d+ s, [\d,]+ pairs/s, \d+ % of the time waiting for data", said)
    rows = [json.loads(line) for line in (out / "evaluations.jsonl").read_text().splitlines()]
    assert [(row["epoch"], row["split"], row["purpose"], row["n"]) for row in rows] == [
        (epoch, split, rule, 9) for epoch in (1, 2) for split, rule in (("held", "validation"), ("tests", "oracle"))
    ]
    assert (out / "evaluations.png").exists()
    assert list((out / "tensorboard").glob("events*"))
    shown = ["--checkpoint", str(out), "--selection", "last,validation,oracle", "--controls", "false", "--json"]
    run = ["run", "--method", f"{trainable_plugin}:Tiny", "--split", sets["tests"], "--runs", str(tmp_path / "runs")]
    assert main([*run, *shown]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["selection"] for record in records] == ["last", "validation", "oracle"]
    best = max(row["locacc"] for row in rows if row["split"] == "tests")
    assert records[2]["metrics"]["locacc"] == best


def test_what_is_held_out_is_not_trained_on(capsys, command, sets, noise_set, tmp_path):
    part = noise_set(tmp_path / "part", 3, 7, "pairs")
    part.write_text(part.read_text().replace("name: tiny", "name: part"))
    assert main([*command, "--validate", str(part)]) == 0
    assert "3 samples of pairs are held out for part" in capsys.readouterr().err
    described = json.loads((tmp_path / "out" / "config.json").read_text())["meta"]
    assert described["split"]["n"] == 6
    assert described["split"]["name"] == "pairs minus part"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--validate", "tests", "--oracle", "tests"], "tests is a list to test on"),
        (["--oracle", "pairs"], "pairs is what is trained on: name a test list with --oracle"),
        (["--validate", "pairs"], "nothing of pairs is left to train on"),
        (["--every", "2"], "--every says how often lists are evaluated, and none is named: add --validate or --oracle"),
        (["--every", "0", "--validate", "held"], "expected --every of at least 1, got 0"),
        (["--keep", "0"], "expected --keep of at least 1, got 0"),
        (["--track", "visdom"], "there is no tracker called 'visdom'"),
        (
            ["--recipe-set", "precision=fp8"],
            "expects fp32 or bf16 or fp16 under precision, got 'fp8': correct 'precision",
        ),
        (["--recipe-set", "lr"], "expected a value of the recipe as KEY=VALUE, got 'lr'"),
        (["--recipe-set", "epoch=1"], "there is no recipe value called 'epoch': did you mean epochs"),
        (["--recipe-set", "warmup_epochs=2"], "warms up for 2 of its 2 epochs: lower warmup_epochs"),
        (["--recipe-set", "batch_size=10"], "has batches of 10, and the split holds 9 samples: lower batch_size with"),
    ],
)
def test_what_is_refused(capsys, command, sets, given, message):
    assert main([*command, *(sets.get(word, word) for word in given)]) == 2
    assert message in capsys.readouterr().err


def test_a_test_whose_videos_are_trained_on_is_told(capsys, command, noise_set, tmp_path):
    seen = noise_set(tmp_path / "seen", 4, 3, "pairs")
    seen.write_text(seen.read_text().replace("name: tiny", "name: seen"))
    assert main([*command, "--oracle", str(seen)]) == 0
    assert "4 of 4 samples of seen are of videos that pairs holds too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (["--epochs", "3"], "meta.epoch: 2 there, 3 here"),
        (["--seed", "4"], "meta.recipe.seed: 0 there, 4 here"),
        (["--set", "gain=2"], "config.gain: 1.0 there, 2.0 here"),
        (["--recipe-set", "ema=0.5"], "meta.recipe.ema: 0.0 there, 0.5 here"),
    ],
)
def test_another_training_is_told_by_what_differs(capsys, command, change, difference):
    assert main(command) == 0
    assert main([*command, *change]) == 2
    assert difference in capsys.readouterr().err


def test_a_value_is_one_however_it_is_written(command, tmp_path):
    assert main([*command, "--recipe-set", "ema=0"]) == 0
    assert main([*command, "--recipe-set", "ema=0.0"]) == 0
