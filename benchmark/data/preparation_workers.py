"""Processes that may die: each does one job at a time, so that a death costs that job and no other."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class Died:
    """In place of a result: the process ended before it gave one, by exit code or, negative, by signal."""

    code: int

    def __str__(self) -> str:
        how = f"was killed by signal {-self.code}" if self.code < 0 else f"ended with exit code {self.code}"
        return f"the process that read it {how}: free memory, or look at the file"


def worked(task: Callable[[J], R], jobs: Sequence[J], workers: int) -> Generator[tuple[J, R | Died], None, None]:
    """Do ``jobs`` by ``workers`` processes, or in this one for 0; results come as they are ready.

    Leaving the iterator early ends the processes at once, in the middle of their jobs.
    """
    if workers:
        yield from _by_processes(task, jobs, workers)
    else:
        yield from ((job, task(job)) for job in jobs)


def _by_processes(task: Callable[[J], R], jobs: Sequence[J], workers: int) -> Generator[tuple[J, R | Died], None, None]:
    waiting = deque(jobs)
    busy: list[_Worker[J, R]] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                busy.append(_Worker(task, waiting.popleft()))
            for worker in _ready(busy):
                result = worker.result()
                yield worker.job, result
                _go_on(worker, busy, waiting, dead=isinstance(result, Died))
    finally:
        for worker in busy:
            worker.end()


def _ready(busy: Sequence[_Worker[J, R]]) -> list[_Worker[J, R]]:
    """Those that have sent something or died, once one has."""
    ready = wait([worker.pipe for worker in busy])
    return [worker for worker in busy if worker.pipe in ready]


def _go_on(worker: _Worker[J, R], busy: list[_Worker[J, R]], waiting: deque[J], *, dead: bool) -> None:
    if waiting and not dead:
        worker.give(waiting.popleft())
    else:
        busy.remove(worker)
        worker.end()


class _Worker(Generic[J, R]):
    """A process with the job that it is at."""

    def __init__(self, task: Callable[[J], R], job: J) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(task, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.give(job)

    def give(self, job: J) -> None:
        """Let it do a job."""
        self.job = job
        with suppress(OSError):  # it has died since: then its result says so
            self.pipe.send(job)

    def result(self) -> R | Died:
        """What it sent; to be called once it has sent something or died."""
        try:
            found: R = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return Died(self.process.exitcode or 0)
        return found

    def end(self) -> None:
        """End the process, whatever it is at."""
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def _serve(task: Callable[[J], R], pipe: Connection) -> None:
    """Do what comes through ``pipe`` until its other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the process that gives jobs ends us
    with suppress(EOFError, OSError):
        while True:
            pipe.send(task(pipe.recv()))
