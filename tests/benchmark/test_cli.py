"""The command line: help, listings, usage errors, the official controls, one localization."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from PIL import Image

import avbench
from avbench.cli import COMMANDS, main
from avbench.registry import method_names


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"avbench {avbench.__version__}"


def test_without_arguments_the_help_is_shown(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)
    assert "examples:" in shown


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_examples(capsys, name):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert f"avbench {name}" in shown


def test_an_unknown_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["rnu"])
    assert "invalid choice: 'rnu'" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["methods", "splits", "protocols", "metrics", "controls", "recipes"])
def test_listings_import_no_torch(what):
    code = f"import sys; from avbench.cli import main; main(['list', '{what}']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *listed, imported = done.stdout.strip().splitlines()
    assert imported == "False"
    assert len(listed) >= 3 or what == "methods"


def test_methods_and_controls_together_are_all_there_is(capsys):
    main(["list", "methods"])
    main(["list", "controls"])
    names = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert set(method_names()) == names - {"--audio"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "jsaa"], "there is no method called 'jsaa': did you mean jsa?"),
        (["--method", "disc", "--protocol", "comon"], "there is no protocol called 'comon': did you mean common?"),
        (["--method", "disc,disc"], "the method 'disc' is named twice"),
        (["--method", ","], "expected at least one method"),
        (
            ["--method", "jsa", "--checkpoint", "nowhere.pth"],
            "expected a checkpoint, found nothing at nowhere.pth",
        ),
        (
            ["--method", "jsa,ezvsl", "--checkpoint", "a.pth"],
            "could be for any of jsa, ezvsl: write --checkpoint METHOD=a.pth",
        ),
        (["--method", "jsa,ezvsl", "--set", "tau=1"], "write --set METHOD.tau=1"),
        (["--method", "jsa", "--set", "tau"], "expected --set KEY=VALUE or METHOD.KEY=VALUE, got 'tau'"),
        (["--method", "jsa", "--set", "disc.tau=1"], "is for 'disc', which this run does not have"),
        (["--method", "disc", "--out", "table.doc"], "expected --out FILE ending in .md, .csv or .tex"),
        (["--method", "disc", "--refine", "none,ogl"], "expected --refine none, ogl, iqr or ogl,iqr"),
        (["--method", "disc", "--audio-rate", "fast"], "expected --audio-rate native or a rate in Hz"),
        (
            ["--method", "random", "--set", "cell=3"],
            "there is no setting of RandomConfig called 'cell': did you mean cells?",
        ),
    ],
)
def test_usage_errors_are_one_sentence(capsys, tiny_set, tmp_path, arguments, message):
    assert main(["run", "--split", str(tiny_set), "--runs", str(tmp_path / "runs"), *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.splitlines()[-1].startswith("avbench: ")


def test_an_unknown_split_answers_with_the_closest(capsys):
    assert main(["run", "--method", "disc", "--split", "vgss"]) == 2
    assert "there is no split called 'vgss': did you mean vggss" in capsys.readouterr().err


def test_values_from_a_file_and_the_environment(capsys, tiny_set, tmp_path, monkeypatch):
    settings = tmp_path / "run.yaml"
    settings.write_text(f"split: {tiny_set}\nprotocol: jsa\ncontrols: false\npictures: false\n")
    monkeypatch.setenv("AVBENCH_RUN_RUNS", str(tmp_path / "from-environment"))
    assert main(["run", "--config", str(settings), "--method", "disc", "--protocol", "ezvsl", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["protocol"] == "ezvsl", "the command line wins over the file"
    assert row["record"].startswith(str(tmp_path / "from-environment"))


def test_an_unknown_key_in_a_file_is_refused(capsys, tmp_path):
    settings = tmp_path / "run.yaml"
    settings.write_text("protocl: jsa\n")
    with pytest.raises(SystemExit, match="2"):
        main(["run", "--config", str(settings), "--method", "disc", "--split", "vggss"])
    assert "protocl" in capsys.readouterr().err


CONTROLS = {"whole": (21.95, 31.25), "square": (31.87, 36.93), "disc": (34.02, 37.44)}


def test_the_controls_on_the_official_boxes(capsys, shared, tmp_path):
    options = ["--metadata", str(shared / "metadata"), "--runs", str(tmp_path), "--json"]
    assert main(["run", "--method", "disc,square,whole", "--split", "vggss", *options]) == 0
    rows = json.loads(capsys.readouterr().out)
    found = {
        row["method"]: (round(100 * row["metrics"]["locacc"], 2), round(100 * row["metrics"]["auc"], 2)) for row in rows
    }
    assert found == CONTROLS
    assert {row["n_scored"] for row in rows} == {5158}


def test_the_table_as_files(capsys, tiny_set, tmp_path):
    command = [
        "run",
        "--method",
        "disc,whole",
        "--split",
        str(tiny_set),
        "--runs",
        str(tmp_path),
        "--pictures",
        "false",
    ]
    for suffix, mark in (("md", "| method"), ("csv", "split,protocol,method"), ("tex", r"\toprule")):
        assert main([*command, "--out", str(tmp_path / f"table.{suffix}")]) == 0
        assert mark in (tmp_path / f"table.{suffix}").read_text()
    assert "disc" in capsys.readouterr().out


def width_of(picture) -> int:
    with Image.open(picture) as opened:
        return opened.width


def test_localizing_draws_a_picture(plugin_file, tmp_path):
    Image.fromarray(np.zeros((30, 40, 3), dtype=np.uint8)).save(tmp_path / "frame.png")
    soundfile.write(tmp_path / "sound.wav", np.zeros(16_000), 16_000)
    places = [str(tmp_path / name) for name in ("frame.png", "sound.wav", "out.png")]
    assert main(["localize", "--method", f"{plugin_file}:Tiny", *places[:2], "-o", places[2]]) == 0
    assert width_of(places[2]) > 400


def test_localizing_a_real_clip(plugin_file, shared, tmp_path):
    clip = next((shared / "media" / "vggsound_clips").glob("*.mp4"))
    assert main(["localize", "--method", f"{plugin_file}:Tiny", str(clip), "-o", str(tmp_path / "out.png")]) == 0
    assert width_of(tmp_path / "out.png") > 400


def test_localizing_without_a_sound(capsys, plugin_file, tmp_path):
    Image.fromarray(np.zeros((30, 40, 3), dtype=np.uint8)).save(tmp_path / "frame.png")
    assert main(["localize", "--method", f"{plugin_file}:Tiny", str(tmp_path / "frame.png")]) == 2
    assert "is a picture and no sound was given" in capsys.readouterr().err


def test_a_metric_is_shown_with_its_definition(capsys):
    assert main(["list", "metrics", "--show", "auc"]) == 0
    shown = capsys.readouterr().out
    assert "AUC (auc), version 1, higher is better" in shown
    assert "trapezoid rule" in shown
    assert "stoneMo/EZ-VSL" in shown


def test_a_protocol_is_shown_step_by_step(capsys):
    assert main(["list", "protocols", "--show", "jsa:av_weight=0.6"]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert lines["upsampling"] == "mode bicubic, align_corners False, keep_constant False"
    assert lines["threshold"] == "rule absolute, at 0.6"
    assert lines["operator"] == ">="
    assert "av_weight 0.6" in lines["fusion"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["metrics", "--show", "acu"], "no metric called 'acu': did you mean auc"),
        (["protocols", "--show", "ezvls"], "no protocol called 'ezvls': did you mean ezvsl"),
        (["controls", "--show", "disc"], "--show is for metrics, protocols, recipes, splits, not for controls"),
    ],
)
def test_what_cannot_be_shown_is_refused(capsys, arguments, sentence):
    assert main(["list", *arguments]) == 2
    assert sentence in capsys.readouterr().err
