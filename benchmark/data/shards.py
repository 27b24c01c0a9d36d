"""Uncompressed tar shards in WebDataset naming: written with the same bytes everywhere, read back with suspicion.

The members of a sample stand together and are called ``<key>.<what>``, the key being the zero-padded number of the
sample in its split. Names from outside stand inside the members alone, never in the names of members.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from avbench.errors import AvbenchError

SHARD = re.compile(r"shard-\d{6}\.tar", re.ASCII)
"""What a shard is called."""

MEMBER = re.compile(r"\d{9}\.(json|(image|(audio|mixed)(\.channels)?)\.(npy|jpg|flac))", re.ASCII)
"""What a part of a shard is called."""

CHUNK = 2**22
"""Bytes that are hashed at a time."""


@dataclass(frozen=True)
class Member:
    """A file in a shard: its name, and where its content stands."""

    name: str
    offset: int
    size: int


def shard_name(number: int) -> str:
    """``shard-000000.tar`` for 0."""
    return f"shard-{number:06d}.tar"


class ShardWriter:
    """Writes a shard so that it is whole or absent: temporary name, fsync, rename.

    As a context manager it leaves nothing behind where its body fails.

    Raises:
        AvbenchError: if the disk refuses (full, read-only).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._file: BinaryIO
        self._digest = hashlib.sha256()
        self.size = 0
        self.abandoned = False

    def __enter__(self) -> ShardWriter:
        try:
            self._file = self._temporary.open("wb")
        except OSError as problem:
            raise self._refused(problem) from problem
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> None:
        try:
            if kind is None and not self.abandoned:
                self._finish()
        except OSError as refusal:
            raise self._refused(refusal) from refusal
        finally:
            with suppress(OSError):
                self._file.close()
            self._temporary.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """Of all that was written so far."""
        return self._digest.hexdigest()

    def abandon(self) -> None:
        """Leave no file behind in the end."""
        self.abandoned = True

    def add(self, name: str, content: bytes) -> int:
        """Append a member; the offset at which its content stands."""
        header = tarfile.TarInfo(name)  # no owner, no time: the same bytes whoever writes them, and when
        header.size, header.mode = len(content), 0o644
        self._write(header.tobuf(tarfile.USTAR_FORMAT))
        offset = self.size
        self._write(content)
        self._write(bytes(-self.size % tarfile.BLOCKSIZE))
        return offset

    def _write(self, content: bytes) -> None:
        try:
            self._file.write(content)
        except OSError as problem:
            raise self._refused(problem) from problem
        self._digest.update(content)
        self.size += len(content)

    def _finish(self) -> None:
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._temporary.replace(self.path)

    def _refused(self, problem: OSError) -> AvbenchError:
        return AvbenchError(
            f"{self.path} cannot be written ({problem.strerror}): free space or name another folder, and pack again; "
            "the shards that are finished will be kept"
        )


def members(path: Path) -> Iterator[Member]:
    """The members of a shard in order, the names checked and nothing unpacked.

    Raises:
        AvbenchError: for a file that is no uncompressed tar or is cut off, a member that is no plain file (a link, a
            folder, a device), or a name that is none of ours, such as an absolute one or one with ``..`` in it.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                yield _member(path, entry)
    except (tarfile.TarError, OSError, ValueError, OverflowError, EOFError) as problem:
        raise AvbenchError(f"{path} is no uncompressed tar or is cut off ({problem}): pack again") from problem


def file_sha256(path: Path) -> str:
    """SHA-256 of a file that may be large.

    Raises:
        AvbenchError: if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as problem:
        raise AvbenchError(f"expected a file at {path}: {problem.strerror}, pack again") from problem
    return digest.hexdigest()


def _member(path: Path, entry: tarfile.TarInfo) -> Member:
    if entry.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or entry.pax_headers:
        raise AvbenchError(f"{path} holds {entry.name!r}, which is no plain file: it is not of our making, pack again")
    if not MEMBER.fullmatch(entry.name):
        raise AvbenchError(
            f"{path} holds a member called {entry.name!r}: expected names like 000000000.json alone, it is not of our "
            "making, pack again"
        )
    return Member(entry.name, entry.offset_data, entry.size)
