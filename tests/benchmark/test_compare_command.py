"""``avbench compare``: from stored predictions of tiny sets to tables, with every refusal in one sentence."""

import json
import shutil
from pathlib import Path

import pytest

from avbench.cli import main
from avbench.records import read_record, write_record


@pytest.fixture
def runs(store, plugin_file, tiny_set, tmp_path, capsys) -> Path:
    """A plugin and the controls on five samples."""
    return predicted(tmp_path / "runs", plugin_file, tiny_set, capsys)


@pytest.fixture
def turned(runs, plugin_file, tiny_set, tmp_path, capsys) -> Path:
    """The same, but for the maps of the plugin, which are turned over."""
    return predicted(tmp_path / "turned", plugin_file, tiny_set, capsys, "--set", "gain=-1")


def predicted(folder, plugin_file, tiny_set, capsys, *more) -> Path:
    given = ["--method", f"{plugin_file}:Tiny", "--split", tiny_set, "--runs", folder, "--pictures", "false", *more]
    assert main(["run", *map(str, given), "--json"]) == 0
    capsys.readouterr()
    return folder


def compared(capsys, *arguments) -> dict:
    assert main(["compare", *map(str, arguments), "--resamples", "200", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments) -> tuple[int, str]:
    code = main(["compare", *map(str, arguments), "--resamples", "200"])
    given = capsys.readouterr()
    assert given.out == ""
    return code, given.err.strip().splitlines()[-1]


def titles(found) -> list[str]:
    return [one["title"] for one in found["entrants"]]


def test_the_json_of_a_comparison(capsys, runs):
    found = compared(capsys, runs)
    assert (found["split"], found["protocol"], found["n"], found["n_expected"]) == ("tiny", "common", 5, 5)
    assert sorted(titles(found)) == ["disc", "square", "tiny-plugin", "whole"]
    assert [one["metric"] for one in found["results"]] == ["locacc", "auc", "mean_ciou"]
    assert (found["resamples"], found["seed"], found["sensitivity"]) == (200, 0, [])


def test_values_are_those_of_the_records(capsys, runs):
    found = compared(capsys, runs, "--metric", "locacc,auc,mean_ciou,locacc_adap,pixel_ap,pointing,energy,auc_exact")
    for entrant in found["entrants"]:
        metrics = json.loads(Path(entrant["record"]).read_text())["metrics"]
        for result in found["results"]:
            (one,) = [one for one in result["standings"] if one["title"] == entrant["title"]]
            assert one["value"] == pytest.approx(metrics[result["metric"]], abs=1e-12)


def test_places_and_filters_in_any_order(capsys, runs):
    folders = sorted((runs / "predictions" / "tiny").iterdir())
    first, second = compared(capsys, *folders), compared(capsys, *folders[::-1])
    assert first == second
    assert titles(compared(capsys, runs, "--method", "disc,whole")) == ["disc", "whole"]
    record = next((runs / "records" / "tiny").glob("disc*.json"))
    assert sorted(titles(compared(capsys, record, folders[-1]))) == ["disc", "whole"]


def test_the_tables(capsys, runs, turned, tmp_path):
    out = tmp_path / "comparison.md"
    given = [str(runs), str(turned), "--protocol", "common,lvs", "--out", str(out)]
    assert main(["compare", *given, "--resamples", "200"]) == 0
    shown = capsys.readouterr()
    assert "tiny, protocol common: 5 samples" in shown.out
    assert "Kendall's tau" in shown.out
    assert shown.err.strip().endswith(f"comparison: {out}")
    written = out.read_text()
    assert written.startswith("**tiny, protocol common: 5 samples**")
    assert "Kendall's tau" in written


def test_of_several_protocols_the_first_is_compared(capsys, runs, turned):
    found = compared(capsys, runs, turned, "--protocol", "jsa,common")
    assert found["protocol"] == "jsa"
    (table,) = found["sensitivity"]
    assert table["protocols"] == ["jsa", "common"]
    assert {"tiny-plugin@turned", "tiny-plugin@runs"} <= set(table["rows"])


def test_the_divisions_are_a_choice(capsys, runs):
    main(["compare", str(runs), "--resamples", "200", "--by", "none"])
    assert "% by" not in capsys.readouterr().out
    main(["compare", str(runs), "--resamples", "200", "--by", "class"])
    shown = capsys.readouterr().out
    assert "cIoU % by class" in shown
    assert "kind 1" in shown
    assert "by size\n" not in shown


def test_the_same_predictions_in_two_folders_are_compared_once(capsys, runs, turned):
    assert main(["compare", str(runs), str(turned), "--resamples", "200", "--json"]) == 0
    shown = capsys.readouterr()
    assert sorted(titles(json.loads(shown.out))) == [
        *("disc", "square", "tiny-plugin@runs", "tiny-plugin@turned", "whole")
    ]
    assert "lie in several places and are compared once: disc, square, whole" in shown.err


class TestPartial:
    @pytest.fixture
    def places(self, runs, plugin_file, tiny_set, tmp_path, capsys) -> list[Path]:
        """All five samples, and the four that are left without a sound."""
        (tiny_set.parent / "audio" / "clip_002.wav").unlink()
        with_less = predicted(
            tmp_path / "less", plugin_file, tiny_set, capsys, "--allow-missing", "--controls", "false"
        )
        return [runs, with_less]

    def test_other_samples_are_refused(self, capsys, places):
        code, message = refused(capsys, *places, "--method", "tiny-plugin,disc")
        assert code == 2
        assert "they have 4 and 5 samples of tiny, 4 in common (clip_002 is in one alone); --common takes" in message

    def test_unless_the_common_ones_are_asked_for(self, capsys, places):
        found = compared(capsys, *places, "--common")
        assert (found["n"], found["n_expected"], found["common"]) == (4, 5, True)
        assert "tiny-plugin@less" in titles(found)


class TestRefusals:
    def test_two_splits(self, capsys, runs, plugin_file, tiny_set):
        other = tiny_set.with_name("other.yaml")
        other.write_text(tiny_set.read_text().replace("name: tiny", "name: other"))
        predicted(runs, plugin_file, other, capsys)
        code, message = refused(capsys, runs)
        assert code == 2
        assert "cannot be compared: the split is other of one and tiny of the other; choose one with --split" in message
        assert compared(capsys, runs, "--split", "other")["split"] == "other"

    def test_one_row(self, capsys, runs):
        code, message = refused(capsys, runs, "--method", "disc")
        assert (code, message.startswith("avbench: expected two or more rows to compare, got disc")) == (2, True)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (["--by", "colour"], "expected --by size, class, size,class or none, got 'colour'"),
            (["--out", "table.txt"], "expected --out FILE ending in .md, .csv or .tex, got 'table.txt'"),
            (["--seed", "-1"], "expected --seed of at least 0, got -1"),
            (["--resamples", "0"], "expected --resamples of at least 1, got 0"),
            (["--metric", "locacc,locacc"], "the metric 'locacc' is named twice"),
            ([], "expected a folder of predictions or a record at nowhere, found nothing"),
        ],
    )
    def test_bad_requests(self, capsys, given, message):
        assert main(["compare", "nowhere", *given]) == 2
        assert message in capsys.readouterr().err

    def test_what_is_not_there(self, capsys, runs):
        for given, message in (
            (["--metric", "fscore"], "the metric fscore cannot be compared"),
            (["--protocol", "commn"], "there is no protocol called 'commn': did you mean common"),
        ):
            code, said = refused(capsys, runs, *given)
            assert code == 2
            assert message in said

    def test_per_sample_values_that_cannot_be_read(self, capsys, runs):
        compared(capsys, runs)
        broken = next((runs / "records" / "tiny").glob("disc*.parquet"))
        broken.write_bytes(broken.read_bytes()[:100])
        code, message = refused(capsys, runs)
        assert code == 1
        assert f"the per-sample values {broken} cannot be read" in message
        broken.unlink()
        compared(capsys, runs)

    def test_records_of_another_metric_version(self, capsys, runs):
        compared(capsys, runs)
        place = next((runs / "records" / "tiny").glob("disc*.json"))
        record = read_record(place)
        record.provenance["metrics"]["auc"] = 7
        write_record(record)
        code, message = refused(capsys, runs)
        assert code == 1
        assert "the metric auc has the version" in message
        shutil.rmtree(runs / "records")
        compared(capsys, runs)
