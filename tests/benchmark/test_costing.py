"""The cost of a training from what its monitor kept."""

import json

import pytest

from avbench.costing import Cost, in_words, measured
from avbench.errors import AvbenchError
from avbench.monitoring import SPEED

ROWS = [
    {"step": 50, "pairs_per_second": 100.0, "waiting": 0.5, "memory_bytes": 3_000_000_000, "seconds": 32.0},
    {"step": 100, "pairs_per_second": 410.0, "waiting": 0.25, "memory_bytes": 4_000_000_000, "seconds": 40.0},
    {"step": 150, "pairs_per_second": 400.0, "waiting": 0.0, "memory_bytes": 3_500_000_000, "seconds": 60.0},
]


def test_measured_by_hand(tmp_path):
    (tmp_path / SPEED).write_text("".join(json.dumps(row) + "\n" for row in ROWS) + '{"step": 2')
    assert measured(tmp_path) == Cost(60.0, 400.0, 0.25, 4_000_000_000), "a slow start does not count, resumed or not"


def test_nothing_was_measured(tmp_path):
    assert measured(tmp_path) is None
    (tmp_path / SPEED).write_text("")
    assert measured(tmp_path) is None


def test_a_damaged_file_is_an_error(tmp_path):
    (tmp_path / SPEED).write_text("nonsense\n")
    with pytest.raises(AvbenchError, match=r"speed\.jsonl"):
        measured(tmp_path)


def test_in_words():
    assert in_words(Cost(200.4, 411.6, 0.031, 1_240_000_000)) == (
        "3 min 20 s, 412 pairs/s, 3 % of the time waiting for data, 1.2 GB"
    )
    assert in_words(Cost(9.0, 1500.0, 0.0, 400_000_000)).startswith("9 s, 1,500 pairs/s, 0 % of")
