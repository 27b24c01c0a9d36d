"""``avbench submit``: what goes into a bundle, what is taken out of it, and what is refused."""

import json
import re
import shutil
from pathlib import Path

import pytest

from avbench.bundles import without_paths
from avbench.cli import main
from avbench.errors import AvbenchError, UsageError


def submit(small, out: Path, *more: str) -> Path:
    from avbench.commands.submitting import main as command

    assert command([str(small.runs), "-o", str(out), *more]) == 0
    return out


def test_a_bundle_has_all_kinds_of_audio_with_records_truth_answers_and_training(bundle_of_all, members):
    names = list(members(bundle_of_all))
    kinds = [re.sub(r"[0-9a-f]{12}", "KEY", name) for name in names]
    assert kinds.count("predictions/small/ezvsl-KEY/about.json") == 4
    assert kinds.count("predictions/small/ezvsl-KEY/part-00000.safetensors") == 4
    assert kinds.count("predictions/small/disc-KEY/timing.json") == 1
    assert kinds.count("records/small/ezvsl.av.common-KEY.json") == 4
    assert kinds.count("records/small/ezvsl.av.common-KEY.parquet") == 4
    assert kinds.count("records/small/random.av.jsa-KEY.json") == 1
    assert kinds.count("records/small/ezvsl.listening-KEY.json") == 1
    assert [name for name in kinds if name.startswith("tr")] == [
        "trainings/ezvsl-KEY/config.json",
        "trainings/ezvsl-KEY/evaluations.jsonl",
        "truth/small-KEY.parquet",
    ]
    assert names == ["manifest.json", *sorted(names[1:])]


def test_the_manifest_tells_what_is_in_it(bundle_of_all, members):
    manifest = json.loads(members(bundle_of_all)["manifest.json"])
    assert [(one["method"], one["selection"], one["protocols"]) for one in manifest["entries"]] == [
        ("disc", "none", ["common", "jsa"]),
        ("ezvsl", "last", ["common"]),
        ("random", "none", ["common", "jsa"]),
    ]
    assert [list(one["audio"]) for one in manifest["entries"]] == [
        ["true"],
        ["noise", "offscreen", "silent", "true"],
        ["true"],
    ]
    assert [one["training"] for one in manifest["entries"]] == [False, True, False]
    assert set(manifest["files"]) == set(members(bundle_of_all)) - {"manifest.json"}


def test_equal_contents_give_equal_bytes_and_no_path_is_in_them(small, bundle_of_all, tmp_path, capsys):
    again = submit(small, tmp_path / "again.zip", "--training", f"ezvsl={small.training}")
    content = again.read_bytes()
    assert content == bundle_of_all.read_bytes()
    for place in (small.runs, small.training, small.home, tmp_path):
        assert str(place).encode() not in content
    record = next((small.runs / "records/small").glob("ezvsl.av*.json"))
    assert f"--checkpoint ezvsl={small.training}" in record.read_text()
    assert b"--checkpoint ezvsl=trained" in content
    assert not re.search(rb"[\s\"=]/(home|root|tmp|work|usr|var)/", content)
    capsys.readouterr()
    submit(small, again, "--training", f"ezvsl={small.training}")
    assert "again.zip: 3 entries, 42 files, 0.4 MB; it was there already" in re.sub(
        r"\S*/", "", capsys.readouterr().out
    )


def test_an_output_that_is_something_else_stays(small, tmp_path):
    out = tmp_path / "there.zip"
    out.write_text("mine")
    with pytest.raises(
        UsageError,
        match=f"^{re.escape(str(out))} is there already with other content: name another file, or delete it$",
    ):
        submit(small, out)
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["there.zip"]


def test_a_record_names_its_method_with_all_kinds_of_audio(small, members, tmp_path):
    record = next((small.runs / "records/small").glob("ezvsl.av.common-*.json"))
    from avbench.commands.submitting import main as command

    command([str(record), "-o", str(tmp_path / "one.zip")])
    manifest = json.loads(members(tmp_path / "one.zip")["manifest.json"])
    assert [(one["method"], len(one["audio"])) for one in manifest["entries"]] == [("ezvsl", 4)]


def test_partial_predictions_are_refused(small, tmp_path):
    about = next((small.runs / "predictions/small").glob("disc-*/about.json"))
    about.write_text(json.dumps({**json.loads(about.read_text()), "missing": ["demo_0001"]}))
    sentence = (
        r"^the predictions of disc on small are partial \(5 of 6 samples\), which nobody accepts: complete the media "
        "and run again$"
    )
    with pytest.raises(UsageError, match=sentence):
        submit(small, tmp_path / "b.zip")


def test_predictions_without_records_are_refused_with_the_command_that_scores_them(small, tmp_path):
    for path in (small.runs / "records/small").glob("disc.*"):
        path.unlink()
    sentence = (
        f"^expected records of disc on small by this version of the scoring, found none in {small.runs}: score first, "
        f"avbench score {small.runs} --split small --method disc$"
    )
    with pytest.raises(UsageError, match=sentence):
        submit(small, tmp_path / "b.zip")
    assert main(["score", str(small.runs), "--split", "small", "--method", "disc", "--protocol", "common"]) == 0
    submit(small, tmp_path / "b.zip")


def test_predictions_without_those_of_their_own_sounds_are_refused(small, tmp_path):
    for about in (small.runs / "predictions/small").glob("ezvsl-*/about.json"):
        if json.loads(about.read_text())["audio"] == "true":
            shutil.rmtree(about.parent)
    sentence = (
        "^the predictions of ezvsl on small are with .* audio alone, and those with its own sounds are needed: add "
        "them with avbench run --audio true$"
    )
    with pytest.raises(UsageError, match=sentence):
        submit(small, tmp_path / "b.zip")


def test_results_of_a_method_object_are_refused(small, tmp_path):
    about = next((small.runs / "predictions/small").glob("disc-*/about.json"))
    content = json.loads(about.read_text())
    content["resolved"]["method"]["origin"] = "object"
    about.write_text(json.dumps(content))
    sentence = (
        "^the predictions of disc on small are of a method given as an object, which nobody can tell: run it as a "
        "file or by name$"
    )
    with pytest.raises(UsageError, match=sentence):
        submit(small, tmp_path / "b.zip")


def test_splits_of_ones_own_are_refused(tiny_set, tmp_path):
    how = ["--runs", str(tmp_path / "runs"), "--pictures", "false", "--controls", "false"]
    assert main(["run", "--method", "disc", "--split", str(tiny_set), *how]) == 0
    from avbench.commands.submitting import main as command

    sentence = (
        "^the predictions of disc on tiny cannot be checked by others, since the split is none of avbench's: choose by "
        "--split$"
    )
    with pytest.raises(UsageError, match=sentence):
        command([str(tmp_path / "runs"), "-o", str(tmp_path / "b.zip")])


def test_nothing_chosen_is_refused(small, tmp_path):
    with pytest.raises(
        UsageError, match=r"^expected one method among the predictions \(disc, ezvsl, random\), got 'lvs'$"
    ):
        submit(small, tmp_path / "b.zip", "--method", "lvs")


def test_another_training_is_refused(small, tmp_path):
    other = shutil.copytree(small.training, tmp_path / "other")
    model = other / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    sentence = (
        f"^the training {other} has no checkpoint that predictions of ezvsl in the bundle were made with: name the "
        "folder of the training whose weights their records tell$"
    )
    with pytest.raises(UsageError, match=sentence):
        submit(small, tmp_path / "b.zip", "--training", f"ezvsl={other}")
    (small_evaluations := shutil.copytree(small.training, tmp_path / "bare") / "evaluations.jsonl").unlink()
    sentence = (
        f"^the training {small_evaluations.parent} has no evaluations.jsonl, as one has that was evaluated as it went: "
        "leave it out of --training$"
    )
    with pytest.raises(UsageError, match=sentence):
        submit(small, tmp_path / "b.zip", "--training", f"ezvsl={small_evaluations.parent}")
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["-o", "b.tar"], "expected -o FILE ending in .zip, got 'b.tar'"),
        (["-o", "b.zip", "--training", "ezvsl"], "expected --training METHOD=FOLDER, got 'ezvsl'"),
        (
            ["-o", "b.zip", "--training", "ezvsl=none"],
            "expected the folder of a training at none, found none: check --training",
        ),
    ],
)
def test_wrong_options_are_refused(given, sentence):
    from avbench.commands.submitting import main as command

    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
        command(["runs", *given])


def test_paths_are_taken_out_of_any_text():
    told = {"a": ["/x/y/z.pth", "C:\\me\\w.pt", 3], "b": "see https://example.org/a/b and ours/here"}
    assert without_paths(told) == {"a": ["z.pth", "w.pt", 3], "b": "see https://example.org/a/b and ours/here"}


def test_a_disk_that_refuses_is_told(small, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    sentence = (
        f"^{blocked}/b.zip cannot be written \\((File exists|Not a directory)\\): free space or name another place$"
    )
    with pytest.raises(AvbenchError, match=sentence):
        submit(small, blocked / "b.zip")
