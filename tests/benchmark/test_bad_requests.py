"""Requests that cannot be met: one sentence, never a traceback, never a table with something left out."""

import json
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image

from avbench import cli
from avbench.checkpoints import checkpoint_given
from avbench.cli import main
from avbench.commands import running
from avbench.errors import AvbenchError, UsageError
from avbench.pictures import localization
from avbench.recipe import load_recipe
from avbench.store import read_json, write_atomic, write_json


@pytest.fixture
def refused(capsys):
    """Run a command that must fail with ``code`` and one sentence, which is returned."""

    def run(code, *arguments):
        assert main([str(argument) for argument in arguments]) == code
        shown = capsys.readouterr().err
        assert "Traceback" not in shown
        last = shown.strip().splitlines()[-1]
        assert last.startswith("avbench: ")
        return last

    return run


@pytest.fixture
def frame(tmp_path):
    """A black picture."""
    Image.fromarray(np.zeros((30, 40, 3), dtype=np.uint8)).save(tmp_path / "frame.png")
    return tmp_path / "frame.png"


def test_a_folder_without_weights_is_no_checkpoint(refused, tiny_set, tmp_path):
    (tmp_path / "empty").mkdir()
    command = ["run", "--method", "jsa", "--split", tiny_set, "--checkpoint", tmp_path / "empty"]
    assert "expected model.safetensors in the folder" in refused(2, *command)
    (tmp_path / "empty" / "model.safetensors").touch()
    assert checkpoint_given(tmp_path / "empty") == tmp_path / "empty"


def test_results_cannot_go_into_a_file(refused, tiny_set, tmp_path):
    (tmp_path / "afile").touch()
    command = ["run", "--method", "disc", "--split", tiny_set, "--pictures", "false", "--runs", tmp_path / "afile"]
    assert "afile" in refused(1, *command)
    with pytest.raises(AvbenchError, match=r"afile/x.json cannot be written"):
        write_atomic(tmp_path / "afile" / "x.json", b"")


def test_a_folder_is_no_json_file(tmp_path):
    with pytest.raises(AvbenchError, match=r"expected a file of JSON at .*Is a directory"):
        read_json(tmp_path)


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"value": float("nan")})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class Tiny(\n", "expected Python in the method file"),
        (
            "import nothing_of_that_name\nclass Tiny: pass\n",
            "ModuleNotFoundError: No module named 'nothing_of_that_name'",
        ),
        ("x = 1\n1 / 0\nclass Tiny: pass\n", "ZeroDivisionError: division by zero, raised at broken.py:2"),
    ],
)
def test_a_method_file_that_cannot_be_imported(refused, tiny_set, tmp_path, source, message):
    (tmp_path / "broken.py").write_text(source)
    sentence = refused(1, "run", "--method", f"{tmp_path / 'broken.py'}:Tiny", "--split", tiny_set)
    assert message in sentence
    assert str(tmp_path / "broken.py") in sentence


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("x.foo", "expected --out FILE ending in .png or .jpg or .pdf, got 'x.foo'"),
        ("afile/x.png", "since afile is in its way"),
        ("folder.png", "since folder.png is in its way"),
    ],
)
def test_a_picture_needs_a_place_and_a_form(refused, frame, tmp_path, monkeypatch, out, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").touch()
    (tmp_path / "folder.png").mkdir()
    assert message in refused(2, "localize", "--method", "disc", frame, "-o", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo-sheet", "--samples", "0"], "expected --samples of at least 1, got 0"),
        (["demo-sheet", "--out", "sheet.gif"], "expected --out FILE ending in .png, got 'sheet.gif'"),
        (["run", "--method", "disc", "--split", "demo", "--workers", "-1"], "expected --workers of at least 0, got -1"),
        (["run", "--method", "disc", "--split", "demo", "--device", "meta"], "expected --device auto, cpu, cuda or"),
        (["localize", "--method", "disc", "a.png", "--device", "cuda:x"], "expected --device auto, cpu, cuda or"),
        (["train", "--method", "jsa", "--split", "demo-train", "--device", "mps"], "expected --device auto, cpu, cuda"),
        (["train", "--method", "jsa", "--split", "demo-train", "--epochs", "-3"], "expected --epochs of at least 0"),
        (["train", "--method", "jsa", "--split", "demo-train", "--seed", "-1"], "expected --seed of at least 0"),
    ],
)
def test_numbers_and_devices_are_checked_before_any_work(refused, arguments, message):
    assert message in refused(2, *arguments)


@pytest.mark.parametrize(
    ("problem", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "avbench: interrupted; what was finished is kept"),
        (PermissionError(13, "Permission denied", "some.json"), 1, "some.json: Permission denied"),
    ],
)
def test_what_happens_at_start_up_is_answered_too(refused, monkeypatch, problem, code, message):
    def importing(name):
        raise problem

    monkeypatch.setattr(cli.importlib, "import_module", importing)
    assert message in refused(code, "list", "methods")


RECIPE = """
summary = "mine"
method = "jsa"
split = ""
selection = "last epoch"
[values]
epochs = { used = 5 }
batch_size = { used = 64 }
optimizer = { used = "adamw" }
lr = { used = 1 }
weight_decay = { used = 0.01 }
schedule = { used = "one-cycle" }
images = { used = "squash" }
augment = { used = ["flip", "masks"] }
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"adamw"', '"sgd"', r"the recipe mine expects adam or adamw under optimizer, got 'sgd'"),
        ('"one-cycle"', '"foo"', r"expects constant or one-cycle or cosine or step under schedule, got 'foo'"),
        ('"squash"', '"x"', r"expects squash or crop under images, got 'x'"),
        (
            '"masks"',
            '"zoom"',
            r"a list of flip, blur, jitter, grayscale, masks, masks_fixed under augment, got \['flip', 'zoom'\]",
        ),
        ('["flip", "masks"]', '"flip"', r"expects a list of .* under augment, got 'flip'"),
        ("used = 5 ", 'used = "5" ', r"expects a whole number under epochs, got '5'"),
        ("used = 5 ", "used = true ", r"expects a whole number under epochs, got True"),
        ("used = 5 ", "used = -1 ", r"expects epochs of at least 0, got -1"),
        ("used = 64 ", "used = 0 ", r"expects batch_size of at least 1, got 0"),
        ("used = 1 ", "used = 0.0 ", r"expects lr above 0, got 0.0"),
        ("used = 1 ", "used = nan ", r"expects a finite number under lr, got nan"),
        ("used = 0.01 ", "used = -0.5 ", r"expects weight_decay of at least 0, got -0.5"),
        ('"mine"', "3", r"expects a text under summary, got 3"),
        ("[values]", "values = 3\n[other]", r"expects a table under values, got 3"),
    ],
)
def test_recipe_values_are_checked(tmp_path, old, new, message):
    (tmp_path / "mine.toml").write_text(RECIPE.replace(old, new))
    with pytest.raises(UsageError, match=message):
        load_recipe("jsa", str(tmp_path / "mine.toml"))


def test_a_good_recipe_keeps_its_values(tmp_path):
    (tmp_path / "mine.toml").write_text(RECIPE)
    recipe = load_recipe("jsa", str(tmp_path / "mine.toml"))
    assert (recipe.epochs, recipe.lr, recipe.augment, recipe.seed) == (5, 1, ("flip", "masks"), 0)


def requests_of(**changes):
    options = {"selection": None, "method": "ezvsl", "checkpoint": [], "set": [], "refine": "ogl", "controls": True}
    return running._requests(Namespace(**{**options, **changes}), "vggss")


def test_the_object_map_of_a_refinement_takes_settings():
    found = requests_of(set=["ogl.weights=F", "tau=1"])
    assert [request.ref.name for request in found] == ["ezvsl", "whole", "square", "disc", "ogl"]
    assert (found[0].overrides, found[-1].overrides) == ({"tau": "1"}, {"weights": "F"})


def test_an_object_map_that_is_named_is_not_added():
    found = requests_of(method="ogl,ezvsl", set=["ogl.weights=F"], controls=False)
    assert [request.ref.name for request in found] == ["ogl", "ezvsl"]
    with pytest.raises(UsageError, match=r"'ogl', which this run does not have: its methods are ezvsl"):
        requests_of(set=["ogl.weights=F"], refine="none")


@pytest.mark.parametrize("part", ["ogl", "iqr"])
def test_a_refinement_needs_a_protocol_with_a_fusion(refused, tiny_set, part):
    command = ["run", "--method", "disc", "--split", tiny_set, "--refine", part, "--protocol", "common"]
    assert f"the refinement {part} needs a protocol with a fusion, such as " in refused(2, *command)


def test_two_methods_of_one_name_are_refused(refused, tiny_set, plugin_file, tmp_path):
    place = tmp_path / "mine.py"
    place.write_text(plugin_file.read_text().replace("tiny-plugin", "disc"))
    command = ["run", "--split", tiny_set, "--method", f"disc,{place}:Tiny"]
    assert f"two methods of this run are called 'disc', one built-in, one {place}" in refused(2, *command)


def test_metrics_of_a_set_without_a_sounding_object_are_null(capsys, tiny_set, tmp_path):
    place = tiny_set.parent / "annotations.json"
    entries = [{**entry, "bbox": [], "sounding": False} for entry in json.loads(place.read_text())]
    place.write_text(json.dumps(entries))
    command = ["run", "--method", "disc", "--split", str(tiny_set), "--controls", "false", "--pictures", "false"]
    assert main([*command, "--runs", str(tmp_path / "runs"), "--json"]) == 0

    def no_constant(text):
        raise AssertionError(f"{text} is not JSON")

    (row,) = json.loads(capsys.readouterr().out, parse_constant=no_constant)
    assert row["n_positive"] == 0
    assert row["metrics"]["mean_ciou"] is None


def test_a_method_that_does_not_hear_needs_no_sound(plugin_file, frame, tmp_path):
    text = plugin_file.read_text().replace("trainable=False", 'needs=("image",), trainable=False')
    text = text.replace("self.frontend = ScipySpectrogram()", "self.frontend = None")
    plugin_file.write_text(text.replace("loudness = batch.audio.mean(dim=(1, 2, 3))", "loudness = torch.ones(1)"))
    out = tmp_path / "out.jpg"
    assert main(["localize", "--method", f"{plugin_file}:Tiny", str(frame), "-o", str(out)]) == 0
    with Image.open(out) as opened:
        assert opened.format == "JPEG"


def test_a_picture_is_whole_or_absent(tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    (tmp_path / "out.png").write_bytes(b"before")
    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(AvbenchError, match=r"out.png cannot be written \(No space left on device\)"):
        localization(np.zeros((8, 8, 3), dtype=np.uint8), np.zeros((8, 8)), "title", tmp_path / "out.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]
