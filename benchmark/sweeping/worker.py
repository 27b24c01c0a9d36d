"""What a worker does with a unit: ``python -m avbench.sweeping.worker UNIT.json``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from avbench.errors import AvbenchError
from avbench.sweeping.unit import read_unit, run_unit

PREFIX = "avbench: "
"""What the last line of a failed worker begins with."""


def attempt(place: str) -> str | None:
    """Bring the unit in the file ``place`` to its record.

    Returns: None, or the sentence that says why it cannot be done.
    """
    try:
        unit = read_unit(Path(place))
        os.chdir(unit.where.folder)
        os.environ["AVBENCH_HOME"] = unit.where.store
        run_unit(unit, _told)
    except AvbenchError as problem:
        return str(problem)
    except OSError as problem:
        return f"a file cannot be used ({problem.filename or place}: {problem.strerror or problem})"
    return None


def main(given: Sequence[str]) -> int:
    """Attempt the unit; the exit code is 0 when it is done, 1 when it failed."""
    reason = attempt(given[0])
    if reason is not None:
        print(f"{PREFIX}{reason}", file=sys.stderr)
    return 0 if reason is None else 1


@contextmanager
def _told(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """One line into the log where a bar would be."""
    print(f"{title}: {total}", file=sys.stderr, flush=True)
    yield lambda done: None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
