"""TensorBoard and Weights & Biases: what else hears of a training, each where it was asked for and is installed."""

from __future__ import annotations

import os
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from avbench.errors import UsageError, printable, unknown_name
from avbench.store import write_atomic

RUN = "wandb-run.txt"
"""File in a training's folder with the id of its W&B run, which a resumed training goes on with."""


class Tracker(Protocol):
    """Hears of a training; what it raises, but for a misuse at the start, never reaches the training."""

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Values by tag after ``step`` optimiser steps, e.g. ``train/total``; the same step may come several times."""

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """A row of evaluations.jsonl, which belongs to the last step that came."""

    def close(self) -> None:
        """No more comes."""


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are unknown or not installed, before any work; imports none of them.

    Raises:
        UsageError: naming the tracker, and how to install it.
    """
    for name in names:
        if name not in TRACKERS:
            raise unknown_name("tracker", name, TRACKERS, f"avbench train --help ({', '.join(TRACKERS)})")
        if find_spec(name) is None:
            raise _missing(name)


def open_trackers(names: Sequence[str], out: Path, description: dict[str, Any], *, done: int = 0) -> list[Tracker]:
    """Open the trackers named, which write below ``out``.

    ``tensorboard`` writes into ``out/tensorboard``; steps after ``done``, which a resumed training takes again, replace
    those that were logged before. ``wandb`` writes into ``out/wandb`` without a network (``wandb sync`` sends it),
    unless ``WANDB_MODE`` says otherwise; the processes of a resumed training have one run. One that cannot be opened
    (no network, not logged in, full disk) is left out with a line on stderr.

    Args:
        names: of :data:`TRACKERS`.
        out: folder of the training.
        description: method, recipe, split, ...: the run's config in W&B.
        done: optimiser steps that the training has behind it.

    Raises:
        UsageError: for a tracker that is unknown or not installed.
    """
    check_trackers(names)
    opened: list[Tracker] = []
    for name in names:
        try:
            opened.append(TRACKERS[name](out, description, done))
        except ImportError as problem:
            raise _missing(name) from problem
        except Exception as problem:
            left_out(name, problem)
    return opened


def left_out(name: str, problem: Exception) -> None:
    """One line on stderr: this tracker does not work, and the training goes on without it."""
    what = " ".join(f"{type(problem).__name__}: {problem}".split())
    print(printable(f"{name} cannot go on ({what}): the training does, without it"), file=sys.stderr)


def _missing(name: str) -> UsageError:
    return UsageError(f"expected the package {name}, which is not installed: pip install avbench[{name}]")


class _Scalars(ABC):
    """A tracker of plain numbers by tag and step."""

    def __init__(self) -> None:
        self._step = 0

    def log(self, row: Mapping[str, float], step: int) -> None:
        self._step = step
        self._write({tag: float(value) for tag, value in row.items()}, step)

    def evaluated(self, row: Mapping[str, Any]) -> None:
        place = f"{row['purpose']}/{row['split']}"  # the purpose in the tag: an oracle's curve is never taken for more
        numbers = {key: value for key, value in row.items() if isinstance(value, float)}
        self._write({f"{place}/{key}": value for key, value in numbers.items()}, self._step)

    @abstractmethod
    def _write(self, values: dict[str, float], step: int) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


class TensorBoard(_Scalars):
    """An event file per process. Each row is written and flushed in place: a killed training loses none."""

    def __init__(self, out: Path, description: dict[str, Any], done: int) -> None:
        super().__init__()
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = out / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        self._event = Event
        # Names sort by time, since that is the order in which TensorBoard reads the files of a folder.
        self._file = (folder / f"events.out.tfevents.{time.time():017.6f}.{os.getpid()}").open("xb")
        self._records = RecordWriter(self._file)
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        start = SessionLog(status=SessionLog.START)
        self._append(Event(wall_time=time.time(), step=done + 1, session_log=start))  # drops those steps until now

    def _write(self, values: dict[str, float], step: int) -> None:
        event = self._event(wall_time=time.time(), step=step)
        for tag, value in values.items():
            event.summary.value.add(tag=tag, simple_value=value)
        self._append(event)

    def _append(self, event: Any) -> None:
        self._records.write(event.SerializeToString())
        self._records.flush()

    def close(self) -> None:
        """Close the file."""
        self._records.close()


class WandB(_Scalars):
    """A run of Weights & Biases."""

    def __init__(self, out: Path, description: dict[str, Any], done: int) -> None:
        super().__init__()
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # an error here is nobody else's to read
        import wandb

        out.mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(silent=True, quiet=True, console="off", disable_git=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "avbench"), dir=out, id=_run_id(out), resume="allow",
            mode=None if "WANDB_MODE" in os.environ else "offline", config=description, settings=quiet,
        )  # fmt: skip

    def _write(self, values: dict[str, float], step: int) -> None:
        self._run.log(values, step=step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()


def _run_id(out: Path) -> str:
    """The id of the W&B run of this folder, drawn once: another training of the same recipe is another run."""
    path = out / RUN
    if not path.exists():
        write_atomic(path, f"{uuid.uuid4().hex[:16]}\n".encode())
    return path.read_text(encoding="utf-8").strip()


TRACKERS: dict[str, Callable[[Path, dict[str, Any], int], Tracker]] = {"tensorboard": TensorBoard, "wandb": WandB}
"""What makes a tracker, by name; the name is also that of its package and of our extra."""
