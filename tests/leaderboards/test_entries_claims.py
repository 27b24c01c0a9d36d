"""What entries say of themselves and cannot be: each lie in its sentence."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from avbench.metrics.statistics import wilson_interval
from avbench.store import hash_json

SPEC = importlib.util.spec_from_file_location("edited_entries", Path(__file__).with_name("edited_entries.py"))
edited_entries = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(edited_entries)
edited, found, with_values = edited_entries.edited, edited_entries.found, edited_entries.with_values


INPUTS = {"method": "toy", "split": "d" * 64, "checkpoint": "c" * 64, "audio": "true"}


class TestClaims:
    """What an entry says of itself, changed by somebody who seals the records again."""

    @pytest.fixture
    def known(self, accept, monkeypatch) -> Path:
        """An entry on a list of avbench's, its key that of its inputs."""
        ours = SimpleNamespace(sha256="d" * 64, n=4)
        monkeypatch.setattr("avbench.data.splits.split_names", lambda: ["four"])
        monkeypatch.setattr("avbench.data.splits.split_summary", lambda name: ours)
        path = accept(key=hash_json(INPUTS), badge="verified")
        edited(path, lambda content, records: self.all(records, lambda known: known.update(inputs=INPUTS)))
        edited(path, lambda content, records: content.update(badge="submitted", rerun=None))
        edited(path, lambda content, records: records[0]["intervals"].update(locacc=wilson_interval(2, 3)))
        assert found(path) == []
        return path

    @staticmethod
    def all(records, change) -> None:
        for record in records:
            change(record["provenance"])

    @pytest.mark.parametrize(
        ("change", "wrong"),
        [
            (lambda known: known["inputs"].update(audio="silent"), "its key is not that of its inputs"),
            (lambda known: known["method"].update(name="other"), "its inputs name another method"),
            (lambda known: known["split"].update(sha256="0" * 64), "its inputs name another list"),
            (lambda known: known["split"].update(name="five"), "its list has another name"),
            (lambda known: known["checkpoint"].update(sha256="0" * 64), "its inputs name another checkpoint"),
        ],
    )
    def test_provenance_that_the_key_does_not_give(self, known, change, wrong):
        edited(known, lambda _, records: self.all(records, change))
        assert found(known) == [
            f"the record av/{protocol} in {known} cannot be, since {wrong}: restore the file"
            for protocol in ("common", "avsbench")
        ]

    def test_an_interval_that_is_too_narrow(self, known):
        edited(known, lambda _, records: records[0]["intervals"].update(locacc=[0.66, 0.67]))
        assert found(known) == [
            f"the interval of locacc of the record av/common in {known} is 0.66 to 0.67, where Wilson's is 0.20766 to "
            "0.938508: score again"
        ]

    def test_another_list_than_ours(self, known, monkeypatch):
        ours = SimpleNamespace(sha256="f" * 64, n=5)
        monkeypatch.setattr("avbench.data.splits.split_summary", lambda name: ours)
        told = "of 4 samples of the list dddddddddddd, and four has 5 of ffffffffffff: predict again"
        assert found(known) == [f"the record av/{one} in {known} is {told}" for one in ("common", "avsbench")]

    def test_methods_that_are_not_what_they_say(self, known, monkeypatch):
        edited(known, lambda _, records: self.all(records, lambda told: told["method"].update(origin="built-in")))
        sentence = f"{known} is of the built-in method toy, and avbench has none of that name: give it its own name"
        assert found(known) == [sentence]
        ours = SimpleNamespace(origin="built-in", control=True)
        monkeypatch.setattr("avbench.registry.method_names", lambda: ["toy"])
        monkeypatch.setattr("avbench.registry.find_method", lambda name: ours)
        monkeypatch.setattr("avbench.registry.describe", lambda ref: ref)
        sentence = f"{known} does not say of toy as avbench does whether it is a control: restore the file"
        assert found(known) == [sentence]
        edited(known, lambda _, records: self.all(records, lambda told: told["method"].update(origin="toy.py")))
        sentence = f"{known} is of the method toy, under the name of one of avbench's own: give it its own name"
        assert found(known) == [sentence]

    def test_verified_without_a_method_to_run_again(self, known):
        rerun = {"avbench": "0", "git": "", "torch": "2", "largest": {"metrics": 0.0, "ciou": 0.0}}
        edited(known, lambda content, _: content.update(badge="verified", rerun=rerun))
        sentence = f"{known} is verified, and toy is no method of avbench's own to be run again: submit it"
        assert found(known) == [sentence]


def test_reruns_that_lift_nothing(path):
    rerun = {"avbench": "0", "git": "", "torch": "2", "largest": {"metrics": 0.5, "ciou": 0.9}}
    edited(path, lambda content, _: content.update(rerun=rerun))
    assert found(path) == [
        f"{path} is submitted and has a re-run, which only what is verified has: leave it out",
        f"{path} tells a re-run that was 0.5 off in a metric and 0.9 in a sample, where 0.005 and 1 are the most: "
        "accept it as submitted",
    ]


def test_parameters_that_are_none(path):
    edited(path, lambda content, _: content.update(parameters={"training": 1, "inference": 2}))
    assert found(path) == [
        f"{path} tells 2 of 1 parameters read by inference, which is no number of them: count them again"
    ]


@pytest.mark.parametrize("version", [None, 9])
def test_a_metric_of_another_version(path, version):
    def edit(_, records):
        records[0]["metrics"]["locacc"] = 0.9
        records[0]["provenance"]["metrics"]["locacc"] = version

    edited(path, edit)
    assert found(path) == [
        f"the record av/common in {path} is of version {version} of the metric locacc, which is at 1 in this avbench: "
        "score again with this one, or upgrade it"
    ]


def test_metrics_that_are_none_or_no_fractions_or_left_out(path):
    def edit(_, records):
        records[0]["metrics"].update(nonsense=0.5, pixel_ap=7.0)
        del records[0]["metrics"]["ap"]

    edited(path, edit)
    assert found(path) == [
        f"the record av/common in {path} tells pixel_ap 7, which is no fraction: score again",
        f"the record av/common in {path} tells nonsense, which is no metric: leave it out",
        f"the record av/common in {path} lacks ap, which its per-sample values give as 0.638888889: score again",
    ]


def test_columns_and_maps_of_nothing(path):
    with_values(path, lambda table: table.assign(note="x"))
    edited(path, lambda content, _: content.update(maps={"shape": [1, 1], "samples": {"a": [1], "z": [1]}}))
    assert found(path) == [
        f"the per-sample values of {path} have columns of no record, note: leave them out",
        f"{path} has maps of samples that it does not have, z: leave them out",
    ]


def test_truths_that_are_equal_by_hash_or_by_values_alone(path, accept):
    other = accept("other", method="rival", key="9" * 64, checkpoint="a" * 64, shift=-0.01)
    named = f"{path} (toy, last, submitted) and {other} (rival, last, submitted) are of one list"
    told = "and the hashes of their truths do not say what the values do, which of them are equal: restore both"
    with_values(path, lambda table: table.assign(label="x"))
    assert found(path) == [f"{named}, {told}"]
    edited(path, lambda _, records: [one["provenance"].update(truth="0" * 64) for one in records])
    assert found(path) == []
    edited(other, lambda _, records: [one["provenance"].update(truth="0" * 64) for one in records])
    assert found(path) == [f"{named}, {told}"]
