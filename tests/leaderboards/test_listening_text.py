"""The listening block as a reader sees it: hand-made answers with known cells."""

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from avbench.leaderboards import listening_text as shown
from avbench.leaderboards.listening_text import listening_json, print_listening
from avbench.listening import Answers, Drop, Listening, Rate, Scores

NEGATIVES = ("silent", "noise", "offscreen")
PAIRS = ("true/silent", "true/noise", "true/offscreen", "silent/noise", "silent/offscreen", "noise/offscreen")


def by(kinds, *values):
    return dict(zip(kinds, values, strict=True))


def scores(threshold: float, **changes) -> Scores:
    third = by(NEGATIVES, 0.1, 0.2, 0.3)
    values = {
        "threshold": threshold,
        "ciou_uth": 0.4321,
        "auc_uth": 0.41,
        "nan_ciou": 0.0,
        "pia": third,
        "auc_n": by(NEGATIVES, 0.9, 0.8, 0.7),
        "f_loc": 0.5622,
        "f_loc_by_kind": third,
        "f_auc": 0.54,
        "f_auc_by_kind": third,
        "agreement": by(PAIRS, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06),
    }
    return Scores(**{**values, **changes})


def answer(method: str = "m", p: tuple[float, ...] = (0.00001, 0.01, 0.04), **changes) -> Listening:
    ends = {"mean_max": 12.3456, "median_max": 0.000123, "mean_min": -1.0, "median_min": 0.5, "nan": 0.0}
    values = {
        "method": method,
        "split": "demo",
        "off_screen": "offscreen",
        "n": 400,
        "n_expected": 400,
        "partial": False,
        "clustered": False,
        "success": {audio: Rate(0.5125, 0.4641, 0.5612) for audio in ("true", *NEGATIVES)},
        "drops": {audio: Drop(0.4075, 0.358, 0.458, one / 3, one) for audio, one in zip(NEGATIVES, p, strict=True)},
        "unchanged": by(NEGATIVES, 0.0, 0.125, 1.0),
        "unchanged_nearly": by(NEGATIVES, 0.0, 0.25, 1.0),
        "scores": {"max": scores(0.9), "max10": scores(0.8), "maxq3": scores(0.7)},
        "extremes": {audio: dict(ends) for audio in ("true", *NEGATIVES)},
        "threshold_from": None,
        "provenance": {"resamples": 10_000, "seed": 0},
        "title": method,
    }
    return Listening(**{**values, **changes})


def printed(capsys, *found: Listening, deaf=(), left_out=()) -> str:
    print_listening(Answers(found, deaf, left_out))
    return capsys.readouterr().out


def test_the_lines_of_a_method(capsys):
    lines = [line.split() for line in printed(capsys, answer()).splitlines() if line]
    assert ["m", "true", "51.25", "46.4", "to", "56.1"] in lines
    drop = ["51.25", "46.4", "to", "56.1", "40.75", "35.8", "to", "45.8"]
    assert ["silent", *drop, "<0.0001", "*", "0.0", "0.0"] in lines
    assert ["noise", *drop, "0.0100", "*", "12.5", "25.0"] in lines
    assert ["m", "0.7", "0.8", "0.9", "43.21", "41.00", "20.00", "80.00", "56.22", "54.00"] in lines
    assert ["m", "true", "12.35", "0.000123", "-1", "0.5"] in lines
    assert ["offscreen", "30.00", "70.00", "30.00", "30.00", "12.35", "0.000123", "-1", "0.5"] in lines
    assert ["m", "1.00", "2.00", "3.00", "4.00", "5.00", "6.00"] in lines


def test_everything_fits_a_terminal_of_100_columns(monkeypatch):
    wide = Console(width=100, force_terminal=True, color_system=None, record=True, file=io.StringIO())
    monkeypatch.setattr(shown, "Console", lambda **_: wide)
    names = ("alignment", "a-method-of-a-rather-long-name@0123456789ab")
    print_listening(Answers(tuple(answer(name) for name in names), (("demo", "disc"),), ()))
    text = wide.export_text()
    assert max(len(line) for line in text.splitlines()) <= 100
    for cell in ("46.4 to 56.1", "<0.0001 *", "0.000123", "offscreen"):
        assert cell in text, "numbers and kinds are never folded"


@pytest.mark.parametrize(
    ("p", "sentence"),
    [
        ((0.01, 0.05, 0.0), "Listens, by a drop with every kind of negative audio: m."),
        ((0.01, 0.051, 0.0), "Listens, by a drop with silent and offscreen audio: m."),
        ((1.0, 1.0, 1.0), "No drop is shown, so nothing says that it listens: m."),
    ],
)
def test_verdicts(capsys, p, sentence):
    assert sentence in printed(capsys, answer(p=p))


def test_a_rise_is_no_drop(capsys):
    rise = dict.fromkeys(NEGATIVES, Drop(-0.2, -0.3, -0.1, 0.0, 0.0))
    assert "nothing says that it listens: m." in printed(capsys, answer(drops=rise))


def test_methods_of_one_verdict_share_a_line(capsys):
    text = printed(capsys, answer("a"), answer("b"), answer("c", p=(1.0, 1.0, 1.0)))
    assert "every kind of negative audio: a, b." in text
    assert "nothing says that it listens: c." in text


def test_what_the_reader_must_know(capsys):
    text = printed(capsys, answer(), deaf=(("demo", "disc"), ("other", "x")), left_out=(("m@1 (true)", "demo"),))
    assert "Over the 400 samples with a box. offscreen is the sound of any other clip, the official draw." in text
    assert "exact McNemar, Holm over the 3 kinds" in text
    assert "Not asked, since no audio goes into them: disc." in text
    assert "Left out, for want of some kind of audio: m@1 (true)." in text
    assert "our reading of the name" in text
    assert "Partial" not in text


def test_less_usual_notes(capsys):
    broken = answer().extremes | {"noise": {**answer().extremes["noise"], "nan": 3.0}}
    text = printed(
        capsys,
        answer(partial=True, clustered=True, n=300, extremes=broken, threshold_from={"split": "vggss", "n": 5158}),
    )
    assert "Over the 300 samples with a box, of 400." in text
    assert "Partial results cover less than the split" in text
    assert "p: bootstrap" in text
    assert "bootstrap of pictures, which several samples share" in text
    assert "m: maps with a value that is not a number, counted as silent: 3 with noise audio." in text
    assert "They come from other predictions, on the 5158 samples with a box of vggss." in text


def test_what_is_not_a_number_is_blank(capsys):
    ends = dict.fromkeys(("mean_max", "median_max", "mean_min", "median_min"), math.nan) | {"nan": 400.0}
    odd = {rule: scores(math.nan, ciou_uth=math.nan) for rule in ("max", "max10", "maxq3")}
    text = printed(capsys, answer(extremes=dict.fromkeys(("true", *NEGATIVES), ends), scores=odd))
    assert "nan" not in text.replace("not a number", "")


def test_splits_have_tables_of_their_own(capsys):
    text = printed(capsys, answer(), answer(split="other", off_screen="offscreen"))
    assert text.count("does it listen?") == 2
    assert text.index("demo: agreement") < text.index("other: does it listen?")


def test_markdown_and_latex():
    answers = Answers((answer(),), (), ())
    text = shown.listening_text(answers, "md")
    assert text.count("**demo: ") == 4
    assert "| m        | true      |    51.25 | 46.4 to 56.1 |" in text
    assert "\n- Listens, by a drop with every kind of negative audio: m." in text
    latex = shown.listening_text(answers, "tex")
    assert latex.count(r"\toprule") == 4
    assert all(line.startswith(("%", "\\")) or "&" in line or not line for line in latex.splitlines())


def test_csv_holds_every_value_once():
    text = shown.listening_text(Answers((answer(), answer("n", scores={"maxq3": scores(math.nan)})), (), ()), "csv")
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["method"] == "m"]
    place = ("measure", "rule", "audio", "other")
    found = {tuple(row[name] for name in place): row for row in rows}
    assert len(found) == len(rows) == 4 + 3 + 2 * 3 + 4 * 5 + 3 * (6 + 4 * 3 + 6)
    assert found["success", "", "true", ""]["low"] == "0.4641"
    assert found["drop", "", "noise", ""]["p_holm"] == "0.01"
    assert found["agreement", "maxq3", "silent", "noise"]["value"] == "0.04"
    assert found["f_loc", "max", "", ""]["value"] == "0.5622"
    assert found["f_loc", "max", "offscreen", ""]["value"] == "0.3"
    assert found["threshold", "max10", "", ""]["value"] == "0.8"
    every = list(csv.DictReader(io.StringIO(text)))
    assert all(row["value"] != "nan" for row in every)
    assert [row["value"] for row in every if row["method"] == "n" and row["measure"] == "threshold"] == [""]


def test_json_has_all_and_no_nan():
    found = answer(scores={"maxq3": scores(math.nan)})
    content = listening_json(Answers((found,), (("demo", "disc"),), (("m@1 (true)", "demo"),)))
    text = json.dumps(content, allow_nan=False)
    assert json.loads(text) == content
    (one,) = content["listening"]
    assert one["scores"]["maxq3"]["threshold"] is None
    assert one["drops"]["noise"]["p_holm"] == 0.01
    assert content["not_hearing"] == [{"split": "demo", "method": "disc"}]
    assert content["left_out"] == [{"split": "demo", "method": "m@1 (true)"}]
    assert replace(found, scores={}) != found
