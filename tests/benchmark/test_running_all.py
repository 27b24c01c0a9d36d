"""``--method all``: every method that can be trained, each sample decoded once for all of them."""

import json

import pytest

from avbench.cli import main
from avbench.commands import running
from avbench.data import loader

SEVEN = ["alignment", "attention10k", "ezvsl", "fnac", "jsa", "lvs", "slavc"]


@pytest.fixture
def untrained(monkeypatch):
    """Methods are taken as initialised where no checkpoint was given."""
    monkeypatch.setattr("avbench.runner.trained_checkpoint", lambda request, *_: request)


@pytest.fixture
def decoded(monkeypatch):
    """The pictures that were decoded, in order."""
    seen, decode = [], loader.decode_pictures

    def spy(path, kinds):
        seen.append(path.stem)
        return decode(path, kinds)

    monkeypatch.setattr(loader, "decode_pictures", spy)
    return seen


def test_all_methods_of_a_run_share_one_decode_pass(capsys, tiny_set, tmp_path, untrained, decoded):
    slim = [f"--set={name}.width=0.0625" for name in SEVEN]
    code = main(
        ["run", "--method=all", f"--split={tiny_set}", "--controls=false", "--json", f"--runs={tmp_path}", *slim]
    )
    assert code == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in rows] == SEVEN
    assert len(decoded) == len(set(decoded)) == rows[0]["n_scored"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("all", SEVEN),
        ("jsa,all", ["jsa", "alignment", "attention10k", "ezvsl", "fnac", "lvs", "slavc"]),
        ("all,ogl", [*SEVEN, "ogl"]),
        ("lvs,disc", ["lvs", "disc"]),
    ],
)
def test_all_stands_for_what_can_be_trained_and_is_not_named(text, wanted):
    assert running._methods(text) == wanted


def test_all_on_a_real_split_asks_for_the_first_missing_checkpoint(capsys, tiny_set, tmp_path):
    assert main(["run", "--method=all", f"--split={tiny_set}", f"--runs={tmp_path}"]) == 2
    assert "alignment needs trained weights" in capsys.readouterr().err


def test_several_audio_modes_make_one_table_with_the_controls_last_and_once(capsys, tmp_path, plugin_file, tiny_set):
    named = f"--method={plugin_file}:Tiny,disc"
    assert main(["run", named, f"--split={tiny_set}", "--audio=true,silent", "--json", f"--runs={tmp_path}"]) == 0
    rows = [(row["method"], row["audio"]) for row in json.loads(capsys.readouterr().out)]
    assert rows[:2] == [("tiny-plugin", "true"), ("tiny-plugin", "silent")]
    assert rows[2:] == [("disc", "true"), ("whole", "true"), ("square", "true")]


def test_an_unknown_audio_mode_is_refused(capsys, tiny_set, tmp_path):
    assert main(["run", "--method=disc", f"--split={tiny_set}", "--audio=true,quiet", f"--runs={tmp_path}"]) == 2
    assert "there is no audio mode called 'quiet'" in capsys.readouterr().err
