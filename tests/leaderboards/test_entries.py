"""Entries written and read again: nothing is lost, and nothing but the form is read."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from avbench.cli import main
from avbench.errors import AvbenchError
from avbench.leaderboards.entries import Accepted, Largest, Parameters, Rerun, gallery_ids, in_order
from avbench.leaderboards.entry_files import read_entries, read_entry, write_entry
from avbench.leaderboards.entry_form import compact_json, factored, merged
from avbench.leaderboards.local_entries import collect, entries_of_runs
from avbench.listening import Drop, Listening, Rate, Scores
from avbench.records import content_of, read_record, record_of, seal_of, write_record
from avbench.redacting import redacted

ACCEPTED = Accepted(date="2026-02-03", by="Ada", note="as submitted", url="https://example.org/1")
RERUN = Rerun(avbench="0.1.0", git="abc", torch="2.11.0", largest=Largest(metrics=0.0, ciou=1e-7))


@pytest.fixture(scope="module")
def real_runs(tmp_path_factory, noise_set) -> Path:
    """A control with large maps and one with small ones, scored on five samples under every protocol of boxes."""
    folder = tmp_path_factory.mktemp("real")
    place = noise_set(folder / "tiny", 5)
    how = ["--method", "disc,random", "--split", str(place), "--protocol", "all", "--runs", str(folder / "runs")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_HOME", str(folder / "home"))
        assert main(["run", *how, "--controls", "false", "--pictures", "false", "--json"]) == 0
    return folder / "runs"


@pytest.fixture
def entry(make_runs):
    return collect(make_runs(), split="four", method="toy")


@pytest.fixture
def written(entry, tmp_path) -> Path:
    maps = {"a": np.array([[0.123456, math.nan], [1.0, -2e-7]], dtype=np.float32)}
    rows = ({"epoch": 1, "split": "val", "purpose": "validation", "n": 9, "locacc": 0.5, "ap": math.nan},)
    whole = replace(entry, maps=maps, evaluations=rows, parameters=Parameters(7, 5), listening=answer())
    return write_entry(whole, tmp_path / "out", badge="verified", accepted=ACCEPTED, rerun=RERUN)


def answer(path=Path()) -> Listening:
    kinds = ("silence", "noise", "offscreen")
    scores = Scores(
        threshold=0.5,
        ciou_uth=0.4,
        auc_uth=0.3,
        nan_ciou=math.nan,
        pia=dict.fromkeys(kinds, 0.25),
        auc_n=dict.fromkeys(kinds, 0.5),
        f_loc=0.1,
        f_loc_by_kind=dict.fromkeys(kinds, 0.1),
        f_auc=0.2,
        f_auc_by_kind=dict.fromkeys(kinds, 0.2),
        agreement={"true/noise": 0.9},
    )
    return Listening(
        method="toy",
        split="four",
        off_screen="offscreen",
        n=3,
        n_expected=4,
        partial=False,
        clustered=False,
        success={"true": Rate(0.5, 0.4, 0.6)},
        drops={kind: Drop(0.1, 0.0, 0.2, 0.01, 0.03) for kind in kinds},
        unchanged=dict.fromkeys(kinds, 0.0),
        unchanged_nearly=dict.fromkeys(kinds, 0.0),
        scores={"max": scores},
        extremes={"true": {"mean_max": 1.0, "nan": 0.0}},
        threshold_from=None,
        provenance={"keys": {"true": "k"}, "resamples": 10},
        path=path,
    )


def fields(record) -> dict:
    return {**vars(record), "path": None, "run": {**record.run, "command": redacted(record.run["command"])}}


def sealed(content) -> dict:
    return {**content, "seal": seal_of(content)}


class TestLossless:
    def test_records_of_the_real_code(self, real_runs, tmp_path):
        (disc, random) = entries_of_runs([real_runs])
        assert len(disc.records) >= 11
        for local in (disc, random):
            path = write_entry(local, tmp_path, badge="submitted", accepted=ACCEPTED)
            again = read_entry(path)
            assert [fields(record) for record in again.records] == [fields(record) for record in local.records]
            assert all(seal_of(content_of(record)) == record.seal for record in again.records)
            assert (again.parameters, again.control) == (Parameters(0, 0), True)
            for name, own in local.maps.items():
                np.testing.assert_allclose(again.maps[name], own, rtol=5e-4)
            for mine, theirs in zip(again.records, local.records, strict=True):
                kept = again.contestant(mine).samples
                whole = local.contestant(theirs).samples[list(kept.columns)]
                assert kept.to_dict("list") == whole.to_dict("list")
                assert {"id", "label", "image", "boxes", "area", "doubtful", "ciou"} <= {*kept.columns}
                assert "ciou_adap" in local.contestant(theirs).samples
                assert "ciou_adap" not in kept
        assert random.maps["clip_000"].shape == (7, 7)
        assert disc.maps["clip_000"].shape == (16, 16)
        assert [entry.method for entry in read_entries(tmp_path)] == ["disc", "random"]

    def test_the_rest_of_an_entry(self, written):
        found = read_entry(written)
        assert (found.badge, found.accepted, found.rerun) == ("verified", ACCEPTED, RERUN)
        assert (found.method, found.split, found.selection, found.control) == ("toy", "four", "last", False)
        assert (found.name, written.name) == ("toy-last-0123456789ab", "toy-last-0123456789ab.json")
        assert (found.parameters, found.listening.path) == (Parameters(training=7, inference=5), written)
        assert replace(found.listening, path=Path()) == answer()
        assert found.evaluations[0]["locacc"] == 0.5
        assert found.evaluations[0]["ap"] is None
        np.testing.assert_array_equal(found.maps["a"], np.array([[0.1235, math.nan], [1, -2e-7]], dtype=np.float32))

    def test_a_metric_that_is_no_number_and_intervals(self, written):
        record = read_entry(written).records[0]
        assert math.isnan(record.metrics["pixel_ap"])
        assert record.intervals == {"locacc": (0.2, 0.94)}

    def test_an_older_record_without_its_selection(self, make_runs, tmp_path):
        runs = make_runs()
        for place in (runs / "records" / "four").glob("*.json"):
            content = json.loads(place.read_text())
            del content["selection"]
            place.write_text(json.dumps(sealed(content)))
        (local,) = entries_of_runs([runs])
        again = read_entry(write_entry(local, tmp_path / "out", badge="submitted", accepted=ACCEPTED))
        assert [fields(record) for record in again.records] == [fields(record) for record in local.records]

    def test_what_is_accepted_twice_is_the_same(self, written, tmp_path):
        again = write_entry(read_entry(written), tmp_path / "two", badge="verified", accepted=ACCEPTED, rerun=RERUN)
        assert again.read_bytes() == written.read_bytes()
        assert again.with_suffix(".parquet").read_bytes() == written.with_suffix(".parquet").read_bytes()

    def test_the_order_of_the_records_does_not_matter(self, entry, tmp_path):
        turned = replace(entry, records=entry.records[::-1])
        first, second = (
            write_entry(one, tmp_path / str(number), badge="submitted", accepted=ACCEPTED)
            for number, one in enumerate((entry, turned))
        )
        assert first.read_bytes() == second.read_bytes()

    def test_commands_are_without_folders(self, written):
        text = written.read_text()
        assert "avbench run --method toy --data media --runs=runs" in text
        assert "ada" not in text.lower().replace('"by": "ada"', "").replace("ciou_adap", "").replace("locacc_adap", "")


class TestForm:
    def test_what_records_share_is_written_once(self):
        shared, rests = factored([{"a": {"b": 1, "c": 2}, "d": 1}, {"a": {"b": 1, "c": 3}, "d": 1.0, "e": {}}])
        assert shared == {"a": {"b": 1}}
        assert rests == [{"a": {"c": 2}, "d": 1}, {"a": {"c": 3}, "d": 1.0, "e": {}}]

    @pytest.mark.parametrize("seed", range(50))
    def test_factoring_is_undone_to_the_letter(self, seed):
        dice = Random(seed)

        def anything(depth):
            if depth and dice.random() < 0.7:
                return {key: anything(depth - 1) for key in "xyz" if dice.random() < 0.7}
            return dice.choice([None, True, 0, 0.0, -0.0, 1, 1.0, "a", [], [1], [1.0], {}])

        contents = [{"top": anything(3), "fixed": {"x": {"y": 1}}} for _ in range(dice.randint(1, 4))]
        shared, rests = factored(contents)
        again = [merged(shared, rest) for rest in rests]
        assert [json.dumps(one, sort_keys=True) for one in again] == [json.dumps(c, sort_keys=True) for c in contents]
        assert "fixed" in shared
        assert not any("fixed" in rest for rest in rests)

    def test_lists_of_numbers_stand_on_one_line(self):
        content = {"numbers": [1, -2.5e-07, None], "text": "[\n 1,\n 2\n]", "others": ["a", 1], "none": []}
        text = compact_json(content).decode()
        assert ' "numbers": [1,-2.5e-07,null],\n' in text
        assert json.loads(text) == content

    def test_the_order_is_that_of_listings(self, real_runs):
        (disc, _) = entries_of_runs([real_runs])
        names = [record.protocol for record in in_order(disc.records[::-1])]
        assert names[:2] == ["common", "ezvsl"]

    @pytest.mark.parametrize(
        ("count", "expected"), [(0, []), (3, [0, 1, 2]), (12, [*range(12)]), (24, [*range(0, 24, 2)]), (25, None)]
    )
    def test_the_gallery_is_spread_evenly(self, count, expected):
        ids = [str(number) for number in range(count)]
        found = [int(name) for name in gallery_ids(ids)]
        assert found == (expected if expected is not None else [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22])


class TestRefusedToWrite:
    def test_a_partial_record(self, make_runs, tmp_path):
        entry = collect(make_runs(), split="four", method="toy")
        less = replace(entry, records=tuple(replace(one, partial=True, n_scored=3) for one in entry.records))
        sentence = "toy on four is partial (3 of 4 samples) and cannot be accepted: predict all samples"
        with pytest.raises(AvbenchError, match=f"^{re.escape(sentence)}$"):
            write_entry(less, tmp_path / "out", badge="submitted", accepted=ACCEPTED)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("badge", ["verified", "local", "gold"])
    def test_a_badge_that_is_not_earned(self, entry, tmp_path, badge):
        sentence = f"toy on four cannot be accepted as {badge}: a re-run makes it verified, all else is submitted"
        with pytest.raises(AvbenchError, match=f"^{sentence}$"):
            write_entry(entry, tmp_path / "out", badge=badge, accepted=ACCEPTED)

    def test_a_record_that_was_changed_in_memory(self, entry, tmp_path):
        entry.records[0].metrics["auc"] = 0.9
        place = re.escape(str(entry.records[0].path))
        with pytest.raises(AvbenchError, match=f"^the record {place} was changed after it was read: read it again$"):
            write_entry(entry, tmp_path / "out", badge="submitted", accepted=ACCEPTED)

    def test_records_of_other_samples(self, make_runs, tmp_path):
        import pandas as pd

        runs = make_runs()
        place = next((runs / "records" / "four").glob("*avsbench*.parquet"))
        pd.read_parquet(place).replace({"id": {"a": "z"}}).to_parquet(place, index=False)
        sentence = "the records of toy on four are not of the same samples, avsbench among them: score them again"
        with pytest.raises(AvbenchError, match=f"^{sentence}$"):
            write_entry(
                collect(runs, split="four", method="toy"), tmp_path / "out", badge="submitted", accepted=ACCEPTED
            )


def change(path: Path, *keys, value=None, drop=False) -> None:
    content = inner = json.loads(path.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    if drop:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    path.write_text(json.dumps(content))


FORMS = [
    (("format",), 2, "the entry PATH is of format 2, newer than the 1 that this avbench reads: upgrade avbench"),
    (("format",), "1", "expected an entry of format 1 in PATH, found another form: restore the file"),
    (("format",), True, "expected an entry of format 1 in PATH, found another form: restore the file"),
    (("badge",), "gold", "expected the badge verified or submitted in PATH, found 'gold': restore the file"),
    (("badge",), "local", "expected the badge verified or submitted in PATH, found 'local': restore the file"),
    (("badge",), 1, "expected a text for badge in the entry PATH, found 1: restore the file"),
    (("novel",), 1, "the entry PATH has novel, which is unknown: restore the file"),
    (("accepted", "by"), None, "expected a text for by in accepted of PATH, found None: restore the file"),
    (
        ("accepted", "date"),
        "20260203",
        "expected a date YYYY-MM-DD in accepted of PATH, found '20260203': restore the file",
    ),
    (("rerun", "largest"), 1, "expected an object for largest in rerun of PATH, found 1: restore the file"),
    (
        ("rerun", "largest", "ciou"),
        "0",
        "expected a number for ciou in rerun.largest of PATH, found '0': restore the file",
    ),
    (("rerun",), [], "expected an object or null for rerun in the entry PATH, found []: restore the file"),
    (
        ("parameters", "training"),
        7.0,
        "expected an integer for training in parameters of PATH, found 7.0: restore the file",
    ),
    (("records",), [3], "expected objects in records of PATH, found 3: restore the file"),
    (("records",), [], "expected one record or more in PATH, found none: restore the file"),
    (("evaluations",), [3], "expected objects in evaluations of PATH, found 3: restore the file"),
    (
        ("shared", "provenance", "config", "gain"),
        math.inf,
        "expected finite numbers in PATH, found inf at shared.provenance.config.gain: restore the file",
    ),
    (
        ("records", 0, "metrics", "auc"),
        math.nan,
        "expected finite numbers in PATH, found nan at records.0.metrics.auc: restore the file",
    ),
    (
        ("maps", "shape"),
        [2, 3],
        "expected at most 12 maps of the shape [2, 3] in maps of PATH, found others: restore the file",
    ),
    (("maps", "samples", "a"), [1, 2, 3, "4"], "expected numbers in maps of PATH, found others: restore the file"),
    (("listening", "drops"), 3, "the answer in listening of PATH is incomplete or changed: restore the file"),
    (
        ("samples",),
        "../toy.parquet",
        "expected toy-last-0123456789ab.parquet as the per-sample values of PATH, found '../toy.parquet': give the "
        "files their names back",
    ),
    (
        ("samples_sha256",),
        "0",
        "the per-sample values SAMPLES are not those that toy-last-0123456789ab.json was written with: restore both",
    ),
    (
        ("shared", "schema"),
        2,
        "the record av/common in PATH is of schema 2, newer than the 1 that this avbench reads: upgrade avbench",
    ),
    (
        ("records", 0, "metrics", "auc"),
        0.9,
        "the record av/common in PATH was changed after it was written: delete it and score again",
    ),
    (
        ("shared", "n_scored"),
        3,
        "the record av/common in PATH was changed after it was written: delete it and score again",
    ),
]


@pytest.mark.parametrize(("keys", "value", "sentence"), FORMS)
def test_another_form_is_refused(written, keys, value, sentence):
    change(written, *keys, value=value)
    told = sentence.replace("PATH", str(written)).replace("SAMPLES", str(written.with_suffix(".parquet")))
    with pytest.raises(AvbenchError, match=f"^{re.escape(told)}$"):
        read_entry(written)


def test_a_missing_field_is_refused(written):
    change(written, "parameters", drop=True)
    with pytest.raises(AvbenchError, match=f"^the entry {written} has no parameters: restore the file$"):
        read_entry(written)


def test_conflict_marks_and_absent_values(written):
    text = written.read_text()
    written.with_suffix(".parquet").rename(written.with_name("elsewhere.parquet"))
    sentence = (
        f"expected the per-sample values of {written} beside it, found no toy-last-0123456789ab.parquet: restore it"
    )
    with pytest.raises(AvbenchError, match=f"^{re.escape(sentence)}$"):
        read_entry(written)
    written.write_text(f"<<<<<<< HEAD\n{text}")
    sentence = (
        f"expected JSON in {written}, which cannot be read so (Expecting value: line 1 column 1 (char 0)): restore it"
    )
    with pytest.raises(AvbenchError, match=f"^{re.escape(sentence)}$"):
        read_entry(written)


def resealed(path: Path, edit) -> None:
    """Change the records as somebody would who knows how they are sealed."""
    content = json.loads(path.read_text())
    records = [merged(content["shared"], rest) for rest in content["records"]]
    edit(records)
    content["shared"], content["records"] = {}, [sealed(record) for record in records]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("method", "jsa", "the records in PATH are of several methods (jsa, toy), where an entry has one: MAKE"),
        ("split", "five", "the records in PATH are of several splits (five, four), where an entry has one: MAKE"),
        (
            "audio",
            "noise",
            "the records in PATH are with noise audio, where an entry has the method's own: leave them out",
        ),
        ("protocol", "common", "the record of av under common is in PATH twice: leave one out"),
        (
            "n_positive",
            "3",
            "expected an integer for n_positive in the record av/avsbench in PATH, found '3': restore the file",
        ),
        (
            "intervals",
            {"miou": [0.1, "0.9"]},
            "expected two numbers for miou in intervals of the record av/avsbench in PATH, found [0.1, '0.9']: "
            "restore the file",
        ),
        ("run", {"seconds": 1}, "run of the record av/avsbench in PATH has no command: restore the file"),
    ],
)
def test_records_that_are_not_of_one_entry(written, field, value, sentence):
    resealed(written, lambda records: records[1].update({field: value}))
    told = sentence.replace("PATH", str(written)).replace("MAKE", "make an entry of each")
    with pytest.raises(AvbenchError, match=f"^{re.escape(told)}$"):
        read_entry(written)


@pytest.mark.parametrize("field", ["key", "truth", "checkpoint"])
def test_records_of_two_predictions(written, field):
    other = {"sha256": "c", "selected": {"rule": "oracle"}} if field == "checkpoint" else "f"
    resealed(written, lambda records: records[1]["provenance"].update({field: other}))
    what = {"key": "predictions", "truth": "truths", "checkpoint": "selections"}[field]
    first = {"key": "0123456789ab" + "0" * 52, "truth": "e" * 64, "checkpoint": "last"}[field]
    told = f"the records in {written} are of several {what} ({first}, {'oracle' if field == 'checkpoint' else 'f'})"
    with pytest.raises(AvbenchError, match=f"^{re.escape(told)}, where an entry has one: make an entry of each$"):
        read_entry(written)


def test_a_newer_record_of_a_runs_folder(make_runs):
    place = next((make_runs() / "records" / "four").glob("*common*.json"))
    change(place, "schema", value=2)
    told = f"the record {place} is of schema 2, newer than the 1 that this avbench reads: upgrade avbench"
    with pytest.raises(AvbenchError, match=f"^{re.escape(told)}$"):
        read_record(place)
    change(place, "schema", value=0)
    told = f"expected a record of schema 1 in {place}, found another form: delete it and run again"
    with pytest.raises(AvbenchError, match=f"^{re.escape(told)}$"):
        read_record(place)


def test_a_record_is_the_same_from_its_content(make_runs):
    place = next((make_runs() / "records" / "four").glob("*common*.json"))
    record = read_record(place)
    assert fields(record_of(content_of(record), place)) == fields(record)
    write_record(record)
    assert fields(read_record(place)) == fields(record)


def test_no_entries(tmp_path):
    assert read_entries(tmp_path / "nowhere") == []
