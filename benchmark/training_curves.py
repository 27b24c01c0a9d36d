"""How a method got on while it trained: its evaluations epoch by epoch, as a picture and as a table."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from avbench.data.regular import require_file
from avbench.errors import AvbenchError, UsageError
from avbench.metrics.catalogue import METRICS
from avbench.pictures import DOTS, save_figure
from avbench.store import write_atomic

EVALUATIONS = "evaluations.jsonl"
RECALL = "recall"
"""Mean of both directions' recall at 1, where a list has no truth; it has no record among the metrics."""

PANELS = {"locacc": "LocAcc (cIoU)", "ap": "AP", "max_f1": "max-F1", RECALL: "recall at 1"}
"""What is drawn, each in a panel where anything was evaluated by it; the table has the rest too."""

PURPOSES = {"validation": "validation", "oracle": "test"}
"""What the purpose of a row calls its split."""

MARKS = {"last": "s", "validation": "D", "oracle": "*"}
"""How the epoch of a checkpoint is marked, by the rule that chose it."""

TOLD = {"last": "last epoch", "validation": "best on validation", "oracle": "best on test (oracle)"}

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which people tell apart however they see colours; without their yellow, too pale for a line."""

DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
"""Of the splits, where colours tell trainings apart."""

HEADER = ("training", "epoch", "split", "purpose", "metric", "value")

FORM = '{"epoch": 1, "split": "NAME", "purpose": "validation" or "oracle", "n": 200, "locacc": 0.5, ...}'


@dataclass(frozen=True)
class Evaluation:
    """A row of ``evaluations.jsonl``.

    Attributes:
        epoch: after how many epochs, from 0.
        purpose: ``validation`` or ``oracle``, which is a test list.
        n: samples of the split.
        figures: fractions by metric.
    """

    epoch: int
    split: str
    purpose: str
    n: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Curves:
    """All evaluations of one training, in the order of their file; at least one."""

    name: str
    rows: tuple[Evaluation, ...]

    @property
    def splits(self) -> dict[str, tuple[str, int]]:
        """Purpose and samples of the splits, those to validate on last."""
        found = {row.split: (row.purpose, row.n) for row in self.rows}
        return dict(sorted(found.items(), key=lambda item: item[1][0] == "validation"))

    def chosen(self) -> dict[str, int]:
        """The epoch that each rule chooses.

        ``last`` is the last that was evaluated. The others are the earliest of those with the highest cIoU, or recall
        where it is that, on the first list of their purpose; a rule without such figures is absent.
        """
        best = {purpose: self._best(purpose) for purpose in PURPOSES}
        found = {"last": max(row.epoch for row in self.rows), **best}
        return {rule: epoch for rule, epoch in found.items() if epoch is not None}

    def line(self, split: str, metric: str) -> dict[int, float]:
        """Values by epoch, in order of epochs."""
        found = {row.epoch: row.figures[metric] for row in self.rows if row.split == split and metric in row.figures}
        return dict(sorted(found.items()))

    def _best(self, purpose: str) -> int | None:
        first = next((row.split for row in self.rows if row.purpose == purpose), "")
        values = self.line(first, "locacc") or self.line(first, RECALL)
        return max(values, key=lambda epoch: (values[epoch], -epoch)) if values else None


def draw_evaluations(place: Path, out: Path, *, title: str) -> None:
    """Draw one training's evaluations into ``out``, whose suffix tells the format.

    Args:
        place: folder of the training, or its ``evaluations.jsonl``.
        out: the picture.
        title: stands above it.

    Raises:
        UsageError: where there are no evaluations.
        AvbenchError: for a file that is damaged.
    """
    draw_curves([read_curves(place)], out, title=title)


def read_curves(place: Path, name: str | None = None) -> Curves:
    """The evaluations of a training; a last line that a killed process left unfinished is passed over.

    Args:
        place: folder of the training, or its ``evaluations.jsonl``.
        name: of the training; without it that of the folder.

    Raises:
        UsageError: where there are none.
        AvbenchError: for a row of another form, or rows that cannot be of one training.
    """
    path = place / EVALUATIONS if place.is_dir() else place
    if not path.exists():
        raise UsageError(
            f"there is no {EVALUATIONS} at {place}: name the folder of a training that was evaluated as it went, by "
            "avbench train --validate SPLIT or --oracle SPLIT"
        )
    rows = tuple(_rows(path))
    if not rows:
        raise UsageError(f"{path} holds no evaluation yet: wait for the first, or name another training")
    return Curves(path.resolve().parent.name if name is None else name, rows)


def require_alike(trainings: Sequence[Curves]) -> None:
    """Refuse trainings whose curves say nothing beside each other.

    Raises:
        UsageError: where two were evaluated on other splits, or on other parts of them.
    """
    first = trainings[0]
    for other in trainings[1:]:
        if other.splits != first.splits:
            raise UsageError(
                f"{first.name} was evaluated on {_listed(first)}, and {other.name} on {_listed(other)}: draw trainings "
                "apart that were evaluated on different lists"
            )


def draw_curves(trainings: Sequence[Curves], out: Path, *, title: str) -> None:
    """Draw trainings into one picture: a panel per metric, a line per training and split, the chosen epochs marked.

    Args:
        trainings: at least one, that :func:`require_alike` lets pass.
        out: the picture, whose suffix tells the format.
        title: stands above it.

    Raises:
        UsageError: for more lines than can be told apart, or where no metric of :data:`PANELS` was evaluated.
    """
    looks = _looks(trainings)
    shown = [metric for metric in PANELS if any(metric in row.figures for each in trainings for row in each.rows)]
    if not shown:
        raise UsageError(f"none of {', '.join(PANELS)} was evaluated: write the table instead, --out FILE.csv")
    marks = [_mark(rule) for rule in MARKS if any(rule in each.chosen() for each in trainings)]
    columns = min(3, len(shown))
    height = 3 + 0.17 * math.ceil((len(looks) + len(marks)) / columns)
    figure = Figure(figsize=(max(3.4 * len(shown), 4.5), height), dpi=DOTS, layout="constrained")
    for axis, metric in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        _dress(axis, PANELS[metric], [row.epoch for each in trainings for row in each.rows])
        for training in trainings:
            _draw(axis, training, metric, looks)
    handles = [*looks.values(), *marks]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=9)
    save_figure(figure, out)


def write_table(trainings: Sequence[Curves], out: Path) -> None:
    """Write every figure of every evaluation into the CSV ``out``: a row each, :data:`HEADER` above, fractions."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for training in trainings:
        for row in training.rows:
            place = (training.name, row.epoch, row.split, PURPOSES[row.purpose])
            writer.writerows((*place, metric, value) for metric, value in row.figures.items())
    write_atomic(out, text.getvalue().encode())


def _rows(path: Path) -> Iterator[Evaluation]:
    seen: dict[str, Evaluation] = {}
    epochs: set[tuple[str, int]] = set()
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}, line {number}"
        row = _parsed(where, line)
        _require_one_training(where, row, seen)
        if (row.split, row.epoch) in epochs:
            raise AvbenchError(f"{where}: {row.split} stands there twice for epoch {row.epoch}: delete one of the rows")
        epochs.add((row.split, row.epoch))
        seen.setdefault(row.split, row)
        yield row


def _lines(path: Path) -> list[str]:
    try:
        require_file(path)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, ValueError) as problem:
        raise AvbenchError(f"{path} cannot be read as text ({problem}): train again") from problem
    return [line for line in lines if line.endswith("\n")]


def _parsed(where: str, line: str) -> Evaluation:
    try:
        row = json.loads(line)
        head = {key: row.pop(key) for key in ("epoch", "split", "purpose", "n")}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as problem:
        raise _unlike(where, line, "which it is not") from problem
    if not (_is_count(head["epoch"]) and _is_count(head["n"]) and isinstance(head["split"], str)):
        raise _unlike(where, line, "with whole numbers for epoch and n and a name for split")
    if head["purpose"] not in tuple(PURPOSES):  # which may be no text, nor hashable
        raise _unlike(where, line, f"with a purpose of {' or '.join(PURPOSES)}")
    unknown = [name for name in row if name != RECALL and name not in METRICS]
    if unknown:
        raise _unlike(where, line, f"where {unknown[0]!r} is no metric")
    if not row or not all(_is_fraction(value) for value in row.values()):
        raise _unlike(where, line, "with figures from 0 to 1")
    return Evaluation(**head, figures=row)


def _unlike(where: str, line: str, reason: str) -> AvbenchError:
    return AvbenchError(
        f"{where}: expected a row such as {FORM}, {reason}, got {line.strip()[:120]!r}: delete that line or train again"
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_fraction(value: Any) -> bool:
    return type(value) in {int, float} and math.isfinite(value) and 0 <= value <= 1


def _require_one_training(where: str, row: Evaluation, seen: Mapping[str, Evaluation]) -> None:
    known = seen.get(row.split, row)
    if (known.purpose, known.n) != (row.purpose, row.n):
        raise AvbenchError(
            f"{where}: {row.split} is a list of {row.n} samples for {row.purpose} here and of {known.n} for "
            f"{known.purpose} above: keep the rows of one training alone"
        )
    others = [each.split for each in seen.values() if each.purpose == "validation" and each.split != row.split]
    if row.purpose == "validation" and others:
        raise AvbenchError(
            f"{where}: {row.split} and {others[0]} are both there for validation: keep the rows of one training alone"
        )


def _listed(training: Curves) -> str:
    return ", ".join(f"{split} ({n} for {purpose})" for split, (purpose, n) in training.splits.items())


def _looks(trainings: Sequence[Curves]) -> dict[tuple[str, str], Line2D]:
    """How the line of each training and split looks, with what the legend calls it."""
    splits = list(trainings[0].splits)
    coloured, dashed = (len(trainings), len(splits)) if len(trainings) > 1 else (len(splits), 1)
    if coloured > len(COLOURS) or dashed > len(DASHES):
        raise UsageError(
            f"{len(trainings)} trainings on {len(splits)} lists are more lines than can be told apart: draw at most "
            f"{len(COLOURS)} trainings on {len(DASHES)} lists, or one on {len(COLOURS)}; a table (.csv) takes any"
        )
    return {
        (training.name, split): _look(len(trainings) > 1, training, split, place=(row, column))
        for row, training in enumerate(trainings)
        for column, split in enumerate(splits)
    }


def _look(several: bool, training: Curves, split: str, *, place: tuple[int, int]) -> Line2D:
    row, column = place
    colour, dash = (COLOURS[row], DASHES[column]) if several else (COLOURS[column], DASHES[0])
    called = f"{split} ({PURPOSES[training.splits[split][0]]})"
    return Line2D([], [], color=colour, linestyle=dash, label=f"{training.name}: {called}" if several else called)


def _draw(axis: Axes, training: Curves, metric: str, looks: Mapping[tuple[str, str], Line2D]) -> None:
    for split in training.splits:
        values = {epoch: 100 * value for epoch, value in training.line(split, metric).items()}
        look = looks[training.name, split]
        colour, dash = look.get_color(), look.get_linestyle()
        axis.plot(list(values), list(values.values()), color=colour, linestyle=dash, linewidth=1.2, marker=".", ms=3)
        for rule, epoch in training.chosen().items():
            if epoch in values:
                mark = _mark(rule)
                mark.set(xdata=[epoch], ydata=[values[epoch]], color=colour)
                axis.add_line(mark)


def _mark(rule: str) -> Line2D:
    filled = rule == "oracle"
    size = {"last": 9, "validation": 7, "oracle": 6}[rule]
    face = None if filled else "none"
    return Line2D(
        [], [], color="#444444", linestyle="none", marker=MARKS[rule], ms=size, markerfacecolor=face, label=TOLD[rule]
    )


def _dress(axis: Axes, title: str, epochs: Sequence[int]) -> None:
    axis.set_title(title, fontsize=8)
    axis.set_xlabel("epoch", fontsize=7)
    axis.set_ylabel("%", fontsize=7)
    first, last = min(epochs), max(epochs)
    beside = 0.5 + 0.03 * (last - first)
    axis.set_xlim(first - beside, last + beside)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.tick_params(labelsize=6)
    axis.grid(visible=True, color="#dddddd", linewidth=0.5)
