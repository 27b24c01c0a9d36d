"""Packing a split: shards written in parallel, an index, and ``pack.json`` last, which makes a pack of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avbench.data.batches import Failure, in_workers
from avbench.data.coverage import covered
from avbench.data.layouts import MediaIndex
from avbench.data.pack_manifest import INDEX, MANIFEST, PackFile, PackManifest
from avbench.data.packing_shard import PackOptions, Row, ShardJob, ShardRecord, pack_shard
from avbench.data.packs import COLUMNS, UNSAFE, open_pack
from avbench.data.shards import file_sha256, shard_name
from avbench.data.splits import Split
from avbench.errors import AvbenchError, UsageError
from avbench.store import hash_json, write_atomic

OURS = re.compile(r"pack\.json|index\.parquet|masks|Annotations|shard-\d{6}\.(tar|json)|\..*\.tmp", re.ASCII)
"""What an unfinished pack may hold."""


@dataclass(frozen=True)
class PackRequest:
    """How a split is packed.

    Attributes:
        options: what the members hold.
        shard_size: samples in a shard.
        workers: processes; 0 packs in the caller's.
        allow_missing: leave out what is missing or cannot be decoded, and record it.
        avbench: version that packs.
    """

    options: PackOptions = field(default_factory=PackOptions)
    shard_size: int = 512
    workers: int = 0
    allow_missing: bool = False
    avbench: str = ""


@dataclass(frozen=True)
class PackResult:
    """A finished pack, and how many of its shards had been finished before."""

    manifest: PackManifest
    kept: int


class BrokenSamplesError(AvbenchError):
    """Samples that cannot be packed, each with its id and the reason."""

    def __init__(self, split: Split, broken: list[tuple[str, str]]) -> None:
        super().__init__(
            f"{len(broken)} of {split.n} samples of {split.name} cannot be decoded, {broken[0][0]} the first "
            f"({broken[0][1]}): mend them and pack again, which keeps the finished shards, or pass --allow-missing"
        )
        self.broken = broken


def pack_split(
    split: Split,
    out: Path,
    *,
    request: PackRequest,
    media: MediaIndex | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> PackResult:
    """Pack the pictures and sounds of ``split`` into the folder ``out``.

    The bytes depend on the samples and on ``request.options`` and ``request.shard_size`` alone. Shards that an
    interrupted run finished are kept where their bytes are still those that it noted.

    Args:
        split: loaded with media.
        out: a folder that is not there yet, is empty, or holds an unfinished pack.
        request: how.
        media: index in which annotations by sample are looked up, to be copied beside the shards with the masks.
        advance: called with the number of samples done since the last call.

    Raises:
        UsageError: for a split without media or with names that are no plain file names, one that is packed already,
            or a folder that holds something else.
        BrokenSamplesError: naming every sample that cannot be decoded, after all that can were packed.
        AvbenchError: where media are missing, or the disk refuses.
    """
    _check_names(split)
    covered(split, ("image", "audio"), allow_missing=request.allow_missing)
    jobs = _jobs(split, out, request)
    if (out / MANIFEST).exists():
        return _already(out, jobs)
    _prepare(out, jobs)
    records = list(_records(jobs, workers=request.workers, advance=advance))
    broken = [item for record in records for item in record.left_out]
    if broken and not request.allow_missing:
        raise BrokenSamplesError(split, broken)
    index = _write_index(out, records)
    manifest = _manifest(split, request, records, index=index, beside=_beside(split, out, media))
    manifest.write(out)
    open_pack(out)
    for job in jobs:
        job.sidecar.unlink()
    return PackResult(manifest, kept=sum(record.kept for record in records))


def _check_names(split: Split) -> None:
    for sample in split.samples:
        for name in sample.names:
            if name is not None and re.search(UNSAFE, name):
                raise UsageError(
                    f"{sample.id} has media called {name!r}, which is no plain file name: give its media names "
                    "without folders to pack them"
                )


def _jobs(split: Split, out: Path, request: PackRequest) -> list[ShardJob]:
    step = request.shard_size
    return [
        ShardJob(
            path=out / shard_name(number),
            number=number,
            first=first,
            samples=split.samples[first : first + step],
            options=request.options,
            allow_broken=request.allow_missing,
        )
        for number, first in enumerate(range(0, len(split.samples), step))
    ]


def _already(out: Path, jobs: list[ShardJob]) -> PackResult:
    manifest = open_pack(out).manifest
    if manifest.plan != _plan(job.plan() for job in jobs):
        raise UsageError(
            f"{out} holds a finished pack of {manifest.split} for {manifest.purpose}, made from other samples, media "
            "or options: name another folder, or remove that one"
        )
    return PackResult(manifest, kept=len(manifest.shards))


def _prepare(out: Path, jobs: list[ShardJob]) -> None:
    """Make the folder, or clear it of what an interrupted run left unfinished."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        found = sorted(out.iterdir())
    except OSError as problem:
        raise UsageError(f"{out} cannot be a folder ({problem.strerror}): name another") from problem
    for place in found:
        if not OURS.fullmatch(place.name):
            raise UsageError(f"{out} holds {place.name}: name a folder that is new, empty, or an unfinished pack")
    wanted = {place for job in jobs for place in (job.path, job.sidecar)}
    for place in found:
        if place.is_file() and place not in wanted:
            place.unlink()


def _records(jobs: list[ShardJob], *, workers: int, advance: Callable[[int], None]) -> Iterator[ShardRecord]:
    batches = [[number] for number in range(len(jobs))]
    with closing(in_workers(_Shards(jobs), batches, workers=workers, gather=list)) as items:
        for job, item in zip(jobs, items, strict=True):
            if isinstance(item, Failure):
                raise item
            advance(len(job.samples))
            yield item


class _Shards:
    """Shards by number, as worker processes make them."""

    def __init__(self, jobs: list[ShardJob]) -> None:
        self.jobs = jobs

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, number: int) -> ShardRecord | Failure:
        try:
            return pack_shard(self.jobs[number])
        except AvbenchError as problem:
            return problem


def _plan(shards: Iterator[str]) -> str:
    return hash_json(list(shards))


def _write_index(out: Path, records: list[ShardRecord]) -> PackFile:
    """The first place of each picture and sound, in the order of the samples."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: dict[tuple[str, str], Row] = {}
    for row in (row for record in records for row in record.rows):
        rows.setdefault((row.kind, row.name), row)
    columns = [[getattr(row, key) for row in rows.values()] for key in COLUMNS]
    schema = pa.schema([(key, getattr(pa, kind)()) for key, kind in COLUMNS.items()])
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=schema), buffer, compression="zstd")
    write_atomic(out / INDEX, buffer.getvalue().to_pybytes())
    return _file(out, INDEX)


def _beside(split: Split, out: Path, media: MediaIndex | None) -> tuple[PackFile, ...]:
    """Copy masks and annotations as they are, under the names by which they are looked up."""
    copies: dict[str, Path] = {}
    for sample in split.samples:
        if sample.mask is not None:
            copies[f"masks/{sample.names.mask}{sample.mask.suffix}"] = sample.mask
        for name in (sample.id, sample.names.image):
            found = None if media is None else media.annotation(name)
            if found is not None:
                copies[f"Annotations/{name}{found.suffix}"] = found
    for name, place in copies.items():
        _copy(place, out / name)
    return tuple(_file(out, name) for name in sorted(copies))


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(source.read_bytes())
    except OSError as problem:
        raise AvbenchError(f"{source} cannot be copied to {target} ({problem.strerror}): free space") from problem


def _file(out: Path, name: str) -> PackFile:
    return PackFile(name, (out / name).stat().st_size, file_sha256(out / name))


def _manifest(
    split: Split, request: PackRequest, records: list[ShardRecord], *, index: PackFile, beside: tuple[PackFile, ...]
) -> PackManifest:
    options = request.options
    training: dict[str, Any] = {"audio": options.audio, "jpeg_quality": options.jpeg_quality}
    return PackManifest(
        purpose=options.purpose,
        split=split.name,
        split_sha256=split.sha256,
        split_n=split.n,
        samples=sum(record.samples for record in records),
        audio_rate=options.audio_rate,
        shards=tuple(PackFile(record.name, record.size, record.sha256) for record in records),
        index=index,
        beside=beside,
        left_out=tuple(item for record in records for item in record.left_out),
        plan=_plan(record.plan for record in records),
        avbench=request.avbench,
        **(training if options.purpose == "training" else {"audio": "exact", "jpeg_quality": None}),
    )
