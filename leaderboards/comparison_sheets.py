"""A comparison as tables of plain cells and lines of text: what its reader sees, in whatever form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from avbench.leaderboards.compared import LEVEL, By, Comparison, Pair, Part, Result, Standing
from avbench.leaderboards.rows import percent
from avbench.leaderboards.selections import TITLES, title_of
from avbench.metrics.catalogue import METRICS

DIVISIONS: tuple[By, ...] = ("size", "class")
ABREAST = 3
"""Metrics of which the values, intervals and ranks fit beside each other on a page."""
PAIR_LINES = 20
"""The most lines of pairs that are shown of all metrics; where there are more, those of the first metric."""
MOST_DIFFERENT = 5
"""Classes shown unless all are asked for."""
FEW = 30
"""Samples below which a bootstrap is called too sure."""


@dataclass(frozen=True)
class Sheet:
    """A table: the first ``names`` columns hold text, the others numbers; ``ranked`` lines come before the rest."""

    title: str
    headings: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    ranked: int
    names: int = 1


def sheets(
    found: Comparison, by: Sequence[By] | None = None, *, every_pair: bool = True, abreast: int = ABREAST
) -> list[Sheet]:
    """The tables, in the order in which they are read.

    Args:
        found: What was compared.
        by: Divisions shown whole; None shows the sizes and the classes that differ most.
        every_pair: The pairs of all metrics; otherwise of the first alone where all would be too many lines.
        abreast: Metrics beside each other in a table.
    """
    groups = [found.results[n : n + abreast] for n in range(0, len(found.results), abreast)]
    tables = [_standings(found, group) for group in groups]
    tables += [_pairs(results) for results in [shown_pairs(found, every=every_pair)] if any(r.pairs for r in results)]
    return [*tables, *_divisions(found, by)]


def notes(found: Comparison, by: Sequence[By] | None = None) -> list[str]:
    """What the reader must know of the numbers, one line each; ``by`` as for :func:`sheets`."""
    return [
        *_methods(found),
        *_division_tests(found, DIVISIONS if by is None else by),
        *_detectable(found),
        *_samples(found),
        *_selections(found),
        *_warnings(found),
    ]


def shown_pairs(found: Comparison, *, every: bool) -> tuple[Result, ...]:
    """The results whose pairs are shown."""
    count = sum(len(result.pairs) for result in found.results)
    return found.results if every or count <= PAIR_LINES else found.results[:1]


def _display(metric: str) -> str:
    return METRICS[metric].display


def _percent(value: float, metric: str, *, sign: str = "") -> str:
    return "" if value != value else percent(value, METRICS[metric].decimals, sign)


def _range(low: float, high: float, decimals: int) -> str:
    return "" if low != low else f"{100 * low:.{decimals}f} to {100 * high:.{decimals}f}"


def _p(value: float) -> str:
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _letters(group: int | None) -> str:
    """a to z, then aa and so on; nothing for a row without a group."""
    if group is None:
        return ""
    more, last = divmod(group - 1, 26)
    return (_letters(more) if more else "") + chr(ord("a") + last)


def _standings(found: Comparison, results: Sequence[Result]) -> Sheet:
    of = f" of {found.n_expected}" if found.n < found.n_expected else ""
    headings = [title for one in results for title in (f"{_display(one.metric)} %", "95 %", "rank")]
    lines = [
        (entrant.title, *(cell for one in results for cell in _standing(one.metric, one.standings[n])))
        for n, entrant in enumerate(found.entrants)
    ]
    title = f"{found.split}, protocol {found.protocol}: {found.n}{of} samples{title_of(found.selections)}"
    return Sheet(title, ("method", *headings), tuple(lines), sum(entrant.ranked for entrant in found.entrants))


def _standing(metric: str, one: Standing) -> tuple[str, str, str]:
    rank = "-" if one.rank is None else f"{one.rank}{_letters(one.group)}"
    return _percent(one.value, metric), _range(one.low, one.high, 1), rank


def _pairs(results: Sequence[Result]) -> Sheet:
    """With a column for the metric where there are several."""
    lines = [_pair(one.metric, pair) for one in results for pair in one.pairs]
    headings = ("metric", "better", "than", "by", "95 %", "won:lost", "p", "p (Holm)")
    if len(results) > 1:
        return Sheet("Pairs, differences in points", headings, tuple(lines), len(lines), names=3)
    title = f"Pairs, differences of {_display(results[0].metric)} in points"
    return Sheet(title, headings[1:], tuple(line[1:] for line in lines), len(lines), names=2)


def _pair(metric: str, pair: Pair) -> tuple[str, ...]:
    only = "" if pair.only_first is None else f"{pair.only_first}:{pair.only_second}"
    interval = _range(pair.low, pair.high, METRICS[metric].decimals)
    mark = " *" if pair.p_holm <= LEVEL else "  "
    by = _percent(pair.difference, metric)
    return (_display(metric), pair.first, pair.second, by, interval, only, _p(pair.p), _p(pair.p_holm) + mark)


def _divisions(found: Comparison, by: Sequence[By] | None) -> Iterator[Sheet]:
    titles = tuple(entrant.title for entrant in found.entrants if entrant.ranked)
    for kind in DIVISIONS if by is None else by:
        parts = [part for part in found.parts if part.by == kind]
        shown = most_different(parts) if by is None and kind == "class" else parts
        if shown:
            lines = tuple((part.name, str(part.n), *_part_cells(part)) for part in shown)
            yield Sheet(_division_title(shown[0], len(shown), len(parts)), (kind, "n", *titles), lines, len(lines))


def most_different(parts: Sequence[Part]) -> list[Part]:
    """The parts with the most evidence of a difference: by the least p-value of their pairs, then by their spread."""

    def evidence(part: Part) -> tuple[float, float, str]:
        values = [value for value in part.values if value == value]
        spread = max(values) - min(values) if values else 0.0
        return min((pair.p for pair in part.pairs), default=1.0), -spread, part.name

    return sorted(parts, key=evidence)[:MOST_DIFFERENT]


def _division_title(part: Part, shown: int, total: int) -> str:
    what = f"{_display(part.metric)} % by {part.by}"
    return what if shown == total else f"{what}: the {shown} of {total} that differ most (--by class shows all)"


def _part_cells(part: Part) -> list[str]:
    """Values, with the letters of tie groups where there is more than one group."""
    differ = len(set(part.groups) - {None}) > 1
    return [
        "" if value != value else f"{100 * value:.1f}{_letters(group) if differ else ''}"
        for value, group in zip(part.values, part.groups, strict=True)
    ]


def _named(results: Sequence[Result]) -> str:
    return ", ".join(_display(result.metric) for result in results)


def _methods(found: Comparison) -> Iterator[str]:
    exact, drawn = ([one for one in found.results if one.exact == kind] for kind in (True, False))
    intervals = _either("Wilson", exact, "percentile bootstrap", drawn)
    intervals += "" if drawn else ", of differences by percentile bootstrap"
    yield f"95 %: {intervals}; {found.resamples:,} paired resamples, seed {found.seed}."
    pairs = max(len(result.pairs) for result in found.results)
    if pairs:
        yield (
            f"p: {_either('exact McNemar', exact, 'paired bootstrap', drawn)}; Holm over the {_count(pairs, 'pair')} "
            f"of each metric; * told apart at {LEVEL:.0%}."
        )
    if exact and pairs:
        yield "won:lost: samples on which only the better, or only the other, succeeds."
    yield "Letters: tie groups; no member can be told apart from the best of its group."


def _either(exact: str, of: Sequence[Result], other: str, rest: Sequence[Result]) -> str:
    if not (of and rest):
        return exact if of else other
    return f"{exact} for {_named(of)}, else {other}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _division_tests(found: Comparison, by: Sequence[By]) -> Iterator[str]:
    """How the divisions shown were tested, where there is anything to test."""
    pairs = {kind: sum(len(part.pairs) for part in found.parts if part.by == kind) for kind in by}
    tests = {"sizes" if kind == "size" else "classes": count for kind, count in pairs.items() if count}
    if not tests:
        return
    exact = any(one.exact for one in found.results if one.metric == found.parts[0].metric)
    families = " and over ".join(f"the {_count(count, 'test')} of {kinds}" for kinds, count in tests.items())
    test = "exact McNemar" if exact else "sign flips"
    yield f"By {' and '.join(by)}: {test}, Holm over {families}; letters where any differ."
    for kinds, count in tests.items():
        if not exact and count / (1 + found.resamples) > LEVEL:
            yield f"Too few resamples to tell rows apart in {kinds} of many samples; raise --resamples."


def _detectable(found: Comparison) -> Iterator[str]:
    """The least differences that can be found, one line for each number of samples."""
    having = [result for result in found.results if result.detectable is not None]
    for count in dict.fromkeys(result.n for result in having):
        each = ", ".join(_detectable_of(result) for result in having if result.n == count)
        yield f"Least difference that one test at {LEVEL:.0%} finds with 80% power at n = {count}, in points: {each}."


def _detectable_of(result: Result) -> str:
    typical, worst = (100 * (value or 0.0) for value in (result.detectable, result.detectable_worst))
    name = f"{_display(result.metric)} {typical:.1f}"
    if result.discordance is None:
        return name if len(result.pairs) == 1 else f"{name} (widest pair {worst:.1f})"
    median = "" if len(result.pairs) == 1 else "median "
    unrelated = f"; {worst:.1f} for unrelated methods" if worst > typical else ""
    return f"{name} ({median}discordance {result.discordance:.0%}{unrelated})"


def _samples(found: Comparison) -> Iterator[str]:
    if found.common:
        yield f"The {found.n} of {found.n_expected} samples of the split that all rows have in common."
    elif found.n < found.n_expected:
        yield f"Partial: {found.n} of the {found.n_expected} samples of the split."
    for count in dict.fromkeys(result.n for result in found.results if result.n < found.n):
        names = _named([result for result in found.results if result.n == count])
        over = "with a sounding object" if count == found.n_positive else "that it can be measured on"
        yield f"{names}: over the {count} samples {over}."
    together = [result for result in found.results if result.clustered]
    if together:
        yield f"{_named(together)}: samples of one picture are drawn together, not being independent."


def _selections(found: Comparison) -> Iterator[str]:
    """How the checkpoints were chosen, where any was, and what that leaves out."""
    if len(found.selections) > 1:
        yield (
            f"Ranked together as asked for: {' and '.join(found.selections)}; a checkpoint of unknown selection may "
            "have been chosen on the test set."
        )
    elif found.selections:
        yield f"Ranked: {TITLES[found.selections[0]]}; each selection is ranked alone."
    if found.left_out:
        names = ", ".join(f"{title} ({selection})" for title, selection in found.left_out)
        yield f"Left out, being of another selection: {names}; --selection with its name ranks that one."


def _warnings(found: Comparison) -> Iterator[str]:
    aside = [entrant.title for entrant in found.entrants if not entrant.ranked]
    if aside:
        yield f"Controls are not ranked or tested unless --method names them: {', '.join(aside)}."
    for result in found.results:
        if not result.exact and 2 * len(result.pairs) / (1 + found.resamples) > LEVEL:
            yield f"{_display(result.metric)}: too few resamples to tell any pair apart; raise --resamples."
    few = [result for result in found.results if result.n < FEW and not result.exact]
    if few:
        yield f"{_named(few)}: on fewer than {FEW} samples a bootstrap is too sure of itself."
