"""The two errors that reach a user, each one sentence: what was expected, what came, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 2000
"""Characters of an error; a value that is quoted in one may have any length."""


def printable(text: str) -> str:
    """``text`` on one line that no terminal takes for commands: what is not printable escaped, the middle cut out.

    Names of files and messages of other libraries hold line breaks, escape sequences and bytes that are no text.
    """
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class AvbenchError(Exception):
    """The work cannot be completed with what was found (a bad file, a missing checkpoint); exit code 1."""

    exit_code = 1

    def __str__(self) -> str:
        return printable(super().__str__())


class UsageError(AvbenchError):
    """The request itself is wrong (an unknown name, two flags that contradict each other); exit code 2."""

    exit_code = 2


def unknown_name(kind: str, name: str, known: Iterable[str], listing: str) -> UsageError:
    """The error for a name that no ``kind`` has, with the closest names and the command that lists all."""
    close = get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return UsageError(f"there is no {kind} called {name!r}: {hint}{listing} shows all")
