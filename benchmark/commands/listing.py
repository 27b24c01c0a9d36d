"""``avbench list``: what there is, without importing torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from avbench.errors import UsageError

EXAMPLES = """\
examples:
  avbench list methods
  avbench list splits --show demo       draws a contact sheet of the split
  avbench list protocols
  avbench list protocols --show jsa     every step of it, and where it comes from
  avbench list metrics --show auc       the definition: operators, ties, empty input, source
  avbench list recipes --show ezvsl-vggsound-10k     each value: the paper, the official code, what is used
  avbench list sweeps
  avbench list tables                   of the papers, and how many of their cells are filled by us
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    parser = argparse.ArgumentParser(
        prog="avbench list",
        description="List what there is.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=sorted(LISTS))
    parser.add_argument(
        "--show", metavar="NAME", help="one protocol, metric or recipe in full, a demo split as a sheet"
    )
    options = parser.parse_args(list(given))
    if options.show is not None:
        return _show(options.what, options.show)
    _print(LISTS[options.what]())
    return 0


def _show(what: str, name: str) -> int:
    if not name:
        raise UsageError(f"expected --show NAME, got '': avbench list {what} shows the names")
    if what not in SHOWN:
        raise UsageError(f"--show is for {', '.join(sorted(SHOWN))}, not for {what}: leave it out")
    return SHOWN[what](name)


def _show_recipe(name: str) -> int:
    from avbench.recipe import recipe_table

    _print(recipe_table(name))
    return 0


def _show_split(name: str) -> int:
    from avbench.commands import demo_sheet

    return demo_sheet.main(["--split", name])


def _show_protocol(name: str) -> int:
    """Every field, fields of fields in one line."""
    from dataclasses import asdict

    from avbench.request import protocol_called

    for key, value in asdict(protocol_called(name)).items():
        sys.stdout.write(f"{key:15} {_words(value)}\n")
    return 0


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(part)}" for key, part in value.items())
    if isinstance(value, tuple):
        return ", ".join(value)
    return "none" if value is None else str(value)


def _show_metric(name: str) -> int:
    """The record, then what the function that computes it says of itself."""
    import inspect
    from importlib import import_module

    from avbench.errors import unknown_name
    from avbench.metrics.catalogue import METRICS

    if name not in METRICS:
        raise unknown_name("metric", name, METRICS, "avbench list metrics")
    metric = METRICS[name]
    module, function = metric.function.split(":")
    sys.stdout.write(f"{metric.display} ({metric.id}), version {metric.version}, {metric.direction} is better\n")
    sys.stdout.write(f"shown in {metric.unit} with {metric.decimals} decimals, stored as a fraction\n")
    sys.stdout.write(f"source: {metric.reference}\ncomputed by {module}.{function}:\n\n")
    sys.stdout.write(f"{inspect.getdoc(getattr(import_module(module), function))}\n")
    return 0


SHOWN: dict[str, Callable[[str], int]] = {
    "metrics": _show_metric,
    "protocols": _show_protocol,
    "recipes": _show_recipe,
    "splits": _show_split,
}
"""What can be shown one by one."""


def _print(lines: list[tuple[str, ...]]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    for line in lines:
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        sys.stdout.write("  ".join([*padded, line[-1]]).rstrip() + "\n")


def _methods() -> list[tuple[str, ...]]:
    return _described(control=False)


def _controls() -> list[tuple[str, ...]]:
    from typing import get_args

    from avbench.data.audio_modes import AudioMode

    others = [mode for mode in get_args(AudioMode) if mode != "true"]
    modes = [(f"--audio {mode}", "any", f"the same method with {mode} audio") for mode in others]
    return [*_described(control=True), *modes]


def _described(*, control: bool) -> list[tuple[str, ...]]:
    from avbench.registry import describe, find_method, method_names

    refs = [find_method(name) for name in method_names()]
    infos = [(ref, describe(ref)) for ref in refs]
    return [(ref.name, ref.origin, info.summary) for ref, info in infos if info.control == control]


def _splits() -> list[tuple[str, ...]]:
    from avbench.data.splits import split_names, split_summary

    found = [split_summary(name) for name in split_names()]
    return [(split.name, str(split.n), split.sha256[:12], split.title) for split in found]


def _protocols() -> list[tuple[str, ...]]:
    from avbench.metrics.protocols import PROTOCOLS

    return [(name, f"v{protocol.version}", protocol.summary) for name, protocol in PROTOCOLS.items()]


def _metrics() -> list[tuple[str, ...]]:
    from avbench.metrics.catalogue import METRICS

    return [
        (name, metric.display, f"{metric.direction} is better", metric.reference) for name, metric in METRICS.items()
    ]


def _recipes() -> list[tuple[str, ...]]:
    from avbench.recipe import recipe_summaries

    return recipe_summaries()


def _sweeps() -> list[tuple[str, ...]]:
    from avbench.sweeping.files import load_sweep, sweep_names

    found = [load_sweep(name) for name in sweep_names()]
    return [(sweep.name, f"{len(sweep.rows)} rows", sweep.title) for sweep in found]


def _tables() -> list[tuple[str, ...]]:
    from avbench.leaderboards.entry_files import read_entries
    from avbench.leaderboards.paper_cells import filled_count
    from avbench.leaderboards.published_tables import published_tables

    entries = read_entries()
    return [
        (table.id, f"{table.paper.venue}, {table.number}", f"{filled_count(table, entries)} filled", table.title)
        for table in published_tables()
    ]


LISTS: dict[str, Callable[[], list[tuple[str, ...]]]] = {
    "methods": _methods,
    "splits": _splits,
    "protocols": _protocols,
    "metrics": _metrics,
    "controls": _controls,
    "recipes": _recipes,
    "sweeps": _sweeps,
    "tables": _tables,
}
