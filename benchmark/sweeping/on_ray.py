"""Units as tasks of Ray, on a cluster or on one that is started here. ``pip install avbench[ray]``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.errors import AvbenchError, UsageError
from avbench.sweeping.plan import Tell
from avbench.sweeping.worker import attempt

RETRIES = 3
"""Times that a unit is begun again, from its last state, when its worker or its machine dies."""
MEMORY = 80_000_000
"""Bytes of the object store of a cluster that is started here: units hand over nothing but sentences."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_raylet_start_wait_time_s": "120",
}
"""Of Ray, read when it is imported: nothing is reported to its makers, and a busy machine has time to start it."""


@dataclass(frozen=True)
class OnRay:
    """Units as tasks; their folders must be at the same place on all machines."""

    jobs: int
    """At a time, on a cluster that is started here."""
    address: str | None = None
    """Of a running cluster."""
    cpus: float = 1
    """That a unit takes."""
    gpus: float = 0

    def __call__(self, units: Sequence[Path], tell: Tell) -> dict[Path, str]:
        """Bring ``units`` to their records; see :data:`avbench.sweeping.plan.Launch`.

        Raises:
            UsageError: where Ray is not installed.
            AvbenchError: where its cluster cannot be reached.
        """
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError:
            raise UsageError("the launcher ray needs Ray, which is not installed: pip install avbench[ray]") from None
        failed: dict[Path, str] = {}
        with redirect_stdout(sys.stderr), self._cluster(ray):  # where Ray tells of workers that died
            task = ray.remote(attempt).options(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=RETRIES)
            running = {task.remote(str(unit)): unit for unit in units}
            for unit in units:
                tell(unit.stem, "handed to Ray")
            while running:
                (done,), _ = ray.wait(list(running), num_returns=1)
                unit = running.pop(done)
                reason = _outcome(ray, done)
                tell(unit.stem, "finished" if reason is None else f"failed: {reason}")
                if reason is not None:
                    failed[unit] = reason
        return failed

    @contextmanager
    def _cluster(self, ray: Any) -> Iterator[None]:
        """A connection to the cluster, or one of our own; ended in the end, unless there was one before."""
        if ray.is_initialized():
            yield
            return
        own = {"num_cpus": max(1, round(self.jobs * self.cpus)), "object_store_memory": MEMORY}
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if self.address is None:
                ray.init(**own, **quiet)
            else:
                ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as problem:  # a cluster that does not start in time raises no narrower one
            place = "here" if self.address is None else f"at {self.address}"
            why = f"which cannot be had ({_told(problem)}): start one"
            raise AvbenchError(f"expected a Ray cluster {place}, {why}") from None
        try:
            yield
        finally:
            ray.shutdown()


def _outcome(ray: Any, done: Any) -> str | None:
    try:
        reason: str | None = ray.get(done)
    except ray.exceptions.RayTaskError as problem:
        return f"its worker raised {_told(problem.cause)}"
    except ray.exceptions.RayError as problem:
        return f"its worker died {RETRIES + 1} times ({str(problem).splitlines()[0]}): run the same command again"
    return reason


def _told(problem: BaseException) -> str:
    """An error of other people's code on one line."""
    return " ".join(str(problem).split())
