"""The two errors that reach a user, each one sentence: what was expected, what came, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class AvbenchError(Exception):
    """The work cannot be completed with what was found (a bad file, a missing checkpoint); exit code 1."""

    exit_code = 1


class UsageError(AvbenchError):
    """The request itself is wrong (an unknown name, two flags that contradict each other); exit code 2."""

    exit_code = 2


def unknown_name(kind: str, name: str, known: Iterable[str], listing: str) -> UsageError:
    """The error for a name that no ``kind`` has, with the closest names and the command that lists all."""
    close = get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return UsageError(f"there is no {kind} called {name!r}: {hint}{listing} shows all")
