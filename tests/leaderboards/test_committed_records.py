"""The first leaderboard, as committed: its records are whole, and README and page say what they say."""

import base64
import gzip
import json
import re
from pathlib import Path

import pytest

from avbench.cli import main
from avbench.leaderboards.boards import boards
from avbench.leaderboards.entry_checks import problems
from avbench.leaderboards.entry_files import RECORDS, read_entries
from avbench.registry import describe, find_method, method_names

ROOT = Path(__file__).parents[2]
METHODS = ("alignment", "ezvsl", "fnac", "jsa", "lvs", "slavc")
BEGIN = "<!-- leaderboard: avbench leaderboard --selection last --out FILE.md -->"
END = "<!-- end of leaderboard -->"
TIMES = "ms"
"""The column of what depends on the machine."""


@pytest.fixture(scope="module")
def entries():
    return read_entries()


@pytest.fixture(scope="module")
def page() -> dict:
    text = (ROOT / "docs" / "leaderboard.html").read_text(encoding="utf-8")
    (packed,) = re.findall(r'<script[^>]*id="data"[^>]*>([^<]*)</script>', text)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


FOREIGN = {"ogl"}
"""The control that is nothing without torchvision's ImageNet weights, which no demo result rests on."""


def controls() -> set[str]:
    return {name for name in method_names() if describe(find_method(name)).control} - FOREIGN


def test_nothing_is_wrong_with_the_records():
    assert RECORDS.is_dir()
    assert problems(RECORDS) == []


def test_every_method_by_both_rules_and_every_control_is_there(entries):
    there = {(entry.method, entry.selection) for entry in entries if entry.split == "demo"}
    wanted = {(method, rule) for method in METHODS for rule in ("last", "oracle")}
    assert wanted - there == set()
    assert {(name, "none") for name in controls()} - there == set()


def test_methods_were_asked_whether_they_listen(entries):
    trained = [entry for entry in entries if entry.split == "demo" and entry.method in METHODS]
    assert trained
    assert [entry.name for entry in trained if entry.listening is None] == []


def untimed(block: str) -> list[list[str]]:
    """The lines of a table's text, each in cells, without the column of times."""
    lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.strip().splitlines()]
    (header,) = [line for line in lines if TIMES in line]
    place = header.index(TIMES)
    return [line[:place] + line[place + 1 :] if len(line) == len(header) else line for line in lines]


def test_the_table_of_the_readme_is_what_the_command_writes(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.count(BEGIN) == readme.count(END) == 1
    block = readme.partition(BEGIN)[2].partition(END)[0]
    assert main(["leaderboard", "--selection", "last", "--out", str(tmp_path / "board.md")]) == 0
    written = (tmp_path / "board.md").read_text(encoding="utf-8")
    assert untimed(block) == untimed(written)


def test_the_page_has_every_entry(page, entries):
    assert entries
    shown = {one["entry"] for method in page["pages"].values() for one in method["entries"]}
    assert shown == {entry.name for entry in entries}
    assert page["generated"]["entries"] == len(entries)
    assert page["generated"]["records"] == sum(len(entry.records) for entry in entries)
    assert page["gallery"]["split"] == "demo"
    assert {one["method"] for sample in page["gallery"]["samples"] for one in sample["maps"]} >= {*METHODS}


def test_the_page_hands_out_the_very_records(page, entries):
    files = {name: gzip.decompress(base64.b64decode(file["gzip"])) for name, file in page["files"].items()}
    assert files == {entry.name: entry.path.read_bytes() for entry in entries}


def test_the_numbers_of_the_page_are_those_of_the_records(page, entries):
    """Values and ranks of two boards, worked out anew."""
    for selection in ("last", "oracle"):
        (board,) = boards(entries, splits=["demo"], protocols=["common"], selections=[selection], badges=["verified"])
        (shown,) = [
            one
            for one in page["boards"]
            if (one["split"], one["protocol"], one["badge"]) == ("demo", "common", "verified")
            and one["selection"] == selection
        ]
        assert [row["title"] for row in shown["rows"]] == [line.title for line in board.lines]
        assert {METHODS[0], "disc"} <= {row["title"] for row in shown["rows"]}
        for row, line in zip(shown["rows"], board.lines, strict=True):
            assert row["values"] == pytest.approx(line.values, abs=1e-6)
            assert (row["ranks"], row["groups"], row["entry"]) == (line.ranks, line.groups, line.entry.name)
            assert {*row["intervals"]} == {*line.intervals}
            for name, interval in line.intervals.items():
                assert row["intervals"][name] == pytest.approx(interval, abs=1e-5)
            assert (row["listens"] and row["listens"]["verdict"]) == (line.listens and line.listens.verdict)


def test_every_record_is_on_the_page_with_its_values(page, entries):
    recorded = {
        (entry.split, record.protocol, entry.name, record.variant): record.metrics
        for entry in entries
        for record in entry.records
    }
    shown = {
        (board["split"], board["protocol"], row["entry"], row["variant"]): row["values"]
        for board in page["boards"]
        for row in board["rows"]
    }
    assert {*shown} == {*recorded}
    for place, values in shown.items():
        for name, value in values.items():
            assert value == pytest.approx(recorded[place][name], abs=1e-6), (place, name)
