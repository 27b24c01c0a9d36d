"""``avbench export``: pycocotools opens what was written, and finds in it what was predicted."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from avbench.cli import main
from avbench.commands import exporting
from avbench.errors import AvbenchError
from avbench.metrics.protocols import PROTOCOLS
from avbench.metrics.scoring import predicted_mask
from avbench.parts import Part, read_part, write_part
from avbench.rescoring import Choice, rescore
from avbench.stored import find_stored
from avbench.truth import read_truth

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def runs(plugin_file, tiny_set, tmp_path) -> Path:
    """One method that looks and hears, and the disc, on five samples."""
    folder = tmp_path / "runs"
    how = ["--runs", str(folder), "--pictures", "false", "--controls", "false"]
    assert main(["run", "--method", f"{plugin_file}:Tiny,disc", "--split", str(tiny_set), *how]) == 0
    return folder


def exported(runs: Path, out: Path, *further: str) -> Path:
    assert main(["export", str(runs), "-o", str(out), *further]) == 0
    return out


def opened(folder: Path, results: str) -> tuple[COCO, COCO]:
    truth = COCO(str(folder / "annotations.json"))
    return truth, truth.loadRes(str(folder / results))


def test_masks_survive_the_round_trip(runs, tmp_path):
    folder = exported(runs, tmp_path / "coco", "--protocol", "common,lvs")
    stored = next(s for s in find_stored([runs]) if s.method == "tiny-plugin")
    maps, drawn = read_part(stored.folder / "part-00000.safetensors"), read_truth(stored.truth_path)
    for protocol in ("common", "lvs"):
        truth, found = opened(folder, f"tiny-plugin.av.{protocol}.json")
        masks = predicted_mask(maps.tensors["map"], PROTOCOLS[protocol])
        assert [found.loadImgs(n)[0]["file_name"] for n in sorted(found.getImgIds())] == maps.ids
        for row, mask in enumerate(masks):
            (result,) = found.loadAnns(found.getAnnIds(imgIds=row + 1))
            assert np.array_equal(found.annToMask(result), mask.numpy())
            (annotation,) = truth.loadAnns(truth.getAnnIds(imgIds=row + 1))
            assert np.array_equal(truth.annToMask(annotation), drawn.union_maps(slice(row, row + 1))[0].numpy())
            rows, columns = np.flatnonzero(mask.any(dim=1)), np.flatnonzero(mask.any(dim=0))
            size = [columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
            assert result["bbox"] == [columns[0], rows[0], *size]


def test_the_overlap_that_pycocotools_finds_is_ours(runs, tmp_path):
    folder = exported(runs, tmp_path / "coco")
    truth, found = opened(folder, "tiny-plugin.av.common.json")
    record = next(r for r in rescore([runs], Choice()) if r.method == "tiny-plugin")
    expected = pd.read_parquet(record.path.with_name(record.per_sample))["ciou"]
    for row, value in enumerate(expected):
        pair = [one.loadAnns(one.getAnnIds(imgIds=row + 1))[0]["segmentation"] for one in (found, truth)]
        assert coco_mask.iou([pair[0]], [pair[1]], [0])[0, 0] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_a_map_of_the_truth_has_an_average_precision_of_one(runs, tmp_path, kind):
    stored = next(s for s in find_stored([runs]) if s.method == "disc")
    maps = read_truth(stored.truth_path).union_maps(slice(None)).float()
    write_part(stored.folder, 0, Part(read_part(stored.folder / "part-00000.safetensors").ids, {"map": maps}))
    folder = exported(stored.folder, tmp_path / "coco", "--protocol", "jsa")
    evaluation = COCOeval(*opened(folder, "disc.av.jsa.json"), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def test_classes_images_and_scores(runs, tmp_path):
    folder = exported(runs, tmp_path / "coco")
    content = json.loads((folder / "annotations.json").read_text())
    assert [category["name"] for category in content["categories"]] == ["kind 0", "kind 1"]
    assert [image["id"] for image in content["images"]] == [1, 2, 3, 4, 5]
    first = content["annotations"][0]
    assert (first["image_id"], first["iscrowd"], first["segmentation"]["size"]) == (1, 0, [224, 224])
    assert first["area"] == first["bbox"][2] * first["bbox"][3]
    assert first["boxes"][0][1::2] == [0.1, 0.9]
    results = json.loads((folder / "disc.av.common.json").read_text())
    assert len({result["score"] for result in results}) == 1, "one map for all"


def test_nothing_predicted_is_no_result_and_nothing_there_no_annotation(runs, tiny_set, tmp_path):
    stored = next(s for s in find_stored([runs]) if s.method == "disc")
    maps = torch.rand(5, 7, 7)
    maps[2] = torch.nan
    write_part(stored.folder, 0, Part(read_part(stored.folder / "part-00000.safetensors").ids, {"map": maps}))
    folder = exported(stored.folder, tmp_path / "coco")
    results = json.loads((folder / "disc.av.common.json").read_text())
    assert [result["image_id"] for result in results] == [1, 2, 4, 5]


def test_a_whole_part_file_is_written(plugin_file, larger_set, tmp_path):
    how = ["--runs", str(tmp_path / "runs"), "--pictures", "false", "--controls", "false"]
    assert main(["run", "--method", "disc", "--split", str(larger_set), *how]) == 0
    folder = exported(tmp_path / "runs", tmp_path / "coco")
    assert len(json.loads((folder / "annotations.json").read_text())["annotations"]) == 520
    assert len(json.loads((folder / "disc.av.common.json").read_text())) == 520


@pytest.mark.parametrize(
    ("further", "sentence"),
    [
        (("--format", "voc"), "expected --format coco, got 'voc'"),
        (("--truth", "areas"), "expected --truth boxes or masks, got 'areas'"),
        (("--protocol", "multisource"), "expected protocols that predict one mask a sample, got multisource"),
        (("--protocol", "all"), "expected protocols that predict one mask a sample, got all"),
    ],
)
def test_what_cannot_be_written_is_refused(runs, tmp_path, capsys, further, sentence):
    assert main(["export", str(runs), "-o", str(tmp_path / "coco"), *further]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "coco").exists()


def test_a_folder_with_other_things_is_left_alone(runs, tmp_path, capsys):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.tex").write_text("years of work")
    assert main(["export", str(runs), "-o", str(tmp_path / "kept")]) == 2
    assert "there is something already, name another" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["thesis.tex"]


def test_masks_that_are_not_there_are_not_made_up(runs, tmp_path, capsys):
    assert main(["export", str(runs), "-o", str(tmp_path / "coco"), "--truth", "masks"]) == 1
    assert "a mask of every sounding sample of tiny is asked for and clip_000 has none" in capsys.readouterr().err


def test_several_splits_are_too_many(runs, tiny_set, tmp_path, capsys):
    other = tmp_path / "second" / "tiny.yaml"
    shutil.copytree(tiny_set.parent, other.parent)
    other.write_text(tiny_set.read_text().replace("name: tiny", "name: twin"))
    how = ["--runs", str(runs), "--pictures", "false", "--controls", "false"]
    assert main(["run", "--method", "square", "--split", str(other), *how]) == 0
    assert main(["export", str(runs), "-o", str(tmp_path / "coco")]) == 2
    assert "found 2 (tiny, twin): name a --split" in capsys.readouterr().err


def test_a_part_that_is_cut_in_half_is_named(runs, tmp_path):
    part = next(runs.rglob("tiny-plugin-*/part-00000.safetensors"))
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(AvbenchError, match=r"part-00000.safetensors cannot be read"):
        exporting.main([str(runs), "-o", str(tmp_path / "coco")])
