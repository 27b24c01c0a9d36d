"""Splits with samples in which nothing sounds: confidence, AP and max-F1 from part files to tables."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors import safe_open

import avbench
from avbench.cli import main
from avbench.data.coverage import covered
from avbench.data.splits import load_split
from avbench.errors import AvbenchError
from avbench.metrics.confidence import top_quarter
from avbench.metrics.extended import aggregate_extended
from avbench.metrics.maps import on_range, upsample
from avbench.metrics.protocols import PROTOCOLS
from avbench.metrics.scoring import RawMaps, measure
from avbench.parts import Part, read_part, write_part
from avbench.request import Job, Settings
from avbench.runner import request_for
from avbench.scoring import score_tasks
from avbench.stored import Task, describe_job
from avbench.truth import read_truth, write_truth

DETECTION = {"ap", "max_f1", "ap_official", "max_f1_official"}

PAIR = '''
"""Two methods that look at pictures alone: one knows its range and fuses, one also says how sure it is."""

from dataclasses import dataclass

import torch
from torch import nn

from avbench.registry import register_method
from avbench.types import Prediction


@dataclass(frozen=True)
class PairConfig:
    shift: float = 0.0


class Base(nn.Module):
    frontend = None

    def __init__(self, config):
        super().__init__()
        self.config = config

    def localize(self, batch):
        cells = nn.functional.adaptive_avg_pool2d(batch.image.mean(dim=1, keepdim=True), 7)[:, 0] + self.config.shift
        return Prediction(cells, {"image_query": -cells}, self.sure(cells))

    def sure(self, cells):
        return None


@register_method("ranged", config=PairConfig, needs=("image",), trainable=False)
class Ranged(Base):
    """Maps in a known range."""

    score_range = (-4.0, 4.0)


@register_method("sure", config=PairConfig, needs=("image",), trainable=False)
class Sure(Base):
    """Maps without a range, and a confidence."""

    def sure(self, cells):
        return cells[:, 0, 0]
'''


@pytest.fixture
def pair(tmp_path) -> Path:
    place = tmp_path / "pair.py"
    place.write_text(PAIR)
    return place


@pytest.fixture
def extended_set(tiny_set) -> Path:
    """Five samples, in the last two of which nothing sounds."""
    entries = json.loads((tiny_set.parent / "annotations.json").read_text())
    for entry in entries[3:]:
        entry |= {"bbox": [], "sounding": False}
    (tiny_set.parent / "annotations.json").write_text(json.dumps(entries))
    return tiny_set


def rows_of(capsys, *arguments) -> dict:
    """The rows of a run by method, variant and protocol."""
    assert main(["run", *map(str, arguments), "--pictures", "false", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    return {(row["method"], row["variant"], row["protocol"]): row for row in rows}


def per_sample(row: dict) -> pd.DataFrame:
    return pd.read_parquet(Path(row["record"]).with_name(row["per_sample"])).set_index("id")


def part_of(runs: Path, method: str) -> Part:
    return read_part(next(runs.rglob(f"{method}-*/part-00000.safetensors")))


def test_detection_is_measured_where_some_samples_are_silent(capsys, pair, extended_set, tmp_path):
    runs = tmp_path / "runs"
    arguments = ["--method", f"{pair}:Ranged", "--split", extended_set, "--runs", runs, "--protocol", "common,slavc"]
    rows = rows_of(capsys, *arguments)
    sounding = torch.tensor([True, True, True, False, False])
    for (method, _, protocol), row in rows.items():
        table = per_sample(row)
        assert list(table.columns)[:5] == ["label", "image", "boxes", "area", "doubtful"]
        assert {"ciou", "ciou_adap", "pixel_ap", "confidence"} <= set(table.columns)
        confidence, ciou = (torch.from_numpy(table[name].to_numpy().copy()) for name in ("confidence", "ciou"))
        expected = aggregate_extended(confidence, ciou, sounding=sounding)
        found = {name: row["metrics"][name] for name in DETECTION}
        assert found == expected, (method, protocol)
        assert (row["n_positive"], row["n_scored"]) == (3, 5)


def test_the_confidence_is_that_of_the_scaled_map(capsys, pair, extended_set, tmp_path):
    runs = tmp_path / "runs"
    rows = rows_of(capsys, "--method", f"{pair}:Ranged", "--split", extended_set, "--runs", runs)
    wide = upsample(part_of(runs, "ranged").tensors["map"], "bicubic", align_corners=False, keep_constant=True)
    row = rows["ranged", "av", "common"]
    assert per_sample(row)["confidence"].tolist() == top_quarter(on_range(wide, -4, 4)).tolist()
    assert row["provenance"]["score_range"] == [-4, 4]
    assert (row["provenance"]["confidence"], row["provenance"]["scale"]) == ("top_quarter", "raw")
    disc = rows["disc", "av", "common"]
    assert disc["provenance"]["score_range"] is None
    shown = part_of(runs, "disc").tensors["map"][:1]
    assert set(per_sample(disc)["confidence"]) == {top_quarter(shown).item()}
    assert disc["metrics"]["ap_official"] == 0, "a constant confidence"


def test_a_fused_row_has_the_confidence_of_the_mixture(capsys, pair, extended_set, tmp_path):
    runs = tmp_path / "runs"
    how = ["--refine", "iqr", "--protocol", "slavc,jsa", "--controls", "false"]
    rows = rows_of(capsys, "--method", f"{pair}:Ranged", "--split", extended_set, "--runs", runs, *how)
    part = part_of(runs, "ranged")
    maps, query = (RawMaps(part.tensors[name], (-4, 4)) for name in ("map", "extra.image_query"))
    for name in ("slavc", "jsa"):
        found = measure(maps, torch.zeros(5, 224, 224), PROTOCOLS[name], priors=[query], confidence=True)["confidence"]
        assert per_sample(rows["ranged", "iqr", name])["confidence"].tolist() == found.tolist()
        assert (per_sample(rows["ranged", "av", name])["confidence"] != found.numpy()).all()


def test_a_method_s_own_confidence_stands_in_all_its_rows(capsys, pair, extended_set, tmp_path):
    runs = tmp_path / "runs"
    how = ["--refine", "iqr", "--protocol", "common,jsa", "--controls", "false"]
    rows = rows_of(capsys, "--method", f"{pair}:Sure", "--split", extended_set, "--runs", runs, *how)
    own = part_of(runs, "sure").tensors["confidence"].double().tolist()
    assert {variant for _, variant, _ in rows} == {"av", "image_query", "iqr"}
    for key, row in rows.items():
        assert per_sample(row)["confidence"].tolist() == own, key
        assert row["provenance"]["confidence"] == "method"


def test_a_split_where_all_sounds_has_neither(capsys, pair, tiny_set, tmp_path):
    rows = rows_of(capsys, "--method", f"{pair}:Sure", "--split", tiny_set, "--runs", tmp_path / "runs")
    for row in rows.values():
        assert not DETECTION & row["metrics"].keys()
        assert row["provenance"]["confidence"] is None
        assert "confidence" not in per_sample(row).columns


def test_the_range_decides_what_slavc_predicts(capsys, pair, tiny_set, tmp_path):
    high = ["--set", "shift=9", "--protocol", "slavc,slavc-relative", "--controls", "false"]
    rows = rows_of(capsys, "--method", f"{pair}:Ranged", "--split", tiny_set, "--runs", tmp_path / "a", *high)
    assert set(per_sample(rows["ranged", "av", "slavc"])["ciou"].round(2)) == {0.4}, "all is above the middle"
    assert rows["ranged", "av", "slavc"]["provenance"]["scale"] == "score_range"
    rows = rows_of(capsys, "--method", f"{pair}:Sure", "--split", tiny_set, "--runs", tmp_path / "b", *high)
    assert rows["sure", "av", "slavc"]["provenance"]["scale"] == "own extremes"
    assert (per_sample(rows["sure", "av", "slavc"])["ciou"] < 0.39).all()


def test_tables_show_detection_and_say_over_what(capsys, pair, extended_set, tmp_path):
    out = tmp_path / "table.csv"
    arguments = ["--method", f"{pair}:Ranged", "--split", str(extended_set), "--runs", str(tmp_path / "runs")]
    command = ["run", *map(str, arguments), "--pictures", "false", "--protocol", "slavc", "--out", str(out)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    titles = " ".join(next(line for line in shown.splitlines() if "method" in line).split())
    assert "mean cIoU % AP % max-F1 % samples" in titles
    assert "AP (official)" in shown.split("samples/s")[1]
    assert "AP and max-F1 are over all 5: in 2 nothing that sounds is in sight." in shown
    assert "Without a score range, scaled by the extremes of each map: whole, square, disc." in shown
    titles, line, *_ = csv.reader(io.StringIO(out.read_text()))
    wanted = ["AP %", "max-F1 %", "AP (official) %", "max-F1 (official) %"]
    assert [title for title in titles if title in wanted] == wanted
    assert all(line[titles.index(title)] for title in wanted)


def test_the_prior_s_own_rows_have_the_upsampling_that_it_has_in_a_fusion(tiny_set, tmp_path):
    split, found = covered(load_split(str(tiny_set)), ("image",))
    names = ("fnac-a", "fnac-b")
    job = Job(request_for("ogl", None, {}), split, found, Settings(runs=tmp_path, protocols=names))
    write_part(job.folder, 0, Part([sample.id for sample in split.samples], {"map": torch.rand(5, 7, 7)}, (0, 2.5)))
    truth = write_truth(split, tmp_path)
    stored = describe_job(job, truth=truth, resolved={}, device="cpu")
    tasks = [Task(one, tuple(job.rows())) for one in (stored, replace(stored, method="another"))]
    rows = [scores.rows for scores in score_tasks(tasks, read_truth(truth), prior=None, advance=lambda count: None)]
    first, second = ([values["av", name]["ciou"] for name in names] for values in rows)
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[0], second[0])
    assert not torch.equal(second[0], second[1])


class Stating(torch.nn.Module):
    """States any range."""

    frontend = None

    def __init__(self, stated):
        super().__init__()
        self.score_range = stated

    def localize(self, batch):
        from avbench.types import Prediction

        return Prediction(torch.rand(len(batch.ids), 7, 7))


@pytest.mark.parametrize("stated", [(1.0, 1.0), (2.0, -2.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_an_impossible_range_is_refused(tiny_set, tmp_path, stated):
    with pytest.raises(AvbenchError, match=r"'stating' must state its score_range as two finite numbers"):
        avbench.evaluate(Stating(stated), tiny_set, runs=tmp_path / "runs")


def test_a_method_object_brings_its_range(extended_set, tmp_path):
    record = avbench.evaluate(Stating((0, 1)), extended_set, protocol="slavc", runs=tmp_path / "runs")
    assert record.provenance["score_range"] == [0.0, 1.0]
    assert record.metrics.keys() >= DETECTION


@pytest.mark.parametrize("stated", [None, (-33.3, 33.3)])
def test_parts_carry_the_range(tmp_path, stated):
    write_part(tmp_path, 0, Part(["a"], {"map": torch.rand(1, 7, 7)}, stated))
    place = next(tmp_path.glob("part-*"))
    assert read_part(place).score_range == stated
    assert read_part(place).ids == ["a"]
    with safe_open(place, framework="pt") as file:
        assert list(file.metadata()) == ["part"], "several entries would be written in any order"


def test_a_part_of_another_form_is_named(tmp_path):
    from safetensors.torch import save_file

    place = tmp_path / "part-00000.safetensors"
    for metadata in (None, {"ids": "[]"}, {"part": "[]"}, {"part": '{"ids": []}'}):
        save_file({"map": torch.rand(1, 7, 7)}, place, metadata=metadata)
        with pytest.raises(AvbenchError, match=r"the part file .*part-00000.safetensors cannot be read"):
            read_part(place)
