"""``avbench card``: what a method is, what it learns from, and what it costs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from avbench.checkpoints import checkpoint_given
from avbench.commands.shared import (
    bar,
    check_device,
    check_least,
    command_parser,
    log,
    methods_named,
    parse,
    per_method,
    picture_path,
    settings_of,
)
from avbench.errors import UsageError
from avbench.registry import describe, find_method
from avbench.request import MethodRequest
from avbench.store import write_atomic

EXAMPLES = """\
  avbench card jsa
  avbench card ezvsl,jsa --no-measure                  parameters and FLOPs alone, in seconds
  avbench card all --device cuda --batch-size 64 --out cards.md
  avbench card jsa --set num_slots=3 --json
  avbench card path/to/file.py:Name --checkpoint mine/
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    options = parse(_parser(), given)
    check_device(options.device)
    check_least("--batch-size", options.batch_size, 1)
    out = picture_path(options.out, (".md",)) if options.out is not None else None
    requests = _requests(options)
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # PyTorch's profiler complains of every missing GPU; read at import
    from avbench.card import as_json, make_card, markdown

    cards = []
    with bar("cards", len(requests)) as advance:
        for request in requests:
            cards.append(
                make_card(
                    request, device=options.device, batch_size=options.batch_size, measured=not options.no_measure
                )
            )
            advance(1)
    text = markdown(cards)
    print(json.dumps([as_json(card) for card in cards], indent=1, allow_nan=False) if options.json else text.rstrip())
    if out:
        write_atomic(out, text.encode())
        log(f"cards: {out}")
    return 0


def _parser() -> ArgumentParser:
    parser = command_parser("card", "Say what methods are, what they learn from, and what they cost.", EXAMPLES)
    parser.add_argument(
        "method", type=str, help="names, or path/to/file.py:Name, separated by commas; all = all but the controls"
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="[METHOD=]PATH",
        help="trained weights, whose settings then hold (default: the published settings, untrained)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="[METHOD.]KEY=VALUE", help="a setting of a method"
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--no-measure", action="store_true", help="leave time and memory out: quick")
    parser.add_argument("--json", action="store_true", help="print one JSON array on stdout instead of tables")
    parser.add_argument("--out", type=str, default=None, metavar="FILE", help="also write the cards as .md")
    return parser


def _requests(options: Namespace) -> list[MethodRequest]:
    methods = methods_named(options.method, _is_no_control)
    overrides = settings_of(options.set, methods)
    checkpoints = per_method(options.checkpoint, methods, "--checkpoint")
    refs = {name: find_method(name) for name in methods}
    return [
        MethodRequest(ref, describe(ref), _checkpoint(name, checkpoints[name]), overrides[name])
        for name, ref in refs.items()
    ]


def _is_no_control(name: str) -> bool:
    return not describe(find_method(name)).control


def _checkpoint(method: str, given: Sequence[str]) -> Path | None:
    if len(given) > 1:
        raise UsageError(f"{method} was given {len(given)} checkpoints: give one, or make two cards")
    return checkpoint_given(Path(given[0])) if given else None
