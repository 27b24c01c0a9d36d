"""Entries out of runs folders: what belongs together, what is left out, and what else is found there."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from avbench.errors import AvbenchError, UsageError
from avbench.leaderboards.entries import Parameters
from avbench.leaderboards.local_entries import collect, entries_of_runs
from avbench.listening import FORMAT, Listening
from avbench.parts import Part, write_part
from avbench.store import write_json
from avbench.stored import ABOUT

KEY = "0123456789ab" + "0" * 52


def test_methods_selections_keys_and_splits_are_apart(make_runs):
    make_runs()
    make_runs(rule="oracle", key="e" * 64)
    make_runs(key="f" * 64)
    make_runs(split="five")
    runs = make_runs(method="rival")
    found = [(one.split, one.method, one.selection, one.key[:2], one.badge) for one in entries_of_runs([runs])]
    assert found == [
        ("five", "toy", "last", "01", "local"),
        ("four", "rival", "last", "01", "local"),
        ("four", "toy", "last", "01", "local"),
        ("four", "toy", "last", "ff", "local"),
        ("four", "toy", "oracle", "ee", "local"),
    ]


def test_the_records_of_an_entry(make_runs):
    (entry,) = entries_of_runs([make_runs(), make_runs()])
    assert [record.protocol for record in entry.records] == ["common", "avsbench"]
    assert (entry.path, entry.parameters, entry.listening, entry.maps) == (make_runs(), None, None, {})
    table = entry.contestant(entry.records[0]).samples
    assert list(table["ciou"]) == [0.6, 0.5, 0.2, 0.0]


def test_other_sounds_are_left_out(make_runs):
    make_runs(audio="noise", key="f" * 64)
    assert [entry.key for entry in entries_of_runs([make_runs()])] == [KEY]


def test_of_two_records_of_a_row_the_later_counts(make_runs):
    runs = make_runs()
    (first,) = (runs / "records" / "four").glob("*common*.json")
    content = json.loads(first.read_text())
    content["run"] = {**content["run"], "finished": "2026-01-02T03:04:06+00:00", "seconds": 9.0}
    first.with_name(f"a{first.name}").write_text(json.dumps(content))
    (entry,) = entries_of_runs([runs])
    assert [record.seconds for record in entry.records] == [9.0, 2.5]


def test_partial_ones_are_left_out_and_named(make_runs):
    runs = make_runs(changes={"partial": True, "n_scored": 3})
    make_runs(method="rival")
    said: list[str] = []
    assert [entry.method for entry in entries_of_runs([runs], note=said.append)] == ["rival"]
    sentence = (
        f"toy (last, 0123456789ab) on four in {runs} is left out, being partial (3 of 4 samples): predict all samples"
    )
    assert said == [sentence]
    with pytest.raises(AvbenchError, match=f"^{re.escape(sentence)}$"):
        collect(runs, split="four", method="toy")


def test_a_place_that_is_no_runs_folder(tmp_path):
    sentence = f"expected a runs folder with records/ in it, got {tmp_path}: name one that avbench run filled"
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
        entries_of_runs([tmp_path])


class TestCollecting:
    def test_one_of_several(self, make_runs):
        make_runs(key="f" * 64, rule="oracle")
        make_runs(key="e" * 64)
        runs = make_runs(split="five")
        assert collect(runs, split="four", method="toy", selection="oracle").key == "f" * 64
        assert collect(runs, split="four", method="toy", key="eee").selection == "last"
        assert collect(runs, split="five", method="toy").key == KEY

    @pytest.mark.parametrize(
        ("given", "there"), [({}, "toy (last, 0123456789ab), toy (oracle, ffffffffffff)"), ({"key": "a"}, "none")]
    )
    def test_none_or_several(self, make_runs, given, there):
        make_runs(key="f" * 64, rule="oracle")
        runs = make_runs()
        sentence = (
            f"expected records of one checkpoint of toy on four with its own sounds in {runs}, found {there}: name its "
            "selection or its key, or score it"
        )
        with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
            collect(runs, split="four", method="toy", **given)

    def test_the_evaluations_of_a_training(self, make_runs, tmp_path):
        training = tmp_path / "training"
        training.mkdir()
        row = {"epoch": 1, "split": "val", "purpose": "validation", "n": 9, "locacc": 0.5}
        (training / "evaluations.jsonl").write_text(json.dumps(row) + "\n")
        runs = make_runs()
        assert collect(runs, split="four", method="toy", trainings={"toy": training}).evaluations == (row,)
        assert collect(runs, split="four", method="toy", trainings={"rival": training}).evaluations == ()


class TestMaps:
    def stored(self, runs: Path, maps: torch.Tensor) -> None:
        folder = runs / "predictions" / "four" / "toy-0123456789ab"
        write_part(folder, 0, Part(list("abcd"), {"map": maps}))
        write_json(folder / ABOUT, {})

    def test_native_maps_of_the_samples_with_boxes(self, make_runs):
        runs = make_runs()
        self.stored(runs, torch.arange(24.0).reshape(4, 2, 3))
        (entry,) = entries_of_runs([runs])
        assert list(entry.maps) == ["a", "b", "c"]
        np.testing.assert_array_equal(entry.maps["b"], [[6, 7, 8], [9, 10, 11]])

    def test_large_maps_are_averaged(self, make_runs):
        runs = make_runs()
        large = torch.zeros(4, 224, 64)
        large[0, :14, :4] = 1
        self.stored(runs, large)
        (entry,) = entries_of_runs([runs])
        assert entry.maps["a"].shape == (16, 16)
        assert (entry.maps["a"][0, 0], entry.maps["a"].sum()) == (1, 1)

    def test_where_masks_tell_the_truth(self, make_runs):
        runs = make_runs()
        for place in (runs / "records" / "four").glob("*.parquet"):
            pd.read_parquet(place).assign(boxes=0).to_parquet(place, index=False)
        self.stored(runs, torch.ones(4, 2, 2))
        (entry,) = entries_of_runs([runs])
        assert list(entry.maps) == ["a", "b", "c"]


def built_in(method: str, config: dict) -> dict:
    """Provenance of a method that avbench comes with, its truth and key as in the others."""
    return {
        "method": {"name": method, "origin": "built-in", "info": {"control": True}},
        "config": config,
        "checkpoint": None,
        "split": {"name": "four", "sha256": "d" * 64, "missing": []},
        "truth": "e" * 64,
        "protocol": {"name": "common", "version": 1},
        "metrics": {},
        "inputs": {},
        "key": KEY,
        "prior_key": None,
        "software": {},
    }


@pytest.mark.parametrize(
    ("method", "config", "expected"),
    [
        ("random", {"cells": 7, "seed": 0}, Parameters(training=0, inference=0)),
        ("random", {"novel": 1}, None),
        ("attention10k", {}, "some"),
    ],
)
def test_parameters_of_what_avbench_comes_with(make_runs, method, config, expected):
    runs = make_runs(method=method, protocols=("common",), changes={"provenance": built_in(method, config)})
    (entry,) = entries_of_runs([runs])
    if expected == "some":
        assert entry.parameters.training >= entry.parameters.inference > 1_000_000
    else:
        assert entry.parameters == expected
    assert entry.control


class TestListening:
    def answer(self, runs: Path, name: str, *, key=KEY, off_screen="offscreen", resamples=10, source=None) -> None:
        content = asdict(
            Listening(
                method="toy",
                split="four",
                off_screen=off_screen,
                n=3,
                n_expected=4,
                partial=False,
                clustered=False,
                success={},
                drops={},
                unchanged={},
                unchanged_nearly={},
                scores={},
                extremes={},
                threshold_from=source,
                provenance={"keys": {"true": key}, "resamples": resamples},
            )
        )
        kept = {field: value for field, value in content.items() if field not in {"path", "title"}}
        write_json(runs / "records" / "four" / f"toy.listening-{name}.json", {"format": FORMAT, **kept})

    def test_the_answer_of_these_predictions(self, make_runs):
        runs = make_runs()
        self.answer(runs, "a", key="f" * 64, resamples=99)
        assert collect(runs, split="four", method="toy").listening is None
        self.answer(runs, "b", source={"split": "x", "n": 3}, resamples=99)
        assert collect(runs, split="four", method="toy").listening.path.name == "toy.listening-b.json"
        self.answer(runs, "c", off_screen="swapped", resamples=99)
        assert collect(runs, split="four", method="toy").listening.path.name == "toy.listening-c.json"
        self.answer(runs, "d")
        assert collect(runs, split="four", method="toy").listening.path.name == "toy.listening-d.json"
        self.answer(runs, "e", resamples=20)
        assert collect(runs, split="four", method="toy").listening.path.name == "toy.listening-e.json"
