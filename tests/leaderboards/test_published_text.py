"""Grids as text: marks, footnotes, storeys and escapes in each form."""

import csv
import io
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from avbench.leaderboards.grids import Grid, GridCell, GridGroup, GridRow, best_and_second
from avbench.leaderboards.published_grids import published_grid
from avbench.leaderboards.published_tables import Printed, published_table
from avbench.leaderboards.published_text import grid_text


def cell(text="", **more) -> tuple[GridCell, ...]:
    return (GridCell(text, **more),)


GRID = Grid(
    name="a-table",
    caption="50% of <A> & B_1",
    row_header=("Method", "N"),
    columns=("Top | Set / cIoU ↑", "Top | Set / AUC", "size (M)"),
    groups=(
        GridGroup(
            "",
            (
                GridRow(
                    ("*one", "1"), (cell("40.00", best=True, tie="a"), cell("1.0*/2.0", notes=("second",)), cell())
                ),
                GridRow(
                    ("[two", "2"),
                    (cell("39.00", second=True), cell("\N{EN DASH}"), cell("3", notes=("third", "second"))),
                ),
            ),
        ),
        GridGroup(
            "Block #2:",
            (
                GridRow(
                    ("a|b", "3"), (cell("30.00", title='say "x"'), cell("", missing=True), cell("4")), ("row <note>",)
                ),
            ),
        ),
    ),
    remarks=("* = starred",),
)


def markdown_cells(text) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[part.strip() for part in line.replace(r"\|", "¦").split("|")[1:-1]] for line in lines]


def test_markdown():
    text = grid_text(GRID, "md")
    assert text.splitlines()[0] == r"**a-table: 50% of \<A\> & B\_1**"
    header, _, *rows = markdown_cells(text)
    assert header == ["Method", "N", "Top ¦ Set / cIoU ↑", "Top ¦ Set / AUC", "size (M)"]
    assert rows == [
        [r"\*one", "1", "**40.00**<sup>a</sup>", r"1.0\*/2.0<sup>1</sup>", ""],
        [r"\[two", "2", "<u>39.00</u>", "\N{EN DASH}", "3<sup>1,2</sup>"],
        ["**Block #2:**", "", "", "", ""],
        ["a¦b", "3<sup>3</sup>", "30.00", "", "4"],
    ]
    assert text.endswith("\n\n1. second\n2. third\n3. row \\<note\\>\n\n- \\* = starred\n")


def test_latex():
    assert grid_text(GRID, "latex").splitlines() == [
        "% needs the packages booktabs and amssymb",
        r"\begin{table}",
        r"\centering",
        r"\caption{50\% of $<$A$>$ \& B\_1}",
        r"\label{tab:a-table}",
        r"\begin{tabular}{llrrr}",
        r"\toprule",
        r" &  & \multicolumn{2}{c}{Top \textbar{} Set} &  \\",
        r"\cmidrule(lr){3-4}",
        r"Method & N & cIoU $\uparrow$ & AUC & size (M) \\",
        r"\midrule",
        r"{*one} & {1} & \textbf{40.00}\textsuperscript{a} & 1.0*/2.0\textsuperscript{1} &  \\",
        r"{[two} & {2} & \underline{39.00} & -- & 3\textsuperscript{1,2} \\",
        r"\midrule",
        r"\multicolumn{5}{l}{\emph{Block \#2:}} \\",
        r"{a\textbar{}b} & {3}\textsuperscript{3} & 30.00 &  & 4 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip",
        r"\begin{minipage}{\linewidth}\footnotesize\raggedright",
        r"\textsuperscript{1} second \par",
        r"\textsuperscript{2} third \par",
        r"\textsuperscript{3} row $<$note$>$ \par",
        "* = starred",
        r"\end{minipage}",
        r"\end{table}",
    ]


def test_latex_of_one_storey_without_notes():
    row = GridRow(("m",), (cell("1"),))
    grid = Grid("plain", "Plain", ("Method",), ("AUC",), (GridGroup("", (row,)),))
    lines = grid_text(grid, "latex").splitlines()
    assert lines[6:] == [
        r"\toprule", r"Method & AUC \\", r"\midrule", r"{m} & 1 \\", r"\bottomrule", r"\end{tabular}", r"\end{table}",
    ]  # fmt: skip


def test_csv_has_the_notes_last():
    header, *rows = csv.reader(io.StringIO(grid_text(GRID, "csv")))
    assert header == ["table", "group", "Method", "N", "Top | Set / cIoU ↑", "Top | Set / AUC", "size (M)", "notes"]
    assert rows == [
        ["a-table", "", "*one", "1", "40.00", "1.0*/2.0", "", "Top | Set / cIoU ↑: tie a; Top | Set / AUC: second"],
        ["a-table", "", "[two", "2", "39.00", "\N{EN DASH}", "3", "size (M): third; second"],
        ["a-table", "Block #2:", "a|b", "3", "30.00", "", "4", "row <note>"],
    ]


class Elements(HTMLParser):
    """Opened tags with their attributes, and the text directly in each."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.found.append([tag, dict(attributes), ""])
        if tag != "br":
            self.open.append(self.found[-1])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open:
            self.open[-1][2] += data.strip()

    def of(self, tag):
        return [(text, attributes) for name, attributes, text in self.found if name == tag]


def test_html():
    text = grid_text(GRID, "html")
    page = Elements(text)
    assert page.of("caption") == [("50% of <A> & B_1", {})]
    deep = {"scope": "col", "rowspan": "2"}
    assert page.of("th")[:6] == [
        ("Method", deep), ("N", deep), ("Top | Set", {"scope": "colgroup", "colspan": "2"}), ("size (M)", deep),
        ("cIoU ↑", {"scope": "col"}), ("AUC", {"scope": "col"}),
    ]  # fmt: skip
    assert [name for name, attributes in page.of("th")[6:] if attributes == {"scope": "row"}] == [
        "*one", "1", "[two", "2", "a|b", "3",
    ]  # fmt: skip
    assert ("Block #2:", {"scope": "rowgroup", "colspan": "5"}) in page.of("th")
    assert page.of("strong") == [("40.00", {})]
    assert page.of("u") == [("39.00", {})]
    assert ("30.00", {"title": 'say "x"'}) in page.of("span")
    assert ("", {"class": "missing"}) in page.of("span")
    assert len(page.of("tbody")) == 2
    numbered = ["second", "third", "row <note>"]
    assert page.of("li") == [
        *((note, {"id": f"a-table-note-{number}"}) for number, note in enumerate(numbered, 1)), ("* = starred", {}),
    ]  # fmt: skip
    links = [attributes["href"] for _, attributes in page.of("a")]
    assert links == ["#a-table-note-1", "#a-table-note-1", "#a-table-note-2", "#a-table-note-3"]
    assert "<A>" not in text
    assert "<note>" not in text


def further(*lines: GridCell) -> Grid:
    """A grid of one cell with lines below the published one."""
    row = GridRow(("m",), ((GridCell("40.0", best=True), *lines),))
    return Grid(
        "more", "More", ("Method",), ("AUC",), (GridGroup("", (row,)),), lines=("published", "ours", "difference")
    )


def test_further_lines_stand_below():
    grid = further(GridCell("41.0", second=True, notes=("n",)), GridCell("[+1.0]"))
    assert r"| **40.0**<br><u>41.0</u><sup>1</sup><br>\[+1.0\] |" in grid_text(grid, "md")
    stack = (
        r"\begin{tabular}[t]{@{}r@{}}{\textbf{40.0}} \\ {\underline{41.0}\textsuperscript{1}} \\ {[+1.0]}\end{tabular}"
    )
    assert rf"{{m}} & {stack} \\" in grid_text(grid, "latex")
    header, row = csv.reader(io.StringIO(grid_text(grid, "csv")))
    assert header[3:] == ["AUC (published)", "AUC (ours)", "AUC (difference)", "notes"]
    assert row[3:] == ["40.0", "41.0", "[+1.0]", "AUC (ours): n"]
    assert "</span><br><span><u>41.0</u></span>" in grid_text(grid, "html")


def test_missing_lines_leave_no_gap_below():
    grid = further(GridCell(missing=True), GridCell())
    assert "| **40.0** |" in grid_text(grid, "md")
    assert r"{m} & \textbf{40.0} \\" in grid_text(grid, "latex")
    assert '</span><br><span class="missing"></span></td>' in grid_text(grid, "html")


@pytest.mark.parametrize(
    ("values", "higher", "best", "second"),
    [
        ([1.0, 3.0, 2.0], True, [1], [2]),
        ([1.0, 3.0, 2.0], False, [0], [2]),
        ([3.0, None, 3.0, 2.0, 2.0], True, [0, 2], [3, 4]),
        ([None, 3.0], True, [], []),
        ([3.0, 3.0], True, [], []),
        ([None, None], True, [], []),
        ([], True, [], []),
    ],
)
def test_the_best_and_the_second(values, higher, best, second):
    marks = best_and_second(values, higher=higher)
    assert [[place for place, mark in enumerate(found) if mark] for found in marks] == [best, second]
    assert [len(found) for found in marks] == [len(values)] * 2


def marked(name) -> dict[str, set[tuple[int, int]]]:
    """Places of the best and second values of a published table."""
    rows = published_grid(published_table(name)).rows
    places = [(i, j, cell[0]) for i, row in enumerate(rows) for j, cell in enumerate(row.cells)]
    return {mark: {(i, j) for i, j, cell in places if getattr(cell, mark)} for mark in ("best", "second")}


def test_of_parameters_and_time_less_is_better():
    assert marked("jsa-supp-1") == {"best": {(0, 0)}, "second": {(2, 0)}}
    assert marked("oassl-supp-4") == {"best": {(1, j) for j in range(1, 5)}, "second": {(0, j) for j in range(1, 5)}}


def test_the_second_is_what_the_paper_underlines():
    grid = published_grid(published_table("jsa-supp-2"))
    underlined = "underlined in the paper (second best)"
    noted = {
        (i, j)
        for i, row in enumerate(grid.rows)
        for j, cell in enumerate(row.cells)
        if underlined in (*row.notes, *cell[0].notes)
    }
    assert noted
    assert marked("jsa-supp-2")["second"] == noted


def test_test_sets_are_marked_apart():
    assert {(i, j) for i, j in marked("alignment-3")["best"] if j == 0} == {(6, 0), (14, 0)}


def test_of_two_values_the_rerun_is_marked():
    table = published_table("jsa-supp-1")  # 22.87, 31.82, 29.71
    two = (Printed("10.00", ("original_paper",), ""), Printed("40.00", (), ""))
    cells = ((replace(table.cells[0][0], printed=two),), *table.cells[1:])
    column = [row.cells[0][0] for row in published_grid(replace(table, cells=cells)).rows]
    assert [(cell.text, cell.best, cell.second) for cell in column] == [
        ("10.00*/40.00", False, False), ("31.82", False, True), ("29.71", True, False),
    ]  # fmt: skip


def test_blocks_are_the_papers():
    blocks = {
        name: [(group.title, len(group.rows)) for group in published_grid(published_table(name)).groups]
        for name in ("alignment-3", "slavc-supp-2", "alignment-9")
    }
    assert blocks["alignment-3"] == [("", 4), ("with OGL:", 3), ("with Optical Flow:", 1)] * 2
    assert blocks["slavc-supp-2"] == [("", 8), ("", 8)]
    assert blocks["alignment-9"] == [("", 2)]


def test_rows_trained_with_boxes_are_marked_apart():
    grid = published_grid(published_table("slavc-supp-1"))
    found = marked("slavc-supp-1")
    assert {i for i, j in found["best"] if j == 2} == {6, 9}
    assert {i for i, j in found["second"] if j == 2} == {4, 8}
    assert [row.cells[2][0].text for row in grid.rows][:1] == ["43.60*/42.54"]


def test_what_all_cells_of_a_row_share_is_noted_once():
    rows = published_grid(published_table("alignment-8")).rows
    assert rows[1].notes == ("nn_search=supervised_encoders setup",)
    assert [note.split(",")[0] for note in rows[0].notes] == [
        "the setting used in the main paper (gray row",
        "digits damaged in the available text and restored",
        "nn_search=supervised_encoders setup",
        "row garbled in the available text (39.9 0.0)",
    ]
    assert not any(line.notes for row in rows for cell in row.cells for line in cell)


def test_further_lines_reach_their_cells_in_either_orientation():
    for name in ("alignment-8", "alignment-9"):
        table = published_table(name)
        grid = published_grid(table, lambda i, j: (GridCell(f"{i}.{j}"),), lines=("place",), remarks=("first",))
        assert grid.lines == ("published", "place")
        assert grid.remarks[0] == "first"
        for a, row in enumerate(grid.rows):
            assert [cell[1].text for cell in row.cells] == [
                f"{b}.{a}" if table.transposed else f"{a}.{b}" for b in range(len(row.cells))
            ]
