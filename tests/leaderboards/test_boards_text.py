"""Boards as they are printed and written: hand-written cells, widths, and numbers that machines read."""

import csv
import io
import json
from dataclasses import replace

import pytest

from avbench.leaderboards.boards import Board, Line, Listens
from avbench.leaderboards.boards_text import boards_json, boards_text, columns, letters, print_boards
from avbench.leaderboards.entries import Entry
from avbench.leaderboards.published_boards import print_published, published_board, published_board_text
from avbench.records import Record


@pytest.fixture
def entry() -> Entry:
    """Of which only the key is shown."""
    known = {"key": "0123456789abcdef", "method": {"info": {}}, "checkpoint": {"sha256": None}}
    record = Record("jsa", "av", "demo", "common", "true", 6, 6, 6, 0, False, {}, {}, known, {})
    return Entry("verified", (record,))


@pytest.fixture
def board(entry) -> Board:
    """A method and a control."""
    first = Line(
        title="jsa",
        method="jsa",
        variant="av",
        control=False,
        family="self-supervised",
        selection="validation",
        badge="verified",
        values={"locacc": 0.5, "mean_ciou": 0.4321},
        intervals={"locacc": (0.1876, 0.8124), "mean_ciou": (0.4, 0.5)},
        ranks={"locacc": 1, "mean_ciou": 2},
        groups={"locacc": 1, "mean_ciou": 28},
        listens=Listens("unclear", 0.1234, -0.01, 0.2, 0.06),
        parameters=22_870_000,
        seconds=0.0123,
        device="NVIDIA H100",
        n=6,
        entry=entry,
        record=entry.records[0],
    )
    disc = replace(
        first,
        title="disc",
        method="disc",
        control=True,
        family="control",
        selection="none",
        values={"locacc": 1 / 3},
        intervals={},
        ranks={"locacc": None, "mean_ciou": None},
        groups={"locacc": None, "mean_ciou": None},
        listens=None,
        parameters=None,
        seconds=None,
    )
    return Board(
        split="demo",
        split_sha256="11ab",
        truth="7e57",
        protocol="common",
        version=1,
        badge="verified",
        selections=("validation",),
        n=6,
        n_positive=6,
        metrics=("locacc", "mean_ciou"),
        tested=("locacc", "mean_ciou"),
        lines=(first, disc),
        notes=("First.", "Second."),
        comparisons=(),
    )


def test_markdown(board):
    title, _, head, _, first, disc, _, *told = boards_text([board], "md").splitlines()
    assert title == "**demo, protocol common, verified, checkpoints best on a validation list: 6 samples**"
    assert [cells(line) for line in (head, first, disc)] == [
        ["rank", "tie", "method", "selection", "cIoU_%", "95_%", "mean_cIoU_%", "listens?", "M", "ms", "n"],
        ["1", "a", "jsa", "validation", "50.00", "18.8_to_81.2", "43.21", "unclear_12.3", "22.87", "12.3", "6"],
        ["", "", "disc", "", "33.33", "", "", "", "", "", "6"],
    ]
    assert told == ["- First.", "- Second."]


def cells(line) -> list[str]:
    return [cell.strip().replace(" ", "_") for cell in line.strip("|").split("|")]


def test_latex_says_the_same(board):
    written = boards_text([board], "tex")
    assert written.startswith("% demo, protocol common, verified, checkpoints best on a validation list: 6 samples\n")
    assert r"1 & a     & jsa      & validation  &    50.00 & 18.8 to 81.2 &" in written
    assert r"cIoU \%" in written
    assert written.endswith("% First.\n% Second.\n")


def test_csv_has_fractions(board):
    first, disc = csv.DictReader(io.StringIO(boards_text([board], "csv")))
    assert {name: first[name] for name in ("split", "protocol", "version", "badge", "ranked", "title", "key")} == {
        "split": "demo",
        "protocol": "common",
        "version": "1",
        "badge": "verified",
        "ranked": "validation",
        "title": "jsa",
        "key": "0123456789abcdef",
    }
    assert [first[name] for name in ("locacc", "locacc_low", "locacc_high", "locacc_rank", "locacc_tie")] == [
        *("0.5", "0.1876", "0.8124", "1", "a")
    ]
    assert (first["mean_ciou_rank"], first["mean_ciou_tie"]) == ("2", "ab")
    assert (first["listens"], first["drop"], first["parameters"]) == ("unclear", "0.1234", "22870000")
    assert (disc["mean_ciou"], disc["locacc_low"], disc["locacc_rank"], disc["listens"]) == ("", "", "", "")


def test_json(board):
    (found,) = json.loads(json.dumps(boards_json([board]), allow_nan=False))
    assert (found["split"], found["selections"], found["tests"]) == ("demo", ["validation"], [])
    first, disc = found["lines"]
    assert (first["ranks"], first["key"]) == ({"locacc": 1, "mean_ciou": 2}, "0123456789abcdef")
    assert first["listens"]["drop"] == 0.1234
    assert disc["listens"] is None


def test_the_badge_has_a_column_where_boards_of_several_are_shown(board):
    assert "badge" not in [column.name for column in columns(board)]
    written = boards_text([board, replace(board, badge="local")], "md")
    assert written.count("| badge    |") == 2


def shown(board, capsys, monkeypatch, width) -> list[str]:
    monkeypatch.setattr("avbench.leaderboards.boards_text.WIDE", width)
    print_boards([board])
    return capsys.readouterr().out.splitlines()


def test_a_narrow_terminal_spares_what_the_title_tells(board, capsys, monkeypatch):
    lines = shown(board, capsys, monkeypatch, 120)
    assert max(map(len, lines)) <= 120
    assert any("selection" in line and " n " in line for line in lines)
    lines = shown(board, capsys, monkeypatch, 85)
    assert max(map(len, lines)) <= 85
    assert not any("selection" in line for line in lines)
    assert any("18.8 to 81.2" in line for line in lines)


def test_a_wide_board_fits_120_columns(board, capsys, monkeypatch):
    metrics = ("locacc", "auc", "mean_ciou", "ap", "max_f1")
    full = {name: dict.fromkeys(metrics, value) for name, value in (("ranks", 30), ("groups", 3), ("values", 1.0))}
    line = replace(board.lines[0], title="attention10k@0123456789ab", n=400, intervals={"locacc": (0.8, 1.0)}, **full)
    lines = shown(replace(board, metrics=metrics, lines=(line,)), capsys, monkeypatch, 120)
    assert max(map(len, lines)) <= 120
    joined = "".join(lines)
    assert joined.count("100.00") == 5
    assert "80.0 to 100.0" in joined


def test_letters_of_tie_groups():
    assert [letters(group) for group in (None, 1, 26, 27, 53)] == ["", "a", "z", "aa", "ba"]


class TestPublished:
    def test_of_a_split_that_papers_print(self):
        found = published_board("flickr-extended", metrics=("ap", "max_f1"))
        assert found.metrics == ("ap", "max_f1")
        (line,) = [line for line in found.lines if line.title.startswith("SLAVC")]
        assert (line.method, line.table, line.values) == ("slavc", "alignment-7", {"ap": "51.63", "max_f1": "59.10"})
        assert {line.table for line in published_board("flickr-extended", methods=("slavc",)).lines} == {"alignment-7"}

    def test_of_another_split(self):
        assert published_board("demo") is None

    def test_has_no_ranks(self, capsys):
        found = published_board("flickr-extended")
        print_published(found)
        printed = capsys.readouterr().out
        assert "rank" not in published_board_text(found, "md").partition("Badge paper")[0]
        assert (
            "Badge paper: numbers copied from papers, each measured in its own way; nothing here is ranked" in printed
        )
        assert "OGL (ECCV22) *" in printed
