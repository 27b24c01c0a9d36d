"""Units as processes on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from avbench.sweeping.plan import Tell
from avbench.sweeping.worker import PREFIX

POLL = 0.05
"""Seconds between looks at the processes."""
PATIENCE = 10
"""Seconds that a process has to end when it is told to."""


@dataclass(frozen=True)
class Local:
    """Up to ``jobs`` units at a time, each a process with its share of the processors and a log beside its file."""

    jobs: int

    def __call__(self, units: Sequence[Path], tell: Tell) -> dict[Path, str]:
        """Bring ``units`` to their records, in order; see :data:`avbench.sweeping.plan.Launch`.

        However this ends, no process is left behind.
        """
        waiting, failed = list(units), dict[Path, str]()
        running: dict[Path, subprocess.Popen[bytes]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    unit = waiting.pop(0)
                    running[unit] = self._start(unit, min(self.jobs, len(units)))
                    tell(unit.stem, f"started, log: {log_of(unit)}")
                for unit in [unit for unit, process in running.items() if process.poll() is not None]:
                    _end(unit, running.pop(unit).returncode, failed, tell)
                time.sleep(POLL)
        finally:
            _stop(running.values())
        return failed

    def _start(self, unit: Path, at_once: int) -> subprocess.Popen[bytes]:
        threads = str(max(1, len(os.sched_getaffinity(0)) // at_once))
        environment = {"OMP_NUM_THREADS": threads, **os.environ}
        with log_of(unit).open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - this interpreter, our module, a file of ours
                [sys.executable, "-m", "avbench.sweeping.worker", str(unit)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )


def log_of(unit: Path) -> Path:
    """What the latest worker of a unit said."""
    return unit.with_suffix(".log")


def _end(unit: Path, code: int, failed: dict[Path, str], tell: Tell) -> None:
    if code == 0:
        tell(unit.stem, "finished")
        return
    failed[unit] = _reason(unit, code)
    tell(unit.stem, f"failed: {failed[unit]}")


def _reason(unit: Path, code: int) -> str:
    log = log_of(unit)
    if code < 0:
        return f"its process was ended by signal {-code}: the same command goes on from there; its log is {log}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if lines and lines[-1].startswith(PREFIX):
        return lines[-1].removeprefix(PREFIX)
    return f"its process ended with code {code}: {log} says why"


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    left = list(processes)
    for process in left:
        process.terminate()
    for process in left:
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
        process.wait()
