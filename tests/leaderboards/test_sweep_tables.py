"""Tables of sweeps: hand-computed cells, both orientations, three forms."""

import csv
import io
from dataclasses import replace

import pytest

from avbench.leaderboards.sweep_tables import SweepRow, SweepTable, cell, print_sweep, sweep_text
from avbench.records import Record


def record(**metrics) -> Record:
    return Record(
        method="m", variant="av", split="s", protocol="common", audio="true", n_expected=4, n_scored=4, n_positive=4,
        n_nan=0, partial=False, metrics=metrics, intervals={}, provenance={}, run={"seconds": 1.0},
    )  # fmt: skip


TABLE = SweepTable(
    caption="50% of a_title",
    notes=("A note [of ours].",),
    row_header=("Target", "Off-Target"),
    columns=(
        ("cIoU", "locacc"),
        ("Audio → Image / R@1", "a2i_instance_r1"),
        ("Audio → Image / R@5", "a2i_instance_r5"),
    ),
    rows=(
        SweepRow(("1", "1"), (record(locacc=0.40711, a2i_instance_r1=0.306, a2i_instance_r5=0.5787),), default=True),
        SweepRow(("1", "2"), (record(locacc=0.25),)),
        SweepRow(("✓", "3"), ()),
    ),
)


def test_markdown():
    assert sweep_text(TABLE, "md") == (
        "**50% of a_title**\n\n"
        "| Target   | Off-Target   |   cIoU |   Audio → Image / R@1 |   Audio → Image / R@5 |\n"
        "|----------|--------------|--------|-----------------------|-----------------------|\n"
        "| 1        | 1 (default)  |  40.71 |                 30.60 |                 57.87 |\n"
        "| 1        | 2            |  25.00 |                       |                       |\n"
        "| ✓        | 3            |        |                       |                       |\n\n"
        "A note [of ours].\n"
    )


def test_latex_has_two_storeys():
    assert sweep_text(TABLE, "tex").splitlines() == [
        "% 50% of a_title",
        r"\begin{tabular}{llrrr}",
        r"\toprule",
        r" &  &  & \multicolumn{2}{c}{Audio $\rightarrow$ Image} \\",
        r"\cmidrule(lr){4-5}",
        r"Target & Off-Target & cIoU & R@1 & R@5 \\",
        r"\midrule",
        r"1 & 1 (default) & 40.71 & 30.60 & 57.87 \\",
        r"1 & 2 & 25.00 &  &  \\",
        r"$\checkmark$ & 3 &  &  &  \\",
        r"\bottomrule",
        r"\end{tabular}",
        "% A note [of ours].",
    ]


def test_latex_of_one_storey_escapes_what_latex_reads():
    table = replace(TABLE, row_header=("a_b", "c%"), columns=(("cIoU ↑", "locacc"),))
    lines = sweep_text(table, "tex").splitlines()
    assert lines[2:5] == [r"\toprule", r"a\_b & c\% & cIoU $\uparrow$ \\", r"\midrule"]


def test_transposed_the_settings_are_columns():
    text = sweep_text(replace(TABLE, transposed=True, columns=TABLE.columns[:1]), "md")
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == ["Target / Off-Target", "1, 1 (default)", "1, 2", "✓, 3"]
    assert rows[2] == ["cIoU", "40.71", "25.00", ""]


def test_csv_has_a_line_per_setting_in_either_orientation():
    text = sweep_text(TABLE, "csv")
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["Target", "Off-Target", *(header for header, _ in TABLE.columns), "default", "table"]
    assert rows[1] == ["1", "1", "40.71", "30.60", "57.87", "yes", "50% of a_title"]
    assert rows[3] == ["✓", "3", "", "", "", "", "50% of a_title"]
    assert sweep_text(replace(TABLE, transposed=True), "csv") == text


def test_the_terminal_shows_the_common_heading_and_brackets(capsys):
    print_sweep(TABLE)
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == "50% of a_title"
    assert shown.count("Audio → Image") == 2
    assert "A note [of ours]." in shown


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((), ""),
        ((0.5,), "50.00"),
        ((0.4, 0.5, 0.6), "50.00 ± 10.00"),  # variance (0.01 + 0 + 0.01) / 2
        ((0.5, float("nan")), ""),
    ],
)
def test_a_cell_is_the_mean_over_all_seeds_or_nothing(values, shown):
    assert cell(SweepRow(("1",), tuple(record(locacc=value) for value in values)), "locacc") == shown


def test_a_seed_without_the_metric_leaves_the_cell_empty():
    assert cell(SweepRow(("1",), (record(locacc=0.5), record(auc=0.5))), "locacc") == ""
