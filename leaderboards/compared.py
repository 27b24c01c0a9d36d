"""What a comparison of methods says, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from avbench.metrics.resampling import RESAMPLES
from avbench.records import Selection

LEVEL = 0.05
"""Methods are told apart at an adjusted p-value ``<=`` it."""

By = Literal["size", "class"]


@dataclass(frozen=True)
class Plan:
    """How rows are compared.

    Attributes:
        metrics: ids; empty for those that stand for the protocol, and AP and max-F1 where there are negatives.
        common: take the samples that all rows have.
        resamples: of the bootstrap, and random sign patterns of the tests within classes and sizes.
        seed: of both.
        ranked: methods that are ranked even if they are controls.
        selections: of checkpoints, those that are ranked with each other; empty for the first that is there.
        parts: also compare within sizes and classes.
    """

    metrics: tuple[str, ...] = ()
    common: bool = False
    resamples: int = RESAMPLES
    seed: int = 0
    ranked: tuple[str, ...] = ()
    selections: tuple[Selection, ...] = ()
    parts: bool = True


@dataclass(frozen=True)
class Entrant:
    """A row: its title, whether it is a control and whether it is ranked, where its record stands, and how its
    checkpoint was chosen."""

    title: str
    control: bool
    ranked: bool
    record: str
    selection: Selection


@dataclass(frozen=True)
class Standing:
    """A row's value, its 95 % interval, and among the ranked ones its place and tie group, both from 1."""

    title: str
    value: float
    low: float
    high: float
    rank: int | None
    group: int | None


@dataclass(frozen=True)
class Pair:
    """Two rows, the better first: the difference with its 95 % interval, p-value, and p-value after Holm's correction.

    ``only_first`` and ``only_second`` count the samples on which one of the two alone succeeds, for McNemar's test.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    only_first: int | None
    only_second: int | None


@dataclass(frozen=True)
class Result:
    """One metric.

    Attributes:
        n: samples that it is over.
        exact: whether the intervals are Wilson's and the tests McNemar's; else both are the bootstrap's.
        clustered: whether several of the samples show one picture, so that they are drawn together.
        standings: in the order of the comparison's rows.
        pairs: of the ranked rows that have a value; Holm's correction is over them.
        detectable: the least difference that one test at the 5 % level finds with 80 % power, at the median of the
            pairs' discordances or spreads; None without a pair.
        detectable_worst: by McNemar's test, at the discordance 0.5 of unrelated methods if that is more; else at the
            largest spread.
        discordance: that median share of samples on which just one of two succeeds; None where not exact.
    """

    metric: str
    n: int
    exact: bool
    clustered: bool
    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]
    detectable: float | None
    detectable_worst: float | None
    discordance: float | None


class PartPair(NamedTuple):
    """A pair of rows within a class or size: difference, p-value, and Holm's over all pairs of all classes or sizes."""

    first: str
    second: str
    difference: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class Part:
    """The samples of one class or size: the first metric that is a mean, and its tie groups, of each ranked row."""

    metric: str
    by: By
    name: str
    n: int
    values: tuple[float, ...]
    groups: tuple[int | None, ...]
    pairs: tuple[PartPair, ...]


@dataclass(frozen=True)
class Comparison:
    """Everything that is said of some rows on the same samples.

    Attributes:
        version: of the protocol.
        n: samples compared.
        n_expected: samples that the split lists.
        n_positive: of the n, those with a sounding object.
        common: whether some row has further samples, which are left out.
        entrants: ranked ones first, by the first metric; then the others.
        selections: of checkpoints, those that are ranked with each other; empty where none was trained.
        left_out: title and selection of the rows that are not compared, being of another selection.
        parts: sizes in ascending order, then classes in alphabetical order; one that has no sample is absent.
    """

    split: str
    protocol: str
    version: int
    n: int
    n_expected: int
    n_positive: int
    common: bool
    entrants: tuple[Entrant, ...]
    results: tuple[Result, ...]
    selections: tuple[Selection, ...]
    left_out: tuple[tuple[str, Selection], ...]
    parts: tuple[Part, ...]
    resamples: int
    seed: int
