"""Making pictures and sounds from videos: which, by what names, what is done already, and what became of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from avbench.data.layouts import VIDEO_SUFFIXES
from avbench.data.names import vggsound_key, wanted_key
from avbench.data.preparation_clip import DECODER, STAMP, Job, Making, Outcome, prepare_clip, source_stamp
from avbench.data.preparation_manifest import Manifest, Record
from avbench.data.preparation_workers import Died, worked
from avbench.errors import AvbenchError, UsageError

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""``with progress(title, total) as advance`` shows a bar; ``advance(n)`` moves it by ``n``."""

LONGEST = 200
"""Bytes of a name; a file's name has at most 255, with a suffix and, while it is written, a number."""

LEFTOVER = re.compile(r"\..+\.\d+\.tmp")
FOLDERS = ("frames", "audio")


@dataclass
class Report:
    """What became of the videos.

    Attributes:
        made: samples whose files were made, with what is worth noting of each.
        kept: samples whose files were there already.
        broken: reason by video, relative to the folder of videos, of those that cannot be read.
        refused: reason by video of those that were not touched: by their name, or since a file is in the way.
        unwanted: how many videos no sample of the split asks for.
        missing: samples of the split without a video.
    """

    made: dict[str, list[str]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unwanted: int = 0
    missing: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every video, and every sample of the split, has its files."""
        return not (self.broken or self.refused or self.missing)


def prepare_videos(
    videos: Path,
    root: Path,
    making: Making,
    *,
    wanted: Collection[str] | None = None,
    workers: int = 0,
    progress: Progress,
) -> Report:
    """Make ``root/frames/<name>.jpg`` and ``root/audio/<name>.wav`` of every video below a folder.

    A sample is done when the manifest has it from a video of the same size and time with the same settings, and its
    files are there in the size noted; it is left alone then. So is a video found broken by this decoder.

    Args:
        videos: folder that is searched, with all below.
        root: folder to write into; two runs at once in one folder are the caller's to prevent.
        making: which frame, which rate, which form.
        wanted: names of the samples that are asked for; None for every video.
        workers: processes; 0 works in this one.
        progress: shows how far it is.

    Raises:
        UsageError: if there is no folder, or no video in it.
        AvbenchError: if the disk refuses, or the manifest cannot be read.
    """
    report = Report()
    named = _named(videos, None if wanted is None else set(wanted), report)
    jobs = [Job(name, paths[0], root, making, str(paths[0].relative_to(videos)))
            for name, paths in named.items() if len(paths) == 1]  # fmt: skip
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    with _swept(root):
        manifest = Manifest(root)
        _make(_unsettled(jobs, manifest, report), manifest, report, workers=workers, progress=progress)
        manifest.sort()
    there = {name for name, record in manifest.records.items() if _files_there(root, record)}
    return replace(
        report,
        made=dict(sorted(report.made.items())),
        kept=sorted(report.kept),
        broken=dict(sorted(report.broken.items())),
        missing=sorted(set(wanted or ()) - set(named) - there),
    )


def safe_name(name: str) -> bool:
    """Whether a sample can be called so: a plain file name of at most :data:`LONGEST` bytes that can be printed."""
    try:
        short = len(name.encode()) <= LONGEST
    except UnicodeEncodeError:
        return False
    return short and name.isprintable() and not name.startswith(".") and not set(name) & set("/\\")


def _named(videos: Path, wanted: set[str] | None, report: Report) -> dict[str, list[Path]]:
    """The videos by the sample that each is of; refused ones and those that nobody asks for go into the report."""
    by_key = {wanted_key(name): name for name in wanted or ()}
    named: defaultdict[str, list[Path]] = defaultdict(list)
    for path in _found(videos):
        name = _sample_name(path.name.removesuffix(path.suffix), wanted, by_key)
        if name is None:
            report.unwanted += 1
        elif not safe_name(name):
            report.refused[_printable(path, videos)] = "its name cannot be that of a sample: rename it"
        else:
            named[name].append(path)
    for name, paths in named.items():
        for path in paths if len(paths) > 1 else ():
            report.refused[_printable(path, videos)] = f"{len(paths)} videos are of the sample {name}: keep one of them"
    return dict(named)


def _found(videos: Path) -> list[Path]:
    if not videos.is_dir():
        raise UsageError(f"expected a folder of videos at {videos}, found none: check --src")
    found = sorted(p for p in videos.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
    if not found:
        raise UsageError(
            f"there is no video in {videos} or below: expected files that end in {', '.join(VIDEO_SUFFIXES)}"
        )
    return found


def _sample_name(stem: str, wanted: set[str] | None, by_key: dict[str | None, str]) -> str | None:
    """The name of the sample that a video is of, in VGGSound's own style where it is written in a clear other one."""
    if wanted is None:
        return wanted_key(stem) or stem
    key = vggsound_key(stem)
    return stem if stem in wanted else by_key.get(key) if key else None


def _printable(path: Path, videos: Path) -> str:
    return "".join(c if c.isprintable() else "?" for c in str(path.relative_to(videos)))


@contextmanager
def _swept(root: Path) -> Iterator[None]:
    """Remove what killed processes left half-written, before and after."""
    _sweep(root)
    try:
        yield
    finally:
        _sweep(root)


def _sweep(root: Path) -> None:
    for folder in (root, *(root / name for name in FOLDERS)):
        for path in folder.glob(".*.tmp"):
            if LEFTOVER.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _unsettled(jobs: Iterable[Job], manifest: Manifest, report: Report) -> list[Job]:
    """The jobs that are to be done; the others go into the report."""
    left = []
    for job in jobs:
        record = manifest.records.get(job.name, {})
        same = source_stamp(job) == {key: record.get(key) for key in STAMP}
        if same and "error" in record and record.get("decoder") == DECODER:
            report.broken[job.shown] = str(record["error"])
        elif same and _files_there(job.root, record):
            report.kept.append(job.name)
        else:
            left.append(replace(job, owned=_owned(job.name, record)))
    return left


def _owned(name: str, record: Record) -> tuple[str, ...]:
    """What an earlier run made for this sample; a manifest that names anything else is not believed."""
    ours = (f"frames/{name}.jpg", f"frames/{name}.png", f"audio/{name}.wav")
    return tuple(place for place in ours if place in {file["path"] for file in record.get("files", ())})


def _files_there(root: Path, record: Record) -> bool:
    files = record.get("files", ())
    return bool(files) and all((p := root / f["path"]).is_file() and p.stat().st_size == f["bytes"] for f in files)


def _make(jobs: list[Job], manifest: Manifest, report: Report, *, workers: int, progress: Progress) -> None:
    if not jobs:
        return
    with progress("preparing", len(jobs)) as advance, closing(worked(prepare_clip, jobs, workers)) as results:
        for job, result in results:
            outcome = Outcome("died", reason=str(result)) if isinstance(result, Died) else result
            _note(job, outcome, manifest, report)
            advance(1)


def _note(job: Job, outcome: Outcome, manifest: Manifest, report: Report) -> None:
    if outcome.kind == "stop":
        raise AvbenchError(outcome.reason)
    if outcome.record:
        manifest.add(outcome.record)
    if outcome.kind == "made":
        report.made[job.name] = outcome.record["notes"]
    elif outcome.kind == "refused":
        report.refused[job.shown] = outcome.reason
    else:
        report.broken[job.shown] = outcome.reason
