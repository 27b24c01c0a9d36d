"""Tables from records: hand-computed cells, blanks instead of zeros, marks for partial results."""

import csv
import io
import json
import math

import pytest

from avbench.leaderboards.rows import further, headings, leading, rows
from avbench.leaderboards.tables import table_text
from avbench.leaderboards.terminal import notes, print_table
from avbench.records import Record, read_record, write_record


def make(**changes) -> Record:
    values = {
        "method": "jsa",
        "variant": "av",
        "split": "demo",
        "protocol": "common",
        "audio": "true",
        "n_expected": 400,
        "n_scored": 400,
        "n_positive": 400,
        "n_nan": 0,
        "partial": False,
        "metrics": {"locacc": 0.2345, "auc": 0.38125, "mean_ciou": 0.5},
        "intervals": {"locacc": (0.19, 0.281)},
        "provenance": {},
        "run": {"seconds": 20.0},
    }
    return Record(**{**values, **changes})


MAIN = ("locacc", "auc", "mean_ciou")


def test_the_cells_of_a_record():
    (row,) = rows([make()], MAIN)
    assert row.cells == ("jsa", "23.45", "19.0 to 28.1", "38.13", "50.00", "400/400", "20.0", "20")
    assert len(row.cells) == len(headings(MAIN))


def test_what_a_method_does_not_offer_is_blank():
    shown = (*MAIN, "a2i_instance_r1")
    with_, without = rows([make(metrics={**make().metrics, "a2i_instance_r1": 0.0}), make(method="disc")], shown)
    assert with_.cells[5] == "0.00"
    assert without.cells[5] == ""


def test_a_value_that_is_no_number_is_blank():
    (row,) = rows([make(metrics={"locacc": 0.5, "auc": 0.5, "mean_ciou": float("nan")})], MAIN)
    assert row.cells[4] == ""


def test_nothing_was_timed():
    (row,) = rows([make(run={"seconds": 0.0})], MAIN)
    assert row.cells[-2:] == ("0.0", "")


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "jsa"),
        ({"variant": "iqr"}, "jsa (iqr)"),
        ({"audio": "swapped"}, "jsa (swapped audio)"),
        ({"variant": "av+ogl", "audio": "noise"}, "jsa (av+ogl, noise audio)"),
    ],
)
def test_titles(changes, title):
    assert make(**changes).title == title


def test_markdown_has_one_table_per_split_and_protocol():
    text = table_text([make(), make(protocol="jsa"), make(method="disc")], "md")
    assert text.count("| method") == 2
    first, second = text.split("**demo, protocol jsa**")
    assert "| jsa" in first
    assert "| disc" in first
    assert "| disc" not in second


def test_csv_is_one_table():
    found = list(csv.reader(io.StringIO(table_text([make(), make(protocol="jsa")], "csv"))))
    assert found[0][:3] == ["split", "protocol", "method"]
    assert [line[:3] for line in found[1:]] == [["demo", "common", "jsa"], ["demo", "jsa", "jsa"]]


def test_latex_escapes():
    assert "training-prior" in table_text([make(method="training-prior")], "tex")
    assert r"\%" in table_text([make()], "tex")


def test_tables_do_not_depend_on_anything_but_the_records():
    assert table_text([make()], "md") == table_text([make()], "md")


def test_partial_results_and_negatives_are_explained():
    assert notes([make()]) == []
    assert notes([make(n_positive=200)]) == ["cIoU, AUC and mean cIoU are over the 200 samples with a sounding object."]
    partial = make(n_scored=399, n_positive=399, partial=True)
    assert notes([partial]) == ["Partial results cover less than the split and are not to be ranked."]
    assert rows([partial], MAIN)[0].cells[5] == "399/400 partial"


DETECTED = {"ap": 0.3273, "max_f1": 0.4, "ap_official": 0.3295, "max_f1_official": 0.3961}


def extended(**changes) -> Record:
    return make(**{"n_scored": 800, "n_positive": 400, "metrics": {**make().metrics, **DETECTED}, **changes})


def test_detection_stands_beside_the_main_metrics_and_its_official_forms_after_all():
    records = [make(method="disc"), extended(metrics={**make().metrics, "a2i_instance_r1": 0.1, **DETECTED})]
    assert leading(records) == (*MAIN, "ap", "max_f1")
    assert further(records) == ("ap_official", "max_f1_official", "a2i_instance_r1")
    without, with_ = rows(records, leading(records))
    assert with_.cells[4:7] == ("50.00", "32.73", "40.00")
    assert without.cells[5:7] == ("", "")
    assert leading([make()]) == MAIN


@pytest.mark.parametrize("form", ["md", "csv", "tex"])
def test_files_show_detection_in_both_forms(form):
    text = table_text([extended()], form)
    places = [text.index(shown) for shown in ("AP ", "max-F1 ", "AP (official)", "max-F1 (official)")]
    assert places == sorted(places)
    for value in ("32.73", "40.00", "32.95", "39.61"):
        assert value in text


def test_the_terminal_shows_detection_in_the_main_table(capsys):
    print_table([extended()])
    main_table, official = capsys.readouterr().out.split("samples/s")
    assert "max-F1 %" in main_table
    assert "32.73" in official.splitlines()[2]
    assert "AP (official)" in official


def test_detection_says_over_what_it_is():
    assert notes([extended()]) == [
        "cIoU, AUC and mean cIoU are over the 400 samples with a sounding object.",
        "AP and max-F1 are over all 800: in 400 nothing that sounds is in sight.",
        "No negative's sound is of a class in sight: there is no label noise to leave out.",
    ]
    noisy = notes([extended(provenance={"doubtful": 3})])
    assert noisy[2].startswith("3 negatives have a sound of a class in sight: AP and max-F1 without these")


def test_rows_scaled_by_their_own_extremes_are_named():
    records = [make(provenance={"scale": "own extremes"}, method=name) for name in ("disc", "whole")]
    (note,) = notes([make(provenance={"scale": "score_range"}), *records])
    assert note == "Without a score range, scaled by the extremes of each map: disc, whole."


def test_the_terminal_shows_further_metrics_apart(capsys):
    print_table([make(metrics={**make().metrics, "a2i_class_r1": 0.25}), make(method="disc")])
    shown = capsys.readouterr().out
    assert "A->I R@1 (class)" in shown.split("samples/s")[1]
    assert "25.00" in shown


def test_a_record_survives_writing(tmp_path):
    record = make(path=tmp_path / "record.json")
    write_record(record)
    assert read_record(record.path) == record
    assert read_record(record.path).as_json()["samples_per_second"] == 20


def test_a_record_of_another_form_is_refused(tmp_path):
    from avbench.errors import AvbenchError

    place = tmp_path / "record.json"
    place.write_text('{"schema": 0}')
    with pytest.raises(AvbenchError, match=r"expected a record of schema 1 in .*record.json"):
        read_record(place)
    place.write_text("{")
    with pytest.raises(AvbenchError, match=r"expected JSON in .*record.json"):
        read_record(place)
    place.write_text('{"schema": 1}')
    with pytest.raises(AvbenchError, match=r"the record .*record.json is incomplete or changed \('intervals'\)"):
        read_record(place)
    place.write_text('{"schema": 1, "intervals": {}, "metrics": {}}')
    with pytest.raises(AvbenchError, match=r"the record .*record.json is incomplete or changed"):
        read_record(place)


def test_a_metric_that_is_no_number_is_null_in_the_file(tmp_path):
    record = make(metrics={"locacc": 0.5, "auc": math.nan}, path=tmp_path / "record.json")
    write_record(record)
    assert json.loads(record.path.read_text())["metrics"] == {"locacc": 0.5, "auc": None}
    assert math.isnan(read_record(record.path).metrics["auc"])
    assert record.as_json()["metrics"] == {"locacc": 0.5, "auc": None}


def test_many_methods_with_few_further_metrics_stand_one_below_the_other(capsys):
    more = {**make().metrics, "a2i_class_r1": 0.25}
    print_table([make(metrics=more), make(method="lvs", metrics=more), make(method="fnac", metrics=more)])
    below = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip().endswith("25.00")]
    assert below == [["jsa", "25.00"], ["lvs", "25.00"], ["fnac", "25.00"]]
