"""Evaluations of trainings as pictures and tables: what is chosen, what is drawn, what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avbench import training_curves
from avbench.cli import main
from avbench.errors import AvbenchError, UsageError
from avbench.training_curves import COLOURS, draw_curves, draw_evaluations, read_curves, require_alike, write_table


def row(epoch, split="demo-val", purpose="validation", n=200, **figures):
    return {"epoch": epoch, "split": split, "purpose": purpose, "n": n, **(figures or {"locacc": 0.5})}


def on_test(epoch, split="demo", n=400, **figures):
    return row(epoch, split, "oracle", n, **figures)


ROWS = [
    *(row(1, locacc=0.2, auc=0.1, ap=0.1), on_test(1, locacc=0.3, auc=0.2, ap=0.25)),
    *(row(2, locacc=0.4, auc=0.3, ap=0.2), on_test(2, locacc=0.35, auc=0.3, ap=0.5)),
    *(row(3, locacc=0.4, auc=0.3, ap=0.1), on_test(3, locacc=0.45, auc=0.4, ap=0.125)),
    *(row(4, locacc=0.1, auc=0.1, ap=0.1), on_test(4, locacc=0.2, auc=0.1, ap=0.0)),
]


@pytest.fixture
def training(tmp_path):
    """Writes a training folder with these evaluations, or with this text."""

    def write(rows=ROWS, name="jsa-demo") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        text = rows if isinstance(rows, str) else "".join(json.dumps(each) + "\n" for each in rows)
        (folder / "evaluations.jsonl").write_text(text)
        return folder

    return write


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn from here on, in the place of files."""
    drawn = []
    monkeypatch.setattr(training_curves, "save_figure", lambda figure, out: drawn.append(figure))
    return drawn


def lines(axis, *, chosen: bool):
    """Lines of an axis, or the marks on them, as ``(x, y, marker)``."""
    found = [
        (list(map(int, line.get_xdata())), [round(float(y), 6) for y in line.get_ydata()], line.get_marker())
        for line in axis.lines
    ]
    return [each for each in found if (each[2] != ".") == chosen]


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_epochs_that_each_rule_chooses(training):
    found = read_curves(training())
    assert found.chosen() == {"last": 4, "validation": 2, "oracle": 3}, "the earliest of equals"
    assert found.splits == {"demo": ("oracle", 400), "demo-val": ("validation", 200)}
    assert found.name == "jsa-demo"


def test_recall_chooses_where_there_is_no_truth(training):
    rows = [row(e, "vggsound-10k-val", n=500, recall=r) for e, r in ((1, 0.1), (2, 0.3), (3, 0.2))]
    assert read_curves(training(rows)).chosen() == {"last": 3, "validation": 2}


def test_the_first_test_list_chooses(training):
    rows = [r for e in (1, 2) for r in (on_test(e, locacc=e / 10), on_test(e, "vggss", locacc=1 - e / 10))]
    assert read_curves(training(rows)).chosen() == {"last": 2, "oracle": 2}


def test_figures_that_choose_nothing(training):
    assert read_curves(training([on_test(5, ap=0.1), on_test(2, ap=0.3)])).chosen() == {"last": 5}


def test_what_is_drawn(training, figures):
    draw_evaluations(training(), Path("unused.png"), title="a title")
    (figure,) = figures
    locacc, ap = figure.axes
    assert (locacc.get_title(), ap.get_title(), figure.get_suptitle()) == ("LocAcc (cIoU)", "AP", "a title")
    assert lines(locacc, chosen=False) == [([1, 2, 3, 4], [30, 35, 45, 20], "."), ([1, 2, 3, 4], [20, 40, 40, 10], ".")]
    assert lines(ap, chosen=False)[0] == ([1, 2, 3, 4], [25, 50, 12.5, 0], ".")
    assert lines(ap, chosen=True)[:3] == [([4], [0], "s"), ([2], [50], "D"), ([3], [12.5], "*")]
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == [
        *("demo (test)", "demo-val (validation)"),
        *("last epoch", "best on validation", "best on test (oracle)"),
    ]


def test_marks_stand_where_the_split_was_evaluated(training, figures):
    draw_evaluations(training([row(1), row(2), on_test(1, max_f1=0.5)]), Path("unused.png"), title="")
    assert [axis.get_title() for axis in figures[0].axes] == ["LocAcc (cIoU)", "max-F1"]
    assert lines(figures[0].axes[1], chosen=True) == [([1], [50], "D")], "the last epoch was not tested on"


def test_several_trainings_have_a_colour_each_and_a_dash_per_split(training, figures):
    trainings = [read_curves(training(name=name)) for name in ("a", "b")]
    require_alike(trainings)
    draw_curves(trainings, Path("unused.png"), title="")
    drawn = [line for line in figures[0].axes[0].lines if line.get_marker() == "."]
    looks = [(line.get_color(), line.get_linestyle()) for line in drawn]
    assert looks == [(COLOURS[0], "-"), (COLOURS[0], "--"), (COLOURS[1], "-"), (COLOURS[1], "--")]
    assert figures[0].legends[0].get_texts()[2].get_text() == "b: demo (test)"


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_command_writes_the_picture_and_the_table(training, tmp_path, suffix, capsys):
    out = tmp_path / f"out.{suffix}"
    assert main(["curves", str(training(ROWS[:4])), "--out", str(out)]) == 0
    magic = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert out.read_bytes().startswith(magic)
    assert (tmp_path / "out.csv").read_text().splitlines()[:3] == [
        "training,epoch,split,purpose,metric,value",
        "jsa-demo,1,demo-val,validation,locacc,0.2",
        "jsa-demo,1,demo-val,validation,auc,0.1",
    ]
    assert capsys.readouterr().out == ""


def test_the_png_shows_something(training, tmp_path):
    draw_evaluations(training() / "evaluations.jsonl", tmp_path / "out.png", title="")
    with Image.open(tmp_path / "out.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    there = {tuple(pixel) for pixel in np.unique(pixels, axis=0).tolist()}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= there


def test_the_table_has_every_figure(training, tmp_path):
    write_table([read_curves(training()), read_curves(training([on_test(7, ap=1, recall=0)], "b"))], tmp_path / "t.csv")
    found = table(tmp_path / "t.csv")
    assert len(found) == 8 * 3 + 2
    assert tuple(found[0]) == ("training", "epoch", "split", "purpose", "metric", "value")
    assert tuple(found[3].values()) == ("jsa-demo", "1", "demo", "test", "locacc", "0.3")
    assert [tuple(each.values()) for each in found[-2:]] == [
        ("b", "7", "demo", "test", "ap", "1"),
        ("b", "7", "demo", "test", "recall", "0"),
    ]


def test_a_table_alone_draws_nothing(training, tmp_path, figures):
    assert main(["curves", str(training()), "--out", str(tmp_path / "t.csv")]) == 0
    assert (tmp_path / "t.csv").is_file()
    assert not figures


def test_folders_of_one_name_go_by_their_paths(training, tmp_path, monkeypatch, figures):
    for name in ("x/jsa", "y/jsa", "z"):
        training(name=name)
    monkeypatch.chdir(tmp_path)
    assert main(["curves", "x/jsa", "y/jsa", "z", "--out", "t.csv"]) == 0
    assert {r["training"] for r in table(Path("t.csv"))} == {"x/jsa", "y/jsa", "z"}


def test_an_unfinished_last_line_is_passed_over(training):
    text = "".join(json.dumps(each) + "\n" for each in ROWS)
    assert read_curves(training(text + '{"epoch": 5, "spl')).rows == read_curves(training(text, "whole")).rows


def test_a_folder_without_evaluations(tmp_path, training):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            UsageError, match=r"no evaluations\.jsonl at .*: name the folder of a training .*--validate"
        ):
            read_curves(place)
    with pytest.raises(UsageError, match=r"evaluations\.jsonl holds no evaluation yet: wait for the first"):
        read_curves(training(""))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "which it is not"),
        ("[1]", "which it is not"),
        ("\n", "which it is not"),
        (json.dumps({"epoch": 1, "split": "a", "n": 3, "ap": 0.1}), "which it is not"),
        (json.dumps(row("1")), "whole numbers for epoch and n"),
        (json.dumps(row(-1)), "whole numbers for epoch and n"),
        (json.dumps(row(1, n=True)), "whole numbers for epoch and n"),
        (json.dumps(row(1, split=["a"])), "a name for split"),
        (json.dumps(row(1, purpose="test")), "a purpose of validation or oracle"),
        (json.dumps(row(1, purpose=["oracle"])), "a purpose of validation or oracle"),
        (json.dumps(row(1, loss=0.1)), "where 'loss' is no metric"),
        (json.dumps(row(1, locacc=40.0)), "figures from 0 to 1"),
        (json.dumps(row(1, locacc=float("nan"))), "figures from 0 to 1"),
        (json.dumps(row(1, locacc=None)), "figures from 0 to 1"),
        ('{"epoch": 1, "split": "a", "purpose": "oracle", "n": 3}', "figures from 0 to 1"),
    ],
)
def test_a_row_of_another_form(training, line, reason):
    place = training(json.dumps(row(9)) + "\n" + line.rstrip("\n") + "\n")
    with pytest.raises(AvbenchError, match=rf"line 2: expected a row such as .*{reason}.*, got .*: delete that line"):
        read_curves(place)


def test_a_file_that_is_no_text(training):
    place = training()
    (place / "evaluations.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(AvbenchError, match=r"evaluations\.jsonl cannot be read as text"):
        read_curves(place)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([row(1), row(1)], "line 2: demo-val stands there twice for epoch 1: delete one of the rows"),
        (
            [row(1), row(2, n=100)],
            "line 2: demo-val is a list of 100 samples for validation here and of 200 for valida",
        ),
        ([row(1), row(2, purpose="oracle")], "line 2: demo-val is a list of 200 samples for oracle here"),
        ([row(1), row(1, "mine")], "line 2: mine and demo-val are both there for validation: keep the rows of one"),
    ],
)
def test_rows_that_cannot_be_of_one_training(training, rows, told):
    with pytest.raises(AvbenchError, match=told):
        read_curves(training(rows))


def test_trainings_on_different_lists(training, tmp_path, capsys):
    given = [str(training(name="a")), str(training([on_test(1, "vggss", 5158)], "b")), "--out", str(tmp_path / "x.png")]
    assert main(["curves", *given]) == 2
    told = (
        r"a was evaluated on demo (400 for oracle), demo-val (200 for validation), and b on vggss (5158 for oracle): "
    )
    assert told in capsys.readouterr().err
    assert not list(tmp_path.glob("x.*"))


def test_more_lines_than_can_be_told_apart(training):
    trainings = [read_curves(training(name=str(number))) for number in range(8)]
    with pytest.raises(
        UsageError, match="8 trainings on 2 lists are more lines than can be told apart: draw at most 7"
    ):
        draw_curves(trainings, Path("unused.png"), title="")


def test_nothing_that_is_drawn(training):
    with pytest.raises(UsageError, match="none of locacc, ap, max_f1, recall was evaluated: write the table instead"):
        draw_evaluations(training([row(1, auc=0.1)]), Path("unused.png"), title="")


def test_a_picture_of_another_form(training, capsys):
    assert main(["curves", str(training()), "--out", "x.gif"]) == 2
    assert "expected --out FILE ending in .png or .svg or .pdf or .csv, got 'x.gif'" in capsys.readouterr().err
