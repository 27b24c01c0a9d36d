"""The command line against the official test programs: real VGG-SS names and boxes, files on disk, made-up weights."""

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from avbench.cli import main
from avbench.metrics.protocols import get_protocol
from avbench.metrics.scoring import RawMaps, measure
from avbench.parts import read_part

TOLERANCE = 1e-3
"""The goldens' own: float32 on another machine moves a few pixels across a threshold (goldens/tiny.json)."""


@pytest.fixture(scope="module")
def official(shared, tmp_path_factory) -> Path:
    """The made-up weights in the form in which the authors' programs save them."""
    spec = importlib.util.spec_from_file_location(
        "make_checkpoint", shared / "goldens" / "tools" / "make_checkpoint.py"
    )
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    folder = tmp_path_factory.mktemp("official")
    for method in ("ezvsl", "fnac", "jsa", "lvs", "slavc", "ogl_resnet18"):
        torch.save(maker.make_checkpoint(method), folder / f"{method}.pth")
    return folder


@pytest.fixture(scope="module")
def expected(shared) -> dict:
    return json.loads((shared / "goldens" / "goldens" / "tiny.json").read_text())["results"]


def per_sample(row: dict) -> pd.Series:
    table = pd.read_parquet(Path(row["record"]).with_name(row["per_sample"]))
    return table.set_index("id")["ciou"]


JSA = {"av": "aud", "image_query": "img", "iqr": "iqr_aud_img", "av+ogl": "aud_ogl", "iqr+ogl": "all_combined"}
WITH_OBJECTS = {"av": "av", "av+ogl": "av_obj"}
CASES = [
    ("ezvsl", "ezvsl", "native", "ogl", WITH_OBJECTS, "obj"),
    ("fnac", "fnac-a", "native", "ogl", WITH_OBJECTS, "obj"),
    ("jsa", "jsa", "16000", "ogl,iqr", JSA, "ogl"),
]


@pytest.fixture
def rows_of(capsys, shared, official, tmp_path):
    """The rows of a run on the twelve clips with official checkpoints, by method, variant and protocol."""

    def run(method: str, *options: str) -> dict:
        folders = ["--metadata", str(shared / "metadata"), "--data", str(shared / "goldens" / "goldens" / "tiny")]
        weights = ["--checkpoint", f"{method}={official / f'{method}.pth'}"]
        objects = ["--set", f"ogl.weights={official / 'ogl_resnet18.pth'}"]
        how = ["--runs", str(tmp_path), "--controls", "false", "--allow-missing", "--json", *options]
        assert main(["run", "--method", f"{method},ogl", "--split", "vggss", *folders, *weights, *objects, *how]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert {(row["n_scored"], row["n_expected"]) for row in rows} == {(12, 5158)}
        return {(row["method"], row["variant"], row["protocol"]): row for row in rows}

    return run


@pytest.mark.parametrize(("method", "protocol", "rate", "refine", "variants", "prior"), CASES)
def test_official_checkpoints_on_files_give_the_official_values(
    rows_of, expected, method, protocol, rate, refine, variants, prior
):
    rows = rows_of(method, "--refine", refine, "--protocol", protocol, "--audio-rate", rate)
    pairs = {(method, ours, protocol): theirs for ours, theirs in variants.items()} | {("ogl", "av", protocol): prior}
    assert rows.keys() == pairs.keys()
    for key, name in pairs.items():
        golden = expected[method][name]
        came = per_sample(rows[key])[golden["names"]]
        assert came.tolist() == pytest.approx(golden["ciou"], abs=TOLERANCE), key
        assert rows[key]["metrics"]["locacc"] == pytest.approx(golden["AP50"], abs=1 / 12 + 1e-9)


def test_slavc_s_checkpoint_on_files_gives_the_official_values_and_confidences(rows_of, expected, tmp_path):
    names = {"slavc:av_weight=0.4": "fixed", "slavc-relative:av_weight=0.4": "relative"}
    rows = rows_of(
        "slavc",
        *("--refine", "ogl", "--protocol", ",".join(names), "--audio-rate", "native"),
        *("--set", "slavc.use_mom_eval=true"),
    )
    maps, objects = (stored(tmp_path, name, expected["slavc"]["fixed/av"]["names"]) for name in ("slavc", "ogl"))
    truth = torch.zeros(12, 224, 224)
    for protocol, mode in names.items():
        pairs = {("slavc", "av"): "av", ("slavc", "av+ogl"): "av_obj", ("ogl", "av"): "obj"}
        for (method, variant), kind in pairs.items():
            golden = expected["slavc"][f"{mode}/{kind}"]
            row = rows[method, variant, protocol]
            assert per_sample(row)[golden["names"]].tolist() == pytest.approx(golden["ciou"], abs=TOLERANCE), kind
            assert row["metrics"]["locacc"] == pytest.approx(golden["precision_at_50"], abs=1 / 12 + 1e-9)
            first, priors = (objects if method == "ogl" else maps), ([objects] if variant == "av+ogl" else [])
            found = measure(first, truth, get_protocol(protocol), priors=priors, confidence=True)["confidence"]
            assert found.tolist() == pytest.approx(golden["confidence"], abs=2e-5), kind


def test_lvs_s_checkpoint_on_files_gives_the_official_values(rows_of, expected):
    """LVS's loader takes the middle square of a picture; the prior beside it sees the whole, squashed."""
    seen = ["--set", "lvs.picture=centre-crop", "--set", "lvs.channels=first"]
    rows = rows_of("lvs", "--protocol", "lvs", "--audio-rate", "native", *seen)
    row, golden = rows["lvs", "av", "lvs"], expected["lvs"]["av"]
    assert per_sample(row)[golden["names"]].tolist() == pytest.approx(golden["ciou"], abs=TOLERANCE)
    assert row["metrics"]["locacc"] == pytest.approx(golden["cIoU"], abs=1 / 12 + 1e-9)


def test_squashed_pictures_do_not(rows_of, expected):
    rows = rows_of("lvs", "--protocol", "lvs", "--audio-rate", "native")
    golden = expected["lvs"]["av"]
    assert per_sample(rows["lvs", "av", "lvs"])[golden["names"]].tolist() != pytest.approx(golden["ciou"], abs=0.01)


def stored(runs: Path, method: str, names: list[str]) -> RawMaps:
    """The maps of a run, in the order of ``names``."""
    part = read_part(next((runs / "predictions").rglob(f"{method}-*/part-00000.safetensors")))
    return RawMaps(part.tensors["map"][[part.ids.index(name) for name in names]], part.score_range)
