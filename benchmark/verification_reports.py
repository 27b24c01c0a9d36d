"""What a verification says: a line a check, and each failure in a sentence of its own. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from avbench.errors import AvbenchError

SHOWN = 3
"""Differences that one sentence names."""


@dataclass(frozen=True)
class Check:
    """One check of one thing.

    Attributes:
        name: of the check.
        of: what was checked.
        said: what was done.
        problems: one sentence for each failure; empty where it passed.
    """

    name: str
    of: str
    said: str
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


@dataclass
class Report:
    """The checks of a bundle, in the order in which they were made.

    Attributes:
        shown: what stands in sentences for the folders into which the bundle was unpacked.
        tell: called with each check as it is made.
    """

    shown: Mapping[Path, str] = field(default_factory=dict)
    tell: Callable[[Check], None] = lambda check: None
    checks: list[Check] = field(default_factory=list)

    def add(self, name: str, of: str, said: str, problems: Sequence[str] = ()) -> bool:
        """Note a check; whether it passed."""
        self.checks.append(Check(name, of, said, tuple(map(self._plain, problems))))
        self.tell(self.checks[-1])
        return not problems

    def _plain(self, problem: str) -> str:
        for folder, shown in self.shown.items():
            problem = problem.replace(f"{folder}/", shown)
        return problem

    @property
    def problems(self) -> list[str]:
        """The sentences of all failures."""
        return [problem for check in self.checks for problem in check.problems]

    @property
    def passed(self) -> bool:
        """Whether all checks did."""
        return not self.problems


def problem_of(check: Callable[[], object]) -> list[str]:
    """The sentence of the error that ``check`` raises, if it does."""
    try:
        check()
    except AvbenchError as problem:
        return [str(problem)]
    return []


def listed(differences: Sequence[str]) -> str:
    """The first of several differences, and how many more there are."""
    more = len(differences) - SHOWN
    return "; ".join(differences[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
