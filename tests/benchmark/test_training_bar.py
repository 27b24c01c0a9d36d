"""The line of a training at the terminal: what it says at which width, and where there is no terminal."""

import io
import math
import re

import pytest
from rich.console import Console

from avbench.commands.training_bar import EVERY, Part, TrainingBar, duration, fitting, joined, parts
from avbench.monitoring import Figures

FIGURES = Figures(step=120, pairs_per_second=412.3, waiting=0.031, memory_bytes=1_230_000_000, seconds=80.4, left=190.0)
ROW = {"epoch": 2, "step": 120, "lr": 1e-4, "contrastive": 3.2145, "area": 0.0123, "total": 3.2268}
EVALUATED = {"epoch": 2, "split": "demo-val", "purpose": "validation", "n": 200, "locacc": 0.4, "auc": 0.3125}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def drawn(width, row=ROW, figures=FIGURES, terminal=True):
    """What stands on a terminal of that width after one step and the end, without its codes."""
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    bar = TrainingBar("training", 400, 0, console=console)
    bar.show(row, figures)
    bar.close()
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", console.file.getvalue())


def last(width, row=ROW, figures=FIGURES):
    return drawn(width, row, figures).splitlines()[-1].split("\r")[-1]


def test_a_wide_terminal_shows_everything():
    assert last(160).lstrip("━╸╺ ") == (
        "120/400 · epoch 2 · 3:10 left · 1:20 passed · total 3.23 contrastive 3.21 area 0.0123"
        " · 412 pairs/s · 3 % waiting · 1.2 GB"
    )


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (110, "120/400 · epoch 2 · 3:10 left · 1:20 passed · total 3.23 · 412 pairs/s · 3 % waiting · 1.2 GB"),
        (80, "120/400 · 3:10 left · total 3.23 · 412 pairs/s · 3 % waiting · 1.2 GB"),
        (60, "120/400 · 3:10 left · total 3.23 · 412 pairs/s"),
        (30, "120/400 · 3:10 left"),
        (18, "120/400"),
    ],
)
def test_a_narrow_terminal_leaves_out_the_less_important(width, text):
    line = last(width)
    assert line.lstrip("━╸╺ ") == text
    assert len(line) <= width
    assert line[0] in "━╸"


@pytest.mark.parametrize("width", [5, 8, 12, 60, 80, 120, 300])
@pytest.mark.parametrize("step", [1, 120, 399, 400])
def test_it_is_one_line_at_any_width(width, step):
    odd = {"step": step, **{f"term {i}": value for i, value in enumerate([math.nan, math.inf, -1e300, *range(3000)])}}
    for row in (ROW, odd, {"step": step}, {"epoch": 1, "step": step, "total": 1e-12}):
        figures = Figures(step, 0.0, 1.0, 0, math.inf, math.nan)
        text = drawn(width, row, figures)
        assert text.count("\n") == 2, "after the title, and after the line when it ends"
        assert len(text.splitlines()[-1].split("\r")[-1]) <= width


def test_terms_that_are_no_numbers_and_too_many():
    row = {"step": 1, "a": math.nan, "b": math.inf, **{f"t{i}": float(i) for i in range(1000)}, "total": math.nan}
    line = joined(parts(row, FIGURES, 400))
    assert "total nan a nan b inf t0 0 t1 1 t2 2 and 997 terms more · 412 pairs/s" in line


def test_terms_cannot_command_the_terminal():
    row = {"step": 1, "[red]x[/red]": 1.0, "\x1b[2Jy\n": 2.0}
    text = drawn(200, row)
    assert "[red]x[/red] 1" in text
    assert "\\x1b[2Jy\\n 2" in text


def test_the_first_piece_is_never_left_out():
    pieces = parts(ROW, FIGURES, 400)
    assert joined(fitting(pieces, 0)) == "120/400"
    assert fitting(pieces, 1000) == pieces


def test_nothing_comes_before_the_more_important():
    pieces = [Part("third", 2), Part("the first", 0), Part("the second, which is long", 1)]
    assert joined(fitting(pieces, 20)) == "the first", "a short one does not take the place of a longer one"
    assert joined(fitting(pieces, 37)) == "the first · the second, which is long"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (59.6, "1:00"),
        (190, "3:10"),
        (3600, "1:00:00"),
        (500000, "138:53:20"),
        (-3, "0:00"),
        (math.nan, "?"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def plain(clock, steps=400, done=0):
    console = Console(file=io.StringIO(), width=40)
    return console.file, TrainingBar(
        "training ezvsl on demo-train (5 epochs)", steps, done, console=console, clock=clock
    )


def test_without_a_terminal_a_line_now_and_then_and_at_the_end():
    clock = Clock()
    file, bar = plain(clock, done=110)
    assert file.getvalue() == "training ezvsl on demo-train (5 epochs): 400 steps, 110 of them done\n"
    for second in range(1, 71):
        clock.now = float(second)
        bar.show({**ROW, "total": float(second)}, FIGURES)
    bar.close()
    said = file.getvalue().splitlines()[1:]
    assert [re.search(r"total (\d+)", line).group(1) for line in said] == [f"{EVERY:.0f}", f"{2 * EVERY:.0f}", "70"]
    assert said[0].startswith("120/400 · epoch 2 · 3:10 left · 1:20 passed · total 30 contrastive 3.21")
    assert said[0].endswith(" · 412 pairs/s · 3 % waiting · 1.2 GB"), "however narrow"


def test_without_a_terminal_the_end_is_said_once():
    clock = Clock()
    file, bar = plain(clock)
    clock.now = EVERY
    bar.show(ROW, FIGURES)
    bar.close()
    assert file.getvalue().count("120/400") == 1


def test_an_evaluation_is_a_line_that_stays():
    file, bar = plain(Clock())
    with bar.beside("evaluating demo-val", 200) as advance:
        advance(200)
    bar.evaluated(EVALUATED)
    bar.close()
    assert file.getvalue().splitlines()[1:] == ["epoch 2: demo-val (validation): locacc 0.400 auc 0.312"]


def test_an_evaluation_has_a_line_of_its_own_while_it_lasts():
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    bar = TrainingBar("training", 400, 0, console=console)
    with bar.beside("evaluating [demo-val]", 200) as advance:
        during = console.file.getvalue()
        advance(50)
    assert "evaluating [demo-val]" in during
    assert "0/200" in during
    bar.close()
    assert "evaluating" not in console.file.getvalue().rsplit("\r", 1)[-1]
    assert console.file.getvalue().endswith("\x1b[?25h"), "the cursor is back"
