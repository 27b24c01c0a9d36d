"""Where things are kept, and how: atomic writes, hashes, and the fingerprints that keys are made of."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from avbench.errors import AvbenchError

PACKAGE = Path(__file__).resolve().parent


def home() -> Path:
    """Folder of what can be made again, the demo world and trained checkpoints: ``$AVBENCH_HOME``, else a cache."""
    return Path(os.environ.get("AVBENCH_HOME") or Path.home() / ".cache" / "avbench")


def metadata_folder() -> Path:
    """Folder of the official annotation files that ``avbench data fetch`` brought."""
    return home() / "metadata"


def write_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` so that ``path`` is whole or absent: temporary name, fsync, rename.

    Raises:
        AvbenchError: if the disk refuses (full, read-only); what stood at ``path`` before stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as problem:
        with suppress(OSError):
            temporary.unlink()
        raise AvbenchError(
            f"{path} cannot be written ({problem.strerror}): free space or name another folder"
        ) from problem


def write_json(path: Path, value: Any) -> None:
    """Write :func:`json_bytes` of ``value``."""
    write_atomic(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """``value`` as JSON with sorted keys, one key a line; NaN and infinity, which JSON lacks, are refused."""
    return f"{json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)}\n".encode()


def read_json(path: Path) -> Any:
    """Read a JSON file of ours.

    Raises:
        AvbenchError: if it is not JSON, or no file that can be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise AvbenchError(f"expected a file of JSON at {path}, which cannot be read ({problem.strerror})") from problem
    except ValueError as problem:
        raise AvbenchError(f"expected JSON in {path}, which cannot be read so ({problem}): restore it") from problem


def hash_json(value: Any) -> str:
    """SHA-256 of ``value`` as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


def fingerprint(files: Iterable[Path]) -> str:
    """SHA-256 over the bytes of ``files`` in the order given."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@cache
def code_fingerprint(*parts: str) -> str:
    """SHA-256 of our own source: files or folders under the package, ``metrics`` being the mapped folder.

    A result is found again only by the code that made it; this is how the key knows. Read once a process, so that an
    edit meanwhile does not tear a run in two.
    """
    files: list[Path] = []
    for part in parts:
        place = PACKAGE / part
        if part.startswith("metrics") and not place.exists():  # editable: the mapped folder stands beside the package
            place = PACKAGE.parent / part
        files += sorted(place.glob("*.py")) if place.is_dir() else [place]
    return fingerprint(files)
