"""How a training does: its speed, what it waits for, memory and time left, shown, kept and passed on."""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from avbench.errors import AvbenchError
from avbench.opening import silent
from avbench.store import write_atomic
from avbench.tracking import Tracker, left_out

if TYPE_CHECKING:
    import torch

SPEED = "speed.jsonl"
"""File in a training's folder: how fast it was, a row every :data:`LOG_EVERY` steps and one at its end."""

LOG_EVERY = 50
WINDOW = 50
"""Steps over which rates are taken, at least."""

TOGETHER = 1e-3
"""Seconds: a step that is told of sooner after another was taken together with it."""

PLACE = ("epoch", "step", "lr")
"""What a row of log.jsonl holds beside the terms of the loss."""


class Monitor(Protocol):
    """What the training loop tells. One process of a training tells it, for all of them."""

    def step(self, row: Mapping[str, float], pairs: int, waited: float) -> None:
        """An optimiser step ended.

        Args:
            row: its row of log.jsonl: epoch, step (from 1, over the whole training), lr, terms of the loss.
            pairs: of the global batch.
            waited: seconds since the step before in which the loop stood still for data.
        """

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """A split was evaluated between two steps; its row of evaluations.jsonl."""

    def close(self) -> None:
        """The training ended, or broke off."""


class Unwatched:
    """A monitor that does nothing, for the other processes of a training."""

    def step(self, row: Mapping[str, float], pairs: int, waited: float) -> None:
        """Nothing."""

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Figures:
    """How a training does.

    Attributes:
        step: optimiser steps behind it, those of earlier processes included.
        pairs_per_second: over the last steps of this process, without evaluations between them; 0 while no time passed.
        waiting: share of that time in which the loop stood still for data, in [0, 1].
        memory_bytes: as :func:`memory_used`, of this process alone, at most a second old.
        seconds: since the training began, evaluations included; of earlier processes what led to the steps kept.
        left: seconds to the last step at this speed, with as much evaluation per step as until now.
    """

    step: int
    pairs_per_second: float
    waiting: float
    memory_bytes: int
    seconds: float
    left: float

    def row(self) -> dict[str, float]:
        """What is kept of them: all but the outlook."""
        return {name: value for name, value in asdict(self).items() if name != "left"}


class Display(Protocol):
    """Shows a training to a person."""

    def show(self, row: Mapping[str, float], figures: Figures) -> None:
        """A step's row of log.jsonl, and how the training does."""

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """A row of evaluations.jsonl."""

    def beside(self, title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Progress of other work while the training stands still."""

    def close(self) -> None:
        """No more comes."""


Show = Callable[[int, int], Display]
"""Begins to show a training, from its number of steps and how many of them are done."""


@dataclass
class TrainingMonitor:
    """Measures a training, shows it, keeps :data:`SPEED` in its folder, and tells the trackers.

    A tracker that fails is left out from then on, with a line on stderr. Time counts from the construction on, so that
    belongs right before the first step.

    Attributes:
        out: folder of the training.
        steps: optimiser steps of the whole training.
        done: those that an earlier process took; rows of :data:`SPEED` after them are dropped.
        device: where the model is.
        trackers: as :func:`avbench.tracking.open_trackers` gives them.
        show: how a person sees it; None for not at all.
        clock: seconds.

    Raises:
        AvbenchError: for a :data:`SPEED` that is damaged, or cannot be written.
    """

    out: Path
    _: KW_ONLY
    steps: int
    done: int
    device: torch.device
    trackers: Sequence[Tracker] = ()
    show: Show | None = None
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        self._speeds = SpeedLog(self.out / SPEED, self.done)
        self._trackers = list(self.trackers)
        self._display = self.show(self.steps, self.done) if self.show else None
        self._pace = _Pace(self.clock)
        self._memory = _Memory(self.device)
        self._step = self.done

    def step(self, row: Mapping[str, float], pairs: int, waited: float) -> None:
        """As :meth:`Monitor.step`."""
        step = self._step = int(row["step"])
        self._pace.step(pairs, waited)
        figures = self._figures()
        self._tell({f"train/{name}": value for name, value in row.items() if name != "step"}, step)
        if step // LOG_EVERY > self._speeds.step // LOG_EVERY:
            self._keep(figures)
        if self._display:
            self._display.show(row, figures)
        self._pace.told()

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """As :meth:`Monitor.evaluated`; what passed since the last step does not slow the figures down."""
        self._pace.pause()
        self._each(lambda tracker: tracker.evaluated(row))
        if self._display:
            self._display.evaluated(row)

    def beside(self, title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Progress (:data:`avbench.opening.Progress`) of an evaluation between two steps, where a person sees this."""
        return self._display.beside(title, total) if self._display else silent(title, total)

    def close(self) -> None:
        """As :meth:`Monitor.close`."""
        if self._display:
            self._display.close()
        if self._step > self._speeds.step:
            self._keep(self._figures())
        self._each(lambda tracker: tracker.close())

    def _figures(self) -> Figures:
        pace = self._pace
        return Figures(
            step=self._step,
            pairs_per_second=pace.pairs_per_second,
            waiting=pace.waiting,
            memory_bytes=self._memory.used(pace.passed),
            seconds=self._speeds.seconds + pace.passed,
            left=(self.steps - self._step) * pace.seconds_per_step,
        )

    def _keep(self, figures: Figures) -> None:
        row = figures.row()
        self._speeds.write(row)
        self._tell({f"speed/{name}": value for name, value in row.items() if name != "step"}, figures.step)

    def _tell(self, values: dict[str, float], step: int) -> None:
        self._each(lambda tracker: tracker.log(values, step))

    def _each(self, tell: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                tell(tracker)
            except Exception as problem:
                self._trackers.remove(tracker)
                left_out(type(tracker).__name__, problem)
                with suppress(Exception):
                    tracker.close()


@dataclass
class _Stretch:
    """Steps that were told of together: a GPU's loop fetches what several of them say at once."""

    seconds: float = 0.0
    steps: int = 0
    pairs: int = 0
    waited: float = 0.0


class _Pace:
    """What steps took, over the last of them; pauses between them are counted apart."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begin = self._mark = clock()
        self._told = -math.inf
        self._window: deque[_Stretch] = deque()
        self._steps = 0
        self._paused = 0.0

    def step(self, pairs: int, waited: float) -> None:
        """A step ended."""
        if self._clock() - self._told >= TOGETHER:
            self._window.append(_Stretch())
        stretch = self._window[-1]
        stretch.seconds += self._since_mark()
        stretch.steps += 1
        stretch.pairs += pairs
        stretch.waited += waited
        self._steps += 1
        while self._sum("steps") - self._window[0].steps >= WINDOW:
            self._window.popleft()

    def told(self) -> None:
        """All was said of that step."""
        self._told = self._clock()

    def pause(self) -> None:
        """What passed since the last step was none."""
        self._paused += self._since_mark()

    def _since_mark(self) -> float:
        now = self._clock()
        passed, self._mark = now - self._mark, now
        return passed

    def _sum(self, what: str) -> float:
        total: float = sum(getattr(stretch, what) for stretch in self._window)
        return total

    def _per_second(self, what: str) -> float:
        seconds = self._sum("seconds")
        return self._sum(what) / seconds if seconds else 0.0

    @property
    def passed(self) -> float:
        return self._mark - self._begin

    @property
    def pairs_per_second(self) -> float:
        return self._per_second("pairs")

    @property
    def waiting(self) -> float:
        return min(1.0, self._per_second("waited"))

    @property
    def seconds_per_step(self) -> float:
        return self._sum("seconds") / self._sum("steps") + self._paused / self._steps


class _Memory:
    """What :func:`memory_used` says, asked once a second: asking takes as long as a part of a small step."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._asked = -math.inf
        self._used = 0

    def used(self, now: float) -> int:
        if now - self._asked >= 1.0:
            self._asked, self._used = now, memory_used(self._device)
        return self._used


class SpeedLog:
    """The rows of :data:`SPEED`.

    Attributes:
        step: of the last row that counts, or where the training begins.
        seconds: that the training took in earlier processes up to there.

    Raises:
        AvbenchError: for a file that is damaged, or cannot be written.
    """

    def __init__(self, path: Path, done: int) -> None:
        kept = [(line, row) for line, row in speed_lines(path) if row["step"] <= done]
        self.step = done
        self.seconds = 0.0
        if path.exists():
            write_atomic(path, "".join(line for line, _ in kept).encode())
        if kept:  # steps after the last row took, it is taken, as long as those before
            last = kept[-1][1]
            self.seconds = last["seconds"] * done / last["step"]
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def write(self, row: Mapping[str, float]) -> None:
        """Append a row, which a process that is killed afterwards leaves behind."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as problem:
            raise AvbenchError(
                f"{self._path} cannot be written ({problem.strerror}): free space, and resume"
            ) from problem
        self.step = int(row["step"])


def speed_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The lines of a :data:`SPEED` and what they hold, without one that a killed process left unfinished.

    Raises:
        AvbenchError: for a file that is damaged.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8") as file:
            lines = [(line, json.loads(line)) for line in file if line.endswith("\n")]
        whole = all(row["step"] > 0 and math.isfinite(row["seconds"]) for _, row in lines)
    except (ValueError, TypeError, KeyError) as problem:
        raise _damaged(path) from problem
    if not whole:
        raise _damaged(path)
    return lines


def _damaged(path: Path) -> AvbenchError:
    return AvbenchError(
        f"expected in each line of {path} a row of JSON with step and seconds, which one of them is not: delete that "
        "file to go on without what it tells of the speed until now"
    )


def memory_used(device: torch.device) -> int:
    """The most bytes so far: allocated on a GPU by this process, else resident in this process."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the parent had, where the process was forked and then replaced
        peak = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), None)
        if peak:
            return int(peak.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
