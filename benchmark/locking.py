"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from avbench.errors import UsageError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait for, then hold, the lock beside ``folder``; the system lets go of it however the process ends.

    Raises:
        UsageError: for the root, which nothing can stand beside.
    """
    whole = folder.resolve()
    if not whole.name:
        raise UsageError(f"expected a folder to write into, got {folder}, the root of all: name one inside it")
    whole.parent.mkdir(parents=True, exist_ok=True)
    place = whole.with_name(f".{whole.name}.lock")
    with _held(place):
        try:
            yield
        finally:
            place.unlink(missing_ok=True)


def _held(place: Path) -> TextIO:
    """The lock file, held; of the one that was waited for, the process before may have removed the name."""
    while True:
        file = place.open("a")
        fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(place.stat(), os.fstat(file.fileno())):
                return file
        file.close()
