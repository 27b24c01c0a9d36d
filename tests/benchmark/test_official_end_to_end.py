"""The command line against the official test programs: real VGG-SS names and boxes, files on disk, made-up weights."""

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from avbench.cli import main

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
    for method in ("ezvsl", "jsa", "ogl_resnet18"):
        torch.save(maker.make_checkpoint(method), folder / f"{method}.pth")
    return folder


@pytest.fixture(scope="module")
def expected(shared) -> dict:
    return json.loads((shared / "goldens" / "goldens" / "tiny.json").read_text())["results"]


def per_sample(row: dict) -> pd.Series:
    table = pd.read_parquet(Path(row["record"]).with_name(row["per_sample"]))
    return table.set_index("id")["ciou"]


CASES = [
    ("ezvsl", "native", "ogl", {"av": "av", "av+ogl": "av_obj"}, "obj"),
    ("jsa", "16000", "ogl,iqr", {"av": "aud", "image_query": "img", "iqr": "iqr_aud_img", "av+ogl": "aud_ogl"}, "ogl"),
]


@pytest.mark.parametrize(("method", "rate", "refine", "variants", "prior"), CASES)
def test_official_checkpoints_on_files_give_the_official_values(
    capsys, shared, official, expected, tmp_path, method, rate, refine, variants, prior
):
    folders = ["--metadata", str(shared / "metadata"), "--data", str(shared / "goldens" / "goldens" / "tiny")]
    weights = [
        "--checkpoint",
        f"{method}={official / f'{method}.pth'}",
        "--set",
        f"ogl.weights={official / 'ogl_resnet18.pth'}",
    ]
    how = [
        "--refine",
        refine,
        "--protocol",
        method,
        "--runs",
        str(tmp_path),
        "--controls",
        "false",
        "--allow-missing",
        "--audio-rate",
        rate,
    ]
    assert main(["run", "--method", f"{method},ogl", "--split", "vggss", *folders, *weights, *how, "--json"]) == 0
    rows = {(row["method"], row["variant"]): row for row in json.loads(capsys.readouterr().out)}
    pairs = {(method, ours): theirs for ours, theirs in variants.items()} | {("ogl", "av"): prior}
    assert rows.keys() == pairs.keys()
    for key, name in pairs.items():
        golden = expected[method][name]
        came = per_sample(rows[key])[golden["names"]]
        assert came.tolist() == pytest.approx(golden["ciou"], abs=TOLERANCE), key
        assert rows[key]["metrics"]["locacc"] == pytest.approx(golden["AP50"], abs=1 / 12 + 1e-9)
        assert (rows[key]["n_scored"], rows[key]["n_expected"]) == (12, 5158)
