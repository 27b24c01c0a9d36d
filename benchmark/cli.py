"""The command line: finds the subcommand, turns errors into one sentence and an exit code. Imports nothing heavy."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import avbench
from avbench.errors import AvbenchError, printable

COMMANDS = {
    "run": ("running", "evaluate methods on splits and print the table"),
    "score": ("scoring", "score stored predictions under any protocol, without media or model"),
    "compare": ("comparing", "say which differences between stored results mean something"),
    "export": ("exporting", "write truth and predictions in COCO's form"),
    "listen": ("listening", "say whether methods listen: true against silent, noise and off-screen audio"),
    "data": ("data", "find, fetch, prepare, pack and check the data sets"),
    "train": ("training", "train a method by a recipe"),
    "table": ("table", "print a paper's table, its numbers beside ours"),
    "leaderboard": ("leaderboard", "rank accepted records, of one kind each, with intervals and ties"),
    "site": ("site", "write the leaderboard as one page that needs no server"),
    "figure": ("figure", "draw the figures of papers from stored results"),
    "submit": ("submitting", "pack results with their maps into a bundle to hand in"),
    "verify": ("verifying", "score a bundle again, check it, and accept it"),
    "curves": ("curves", "draw how trainings got on, epoch by epoch, and write the figures as a table"),
    "sweep": ("sweep", "train and evaluate every row of a table, on one machine or many"),
    "neighbours": ("neighbours", "find the samples of a split that resemble each other"),
    "check": ("checking", "check that methods keep the contract"),
    "new-method": ("new_method", "write a method of your own to start from, with its test"),
    "localize": ("localizing", "draw where a method hears the sound in one image"),
    "convert": ("converting", "turn an authors' checkpoint into one of ours"),
    "list": ("listing", "list methods, splits, protocols, metrics, controls, recipes, sweeps or tables"),
    "demo-sheet": ("demo_sheet", "draw a contact sheet of a demo split"),
    "profile": ("profiling", "time a part of the suite beside what it replaces"),
    "card": ("card", "say what methods are, what they learn from, and what they cost"),
}
"""Subcommand -> module in avbench.commands, and what it is for."""

EXAMPLES = """\
examples:
  avbench run --method jsa --split demo              train on the embedded world, evaluate, print the table
  avbench run --method jsa,ezvsl --split demo --json
  avbench run --method disc,square,whole --split vggss --metadata DIR
  avbench run --method jsa --split vggss --metadata DIR --data ROOT --checkpoint jsa.pth
  avbench convert ezvsl best.pth -o checkpoints/ezvsl
  avbench list methods
  avbench COMMAND --help                             all options of a command, with examples
"""

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it for the former."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``avbench ARGUMENTS`` and return its exit code: 0 done, 1 work incomplete, 2 usage, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] not in COMMANDS:
        return _top_level(given)
    # Idle threads of torch spin for long by default, which beside other work on the machine multiplies the processor
    # time of a run; a short spin is as quick on an idle machine. Read when torch is first imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    try:
        with _ended_in_order():
            command = importlib.import_module(f"avbench.commands.{COMMANDS[given[0]][0]}")
            return int(command.main(given[1:]))
    except AvbenchError as problem:
        print(f"avbench: {problem}", file=sys.stderr)
        return problem.exit_code
    except KeyboardInterrupt:
        again = "the same command with --resume" if given[0] == "train" else "the same command"
        print(f"avbench: interrupted; what was finished is kept, and {again} goes on from there", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as problem:
        place = f"{problem.filename}: " if problem.filename else ""
        print(printable(f"avbench: a file cannot be used ({place}{problem.strerror or problem})"), file=sys.stderr)
        return AvbenchError.exit_code


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Inside, SIGTERM is as Ctrl-C: what was opened is closed, and processes that were started are stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = os.getpid()

    def end(number: int, frame: object) -> None:
        if os.getpid() != own:  # a process that was forked from this one, which is asked to end
            os._exit(128 + number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _top_level(given: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="avbench",
        description="The referee of self-supervised audio-visual sound source localization.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", "-V", action="version", version=f"avbench {avbench.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, (_, purpose) in COMMANDS.items():
        commands.add_parser(name, help=purpose, add_help=False)
    parser.parse_args(given)
    parser.print_help()
    return 0
