"""``avbench check``: does a method keep the contract?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from avbench.commands.shared import command_parser, methods_named, parse
from avbench.errors import AvbenchError, UsageError
from avbench.registry import find_method, load_class

if TYPE_CHECKING:
    from avbench.testing import Outcome

EXAMPLES = """\
  avbench check path/to/file.py:Name
  avbench check jsa ezvsl
  avbench check all --json
"""

STYLES = {"passed": "green", "failed": "bold red", "skipped": "dim"}
SIZES = {"full": "by default", "checked": "as checked"}
WIDTH = 12
"""Of the longest name of a check."""


@dataclass
class Report:
    """What came of one method's checks."""

    method: str
    origin: str
    outcomes: list[Outcome] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    """Of the default settings (``full``) and of the build that was checked (``checked``), where both can be built."""

    def count(self, verdict: str) -> int:
        """How many checks ended in ``verdict``."""
        return sum(outcome.verdict == verdict for outcome in self.outcomes)

    @property
    def seconds(self) -> float:
        """Time that all checks took."""
        return sum(outcome.seconds for outcome in self.outcomes)


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0 if no check failed, else 1."""
    parser = command_parser(
        "check", "Check that methods keep the contract: built small, on batches of noise.", EXAMPLES
    )
    parser.add_argument("method", type=str, nargs="+", help="names, path/to/file.py:Name, or all; commas may part them")
    parser.add_argument("--json", action="store_true", help="print one JSON array on stdout and nothing else there")
    options = parse(parser, given)
    every = [name for text in options.method for name in methods_named(text, lambda name: True)]
    found = [_found(text) for text in dict.fromkeys(every)]
    console = Console(highlight=False, soft_wrap=True, quiet=options.json)
    reports = [_checked(report, cls, console) for report, cls in found]
    if options.json:
        json.dump([_as_json(report) for report in reports], sys.stdout, indent=1)
        print()
    return 1 if any(report.count("failed") for report in reports) else 0


def _found(text: str) -> tuple[Report, Any]:
    """A report to fill, and the class or what is wrong with its file; an unknown name is a mistake and raised."""
    report = Report(text, text)
    try:
        ref = find_method(text)
        report = Report(ref.name, ref.origin)
        return report, load_class(ref)
    except UsageError:
        raise
    except AvbenchError as problem:
        return report, problem


def _checked(report: Report, cls: Any, console: Console) -> Report:
    from avbench.testing import run_checks

    console.print(Text.assemble((report.method, "bold"), f"  {report.origin}"))
    for outcome in _unloaded(cls) if isinstance(cls, AvbenchError) else run_checks(cls):
        report.outcomes.append(outcome)
        _print_line(console, outcome)
    if not isinstance(cls, AvbenchError):
        report.parameters = _parameters(cls, report)
    _print_summary(console, report)
    return report


def _unloaded(problem: AvbenchError) -> list[Outcome]:
    from avbench.testing import CHECKS, Outcome

    return [Outcome(CHECKS[0], "failed", str(problem))]


def _parameters(cls: Any, report: Report) -> dict[str, int]:
    from avbench.testing import build_full, build_slim, parameters

    passed = {outcome.check.name for outcome in report.outcomes if outcome.verdict == "passed"}
    builds = {"full": ("full size", build_full), "checked": ("small", build_slim)}
    return {kind: parameters(build(cls)) for kind, (check, build) in builds.items() if check in passed}


def _print_line(console: Console, outcome: Outcome) -> None:
    verdict = (f"  {outcome.verdict.ljust(7)}", STYLES[outcome.verdict])
    told = outcome.told or outcome.check.demands
    console.print(Text.assemble(verdict, f"  {outcome.check.name.ljust(WIDTH)}  {told}"))


def _print_summary(console: Console, report: Report) -> None:
    counts = ", ".join(f"{n} {verdict}" for verdict in STYLES if (n := report.count(verdict)))
    sizes = ", ".join(f"{n:,} {SIZES[kind]}" for kind, n in report.parameters.items())
    told = f"{counts} in {report.seconds:.1f} s" + (f"; parameters: {sizes}" if sizes else "")
    console.print(Text(f"  {told}\n", style=STYLES["failed" if report.count("failed") else "passed"]))


def _as_json(report: Report) -> dict[str, Any]:
    checks = [
        {
            "name": outcome.check.name,
            "demands": outcome.check.demands,
            "verdict": outcome.verdict,
            "told": outcome.told,
            "seconds": round(outcome.seconds, 3),
        }
        for outcome in report.outcomes
    ]
    return {
        "method": report.method,
        "origin": report.origin,
        "passed": not report.count("failed"),
        "parameters": report.parameters,
        "seconds": round(report.seconds, 3),
        "checks": checks,
    }
