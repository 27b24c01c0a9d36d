"""Units as jobs of SLURM, through submitit, or through its stand-in on one machine. ``pip install avbench[slurm]``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avbench.errors import UsageError
from avbench.sweeping.plan import Tell
from avbench.sweeping.worker import attempt

SHARED = ("cpus_per_task", "gpus_per_node", "mem_gb", "name", "nodes", "tasks_per_node", "timeout_min")
"""Parameters that submitit has for every kind of cluster; the others are SLURM's own."""
DEFAULTS = {"name": "avbench", "timeout_min": 1440}
RETRIES = 3
"""Times that a unit is submitted again, to go on from its last state, when its job dies without a word."""
LOCAL = "local"
POLL = {LOCAL: 0.2, "slurm": 10.0}
"""Seconds between looks at the jobs."""

Job = Any
"""submitit's, which tells no types of what is pickled."""


class SlurmUnit:
    """The call that is pickled: the path of a unit's file alone, so that what is queued again reads it anew."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self) -> str | None:
        """As :func:`avbench.sweeping.worker.attempt`."""
        return attempt(self.path)

    def checkpoint(self) -> Any:
        """What submitit queues when SLURM takes the machine away or the time is up: the same unit."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(SlurmUnit(self.path))


@dataclass(frozen=True)
class OnSlurm:
    """Units as jobs; their folders must be at the same place on all machines."""

    jobs: int
    """At a time."""
    folder: Path
    """Of submitit's own files."""
    parameters: dict[str, str | int | float] = field(default_factory=dict)
    """``cluster = "local"`` for the stand-in; else what ``sbatch`` has, such as ``partition``, and :data:`SHARED`."""

    def __call__(self, units: Sequence[Path], tell: Tell) -> dict[Path, str]:
        """Bring ``units`` to their records; see :data:`avbench.sweeping.plan.Launch`.

        However this ends, no job is left in the queue.

        Raises:
            UsageError: where submitit or SLURM are not there, or for a parameter that they do not know.
        """
        executor, kind = self._executor()
        waiting, running = list(units), dict[Path, Job]()
        begun, failed = dict.fromkeys(units, 0), dict[Path, str]()
        try:
            while waiting or running:
                count = min(len(waiting), self.jobs - len(running))
                for unit, job in _submitted(executor, [waiting.pop(0) for _ in range(count)]):
                    begun[unit], running[unit] = begun[unit] + 1, job
                    tell(unit.stem, f"submitted as job {job.job_id}")
                for unit in [unit for unit, job in running.items() if job.done()]:
                    again = _end(unit, running.pop(unit), begun[unit], failed, tell)
                    waiting += [unit] if again else []
                time.sleep(POLL[kind])
        finally:
            for job in running.values():
                job.cancel()
        return failed

    def _executor(self) -> tuple[Any, str]:
        try:
            import submitit
        except ImportError:
            raise UsageError(
                "the launcher slurm needs submitit, which is not installed: pip install avbench[slurm]"
            ) from None
        given = dict(self.parameters)
        kind = str(given.pop("cluster", "slurm"))
        if kind not in POLL:
            raise UsageError(f"expected --slurm cluster={' or cluster='.join(sorted(POLL))}, got {kind!r}")
        if kind == "slurm" and shutil.which("sbatch") is None:
            raise UsageError(
                "there is no SLURM here, since sbatch is not found: use --slurm cluster=local, or another --launcher"
            )
        executor = submitit.AutoExecutor(folder=self.folder, cluster=kind)
        named = {key if key in SHARED else f"slurm_{key}": value for key, value in {**DEFAULTS, **given}.items()}
        try:
            executor.update_parameters(**named)
        except (NameError, AssertionError, ValueError) as problem:
            raise UsageError(f"a parameter of --slurm is not understood ({' '.join(str(problem).split())})") from None
        return executor, kind


def _submitted(executor: Any, units: Sequence[Path]) -> list[tuple[Path, Job]]:
    """Jobs of ``units``, as one array."""
    if not units:
        return []
    with executor.batch():
        jobs = [executor.submit(SlurmUnit(str(unit))) for unit in units]
    return list(zip(units, jobs, strict=True))


def _end(unit: Path, job: Job, begun: int, failed: dict[Path, str], tell: Tell) -> bool:
    """Say what came of a job; whether it is to be submitted again."""
    import submitit

    try:
        reason: str | None = job.result()
    except submitit.core.utils.FailedJobError as problem:
        reason = f"its worker raised {str(problem).strip().splitlines()[-1]}; its log is {job.paths.stderr}"
    except submitit.core.utils.UncompletedJobError:
        if begun <= RETRIES:
            tell(unit.stem, f"job {job.job_id} died and is submitted again, its log is {job.paths.stderr}")
            return True
        reason = f"its job died {begun} times: {job.paths.stderr} may say why"
    tell(unit.stem, "finished" if reason is None else f"failed: {reason}")
    if reason is not None:
        failed[unit] = reason
    return False
