"""The published tables against the raw files, read here a second time, and against numbers typed from the papers."""

import csv
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

import avbench.leaderboards.published_tables as module
from avbench.errors import UsageError
from avbench.leaderboards.published_grids import published_grid
from avbench.leaderboards.published_tables import Printed, published_table, published_tables, table_ids
from avbench.leaderboards.published_text import grid_text

FOLDER = Path(module.__file__).resolve().parent / "published"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
INDEX = yaml.load((FOLDER / "tables.yaml").read_text(encoding="utf-8"), LOADER)  # noqa: S506 - safe either way
RAW = {table["id"]: table for table in INDEX["tables"]}

VALUES = {  # printed values, rows and columns of each table
    "jsa-supp-1": (3, 3, 1), "jsa-supp-2": (12, 6, 2), "jsa-supp-3": (40, 5, 8), "jsa-supp-4": (32, 4, 8),
    "jsa-supp-5": (48, 6, 8), "jsa-supp-6": (10, 5, 2), "alignment-1": (72, 18, 4), "alignment-2": (34, 17, 2),
    "alignment-3": (32, 16, 2), "alignment-4": (8, 4, 2), "alignment-5": (10, 5, 2), "alignment-6": (36, 6, 6),
    "alignment-7": (60, 10, 6), "alignment-8": (16, 8, 2), "alignment-9": (10, 5, 2), "slavc-supp-1": (64, 10, 6),
    "slavc-supp-2": (100, 16, 6), "oassl-supp-1": (12, 4, 3), "oassl-supp-2": (9, 3, 3), "oassl-supp-3": (27, 9, 3),
    "oassl-supp-4": (10, 2, 5),
}  # fmt: skip


def printed_rows(table) -> tuple[list[str], list[list[str]]]:
    """Headings and rows as the paper has them: CSV lines are in printed order, so they are dealt out one by one."""
    with (FOLDER / table["file"]).open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    waiting, rows = list(lines), []
    for row in table["rows"]:
        mark = {"true": "✓", "false": "✗", "": "\N{EN DASH}"}[waiting[0]["pretrained_vision"]]
        rows.append(labels_of(table["row_header"], row, mark) + [dealt(waiting) for _ in table["columns"]])
    assert not waiting
    headings = [column["header"] for column in table["columns"]]
    if "orientation" in table:
        turned = [list(line) for line in zip(headings, *(row[1:] for row in rows), strict=True)]
        return table["row_header"] + [row[0] for row in rows], turned
    return table["row_header"] + headings, rows


def labels_of(header, row, mark) -> list[str]:
    labels = [row["label"]] if " | " not in row["label"] else []
    labels += [str(key) for key in row.get("row_keys", [])]
    if header[0].startswith("Test"):
        labels.insert(0, row["group"].split(" / ")[0])
    return labels + ([mark] if header[-1] == "Pre. Vision" else [])


def dealt(waiting) -> str:
    line = waiting.pop(0)
    text = line["value"] or "\N{EN DASH}"
    return f"{text}*/{dealt(waiting)}" if line["marker"] == "original_paper" else text


def read_csv(text, width) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(io.StringIO(text))
    assert all(len(row) == len(header) == width + 3 for row in rows)
    return header[2:-1], [row[2:-1] for row in rows]


def read_markdown(text, width) -> tuple[list[str], list[list[str]]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert all(len(line) == width for line in cells)
    bare = [[re.sub(r"<sup>.*?</sup>|</?u>|\*\*|\\(?=\W|_)", "", cell) for cell in line] for line in cells]
    return bare[0], [bare[i] for i in range(2, len(bare)) if not is_group(cells[i])]


def is_group(cells) -> bool:
    return cells[0].startswith("**") and not any(cells[1:])


def read_latex(text, width) -> tuple[list[str], list[list[str]]]:
    body = text.split("\\toprule\n")[1].split("\\bottomrule")[0]
    lines = [line for line in body.splitlines() if line.endswith("\\\\")]
    rows = [[bare_latex(cell) for cell in line.removesuffix(r" \\").split(" & ")] for line in lines]
    plain = [row for row, line in zip(rows, lines, strict=True) if "\\multicolumn" not in line]
    assert all(len(row) == width for row in plain)
    return plain[0], plain[1:]


def bare_latex(cell) -> str:
    cell = re.sub(r"\\textsuperscript\{.*?\}", "", cell)
    cell = re.sub(r"\\(textbf|underline)", "", cell)
    signs = {r"$\times$": "✗", r"$\checkmark$": "✓", r"$\dagger$": "†", r"$\hookrightarrow$": "↳", r"$\uparrow$": "↑"}
    signs |= {r"$\lambda$": "λ", r"$\rightarrow$": "→", "---": "—", "--": "\N{EN DASH}", r"\#": "#", r"\%": "%"}
    for sign, meant in signs.items():
        cell = cell.replace(sign, meant)
    return cell.replace("{", "").replace("}", "")


class Tables(HTMLParser):
    """Cells of a table as (texts, tags with their attributes); what stands in ``<sup>`` is left out."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.head, self.tags, self.open, self.quiet = [], [], [], [], False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open += [tag] if tag != "br" else []
        self.quiet = self.quiet or tag == "sup"
        if tag == "tr":
            (self.head if "thead" in self.open else self.rows).append([])
        if tag in {"td", "th"}:
            self.line.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.quiet = self.quiet and tag != "sup"

    def handle_data(self, data):
        if {"td", "th"} & set(self.open) and not self.quiet:
            self.line[-1] += data

    @property
    def line(self):
        return (self.head if "thead" in self.open else self.rows)[-1]


def read_html(text, width) -> tuple[list[str], list[list[str]]]:
    found = Tables(text)
    rows = [row for row in found.rows if len(row) > 1]
    assert all(len(row) == width for row in rows)
    return found.head[-1], rows


READERS = {"csv": read_csv, "md": read_markdown, "latex": read_latex, "html": read_html}


@pytest.mark.parametrize("form", READERS)
@pytest.mark.parametrize("name", VALUES)
def test_every_table_is_rendered_in_the_papers_order(name, form):
    header, rows = printed_rows(RAW[name])
    found_header, found = READERS[form](grid_text(published_grid(published_table(name)), form), len(header))
    assert found == rows
    if form in {"csv", "md"}:
        assert found_header == header
    else:  # the lower of two storeys
        own = [title.split(" / ")[-1] for title in header]
        assert found_header == (own if form == "latex" or " / " not in "".join(header) else own[-len(found_header) :])


def test_all_tables_of_the_papers_are_there():
    assert table_ids() == tuple(RAW)
    assert set(table_ids()) == set(VALUES)
    for table in published_tables():
        values = sum(len(cell.printed) for row in table.cells for cell in row)
        assert (values, len(table.rows), len(table.columns)) == VALUES[table.id]
        assert all(len(row) == len(table.columns) for row in table.cells)
        assert all(len(row.labels) == len(table.row_header) for row in table.rows)
    assert sum(values for values, _, _ in VALUES.values()) == 645


def test_nothing_of_the_files_is_dropped():
    for table in published_tables():
        with (FOLDER / RAW[table.id]["file"]).open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        values = [(cell, value) for row in table.cells for cell in row for value in cell.printed]
        for line, (cell, value) in zip(lines, values, strict=True):
            assert (value.text, ";".join(value.markers), value.note) == (line["value"], line["marker"], line["note"])
            assert (cell.metric, cell.unit, cell.protocol) == (line["metric"], line["unit"], line["protocol"])
            assert (cell.train_set, cell.test_set) == (line["train_set"], line["test_set"])
            flags = {"true": True, "false": False, "": None}
            assert cell.uses_ogl is flags[line["uses_ogl"]]
            assert cell.pretrained_vision is flags[line["pretrained_vision"]]
        raw = RAW[table.id]
        assert [table.subject] == list(dict.fromkeys(line["caption_short"] for line in lines))
        assert (list(table.footnotes), list(table.checks), table.run) == (
            raw["footnotes"], raw["checks"], raw["avbench_run"],
        )  # fmt: skip
        assert (table.number, table.title, table.paper.id) == (raw["number"], raw["title"], raw["paper"])
        assert [row.method for row in table.rows] == [row["method"] for row in raw["rows"]]
        assert [row.variant for row in table.rows] == [row.get("method_variant", "") for row in raw["rows"]]
        assert [column.metric for column in table.columns] == [column["metric"] for column in raw["columns"]]


def test_every_doubt_is_shown_with_the_table():
    for table in published_tables():
        grid = published_grid(table)
        assert re.findall(r"^(\d+)[.] ", grid_text(grid, "md"), re.M) == [
            str(number) for number in range(1, len(grid.footnotes) + 1)
        ]
        last = [line[-1] for line in csv.reader(io.StringIO(grid_text(grid, "csv")))]
        assert all(note in "\n".join(last) for note in grid.footnotes)
        assert {*table.footnotes, *(f"Checked: {check}" for check in table.checks)} <= set(grid.remarks)
        told = {note for row in grid.rows for note in row.notes}
        told |= {note for row in grid.rows for cell in row.cells for line in cell for note in line.notes}
        for cells, row in zip(table.cells, table.rows, strict=True):
            for value in (value for cell in cells for value in cell.printed):
                meanings = {INDEX["markers"][marker] for marker in value.markers if marker != "dash"}
                parts = {part for part in value.note.split("; ") if part}
                assert meanings | parts <= told | {f"printed as {label}" for label in (*row.labels, row.group)}


def test_the_files_are_the_originals(shared):
    originals = {path.name: path.read_bytes() for path in (shared / "published").iterdir()}
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == originals
    assert len(originals) == 22


def texts(name) -> list[list[tuple[str, ...]]]:
    return [[tuple(value.text for value in cell.printed) for cell in row] for row in published_table(name).cells]


def test_model_sizes():
    table = published_table("jsa-supp-1")
    assert [(row.labels, row.method) for row in table.rows] == [
        (("EZ-VSL",), "EZ-VSL"), (("Ours",), "JSA"), (("Ours [†]",), "JSA"),
    ]  # fmt: skip
    assert texts("jsa-supp-1") == [[("22.87",)], [("31.82",)], [("29.71",)]]
    assert table.cells[2][0].printed == (
        Printed("29.71", ("dagger_inference_params",), "printed as Ours with a dagger"),
    )
    assert {cell.unit for row in table.cells for cell in row} == {"M"}
    assert table.paper.venue == "CVPR 2025"
    assert table.paper.arxiv == "2504.15118"


def test_the_default_row_of_the_slot_iterations():
    table = published_table("jsa-supp-3")
    assert table.rows[2].labels == ("5",)
    values = ["40.71", "41.62", "30.61", "57.87", "69.37", "31.70", "58.43", "69.81"]
    assert texts("jsa-supp-3")[2] == [(value,) for value in values]
    assert [column.header for column in table.columns][2:4] == ["Audio → Image / R@1", "Audio → Image / R@5"]
    assert all(cell.printed[0].markers == ("default_row",) for cell in table.cells[2])


def test_a_value_of_the_original_paper_stands_before_the_rerun():
    table = published_table("slavc-supp-1")
    assert table.rows[0].labels == ("Attention10k",)
    assert table.rows[0].group == "weakly-supervised:"
    assert table.columns[2].header == "Early Stop / LocAcc"
    first, second = table.cells[0][2].printed
    assert (first.text, first.markers) == ("43.60", ("original_paper",))
    assert (second.text, second.markers, second.note) == ("42.54", (), "value re-run by the SLAVC authors")
    assert table.cells[0][2].protocol == "early_stop"
    assert table.cells[0][5].protocol == "latest"


def test_a_dash_is_a_value_without_text():
    table = published_table("oassl-supp-4")
    assert table.cells[0][0].printed == (Printed("", ("dash",), "MLLM cell printed as a dash"),)
    assert texts("oassl-supp-4") == [
        [("",), ("1.53",), ("22.0",), ("0.051",), ("0.81",)],
        [("0.92",), ("1.13",), ("16.63",), ("0.044",), ("0.35",)],
    ]
    assert table.rows[0].labels == ("T-VSL", "—")
    assert table.rows[1].labels == ("Ours", "")


def test_the_neighbours_are_printed_with_settings_as_columns():
    table = published_table("alignment-9")
    assert table.transposed
    assert not published_table("alignment-8").transposed
    header, first, second = list(csv.reader(io.StringIO(grid_text(published_grid(table), "csv"))))
    assert header == ["table", "group", "k in k-NN", "10", "30", "100", "500", "1000", "notes"]
    assert first[:8] == ["alignment-9", "", "cIoU ↑", "38.80", "38.82", "39.46", "39.90", "39.94"]
    assert second[:8] == ["alignment-9", "", "AUC ↑", "39.51", "39.67", "39.93", "40.00", "40.02"]


def test_blocks_of_a_test_set_and_a_heading():
    table = published_table("alignment-3")
    assert table.row_header == ("Test Class", "Method", "Pre. Vision")
    assert (table.rows[13].labels, table.rows[13].group, table.rows[13].test_set) == (
        ("Unheard 110", "SLAVC (w/o OGL) (NeurIPS22) [sic]", "✓"), "with OGL:", "vggss_unheard",
    )  # fmt: skip
    assert table.rows[13].variant == "w/ OGL"
    assert texts("alignment-3")[13] == [("38.87",), ("",)]
    assert table.cells[13][1].printed[0].markers == ("printed_label_differs", "dash")


def test_an_unknown_table():
    sentence = (
        "there is no published table called 'jsa-sup-1': did you mean jsa-supp-1 or jsa-supp-6 or jsa-supp-5? "
        "avbench list tables shows all"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
        published_table("jsa-sup-1")


def test_reading_needs_neither_torch_nor_pandas():
    code = (
        "import sys; from avbench.leaderboards.published_text import grid_text; "
        "from avbench.leaderboards.published_grids import published_grid; "
        "from avbench.leaderboards.published_tables import published_table; "
        "grid_text(published_grid(published_table('jsa-supp-1')), 'md'); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
