"""``avbench leaderboard``: from runs of a tiny set to boards, with every refusal in one sentence."""

import json
from pathlib import Path

import pytest

from avbench.cli import main


@pytest.fixture
def runs(store, plugin_file, tiny_set, tmp_path, capsys) -> Path:
    """A plugin and the controls on five samples, under two protocols."""
    given = ["--method", f"{plugin_file}:Tiny", "--split", tiny_set, "--runs", tmp_path / "runs", "--pictures", "false"]
    assert main(["run", *map(str, given), "--protocol", "common,jsa", "--json"]) == 0
    capsys.readouterr()
    return tmp_path / "runs"


def asked(*arguments) -> int:
    return main(["leaderboard", *map(str, arguments), "--resamples", "200"])


def test_boards_of_own_runs(capsys, runs, tmp_path):
    given = ["--runs", runs, "--split", "tiny"]
    assert asked("--runs", runs, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (board,) = found["boards"]
    assert (board["split"], board["protocol"], board["badge"], board["n"]) == ("tiny", "common", "local", 5)
    lines = {line["title"]: line for line in board["lines"]}
    assert {"tiny-plugin", "disc", "whole"} <= set(lines)
    assert lines["tiny-plugin"]["ranks"]["locacc"] == 1
    assert lines["disc"]["ranks"]["locacc"] is None
    for line in lines.values():
        place = next((runs / "records" / "tiny").glob(f"{line['method']}.av.common-*.json"))
        assert line["values"]["locacc"] == json.loads(place.read_text())["metrics"]["locacc"]

    assert asked(*given, "--protocol", "all", "--metric", "auc", "--method", "tiny-plugin", "--moves") == 0
    printed = capsys.readouterr().out
    assert "tiny, protocol common, local" in printed
    assert "tiny, protocol jsa, local" in printed
    assert "tiny, local: nothing moves, as there are fewer than two methods or protocols." in printed

    for form, begin in (
        (".md", "**tiny, protocol jsa, local"),
        (".csv", "split,protocol,version,badge"),
        (".json", "{"),
    ):
        out = tmp_path / f"board{form}"
        assert asked(*given, "--protocol", "jsa", "--out", out) == 0
        shown = capsys.readouterr()
        assert out.read_text().startswith(begin)
        assert shown.err.strip().endswith(f"leaderboard: {out}")
    assert "- tiny, local: common" in shown.out

    assert asked(*given, "--method", "tini-plugin") == 2
    assert (
        "there is no method on these boards called 'tini-plugin': did you mean tiny-plugin?" in capsys.readouterr().err
    )
    assert asked(*given, "--selection", "oracle") == 2
    assert "expected boards of --split tiny --selection oracle, there are " in capsys.readouterr().err


def test_published_numbers(capsys):
    assert asked("--split", "flickr-extended", "--badge", "paper", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["boards"] == []
    assert [board["split"] for board in found["published"]] == ["flickr-extended"]
    assert asked("--badge", "paper", "--metric", "cap") == 0
    assert "vggsound-duet, paper: 16 rows of published tables" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--out", "board.html"], "expected --out FILE ending in .md, .csv, .tex or .json, got 'board.html'"),
        (["--badge", "verifed"], "there is no badge called 'verifed': did you mean verified?"),
        (["--selection", "best"], "there is no selection called 'best'"),
        (["--metric", "locac"], "there is no metric called 'locac': did you mean locacc"),
        (["--split", "nowhere"], "expected boards of --split nowhere, there are "),
        (
            ["--split", "nowhere", "--protocol", "jsa", "--badge", "local"],
            "expected boards of --split nowhere --protocol jsa --badge local, there are ",
        ),
        (["--runs", "nowhere"], "expected a runs folder with records/ in it, got "),
        (["--check", "nowhere"], "expected a folder of accepted entries at nowhere, found none: check the path"),
    ],
)
def test_bad_requests(capsys, given, message):
    assert asked(*given) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""


class TestCheck:
    def test_nothing_is_wrong(self, capsys, tmp_path):
        assert main(["leaderboard", "--check", str(tmp_path)]) == 0
        assert capsys.readouterr().out == "nothing is wrong with 0 entries, 0 records\n"

    def test_every_problem_on_a_line(self, capsys, tmp_path):
        (tmp_path / "demo").mkdir()
        (tmp_path / "demo" / "a.txt").touch()
        (tmp_path / "demo" / "b.json").write_text("{}")
        assert main(["leaderboard", "--check", str(tmp_path)]) == 1
        first, second = capsys.readouterr().out.splitlines()
        assert "b.json" in first
        assert second == f"{tmp_path / 'demo' / 'a.txt'} belongs to no entry: move it elsewhere"
