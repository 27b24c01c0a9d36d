"""Boards of made-up entries: ranks and ties worked out by hand, and what never stands on one board."""

import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from avbench.errors import UsageError
from avbench.leaderboards.board_moves import moving
from avbench.leaderboards.board_pools import pools
from avbench.leaderboards.boards import Board, boards, listens, of_methods
from avbench.leaderboards.contestants import Contestant
from avbench.leaderboards.entries import Entry, Parameters
from avbench.leaderboards.sensitivity import sensitivity
from avbench.records import Record

RIGHT, WRONG = 0.9, 0.1
RESAMPLES = 200


@dataclass(frozen=True)
class Made(Entry):
    """An entry whose per-sample values lie in no file."""

    tables: dict = field(default_factory=dict, compare=False)

    def contestant(self, record: Record) -> Contestant:
        return Contestant(record, self.tables[record.protocol])


def table(ciou, **columns) -> pd.DataFrame:
    count = len(ciou)
    values = {
        "id": [f"clip_{n}" for n in range(count)],
        "label": pd.array(["bell"] * count, dtype="string"),
        "image": [f"picture {n}" for n in range(count)],
        "boxes": 1,
        "area": 9_000.0,
        "doubtful": False,
        "ciou": np.asarray(ciou, dtype=float),
    }
    return pd.DataFrame({**values, **columns})


def record(method, ciou, key, *, selection="last", control=False, **changes) -> Record:
    versions = {"locacc": 1, "auc": 1, "mean_ciou": 1, **changes.pop("versions", {})}
    own = {"locacc": float(np.mean(np.asarray(ciou) >= 0.5)), "auc": 0.0, "mean_ciou": 0.0}
    checkpoint = {"sha256": None} if selection == "none" else {"sha256": "5f", "selected": {"rule": selection}}
    known = {
        "method": {"name": method, "info": {"control": control}},
        "checkpoint": checkpoint,
        "config": changes.pop("config", {}),
        "split": {"name": "demo", "sha256": changes.pop("split_sha256", "11ab")},
        "truth": changes.pop("truth", "7e57"),
        "protocol": {"version": changes.pop("version", 1)},
        "metrics": versions,
        "key": key,
        "prior_key": None,
    }
    values = {
        "method": method,
        "variant": "av",
        "split": "demo",
        "protocol": "common",
        "audio": "true",
        "n_expected": len(ciou),
        "n_scored": len(ciou),
        "n_positive": len(ciou),
        "n_nan": 0,
        "partial": False,
        "metrics": {**own, **changes.pop("metrics", {})},
        "intervals": {},
        "provenance": known,
        "run": {"seconds": 0.6, "device": "cpu", "name": "x86_64", "threads": 1},
    }
    return Record(**{**values, **changes})


def entry(method, ciou, *, badge="verified", key=None, columns=None, about=None, protocols=("common",), **changes):
    key = key or f"key-of-{method}"
    name = f"{method}-{changes.get('selection', 'last')}-{key[:12]}-{badge}"
    path = Path(f"records/demo/{name}.json")
    found = tuple(record(method, ciou, key, protocol=protocol, path=path, **changes) for protocol in protocols)
    tables = {protocol: table(ciou, **(columns or {})) for protocol in protocols}
    return Made(badge=badge, records=found, path=path, tables=tables, **(about or {}))


def control(method, ciou, **changes) -> Made:
    return entry(method, ciou, control=True, selection="none", **changes)


def rates(right, of=6) -> list[float]:
    return [RIGHT] * right + [WRONG] * (of - right)


def only(entries, **asked) -> Board:
    (board,) = boards(entries, resamples=RESAMPLES, **asked)
    return board


def places(board, metric="locacc") -> dict:
    return {line.title: (line.ranks[metric], line.groups[metric]) for line in board.lines}


THREE = [entry("all", rates(6)), entry("half", rates(3)), entry("none", rates(0))]


class TestByHand:
    """Six samples, right on all, the first three, or none of them."""

    def test_ranks_and_ties(self):
        # McNemar 6:0 is 2/64, 3:0 twice 2/8; Holm makes them 6/64, 1/2 and 1/2: nothing is told apart
        board = only(THREE)
        assert places(board) == {"all": (1, 1), "half": (2, 1), "none": (3, 1)}
        pairs = {(pair.first, pair.second): pair for pair in board.comparisons[0].results[0].pairs}
        assert pairs["all", "none"].p_holm == 6 / 64
        assert pairs["all", "half"].p_holm == pairs["half", "none"].p_holm == 0.5

    def test_two_rows_are_told_apart(self):
        assert places(only([THREE[0], THREE[2]])) == {"all": (1, 1), "none": (2, 2)}  # 2/64, one pair

    def test_means_that_never_meet(self):
        found = [entry(name, [value] * 6) for name, value in (("low", 0.2), ("top", 0.8), ("mid", 0.6))]
        board = only(found, metrics=["mean_ciou"])  # each p 2/201, Holm 6/201
        assert places(board, "mean_ciou") == {"top": (1, 1), "mid": (2, 2), "low": (3, 3)}

    def test_values_and_intervals(self):
        top, half, none = only(THREE).lines
        assert [one.values["locacc"] for one in (top, half, none)] == [1.0, 0.5, 0.0]
        assert top.values["mean_ciou"] == pytest.approx(0.9)
        assert half.values["auc"] == pytest.approx((0.925 + 0.125) / 2)
        assert top.intervals["locacc"] == pytest.approx((0.60967, 1.0), abs=1e-5)
        assert half.intervals["locacc"] == pytest.approx((0.18761, 0.81239), abs=1e-5)

    def test_equal_values_share_a_rank(self):
        found = [*THREE, entry("again", rates(3))]
        assert {title: rank for title, (rank, _) in places(only(found)).items()} == {
            "all": 1,
            "again": 2,
            "half": 2,
            "none": 4,
        }


class TestControls:
    def test_stand_by_their_value_without_rank_or_test(self):
        board = only([*THREE, control("disc", rates(4)), control("whole", rates(1))])
        assert [line.title for line in board.lines] == ["all", "disc", "half", "whole", "none"]
        assert places(board)["disc"] == places(board)["whole"] == (None, None)
        assert len(board.comparisons[0].results[0].pairs) == 3
        assert board.lines[1].intervals["locacc"][0] < 4 / 6 < board.lines[1].intervals["locacc"][1]
        assert board.lines[1].family == "control"
        assert any(note.endswith("neither ranked nor tested: disc, whole.") for note in board.notes)

    def test_beside_one_method_alone(self):
        board = only([THREE[1], control("disc", rates(6)), control("whole", rates(0))])
        assert places(board) == {"disc": (None, None), "half": (1, 1), "whole": (None, None)}
        assert board.comparisons == ()
        assert "half is the one method here: its rank says nothing." in board.notes

    def test_alone(self):
        board = only([control("disc", rates(6)), control("whole", rates(0))])
        assert places(board) == {"disc": (None, None), "whole": (None, None)}
        assert board.notes[0] == "Controls alone: nothing is ranked."
        assert board.selections == ()

    def test_are_on_every_board_of_their_badge(self):
        found = [THREE[0], entry("half", rates(3), selection="oracle"), control("disc", rates(4))]
        found.append(entry("none", rates(0), badge="local"))
        shown = boards(found, resamples=RESAMPLES)
        assert [(b.badge, b.selections, [line.title for line in b.lines]) for b in shown] == [
            ("verified", ("last",), ["all", "disc"]),
            ("verified", ("oracle",), ["disc", "half"]),
            ("local", ("last",), ["none"]),
        ]


@pytest.mark.parametrize(
    "other",
    [
        {"split_sha256": "22ab"},
        {"truth": "another"},
        {"protocols": ("jsa",)},
        {"version": 2},
        {"versions": {"auc": 2}},
        {"badge": "submitted"},
        {"badge": "local"},
        {"selection": "validation"},
        {"selection": "oracle"},
        {"selection": "unknown"},
        {"split": "demo-extended"},
    ],
)
def test_what_differs_stands_on_a_board_of_its_own(other):
    same = [entry("one", rates(6)), entry("two", rates(0))]
    assert places(only(same)) == {"one": (1, 1), "two": (2, 2)}
    found = boards([same[0], entry("two", rates(0), **other)], resamples=RESAMPLES)
    assert sorted(tuple(line.title for line in board.lines) for board in found) == [("one",), ("two",)]
    assert {board.lines[0].ranks["locacc"] for board in found} == {1}


class TestVersionsOfMetrics:
    def test_of_metrics_that_are_not_shown_part_nothing(self):
        found = [entry("one", rates(6), versions={"pointing": 1}), entry("two", rates(0), versions={"pointing": 2})]
        assert len(only(found).lines) == 2

    def test_part_nothing_where_another_metric_is_asked_for(self):
        found = [entry("one", rates(6), versions={"auc": 1}), entry("two", rates(0), versions={"auc": 2})]
        assert len(only(found, metrics=["locacc"]).lines) == 2

    def test_a_row_without_the_metric_goes_with_each(self):
        ap = {"metrics": {"ap": 0.5}}
        found = [entry("one", rates(6), versions={"ap": 1}, **ap), entry("two", rates(0), versions={"ap": 2}, **ap)]
        found.append(entry("deaf", rates(3)))
        shown = [{line.title for line in board.lines} for board in boards(found, resamples=RESAMPLES)]
        assert shown == [{"one", "deaf"}, {"two", "deaf"}]


def test_the_order_of_the_entries_does_not_matter():
    found = [
        *THREE,
        control("disc", rates(4)),
        entry("half", rates(2), key="other"),
        entry("x", rates(1), badge="local"),
    ]
    expected = boards(found, resamples=RESAMPLES)
    for seed in range(3):
        random.Random(seed).shuffle(found)
        assert boards(found, resamples=RESAMPLES) == expected


def test_what_is_partial_never_enters():
    found = [*THREE[:2], entry("less", rates(5, of=5), n_expected=6, partial=True)]
    assert [line.title for line in only(found).lines] == ["all", "half"]
    assert boards(found[2:]) == []


def test_rows_of_one_title_are_told_apart():
    found = [entry("one", rates(6), key="a" * 64), entry("one", rates(3), key="b" * 64), entry("two", rates(0))]
    assert [line.title for line in only(found).lines] == ["one@" + "a" * 12, "one@" + "b" * 12, "two"]
    assert {line.method for line in only(found).lines} == {"one", "two"}


def test_the_same_predictions_stand_once():
    twice = [replace(one, path=Path(f"{place}/records/demo/x.json")) for place in "ab" for one in THREE[:1]]
    board = only([*twice, THREE[1]])
    assert [line.title for line in board.lines] == ["all", "half"]
    assert "The same predictions lie in several places and stand here once: all." in board.notes


class TestMetrics:
    def test_those_that_no_test_can_stand_behind_have_no_rank(self):
        found = [entry("one", rates(6), metrics={"iiou": 0.25}), entry("two", rates(0), metrics={"iiou": 0.75})]
        board = only(found, metrics=["iiou", "locacc"])
        assert [line.title for line in board.lines] == ["two", "one"]
        assert places(board, "iiou") == {"one": (None, None), "two": (None, None)}
        assert places(board)["one"] == (1, 1)
        assert (board.metrics, board.tested) == (("iiou", "locacc"), ("locacc",))
        assert (
            "IIoU: as recorded and without ranks, since the per-sample values kept do not allow a test." in board.notes
        )

    def test_of_some_rows_are_compared_among_these(self):
        scores = {"columns": {"confidence": [6.0, 5, 4, 3, 2, 1]}, "metrics": {"ap": 0.5}}
        found = [entry("one", rates(6), **scores), entry("two", rates(0), **scores), THREE[1]]
        board = only(found)
        assert board.metrics == ("locacc", "auc", "mean_ciou", "ap")
        assert places(board, "ap") == {"one": (1, 1), "two": (2, 2), "half": (None, None)}
        assert [line.values.get("ap") for line in board.lines] == [1.0, None, 0.0]
        assert places(board)["half"] == (2, 1)

    def test_that_nothing_has_are_left_out(self):
        assert only(THREE, metrics=["piap", "auc"]).metrics == ("auc",)
        assert boards(THREE, metrics=["piap"]) == []

    def test_that_do_not_exist(self):
        with pytest.raises(
            UsageError,
            match=r"^there is no metric called 'locac': did you mean locacc or locacc_75 or locacc_30\? "
            r"avbench list metrics shows all$",
        ):
            boards(THREE, metrics=["locac"])

    def test_too_few_resamples_are_told(self):
        (board,) = boards(THREE, resamples=100)
        assert "AUC, mean cIoU: too few resamples to tell any of so many pairs apart; raise --resamples." in board.notes
        assert not any("too few" in note for note in only(THREE).notes)


def answer(*drops, partial=False) -> SimpleNamespace:
    named = {
        f"kind {n}": SimpleNamespace(value=value, low=value - 0.1, high=value + 0.1, p_holm=p)
        for n, (value, p) in enumerate(drops)
    }
    return SimpleNamespace(drops=named, partial=partial)


class TestListens:
    @pytest.mark.parametrize(
        ("drops", "verdict", "least"),
        [
            (((0.3, 0.01), (0.2, 0.05), (0.4, 0.001)), "yes", 0.2),
            (((0.3, 0.01), (0.2, 0.06), (0.4, 0.001)), "unclear", 0.2),
            (((0.3, 0.2), (0.2, 0.06), (0.4, 0.3)), "no", 0.2),
            (((-0.3, 0.001), (-0.1, 0.001), (-0.2, 0.001)), "no", -0.3),
            (((0.0, 0.01), (0.2, 0.01), (0.3, 0.01)), "unclear", 0.0),
            (((0.1, 0.01), (0.1, 0.5), (0.3, 0.01)), "unclear", 0.1),
        ],
    )
    def test_the_least_drop_decides(self, drops, verdict, least):
        found = listens(answer(*drops))
        assert (found.verdict, found.drop, found.low) == (verdict, least, pytest.approx(least - 0.1))

    def test_an_answer_over_less_than_the_split_is_none(self):
        assert listens(answer((0.3, 0.01), partial=True)) is None

    def test_it_is_asked_of_the_plain_map(self):
        heard = {"listening": answer((0.3, 0.01))}
        (line,) = only([entry("one", rates(6), about=heard)]).lines
        assert line.listens.verdict == "yes"
        (line,) = only([entry("one", rates(6), about=heard, variant="av+ogl")]).lines
        assert (line.title, line.listens) == ("one (av+ogl)", None)


def test_what_else_is_known_of_a_row():
    about = {"parameters": Parameters(training=30, inference=20)}
    slow = {"run": {"seconds": 3.0, "device": "cuda:0", "name": "NVIDIA H100", "threads": 8}}
    found = [
        entry("slavc", rates(6), about=about, config={"supervised": "official"}, **slow),
        entry("ogl", rates(3), selection="none"),
        entry("jsa", rates(0), config={"supervised": "off"}),
        entry("lvs", rates(0), run={"seconds": 0.0}),
    ]
    board = only(found)
    assert [line.family for line in board.lines] == [
        *("semi-supervised", "object prior", "self-supervised", "self-supervised")
    ]
    assert [line.parameters for line in board.lines] == [20, None, None, None]
    assert [line.seconds for line in board.lines[:3]] == pytest.approx([0.5, 0.1, 0.1])
    assert board.lines[3].seconds is None
    assert [line.device for line in board.lines] == ["NVIDIA H100", *["CPU (x86_64, 1 thread)"] * 2, ""]
    assert board.lines[1].ranks["locacc"] == 2
    assert (
        "ms: of decoding, front-end and forward pass, per sample, on CPU (x86_64, 1 thread); on NVIDIA H100: slavc."
        in board.notes
    )


def test_what_is_asked_for():
    found = [
        entry("one", rates(6), protocols=("jsa", "common")),
        entry("two", rates(0), selection="oracle"),
        entry("three", rates(0), badge="local", split="other"),
    ]

    def heads(**asked) -> list:
        return [(b.split, b.protocol, b.badge, b.selections) for b in boards(found, resamples=RESAMPLES, **asked)]

    last, oracle, jsa, other = (
        ("demo", "common", "verified", ("last",)),
        ("demo", "common", "verified", ("oracle",)),
        ("demo", "jsa", "verified", ("last",)),
        ("other", "common", "local", ("last",)),
    )
    assert heads() == [last, oracle, jsa, other]
    assert heads(splits=["other"]) == [other]
    assert heads(protocols=["jsa"]) == [jsa]
    assert heads(selections=["oracle"]) == [oracle]
    assert heads(badges=["local"]) == [other]
    assert heads(badges=["verified"], selections=["last"], protocols=["common"]) == [last]


def test_methods_are_shown_with_their_rank_among_all():
    shown = of_methods(only([*THREE, control("disc", rates(4))]), ["none"])
    assert places(shown) == {"disc": (None, None), "none": (3, 1)}
    assert shown.notes[-1] == "2 further rows not shown; ranks are among all."


def test_moves_are_between_boards_that_differ_in_the_protocol_alone():
    found = [entry(name, rates(right), protocols=("common", "jsa")) for name, right in (("one", 6), ("two", 3))]
    found += [entry("two", rates(1), key="old", protocols=("jsa",), version=0), entry("x", rates(1), badge="local")]
    local, verified = sorted(moving(pools(found)), key=lambda one: one.badge)
    assert [record.title for record in local.records] == ["x"]
    table_of = sensitivity(verified.records)
    assert table_of.protocols == ("common", "jsa")
    assert set(table_of.rows) == {"one", "two@key-of-two"}
