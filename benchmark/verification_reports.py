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


def summary(checks: Sequence[Check]) -> list[str]:
    """A line for each kind of check, then those that failed, with the first of their sentences."""
    kinds: dict[str, list[Check]] = {}
    for check in checks:
        kinds.setdefault(check.name, []).append(check)
    failed = [check for check in checks if not check.passed]
    return [*map(_kind, kinds.values()), *(line for check in failed for line in detail(check, SHOWN))]


def detail(check: Check, most: int | None = None) -> list[str]:
    """A check and its sentences, or the first ``most`` of them and how many more there are."""
    word = "ok" if check.passed else "FAILED"
    said = check.said if check.passed else counted(len(check.problems), "problem")
    more = 0 if most is None else len(check.problems) - most
    return [
        f"{word:<6}  {check.name:<11}  {check.of}: {said}",
        *(f"        {problem}" for problem in check.problems[:most]),
        *([f"        and {more} more: --detail shows all"] if more > 0 else []),
    ]


def counted(count: int, of: str) -> str:
    """A number of things, in words that fit it."""
    return f"{count} {of}" if count == 1 else f"{count} {of}s"


def _kind(checks: Sequence[Check]) -> str:
    passed = sum(check.passed for check in checks)
    word = "ok" if passed == len(checks) else "FAILED"
    return f"{word:<6}  {checks[0].name:<11}  {passed} of {counted(len(checks), 'check')} passed"
