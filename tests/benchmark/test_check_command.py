"""``avbench check``: the report, as text and as JSON, over whatever code a plugin file holds."""

import json
import re

import pytest

from avbench.cli import main
from avbench.commands import shared as shared_by_commands
from avbench.testing import CHECKS


def test_the_report(capsys, plugin_file):
    assert main(["check", f"{plugin_file}:Tiny", "disc"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"tiny-plugin  {plugin_file}"
    assert "  passed   loss          finite scalar terms and their total" in lines
    assert "  skipped  score range   it states no score_range" in lines
    assert re.search(r"^  \d+ passed, \d+ skipped in \d+\.\d s; parameters: 1 by default, 1 as checked$", lines[24])
    assert lines[26] == "disc  built-in"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "batch.audio.mean(",
            "batch.audio.maen(",
            "AttributeError was raised ('Tensor' object has no attribute 'maen')",
        ),
        ("[:, 0]\n", "\n", "expected the map to be [4, h, w] floats for 4 samples, got [4, 4, 7, 7]"),
        ("import os\n", "import os\nimport nothing_of_the_kind\n", "cannot be imported (ModuleNotFoundError"),
        ("class Tiny(", "class Tiny((", "expected Python in the method file"),
    ],
)
def test_broken_code_is_reported_without_a_traceback(capsys, plugin_file, old, new, sentence):
    text = plugin_file.read_text()
    assert old in text
    plugin_file.write_text(text.replace(old, new))
    assert main(["check", f"{plugin_file}:Tiny", "disc"]) == 1
    shown = capsys.readouterr()
    assert sentence in shown.out
    assert re.search(r"\d failed", shown.out)
    assert "disc  built-in" in shown.out, "the next method is checked all the same"
    assert "Traceback" not in shown.out + shown.err


def test_unknown_names_are_usage_errors_before_anything_is_checked(capsys):
    assert main(["check", "disc", "jsaa"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "there is no method called 'jsaa': did you mean jsa?" in shown.err


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("class Tiny(", "class Other(", "has no class 'Tiny': name the method class after the colon"),
        (
            '@register_method("tiny-plugin"',
            "@dataclass\n@(lambda *a, **k: lambda c: c)(1",
            "is not registered: put @register",
        ),
    ],
)
def test_a_class_that_is_not_there_is_a_usage_error_before_anything_is_checked(capsys, plugin_file, old, new, sentence):
    plugin_file.write_text(plugin_file.read_text().replace(old, new))
    assert main(["check", "disc", f"{plugin_file}:Tiny"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert sentence in shown.err


def test_all_as_json(capsys, monkeypatch, plugin_file):
    plugin_file.write_text(plugin_file.read_text().replace("batch.audio.mean(", "batch.audio.maen("))
    monkeypatch.setattr(shared_by_commands, "method_names", lambda: ["disc", "whole"])
    assert main(["check", "all,disc", "whole", f"{plugin_file}:Tiny", "--json"]) == 1
    reports = json.loads(capsys.readouterr().out)
    assert [(r["method"], r["passed"]) for r in reports] == [("whole", True), ("disc", True), ("tiny-plugin", False)]
    assert reports[0]["parameters"] == {"full": 0, "checked": 0}
    failed = {c["name"]: c["told"] for c in reports[2]["checks"] if c["verdict"] == "failed"}
    assert sorted(failed) == ["embeddings", "loss", "maps"]
    assert {c["verdict"] for r in reports for c in r["checks"]} == {"passed", "failed", "skipped"}
    assert [c["name"] for c in reports[0]["checks"]] == [check.name for check in CHECKS]
