"""``avbench run``: evaluate methods on splits and print the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast, get_args

from jsonargparse import ArgumentParser, Namespace

from avbench.checkpoints import checkpoint_given
from avbench.commands.data_leakage import of_checkpoints
from avbench.commands.shared import (
    bar,
    check_device,
    check_least,
    command_parser,
    log,
    methods_named,
    names,
    optional_path,
    parse,
    per_method,
    settings_of,
)
from avbench.data.audio_modes import AudioMode
from avbench.data.splits import split_names, split_summary
from avbench.errors import UsageError, unknown_name
from avbench.metrics.protocols import PROTOCOLS
from avbench.opening import Places
from avbench.processes import leads
from avbench.records import Record, Selection
from avbench.registry import describe, find_method
from avbench.request import ALL, MethodRequest, Refinement, Settings, protocol_called
from avbench.runner import Outcome, request_for, run
from avbench.selection import FOLDERS, checkpoints_of, rules_named

CONTROLS = ("whole", "square", "disc")
"""Rows of every table: they need no media."""
DEMO_CONTROLS = ("random", "training-prior", "oracle-all", "oracle-largest")

SIDE_BY_SIDE = "of each metric a column per selection of checkpoints, early stop beside no early stop"
"""What that option does to tables."""

EXAMPLES = """\
  avbench run --method jsa --split demo
  avbench run --method all --split demo
  avbench run --method jsa,ezvsl,disc --split demo,demo-extended --json
  avbench run --method all --split demo --audio true,silent,swapped
  avbench run --method jsa --split demo --refine iqr --protocol common,jsa
  avbench run --method jsa --split demo --refine iqr --protocol jsa,jsa:av_weight=0.6
  avbench run --method ezvsl --split demo --refine ogl --set ogl.weights=resnet18-f37072fd.pth
  avbench run --method disc,square,whole --split vggss --metadata DIR
  avbench run --method jsa --split vggss --metadata DIR --data ROOT --checkpoint jsa.pth --out table.md
  avbench run --method jsa --split vggss --data ROOT --checkpoint TRAINED/ --selection last,oracle --side-by-side
  avbench run --method path/to/file.py:Name --split my.yaml --checkpoint mine/ --set tau=0.05
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    options = parse(_parser(), given)
    _check_out(options.out)
    records: list[Record] = []
    for outcomes in evaluated(options, "avbench run " + " ".join(given)):
        found = _gathered(outcomes)
        if not leads():
            continue
        records += found
        if not options.json:
            _show(found, outcomes[0] if options.pictures else None, side_by_side=options.side_by_side)
        for line in of_checkpoints(found, outcomes[0].jobs[0].split, optional_path(options.metadata)):
            log(f"leakage: {line}")
    if not leads():
        return 0
    if options.json:
        json.dump([record.as_json() for record in records], sys.stdout, indent=1, allow_nan=False)
        print()
    if options.out:
        _write_table(records, Path(options.out), side_by_side=options.side_by_side)
    return 0


def evaluated(options: Namespace, command: str) -> Iterator[list[Outcome]]:
    """For each split that ``options`` name the outcomes of their methods, one per audio mode."""
    settings = [_settings(options, mode, command) for mode in _audio_modes(options.audio)]
    places = Places(optional_path(options.metadata), optional_path(options.data))
    for split in names(options.split, "split"):
        yield [run(_requests(options, split), split, places, how, bar) for how in settings]


def add_weights(parser: ArgumentParser) -> None:
    """The options that say what methods are built with."""
    group = parser.add_argument_group("how the methods are built")
    group.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="[METHOD=]PATH",
        help="trained weights, ours or the authors'",
    )
    group.add_argument("--set", action="append", default=[], metavar="[METHOD.]KEY=VALUE", help="a setting of a method")


def add_places(parser: ArgumentParser) -> None:
    """The options that say where data stand."""
    where = parser.add_argument_group("where the data stand")
    where.add_argument(
        "--metadata", type=str, default=None, metavar="DIR", help="folder with the official annotation files"
    )
    where.add_argument("--data", type=str, default=None, metavar="ROOT", help="folder with frames/ and audio/")
    where.add_argument("--allow-missing", action="store_true", help="score what is there; the result is marked partial")


def add_machine(parser: ArgumentParser) -> None:
    """The options that say on what methods run."""
    speed = parser.add_argument_group("where it runs")
    speed.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1")
    speed.add_argument("--batch-size", type=int, default=32)
    speed.add_argument("--workers", type=int, default=None, help="decoding processes (default: by the machine)")


def _parser() -> ArgumentParser:
    parser = command_parser("run", "Evaluate methods on splits: one decode pass for all methods of a split.", EXAMPLES)
    _add_inputs(parser)
    _add_measures(parser)
    return parser


def _add_inputs(parser: ArgumentParser) -> None:
    what = parser.add_argument_group("what is evaluated")
    what.add_argument(
        "--method",
        required=True,
        type=str,
        help="names, or path/to/file.py:Name, separated by commas; all = every one that can be trained",
    )
    what.add_argument(
        "--split", required=True, type=str, help="names, or YAML, CSV or folders of your own, separated by commas"
    )
    what.add_argument("--controls", type=bool, default=True, help="add the control rows to the table (default: true)")
    add_weights(parser)
    what.add_argument(
        "--selection",
        type=str,
        default=None,
        help=f"of the training folders that --checkpoint names, those chosen by: one or more of {', '.join(FOLDERS)}",
    )
    add_places(parser)


def _add_measures(parser: ArgumentParser) -> None:
    how = parser.add_argument_group("how it is measured")
    how.add_argument(
        "--protocol",
        type=str,
        default=None,
        help="names, separated by commas, or all (default: common); jsa:av_weight=0.6 fuses with a weight of its own",
    )
    how.add_argument(
        "--audio",
        type=str,
        default="true",
        help=f"what the methods hear, one or more of {', '.join(get_args(AudioMode))}",
    )
    how.add_argument("--audio-rate", type=str, default="16000", help="Hz, or native as the official loaders do")
    how.add_argument(
        "--refine", type=str, default="none", help="none, ogl, iqr, or ogl,iqr: further rows of fused maps"
    )
    how.add_argument("--retrieval", action="store_true", help="also report cross-modal retrieval")
    add_machine(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print one JSON array on stdout and nothing else there")
    output.add_argument(
        "--out", type=str, default=None, metavar="FILE", help="also write the table as .md, .csv or .tex"
    )
    output.add_argument("--side-by-side", action="store_true", help=SIDE_BY_SIDE)
    output.add_argument("--pictures", type=bool, default=True, help="draw the picture grid (default: true)")
    output.add_argument(
        "--runs", type=str, default="runs", metavar="DIR", help="folder of predictions, records and pictures"
    )


def _audio_modes(text: str) -> list[AudioMode]:
    named, known = names(text, "audio mode"), get_args(AudioMode)
    for mode in named:
        if mode not in known:
            raise unknown_name("audio mode", mode, known, f"the list {', '.join(known)}")
    return cast("list[AudioMode]", named)


def _settings(options: Namespace, audio: AudioMode, command: str) -> Settings:
    check_device(options.device)
    check_least("--workers", options.workers, 0)
    protocols = _protocols(options)
    _check_fusion(protocols, refinements(options.refine))
    return Settings(
        protocols=protocols,
        audio=audio,
        audio_rate=_rate(options.audio_rate),
        refine=refinements(options.refine),
        retrieval=options.retrieval,
        allow_missing=options.allow_missing,
        device=options.device,
        batch_size=options.batch_size,
        workers=options.workers,
        runs=Path(options.runs),
        command=command,
    )


def _protocols(options: Namespace) -> tuple[str, ...]:
    """Those asked for; by default ``common``, and with a refinement the protocol that defines its fusion."""
    if options.protocol is None:
        fusing = {"ogl": "ezvsl", "iqr": "jsa"}
        return ("common", *(fusing[part] for part in refinements(options.refine)))
    return tuple(names(options.protocol, "protocol"))


def _check_fusion(protocols: Sequence[str], refinements: Sequence[Refinement]) -> None:
    if refinements and not any(name == ALL or protocol_called(name).fusion for name in protocols):
        fusing = " or ".join(name for name, protocol in PROTOCOLS.items() if protocol.fusion)
        raise UsageError(
            f"the refinement {','.join(refinements)} needs a protocol with a fusion, such as {fusing}; "
            f"got {', '.join(protocols)}"
        )


def _rate(text: str) -> int | None:
    if text == "native":
        return None
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise UsageError(f"expected --audio-rate native or a rate in Hz such as 16000, got {text!r}")


def refinements(text: str) -> tuple[Refinement, ...]:
    """Those of a text such as ``ogl,iqr``.

    Raises:
        UsageError: for another word, or ``none`` beside one.
    """
    parts = names(text, "refinement")
    unknown = [part for part in parts if part not in get_args(Refinement)]
    if unknown or ("none" in parts and len(parts) > 1):
        raise UsageError(f"expected --refine none, ogl, iqr or ogl,iqr, got {text!r}")
    return tuple(part for part in get_args(Refinement) if part in parts and part != "none")


def _requests(options: Namespace, split: str) -> list[MethodRequest]:
    methods = _methods(options.method)
    # The object map that is mixed in is a method of the run, named or not, with settings of its own.
    implied = ["ogl"] if "ogl" in refinements(options.refine) and "ogl" not in methods else []
    checkpoints = per_method(options.checkpoint, methods, "--checkpoint", implied=implied)
    overrides = settings_of(options.set, methods, implied=implied)
    rules = [] if options.selection is None else rules_named(names(options.selection, "selection"))
    requests = [
        request_for(name, path, overrides[name])
        for name in methods
        for path in _selected(name, _checkpoint(name, checkpoints[name]), rules)
    ]
    if options.controls:
        extra = CONTROLS + (DEMO_CONTROLS if _is_demo(split) else ())
        requests += [request_for(name, None, {}) for name in extra if name not in methods]
    requests += [request_for(name, _checkpoint(name, checkpoints[name]), overrides[name]) for name in implied]
    _check_names(requests)
    return requests


def _methods(text: str) -> list[str]:
    """The methods named; ``all`` stands for every one that can be trained, but for those named beside it."""
    return methods_named(text, _can_be_trained)


def _can_be_trained(name: str) -> bool:
    info = describe(find_method(name))
    return info.trainable and not info.control


def _checkpoint(method: str, given: Sequence[str]) -> Path | None:
    if len(given) > 1:
        raise UsageError(f"{method} was given {len(given)} checkpoints: give one, or run twice")
    return checkpoint_given(Path(given[0])) if given else None


def _selected(method: str, training: Path | None, rules: Sequence[Selection]) -> Sequence[Path | None]:
    """The checkpoints of a method: the one given, or those that ``rules`` chose, where there is one to choose."""
    if not rules:
        return [training]
    if training is not None:
        return checkpoints_of(training, rules)
    if describe(find_method(method)).trainable:
        raise UsageError(
            f"--selection chooses among the checkpoints of a training, and {method} was given none: add --checkpoint "
            f"{method}=DIR, the folder of its training"
        )
    return [None]


def _check_names(requests: Sequence[MethodRequest]) -> None:
    """A table with two rows of one name could not be read, but for those that the selection of checkpoints parts."""
    known: dict[str, MethodRequest] = {}
    for request in requests:
        ref, other = request.ref, known.setdefault(request.ref.name, request)
        if other is not request and (other.ref != ref or other.checkpoint == request.checkpoint):
            raise UsageError(
                f"two methods of this run are called {ref.name!r}, one {other.ref.origin}, one {ref.origin}: rename "
                "yours where it is registered"
            )


def _is_demo(split: str) -> bool:
    return split in split_names() and split_summary(split).kind == "demo"


def _gathered(outcomes: Sequence[Outcome]) -> list[Record]:
    """The rows of a split: of several audio modes, what does not hear appears once, and the controls come last."""
    if len(outcomes) == 1:
        return outcomes[0].records
    found = {record.path: record for outcome in outcomes for record in outcome.records}
    controls = {job.method.ref.name for outcome in outcomes for job in outcome.jobs if job.method.info.control}
    return sorted(found.values(), key=lambda record: record.method in controls)


def _show(records: list[Record], drawn: Outcome | None, *, side_by_side: bool) -> None:
    from avbench.leaderboards.terminal import print_side_by_side, print_table

    if side_by_side:
        print_side_by_side(records)
    else:
        print_table(records)
    log(f"records: {records[0].path.parent}")
    picture = drawn.picture() if drawn else None
    if picture:
        log(f"pictures: {picture}")


def _check_out(out: str | None) -> None:
    if out is not None and Path(out).suffix not in {".md", ".csv", ".tex"}:
        raise UsageError(f"expected --out FILE ending in .md, .csv or .tex, got {out!r}")


def _write_table(records: list[Record], path: Path, *, side_by_side: bool) -> None:
    from avbench.leaderboards.tables import side_by_side_text, table_text
    from avbench.store import write_atomic

    form = path.suffix.removeprefix(".")
    write_atomic(path, (side_by_side_text if side_by_side else table_text)(records, form).encode())
    log(f"table: {path}")
