"""Whether methods listen, at the terminal, as Markdown, LaTeX, CSV and JSON. Imports no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from tabulate import tabulate

from avbench.leaderboards.rows import percent

if TYPE_CHECKING:
    from avbench.listening import Answers, Listening

LEVEL = 0.05
"""A drop is shown at a corrected p-value ``<=`` it."""

RULE = "maxq3"
"""The rule for the threshold under which the summary scores stand."""

OFF_SCREEN = {
    "offscreen": "offscreen is the sound of any other clip, the official draw",
    "swapped": "swapped is the sound of a clip of another class, the corrected draw",
}

STYLES = {"md": "github", "tex": "latex_booktabs"}
WIDE = 1000
"""Columns assumed where the output is a file or a pipe, so that nothing is cut."""

CSV_COLUMNS = (
    *("split", "method", "measure", "rule", "audio", "other", "n", "value", "low", "high", "p", "p_holm", "off_screen"),
    "threshold_from",
)


@dataclass(frozen=True)
class _Sheet:
    """A table whose first ``names`` columns hold text; a heading may have two lines, a block is a method's lines."""

    title: str
    headings: tuple[str, ...]
    blocks: tuple[tuple[tuple[str, ...], ...], ...]
    names: int

    @property
    def lines(self) -> list[tuple[str, ...]]:
        return [line for block in self.blocks for line in block]


def print_listening(answers: Answers) -> None:
    """Print the tables of each split and what must be known of them on stdout."""
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, emoji=False, width=WIDE)
    for found in _by_split(answers.found):
        for sheet in _sheets(found):
            console.print(sheet.title)
            console.print(_drawn(sheet))
        for note in _notes(found, answers):
            console.print(note)


def listening_text(answers: Answers, form: str) -> str:
    """The same as Markdown (``md``) or LaTeX (``tex``), or every number as CSV (``csv``).

    CSV is one table of fractions, not percents, a line for each value; what does not apply is empty.
    """
    if form == "csv":
        return _csv(answers.found)
    comment = "% " if form == "tex" else ""
    blocks = []
    for found in _by_split(answers.found):
        for sheet in _sheets(found):
            align = ["left"] * sheet.names + ["right"] * (len(sheet.headings) - sheet.names)
            titles = [heading.replace("\n", " ") for heading in sheet.headings]
            table = tabulate(sheet.lines, titles, tablefmt=STYLES[form], disable_numparse=True, colalign=align)
            blocks.append(f"{f'% {sheet.title}' if comment else f'**{sheet.title}**'}\n\n{table}\n")
        blocks.append("\n".join(f"{comment or '- '}{note}" for note in _notes(found, answers)) + "\n")
    return "\n".join(blocks)


def listening_json(answers: Answers) -> dict[str, Any]:
    """Everything, as JSON can hold it: values are fractions, what is not a finite number is None."""
    return {
        "listening": [answer.as_json() for answer in answers.found],
        "not_hearing": [{"split": split, "method": method} for split, method in answers.deaf],
        "left_out": [{"split": split, "method": title} for title, split in answers.left_out],
    }


def _by_split(found: Sequence[Listening]) -> Iterator[list[Listening]]:
    for _, group in groupby(found, key=lambda one: one.split):
        yield list(group)


def _sheets(found: Sequence[Listening]) -> list[_Sheet]:
    return [_drops(found), _summary(found), _kinds(found), _agreement(found)]


def _drops(found: Sequence[Listening]) -> _Sheet:
    headings = ("method", "audio", "cIoU %", "95 %", "drop", "95 %", "p (Holm)", "same\nmap %", "nearly\n%")
    title = f"{found[0].split}: does it listen? cIoU % with each audio against the image's own boxes, protocol common"
    blocks = tuple(tuple(_drop_line(one, audio) for audio in one.success) for one in found)
    return _Sheet(title, headings, blocks, names=2)


def _drop_line(one: Listening, audio: str) -> tuple[str, ...]:
    rate, drop = one.success[audio], one.drops.get(audio)
    head = (_first(one, audio), audio, _percent(rate.value), _range(rate.low, rate.high))
    if drop is None:
        return (*head, *[""] * 5)
    mark = "*" if drop.p_holm <= LEVEL else " "
    same = (_percent(one.unchanged[audio], 1), _percent(one.unchanged_nearly[audio], 1))
    return (*head, _percent(drop.value), _range(drop.low, drop.high), f"{_p(drop.p_holm)} {mark}", *same)


def _first(one: Listening, audio: str) -> str:
    """The method's name, on the first of its lines."""
    return one.title if audio == next(iter(one.success)) else ""


def _summary(found: Sequence[Listening]) -> _Sheet:
    headings = (
        *("method", "threshold\nmaxq3", "max10\n(90 %)", "max", "mean\ncIoU %", "AUC %", "pIA\nmean %"),
        *("AUC_N\nmean %", "F_LOC %", "F_AUC %"),
    )
    title = f"{found[0].split}: one threshold for all images, learnt from the negative audio ({RULE})"
    return _Sheet(title, headings, tuple((_summary_line(one),) for one in found), names=1)


def _summary_line(one: Listening) -> tuple[str, ...]:
    scores = one.scores[RULE]
    thresholds = [_raw(one.scores[rule].threshold) for rule in (RULE, "max10", "max")]
    pia, auc_n = (sum(values.values()) / len(values) for values in (scores.pia, scores.auc_n))
    shares = (scores.ciou_uth, scores.auc_uth, pia, auc_n, scores.f_loc, scores.f_auc)
    return (one.title, *thresholds, *map(_percent, shares))


def _kinds(found: Sequence[Listening]) -> _Sheet:
    headings = (
        *("method", "audio", "pIA %", "AUC_N %", "F_LOC %", "F_AUC %"),
        *("max\nmean", "max\nmedian", "min\nmean", "min\nmedian"),
    )
    title = f"{found[0].split}: the same by kind of audio, and the extremes of the raw maps"
    blocks = tuple(tuple(_kind_line(one, audio) for audio in one.extremes) for one in found)
    return _Sheet(title, headings, blocks, names=2)


def _kind_line(one: Listening, audio: str) -> tuple[str, ...]:
    scores, extremes = one.scores[RULE], one.extremes[audio]
    shares = [
        _percent(values[audio]) if audio in values else ""
        for values in (scores.pia, scores.auc_n, scores.f_loc_by_kind, scores.f_auc_by_kind)
    ]
    ends = [_raw(extremes[name]) for name in ("mean_max", "median_max", "mean_min", "median_min")]
    return (_first(one, audio), audio, *shares, *ends)


def _agreement(found: Sequence[Listening]) -> _Sheet:
    pairs = list(found[0].scores[RULE].agreement)
    lines = tuple(((one.title, *(_percent(v) for v in one.scores[RULE].agreement.values())),) for one in found)
    title = f"{found[0].split}: agreement (IoU %) of the pixels above the threshold, between two kinds of audio"
    return _Sheet(title, ("method", *(pair.replace("/", "\n") for pair in pairs)), lines, names=1)


def _notes(found: Sequence[Listening], answers: Answers) -> list[str]:
    """What the reader must know of the numbers, one line each."""
    return [*_verdicts(found), *_terms(found), *_aside(found[0].split, answers), *_warnings(found)]


def _verdicts(found: Sequence[Listening]) -> Iterator[str]:
    verdicts: dict[str, list[str]] = {}
    for one in found:
        shown = [audio for audio, drop in one.drops.items() if drop.value > 0 and drop.p_holm <= LEVEL]
        every = len(shown) == len(one.drops)
        what = "every kind of negative" if every else f"{' and '.join(shown)}" if shown else ""
        verdicts.setdefault(what, []).append(one.title)
    for what, names in verdicts.items():
        if what:
            yield f"Listens, by a drop with {what} audio: {', '.join(names)}."
    if "" in verdicts:
        yield f"No drop is shown, so nothing says that it listens: {', '.join(verdicts[''])}."


def _terms(found: Sequence[Listening]) -> Iterator[str]:
    one = found[0]
    resamples, seed = one.provenance["resamples"], one.provenance["seed"]
    of = f", of {one.n_expected}" if one.n < one.n_expected else ""
    yield f"Over the {one.n} samples with a box{of}. {OFF_SCREEN[one.off_screen]}."
    rates = "bootstrap of pictures, which several samples share" if one.clustered else "Wilson for rates"
    test = "bootstrap" if one.clustered else "exact McNemar"
    yield (
        f"drop: points below the own audio. 95 %: {rates}, paired bootstrap for drops ({resamples:,} resamples, seed "
        f"{seed}). p: {test}, Holm over the {len(one.drops)} kinds; * at the {LEVEL:.0%} level."
    )
    yield "same map %: maps that the audio leaves equal to the bit; nearly: within 1e-6 of the map's range."
    yield (
        "Thresholds: of the largest value of each raw map under negative audio the third quartile (maxq3), the 90 % "
        "quantile (max10, our reading of the name) or the largest (max); pixels > it sound."
    )
    if one.threshold_from is not None:
        origin = one.threshold_from
        yield f"They come from other predictions, on the {origin['n']} samples with a box of {origin['split']}."
    yield (
        "pIA: share of the pixels that sound under negative audio. F_LOC: harmonic mean of cIoU and 100 - pIA; F_AUC: "
        "of AUC and AUC_N."
    )


def _aside(split: str, answers: Answers) -> Iterator[str]:
    deaf = [method for place, method in answers.deaf if place == split]
    if deaf:
        yield f"Not asked, since no audio goes into them: {', '.join(deaf)}."
    left_out = [title for title, place in answers.left_out if place == split]
    if left_out:
        yield f"Left out, for want of some kind of audio: {'; '.join(left_out)}."


def _warnings(found: Sequence[Listening]) -> Iterator[str]:
    for one in found:
        broken = {audio: int(ends["nan"]) for audio, ends in one.extremes.items() if ends["nan"]}
        if broken:
            counts = ", ".join(f"{count} with {audio} audio" for audio, count in broken.items())
            yield f"{one.title}: maps with a value that is not a number, counted as silent: {counts}."
    if any(one.partial for one in found):
        yield "Partial results cover less than the split and are not to be ranked."


def _drawn(sheet: _Sheet) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for number, heading in enumerate(sheet.headings):
        justify, cells = ("left" if number < sheet.names else "right"), [len(line[number]) for line in sheet.lines]
        least = max(cells) if number else min(8, max(cells))
        table.add_column(heading, justify=justify, overflow="fold", min_width=least)  # type: ignore[arg-type]
    for block in sheet.blocks:
        for line in block:
            table.add_row(*line)
        if len(block) > 1:
            table.add_section()
    return table


def _csv(found: Sequence[Listening]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for one in found:
        origin = one.threshold_from["split"] if one.threshold_from else ""
        head = {"split": one.split, "method": one.title, "n": one.n, "off_screen": one.off_screen}
        for line in _values(one):
            known = {key: "" if value is None or value != value else value for key, value in line.items()}
            writer.writerow({**head, "threshold_from": origin if "rule" in line else "", **known})
    return buffer.getvalue()


def _values(one: Listening) -> Iterator[dict[str, Any]]:
    for audio, rate in one.success.items():
        yield {"measure": "success", "audio": audio, **asdict(rate)}
    for audio, drop in one.drops.items():
        yield {"measure": "drop", "audio": audio, **asdict(drop)}
    for measure in ("unchanged", "unchanged_nearly"):
        for audio, value in getattr(one, measure).items():
            yield {"measure": measure, "audio": audio, "value": value}
    for audio, ends in one.extremes.items():
        for measure, value in ends.items():
            yield {"measure": measure, "audio": audio, "value": value}
    for rule, scores in one.scores.items():
        yield from _score_values(rule, asdict(scores))


def _score_values(rule: str, scores: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for measure, value in scores.items():
        name = measure.removesuffix("_by_kind")
        if not isinstance(value, dict):
            yield {"measure": name, "rule": rule, "value": value}
            continue
        for kind, one in value.items():
            audio, _, other = kind.partition("/")
            yield {"measure": name, "rule": rule, "audio": audio, "other": other, "value": one}


def _percent(value: float, decimals: int = 2) -> str:
    return "" if value != value else percent(value, decimals)


def _raw(value: float) -> str:
    return "" if value != value else f"{value:.4g}"


def _range(low: float, high: float) -> str:
    return "" if low != low else f"{100 * low:.1f} to {100 * high:.1f}"


def _p(value: float) -> str:
    return "" if value != value else "<0.0001" if value < 0.0001 else f"{value:.4f}"
