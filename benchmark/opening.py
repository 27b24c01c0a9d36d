"""Opening a split, with a bar while the demo world is drawn. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

from avbench.data.splits import Split, load_split

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""``with progress(title, total) as advance`` shows a bar; ``advance(n)`` moves it by ``n``."""


@dataclass(frozen=True)
class Places:
    """Where the annotation files and the media of real splits stand."""

    metadata: Path | None = None
    data: Path | None = None


def silent(title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Progress that shows nothing."""
    return nullcontext(lambda done: None)


def open_split(name: str, places: Places, progress: Progress = silent) -> Split:
    """Load a split as :func:`avbench.data.splits.load_split` does; a bar appears when a demo split has to be drawn."""
    with ExitStack() as stack:
        drawing = _Drawing(name, progress, stack)
        return load_split(name, metadata=places.metadata, data=places.data, progress=drawing)


class _Drawing:
    """Turns the generator's ``(done, total)`` into steps of a bar that is opened at the first of them."""

    def __init__(self, name: str, progress: Progress, stack: ExitStack) -> None:
        self.name, self.progress, self.stack = name, progress, stack
        self.done = 0
        self.advance: Callable[[int], None] | None = None

    def __call__(self, done: int, total: int) -> None:
        if self.advance is None:
            self.advance = self.stack.enter_context(self.progress(f"drawing {self.name}", total))
        self.advance(done - self.done)
        self.done = done
