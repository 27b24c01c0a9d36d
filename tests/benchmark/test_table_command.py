"""``avbench table`` as a person gives it: forms, files, what is counted and measured here, what is refused."""

import csv
import io
import json
from dataclasses import asdict, replace

import pytest

from avbench import cli, device_costs
from avbench.device_costs import DeviceCost, count_parameters, trained_methods
from avbench.leaderboards.published_tables import MARKS, published_tables, table_ids

COST = DeviceCost(
    "lvs", 4, 1.25, 2_500_000_000, 0.0375, 310_000_000, 3, "cpu", "a processor", 2, "2.11", "2026-01-01", ""
)


def avbench(capsys, *given: str) -> tuple[int, str, str]:
    code = cli.main(["table", *given])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def nothing_measured(monkeypatch, store):
    """Costs without measuring; returns the methods that would have been."""
    asked = []

    def measured(method, place, size):
        asked.append(method)
        return replace(COST, method=method, batch_size=size)

    monkeypatch.setattr(device_costs, "_measured", measured)
    monkeypatch.setattr(
        device_costs, "_described", lambda device: {"device": device, "name": "x", "threads": 1, "torch": "2"}
    )
    return asked


def counted(method, settings):
    return {"ezvsl": 22_872_064, "jsa": 29_708_288 if settings else 31_818_498}[method]


@pytest.fixture
def nothing_built(monkeypatch):
    monkeypatch.setattr(device_costs, "count_parameters", counted)


def test_parameters_are_counted():
    assert count_parameters("jsa", {}) == 31_818_498
    assert count_parameters("jsa", {"decoders": False}) == 29_708_288
    assert count_parameters("ezvsl", {}) == 22_872_064


class TestSizes:
    def test_markdown(self, capsys, nothing_built):
        code, text, said = avbench(capsys, "jsa-supp-1")
        assert (code, said) == (0, "")
        rows = [line.split("|")[2].strip() for line in text.splitlines() if "verified)" in line]
        ours = [row.split("<br>", 1)[1] for row in rows]
        assert ours == [f"{number}<br>(0.00, verified)" for number in ("22.87", "31.82", "29.71")]
        assert "ezvsl 22,872,064; jsa 31,818,498; jsa without decoders 29,708,288." in text

    def test_csv(self, capsys, nothing_built):
        found = list(csv.DictReader(io.StringIO(avbench(capsys, "jsa-supp-1", "--format", "csv")[1])))
        title = "# of parameters (M)"
        keys = ("published", "ours", "difference", "samples", "badge")
        assert [[row[f"{title} ({key})"] for key in keys] for row in found] == [
            ["22.87", "22.87", "0.00", "", "verified"],
            ["31.82", "31.82", "0.00", "", "verified"],
            ["29.71", "29.71", "0.00", "", "verified"],
        ]

    def test_json(self, capsys, nothing_built):
        found = json.loads(avbench(capsys, "jsa-supp-1", "--json")[1])["cells"]
        assert [round(cell["ours"]["difference"], 6) for cell in found] == [0.002064, -0.001502, -0.001712]
        assert {cell["ours"]["badge"] for cell in found} == {"verified"}


class TestCosts:
    def test_rows_below_the_papers(self, capsys, nothing_measured):
        code, text, _ = avbench(capsys, "oassl-supp-4", "--device", "cpu", "--batch-size", "2")
        (row,) = [line for line in text.splitlines() if line.startswith("| lvs ")]
        assert code == 0
        assert [cell.strip() for cell in row.split("|")[1:-1]] == [
            "lvs",
            MARKS[None],
            "",
            "1.250",
            "2.50",
            "0.038",
            "0.31",
        ]
        assert "Ours, on this device" in text
        assert "batches of 2, with PyTorch 2.11, in float32" in text
        assert nothing_measured == trained_methods()

    def test_what_was_measured_is_kept(self, capsys, nothing_measured):
        given = ("oassl-supp-4", "--device", "cpu")
        first = avbench(capsys, *given)
        assert avbench(capsys, *given)[1] == first[1]
        assert len(nothing_measured) == len(trained_methods())
        avbench(capsys, *given, "--remeasure")
        assert len(nothing_measured) == 2 * len(trained_methods())
        avbench(capsys, *given, "--batch-size", "8")
        assert len(nothing_measured) == 3 * len(trained_methods())

    def test_as_csv(self, capsys, nothing_measured):
        rows = csv.DictReader(io.StringIO(avbench(capsys, "oassl-supp-4", "--device", "cpu", "--format", "csv")[1]))
        (row,) = [row for row in rows if row["Method"] == "lvs"]
        heading = "Training / time (s) (per iter)"
        assert (row[f"{heading} (published)"], row[f"{heading} (ours)"], row[f"{heading} (badge)"]) == (
            "",
            "1.250",
            "verified",
        )

    def test_as_json(self, capsys, nothing_measured):
        found = json.loads(avbench(capsys, "oassl-supp-4", "--device", "cpu", "--json")[1])["costs"]
        assert found[0] == asdict(replace(COST, method="alignment"))


def test_measured_for_real(store, trainable_plugin):
    (found,) = device_costs.device_costs([str(trainable_plugin) + ":Tiny"], device="cpu", batch_size=2)
    assert (found.batch_size, found.device, found.settings) == (2, "cpu", "")
    assert min(found.step_seconds, found.image_seconds) > 0
    assert found.step_bytes > found.image_bytes > 2 * 3 * 224 * 224 * 4


def test_a_setting_that_must_be_below_the_batch():
    assert device_costs._settings("jsa", 4) == {"reciprocal_k": 3}
    assert device_costs._settings("jsa", 21) == device_costs._settings("lvs", 4) == {}


@pytest.mark.usefixtures("nothing_measured", "nothing_built")
class TestAll:
    def test_one_below_the_other(self, capsys):
        text = avbench(capsys, "all", "--device", "cpu")[1]
        assert [line.split(":")[0].strip("*") for line in text.splitlines() if line.startswith("**")][:2] == [
            "jsa-supp-1",
            "jsa-supp-2",
        ]
        assert all(f"**{name}: " in text for name in table_ids())

    def test_csv_is_one_list(self, capsys):
        rows = list(csv.DictReader(io.StringIO(avbench(capsys, "all", "--device", "cpu", "--format", "csv")[1])))
        cells = sum(len(row) for table in published_tables() for row in table.cells)
        ours = [row for row in rows if row["column"] != "" and row["published"] == "" and row["ours"] != ""]
        assert len(rows) == cells + 4 * len(trained_methods())
        assert len(ours) == 4 * len(trained_methods())
        assert list(dict.fromkeys(row["table"] for row in rows)) == list(table_ids())
        assert rows[0]["difference"] == "0.002064"

    def test_a_page(self, capsys, tmp_path):
        code, text, said = avbench(capsys, "all", "--device", "cpu", "--how", "--out", str(tmp_path / "tables.html"))
        page = (tmp_path / "tables.html").read_text()
        assert (code, text) == (0, "")
        assert said.splitlines()[-1] == f"table: {tmp_path / 'tables.html'}"
        assert page.startswith("<!doctype html>")
        assert page.count("<table>") == len(table_ids())
        assert "avbench sweep jsa-supp-3 --scale paper --data ROOT --metadata DIR" in page
        assert "http" not in page


def test_how_in_latex_is_a_comment(capsys):
    text = avbench(capsys, "jsa-supp-3", "--format", "latex", "--how")[1]
    assert text.splitlines()[0] == "% needs the packages booktabs and amssymb"
    assert "%     avbench sweep jsa-supp-3 --scale paper --data ROOT --metadata DIR" in text.splitlines()


def test_without_results_the_published_numbers_stand_alone(capsys):
    text = avbench(capsys, "jsa-supp-3")[1]
    assert "<br>" not in text
    assert "No result of ours is in this table: avbench table jsa-supp-3 --how says what would fill it." in text


def test_results_of_ones_own(capsys, monkeypatch, tmp_path):
    from avbench.leaderboards import local_entries

    asked = []
    monkeypatch.setattr(local_entries, "entries_of_runs", lambda places, note: asked.extend(places) or [])
    assert avbench(capsys, "jsa-supp-3", "--runs", str(tmp_path / "one"), str(tmp_path / "two"))[0] == 0
    assert asked == [tmp_path / "one", tmp_path / "two"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["jsa-supp-9"], "there is no table called 'jsa-supp-9': did you mean jsa-supp-6 or jsa-supp-5 or jsa-supp-4? "
         "avbench list tables shows all"),
        (["all", "--format", "tex"], "there is no format called 'tex': did you mean latex? the list md, csv, latex, "
         "html shows all"),
        (["all", "--out", "x.pdf"], "expected --out FILE ending in .md or .csv or .tex or .html, got 'x.pdf'"),
        (["all", "--out", "x.md", "--format", "csv"], "--format csv and --out x.md ask for different forms: leave one "
         "of them out"),
        (["jsa-supp-3", "--how", "--format", "csv"], "--how has no place in CSV, which holds the cells alone: choose "
         "another format, or --json"),
        (["oassl-supp-4", "--batch-size", "0"], "expected --batch-size of at least 1, got 0"),
        (["oassl-supp-4", "--device", "abacus"], "expected --device auto, cpu, cuda or cuda:1 and so on, got 'abacus'"),
    ],
)  # fmt: skip
def test_what_is_refused(capsys, given, sentence):
    assert avbench(capsys, *given) == (2, "", f"avbench: {sentence}\n")


def test_a_damaged_measurement(capsys, nothing_measured, store):
    avbench(capsys, "oassl-supp-4", "--device", "cpu")
    file = next((store / "costs").glob("lvs-*.json"))
    file.write_text('{"method": "lvs"}')
    code, _, said = avbench(capsys, "oassl-supp-4", "--device", "cpu")
    assert code == 1
    assert said.startswith(f"avbench: expected a measurement in {file}, found another form (")
    assert said.endswith("): delete it\n")


def test_the_list_of_tables(capsys):
    assert cli.main(["list", "tables"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(table_ids())
    assert (
        lines[0].split("  ")[-1].strip() == "How many parameters JSA needs in training and at inference, against EZ-VSL"
    )
    assert "3 of 3 filled" in lines[0]
