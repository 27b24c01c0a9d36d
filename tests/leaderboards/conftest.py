"""Runs folders with records made by hand, whose numbers can be checked on paper."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from avbench.leaderboards.entries import Accepted, Largest, Rerun
from avbench.leaderboards.entry_files import write_entry
from avbench.leaderboards.local_entries import collect
from avbench.metrics.protocols import get_protocol
from avbench.records import Record, write_record

ACCEPTED = Accepted(date="2026-02-03", by="Ada", note="", url="")
RERUN = Rerun(avbench="0.1.0", git="", torch="2.11.0", largest=Largest(metrics=0.0, ciou=0.0))
TRUTH = {
    "id": ["a", "b", "c", "d"],
    "label": ["dog", "cat", "dog", "cat"],
    "image": ["a", "b", "c", "d"],
    "boxes": [1, 1, 1, 0],
    "area": [100.0, 50.0, 25.5, 0.0],
    "doubtful": [False] * 4,
}
"""Three samples with a box and one without."""

VALUES: dict[str, dict[str, list[float]]] = {
    "common": {"ciou": [0.6, 0.5, 0.2, 0.0], "ciou_adap": [0.7, 0.1, 0.3, 0.0], "confidence": [0.9, 0.4, 0.6, 0.7]},
    "avsbench": {"iou": [0.5, 0.25, 0.75, 0.1]},
}

# AUC: a cIoU c passes the thresholds 0.05 * k up to k = 11, 10 and 4 (0.05 * 12 lies a little above 0.6), so that its
# area is 0.05 * k + 0.025. AP: from the most confident on, precision 1, 1/2, 1/3, 1/2 at recall 1/3, 1/3, 1/2, 1.
METRICS: dict[str, dict[str, float]] = {
    "common": {
        "locacc": 2 / 3,
        "auc": (0.575 + 0.525 + 0.225) / 3,
        "mean_ciou": 1.3 / 3,
        "ap": 1 / 3 + 1 / 18 + 1 / 4,
        "max_f1": 2 / 3,
        "pixel_ap": math.nan,
    },
    "avsbench": {"miou": 0.4},
}


@dataclass
class Made:
    """A runs folder with one method on four samples; :meth:`write` makes its records."""

    runs: Path
    method: str = "toy"
    split: str = "four"
    key: str = "0123456789ab" + "0" * 52
    rule: str = "last"
    checkpoint: str = "c" * 64
    audio: str = "true"
    command: str = "avbench run --method toy --data /home/ada/media --runs=../results/runs"
    shift: float = 0.0
    """Added to the cIoU of the sample a, and to what is the mean of it."""
    changes: dict[str, Any] = field(default_factory=dict)

    def write(self, protocols=("common", "avsbench")) -> Path:
        for protocol in protocols:
            path = self.runs / "records" / self.split / f"{self.method}.av.{protocol}-{self.key[:6]}{self.rule}.json"
            write_record(self._record(protocol, path))
            values = {name: list(column) for name, column in VALUES[protocol].items()}
            if "ciou" in values:
                values["ciou"][0] += self.shift
            table = pd.DataFrame({**TRUTH, **values}).astype({"label": "string"})
            table.to_parquet(path.with_suffix(".parquet"), index=False)
        return self.runs

    def _record(self, protocol: str, path: Path) -> Record:
        metrics = dict(METRICS[protocol])
        if "mean_ciou" in metrics:
            metrics["mean_ciou"] += self.shift / 3
        values = {
            "method": self.method,
            "variant": "av",
            "split": self.split,
            "protocol": protocol,
            "audio": self.audio,
            "n_expected": 4,
            "n_scored": 4,
            "n_positive": 3,
            "n_nan": 0,
            "partial": False,
            "metrics": metrics,
            "intervals": {"locacc": (0.2, 0.94)} if "locacc" in metrics else {},
            "provenance": {
                "method": {"name": self.method, "origin": "toy.py", "info": {"control": False}},
                "config": {"gain": 1, "bias": 1.0},
                "checkpoint": {"name": "toy.pt", "sha256": self.checkpoint, "selected": {"rule": self.rule}},
                "split": {"name": self.split, "sha256": "d" * 64, "missing": []},
                "truth": "e" * 64,
                "protocol": {"name": protocol, "version": get_protocol(protocol).version},
                "metrics": dict.fromkeys(metrics, 1),
                "inputs": {"overrides": {}},
                "key": self.key,
                "prior_key": None,
                "software": {"avbench": "0.1.0", "git": None},
            },
            "run": {"seconds": 2.5, "command": self.command, "finished": "2026-01-02T03:04:05+00:00"},
            "per_sample": path.with_suffix(".parquet").name,
            "path": path,
        }
        return Record(**{**values, **self.changes})


@pytest.fixture
def make_runs(tmp_path):
    """Writes a runs folder: :class:`Made` with the fields given."""

    def make(name="runs", *, protocols=("common", "avsbench"), **fields) -> Path:
        return Made(tmp_path / name, **fields).write(protocols)

    return make


@pytest.fixture
def accept(make_runs, tmp_path):
    """Accepts :class:`Made` with the fields given, into one folder."""

    def make(name="runs", *, badge="submitted", into=tmp_path / "accepted", **fields) -> Path:
        runs = make_runs(name, **fields)
        method, split = fields.get("method", "toy"), fields.get("split", "four")
        entry = collect(runs, split=split, method=method)
        return write_entry(entry, into, badge=badge, accepted=ACCEPTED, rerun=RERUN if badge == "verified" else None)

    return make


@pytest.fixture
def path(accept) -> Path:
    return accept()
