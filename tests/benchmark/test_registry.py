"""How methods are found, described and configured."""

import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from avbench import registry
from avbench.errors import AvbenchError, UsageError
from avbench.registry import describe, find_method, load_class, make_config, method_names


def test_built_ins_are_the_files_of_the_folder():
    folder = Path(find_method("disc").source).parent
    expected = sorted(p.stem.replace("_", "-") for p in folder.glob("*.py") if not p.name.startswith("_"))
    assert [name for name in method_names() if find_method(name).origin == "built-in"] == expected


def test_the_description_needs_no_import():
    code = (
        "from avbench.registry import *; import sys;"
        "print([describe(find_method(n)).name for n in method_names()] and 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", method_names())
def test_the_description_read_from_source_is_what_the_class_says(name):
    ref = find_method(name)
    assert describe(ref) == load_class(ref).info
    assert describe(ref).summary.endswith(".")


def test_a_method_file_needs_the_name_of_its_class():
    with pytest.raises(UsageError, match=r"its name alone: write my/x.py:ClassName"):
        find_method("my/x.py")


def test_an_unknown_name_answers_with_the_closest_and_the_listing():
    with pytest.raises(UsageError, match=r"no method called 'ezvls': did you mean ezvsl or lvs\? avbench list methods"):
        find_method("ezvls")


def test_a_method_from_a_file(plugin_file):
    ref = find_method(f"{plugin_file}:Tiny")
    assert (ref.name, describe(ref).trainable) == ("tiny-plugin", False)
    assert load_class(ref) is load_class(ref)


def test_a_file_that_is_not_there():
    with pytest.raises(UsageError, match=r"expected a method file, found nothing at nowhere.py"):
        find_method("nowhere.py:Tiny")


def test_a_class_that_is_not_in_the_file(plugin_file):
    with pytest.raises(UsageError, match=r"has no class 'Other'"):
        load_class(find_method(f"{plugin_file}:Other"))


def test_a_class_without_registration(plugin_file):
    with pytest.raises(UsageError, match=r"Embeddings in .* is not registered"):
        load_class(find_method(f"{plugin_file}:Embeddings"))


def use_entry_points(monkeypatch, *points):
    registry._plugins.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda group: points)


@pytest.fixture(autouse=True)
def forget_plugins():
    yield
    registry._plugins.cache_clear()


def test_a_plugin_may_not_take_a_built_in_name(monkeypatch):
    use_entry_points(monkeypatch, EntryPoint("jsa", "avbench.methods.disc:Disc", registry.GROUP))
    with pytest.raises(UsageError, match=r"'jsa' is built in, yet .* registers it too"):
        find_method("ezvsl")


def test_two_plugins_may_not_share_a_name(monkeypatch):
    point = EntryPoint("mine", "avbench.methods.disc:Disc", registry.GROUP)
    use_entry_points(monkeypatch, point, point)
    with pytest.raises(UsageError, match=r"two packages register a method 'mine'"):
        find_method("mine")


def test_a_plugin_whose_module_is_gone(monkeypatch):
    use_entry_points(monkeypatch, EntryPoint("mine", "not_there_at_all:Mine", registry.GROUP))
    with pytest.raises(AvbenchError, match=r"'mine' of .* cannot be imported"):
        load_class(find_method("mine"))


@dataclass(frozen=True)
class Example:
    tau: float = 0.03
    slots: int = 2
    name: str | None = None
    on: bool = True


def test_overrides_are_converted_by_type():
    made = make_config(Example, {"tau": "0.5", "slots": 3, "name": "a", "on": "false"})
    assert made == Example(0.5, 3, "a", False)


def test_none_and_zero_can_be_set():
    assert make_config(Example, {"name": None, "slots": 0}) == Example(name=None, slots=0)


def test_an_unknown_setting_answers_with_the_closest():
    with pytest.raises(UsageError, match=r"no setting of Example called 'slot': did you mean slots"):
        make_config(Example, {"slot": 3})


def test_a_setting_of_the_wrong_type():
    with pytest.raises(UsageError, match=r"setting of Example has the wrong type.*two"):
        make_config(Example, {"slots": "two"})


PACKAGE = """
[project]
name = "avbench-someones-method"
version = "1"
[project.entry-points."avbench.methods"]
someones = "someones_method:Tiny"
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[tool.setuptools]
py-modules = ["someones_method"]
"""


def test_a_method_of_an_installed_package(tmp_path, plugin_file, tiny_set):
    """A package is built and installed into an environment of its own, which sees this one's libraries."""
    source = tmp_path / "package"
    source.mkdir()
    (source / "pyproject.toml").write_text(PACKAGE)
    (source / "someones_method.py").write_text(plugin_file.read_text().replace("tiny-plugin", "someones"))
    wheels = tmp_path / "wheels"
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    scratch = tmp_path / "scratch"
    venv.create(scratch, with_pip=True)
    python = scratch / "bin" / "python"
    here = next(Path(p) for p in sys.path if p.endswith("site-packages"))
    there = next((scratch / "lib").glob("python*/site-packages"))
    (there / "libraries.pth").write_text(f"import site; site.addsitedir({str(here)!r})\n")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", next(wheels.glob("*.whl"))]
    subprocess.run(install, check=True, capture_output=True)
    command = [
        python,
        "-m",
        "avbench",
        "run",
        "--method",
        "someones",
        "--split",
        tiny_set,
        "--controls",
        "false",
        "--out",
        "t.csv",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t.csv").read_text().splitlines()[1].startswith("tiny,common,someones,")
    listed = subprocess.run([python, "-m", "avbench", "list", "methods"], capture_output=True, text=True, check=True)
    assert "avbench-someones-method" in listed.stdout
