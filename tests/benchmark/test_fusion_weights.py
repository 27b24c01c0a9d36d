"""Fusion weights as an ablation, through the command line."""

import json
from pathlib import Path

import pytest

import avbench
from avbench.cli import main
from avbench.errors import UsageError
from avbench.request import Settings

METHOD = '''
"""Two maps in a single file."""

from dataclasses import dataclass

import torch
from torch import nn

from avbench.registry import register_method
from avbench.types import Prediction


@dataclass(frozen=True)
class TwoConfig:
    pass


@register_method("two", config=TwoConfig, needs=("image",), trainable=False)
class Two(nn.Module):
    """Brightness, and its mirror image as the image-query map."""

    def __init__(self, config):
        super().__init__()
        self.config, self.frontend = config, None

    def localize(self, batch):
        cells = nn.functional.adaptive_avg_pool2d(batch.image.mean(dim=1, keepdim=True), 7)[:, 0]
        return Prediction(cells, {"image_query": cells.flip(2)})
'''


@pytest.fixture
def two(tmp_path, tiny_set):
    place = tmp_path / "two.py"
    place.write_text(METHOD)
    return [
        "run",
        "--method",
        f"{place}:Two",
        "--split",
        str(tiny_set),
        "--runs",
        str(tmp_path / "runs"),
        "--controls",
        "false",
        "--pictures",
        "false",
        "--refine",
        "iqr",
    ]


def test_each_weight_has_rows_and_records_of_its_own(capsys, two, tmp_path):
    protocols = ["jsa", "jsa:av_weight=0.4", "jsa:av_weight=0.6", "jsa:av_weight=1"]
    table = tmp_path / "table.csv"
    assert main([*two, "--protocol", ",".join(protocols), "--json", "--out", str(table)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["protocol"], row["variant"]) for row in rows] == [
        (p, v) for p in protocols for v in ("av", "image_query", "iqr")
    ]
    value = {(row["protocol"], row["variant"]): row["metrics"]["mean_ciou"] for row in rows}
    assert value["jsa", "iqr"] == value["jsa:av_weight=0.4", "iqr"] != value["jsa:av_weight=0.6", "iqr"]
    assert value["jsa:av_weight=1", "iqr"] == value["jsa", "av"]
    files = [Path(row["record"]) for row in rows]
    assert len(set(files)) == len(rows)
    assert all(file.is_file() and ":" not in file.name for file in files)
    assert json.loads(files[5].read_text())["provenance"]["protocol"]["name"] == "jsa:av_weight=0.4"
    assert {line.split(",")[1] for line in table.read_text().splitlines()[1:]} == set(protocols)


def test_the_weight_stands_above_the_printed_table_and_results_are_found_again(capsys, two):
    for _ in range(2):
        assert main([*two, "--protocol", "ezvsl:av_weight=0.2"]) == 0
        assert "tiny, protocol ezvsl:av_weight=0.2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (
            "jsa:av_weight=2",
            "expected a weight in [0, 1] for the fusion of jsa, such as jsa:av_weight=0.6; got 'jsa:av_weight=2'",
        ),
        ("jsa:alpha=0.5", "got 'jsa:alpha=0.5'"),
        ("jsaa:av_weight=0.5", "there is no protocol called 'jsaa': did you mean jsa?"),
        ("common:av_weight=0.5,jsa", "the protocol common takes no parameter, having no fusion"),
    ],
)
def test_bad_weights_end_with_one_sentence(capsys, two, protocol, message):
    assert main([*two, "--protocol", protocol]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.strip().splitlines()) == 1


def test_settings_check_the_weight():
    assert Settings(protocols=("jsa:av_weight=0.6",)).protocols == ("jsa:av_weight=0.6",)
    with pytest.raises(UsageError, match=r"got 'jsa:av_weight=1.5'"):
        Settings(protocols=("jsa:av_weight=1.5",))


def test_one_method_by_name_under_a_weight(tiny_set, tmp_path):
    record = avbench.evaluate("disc", tiny_set, protocol="ezvsl:av_weight=0.2", runs=tmp_path / "runs")
    assert (record.protocol, record.variant) == ("ezvsl:av_weight=0.2", "av")
