"""What the reader of a board must know: who is ranked, by which tests, and where everything else stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from avbench.leaderboards.board_pools import Pool
from avbench.leaderboards.board_tests import Outcome
from avbench.leaderboards.compared import LEVEL, Comparison
from avbench.leaderboards.selections import TITLES, cautions
from avbench.metrics.catalogue import METRICS

if TYPE_CHECKING:
    from avbench.leaderboards.boards import Line

LISTENS = (
    "listens?: the least drop of the success rate, in points, when the sound is replaced by a negative one; yes: "
    "even that drop is shown (Holm, 5 %), no: no drop is, unclear: some are. Blank: hears nothing, or was not asked."
)


def notes(pool: Pool, outcome: Outcome, lines: Sequence[Line]) -> list[str]:
    """The notes of a board, one line each."""
    return [
        *_ranked(pool, lines),
        *cautions([row.record for row in pool.rows]),
        *_tests(outcome, lines),
        *_untested(pool, outcome),
        *_controls(lines),
        *_samples(pool),
        *_doubles(pool),
        *_columns(lines),
        _list(pool),
    ]


def _ranked(pool: Pool, lines: Sequence[Line]) -> Iterator[str]:
    methods = [line for line in lines if not line.control]
    if not methods:
        yield "Controls alone: nothing is ranked."
        return
    what = " and ".join(TITLES[one] for one in pool.selections) or "methods that were never trained"
    others = f"; on boards of their own: {', '.join(pool.others)}" if pool.others else ""
    yield f"Ranked: {what}{others}."
    if len(methods) == 1:
        yield f"{methods[0].title} is the one method here: its rank says nothing."


def _tests(outcome: Outcome, lines: Sequence[Line]) -> Iterator[str]:
    for found in outcome.comparisons:
        pairs = max(len(result.pairs) for result in found.results)
        exact = [result.metric for result in found.results if result.exact]
        drawn = [result.metric for result in found.results if not result.exact]
        tests = [f"exact McNemar for {named(exact)}"] if exact else []
        tests += [f"paired bootstrap for {named(drawn)}"] if drawn else []
        yield (
            f"Tests: {', '.join(tests)} ({found.resamples:,} resamples, seed {found.seed}); Holm over the {pairs} "
            f"pair{'' if pairs == 1 else 's'} of each metric."
        )
        yield from _too_few(found)
    if outcome.comparisons:
        yield f"Tie: no row of a letter can be told apart from the best one of that letter at {LEVEL:.0%}."
    if any(line.intervals for line in lines):
        yield "95 %: Wilson's interval for rates of independent samples, else the percentile bootstrap's."


def _too_few(found: Comparison) -> Iterator[str]:
    """Metrics whose least possible p-value, after the correction, tells nothing apart."""
    few = [
        result.metric
        for result in found.results
        if not result.exact and 2 * len(result.pairs) / (1 + found.resamples) > LEVEL
    ]
    if few:
        yield f"{named(few)}: too few resamples to tell any of so many pairs apart; raise --resamples."


def _untested(pool: Pool, outcome: Outcome) -> Iterator[str]:
    rest = [metric for metric in pool.metrics if metric not in outcome.tested]
    if rest:
        yield f"{named(rest)}: as recorded and without ranks, since the per-sample values kept do not allow a test."


def _controls(lines: Sequence[Line]) -> Iterator[str]:
    titles = [line.title for line in lines if line.control]
    if titles:
        yield (
            "Controls show what needs no listening, or the truth itself (oracle-...); they stand by their value, "
            f"neither ranked nor tested: {', '.join(titles)}."
        )


def _samples(pool: Pool) -> Iterator[str]:
    record = pool.rows[0].record
    if record.n_positive == record.n_scored:
        yield f"{record.n_scored} samples, each with a sounding object."
    else:
        yield (
            f"{record.n_scored} samples, {record.n_positive} of them with a sounding object; cIoU, AUC and mean cIoU "
            "are over these, AP and max-F1 over all."
        )


def _doubles(pool: Pool) -> Iterator[str]:
    if pool.doubles:
        yield f"The same predictions lie in several places and stand here once: {', '.join(pool.doubles)}."


def _columns(lines: Sequence[Line]) -> Iterator[str]:
    if any(line.listens for line in lines):
        yield LISTENS
    if any(line.parameters is not None for line in lines):
        yield "M: millions of parameters that inference reads."
    places: dict[str, list[str]] = {}
    for line in lines:
        if line.seconds is not None:
            places.setdefault(line.device or "an unnamed device", []).append(line.title)
    if places:
        yield f"ms: of decoding, front-end and forward pass, per sample, on {_on(places)}."


def _on(places: dict[str, list[str]]) -> str:
    """The device, or each with its rows where there are several; the most common one without them."""
    by_use = sorted(places, key=lambda place: (-len(places[place]), place))
    others = [f"on {place}: {', '.join(places[place])}" for place in by_use[1:]]
    return "; ".join([by_use[0], *others])


def _list(pool: Pool) -> str:
    """What tells boards apart that share their names."""
    head = pool.head
    versions = ", ".join(f"{METRICS[name].display} {version}" for name, version in pool.versions)
    return (
        f"Protocol {head.protocol}, version {head.version}; versions of metrics: {versions}; list of samples "
        f"{head.split_sha256[:12]}, truth {head.truth[:12]}."
    )


def named(metrics: Iterable[str]) -> str:
    """Metrics as they are shown."""
    return ", ".join(METRICS[metric].display for metric in metrics)
