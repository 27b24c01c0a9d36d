"""A training at the terminal: one line that moves, or a plain line now and then where nobody looks on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.text import Text

from avbench.errors import printable
from avbench.monitoring import PLACE
from avbench.opening import silent

if TYPE_CHECKING:
    from avbench.monitoring import Figures

TERMS = 6
"""Terms of the loss that are shown, the total first."""

EVERY = 30.0
"""Seconds between two plain lines."""

LONGEST_BAR, SHORTEST_BAR = 40, 8


@dataclass(frozen=True)
class Part:
    """A piece of the line; those of a high ``rank`` are left out first where the terminal is narrow."""

    text: str
    rank: int
    joint: str = " · "


class TrainingBar:
    """Shows a training on stderr; a :data:`avbench.monitoring.Show` once its title is given.

    On a terminal it is one line, which leaves out the less important where that is narrow. Elsewhere it is a plain line
    every :data:`EVERY` seconds and one at the end.
    """

    def __init__(
        self,
        title: str,
        steps: int,
        done: int,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(stderr=True)
        begun = f", {done} of them done" if done else ""
        self._print(f"{title}: {steps} steps{begun}")
        moving = self._console.is_terminal and not self._console.is_dumb_terminal
        self._way: _Moving | _Plain = (
            _Moving(self._console, steps, done) if moving else _Plain(self._print, steps, clock)
        )

    def show(self, row: Mapping[str, float], figures: Figures) -> None:
        """As :meth:`avbench.monitoring.Display.show`."""
        self._way.show(row, figures)

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """A line that stays."""
        values = " ".join(f"{key} {value:.3f}" for key, value in row.items() if isinstance(value, float))
        self._print(f"epoch {row['epoch']}: {row['split']} ({row['purpose']}): {values}")

    def beside(self, title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """A second line that moves and goes away; on no terminal, nothing."""
        return self._way.beside(title, total)

    def close(self) -> None:
        """The last line stays."""
        self._way.close()

    def _print(self, line: str) -> None:
        self._console.print(Text(printable(line)), soft_wrap=True)


class _Plain:
    def __init__(self, write: Callable[[str], None], steps: int, clock: Callable[[], float]) -> None:
        self._write = write
        self._steps = steps
        self._clock = clock
        self._written = clock()
        self._pending = ""

    def show(self, row: Mapping[str, float], figures: Figures) -> None:
        self._pending = joined(parts(row, figures, self._steps))
        if self._clock() - self._written >= EVERY:
            self.close()
            self._written = self._clock()

    def beside(self, title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        return silent(title, total)

    def close(self) -> None:
        if self._pending:
            self._write(self._pending)
        self._pending = ""


class _Moving:
    def __init__(self, console: Console, steps: int, done: int) -> None:
        self._line = _Line(steps, done)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._other = Progress(*columns, console=console)
        # What is printed to stdout are results: they stay there.
        self._live = Live(get_renderable=self._lines, console=console, redirect_stdout=False)
        self._live.start()

    def show(self, row: Mapping[str, float], figures: Figures) -> None:
        self._line.now = (dict(row), figures)

    @contextmanager
    def beside(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        task = self._other.add_task(title, total=total)
        self._live.refresh()
        try:
            yield lambda done: self._other.advance(task, done)
        finally:
            self._other.remove_task(task)

    def close(self) -> None:
        self._live.stop()

    def _lines(self) -> RenderableType:
        return Group(self._line, self._other) if self._other.tasks else self._line


class _Line:
    """The moving line, as wide as the terminal."""

    def __init__(self, steps: int, done: int) -> None:
        self._steps = steps
        self._done = done
        self.now: tuple[Mapping[str, float], Figures] | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = self.now  # another thread draws: one look at it
        pieces = parts(*now, self._steps) if now else [_place(self._done, self._steps)]
        text = joined(fitting(pieces, options.max_width - SHORTEST_BAR - 1))
        width = min(LONGEST_BAR, options.max_width - len(text) - 1)
        if width >= SHORTEST_BAR:
            bar = ProgressBar(self._steps, now[1].step if now else self._done, width=width)
            yield from console.render(bar, options.update(width=width))
            yield Segment(" ")
        yield Text(text[: options.max_width])


def parts(row: Mapping[str, float], figures: Figures, steps: int) -> list[Part]:
    """What there is to say, in the order of the line."""
    return [
        _place(figures.step, steps),
        *([Part(f"epoch {row['epoch']:.0f}", 7)] if "epoch" in row else []),
        Part(f"{duration(figures.left)} left", 1),
        Part(f"{duration(figures.seconds)} passed", 6),
        *_terms(row),
        Part(f"{_rate(figures.pairs_per_second)} pairs/s", 3),
        Part(f"{figures.waiting:.0%} waiting".replace("%", " %"), 4),
        Part(f"{figures.memory_bytes / 1e9:.1f} GB", 5),
    ]


def fitting(pieces: list[Part], width: int) -> list[Part]:
    """The most important pieces, as many as ``width`` columns hold; the first is always among them."""
    taken: list[Part] = []
    for piece in sorted(pieces, key=lambda piece: piece.rank):
        kept = [other for other in pieces if other in taken or other is piece]
        if taken and len(joined(kept)) > width:
            break
        taken.append(piece)
    return [piece for piece in pieces if piece in taken]


def joined(pieces: list[Part]) -> str:
    """The pieces as a line."""
    return "".join(piece.joint * bool(place) + piece.text for place, piece in enumerate(pieces))


def duration(seconds: float) -> str:
    """``1:02:03``, ``2:03``; ``?`` for what is no number."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _place(step: int, steps: int) -> Part:
    return Part(f"{step}/{steps}", 0)


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _terms(row: Mapping[str, float]) -> list[Part]:
    """The terms of the loss, the total first; those beyond :data:`TERMS` are counted."""
    names = sorted((name for name in row if name not in PLACE), key=lambda name: name != "total")
    shown = [f"{printable(name)} {row[name]:.3g}" for name in names[:TERMS]]
    more = [f"and {len(names) - TERMS} terms more"] if len(names) > TERMS else []
    return [Part(text, 8 + i if i else 2, " " if i else " · ") for i, text in enumerate(shown + more)]
