"""``avbench data check``: files, doubles, silence, and leakage between training and test lists."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from avbench.commands import data_leakage
from avbench.commands.shared import bar, check_least, command_parser, log, optional_path, parse
from avbench.data.checking import (
    Checked,
    Finding,
    Medium,
    check_media,
    media_below,
    media_of,
    media_of_pack,
    named_twice,
)
from avbench.data.layouts import index_media
from avbench.data.leakage import Overlap
from avbench.data.packs import is_pack, open_pack
from avbench.data.splits import Split, load_split
from avbench.errors import AvbenchError, UsageError
from avbench.opening import Places, open_split

EXAMPLES = """\
  avbench data check --split vggss --data ROOT
  avbench data check --split my.yaml --json
  avbench data check --data ROOT                                   every file below ROOT
  avbench data check --split vggss                                 the list alone, and its leakage
  avbench data check --leakage                                     all test splits by all training lists at hand
  avbench data check --leakage --split vggss,flickr --train vggsound-144k,flickr-144k
  avbench data check --leakage --split my-test.yaml --train my-train.yaml
"""

PURPOSE = (
    "Check a split or a folder: every file is decoded in full, files that repeat, are silent, clipped, blank or very "
    "short are named, and test samples that a training list holds are counted. Missing and broken files make the exit "
    "code 1; warnings do not."
)

SPREAD = ("shortest", "median", "longest")

SHOWN = 5
"""Cases of a finding that the table names; --json has all."""


@dataclass(frozen=True)
class _Report:
    """All that a check found: files, samples named twice, and what training lists hold."""

    split: Split | None
    root: Path | None
    checked: Checked
    twice: Sequence[tuple[str, ...]]
    leaks: Sequence[Overlap]


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 1 if something is missing or broken, else 0."""
    parser = command_parser("data check", PURPOSE, EXAMPLES)
    parser.add_argument(
        "--split", type=str, default=None, help="a name, or a YAML, CSV or folder of your own; several with --leakage"
    )
    parser.add_argument("--data", type=str, default=None, metavar="ROOT", help="folder with the media, or a pack")
    parser.add_argument("--metadata", type=str, default=None, metavar="DIR", help="folder of the official files")
    parser.add_argument("--leakage", action="store_true", help="leakage alone, of many splits at once")
    parser.add_argument("--train", type=str, default=None, help="training lists (default: all that are at hand)")
    parser.add_argument("--workers", type=int, default=None, help="decoding processes (default: by the machine)")
    parser.add_argument("--json", action="store_true", help="print one JSON value on stdout and nothing else there")
    options = parse(parser, given)
    check_least("--workers", options.workers, 0)
    if options.leakage:
        return data_leakage.matrix(options)
    if options.split is None and options.data is None:
        raise UsageError(
            "expected --split NAME, --data ROOT or both, or --leakage: avbench data check --help shows how"
        )
    return _checked(options)


def _checked(options: Namespace) -> int:
    places = Places(optional_path(options.metadata), optional_path(options.data))
    split, truth = (None, None) if options.split is None else _opened(options.split, places)
    media = _media(split, places.data)
    with bar("checking files", len(media)) if media else nullcontext(lambda done: None) as progress:
        checked = check_media(media, root=places.data, workers=options.workers, progress=progress)
    if truth is not None and split is not None and split.has_media:
        checked = replace(checked, findings=(truth, *checked.findings))
    leaks = [] if split is None else data_leakage.leaks_of(split, options)
    report = _Report(split, places.data, checked, [] if split is None else named_twice(split), leaks)
    if options.json:
        json.dump(_as_json(report), sys.stdout, indent=1)
        print()
    else:
        _print(report)
    return 0 if checked.passed else 1


def _opened(name: str, places: Places) -> tuple[Split, Finding | None]:
    """The split; one whose boxes lie beside the media and cannot be read comes without them, and with what is wrong."""
    try:
        return open_split(name, places, bar), None
    except UsageError:
        raise
    except AvbenchError as problem:
        split = load_split(name, metadata=places.metadata, data=places.data, truth=False)
        return split, Finding("truth", "error", "boxes beside the media", (((split.name,), str(problem)),))


def _media(split: Split | None, root: Path | None) -> list[Medium]:
    if split is not None:
        if not split.has_media:
            log(f"{split.name} has no media here: its list alone is checked; --data ROOT names them")
        return media_of(split)
    if root is None or not root.is_dir():
        raise UsageError(f"expected the folder of media at {root}, found none: check --data")
    if is_pack(root):
        return media_of_pack(open_pack(root))
    index_media(root)  # refuses a folder without any
    return media_below(root)


def _as_json(report: _Report) -> dict[str, Any]:
    split, checked = report.split, report.checked
    return {
        "split": None if split is None else {"name": split.name, "n": split.n, "sha256": split.sha256},
        "data": None if report.root is None else str(report.root),
        "files": {kind: asdict(tally) for kind, tally in checked.tallies.items()},
        "findings": [_finding_json(finding) for finding in checked.findings],
        "named_twice": [list(group) for group in report.twice],
        "sizes": {f"{width}x{height}": n for (width, height), n in checked.sizes.most_common()},
        "rates": {str(rate): n for rate, n in checked.rates.most_common()},
        "channels": {str(channels): n for channels, n in checked.channels.most_common()},
        "seconds": None if checked.seconds is None else dict(zip(SPREAD, checked.seconds, strict=True)),
        "leakage": [data_leakage.as_json(leak) for leak in report.leaks],
        "passed": checked.passed,
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    items = [{"names": list(names), "detail": detail} for names, detail in finding.items]
    return {**asdict(finding), "items": items, "count": len(items)}


def _print(report: _Report) -> None:
    for line in _page(report):
        print(line)


def _page(report: _Report) -> Iterator[str]:
    checked = report.checked
    if report.split is not None:
        yield f"{report.split.name}: {report.split.n:,} samples, hash {report.split.sha256[:16]}..."
    if report.root is not None:
        yield f"media in {report.root}"
    yield from _tallies(checked)
    yield from _measures(checked)
    for finding in checked.findings:
        yield from _finding(finding)
    if report.twice:
        groups = tuple((ids, "") for ids in report.twice)
        yield from _finding(Finding("named twice", "warning", "samples of one clip", groups))
    yield from (f"leakage   {leak.told}" for leak in report.leaks)
    verdict = "passed" if checked.passed else "failed"
    warnings = _cases(checked, "warning") + len(report.twice)
    yield f"{verdict}: {_cases(checked, 'error'):,} errors, {warnings:,} warnings"


def _cases(checked: Checked, level: str) -> int:
    return sum(len(finding.items) for finding in checked.findings if finding.level == level)


def _tallies(checked: Checked) -> Iterator[str]:
    if checked.tallies:
        yield f"{'':10}{'listed':>9}{'decoded':>9}{'broken':>9}{'missing':>9}"
    for kind, tally in checked.tallies.items():
        yield f"{kind + 's':10}{tally.listed:9,}{tally.whole:9,}{tally.broken:9,}{tally.missing:9,}"


def _measures(checked: Checked) -> Iterator[str]:
    if checked.sizes:
        yield f"sizes     {_counts({f'{width}x{height}': n for (width, height), n in checked.sizes.items()})}"
    if checked.seconds is not None:
        yield f"rates     {_counts({f'{rate} Hz': n for rate, n in checked.rates.items()})}"
        yield f"channels  {_counts({str(channels): n for channels, n in checked.channels.items()})}"
        yield f"lengths   {checked.seconds[0]:.2f} to {checked.seconds[2]:.2f} s, median {checked.seconds[1]:.2f} s"


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = f", and {len(ordered) - SHOWN} others" if len(ordered) > SHOWN else ""
    return ", ".join(f"{what} ({n:,})" for what, n in ordered[:SHOWN]) + rest


def _finding(finding: Finding) -> Iterator[str]:
    yield f"{finding.level:8}  {finding.what}: {len(finding.items):,} - {finding.told}"
    for names, detail in finding.items[:SHOWN]:
        named = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        yield f"{'':12}{named}{': ' + detail if detail else ''}"
    if len(finding.items) > SHOWN:
        yield f"{'':12}and {len(finding.items) - SHOWN:,} more: --json has all"
