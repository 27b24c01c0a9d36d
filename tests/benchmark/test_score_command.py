"""``avbench score``: stored predictions under other protocols, with nothing but the runs folder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from avbench.cli import main
from avbench.errors import AvbenchError, UsageError
from avbench.metrics.protocols import PROTOCOLS
from avbench.parts import Part, read_part, write_part
from avbench.rescoring import Choice, rescore
from avbench.stored import find_stored, read_stored

BOXES = [name for name, protocol in PROTOCOLS.items() if protocol.truth == "boxes"]


@pytest.fixture
def runs(plugin_file, tiny_set, tmp_path, capsys) -> Path:
    """The runs folder of two methods and the controls, under ``common`` alone; the media are gone."""
    other = plugin_file.with_name("other.py")
    other.write_text(plugin_file.read_text().replace("tiny-plugin", "other").replace("* loudness", "/ loudness"))
    folder = tmp_path / "runs"
    methods = f"{plugin_file}:Tiny,{other}:Tiny"
    how = ["--runs", str(folder), "--pictures", "false", "--retrieval"]
    assert main(["run", "--method", methods, "--split", str(tiny_set), *how]) == 0
    shutil.rmtree(tiny_set.parent)
    plugin_file.unlink()
    other.unlink()
    capsys.readouterr()
    return folder


def rows_of(capsys, *arguments) -> dict:
    assert main(["score", *map(str, arguments), "--json"]) == 0
    return {(row["method"], row["variant"], row["protocol"]): row for row in json.loads(capsys.readouterr().out)}


def test_every_protocol_without_media_or_method(capsys, runs):
    rows = rows_of(capsys, runs)
    assert [protocol for method, _, protocol in rows if method == "tiny-plugin"] == BOXES
    assert {method for method, _, _ in rows} == {"tiny-plugin", "other", "whole", "square", "disc"}
    found = rows["tiny-plugin", "av", "jsa"]
    table = pd.read_parquet(Path(found["record"]).with_name(found["per_sample"]))
    assert found["metrics"]["locacc"] == (table["ciou"] >= 0.5).mean()
    assert found["provenance"]["config"] == {"gain": 1.0}
    assert found["metrics"]["a2i_instance_r10"] == 1, "ranks were stored with the predictions"


def test_the_numbers_are_those_of_the_run_itself(capsys, runs):
    before = {path: json.loads(path.read_text()) for path in (runs / "records").rglob("*.json")}
    for path in before:
        path.unlink()
    rows = rows_of(capsys, runs, "--protocol", "common")
    again = {Path(row["record"]): json.loads(Path(row["record"]).read_text()) for row in rows.values()}
    assert before.keys() == again.keys()
    for path, content in before.items():
        assert {**content, "run": None} == {**again[path], "run": None}


def test_scoring_opens_no_media_and_no_method_and_records_answer_the_second_time(runs):
    code = (
        "import sys\nopened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "from avbench.cli import main\ncode = main(sys.argv[1:])\n"
        "seen = [name for name in opened if name.endswith(('.png', '.wav')) or 'plugin' in name.rpartition('/')[2]]\n"
        "print(code, [n for n in seen if n.endswith(('.png', '.wav', '.py'))], 'torch' in sys.modules)"
    )
    for scored_now in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", code, "score", str(runs), "--protocol", "lvs,common", "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == f"0 [] {scored_now}"


def test_the_table_shows_how_the_ranks_move(capsys, runs, tmp_path):
    out = tmp_path / "table.md"
    assert main(["score", str(runs), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "cIoU % of the same maps under every protocol, with ranks" in shown
    assert "Kendall's tau" in shown
    assert "(1)" in shown
    disc = next(line for line in shown.split("under every protocol")[1].splitlines() if line.strip().startswith("disc"))
    assert "(" not in disc, "controls are not ranked"
    assert out.read_text().count("| method") == len(BOXES) + 1
    assert "First place:" in out.read_text()


def test_details_are_shown_on_request(capsys, runs):
    main(["score", str(runs), "--protocol", "common"])
    assert "pointing game" not in capsys.readouterr().out
    main(["score", str(runs), "--protocol", "common", "--detail"])
    shown = capsys.readouterr().out
    assert "pointing game" in shown
    assert "cIoU adap." in shown


def test_a_record_or_a_single_folder_names_its_predictions(capsys, runs):
    folder = next((runs / "predictions" / "tiny").glob("other-*"))
    record = next((runs / "records" / "tiny").glob("other.*.json"))
    for place in (folder, record, runs / "predictions"):
        rows = rows_of(capsys, place, "--method", "other", "--protocol", "lvs")
        assert list(rows) == [("other", "av", "lvs")]


def test_masks_and_sources_are_scored_where_the_truth_has_them(capsys, plugin_file, tiny_set, tmp_path):
    entries = json.loads((tiny_set.parent / "annotations.json").read_text())
    (tiny_set.parent / "masks").mkdir()
    for number, entry in enumerate(entries):
        box = entry["bbox"][0]
        halves = [[box[0], 0.1, box[2], 0.5], [box[0], 0.5, box[2], 0.9]][: 1 + number % 2]
        entry["objects"] = [{"class": f"half {n}", "bbox": half, "sounding": True} for n, half in enumerate(halves)]
        mask = np.zeros((60, 80), dtype=np.uint8)
        mask[6:54, round(80 * box[0]) : round(80 * box[2])] = 255
        Image.fromarray(mask).save(tiny_set.parent / "masks" / f"{entry['file']}.png")
    (tiny_set.parent / "annotations.json").write_text(json.dumps(entries))
    folder = tmp_path / "runs"
    how = ["--runs", str(folder), "--pictures", "false", "--controls", "false", "--protocol", "all"]
    assert main(["run", "--method", f"{plugin_file}:Tiny", "--split", str(tiny_set), *how]) == 0
    capsys.readouterr()
    rows = rows_of(capsys, folder)
    assert [protocol for _, _, protocol in rows] == list(PROTOCOLS)
    segmentation = rows["tiny-plugin", "av", "avsbench"]["metrics"]
    assert set(segmentation) == {"miou", "miou_official", "fscore", "fscore_official", "fscore_image"}
    assert segmentation["fscore"] <= segmentation["fscore_image"]
    several = rows["tiny-plugin", "av", "multisource"]
    assert 0 <= several["metrics"]["cap"] <= 1
    table = pd.read_parquet(Path(several["record"]).with_name(several["per_sample"]))
    assert several["metrics"]["piap"] == pytest.approx(table["piap"].mean(), abs=1e-12)
    assert set(table["source_success_30"]) <= {0.0, 0.5, 1.0}


def test_maps_of_the_truth_score_one(tiny_set, tmp_path, capsys):
    assert main(["run", "--method", "disc", "--split", str(tiny_set), "--runs", str(tmp_path / "runs")]) == 0
    stored = next(s for s in find_stored([tmp_path / "runs"]) if s.method == "disc")
    from avbench.truth import read_truth

    maps = read_truth(stored.truth_path).union_maps(slice(None)).float()
    write_part(stored.folder, 0, Part(read_part(stored.folder / "part-00000.safetensors").ids, {"map": maps}))
    shutil.rmtree(tmp_path / "runs" / "records")
    capsys.readouterr()
    for (_, _, protocol), row in rows_of(capsys, stored.folder).items():
        metrics = row["metrics"]
        assert metrics["pixel_ap"] == metrics["pixel_roc_auc"] == metrics["pointing"] == metrics["energy"] == 1
        assert protocol not in {"jsa", "slavc"} or metrics["mean_ciou"] == 1, protocol


def spoil(runs: Path, what: str) -> None:
    folder = next((runs / "predictions" / "tiny").glob("other-*"))
    part = folder / "part-00000.safetensors"
    if what == "cut":
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    elif what == "gone":
        part.unlink()
    elif what == "other samples":
        write_part(folder, 0, Part([f"x{n}" for n in range(5)], {"map": torch.rand(5, 7, 7)}))
    elif what == "other shape":
        write_part(folder, 0, Part([f"clip_{n:03d}" for n in range(5)], {"map": torch.rand(5, 7)}))
    elif what == "no truth":
        shutil.rmtree(runs / "truth")
    elif what == "newer":
        about = json.loads((folder / "about.json").read_text())
        (folder / "about.json").write_text(json.dumps({**about, "format": 2}))
    elif what == "changed":
        about = json.loads((folder / "about.json").read_text())
        del about["truth"]
        (folder / "about.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("cut", r"the part file .*part-00000.safetensors cannot be read .*: delete it and run again"),
        ("gone", r"1 of the 1 part files of other on tiny are missing in .*: repeat the run that was interrupted"),
        ("other samples", r"are of other samples than the truth in tiny-.*\(they begin with x0, it with clip_000\)"),
        ("other shape", r"expected maps \[5, h, w\] in .*other-.*, found \[5, 7\]: predict again"),
        ("no truth", r"the truth that predictions were scored against is not at .*: restore it, or run again"),
        ("newer", r"expected predictions described in format 1 in .*, found another form: run their method again"),
        ("changed", r"about.json is incomplete or changed \(truth\): delete the folder and run again"),
    ],
)
def test_broken_predictions_are_named(runs, what, sentence):
    spoil(runs, what)
    with pytest.raises(AvbenchError, match=sentence):
        rescore([runs], Choice(protocols=("lvs",)))


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        (
            Choice(methods=("othr",)),
            r"expected one method among the predictions \(disc, other, .*\), got 'othr'",
        ),
        (Choice(splits=("demo",)), r"expected one split among the predictions \(tiny\), got 'demo'"),
        (Choice(audio=("silent",)), r"expected one audio mode among the predictions \(true\), got 'silent'"),
        (Choice(protocols=("avsbench",)), r"avsbench scores against masks, which the truth of tiny does not have"),
        (Choice(protocols=("multisource",)), r"multisource scores against sources, which the truth of tiny"),
        (Choice(refine=("ogl",)), r"the refinement ogl needs the object maps of tiny, and there are no predictions"),
    ],
)
def test_a_choice_that_cannot_be_met_is_refused(runs, choice, sentence):
    with pytest.raises(UsageError, match=sentence):
        rescore([runs], choice)


def test_places_without_predictions_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"expected predictions in .*, found none: name a runs folder"):
        find_stored([tmp_path])
    with pytest.raises(UsageError, match=r"expected a folder of predictions or a record at .*nowhere, found nothing"):
        find_stored([tmp_path / "nowhere"])
    with pytest.raises(AvbenchError, match=r"about.json, which cannot be read"):
        read_stored(tmp_path)


def test_a_protocol_that_the_split_has_no_truth_for_is_refused_before_predicting(plugin_file, tiny_set, tmp_path):
    how = ["--split", str(tiny_set), "--runs", str(tmp_path / "runs")]
    assert main(["run", "--method", f"{plugin_file}:Tiny", "--protocol", "avsbench", *how]) == 2
    assert not (tmp_path / "runs").exists()


def halves(entry: dict) -> list[dict]:
    left, top, right, bottom = entry["bbox"][0]
    boxes = [[left, top, right, 0.5], [left, 0.5, right, bottom]]
    return [{"class": f"half {n}", "bbox": box, "sounding": True} for n, box in enumerate(boxes)]


def test_changed_sources_are_scored_anew(plugin_file, tiny_set, tmp_path, capsys):
    place = tiny_set.parent / "annotations.json"
    entries = json.loads(place.read_text())
    command = ["run", "--method", f"{plugin_file}:Tiny", "--split", str(tiny_set), "--protocol", "multisource"]
    command += ["--runs", str(tmp_path / "runs"), "--pictures", "false", "--controls", "false", "--json"]
    found = []
    for several in (1, 5):  # the hash of the split covers boxes and labels, not the objects
        objects = [halves(entry)[: 2 if n < several else 1] for n, entry in enumerate(entries)]
        place.write_text(json.dumps([{**e, "objects": seen} for e, seen in zip(entries, objects, strict=True)]))
        assert main(command) == 0
        found.append(json.loads(capsys.readouterr().out)[0])
    assert found[0]["record"] != found[1]["record"]
    assert found[0]["metrics"]["piap"] != found[1]["metrics"]["piap"]
    (stored,) = find_stored([tmp_path / "runs"])
    assert len(list((tmp_path / "runs" / "truth").iterdir())) == 2
    assert rescore([tmp_path / "runs"], Choice(protocols=("multisource",)))[0].metrics == found[1]["metrics"], (
        stored.truth
    )


@pytest.fixture
def two_priors(tiny_set, tmp_path, capsys) -> Path:
    """A runs folder with object maps of two kinds."""
    folder = tmp_path / "two"
    for value in (1, 2):
        how = ["--runs", str(folder), "--pictures", "false", "--controls", "false", "--batch-size", str(value)]
        assert main(["run", "--method", "disc,square", "--split", str(tiny_set), *how]) == 0
    for name in ("disc", "square"):
        place = next((folder / "predictions" / "tiny").glob(f"{name}-*"))
        about = json.loads((place / "about.json").read_text())
        (place / "about.json").write_text(json.dumps({**about, "method": "ogl", "control": False}))
    capsys.readouterr()
    return folder


def test_object_maps_of_two_kinds_are_not_mixed_up(two_priors):
    with pytest.raises(UsageError, match=r"one set of object maps of tiny, and there are 2 \(disc-.*, square-.*\)"):
        rescore([two_priors], Choice(refine=("ogl",), protocols=("ezvsl",)))


def test_object_maps_need_not_be_chosen_to_be_fused_in(plugin_file, tiny_set, tmp_path):
    folder = tmp_path / "runs"
    how = ["--runs", str(folder), "--pictures", "false", "--controls", "false"]
    assert main(["run", "--method", f"{plugin_file}:Tiny,disc", "--split", str(tiny_set), *how]) == 0
    place = next((folder / "predictions" / "tiny").glob("disc-*"))
    about = json.loads((place / "about.json").read_text())
    (place / "about.json").write_text(json.dumps({**about, "method": "ogl"}))
    chosen = Choice(methods=("tiny-plugin",), refine=("ogl",), protocols=("ezvsl", "common"))
    records = rescore([folder], chosen)
    assert [(record.variant, record.protocol) for record in records] == [
        ("av", "ezvsl"),
        ("av+ogl", "ezvsl"),
        ("av", "common"),
    ]
    assert records[0].metrics != records[1].metrics
    assert records[1].provenance["prior_key"] == about["key"]


def test_ranks_of_another_version_are_refused(runs):
    from safetensors.torch import load_file, save_file

    place = next(runs.rglob("other-*/retrieval.safetensors"))
    ranks = load_file(place)
    save_file(ranks, place, metadata={"version": "0"})
    with pytest.raises(AvbenchError, match=r"retrieval.safetensors are not of version 1: delete the file"):
        rescore([runs], Choice(protocols=("lvs",)))
    place.write_bytes(place.read_bytes()[:20])
    with pytest.raises(AvbenchError, match=r"the ranks in .*retrieval.safetensors cannot be read"):
        rescore([runs], Choice(protocols=("lvs",)))


def test_two_checkpoints_of_a_method_are_told_apart(runs, capsys):
    folder = next((runs / "predictions" / "tiny").glob("other-*"))
    copy = folder.with_name("other-000000000000")
    shutil.copytree(folder, copy)
    about = json.loads((copy / "about.json").read_text())
    (copy / "about.json").write_text(json.dumps({**about, "key": "0" * 64}))
    write_part(copy, 0, Part([f"clip_{n:03d}" for n in range(5)], {"map": torch.rand(5, 7, 7)}))
    assert main(["score", str(runs), "--method", "other,tiny-plugin"]) == 0
    table = capsys.readouterr().out.split("under every protocol")[1]
    rows = [line.split()[0] for line in table.splitlines() if line.strip().startswith("other")]
    assert len(rows) == len(set(rows)) == 2


def test_a_method_object_is_not_refined_with_object_maps(tiny_set, tmp_path):
    import avbench

    class Anything(torch.nn.Module):
        frontend = None

    with pytest.raises(UsageError, match=r"a method object is evaluated alone, without the object maps"):
        avbench.evaluate(Anything(), tiny_set, refine=("ogl",), protocol="ezvsl", runs=tmp_path)


def test_a_record_that_was_edited_is_not_believed(runs):
    place = next((runs / "records" / "tiny").glob("disc.*.json"))
    content = json.loads(place.read_text())
    content["metrics"]["locacc"] = 0.99
    place.write_text(json.dumps(content))
    with pytest.raises(AvbenchError, match=r"the record .*disc.av.common-.* was changed after it was written"):
        rescore([runs], Choice(protocols=("common",)))


def test_predictions_without_their_description_are_not_passed_over(runs):
    (next((runs / "predictions" / "tiny").glob("other-*")) / "about.json").unlink()
    with pytest.raises(AvbenchError, match=r"the predictions in .*other-.* lack their about.json"):
        find_stored([runs])


def test_other_files_are_neither_records_nor_to_be_deleted(tmp_path, runs):
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(UsageError, match=r"expected a runs folder, .* or a record below its records/, got .*notes.txt"):
        find_stored([notes])
    about = next(runs.rglob("other-*/about.json"))
    assert [stored.method for stored in find_stored([about])] == ["other"]
    about.write_text("{")
    with pytest.raises(AvbenchError, match=r"it describes the predictions beside it: run their method again"):
        find_stored([about])


def test_image_query_maps_that_nobody_has_are_refused(runs):
    with pytest.raises(UsageError, match=r"the refinement iqr needs image-query maps, as jsa gives them, and none of"):
        rescore([runs], Choice(refine=("iqr",), protocols=("jsa",)))


def test_a_truth_that_was_lost_is_written_again_by_the_run(plugin_file, tiny_set, tmp_path):
    command = ["run", "--method", f"{plugin_file}:Tiny", "--split", str(tiny_set), "--runs", str(tmp_path / "runs")]
    assert main([*command, "--pictures", "false"]) == 0
    shutil.rmtree(tmp_path / "runs" / "truth")
    assert main([*command, "--pictures", "false"]) == 0
    assert len(rescore([tmp_path / "runs"], Choice(protocols=("lvs",)))) == 4
