"""The record of what was made from videos: ``manifest.jsonl``, one JSON object a line, one line a sample.

A line is added as soon as its files are in place. What is cut off at the end of the file is left out: its sample is
made again. Of two lines for one sample the later one holds; a run that comes to its end leaves one each, by name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from avbench.errors import AvbenchError
from avbench.store import write_atomic

NAME = "manifest.jsonl"

Record = dict[str, Any]


class Manifest:
    """The manifest in ``root``, read; ``records`` by name of the sample.

    Raises:
        AvbenchError: for a line, not the last, that is no record.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / NAME
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        self.records: dict[str, Record] = {}
        for number, line in enumerate(whole.splitlines(), start=1):
            record = self._read(number, line)
            self.records[record["id"]] = record
        if whole != content:
            write_atomic(self.path, whole)

    def add(self, record: Record) -> None:
        """Keep a record, on the disk at once.

        Raises:
            AvbenchError: if the disk refuses.
        """
        try:
            with self.path.open("ab") as file:
                file.write(_line(record))
        except OSError as problem:
            raise AvbenchError(f"{self.path} cannot be written ({problem.strerror}): free space") from problem
        self.records[record["id"]] = record

    def sort(self) -> None:
        """Leave one line per sample, by name; nothing is written where that is so already."""
        content = b"".join(_line(self.records[name]) for name in sorted(self.records))
        if content and content != self.path.read_bytes():
            write_atomic(self.path, content)

    def _read(self, number: int, line: bytes) -> Record:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("id"), str):
            raise AvbenchError(
                f"{self.path}, line {number}: expected the record of a sample: delete it, and the sample is made again"
            )
        return record


def _line(record: Record) -> bytes:
    return json.dumps(record, sort_keys=True, allow_nan=False).encode() + b"\n"
