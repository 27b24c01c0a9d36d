"""Guards of the layout: the traps of mapping four folders onto one package."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "benchmark": "avbench",
    "methods": "avbench.methods",
    "metrics": "avbench.metrics",
    "leaderboards": "avbench.leaderboards",
}
BODY, FILE = 40, 400


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def sources() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def test_every_package_is_listed_for_the_wheel():
    found = set()
    for folder, name in FOLDERS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            below = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join([name, *below]))
    assert set(setup_cfg()["options"]["packages"].split()) == found


def test_every_data_file_is_listed_for_the_wheel():
    patterns = dict(setup_cfg()["options.package_data"])
    for folder, name in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.toml"):
            package = ".".join([name, *path.parent.relative_to(ROOT / folder).parts])
            assert any(path.match(pattern) for pattern in patterns[package].split(",")), path


@pytest.mark.parametrize("name", ["methods", "metrics", "leaderboards"])
def test_no_folder_shadows_a_mapped_package(name):
    assert not (ROOT / "benchmark" / name).exists()
    assert not (ROOT / "benchmark" / f"{name}.py").exists()


def test_limits_of_size():
    for path in sources():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= FILE, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                start = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                assert (node.end_lineno or 0) - start.lineno + 1 <= BODY, f"{path.name}:{node.name}"


def imports_of(path: Path) -> set[str]:
    """Modules of ours that a file imports at its top level, TYPE_CHECKING blocks left out."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("avbench"):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("avbench")}
    return found


ALLOWED = {
    "metrics": ("avbench.metrics",),
    "methods": ("avbench.errors", "avbench.types", "avbench.registry", "avbench.nets", "avbench.frontends"),
    "leaderboards": (
        "avbench.errors",
        "avbench.leaderboards",
        "avbench.metrics",
        "avbench.records",
        "avbench.store",
        "avbench.stored",
        "avbench.listening",
        "avbench.redacting",
        "avbench.data.regular",
    ),
    "benchmark/nets": ("avbench.errors", "avbench.types", "avbench.nets", "avbench.checkpoints"),
    "benchmark/data": ("avbench.errors", "avbench.types", "avbench.data", "avbench.store"),
}


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_no_import_runs_upward(folder):
    for path in sorted((ROOT / folder).glob("*.py")):
        for module in imports_of(path):
            assert module.startswith(ALLOWED[folder]), f"{path.name} imports {module}"


@pytest.mark.parametrize(
    "statement", ["import avbench", "import avbench.cli", "import avbench.registry, avbench.request"]
)
def test_the_light_modules_import_neither_torch_nor_pandas(statement):
    code = f"{statement}; import sys; print(sorted({{'torch', 'pandas', 'scipy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version_has_one_home():
    import avbench

    assert setup_cfg()["metadata"]["version"] == "attr: avbench.__version__"
    assert f"## {avbench.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("package", "users"), [("figures", ("figures", "pages", "commands")), ("pages", ("pages", "commands"))]
)
def test_figures_and_the_page_stand_above_the_leaderboards(package, users):
    for folder in ("benchmark", "methods", "metrics", "leaderboards"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.parent.name not in users:
                assert f"avbench.{package}" not in path.read_text(encoding="utf-8"), f"{path.name} imports upward"


def test_only_the_command_line_the_figures_and_the_page_stand_above_the_leaderboards():
    for path in sorted((ROOT / "benchmark").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert "avbench.leaderboards" not in text, f"{path.name} imports upward"
        assert path.name == "cli.py" or "avbench.commands" not in text, f"{path.name} imports upward"
