"""Running a method on a split: one decode pass, part files, records, resuming, finding results again."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import avbench
from avbench.cli import main
from avbench.data import loader
from avbench.data.coverage import covered
from avbench.data.splits import load_split
from avbench.errors import AvbenchError, UsageError
from avbench.opening import Places
from avbench.request import Job, Settings, contents
from avbench.runner import request_for, run
from avbench.sources import source_fingerprint
from avbench.types import Prediction


def run_json(capsys, *arguments):
    """Exit code and the parsed array of ``avbench run --json``."""
    code = main(["run", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def tiny_run(plugin_file, tiny_set, tmp_path):
    return ["--method", f"{plugin_file}:Tiny", "--split", tiny_set, "--runs", tmp_path / "runs", "--pictures", "false"]


def test_the_json_of_a_run(capsys, tiny_run):
    code, rows = run_json(capsys, *tiny_run)
    assert code == 0
    assert [row["method"] for row in rows] == ["tiny-plugin", "whole", "square", "disc"]
    first = rows[0]
    assert (first["variant"], first["split"], first["protocol"]) == ("av", "tiny", "common")
    assert (first["n_expected"], first["n_scored"], first["partial"]) == (5, 5, False)
    assert {"locacc", "mean_ciou", "auc", "auc_exact", "locacc_adap", "pixel_ap", "pointing"} <= set(first["metrics"])
    assert "ap" not in first["metrics"], "every sample has a sounding object"
    assert first["seconds"] > 0
    assert first["samples_per_second"] == pytest.approx(5 / first["seconds"])
    assert Path(first["record"]).is_file()


def test_the_numbers_are_those_of_the_per_sample_file(capsys, tiny_run):
    _, rows = run_json(capsys, *tiny_run)
    record = Path(rows[0]["record"])
    values = pd.read_parquet(record.with_name(rows[0]["per_sample"]))
    assert list(values["id"]) == [f"clip_{n:03d}" for n in range(5)]
    assert rows[0]["metrics"]["mean_ciou"] == pytest.approx(values["ciou"].mean(), abs=1e-12)
    assert rows[0]["metrics"]["locacc"] == (values["ciou"] >= 0.5).mean()


def test_controls_are_left_out_on_request(capsys, tiny_run):
    _, rows = run_json(capsys, *tiny_run, "--controls", "false")
    assert [row["method"] for row in rows] == ["tiny-plugin"]


def test_a_record_can_be_doubted(capsys, tiny_run):
    _, rows = run_json(capsys, *tiny_run)
    content = json.loads(Path(rows[0]["record"]).read_text())
    known = content["provenance"]
    assert known["config"] == {"gain": 1.0}
    assert known["software"]["torch"] == torch.__version__.split("+")[0]
    assert len(known["split"]["sha256"]) == 64
    assert known["inputs"]["media"] is not None
    assert known["protocol"] == {"name": "common", "version": 1}
    assert content["run"]["device"] == "cpu"


def test_each_sample_is_decoded_once_for_all_methods(monkeypatch, plugin_file, trainable_plugin, tiny_set, tmp_path):
    decoded = []
    decode = loader.decode_pictures
    monkeypatch.setattr(loader, "decode_pictures", lambda path, _: decoded.append(path.name) or decode(path, _))
    second = plugin_file.with_name("second.py")
    second.write_text(plugin_file.read_text().replace("tiny-plugin", "second"))
    requests = [request_for(f"{place}:Tiny", None, {}) for place in (plugin_file, second)]
    settings = Settings(runs=tmp_path / "runs", batch_size=2)
    assert len(run(requests, str(tiny_set), Places(), settings).records) == 2
    assert sorted(decoded) == [f"clip_{n:03d}.png" for n in range(5)]


WATCHED = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from avbench.cli import main
code = main(sys.argv[1:])
media = [name for name in opened if name.endswith((".png", ".wav"))]
print(code, "torch" in sys.modules, media, file=sys.stderr)
"""


def test_a_second_run_imports_no_torch_and_reads_no_media(capsys, tiny_run):
    _, first = run_json(capsys, *tiny_run)
    command = [sys.executable, "-c", WATCHED, "run", *map(str, tiny_run), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "0 False []"
    assert json.loads(done.stdout) == first


def test_changed_media_are_read_again(capsys, tiny_run, tiny_set):
    _, first = run_json(capsys, *tiny_run)
    frames = tiny_set.parent / "frames"
    (frames / "clip_000.png").write_bytes((frames / "clip_001.png").read_bytes())
    _, second = run_json(capsys, *tiny_run)
    assert first[0]["record"] != second[0]["record"]
    assert first[3]["record"] == second[3]["record"], "the disc does not look"


def snapshot(runs: Path) -> dict[str, object]:
    """All files of a run but what says when and how fast; no ``run`` of records, no ``asked``."""
    found: dict[str, object] = {}
    for path in sorted(p for p in runs.rglob("*") if p.is_file() and p.name != "timing.json"):
        name = str(path.relative_to(runs))
        content = path.read_bytes()
        found[name] = content
        if path.parent.parent.name == "records" and path.suffix == ".json":
            found[name] = {key: value for key, value in json.loads(content).items() if key != "run"}
        if path.name == "about.json":
            found[name] = {key: value for key, value in json.loads(content).items() if key != "asked"}
    return found


def command_of(plugin_file, larger_set, runs) -> list[str]:
    options = ["--controls", "false", "--pictures", "false", "--batch-size", "64", "--retrieval", "--runs", str(runs)]
    return ["run", "--method", f"{plugin_file}:Tiny", "--split", str(larger_set), *options]


def test_a_killed_run_goes_on_to_the_same_bytes(plugin_file, larger_set, tmp_path):
    killed = command_of(plugin_file, larger_set, tmp_path / "killed")
    environment = {**os.environ, "TINY_DIES_AT": "clip_300"}
    done = subprocess.run([sys.executable, "-m", "avbench", *killed], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "killed").rglob("part-*.safetensors"))) == 1, "the second part was being filled"
    assert main(killed) == 0
    assert main(command_of(plugin_file, larger_set, tmp_path / "whole")) == 0
    assert snapshot(tmp_path / "killed") == snapshot(tmp_path / "whole")


def test_ctrl_c_leaves_one_line_and_what_was_finished(capsys, monkeypatch, plugin_file, larger_set, tmp_path):
    command = command_of(plugin_file, larger_set, tmp_path / "runs")
    monkeypatch.setenv("TINY_IS_INTERRUPTED_AT", "clip_519")
    assert main(command) == 130
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error == "avbench: interrupted; what was finished is kept, and the same command goes on from there"
    parts = sorted((tmp_path / "runs").rglob("part-*.safetensors"))
    kept = {part.name: part.stat().st_mtime_ns for part in parts}
    assert list(kept) == ["part-00000.safetensors", "part-00001.safetensors"]
    monkeypatch.delenv("TINY_IS_INTERRUPTED_AT")
    assert main(command) == 0
    assert {part.name: part.stat().st_mtime_ns for part in parts} == kept, "finished parts are not written again"


def test_a_damaged_part_is_named(capsys, tiny_run, tmp_path):
    run_json(capsys, *tiny_run)
    part = next((tmp_path / "runs").rglob("tiny-plugin-*/part-*.safetensors"))
    part.write_bytes(b"short")
    for record in (tmp_path / "runs" / "records").rglob("*.json"):
        record.unlink()
    assert main(["run", *map(str, tiny_run)]) == 1
    assert f"the part file {part} cannot be read" in capsys.readouterr().err


def test_a_missing_file_stops_the_run_and_is_named(capsys, tiny_run, tiny_set):
    (tiny_set.parent / "audio" / "clip_003.wav").unlink()
    assert main(["run", *map(str, tiny_run)]) == 1
    error = capsys.readouterr().err
    assert "1 of 5 samples of tiny miss media" in error
    assert "clip_003" in error
    assert "--allow-missing" in error


def test_allowed_gaps_mark_the_result_partial(capsys, tiny_run, tiny_set):
    (tiny_set.parent / "audio" / "clip_003.wav").unlink()
    _, rows = run_json(capsys, *tiny_run, "--allow-missing")
    assert [(row["n_expected"], row["n_scored"], row["partial"]) for row in rows] == [(5, 4, True)] * 4
    assert rows[0]["provenance"]["split"]["missing"] == ["clip_003"]


def test_partial_results_say_so_in_the_table(capsys, tiny_run, tiny_set):
    (tiny_set.parent / "frames" / "clip_003.png").unlink()
    assert main(["run", *map(str, tiny_run), "--allow-missing"]) == 0
    shown = capsys.readouterr().out
    assert "4/5 partial" in shown
    assert "Partial results cover less than the split and are not to be ranked." in shown


@pytest.mark.parametrize("mode", ["silent", "noise", "quiet-noise", "offscreen", "swapped"])
def test_altered_audio_is_another_result(capsys, tiny_run, mode):
    _, true = run_json(capsys, *tiny_run)
    _, altered = run_json(capsys, *tiny_run, "--audio", mode)
    assert altered[0]["audio"] == mode
    assert altered[0]["record"] != true[0]["record"]
    assert altered[3]["record"] == true[3]["record"], "the disc does not hear"


def test_several_protocols_from_the_same_maps(capsys, tiny_run):
    _, rows = run_json(capsys, *tiny_run, "--protocol", "common,ezvsl,jsa", "--controls", "false")
    assert [row["protocol"] for row in rows] == ["common", "ezvsl", "jsa"]
    assert len({row["provenance"]["key"] for row in rows}) == 1


def test_a_refinement_that_the_method_cannot_give(capsys, tiny_run):
    assert main(["run", *map(str, tiny_run), "--refine", "iqr"]) == 2
    assert "the refinement iqr needs a method with an image-query map" in capsys.readouterr().err


def test_retrieval_is_reported_on_request(capsys, tiny_run):
    _, rows = run_json(capsys, *tiny_run, "--retrieval")
    names = {"a2i_instance_r1", "a2i_class_r10", "i2a_instance_r5"}
    assert names <= rows[0]["metrics"].keys()
    assert not names & rows[1]["metrics"].keys(), "a control has no embeddings: blank, not zero"


def test_sounds_at_their_own_rate(capsys, tiny_run):
    _, rows = run_json(capsys, *tiny_run, "--audio-rate", "native")
    assert rows[0]["provenance"]["inputs"]["audio_rate"] is None


class Shapeless(torch.nn.Module):
    """A method that forgets to answer for each sample."""

    frontend = None

    def localize(self, batch):
        return Prediction(torch.ones(1, 7, 7))


def test_a_method_with_maps_of_the_wrong_shape(tiny_set, tmp_path):
    with pytest.raises(AvbenchError, match=r"must answer with maps \[B, h, w\]; for 5 samples it gave \(1, 7, 7\)"):
        avbench.evaluate(Shapeless(), tiny_set, runs=tmp_path / "runs")


def test_what_a_plugin_imports_from_beside_it_counts(capsys, plugin_file, tiny_run):
    plugin_file.write_text("import neighbour_of_tiny\n" + plugin_file.read_text())
    neighbour = plugin_file.with_name("neighbour_of_tiny.py")
    neighbour.write_text("")
    request = request_for(f"{plugin_file}:Tiny", None, {})
    before = source_fingerprint(request.ref)
    plugin_file.with_name("stranger.py").write_text("")
    assert source_fingerprint(request.ref) == before
    neighbour.write_text("changed = True")
    assert source_fingerprint(request.ref) != before


def test_a_setting_that_names_a_file_counts_by_its_content(tmp_path):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"one")
    first = contents({"weights": str(weights), "tau": 0.5})
    weights.write_bytes(b"two")
    second = contents({"weights": str(weights), "tau": 0.5})
    assert first["weights"] != second["weights"]
    assert first["tau"] == second["tau"] == "0.5"


def test_another_object_prior_is_another_record(plugin_file, tiny_set, tmp_path):
    request = request_for(f"{plugin_file}:Tiny", None, {})
    split, found = covered(load_split(str(tiny_set)), ("image", "audio"))
    settings = Settings(runs=tmp_path, refine=("ogl",), protocols=("ezvsl",))
    jobs = [Job(request, split, found, settings, prior_key=key) for key in ("a", "b")]
    assert jobs[0].record_path("av", "ezvsl") == jobs[1].record_path("av", "ezvsl")
    assert jobs[0].record_path("av+ogl", "ezvsl") != jobs[1].record_path("av+ogl", "ezvsl")


def test_a_lost_per_sample_file_is_made_again(capsys, tiny_run):
    _, rows = run_json(capsys, *tiny_run)
    lost = Path(rows[0]["record"]).with_name(rows[0]["per_sample"])
    lost.unlink()
    run_json(capsys, *tiny_run)
    assert lost.is_file()


def test_without_the_maps_the_table_is_still_shown(capsys, tiny_run, tmp_path):
    command = [str(part) for part in tiny_run if part not in {"--pictures", "false"}]
    assert main(["run", *command]) == 0
    shutil.rmtree(tmp_path / "runs" / "predictions")
    shutil.rmtree(tmp_path / "runs" / "pictures")
    assert main(["run", *command]) == 0
    assert "pictures" not in capsys.readouterr().err.splitlines()[-1]


def test_the_whole_image_alone_has_no_picture(capsys, tiny_set, tmp_path):
    assert (
        main(["run", "--method", "whole", "--split", str(tiny_set), "--runs", str(tmp_path), "--controls", "false"])
        == 0
    )
    assert "pictures" not in capsys.readouterr().err


def test_a_set_without_sounding_objects_is_a_table_of_blanks(capsys, plugin_file, tiny_set, tmp_path):
    entries = json.loads((tiny_set.parent / "annotations.json").read_text())
    for entry in entries:
        entry |= {"bbox": [], "sounding": False}
    (tiny_set.parent / "annotations.json").write_text(json.dumps(entries))
    assert main(["run", "--method", f"{plugin_file}:Tiny", "--split", str(tiny_set), "--runs", str(tmp_path)]) == 0
    assert "over the 0 samples with a sounding object" in capsys.readouterr().out


def test_a_set_of_ones_own_called_demo_is_not_the_demo_world(tiny_set, tmp_path, store):
    tiny_set.write_text(tiny_set.read_text().replace("name: tiny", "name: demo-mine"))
    with pytest.raises(UsageError, match=r"ezvsl needs trained weights for demo-mine"):
        avbench.evaluate("ezvsl", tiny_set, runs=tmp_path / "runs")


class Constant:
    """A method that was never registered: no module, no weights, no settings."""

    frontend = None

    def __init__(self, sign=1.0):
        self.sign = sign

    def localize(self, batch):
        rising = self.sign * torch.arange(7.0).expand(7, 7)
        return Prediction(rising.expand(len(batch.ids), 7, 7))


def test_an_object_is_evaluated(tiny_set, tmp_path):
    record = avbench.evaluate(Constant(0.0), tiny_set, runs=tmp_path / "runs")
    assert (record.method, record.n_scored) == ("constant", 5)
    assert record.metrics["mean_ciou"] == pytest.approx(0.4, abs=0.01), "boxes cover 40 % of the frame"


def test_objects_are_never_confused(tiny_set, tmp_path):
    right, left = (avbench.evaluate(Constant(sign), tiny_set, runs=str(tmp_path / "runs")) for sign in (1.0, -1.0))
    assert right.metrics["mean_ciou"] != left.metrics["mean_ciou"]
    assert not list((tmp_path / "runs" / "predictions").rglob("part-*")), "an object's maps are not kept"


def test_an_object_in_double_precision(tiny_set, tmp_path):
    method = avbench.load_method("ezvsl", width=0.125, out_dim=8).double()
    assert avbench.evaluate(method, tiny_set, runs=tmp_path / "runs").n_scored == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "comon"}, r"no protocol called 'comon': did you mean common"),
        ({"audio": "swaped"}, r"no audio mode called 'swaped': did you mean swapped"),
        ({"refine": ("iqrr",)}, r"no refinement called 'iqrr': did you mean iqr"),
    ],
)
def test_settings_are_checked(tiny_set, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        avbench.evaluate("disc", tiny_set, runs=tmp_path / "runs", **options)


def test_an_object_takes_no_checkpoint(tiny_set, tmp_path):
    with pytest.raises(UsageError, match=r"a method object brings its own weights"):
        avbench.evaluate(Constant(), tiny_set, checkpoint="x", runs=tmp_path / "runs")


def test_a_name_is_evaluated_from_python(tiny_set, tmp_path):
    record = avbench.evaluate("disc", tiny_set, protocol="jsa", runs=tmp_path / "runs")
    assert (record.method, record.protocol) == ("disc", "jsa")


def test_load_method_sets_and_evaluates():
    method = avbench.load_method("ezvsl", width=0.125, out_dim=16, tau=0.5)
    assert not method.training
    assert method.score_range == (-2, 2)


def test_a_real_split_never_trains_by_itself(tiny_set, tmp_path, store):
    with pytest.raises(
        UsageError, match=r"jsa needs trained weights for tiny: give --checkpoint FILE .* avbench train"
    ):
        avbench.evaluate("jsa", tiny_set, runs=tmp_path / "runs")
    assert not store.exists()


def test_oracles_need_the_objects(tiny_set, tmp_path):
    with pytest.raises(AvbenchError, match=r"oracle controls need the boxes of all objects.*use a demo split"):
        avbench.evaluate("oracle-all", tiny_set, runs=tmp_path / "runs")


def test_batches_that_straddle_part_files_are_refused(tiny_set, tmp_path):
    with pytest.raises(UsageError, match=r"the batch size must divide 256, .* got 48"):
        avbench.evaluate("disc", tiny_set, batch_size=48, runs=tmp_path / "runs")


def test_the_picture_grid_is_drawn_once(plugin_file, tiny_set, tmp_path):
    settings = Settings(runs=tmp_path / "runs")
    requests = [request_for(f"{plugin_file}:Tiny", None, {}), request_for("disc", None, {})]
    first = run(requests, str(tiny_set), Places(), settings).picture()
    assert first is not None
    drawn = first.stat().st_mtime_ns
    assert first.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert run(requests, str(tiny_set), Places(), settings).picture() == first
    assert first.stat().st_mtime_ns == drawn
