"""Selections of checkpoints in tables and rankings of made-up records: hand-written cells, what is kept apart."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from avbench.errors import UsageError
from avbench.leaderboards.compared import Plan
from avbench.leaderboards.comparison import compare
from avbench.leaderboards.comparison_sheets import notes as comparison_notes
from avbench.leaderboards.comparison_sheets import sheets
from avbench.leaderboards.comparison_text import comparison_text
from avbench.leaderboards.contestants import Contestant, told_apart
from avbench.leaderboards.rows import headings, rows
from avbench.leaderboards.selections import CAUTIONS, ranked_selections, tells_selection
from avbench.leaderboards.sensitivity import sensitivity
from avbench.leaderboards.sensitivity_text import print_sensitivity, sensitivities, sensitivity_text
from avbench.leaderboards.side_by_side import side_by_side
from avbench.leaderboards.tables import side_by_side_text, table_text
from avbench.leaderboards.terminal import notes, print_side_by_side, print_table
from avbench.records import Record

ORACLE = CAUTIONS["oracle"]
UNKNOWN = CAUTIONS["unknown"]


def make(method, selection, value=0.5, **changes) -> Record:
    """A record of 40 samples; ``none`` is a control."""
    checkpoint = {"sha256": None} if selection == "none" else {"sha256": "5f", "selected": {"rule": selection}}
    known = {
        "method": {"name": method, "info": {"control": selection == "none"}},
        "checkpoint": checkpoint,
        "split": {"name": "demo", "sha256": "5f"},
        "truth": "7e",
        "protocol": {"version": 1},
        "metrics": {"locacc": 1, "auc": 1, "mean_ciou": 1},
        "key": f"{method}-{selection}",
        "prior_key": None,
    }
    values = {
        "method": method,
        "variant": "av",
        "split": "demo",
        "protocol": "common",
        "audio": "true",
        "n_expected": 40,
        "n_scored": 40,
        "n_positive": 40,
        "n_nan": 0,
        "partial": False,
        "metrics": {"locacc": value, "auc": value / 2, "mean_ciou": value / 4},
        "intervals": {},
        "provenance": known,
        "run": {"seconds": 1.0},
        "path": Path(f"runs/records/demo/{method}-{selection}.json"),
    }
    return Record(**{**values, **changes})


BOTH = [
    make("lvs", "last", 0.084),
    make("lvs", "oracle", 0.592),
    make("ezvsl", "last", 0.576),
    make("ezvsl", "oracle", 0.6265),
    make("disc", "none", 0.34),
]


def table(text: str) -> list[list[str]]:
    """The cells of the lines of a Markdown table."""
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


@pytest.mark.parametrize(
    ("selections", "told"),
    [
        (["none"], False),
        (["last", "none"], False),
        (["validation", "validation", "none"], False),
        (["last", "validation"], True),
        (["oracle"], True),
        (["unknown", "none"], True),
    ],
)
def test_the_selection_is_told_where_it_matters(selections, told):
    records = [make(f"method {n}", selection) for n, selection in enumerate(selections)]
    assert tells_selection(records) is told
    assert ("selection" in headings(("locacc",), selection=told)) is told
    assert {len(row.cells) for row in rows(records, ("locacc",))} == {len(headings(("locacc",), selection=told))}


class TestColumn:
    def test_markdown(self):
        text = table_text(BOTH, "md")
        assert [line[:3] for line in table(text)] == [
            ["method", "selection", "cIoU %"],
            ["lvs", "last", "8.40"],
            ["lvs", "oracle", "59.20"],
            ["ezvsl", "last", "57.60"],
            ["ezvsl", "oracle", "62.65"],
            ["disc", "none", "34.00"],
        ]
        assert text.endswith(f"\n\n- {ORACLE}\n")
        assert UNKNOWN not in text

    def test_csv(self):
        found = list(csv.DictReader(io.StringIO(table_text(BOTH, "csv"))))
        assert [row["selection"] for row in found] == ["last", "oracle", "last", "oracle", "none"]
        assert "selection" not in table_text([BOTH[0], BOTH[4]], "csv")

    def test_latex(self):
        text = table_text([make("lvs", "unknown")], "tex")
        assert "method & selection &" in " ".join(text.split())
        assert f"% {UNKNOWN}" in text

    def test_terminal(self, capsys):
        print_table([replace(one, metrics={**one.metrics, "a2i_class_r1": 0.25}) for one in BOTH[:2]])
        shown = capsys.readouterr().out
        assert ["lvs", "oracle", "59.20"] in [line.split()[:3] for line in shown.splitlines()]
        assert "lvs@oracle" in shown.split("samples/s")[1], "the further metrics"
        assert ORACLE in shown

    def test_without_an_oracle_nothing_is_said(self):
        assert notes([BOTH[0], BOTH[4]]) == []
        assert notes(BOTH) == [ORACLE]


HEADINGS = (
    *("method", "cIoU % early stop (oracle)", "cIoU % no early stop (last)"),
    *("AUC % early stop (oracle)", "AUC % no early stop (last)"),
)
CELLS = {
    "lvs": ("59.20", "8.40", "29.60", "4.20"),
    "ezvsl": ("62.65", "57.60", "31.33", "28.80"),
    "disc": ("34.00", "34.00", "17.00", "17.00"),
}


class TestSideBySide:
    def test_the_cells(self):
        found = side_by_side(BOTH, ("locacc", "auc"))
        assert found.headings == (*HEADINGS, "samples")
        assert found.cells == [(name, *cells, "40/40") for name, cells in CELLS.items()]
        assert found.notes == (ORACLE, "Never trained, the same in all columns: disc.")

    def test_markdown(self):
        text = side_by_side_text(BOTH, "md")
        first, *lines = table(text)
        assert tuple(first[:5]) == HEADINGS
        assert {line[0]: tuple(line[1:5]) for line in lines} == CELLS
        assert f"- {ORACLE}\n" in text

    def test_csv(self):
        found = {row["method"]: row for row in csv.DictReader(io.StringIO(side_by_side_text(BOTH, "csv")))}
        assert {name: tuple(row[title] for title in HEADINGS[1:]) for name, row in found.items()} == CELLS
        assert {row["protocol"] for row in found.values()} == {"common"}

    def test_latex(self):
        text = " ".join(side_by_side_text(BOTH, "tex").split())
        assert r"method & cIoU \% early stop (oracle) & cIoU \% no early stop (last) & AUC \%" in text
        assert "lvs & 59.20 & 8.40 & 29.60 & 4.20 &" in text

    def test_terminal(self, capsys):
        print_side_by_side(BOTH)
        shown = capsys.readouterr().out
        assert [line.split()[:3] for line in shown.splitlines() if line.strip().startswith("lvs")] == [
            ["lvs", "59.20", "8.40"]
        ]
        assert shown.count(ORACLE) == 1

    def test_what_is_not_there_is_blank(self):
        found = side_by_side([BOTH[0], make("jsa", "validation"), make("fnac", "unknown")], ("locacc",))
        assert found.headings[1:4] == (
            *("cIoU % early stop (validation)", "cIoU % no early stop (last)", "cIoU % selection unknown"),
        )
        assert [line[1:4] for line in found.cells] == [("", "8.40", ""), ("50.00", "", ""), ("", "", "50.00")]

    def test_one_selection_and_none(self):
        assert side_by_side([BOTH[0], BOTH[4]], ("locacc",)).headings[1:2] == ("cIoU % no early stop (last)",)
        assert side_by_side([BOTH[4]], ("locacc",)).cells == [("disc", "34.00", "40/40")]

    def test_samples_that_differ_are_both_told(self):
        less = make("lvs", "oracle", n_scored=39, partial=True)
        assert side_by_side([BOTH[0], less], ("locacc",)).cells[0][-1] == "40/40 and 39/40 partial"

    def test_two_rows_in_one_place_are_refused(self):
        with pytest.raises(UsageError, match="there are two rows of lvs with the selection oracle"):
            side_by_side([BOTH[1], BOTH[1]], ("locacc",))


class TestRanking:
    @pytest.mark.parametrize(
        ("there", "asked", "ranked"),
        [
            (["oracle", "unknown", "validation", "last"], (), ("last",)),
            (["oracle", "unknown", "validation"], (), ("validation",)),
            (["oracle", "unknown"], (), ("unknown",)),
            (["oracle", "none"], (), ("oracle",)),
            (["none"], (), ()),
            (["last", "oracle"], ("oracle",), ("oracle",)),
            (["last", "unknown", "oracle"], ("last", "unknown"), ("last", "unknown")),
            (["validation", "unknown"], ("unknown", "validation"), ("unknown", "validation")),
        ],
    )
    def test_what_is_ranked(self, there, asked, ranked):
        records = [make(f"method {n}", selection) for n, selection in enumerate(there)]
        assert ranked_selections(records, asked) == ranked

    @pytest.mark.parametrize(
        "asked", [("last", "oracle"), ("validation", "oracle"), ("last", "validation"), ("unknown", "oracle")]
    )
    def test_what_is_never_ranked_together(self, asked):
        records = [make(selection, selection) for selection in asked]
        with pytest.raises(UsageError, match=f"{asked[0]} and {asked[1]} are never ranked together"):
            ranked_selections(records, asked)

    def test_what_is_not_there(self):
        with pytest.raises(UsageError, match="no row has the selection oracle: choose from last"):
            ranked_selections([BOTH[0]], ("oracle",))
        with pytest.raises(UsageError, match="no row has the selection oracle: choose from rows of trained methods"):
            ranked_selections([BOTH[4]], ("oracle",))

    def test_methods_of_other_selections_keep_their_names(self):
        found, doubles = told_apart(BOTH)
        assert [one.title for one in found] == ["lvs", "lvs", "ezvsl", "ezvsl", "disc"]
        assert doubles == []
        twice = [BOTH[0], replace(BOTH[0], provenance={**BOTH[0].provenance, "key": "other"}), BOTH[1]]
        assert [one.title for one in told_apart(twice)[0]] == ["lvs@lvs-last", "lvs@other", "lvs"]


def entry(method, selection, seed, **changes) -> Contestant:
    ciou = np.random.default_rng(seed).uniform(0, 1, 40)
    columns = {
        "id": [f"clip_{n:02d}" for n in range(40)],
        "label": pd.array(["bell"] * 40, dtype="string"),
        "image": [f"picture {n}" for n in range(40)],
        "boxes": 1,
        "area": 9_000.0,
        "doubtful": False,
        "ciou": ciou,
    }
    return Contestant(make(method, selection, **changes), pd.DataFrame(columns))


FIELD = [
    entry("lvs", "last", 1),
    entry("lvs", "oracle", 2),
    entry("ezvsl", "last", 3),
    entry("ezvsl", "oracle", 4),
    entry("official", "unknown", 5),
    entry("disc", "none", 6),
]


class TestCompare:
    def test_the_oracle_decides_nothing_about_the_rest(self):
        plan = Plan(resamples=100)
        found, alone = compare(FIELD, plan), compare([FIELD[0], FIELD[2], FIELD[5]], plan)
        assert replace(found, left_out=()) == alone
        assert found.selections == ("last",)
        assert found.left_out == (("ezvsl", "oracle"), ("lvs", "oracle"), ("official", "unknown"))
        assert {one.title for one in found.entrants} == {"lvs", "ezvsl", "disc"}

    def test_the_oracle_alone_is_named_in_its_title(self):
        found = compare(FIELD, Plan(resamples=100, selections=("oracle",)))
        assert [(one.title, one.selection) for one in found.entrants if one.ranked] in (
            [("lvs", "oracle"), ("ezvsl", "oracle")],
            [("ezvsl", "oracle"), ("lvs", "oracle")],
        )
        assert sheets(found)[0].title.endswith("40 samples, checkpoints best on a test set (oracle)")
        assert "Ranked: checkpoints best on a test set (oracle); each selection is ranked alone." in (
            comparison_notes(found)
        )

    def test_unknown_beside_last_is_marked(self):
        found = compare(FIELD, Plan(resamples=100, selections=("last", "unknown")))
        assert {one.title for one in found.entrants if one.ranked} == {"lvs", "ezvsl", "official@unknown"}
        assert sheets(found)[0].title.endswith(
            "checkpoints of the last epoch and checkpoints that do not say how they were chosen, mixed"
        )
        csv_rows = csv.DictReader(io.StringIO(comparison_text(found, "csv")))
        assert {row["selection"] for row in csv_rows} == {"last and unknown"}

    def test_never_mixed(self):
        with pytest.raises(UsageError, match="never ranked together"):
            compare(FIELD, Plan(resamples=100, selections=("last", "oracle")))

    def test_too_few_of_a_selection(self):
        with pytest.raises(UsageError, match=r"got lvs \(last\), official \(unknown\): choose with --selection"):
            compare([FIELD[0], FIELD[4]], Plan(resamples=100))

    def test_nothing_is_said_of_what_was_never_trained(self):
        found = compare([FIELD[5], entry("square", "none", 7)], Plan(resamples=100))
        assert (found.selections, found.left_out) == ((), ())
        assert not any("selection" in note for note in comparison_notes(found))
        assert sheets(found)[0].title == "demo, protocol common: 40 samples"


UNDER_BOTH = [
    replace(one, protocol=protocol, metrics={"locacc": value})
    for one, values in zip(BOTH, ((0.1, 0.9), (0.2, 0.1), (0.3, 0.2), (0.4, 0.3), (0.5, 0.5)), strict=True)
    for protocol, value in zip(("common", "lvs"), values, strict=True)
]


class TestSensitivity:
    def test_a_table_of_each_selection(self):
        last, oracle = sensitivities(UNDER_BOTH)
        assert (last.selections, oracle.selections) == (("last",), ("oracle",))
        assert last.rows == oracle.rows == ("lvs", "ezvsl", "disc")
        assert last.places == ((2, 1), (1, 2), (None, None))
        assert oracle.places == ((2, 2), (1, 1), (None, None))
        assert (last.tau, oracle.tau) == ((1, -1), (1, 1))

    def test_the_titles(self, capsys):
        text = sensitivity_text(UNDER_BOTH, "md")
        assert "with ranks**" in text
        assert "with ranks, checkpoints best on a test set (oracle)**" in text
        print_sensitivity(UNDER_BOTH, ("oracle",))
        shown = " ".join(capsys.readouterr().out.split())
        assert shown.count("with ranks") == shown.count("checkpoints best on a test set (oracle)") == 1

    def test_unknown_beside_last_is_marked(self):
        unknown = [
            replace(one, provenance={**one.provenance, "checkpoint": {"sha256": "5f"}})
            for one in UNDER_BOTH
            if one.selection == "oracle"
        ]
        last = [one for one in UNDER_BOTH if one.selection == "last"]
        (found,) = sensitivities([*last, *unknown], ("last", "unknown"))
        assert found.rows == ("lvs", "ezvsl", "lvs@unknown", "ezvsl@unknown")
        assert found.places[0] == (4, 1)

    def test_a_mixture_is_refused(self):
        renamed = [replace(one, method=f"{one.method} {one.selection}") for one in UNDER_BOTH]
        with pytest.raises(UsageError, match="the selections last and oracle are never ranked together"):
            sensitivity(renamed)
