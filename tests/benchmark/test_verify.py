"""``avbench verify``: bundles that pass, and each kind of tampering in its sentence."""

import io
import json
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load, save

from avbench.commands.verifying import main as verify
from avbench.records import seal_of
from avbench.store import hash_json
from avbench.truth import KNOWN
from avbench.verification_invariants import auc_bounds

pytestmark = pytest.mark.usefixtures("no_remains")


def problems(capsys, bundle: Path) -> dict[str, list[str]]:
    """The sentences of a bundle whose checks fail, by the name of the check."""
    capsys.readouterr()
    code = verify([str(bundle), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (code, report["passed"]) == (1, False)
    return {one["name"]: one["problems"] for one in report["checks"] if not one["passed"]}


def named(found: dict[str, bytes], pattern: str) -> str:
    """The one member whose name has ``pattern``."""
    names = [name for name in found if re.search(pattern, name)]
    assert len(names) == 1, names
    return names[0]


@contextmanager
def edited(found: dict[str, bytes], pattern: str):
    """A member of JSON to be changed."""
    name = named(found, pattern)
    content = json.loads(found[name])
    yield content
    found[name] = json.dumps(content).encode()


@contextmanager
def resealed(found: dict[str, bytes], pattern: str):
    """A record to be changed, with a seal that fits."""
    with edited(found, pattern) as content:
        yield content
        content["seal"] = seal_of(content)


def with_part(found: dict[str, bytes], change) -> None:
    """Change the tensors of disc's only part."""
    name = named(found, r"disc-.*part-00000")
    length = int.from_bytes(found[name][:8], "little")
    told = json.loads(json.loads(found[name][8 : 8 + length])["__metadata__"]["part"])
    tensors = {key: value.clone() for key, value in load(found[name]).items()}
    change(tensors, told)
    found[name] = save(tensors, metadata={"part": json.dumps(told)})


def test_what_was_submitted_passes(small, capsys, bundle_of_all):
    assert verify([str(bundle_of_all), "--detail"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok ") for line in lines[:-1])
    assert lines[-1] == "all.zip: all 28 checks passed"
    said = [re.split(r" {2,}", line, maxsplit=2)[1:] for line in lines[:-1]]
    assert ["list", f"small: 6 samples, hash {small.split.sha256[:12]}"] in said
    assert ["listening", "small: 1 answers, the same when measured again"] in said
    assert ["trainings", "all: 1 trainings, of the checkpoints that predicted"] in said
    assert ["invariants", "disc on small: hold for 2 records"] in said
    (selection,) = {line.rsplit(" ", 1)[1] for line in lines if " entry " in line and "ezvsl" in line}
    assert any(kind == "maps" and said.startswith(f"ezvsl on small, selection {selection}: ") for kind, said in said)


def test_a_changed_map_shows_in_records_and_samples(small, capsys, tmp_path, bundle_of_disc, rewritten):
    def change(found):
        with_part(found, lambda tensors, told: tensors.update(map=-tensors["map"]))

    found = problems(capsys, rewritten(bundle_of_disc, tmp_path / "b.zip", change))
    assert set(found) == {"scores"}
    assert len(found["scores"]) == 4, "two records and their per-sample values"
    record, samples = found["scores"][:2]
    assert re.fullmatch(
        r"the record records/small/disc\.av\.common-[0-9a-f]{12}\.json is not what its maps give: "
        r"(?:[\w.]+ is [\d.e-]+, and [\d.e-]+ when measured again; ){3}and \d+ more",
        record,
    )
    assert re.fullmatch(
        r"the per-sample values records/small/disc\.av\.common-[0-9a-f]{12}\.parquet are not what the maps give: "
        r"ciou of small_00000 is [\d.]+, and [\d.]+ when measured again, 6 values in all; .*",
        samples,
    )


def test_a_changed_record_does_not_fit_its_seal(small, capsys, tmp_path, bundle_of_disc, rewritten):
    def change(found):
        with edited(found, r"disc\.av\.common-.*json") as record:
            record["metrics"]["locacc"] = 1.0

    found = problems(capsys, rewritten(bundle_of_disc, tmp_path / "b.zip", change))
    assert set(found) == {"records"}
    first, second = found["records"]
    assert re.fullmatch(
        r"the record records/small/disc\.av\.common-[0-9a-f]{12}\.json was changed after it was written: delete it and "
        "score again",
        first,
    )
    assert second == "disc on small is scored under jsa, and listed with common, jsa"


def test_a_changed_record_with_a_seal_that_fits_is_not_what_its_maps_give(
    small, capsys, tmp_path, bundle_of_disc, rewritten
):
    def change(found):
        with resealed(found, r"disc\.av\.common-.*json") as record:
            record["metrics"]["pointing"] = 0.999

    found = problems(capsys, rewritten(bundle_of_disc, tmp_path / "b.zip", change))
    assert set(found) == {"scores"}
    assert re.fullmatch(
        r"the record records/small/disc\.av\.common-[0-9a-f]{12}\.json is not what its maps give: pointing is 0\.999, "
        r"and [\d.]+ when measured again",
        found["scores"][0],
    )


def test_changed_per_sample_values(small, capsys, tmp_path, bundle_of_disc, rewritten):
    def change(found):
        name = named(found, r"disc\.av\.jsa-.*parquet")
        table = pd.read_parquet(io.BytesIO(found[name]))
        table.loc[2, "pointing"] = 7.0
        found[name] = table.to_parquet(index=False)

    found = problems(capsys, rewritten(bundle_of_disc, tmp_path / "b.zip", change))
    assert set(found) == {"scores"}
    assert re.fullmatch(
        r"the per-sample values records/small/disc\.av\.jsa-[0-9a-f]{12}\.parquet are not what the maps give: pointing "
        r"of small_00002 is 7, and [01] when measured again, 1 values in all",
        found["scores"][0],
    )


def changed_truth(content: bytes, change) -> bytes:
    """A truth with other rows, and the hash that belongs to them."""
    table = pq.read_table(io.BytesIO(content))
    rows, known = table.to_pylist(), json.loads(table.schema.metadata[KNOWN])
    change(rows)
    known["sha256"] = hash_json(rows)
    schema = table.schema.with_metadata({**table.schema.metadata, KNOWN: json.dumps(known).encode()})
    out = io.BytesIO()
    pq.write_table(table.from_pylist(rows, schema=schema), out)
    return out.getvalue()


def test_a_changed_truth(small, capsys, tmp_path, bundle_of_disc, rewritten):
    def change(found):
        name = named(found, "truth/")
        found[name] = changed_truth(found[name], lambda rows: rows[3].update(boxes=[[0.0, 0.0, 1.0, 1.0]]))

    found = problems(capsys, rewritten(bundle_of_disc, tmp_path / "b.zip", change))
    assert set(found) == {"truth"}, "everything else is measured against our own"
    assert re.fullmatch(
        r"the truth truth/small-[0-9a-f]{12}\.parquet is not that of our own annotation \(sha256 differ, first that of "
        r"small_00003\): predict from the official files, with the masks that belong to them, and submit that",
        found["truth"][0],
    )


def test_a_truth_of_fewer_samples(small, capsys, tmp_path, bundle_of_disc, rewritten):
    def change(found):
        name = named(found, "truth/")
        found[name] = changed_truth(found[name], lambda rows: rows.pop())

    found = problems(capsys, rewritten(bundle_of_disc, tmp_path / "b.zip", change))
    assert re.fullmatch(
        r"expected the 6 samples of our own list in truth/small-[0-9a-f]{12}\.parquet, found 5: predict again",
        found["truth"][0],
    )


def swap(tensors, told):
    told["ids"][1], told["ids"][4] = told["ids"][4], told["ids"][1]


def cut(tensors, told):
    told["ids"].pop()


def spoil(tensors, told):
    tensors["map"] = tensors["map"].expand(6, -1, -1).clone()
    tensors["map"][2, 5, 5] = torch.nan


def widen(tensors, told):
    told["score_range"] = [0.0, 0.25]


def invert(tensors, told):
    told["score_range"] = [1.0, -1.0]


def halve(tensors, told):
    tensors["map"] = tensors["map"].half()


PART = r"predictions/small/disc-[0-9a-f]{12}/part-00000\.safetensors"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (swap, rf"the part {PART} is of other samples, or in another order: expected small_00001, found small_00004"),
        (cut, rf"the part {PART} is of other samples, or in another order: expected 6 samples, found 5"),
        (
            spoil,
            rf"1 of the map of {PART} hold values that are no finite numbers beside such that are, first that of "
            "small_00002: mend the method",
        ),
        (
            widen,
            rf"1 of the map of {PART} leave the score range \[0, 0\.25\] that they state, first that of small_00000: "
            "mend the method",
        ),
        (invert, rf"the part {PART} states a score range that is none: \(1\.0, -1\.0\)"),
        (halve, rf"the part {PART} has other tensors than methods give: \{{'map': \(6, 224, 224\)\}}"),
    ],
)
def test_maps_that_are_not_as_they_should_be(small, capsys, tmp_path, bundle_of_disc, rewritten, change, sentence):
    bundle = rewritten(bundle_of_disc, tmp_path / "b.zip", lambda found: with_part(found, change))
    found = problems(capsys, bundle)
    assert set(found) == {"maps"}
    assert re.fullmatch(sentence, found["maps"][0])


def test_a_missing_part_and_one_too_many(small, capsys, tmp_path, bundle_of_disc, rewritten):
    def lose(found):
        found.pop(named(found, "part-00000"))

    def add(found):
        name = named(found, "part-00000")
        found[name.replace("00000", "00001")] = found[name]

    found = problems(capsys, rewritten(bundle_of_disc, tmp_path / "b.zip", lose))
    assert re.fullmatch(
        r"1 of the 1 part files of disc on small are missing in predictions/small/disc-[0-9a-f]{12}: repeat the run "
        r"that was interrupted \(avbench run .*\)",
        found["predictions"][0],
    )
    found = problems(capsys, rewritten(bundle_of_disc, tmp_path / "b.zip", add))
    assert re.fullmatch(
        r"predictions/small/disc-[0-9a-f]{12}/part-00001\.safetensors is a part more than 6 samples have: predict "
        "again",
        found["maps"][0],
    )


ABOUT = r"disc-.*about\.json"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda about: about.update(missing=["small_00001"]), "it is partial"),
        (lambda about: about["inputs"].update(code="0"), "its key is not that of its inputs"),
        (lambda about: about.update(control=False), "it says two things of being a control"),
        (lambda about: about.update(split="../.."), "its folder is of another split"),
        (lambda about: about.update(method="../disc"), "its folder is called otherwise"),
        (lambda about: about.update(truth="../../x.parquet"), "its truth has no proper name"),
        (lambda about: about["resolved"]["method"].update(origin="object"), "its method was given as an object"),
    ],
)
def test_descriptions_that_contradict_themselves(small, capsys, tmp_path, bundle_of_disc, rewritten, change, problem):
    def tamper(found):
        with edited(found, ABOUT) as about:
            change(about)

    found = problems(capsys, rewritten(bundle_of_disc, tmp_path / "b.zip", tamper))
    assert re.fullmatch(
        rf"predictions/small/disc-[0-9a-f]{{12}}/about\.json cannot be used, since {re.escape(problem)}: predict "
        "again, and submit that",
        found["predictions"][0],
    )
    assert re.fullmatch(
        "disc on small lacks its predictions with true audio, [0-9a-f]{12}, or they cannot be used", found["entry"][0]
    )


def test_values_of_other_types_are_no_descriptions(small, capsys, tmp_path, bundle_of_disc, rewritten):
    def tamper(found):
        with edited(found, ABOUT) as about:
            about["expected"] = "6"

    found = problems(capsys, rewritten(bundle_of_disc, tmp_path / "b.zip", tamper))
    assert re.fullmatch(
        r"predictions/\S+/about\.json is incomplete or changed: expected .* of the usual types", found["predictions"][0]
    )


def test_a_list_of_our_split_that_is_another(small, capsys, tmp_path, bundle_of_disc, rewritten, monkeypatch):
    other = replace(small, split=replace(small.split, sha256="0" * 64))
    other.enter(monkeypatch)
    monkeypatch.setattr("avbench.data.demo._verify", lambda split, folder: None)
    found = problems(capsys, bundle_of_disc)
    assert set(found) == {"list"}
    assert re.fullmatch(
        rf"the predictions disc-[0-9a-f]{{12}} are of the list {small.split.sha256[:12]} with 6 samples, and small is "
        "000000000000 with 6",
        found["list"][0],
    )


def test_a_split_that_is_none_of_ours(capsys, bundle_of_disc):
    found = problems(capsys, bundle_of_disc)
    assert found == {
        "list": ["the split small is none of avbench's, so that its truth cannot be checked: submit others"]
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda one: one["metrics"].update(auc=0.999),
            r"says that auc is 0\.999, and its success rates allow [\d.]+ to [\d.]+",
        ),
        (
            lambda one: one["metrics"].update(locacc_30=0.1, locacc=0.5),
            r"has a success rate that rises with the threshold, locacc_30 0\.1 to locacc 0\.5",
        ),
        (
            lambda one: one["metrics"].update(locacc=1.0, locacc_30=1.0),
            r"says that locacc is 1, and masks of half the canvas reach [\d.]+ at most",
        ),
        (lambda one: one["metrics"].update(energy=1.5), r"says that energy is 1\.5, which is no fraction"),
        (
            lambda one: one["intervals"].update(locacc_30=[0.0, 0.0001]),
            r"has an interval of locacc_30 that does not hold its value",
        ),
        (lambda one: one.update(n_positive=5), r"counts 5 samples with truth, and 6 have one"),
        (lambda one: one.update(n_scored=5), r"is of 5 of 6 samples, and the list has 6"),
    ],
)
def test_numbers_that_cannot_be(small, capsys, tmp_path, bundle_of_disc, rewritten, change, sentence):
    def tamper(found):
        with resealed(found, r"disc\.av\.common-.*json") as record:
            change(record)

    found = problems(capsys, rewritten(bundle_of_disc, tmp_path / "b.zip", tamper))
    assert set(found) == {"invariants", "scores"}
    name = r"records/small/disc\.av\.common-[0-9a-f]{12}\.json"
    assert any(re.fullmatch(f"{name} {sentence}", problem) for problem in found["invariants"]), found["invariants"]


def test_bounds_of_the_area_by_hand():
    """21 thresholds of weight 1/20, half of that at the ends."""
    low, high = auc_bounds(0.6, 0.2)
    assert low == pytest.approx((0.6 * 5.5 + 0.2 * 10) / 20)
    assert high == pytest.approx((1 * 5.5 + 0.6 * 9 + 0.2 * 5.5) / 20)
    assert auc_bounds(1, 1) == pytest.approx((0.775, 1))


def test_a_changed_answer_about_listening_and_another_training(small, capsys, tmp_path, bundle_of_all, rewritten):
    def tamper(found):
        with edited(found, "listening-") as answer:
            answer["drops"]["silent"]["value"] = 0.5
        with edited(found, "trainings/.*config") as config:
            config["meta"]["epoch"] = 7

    found = problems(capsys, rewritten(bundle_of_all, tmp_path / "b.zip", tamper))
    assert set(found) == {"listening", "trainings"}
    assert re.fullmatch(
        r"the answer records/small/ezvsl\.listening-[0-9a-f]{12}\.json is not what the maps give: drops\.silent\.value "
        r"is 0\.5, and [\d.-]+ when measured again",
        found["listening"][0],
    )
    assert re.fullmatch(
        "the training ezvsl-[0-9a-f]{12} is not that of the checkpoint which ezvsl on small was predicted with",
        found["trainings"][0],
    )


def test_a_failed_check_accepts_nothing(small, capsys, tmp_path, bundle_of_disc, rewritten):
    def tamper(found):
        with resealed(found, r"disc\.av\.common-.*json") as record:
            record["metrics"]["pointing"] = 0.999

    bundle = rewritten(bundle_of_disc, tmp_path / "b.zip", tamper)
    assert verify([str(bundle), "--accept", str(tmp_path / "records")]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "b.zip: 1 of 9 checks failed",
        f"nothing was written to {tmp_path / 'records'}",
    ]
    assert not (tmp_path / "records").exists()
