"""``avbench verify``: check a bundle, measure its numbers again, and accept it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from avbench.commands.shared import (
    bar,
    check_device,
    check_least,
    command_parser,
    folder_path,
    optional_path,
    parse,
    per_method,
)
from avbench.errors import AvbenchError, UsageError
from avbench.opening import Places
from avbench.unbundling import LIMIT, opened

if TYPE_CHECKING:
    from avbench.leaderboards.accepting import Taken
    from avbench.rerunning import Again
    from avbench.verification import Verified
    from avbench.verification_reports import Check

EXAMPLES = """\
  avbench verify bundle.zip                                  everything but the predictions themselves
  avbench verify bundle.zip --detail                         a line for each check, and all that failed
  avbench verify bundle.zip --metadata DIR                   splits whose official files are in DIR
  avbench verify bundle.zip --rerun --checkpoint mine=WEIGHTS --data ROOT
  avbench verify bundle.zip --rerun --accept leaderboards/records

--rerun predicts again with each method's own sounds. It counts as the same if every headline metric, and the mean
difference of the samples' cIoU, is within 0.005; the entry is then verified, else submitted.
exit code: 0 all checks passed, 1 a check failed, 2 the request was wrong
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0, and 1 if a check failed."""
    options = parse(_parser(), given)
    check_least("--limit", options.limit, 1)
    check_device(options.device)
    if options.detail and options.json:
        raise UsageError("--json has every check already: leave --detail out")
    if options.checkpoint and not options.rerun:
        raise UsageError("--checkpoint is for running again: add --rerun, or leave it out")
    accept_into = None if options.accept is None else folder_path(options.accept, "--accept")
    places = Places(optional_path(options.metadata), optional_path(options.data))
    with opened(Path(options.bundle), limit=options.limit) as bundle:
        from avbench.verification import verify

        found = verify(bundle, places, bar, _print if options.detail else (lambda check: None))
        agains = _rerun(found, places, options) if options.rerun and found.report.passed else {}
        taken = _accept(found, agains, accept_into) if accept_into and found.report.passed else []
        _show(found, agains, taken, options)
        return 0 if found.report.passed else AvbenchError.exit_code


def _parser() -> ArgumentParser:
    parser = command_parser(
        "verify", "Check a bundle of avbench submit, measure its numbers again from its maps, and accept it.", EXAMPLES
    )
    parser.add_argument("bundle", type=str, metavar="BUNDLE", help="the .zip that avbench submit wrote")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="MB", help=f"most it may unpack to ({LIMIT})")
    where = parser.add_argument_group("where our own data stand")
    where.add_argument(
        "--metadata", type=str, default=None, metavar="DIR", help="folder with official annotation files"
    )
    where.add_argument(
        "--data", type=str, default=None, metavar="ROOT", help="folder with frames/, audio/ and masks/, where needed"
    )
    again = parser.add_argument_group("running again")
    again.add_argument("--rerun", action="store_true", help="predict again, and compare with what was submitted")
    again.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="[METHOD=]PATH",
        help="the weights that the predictions were made with, or the folder of their training",
    )
    again.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1")
    output = parser.add_argument_group("output")
    output.add_argument("--accept", type=str, default=None, metavar="DIR", help="write its entries there if all passed")
    output.add_argument("--detail", action="store_true", help="a line for each check instead of one for each kind")
    output.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    return parser


def _rerun(found: Verified, places: Places, options: Namespace) -> dict[str, Again]:
    from avbench.rerunning import Bench, require_wanted, rerun
    from avbench.stored import OBJECT_PRIOR

    entries = found.opened.manifest.entries
    methods = list(dict.fromkeys(entry.method for entry in entries))
    implied = [OBJECT_PRIOR] if OBJECT_PRIOR not in methods else []
    given = per_method(options.checkpoint, methods, "--checkpoint", implied=implied)
    weights = {method: [Path(path) for path in paths] for method, paths in given.items()}
    require_wanted(found, weights)
    with TemporaryDirectory(prefix="avbench-rerun-") as runs:
        bench = Bench(places, options.device, weights, Path(runs))
        return {entry.key: rerun(entry, found, bench, bar) for entry in entries}


def _accept(found: Verified, agains: Mapping[str, Again], folder: Path) -> list[Taken]:
    from datetime import UTC, datetime

    from avbench.leaderboards.accepting import accept
    from avbench.leaderboards.entries import Accepted

    told = found.opened.manifest
    accepted = Accepted(datetime.now(UTC).date().isoformat(), told.by, told.note, told.url)
    return accept(found, agains, folder, accepted)


def _print(check: Check) -> None:
    from avbench.verification_reports import detail

    print(*detail(check), sep="\n")


def _show(found: Verified, agains: Mapping[str, Again], taken: Sequence[Taken], options: Namespace) -> None:
    from avbench.verification_reports import summary

    if options.json:
        json.dump(_content(found, agains, taken), sys.stdout, indent=1, allow_nan=False)
        print()
        return
    if not options.detail:
        print(*summary(found.report.checks), sep="\n")
    for entry in found.opened.manifest.entries:
        again = agains.get(entry.key)
        if again and not again.problem:
            print(f"again   {entry.title}: metrics within {again.metrics:.2g}, samples within {again.ciou:.2g}")
        elif again:
            print(f"again   {again.problem}")
    failed = sum(not check.passed for check in found.report.checks)
    count = len(found.report.checks)
    print(f"{found.opened.name}: " + (f"{failed} of {count} checks failed" if failed else f"all {count} checks passed"))
    if failed and options.accept:
        print(f"nothing was written to {options.accept}")
    for one in taken:
        print(f"accepted as {one.badge}: {one.path}")


def _content(found: Verified, agains: Mapping[str, Again], taken: Sequence[Taken]) -> dict[str, Any]:
    from avbench.leaderboards.accepting import badge_of

    entries = [
        {
            **asdict(entry),
            "badge": badge_of(agains.get(entry.key)) if found.report.passed else None,
            "rerun": _finite(asdict(agains[entry.key])) if entry.key in agains else None,
        }
        for entry in found.opened.manifest.entries
    ]
    return {
        "bundle": found.opened.name,
        "passed": found.report.passed,
        "checks": [{**asdict(check), "passed": check.passed} for check in found.report.checks],
        "entries": entries,
        "accepted": [str(one.path) for one in taken],
    }


def _finite(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(one, float) and not math.isfinite(one) else one for key, one in content.items()}
