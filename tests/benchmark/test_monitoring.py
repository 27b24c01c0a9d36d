"""The figures of a training by hand, what is kept of them, and trackers that fail."""

import json
import math

import pytest
import torch

from avbench.errors import AvbenchError
from avbench.monitoring import LOG_EVERY, SPEED, WINDOW, TrainingMonitor, memory_used

CPU = torch.device("cpu")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Seen:
    """A display and a tracker that remember."""

    def __init__(self):
        self.figures, self.rows, self.evaluations, self.logged, self.closed = [], [], [], [], 0

    def show(self, row, figures):
        self.rows.append(row)
        self.figures.append(figures)

    def log(self, row, step):
        self.logged.append((step, row))

    def evaluated(self, row):
        self.evaluations.append(row)

    def close(self):
        self.closed += 1


class Watched:
    """A monitor, its clock and its display."""

    def __init__(self, out, steps=1000, done=0, trackers=()):
        self.clock, self.display = Clock(), Seen()
        self.asked = []

        def show(*given):
            self.asked.append(given)
            return self.display

        self.monitor = TrainingMonitor(
            out, steps=steps, done=done, device=CPU, trackers=trackers, show=show, clock=self.clock
        )

    def step(self, step, seconds, pairs=32, waited=0.0, **terms):
        self.clock.now += seconds
        row = {"epoch": 1, "step": step, "lr": 0.5, "total": 1.0, **terms}
        self.monitor.step(row, pairs, waited)
        return self.display.figures[-1]


def rows(out):
    path = out / SPEED
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_figures_by_hand(tmp_path):
    watched = Watched(tmp_path, steps=10)
    first = watched.step(1, seconds=2.0, pairs=30, waited=1.0)
    assert (first.step, first.pairs_per_second, first.waiting) == (1, 15.0, 0.5)
    assert (first.seconds, first.left) == (2.0, 18.0)
    second = watched.step(2, seconds=0.5, pairs=20, waited=0.0)
    assert (second.pairs_per_second, second.waiting) == (20.0, 0.4)
    assert (second.seconds, second.left) == (2.5, 10.0), "8 steps at 1.25 seconds"


def test_the_last_steps_count_alone(tmp_path):
    watched = Watched(tmp_path)
    for step in range(1, WINDOW + 1):
        watched.step(step, seconds=10.0, waited=10.0)
    for step in range(WINDOW + 1, 2 * WINDOW + 1):
        figures = watched.step(step, seconds=0.25, pairs=64, waited=0.125)
    assert (figures.pairs_per_second, figures.waiting) == (256.0, 0.5)
    assert figures.left == (1000 - 2 * WINDOW) * 0.25
    assert figures.seconds == WINDOW * 10.25


def test_steps_that_come_together_took_their_time_together(tmp_path):
    watched = Watched(tmp_path)
    sizes = [10] * 8 + [3] + [10] * 3  # an epoch ends after 83 steps, and with it one of the heaps
    step = 0
    for size in sizes:
        for place in range(size):
            step += 1
            figures = watched.step(step, seconds=0.1 * size if place == 0 else 1e-5, waited=0.025)
        assert figures.pairs_per_second == pytest.approx(320.0, rel=1e-3)
        assert figures.waiting == pytest.approx(0.25, rel=1e-3)
        assert figures.left == pytest.approx((1000 - step) * 0.1, rel=1e-3)


class Slow(Seen):
    """Takes a second for each row."""

    def log(self, row, step):
        self.clock.now += 1.0


def test_what_trackers_take_is_time_too(tmp_path):
    slow = Slow()
    watched = Watched(tmp_path, trackers=[slow])
    slow.clock = watched.clock
    watched.step(1, seconds=1.0)
    watched.step(2, seconds=1e-5)
    figures = watched.step(3, seconds=1.0)
    assert figures.pairs_per_second == pytest.approx(24.0, rel=1e-3), "96 pairs in 4 seconds"


def test_an_evaluation_slows_no_rate_but_is_expected_again(tmp_path):
    watched = Watched(tmp_path, steps=6)
    watched.step(1, seconds=1.0)
    watched.step(2, seconds=1.0)
    watched.clock.now += 8.0
    watched.monitor.evaluated({"epoch": 1, "split": "demo-val", "purpose": "validation", "locacc": 0.5})
    figures = watched.step(3, seconds=1.0)
    assert figures.pairs_per_second == 32.0
    assert figures.seconds == 11.0
    assert figures.left == pytest.approx(3 * (1 + 8 / 3)), "three steps and the evaluations that fall on three"
    assert watched.display.evaluations[0]["locacc"] == 0.5


def test_a_clock_that_stands_still_breaks_nothing(tmp_path):
    figures = Watched(tmp_path).step(1, seconds=0.0, waited=0.0)
    assert (figures.pairs_per_second, figures.waiting, figures.left) == (0.0, 0.0, 0.0)


def test_more_waiting_than_time_is_all_of_it(tmp_path):
    assert Watched(tmp_path).step(1, seconds=1.0, waited=1.5).waiting == 1.0


def test_a_resumed_training_counts_its_own_steps_alone(tmp_path):
    watched = Watched(tmp_path, steps=100, done=60)
    assert watched.asked == [(100, 60)]
    figures = watched.step(61, seconds=4.0, pairs=32)
    assert (figures.step, figures.pairs_per_second, figures.left) == (61, 8.0, 39 * 4.0)


def test_speed_is_kept_now_and_then_and_at_the_end(tmp_path):
    watched = Watched(tmp_path)
    for step in range(1, 2 * LOG_EVERY + 2):
        watched.step(step, seconds=0.5, pairs=8, waited=0.125)
        kept = rows(tmp_path)
        assert len(kept) == step // LOG_EVERY, "on disk as soon as it is written"
    watched.monitor.close()
    kept = rows(tmp_path)
    assert [row["step"] for row in kept] == [LOG_EVERY, 2 * LOG_EVERY, 2 * LOG_EVERY + 1]
    assert kept[1] == {
        "step": 2 * LOG_EVERY,
        "pairs_per_second": 16.0,
        "waiting": 0.25,
        "memory_bytes": kept[1]["memory_bytes"],
        "seconds": LOG_EVERY * 1.0,
    }
    assert watched.display.closed == 1


def test_steps_without_a_row_do_not_lose_those_of_the_speed(tmp_path):
    watched = Watched(tmp_path)
    for step in (LOG_EVERY - 1, LOG_EVERY + 1, LOG_EVERY + 2):
        watched.step(step, seconds=1.0)
    assert [row["step"] for row in rows(tmp_path)] == [LOG_EVERY + 1]


def test_nothing_is_kept_twice(tmp_path):
    watched = Watched(tmp_path)
    watched.step(LOG_EVERY, seconds=1.0)
    watched.monitor.close()
    assert len(rows(tmp_path)) == 1
    Watched(tmp_path, done=LOG_EVERY).monitor.close()
    assert len(rows(tmp_path)) == 1


def test_reopened_it_goes_on_where_the_state_was(tmp_path):
    kept = [{"step": step, "seconds": step * 2.0, "pairs_per_second": 9.0} for step in (50, 100, 150)]
    whole = [json.dumps(row) + "\n" for row in kept]
    (tmp_path / SPEED).write_text("".join(whole) + '{"step": 200, "sec')
    watched = Watched(tmp_path, done=110)
    assert (tmp_path / SPEED).read_text() == "".join(whole[:2]), "killed after step 200, resumed from the state at 110"
    assert watched.step(111, seconds=1.0).seconds == 221.0, "110 steps at 2 seconds, one at 1"


def test_a_training_that_begins_again_keeps_no_speed(tmp_path):
    (tmp_path / SPEED).write_text('{"step": 50, "seconds": 100.0}\n')
    assert Watched(tmp_path).step(1, seconds=1.0).seconds == 1.0
    assert rows(tmp_path) == []


@pytest.mark.parametrize(
    "line", ["nonsense", "[]", '{"step": 5}', '{"step": 0, "seconds": 1}', '{"step": 1, "seconds": NaN}']
)
def test_a_damaged_file_is_named(line, tmp_path):
    (tmp_path / SPEED).write_text(f'{line}\n{{"step": 50, "seconds": 100.0}}\n')
    with pytest.raises(AvbenchError, match=r"speed\.jsonl a row of JSON .*: delete that file to go on"):
        Watched(tmp_path, done=50)


def test_the_folder_is_made(tmp_path):
    Watched(tmp_path / "new" / "folder").step(LOG_EVERY, seconds=1.0)
    assert len(rows(tmp_path / "new" / "folder")) == 1


def test_memory_is_the_most_so_far():
    block = torch.ones(64 << 20, dtype=torch.uint8)
    with_block = memory_used(CPU)
    del block
    assert 64 << 20 < with_block < 1 << 40
    assert memory_used(CPU) > with_block - (1 << 20), "give or take pages that the system counts late"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_memory_of_a_gpu():
    device = torch.device("cuda")
    block = torch.ones(64 << 20, dtype=torch.uint8, device=device)
    assert memory_used(device) >= 64 << 20
    del block


def test_trackers_hear_terms_speed_and_evaluations(tmp_path):
    tracker = Seen()
    watched = Watched(tmp_path, trackers=[tracker])
    watched.step(LOG_EVERY - 1, seconds=1.0, area=math.nan)
    watched.step(LOG_EVERY, seconds=1.0)
    watched.monitor.evaluated({"epoch": 1, "locacc": 0.5})
    watched.monitor.close()
    (first, terms), (_, plain), (last, speed) = tracker.logged
    assert (first, last) == (LOG_EVERY - 1, LOG_EVERY)
    assert math.isnan(terms.pop("train/area"))
    assert terms == plain == {"train/epoch": 1, "train/lr": 0.5, "train/total": 1.0}
    assert set(speed) == {"speed/pairs_per_second", "speed/waiting", "speed/memory_bytes", "speed/seconds"}
    assert tracker.evaluations == [{"epoch": 1, "locacc": 0.5}]
    assert tracker.closed == 1


class Failing(Seen):
    """Breaks when it is told a certain thing."""

    def __init__(self, what, problem):
        super().__init__()
        setattr(self, what, self._fail)
        self.problem, self.asked = problem, 0

    def _fail(self, *given):
        self.asked += 1
        raise self.problem


@pytest.mark.parametrize("what", ["log", "evaluated", "close"])
@pytest.mark.parametrize("problem", [OSError(28, "No space left\non device"), RuntimeError("network is away")])
def test_a_failing_tracker_costs_one_line(what, problem, tmp_path, capsys):
    failing, other = Failing(what, problem), Seen()
    watched = Watched(tmp_path, trackers=[failing, other])
    for step in (1, 2, 3):
        watched.step(step, seconds=1.0)
    watched.monitor.evaluated({"epoch": 1})
    watched.monitor.evaluated({"epoch": 2})
    watched.monitor.close()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"Failing cannot go on ({type(problem).__name__}: ")
    assert [step for step, _ in other.logged] == [1, 2, 3, 3]
    assert (len(other.evaluations), other.closed) == (2, 1)
    assert [row["step"] for row in rows(tmp_path)] == [3]
    if what != "close":
        assert (failing.asked, failing.closed) == (1, 1), "it is closed, and hears no more"


def test_an_interruption_passes(tmp_path):
    watched = Watched(tmp_path, trackers=[Failing("log", KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        watched.step(1, seconds=1.0)


def test_without_a_display_and_trackers(tmp_path):
    monitor = TrainingMonitor(tmp_path, steps=5, done=0, device=CPU)
    monitor.step({"epoch": 1, "step": 1, "lr": 0.1}, 4, 0.0)
    monitor.evaluated({"epoch": 1})
    with monitor.beside("evaluating", 3) as advance:
        advance(3)
    monitor.close()
    assert rows(tmp_path)[0]["pairs_per_second"] > 0
