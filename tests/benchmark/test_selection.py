"""How a checkpoint was chosen is part of its result: in records, in runs of several, and never mixed in a ranking."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from avbench.checkpoints import CONFIG, HEADER, MODEL, save_checkpoint
from avbench.cli import main
from avbench.errors import AvbenchError, UsageError
from avbench.records import read_record, selection_of, selection_told, write_record
from avbench.registry import find_method, load_class
from avbench.rescoring import Choice, rescore
from avbench.selection import checkpoints_of, rules_named
from avbench.store import hash_json

LAST = {"rule": "last", "split": None, "metric": None, "value": None, "epoch": 5}
VALIDATION = {"rule": "validation", "split": "demo-val", "metric": "locacc", "value": 0.4, "epoch": 3}
ORACLE = {"rule": "oracle", "split": "demo", "metric": "locacc", "value": 0.5, "epoch": 4}


def save(folder: Path, method: str, gain: float, **meta) -> Path:
    """A checkpoint of the plugin whose maps are ``gain`` times its own."""
    cls = load_class(find_method(method))
    save_checkpoint(folder, cls(cls.config_class(gain=gain)), name="tiny-plugin", meta=meta)
    return folder


@pytest.fixture
def method(plugin_file) -> str:
    return f"{plugin_file}:Tiny"


@pytest.fixture
def training(method, tmp_path) -> Path:
    """The folder of a finished training, with the last checkpoint, the best on validation and the best on a test."""
    folder = save(tmp_path / "training", method, 1, selection="last epoch", selected=LAST)
    save(folder / "best-validation", method, -1, selection="best on validation", selected=VALIDATION)
    save(folder / "best-oracle", method, -2, selection="best on test", selected=ORACLE)
    return folder


@pytest.fixture
def place(tiny_set, tmp_path, store) -> list[str]:
    return ["--split", str(tiny_set), "--runs", str(tmp_path / "runs"), "--workers", "0"]


def ran(capsys, *arguments) -> list[dict]:
    assert main(["run", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, command, *arguments) -> str:
    assert main([command, *map(str, arguments)]) == 2
    given = capsys.readouterr()
    assert given.out == ""
    return given.err.strip().splitlines()[-1]


def provenance(origin="the package", split="tiny", **checkpoint) -> dict:
    return {"method": {"origin": origin}, "split": {"name": split}, "checkpoint": {"sha256": "5f", **checkpoint}}


@pytest.mark.parametrize(
    ("known", "selection"),
    [
        (provenance(selected=LAST, selection="last epoch"), "last"),
        (provenance(selected=VALIDATION), "validation"),
        (provenance(selected=ORACLE), "oracle"),
        (provenance(selection="last epoch"), "last"),
        (provenance(selection="last epoch", selected=None), "last"),
        (provenance(selection="mean of annotations"), "none"),
        (provenance(selection="unknown", selected=None), "unknown"),
        (provenance(selection="best locacc on demo (test, oracle), epoch 4 of 5"), "unknown"),
        (provenance(selection="last epoch", selected={"rule": "best"}), "unknown"),
        (provenance(selection="last epoch", selected={"rule": ["last"]}), "unknown"),
        (provenance(selection=None, sha256=None), "none"),
        (provenance("object", selection=None, sha256=None), "unknown"),
        ({}, "none"),
    ],
)
def test_the_selection_of_a_result(known, selection):
    assert selection_of(known) == selection


def test_a_list_that_is_tested_on_validates_nothing():
    assert selection_of(provenance(selected=VALIDATION, split="demo-val")) == "oracle"
    assert selection_of(provenance(selected=LAST, split="demo-val")) == "last"


def test_records_say_how_the_checkpoint_was_chosen(capsys, method, training, place):
    for folder, selected in (("", LAST), ("best-validation", VALIDATION), ("best-oracle", ORACLE)):
        given = ["--checkpoint", training / folder, "--controls", "false"]
        (row,) = ran(capsys, "--method", method, *place, *given)
        assert row["selection"] == selected["rule"]
        record = read_record(Path(row["record"]))
        assert record.selection == selected["rule"]
        assert record.provenance["checkpoint"]["selected"] == selected
        assert json.loads(Path(row["record"]).read_text())["selection"] == selected["rule"]


def test_what_a_checkpoint_does_not_say_is_unknown_and_controls_have_none(capsys, method, place, tmp_path):
    (bare := tmp_path / "bare").mkdir()
    given = ["--checkpoint", save(bare, method, 1)]
    assert {row["method"]: row["selection"] for row in ran(capsys, "--method", method, *place, *given)} == {
        "tiny-plugin": "unknown",
        "whole": "none",
        "square": "none",
        "disc": "none",
    }
    (row,) = ran(capsys, "--method", method, *place, "--controls", "false")
    assert row["selection"] == "none"


def test_a_copied_oracle_is_an_oracle(capsys, method, training, place, tmp_path):
    copy = tmp_path / "last-epoch.safetensors"
    shutil.copy(training / "best-oracle" / MODEL, copy)
    (row,) = ran(capsys, "--method", method, *place, "--controls", "false", "--checkpoint", copy)
    assert row["selection"] == "oracle"


def test_a_changed_description_is_noticed(training, method, place):
    config = training / "best-oracle" / CONFIG
    config.write_text(config.read_text().replace('"rule": "oracle"', '"rule": "last"'))
    given = ["run", "--method", method, *place, "--checkpoint", str(training / "best-oracle")]
    assert main(given) == 1


def test_a_changed_selection_is_noticed(capsys, method, training, place):
    (row,) = ran(capsys, "--method", method, *place, "--controls", "false", "--checkpoint", training / "best-oracle")
    path = Path(row["record"])
    path.write_text(path.read_text().replace('"selection": "oracle"', '"selection": "last"'))
    with pytest.raises(AvbenchError, match="was changed after it was written"):
        read_record(path)


def test_records_of_before_are_read(capsys, method, place, tmp_path):
    made = save(tmp_path / "made", method, 1, selection="last epoch")
    (row,) = ran(capsys, "--method", method, *place, "--controls", "false", "--checkpoint", made)
    path = Path(row["record"])
    content = json.loads(path.read_text())
    del content["selection"], content["provenance"]["checkpoint"]["selected"]
    sealed = {key: value for key, value in content.items() if key not in {"run", "seal"}}
    path.write_text(json.dumps({**content, "seal": hash_json(sealed)}))
    record = read_record(path)
    assert record.selection == "last"
    write_record(record)
    assert read_record(path) == record


class TestRun:
    def test_several_checkpoints_of_one_training(self, capsys, method, training, place):
        given = ["--checkpoint", training, "--selection", "oracle,last,validation"]
        rows = ran(capsys, "--method", method, *place, *given)
        found = [(row["method"], row["selection"]) for row in rows]
        assert found == [
            *(("tiny-plugin", rule) for rule in ("oracle", "last", "validation")),
            *((name, "none") for name in ("whole", "square", "disc")),
        ]
        assert [row["provenance"]["config"] for row in rows[:3]] == [{"gain": -2.0}, {"gain": 1.0}, {"gain": -1.0}]
        assert rows[0]["metrics"] == rows[2]["metrics"] != rows[1]["metrics"]

    def test_of_several_methods(self, capsys, method, training, plugin_file, place, tmp_path):
        second = plugin_file.with_name("second.py")
        second.write_text(plugin_file.read_text().replace("tiny-plugin", "second"))
        other, cls = tmp_path / "other", load_class(find_method(f"{second}:Tiny"))
        for folder, selected in ((other, LAST), (other / "best-oracle", ORACLE)):
            save_checkpoint(folder, cls(cls.config_class()), name="second", meta={"selected": selected})
        two = f"{method},{second}:Tiny"
        given = ["--checkpoint", f"{method}={training}", "--checkpoint", f"{second}:Tiny={other}"]
        rows = ran(capsys, "--method", two, *place, *given, "--selection", "last,oracle", "--controls", "false")
        assert [(row["method"], row["selection"]) for row in rows] == [
            (name, rule) for name in ("tiny-plugin", "second") for rule in ("last", "oracle")
        ]

    @pytest.mark.parametrize(
        ("gone", "asked", "sentence"),
        [
            (
                "best-validation",
                "last,validation",
                "the selection validation needs model.safetensors and config.json in {folder}, which are not there: "
                "train with avbench train --validate SPLIT",
            ),
            (
                "best-oracle",
                "oracle",
                "the selection oracle needs model.safetensors and config.json in {folder}, which are not there: "
                "train with avbench train --oracle SPLIT",
            ),
        ],
    )
    def test_what_was_not_trained_for_is_asked_for(self, capsys, method, training, place, gone, asked, sentence):
        shutil.rmtree(training / gone)
        given = ["--method", method, *place, "--checkpoint", training, "--selection", asked]
        assert refused(capsys, "run", *given) == f"avbench: {sentence.format(folder=training / gone)}"

    def test_a_checkpoint_in_the_wrong_place(self, capsys, method, training, place):
        given = ["--method", method, *place, "--checkpoint", training / "best-oracle", "--selection", "last"]
        assert f"and the one in {training / 'best-oracle'} says oracle" in refused(capsys, "run", *given)
        shutil.copytree(training / "best-validation", training / "best-oracle", dirs_exist_ok=True)
        with pytest.raises(UsageError, match=r"needs a checkpoint chosen so, and the one in .* says validation"):
            checkpoints_of(training, ["oracle"])

    def test_a_damaged_description(self, training):
        (training / CONFIG).write_text('{"meta": 3}')
        with pytest.raises(AvbenchError, match=r"expected method, config and meta in .*config.json"):
            checkpoints_of(training, ["last"])

    def test_rules_are_a_choice(self, capsys, method, training, place):
        given = ["--method", method, *place, "--checkpoint", training]
        assert "there is no selection called 'latest'" in refused(capsys, "run", *given, "--selection", "latest")
        assert "is named twice" in refused(capsys, "run", *given, "--selection", "last,last")
        assert "there is no selection called 'unknown'" in refused(capsys, "run", *given, "--selection", "unknown")
        assert rules_named(["oracle", "last"]) == ["oracle", "last"]

    def test_a_training_to_choose_from_is_needed(self, capsys, trainable_plugin, place):
        method = f"{trainable_plugin}:Tiny"
        sentence = f"{method} was given none: add --checkpoint {method}=DIR"
        assert sentence in refused(capsys, "run", "--method", method, *place, "--selection", "last")

    def test_two_methods_of_one_name_are_still_refused(self, capsys, method, plugin_file, place):
        second = plugin_file.with_name("second.py")
        shutil.copy(plugin_file, second)
        given = ["--method", f"{method},{second}:Tiny", *place]
        assert "two methods of this run are called 'tiny-plugin'" in refused(capsys, "run", *given)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """Where what was predicted once lies for the tests after."""
    return tmp_path_factory.mktemp("kept") / "runs"


@pytest.fixture
def runs(capsys, method, training, place, tmp_path, kept) -> Path:
    """All three checkpoints and the controls, predicted."""
    runs = tmp_path / "runs"
    if kept.exists():
        shutil.copytree(kept, runs)
        return runs
    ran(capsys, "--method", method, *place, "--checkpoint", training, "--selection", "last,validation,oracle")
    shutil.copytree(runs, kept)
    return runs


class TestTables:
    def test_the_selection_is_a_column_with_a_word_on_the_oracle(self, capsys, method, training, place, tmp_path):
        given = ["run", "--method", method, *place, "--checkpoint", str(training), "--selection", "last,oracle"]
        given += ["--controls", "false", "--pictures", "false"]
        assert main([*given, "--out", str(tmp_path / "table.md")]) == 0
        shown = capsys.readouterr().out
        rows = [line.split()[:2] for line in shown.splitlines() if line.strip().startswith("tiny-plugin")]
        assert rows == [["tiny-plugin", "last"], ["tiny-plugin", "oracle"]]
        note = "oracle: chosen on the test set: not comparable, ranked among themselves alone."
        assert note in shown
        assert f"- {note}" in (tmp_path / "table.md").read_text()

    def test_side_by_side(self, capsys, method, training, place, tmp_path):
        out = tmp_path / "table.csv"
        given = ["run", "--method", method, *place, "--checkpoint", str(training), "--selection", "last,oracle"]
        assert main([*given, "--side-by-side", "--pictures", "false", "--out", str(out)]) == 0
        shown = capsys.readouterr().out
        assert shown.index("cIoU % early stop (oracle)") < shown.index("cIoU % no early stop (last)")
        rows = {row["method"]: row for row in csv.DictReader(out.read_text().splitlines())}
        assert list(rows) == ["tiny-plugin", "whole", "square", "disc"]
        assert rows["disc"]["AUC % early stop (oracle)"] == rows["disc"]["AUC % no early stop (last)"]

    def test_scores_of_stored_predictions_keep_it(self, capsys, runs, training, tmp_path):
        shutil.rmtree(runs / "records")
        shutil.rmtree(training)
        found = rescore([runs], Choice(methods=("tiny-plugin",), protocols=("lvs",)))
        assert sorted(record.selection for record in found) == ["last", "oracle", "validation"]
        assert (
            main(["score", str(runs), "--protocol", "common", "--side-by-side", "--out", str(tmp_path / "t.md")]) == 0
        )
        assert "early stop (validation)" in capsys.readouterr().out
        assert "| tiny-plugin " in (tmp_path / "t.md").read_text()

    def test_ranks_under_every_protocol_are_of_one_selection(self, capsys, runs):
        assert main(["score", str(runs), "--protocol", "common,lvs"]) == 0
        assert "with ranks" not in capsys.readouterr().out, "of each selection there is one method"


def compared(capsys, *arguments) -> dict:
    assert main(["compare", *map(str, arguments), "--resamples", "200", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


class TestCompare:
    @pytest.mark.parametrize("rule", ["last", "validation", "oracle"])
    def test_each_selection_is_compared_alone(self, capsys, runs, rule):
        found = compared(capsys, runs, "--selection", rule)
        assert {one["title"]: one["selection"] for one in found["entrants"]} == {
            "tiny-plugin": rule,
            "whole": "none",
            "square": "none",
            "disc": "none",
        }
        assert found["selections"] == [rule]
        assert {selection for _, selection in found["left_out"]} == {"last", "validation", "oracle"} - {rule}

    def test_the_last_epoch_by_default(self, capsys, runs):
        assert compared(capsys, runs) == compared(capsys, runs, "--selection", "last")
        assert main(["compare", str(runs), "--resamples", "200"]) == 0
        shown = capsys.readouterr().out
        assert "Ranked: checkpoints of the last epoch; each selection is ranked alone." in shown
        assert "Left out, being of another selection: tiny-plugin (oracle), tiny-plugin (validation);" in shown

    @pytest.mark.parametrize("asked", ["last,oracle", "validation,oracle", "last,validation", "oracle,unknown"])
    def test_no_mixture(self, capsys, runs, asked):
        sentence = f"the selections {asked.replace(',', ' and ')} are never ranked together"
        assert sentence in refused(capsys, "compare", runs, "--selection", asked)

    def test_what_is_not_there(self, capsys, runs):
        sentence = "no row has the selection unknown: choose from last, validation, oracle"
        assert sentence in refused(capsys, "compare", runs, "--selection", "last,unknown")

    def test_unknown_goes_with_last_only_if_asked_for(self, capsys, method, runs, place, tmp_path):
        ran(capsys, "--method", method, *place, "--checkpoint", save(tmp_path / "official", method, -3))
        assert ["tiny-plugin", "unknown"] in compared(capsys, runs)["left_out"]
        found = compared(capsys, runs, "--selection", "last,unknown", "--protocol", "common,lvs")
        assert {one["title"] for one in found["entrants"] if one["ranked"]} == {"tiny-plugin", "tiny-plugin@unknown"}
        assert set(found["sensitivity"][0]["rows"]) >= {"tiny-plugin", "tiny-plugin@unknown"}
        assert any(note.startswith("Ranked together as asked for: last and unknown") for note in found["notes"])

    def test_one_row_of_each_selection(self, capsys, runs):
        sentence = "expected two or more rows of one selection to compare, got tiny-plugin (last), tiny-plugin (oracle)"
        assert sentence.split(", got")[0] in refused(capsys, "compare", runs, "--method", "tiny-plugin")


def test_answers_to_whether_it_listens_are_told_apart(capsys, method, training, place):
    place = [*place, "--checkpoint", str(training / "best-oracle")]
    assert main(["listen", "--method", method, *place, "--resamples", "100"]) == 0
    shown = capsys.readouterr()
    assert "tiny-plugin@oracle" in shown.out
    assert "oracle: chosen on the test set: not comparable, ranked among themselves alone." in shown.err


def test_a_header_without_description_is_unknown():
    assert HEADER == "avbench"
    assert selection_told({}) == "unknown"
