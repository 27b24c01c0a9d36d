"""``avbench new-method``: what it writes works as written, and it refuses what would not."""

import configparser
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from avbench.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder with my_method.py and its test."""
    folder = tmp_path_factory.mktemp("new") / "below"
    assert main(["new-method", "my-method", "--out", str(folder)]) == 0
    return folder


def test_the_file_passes_the_check(capsys, written):
    assert main(["check", f"{written / 'my_method.py'}:MyMethod"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("my-method  ")
    assert "passed   gradients" in shown
    assert "1,402,624 by default" in shown


def test_its_test_passes_in_a_process_of_its_own(written):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_method.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=written, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_its_test_fails_when_the_method_is_broken(written, tmp_path):
    for name in ("my_method.py", "test_my_method.py"):
        text = (written / name).read_text().replace("self.config.tau", "(2 * self.config.tau)")
        (tmp_path / name).write_text(text.replace('"nchw,nc->nhw", cells', '"nchw,nc->nhw", -cells'))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "not contract",
        "test_my_method.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "2 failed" in done.stdout


def test_its_files_are_clean(written):
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check"], ["format", "--check", "--line-length", "120"]):
        done = subprocess.run([ruff, *command, "--isolated", written], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_next_commands_are_printed(capsys, tmp_path):
    assert main(["new-method", "aural", "-o", str(tmp_path)]) == 0
    place = tmp_path / "aural.py"
    commands = [line.strip() for line in capsys.readouterr().out.splitlines()[2:]]
    assert commands == [
        f"avbench check {place}:Aural",
        f"pytest {tmp_path / 'test_aural.py'}",
        f"avbench train --method {place}:Aural --split demo-train",
        f"avbench run --method {place}:Aural --split demo",
    ]
    assert "$" not in place.read_text() + (tmp_path / "test_aural.py").read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jsa", "there is a method 'jsa' already"),
        ("training_prior", "there is a method 'training-prior' already"),
        ("2nd", "expected a name that Python allows for a file and a variable, got '2nd'"),
        ("a.b", "got 'a.b'"),
        ("../up", "got '../up'"),
        ("caf\u00e9", "expected a name that Python allows"),
        ("_hidden", "got '_hidden'"),
        ("class", "take no keyword"),
        ("batch", "the class of 'batch' would be Batch, which its file imports from elsewhere"),
        ("f", "the class of 'f' would be F"),
        ("torch", "there is a module 'torch' already"),
        ("json", "would hide: choose another name"),
    ],
)
def test_names_that_would_not_work_are_refused(capsys, tmp_path, name, message):
    assert main(["new-method", "-o", str(tmp_path), name]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("taken", ["aural.py", "test_aural.py"])
def test_nothing_is_overwritten(capsys, tmp_path, taken):
    (tmp_path / taken).write_text("mine")
    assert main(["new-method", "aural", "-o", str(tmp_path)]) == 2
    assert f"expected no file {tmp_path / taken}, found one" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "mine"


def test_the_templates_go_into_the_wheel():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    pattern = parser["options.package_data"]["avbench.templates"]
    names = {entry.name for entry in files("avbench.templates").iterdir()} - {"__init__.py", "__pycache__"}
    assert names == {"method.py.txt", "test_method.py.txt"}
    assert all(Path(name).match(pattern) for name in names)


@pytest.mark.parametrize(
    ("out", "message"), [("mine.yaml", "since mine.yaml is a file"), ("", "got '': name a folder")]
)
def test_what_is_no_folder_is_refused(capsys, tmp_path, monkeypatch, out, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()
    assert main(["new-method", "aural", "-o", out]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize("refused", ["aural.py", "test_aural.py"])
def test_a_full_disk_leaves_nothing_in_the_way(capsys, tmp_path, monkeypatch, refused):
    replace = Path.replace

    def full(source, target):
        if Path(target).name == refused:
            raise OSError(28, "No space left on device")
        return replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        assert main(["new-method", "aural", "-o", str(tmp_path)]) == 1
    assert f"{refused} cannot be written (No space left on device)" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["new-method", "aural", "-o", str(tmp_path)]) == 0
