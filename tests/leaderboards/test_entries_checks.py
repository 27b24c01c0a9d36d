"""A folder of accepted entries: every way to be wrong, each in its sentence; and branches that merge."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from avbench.errors import UsageError
from avbench.leaderboards.entry_checks import problems
from avbench.leaderboards.entry_files import read_entry

SPEC = importlib.util.spec_from_file_location("edited_entries", Path(__file__).with_name("edited_entries.py"))
edited_entries = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(edited_entries)
edited, found, with_values = edited_entries.edited, edited_entries.found, edited_entries.with_values


NAME = "toy-last-0123456789ab"


def test_nothing_is_wrong(accept):
    accept(badge="verified")
    accept("other", split="five", key="f" * 64)
    assert found(accept("third", method="rival", key="9" * 64, checkpoint="a" * 64)) == []


def test_no_folder(tmp_path):
    place = tmp_path / "nowhere"
    with pytest.raises(UsageError, match=f"^expected a folder of accepted entries at {place}, found none: check the"):
        problems(place)


def test_all_that_is_wrong_is_told(path, accept):
    other = accept("other", split="five", key="f" * 64)
    path.with_suffix(".parquet").write_bytes(b"")
    other.write_text("{}")
    assert found(path) == [
        f"expected an entry of format 1 in {other}, found another form: restore the file",
        f"the per-sample values {path.with_suffix('.parquet')} are not those that {NAME}.json was written with: "
        "restore both",
    ]


def test_an_unknown_badge(path):
    edited(path, lambda content, _: content.update(badge="paper"))
    assert found(path) == [
        f"expected the badge verified or submitted in {path}, found 'paper': restore the file",
    ]


def test_a_verified_one_without_a_rerun(path):
    edited(path, lambda content, _: content.update(badge="verified"))
    assert found(path) == [f"{path} is verified without a re-run: run it again, or accept it as submitted"]


@pytest.mark.parametrize("change", [{"partial": True}, {"n_expected": 5}])
def test_a_partial_record(path, change):
    edited(path, lambda _, records: records[1].update(change))
    of = change.get("n_expected", 4)
    assert found(path) == [
        f"the record av/avsbench in {path} is partial (4 of {of} samples): leave it out, or predict all samples"
    ]


def test_an_interval_beside_its_value(path):
    edited(path, lambda _, records: records[0].update(intervals={"locacc": [0.2, 0.6], "iiou": [0, 1]}))
    assert found(path) == [
        f"the interval of locacc of the record av/common in {path} is 0.2 to 0.6, which does not hold its value "
        "0.666667: score again",
        f"the interval of iiou of the record av/common in {path} is 0 to 1, which does not hold its value nan: score "
        "again",
    ]


@pytest.mark.parametrize(
    ("metric", "told", "given"),
    [
        ("locacc", "0.700000002", "0.666666667"),
        ("auc", "0.475000002", "0.441666667"),
        ("mean_ciou", "0.466666668", "0.433333333"),
        ("ap", "0.672222224", "0.638888889"),
        ("max_f1", "0.700000002", "0.666666667"),
    ],
)
def test_a_number_that_the_values_do_not_give(path, metric, told, given):
    edited(path, lambda _, records: records[0]["metrics"].update({metric: records[0]["metrics"][metric] + 0.033333335}))
    assert found(path) == [
        f"the record av/common in {path} tells {metric} {told} and its per-sample values give {given}: score again"
    ]


def test_the_miou_that_the_values_do_not_give(path):
    edited(path, lambda _, records: records[1]["metrics"].update(miou=0.400000002))
    assert found(path) == [
        f"the record av/avsbench in {path} tells miou 0.400000002 and its per-sample values give 0.4: score again"
    ]


def test_less_than_the_tolerance_is_let_pass(path):
    edited(path, lambda _, records: records[1]["metrics"].update(miou=0.4000000005))
    assert found(path) == []


def test_values_that_are_not_there(path):
    with_values(path, lambda table: table.drop(columns=["av/common/confidence", "av/avsbench/iou"]))
    assert found(path) == [
        f"the per-sample values of the record av/common in {path} do not give its ap: restore them",
        f"the per-sample values of the record av/common in {path} do not give its max_f1: restore them",
        f"the record av/avsbench in {path} cannot be checked (the per-sample values of {path} lack those of av under "
        "avsbench: restore the file)",
    ]


def test_samples_that_are_not_those_told(path):
    with_values(path, lambda table: table.assign(id=["a", "b", "c", "c"], boxes=[1, 1, 0, 0], area=[9.0, 9, 0, 0]))
    sentences = found(path)
    assert f"the record av/avsbench in {path} tells 4 samples and its per-sample values 3: score again" in sentences
    assert (
        f"the record av/avsbench in {path} tells 3 samples with a sounding object and its per-sample values 2: score "
        "again" in sentences
    )


def test_failures_that_are_not_told(path):
    with_values(path, lambda table: table.assign(**{"av/avsbench/iou": [0.5, None, 0.75, 0.1]}))
    assert (
        f"the record av/avsbench in {path} tells 0 of these without a cIoU and its per-sample values 1: score again"
        in found(path)
    )


def test_a_protocol_of_another_version(path):
    edited(path, lambda _, records: records[0]["provenance"]["protocol"].update(version=9))
    assert found(path) == [
        f"the record av/common in {path} is of version 9 of the protocol common, which is at 1 in this avbench: score "
        "again with this one, or upgrade it"
    ]


def test_a_protocol_that_nobody_knows(path):
    edited(path, lambda _, records: records[0].update(protocol="commn"))
    (sentence,) = found(path)
    assert sentence.startswith(
        f"the record av/commn in {path} cannot be checked (there is no protocol called 'commn': did you mean common? "
    )


def test_absolute_paths(path):
    def edit(content, records):
        content["accepted"]["note"] = "see /home/ada/notes"
        records[1]["run"] = {**records[1]["run"], "command": "avbench run --data=/mnt/media"}

    edited(path, edit)
    assert found(path) == [
        f"{path} holds the absolute path /home/ada/notes at accepted.note: leave its folders out",
        f"{path} holds the absolute path /mnt/media at records.1.run.command: leave its folders out",
    ]


def test_a_name_that_is_not_its_contents(path):
    moved = path.parents[1] / "five" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    path.with_suffix(".parquet").rename(moved.with_suffix(".parquet"))
    assert found(moved) == [f"{moved} holds what belongs in four/{NAME}.json: give it that name"]


def test_files_of_no_entry(path):
    strays = [path.with_name("notes.txt"), path.with_name("lone.parquet"), path.parents[1] / "top.json"]
    for stray in strays:
        stray.write_text("")
    assert found(path) == [f"{stray} belongs to no entry: move it elsewhere" for stray in sorted(strays)]


class TestDuplicates:
    def test_one_entry_in_two_files(self, path):
        copy = path.with_name("copy.json")
        content = json.loads(path.read_text())
        copy.write_text(json.dumps({**content, "samples": "copy.parquet"}))
        shutil.copy(path.with_suffix(".parquet"), copy.with_suffix(".parquet"))
        assert found(path) == [
            f"{copy} holds what belongs in four/{NAME}.json: give it that name",
            f"{copy} (toy, last, submitted) and {path} (toy, last, submitted) hold the same predictions 0123456789ab "
            "of four: keep one",
        ]

    def test_the_same_predictions_under_another_name_and_badge(self, path, accept):
        other = accept("other", method="mine", badge="verified")
        assert found(path) == [
            f"{other} (mine, last, verified) and {path} (toy, last, submitted) hold the same predictions 0123456789ab "
            "of four: keep one"
        ]

    def test_the_same_numbers_of_other_predictions(self, path, accept):
        other = accept("other", key="f" * 64, checkpoint="a" * 64)
        assert found(path) == [
            f"{path} (toy, last, submitted) and {other} (toy, last, submitted) have the same numbers of toy on four: "
            "keep one"
        ]

    def test_a_checkpoint_under_another_name(self, path, accept):
        other = accept("other", method="zebra", key="f" * 64)
        assert found(path) == [
            f"{path} (toy, last, submitted) and {other} (zebra, last, submitted) have the same numbers of one "
            "checkpoint on four: keep one"
        ]

    def test_what_is_no_duplicate(self, path, accept):
        accept("numbers", key="f" * 64, shift=-0.01)
        accept("selection", key="e" * 64, rule="validation")
        accept("rival", key="d" * 64, method="rival", checkpoint="a" * 64)
        accept("split", key="b" * 64, split="five")
        assert found(path) == []


class TestMerging:
    """Two branches that each accept something, as two pull requests do."""

    @pytest.fixture
    def repository(self, tmp_path, monkeypatch) -> Path:
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            monkeypatch.delenv(name, raising=False)
        self.git(tmp_path / "repository", "init", "--quiet", "--initial-branch", "main", ".")
        return tmp_path / "repository"

    def git(self, folder: Path, *arguments: str) -> None:
        folder.mkdir(exist_ok=True)
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)

    def commit(self, repository: Path) -> None:
        self.git(repository, "add", "records")
        self.git(repository, "commit", "--quiet", "-m", "an entry")

    def test_two_branches(self, repository, accept):
        folder = repository / "records"
        accept("base", into=folder)
        self.commit(repository)
        self.git(repository, "checkout", "--quiet", "-b", "one")
        accept("one", into=folder, method="one", key="1" * 64, checkpoint="1" * 64, shift=-0.01)
        accept("one", into=folder, method="one", key="2" * 64, checkpoint="1" * 64, split="five")
        self.commit(repository)
        self.git(repository, "checkout", "--quiet", "main")
        accept("two", into=folder, method="two", key="3" * 64, checkpoint="3" * 64, shift=-0.02)
        self.commit(repository)
        self.git(repository, "merge", "--quiet", "--no-edit", "one")
        assert problems(folder) == []
        paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
        assert paths == [
            "five/one-last-222222222222.json",
            "four/one-last-111111111111.json",
            f"four/{NAME}.json",
            "four/two-last-333333333333.json",
        ]
        assert [read_entry(folder / path).method for path in paths] == ["one", "one", "toy", "two"]


def test_sentences_are_one_line(path):
    edited(path, lambda content, _: content["accepted"].update(note="first\n/home/ada\x1b[31m/x"))
    assert all(re.fullmatch(r"[^\n\x1b]+", sentence) for sentence in found(path))
