"""The demo world on disk: drawn once into the cache folder, verified by hash, byte-equal everywhere.

A split lies in ``<root>/<split>/`` in the layout of the official sets::

    frames/<image>.png   audio/<id>.wav   masks/<id>.png   annotations.json   SHA256SUMS

``annotations.json`` is a list in the VGG-SS form, ``{"file", "class", "bbox": [[x0, y0, x1, y1], ...]}``, with more
keys: ``sounding`` (false for negatives, whose ``bbox`` is empty), ``objects``, all that is visible, and ``image``, the
name of the frame where several samples share it. A box is the extent of the visible pixels. The masks hold one bit a
pixel. ``SHA256SUMS`` lists the SHA-256 of every other file, sorted by path, in the form that ``sha256sum -c`` reads;
the hash of its own text is the split's ``sha256``.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avbench.data.demo_portions import RECORDS, Job, Progress, draw_portions, file_sum, write_whole
from avbench.data.demo_world import DemoSplit, demo_splits, read_split
from avbench.errors import AvbenchError

__all__ = ["demo_root", "demo_splits", "ensure_demo"]

VERSION = "demo-v1"
"""Name of the folder that holds the splits; another drawing gets another name."""

SUMS, ANNOTATIONS, STAMP = "SHA256SUMS", "annotations.json", "verified.json"
FOLDERS = ("audio", "frames", "masks")


def demo_root() -> Path:
    """Where the demo world is kept: ``$AVBENCH_HOME/demo-v1``, or ``~/.cache/avbench/demo-v1``."""
    home = os.environ.get("AVBENCH_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "avbench") / VERSION


def ensure_demo(name: str, *, workers: int | None = None, progress: Progress | None = None) -> Path:
    """The folder of a split, drawn now if it is not there yet.

    A drawing that was interrupted goes on where it stopped; a second process that asks meanwhile waits. All files
    are compared with the split's hash after drawing, and again whenever the name, size or time of one has changed.

    Args:
        name: one of :func:`demo_splits`.
        workers: number of drawing processes, at least 1; by default one per processor that this process may use,
            and at most one per 100 samples.
        progress: called with the number of samples drawn so far and their total.

    Returns:
        The folder with ``frames``, ``audio``, ``masks`` and ``annotations.json``.

    Raises:
        UsageError: for an unknown name.
        AvbenchError: if the folder holds anything else than what the split's hash says, or cannot be written.
    """
    split = read_split(name)
    return ensure_split(split, workers=workers or _processors(split.n), progress=progress)


def ensure_split(split: DemoSplit, *, workers: int, progress: Progress | None = None) -> Path:
    """:func:`ensure_demo` for a definition at hand."""
    folder = demo_root() / split.name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if not folder.exists():
                _draw(split, folder, workers=workers, progress=progress)
            _verify(split, folder)
    except OSError as problem:
        raise AvbenchError(
            f"the split {split.name} cannot be kept in {folder} ({problem}): free space there or set AVBENCH_HOME"
        ) from problem
    return folder


def content_sha256(folder: Path) -> str:
    """The hash of what ``SHA256SUMS`` in ``folder`` says; of nothing, if it is not there."""
    sums = folder / SUMS
    return hashlib.sha256(sums.read_bytes() if sums.is_file() else b"").hexdigest()


def _processors(n: int) -> int:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable, n // 100))


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the split for this process; the system lets go of it when the process ends, however it ends."""
    with folder.with_name(f".{folder.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _draw(split: DemoSplit, folder: Path, *, workers: int, progress: Progress | None) -> None:
    part = folder.with_name(f".{folder.name}-{split.sha256[:12]}.part")  # another drawing's remains are not continued
    for name in (*FOLDERS, RECORDS):
        (part / name).mkdir(parents=True, exist_ok=True)
    portions = draw_portions(Job.whole(split, part), workers=workers, progress=progress)
    entries = [entry for portion in portions for entry in portion["entries"]]
    sums = {path: digest for portion in portions for path, digest in portion["sums"].items()}
    sums[ANNOTATIONS] = write_whole(part / ANNOTATIONS, json.dumps(entries, indent=1).encode())
    write_whole(part / SUMS, "".join(f"{sums[path]}  {path}\n" for path in sorted(sums)).encode())
    came = content_sha256(part)
    if came != split.sha256:
        raise AvbenchError(
            f"the split {split.name} should have the hash {split.sha256[:12]}, but this machine drew {came[:12]} into "
            f"{part}: delete that folder and try again; if it stays so, report it with the versions of Python and NumPy"
        )
    shutil.rmtree(part / RECORDS)
    part.replace(folder)


def _verify(split: DemoSplit, folder: Path) -> None:
    """Compare the folder with the split's hash, unless it is as it was when that was last done."""
    stamp, now = folder / STAMP, {"sha256": split.sha256, "facts": _facts(folder)}
    try:
        if json.loads(stamp.read_text(encoding="utf-8")) == now:
            return
    except (FileNotFoundError, ValueError):
        pass  # never verified, or the stamp was damaged
    problem = _difference(split, folder)
    if problem:
        raise AvbenchError(f"the drawn split in {folder} {problem}: delete that folder, and it will be drawn again")
    write_whole(stamp, json.dumps(now).encode())


def _facts(folder: Path) -> str:
    """A digest of the names, sizes and times of all files but the stamp."""
    lines = []
    for place in ("", *FOLDERS):
        if not (folder / place).is_dir():
            continue
        with os.scandir(folder / place) as files:
            facts = [(file.name, file.stat()) for file in files if file.is_file() and file.name != STAMP]
        lines += [f"{place}/{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in facts]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _difference(split: DemoSplit, folder: Path) -> str | None:
    """What is wrong with the folder, None if nothing is."""
    digest = content_sha256(folder)
    if digest != split.sha256:
        return f"should have a {SUMS} with the hash {split.sha256[:12]}, got {digest[:12]}"
    for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
        expected, path = line.split("  ", 1)
        if file_sum(folder / path) != expected:
            return f"should hold {path} with the hash {expected[:12]}, but that file is missing or was changed"
    return None
