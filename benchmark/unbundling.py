"""Opening a bundle that a stranger made: nothing in it is believed, and nothing is left behind. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from avbench.bundles import AGAIN, LAYOUT, MANIFEST, Item, Manifest, manifest_of
from avbench.errors import AvbenchError, UsageError

LIMIT = 2048
"""MB that a bundle may unpack to, unless told otherwise."""

MOST_FILES = 20_000
TEXT = 16
"""MB that a file of JSON may have."""

MB = 1_000_000
CHUNK = 1 << 20
ENCRYPTED = 0x1
TAIL = 22 + (1 << 16)
"""Bytes at the end of a zip in which its directory's record stands: the record and the longest comment."""

RECORD, LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
DIRECTORY = 64
"""MB that the directory of a zip may have."""

DAMAGED = (BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError, struct.error, zlib.error)
"""What zipfile raises for files that are not as they should be."""


@dataclass(frozen=True)
class Opened:
    """A bundle on disk, each member of the size and hash that the manifest says.

    Attributes:
        folder: laid out as a runs folder.
        name: of the bundle's file.
    """

    folder: Path
    name: str
    manifest: Manifest


@dataclass
class _Budget:
    """Bytes that may still be read, whatever the headers say."""

    bundle: str
    limit: int
    left: int

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise AvbenchError(
                f"{self.bundle} unpacks to more than the {self.limit} MB that are allowed: hand in fewer methods a "
                "bundle, or raise --limit"
            )


@contextmanager
def opened(bundle: Path, *, limit: int = LIMIT) -> Iterator[Opened]:
    """Unpack a bundle into a folder that is gone afterwards.

    Args:
        bundle: the zip.
        limit: MB that it may unpack to, counted as they are read.

    Raises:
        UsageError: if it is not there.
        AvbenchError: for what is no zip or damaged, members that are no plain files in the layout of a bundle, are
            named twice or encrypted, too many files or bytes, a manifest of another form, files that it does not list
            or that are missing, and a wrong size or hash.
    """
    if not bundle.is_file():
        raise UsageError(f"expected a bundle at {bundle}, found none: name the file that avbench submit wrote")
    with TemporaryDirectory(prefix="avbench-bundle-", ignore_cleanup_errors=True) as place:
        folder = Path(place) / "bundle"
        yield Opened(folder, bundle.name, _unpack(bundle, folder, limit))


def _unpack(bundle: Path, folder: Path, limit: int) -> Manifest:
    budget = _Budget(bundle.name, limit, limit * MB)
    try:
        with bundle.open("rb") as file:
            _check_directory(file, bundle.name)
        with ZipFile(bundle) as archive:
            members = _members(archive.infolist(), bundle.name)
            manifest = manifest_of(_manifest(archive, members, bundle.name), bundle.name)
            _require_listed(set(members) - {MANIFEST}, manifest, bundle.name)
            for name, item in manifest.files.items():
                _extract(archive, members[name], folder / name, item, budget)
    except DAMAGED as problem:
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise AvbenchError(f"{bundle.name} is no zip, or damaged ({reason}): fetch it again, or {AGAIN}") from None
    return manifest


def _check_directory(file: BinaryIO, bundle: str) -> None:
    """Refuse a zip whose directory alone would fill the memory, as zipfile reads it whole."""
    size = file.seek(0, 2)
    file.seek(max(0, size - TAIL))
    tail = file.read()
    place = tail.rfind(RECORD)
    if place < 0 or len(tail) < place + 22:
        raise BadZipFile("File is not a zip file")
    if struct.unpack_from("<L", tail, place + 12)[0] > DIRECTORY * MB or LOCATOR in tail[:place]:
        raise AvbenchError(f"{bundle} has a directory larger than any bundle of {MOST_FILES} files needs: {AGAIN}")


def _members(found: Sequence[ZipInfo], bundle: str) -> dict[str, ZipInfo]:
    """The members by name, all of them fit to be unpacked."""
    if len(found) > MOST_FILES:
        raise AvbenchError(f"{bundle} holds {len(found)} files, more than the {MOST_FILES} that are allowed: {AGAIN}")
    seen: set[str] = set()
    for info in found:
        reason = _reason(info)
        if reason is None and info.filename.casefold() in seen:
            reason = "is there twice"
        if reason:
            raise AvbenchError(f"a member of {bundle} cannot be taken, since {info.orig_filename!r} {reason}: {AGAIN}")
        seen.add(info.filename.casefold())
    return {info.filename: info for info in found}


def _reason(info: ZipInfo) -> str | None:
    """Why a member is refused; None where it is not."""
    name = info.orig_filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    reasons = (
        ("\\" in name, "has a backslash"),
        (name.startswith("/"), "is an absolute name"),
        (re.match(r"[A-Za-z]:", name), "names a drive"),
        (".." in name.split("/"), "leads out of the bundle"),
        (kind not in {0, stat.S_IFREG}, "is a link, a folder or another special file"),
        (info.flag_bits & ENCRYPTED, "is encrypted"),
        (info.compress_type not in {ZIP_STORED, ZIP_DEFLATED}, "is compressed in an unusual way"),
        (info.filename != name, "has another name in its extra fields"),
        (name != MANIFEST and not LAYOUT.fullmatch(name), "has no place in a bundle"),
    )
    return next((reason for holds, reason in reasons if holds), None)


def _manifest(archive: ZipFile, members: dict[str, ZipInfo], bundle: str) -> object:
    if MANIFEST not in members:
        raise AvbenchError(f"expected {MANIFEST} in {bundle}, found none: {AGAIN}")
    with archive.open(members[MANIFEST]) as file:
        content = file.read(TEXT * MB + 1)
    _check_text(MANIFEST, len(content), bundle)
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise AvbenchError(f"expected JSON in {MANIFEST} of {bundle}, which cannot be read so: {AGAIN}") from None


def _require_listed(there: set[str], manifest: Manifest, bundle: str) -> None:
    for names, said in (
        (sorted(there - set(manifest.files)), "holds {} that its manifest does not list"),
        (sorted(set(manifest.files) - there), "lacks {} that its manifest lists"),
    ):
        if names:
            files = f"{names[0]!r}" + (f" and {len(names) - 1} more files" if len(names) > 1 else "")
            raise AvbenchError(f"{bundle} {said.format(files)}: {AGAIN}")


def _extract(archive: ZipFile, info: ZipInfo, target: Path, item: Item, budget: _Budget) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with archive.open(info) as source, target.open("xb") as file:
        while chunk := source.read(CHUNK):
            budget.take(len(chunk))
            size += len(chunk)
            if target.suffix.startswith(".json"):
                _check_text(info.filename, size, budget.bundle)
            digest.update(chunk)
            file.write(chunk)
    if (size, digest.hexdigest()) != (item.size, item.sha256):
        raise AvbenchError(
            f"expected {item.size} bytes of the hash {item.sha256[:12]}... in {info.filename!r} of {budget.bundle}, as "
            f"its manifest says, found {size} of {digest.hexdigest()[:12]}...: fetch it again, or {AGAIN}"
        )


def _check_text(name: str, size: int, bundle: str) -> None:
    if size > TEXT * MB:
        raise AvbenchError(f"{name!r} of {bundle} has more than the {TEXT} MB that JSON may have: {AGAIN}")
