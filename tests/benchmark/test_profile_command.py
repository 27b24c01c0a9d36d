"""``avbench profile score``: it measures both sides on the same maps, and refuses what it cannot time."""

import json
from pathlib import Path

import pytest

from avbench import profiling
from avbench.cli import main
from avbench.metrics.protocols import PROTOCOLS

ORACLE = Path(__file__).parents[1] / "oracles" / "official_scoring.py"


def test_both_sides_are_timed_on_every_protocol(capsys, monkeypatch):
    monkeypatch.setattr(profiling, "_peak_of", lambda samples, boxes, names: 1000 * samples)
    calls = []
    load = profiling.load_oracle

    def watched(path):
        module = load(path)
        score = module.score_sample
        module.score_sample = lambda native, truth, name, **how: calls.append(name) or score(native, truth, name, **how)
        return module

    monkeypatch.setattr(profiling, "load_oracle", watched)
    assert (
        main(["profile", "score", "--samples", "20", "--oracle-samples", "2", "--json", "--oracle", str(ORACLE)]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    boxes = [name for name, protocol in PROTOCOLS.items() if protocol.truth == "boxes"]
    assert found["protocols"] == boxes
    assert calls == boxes * 2
    assert found["peak_bytes"] == {"5": 5000, "20": 20_000}
    assert set(found["steps"]) == {"maps", "maps, official", "extended", "retrieval"}
    for step in found["steps"].values():
        assert step["seconds"] > 0
        assert step["ratio"] > 0


def test_memory_is_measured_in_a_process_of_its_own():
    assert profiling._peak_of(8, None, ("common",)) > 0


def test_without_the_plain_steps_ours_alone_is_timed(capsys, monkeypatch):
    monkeypatch.setattr(profiling, "_peak_of", lambda samples, boxes, names: 0)
    assert main(["profile", "score", "--samples", "9", "--oracle", "none"]) == 0
    shown = capsys.readouterr().out
    assert "9 maps 14x14" in shown
    assert "times as long" not in shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["everything"], "there is no command of avbench profile called 'everything'"),
        (["score", "--samples", "0"], "--samples"),
        (["score", "--oracle", "nowhere.py"], "expected the official steps as a Python file at nowhere.py"),
        (["score", "--oracle", __file__], "lacks score_sample, canvas_of, mask_of"),
    ],
)
def test_what_cannot_be_timed_is_refused(capsys, arguments, sentence):
    assert main(["profile", *arguments]) == 2
    assert sentence in capsys.readouterr().err
