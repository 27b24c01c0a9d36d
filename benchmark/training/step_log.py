"""The log of a training: a row of JSON per optimiser step, and one per sample that could not be decoded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from avbench.errors import AvbenchError
from avbench.store import write_atomic

LOG = "log.jsonl"
EVALUATIONS = "evaluations.jsonl"
BROKEN = "broken"
"""In a row of the log that is no step's: the id of a sample that could not be decoded, beside the ``reason``."""
MISFITS = (ValueError, LookupError, TypeError, AttributeError)
"""What reading raises where a file holds something else than its writer put there."""


class StepLog:
    """A file of rows, each flushed as it is written.

    Raises:
        AvbenchError: where the disk refuses a row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        try:
            self._file.write(json.dumps(row) + "\n")
        except OSError as problem:
            raise AvbenchError(
                f"{self.path} cannot be written ({problem.strerror}): free space, and resume"
            ) from problem

    def close(self) -> None:
        """Let go of the file; what the disk refused was said."""
        with suppress(OSError):
            self._file.close()


def broken_samples(folder: Path) -> dict[str, str]:
    """Why, by id, samples were left out of the training in ``folder``, as its log has it.

    Raises:
        AvbenchError: for a log that is damaged.
    """
    rows = (row for _, row in _logged(folder / LOG, "step"))
    return {row[BROKEN]: str(row.get("reason")) for row in rows if BROKEN in row}


def trim(folder: Path, *, steps: int, epochs: int) -> None:
    """Drop the rows of steps, and of evaluations, that will be made again: what comes after ``steps`` and ``epochs``.

    Raises:
        AvbenchError: for a log that is damaged.
    """
    for name, key, most in ((LOG, "step", steps), (EVALUATIONS, "epoch", epochs)):
        path = folder / name
        if path.exists():
            write_atomic(path, "".join(line for line, row in _logged(path, key) if row[key] <= most).encode())


def evaluations(folder: Path) -> list[dict[str, Any]]:
    """The rows of the evaluations of a training, in their order.

    Raises:
        AvbenchError: for a file that is damaged.
    """
    return [row for _, row in _logged(folder / EVALUATIONS, "epoch")]


def _logged(path: Path, key: str) -> list[tuple[str, dict[str, Any]]]:
    """The lines of a log and what they hold, without one that a killed process left unfinished."""
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8") as file:
            lines = [(line, json.loads(line)) for line in file if line.endswith("\n")]
        for _, row in lines:
            row["epoch"] + row[key]
    except MISFITS as problem:
        article = "an" if key == "epoch" else "a"
        raise AvbenchError(
            f"expected {article} {key}'s row of JSON in each line of {path}, which has another ({problem}): delete "
            f"{path.parent} to begin again, or that line to go on"
        ) from problem
    return lines
