"""Drawing a split of the demo world in portions, in this process or in several; each portion is whole or absent.

As a module run by Python this is one drawing process, whose argument is a :class:`Job` as text.
Processes are started this way, not forked or spawned, so that a caller's own script needs no guard around its code.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from avbench.data.demo_files import frame_png, mask_png, wav
from avbench.data.demo_sound import RATE
from avbench.data.demo_world import DemoSplit, draw
from avbench.errors import AvbenchError

PORTION = 20
"""Samples drawn between two records of what is done."""

RECORDS = "portions"
"""Name of the folder of these records."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Job:
    """Which portions of a split to draw, by their first sample, and into which folder."""

    split: DemoSplit
    folder: Path
    starts: tuple[int, ...]

    @classmethod
    def whole(cls, split: DemoSplit, folder: Path) -> Job:
        """All portions of a split."""
        return cls(split, folder, tuple(range(0, split.n, PORTION)))

    def text(self) -> str:
        """The job as JSON."""
        return json.dumps({**asdict(self), "folder": str(self.folder)})

    @classmethod
    def read(cls, text: str) -> Job:
        """The job that :meth:`text` wrote."""
        raw = json.loads(text)
        return cls(DemoSplit(**raw["split"]), Path(raw["folder"]), tuple(raw["starts"]))


def draw_portions(job: Job, *, workers: int, progress: Progress | None = None) -> list[dict[str, Any]]:
    """What :func:`draw_portion` gives for each start of the job, in order, drawn by ``workers`` processes."""
    if workers > 1:
        _draw_in_processes(job, workers, progress)
    portions = []
    for start in job.starts:
        portions.append(draw_portion(job, start))
        if progress and workers == 1:
            progress(min(start + PORTION, job.split.n), job.split.n)
    return portions


def draw_portion(job: Job, start: int) -> dict[str, Any]:
    """Draw the samples from ``start`` on and write their files; if that was done before and still holds, read it.

    Returns:
        ``entries``, a list for ``annotations.json``, and ``sums``, the SHA-256 of each file by its relative path.
    """
    record = job.folder / RECORDS / f"{start:05d}.json"
    known = _known(job.folder, record)
    if known is not None:
        return known
    portion: dict[str, Any] = {"entries": [], "sums": {}}
    for number in range(start, min(start + PORTION, job.split.n)):
        drawn = draw(job.split, number)
        files = {
            f"frames/{drawn.image}.png": frame_png(drawn.frame),
            f"masks/{drawn.id}.png": mask_png(drawn.mask),
            f"audio/{drawn.id}.wav": wav(drawn.sound, RATE),
        }
        portion["entries"].append(drawn.entry)
        portion["sums"].update({path: write_whole(job.folder / path, data) for path, data in files.items()})
    write_whole(record, json.dumps(portion).encode())
    return portion


def write_whole(path: Path, data: bytes) -> str:
    """Write a file whole or not at all, and return its SHA-256."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)
    return hashlib.sha256(data).hexdigest()


def file_sum(path: Path) -> str | None:
    """SHA-256 of a file, None where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _known(folder: Path, record: Path) -> dict[str, Any] | None:
    """The portion that an earlier drawing recorded, None if there is none or its files are not as recorded."""
    if not record.exists():
        return None
    portion: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    intact = all(file_sum(folder / path) == digest for path, digest in portion["sums"].items())
    return portion if intact else None


def _draw_in_processes(job: Job, workers: int, progress: Progress | None) -> None:
    jobs = [Job(job.split, job.folder, job.starts[k::workers]) for k in range(workers)]
    running: list[subprocess.Popen[bytes]] = []
    try:
        running.extend(_start(part) for part in jobs)
        while any(process.poll() is None for process in running):
            time.sleep(0.05)
            if progress:
                progress(min(_recorded(job.folder) * PORTION, job.split.n), job.split.n)
    finally:
        for process in running:
            process.kill()
            process.wait()
    if any(process.returncode for process in running):
        raise AvbenchError(f"a process that drew {job.split.name} ended early: try again, or with one process")


def _start(job: Job) -> subprocess.Popen[bytes]:
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen([sys.executable, "-m", __name__, job.text()], env=settings)  # noqa: S603 (our own module)


def _recorded(folder: Path) -> int:
    return sum(1 for record in (folder / RECORDS).iterdir() if record.suffix == ".json")


def main() -> None:
    """Draw the job that the command line states."""
    draw_portions(Job.read(sys.argv[1]), workers=1)


if __name__ == "__main__":
    main()
