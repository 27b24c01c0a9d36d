"""The demo world on disk: drawn once into the cache folder, verified by hash, byte-equal everywhere.

A split lies in ``<root>/<split>/`` in the layout of the official sets::

    frames/<id>.png   audio/<id>.wav   masks/<id>.png   annotations.json   SHA256SUMS

``annotations.json`` is a list in the VGG-SS form, ``{"file", "class", "bbox": [[x0, y0, x1, y1], ...]}``, with two
more keys: ``sounding`` (false for negatives, whose ``bbox`` is empty) and ``objects``, all that is visible.
``SHA256SUMS`` lists the SHA-256 of every other file, sorted by path, in the form that ``sha256sum -c`` reads; the
hash of its own text is the split's ``sha256``.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from avbench.data.demo_files import frame_png, mask_png, wav
from avbench.data.demo_sound import RATE
from avbench.data.demo_world import DemoSplit, demo_splits, draw, read_split
from avbench.errors import AvbenchError

__all__ = ["demo_root", "demo_splits", "ensure_demo"]

VERSION = "demo-v1"
"""Name of the folder that holds the splits; another drawing gets another name."""

SUMS, ANNOTATIONS, STAMP = "SHA256SUMS", "annotations.json", "verified.json"
FOLDERS = ("audio", "frames", "masks")
PORTION = 20  # samples that a process draws before it reports

Progress = Callable[[int, int], None]


def demo_root() -> Path:
    """Where the demo world is kept: ``$AVBENCH_HOME/demo-v1``, or ``~/.cache/avbench/demo-v1``."""
    home = os.environ.get("AVBENCH_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "avbench") / VERSION


def ensure_demo(name: str, *, workers: int | None = None, progress: Progress | None = None) -> Path:
    """The folder of a split, drawn now if it is not there yet.

    A drawing that was interrupted goes on where it stopped; a second process that asks meanwhile waits. The whole
    content is compared with the split's hash after drawing, and again whenever the size or the time of a file has
    changed since.

    Args:
        name: one of :func:`demo_splits`.
        workers: number of drawing processes; by default one per processor that this process may use, and at most 1
            per 100 samples. A script that asks for more than one needs the usual ``if __name__ == "__main__":``.
        progress: called with the samples drawn so far and their total.

    Returns:
        The folder with ``frames``, ``audio``, ``masks`` and ``annotations.json``.

    Raises:
        UsageError: for an unknown name.
        AvbenchError: if the folder holds anything else than what the split's hash says, or cannot be written.
    """
    split, folder = read_split(name), demo_root() / name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if not folder.exists():
                _draw_split(split, folder, workers=workers, progress=progress)
            _verify(split, folder)
    except OSError as problem:
        raise AvbenchError(
            f"the split {name} cannot be kept in {folder} ({problem}): free space there or set AVBENCH_HOME"
        ) from problem
    return folder


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the split for this process; the system lets go of it when the process ends, however it ends."""
    with folder.with_name(f".{folder.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _draw_split(split: DemoSplit, folder: Path, *, workers: int | None, progress: Progress | None) -> None:
    part = folder.with_name(f".{folder.name}.part")
    for name in (*FOLDERS, "portions"):
        (part / name).mkdir(parents=True, exist_ok=True)
    done: list[dict[str, Any]] = []
    starts = range(0, split.n, PORTION)
    for portion in _portions(partial(draw_portion, split, part), starts, workers or _usable(split.n)):
        done.append(portion)
        if progress:
            progress(min(len(done) * PORTION, split.n), split.n)
    text = json.dumps([entry for portion in done for entry in portion["entries"]], indent=1)
    sums = {path: digest for portion in done for path, digest in portion["sums"].items()}
    sums[ANNOTATIONS] = _write(part / ANNOTATIONS, text.encode())
    _write(part / SUMS, "".join(f"{sums[path]}  {path}\n" for path in sorted(sums)).encode())
    shutil.rmtree(part / "portions")
    part.replace(folder)


def _usable(n: int) -> int:
    return max(1, min(len(os.sched_getaffinity(0)), n // 100))


def _portions(work: Callable[[int], dict[str, Any]], starts: range, workers: int) -> Iterator[dict[str, Any]]:
    if workers == 1:
        yield from map(work, starts)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, starts)


def draw_portion(split: DemoSplit, folder: Path, start: int) -> dict[str, Any]:
    """Draw the samples from ``start`` on and write their files; if that was done before and still holds, read it.

    Returns:
        ``entries``, a list for ``annotations.json``, and ``sums``, the SHA-256 of each file by its relative path.
    """
    record = folder / "portions" / f"{start:05d}.json"
    if record.exists():
        known: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        if all(_hash(folder / path) == digest for path, digest in known["sums"].items()):
            return known
    portion: dict[str, Any] = {"entries": [], "sums": {}}
    for number in range(start, min(start + PORTION, split.n)):
        drawn = draw(split, number)
        files = {
            f"frames/{drawn.id}.png": frame_png(drawn.frame),
            f"masks/{drawn.id}.png": mask_png(drawn.mask),
            f"audio/{drawn.id}.wav": wav(drawn.sound, RATE),
        }
        portion["entries"].append(drawn.entry)
        portion["sums"].update({path: _write(folder / path, data) for path, data in files.items()})
    _write(record, json.dumps(portion).encode())
    return portion


def _write(path: Path, data: bytes) -> str:
    """Write a file whole or not at all, and return its SHA-256."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)
    return hashlib.sha256(data).hexdigest()


def _hash(path: Path) -> str | None:
    """SHA-256 of a file, None where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _verify(split: DemoSplit, folder: Path) -> None:
    """Compare the folder with the split's hash, unless it is as it was when that was last done."""
    stamp, now = folder / STAMP, {"sha256": split.sha256, "files": _sizes_and_times(folder)}
    try:
        if json.loads(stamp.read_text(encoding="utf-8")) == now:
            return
    except (FileNotFoundError, ValueError):
        pass
    problem = _difference(split, folder)
    if problem:
        raise AvbenchError(f"the drawn split in {folder} {problem}: delete that folder, and it will be drawn again")
    _write(stamp, json.dumps(now).encode())


def _sizes_and_times(folder: Path) -> str:
    """A digest of the names, sizes and times of all files but the stamp."""
    lines = []
    for place in ("", *FOLDERS):
        with os.scandir(folder / place) as files:
            facts = [(f.name, f.stat()) for f in files if f.is_file() and f.name != STAMP]
        lines += [f"{place}/{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in facts]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _difference(split: DemoSplit, folder: Path) -> str | None:
    """What is wrong with the folder, None if nothing is."""
    text = (folder / SUMS).read_bytes() if (folder / SUMS).is_file() else b""
    digest = hashlib.sha256(text).hexdigest()
    if digest != split.sha256:
        return f"should have the content hash {split.sha256[:12]}, but {SUMS} has {digest[:12]}"
    for line in text.decode().splitlines():
        expected, path = line.split("  ", 1)
        if _hash(folder / path) != expected:
            return f"should hold {path} with the hash {expected[:12]}, but that file is missing or was changed"
    return None
