"""Files of published tables that are not as they came: one sentence each."""

import csv
import re
import shutil
from pathlib import Path

import pytest
import yaml

from avbench.errors import AvbenchError
from avbench.leaderboards.published_index import FOLDER
from avbench.leaderboards.published_tables import read_table

COLUMNS = (
    "table_id, paper, caption_short, method, method_variant, uses_ogl, pretrained_vision, train_set, test_set, "
    "protocol, metric, value, unit, marker, note"
)
SIZES = "jsa-supp-1"


METRICS = [
    *("cIoU", "AUC", "LocAcc", "AP", "max-F1", "mIoU", "F-score", "CAP", "CIoU@0.3"),
    *("A2I_R@1", "A2I_R@5", "A2I_R@10", "I2A_R@1", "I2A_R@5", "I2A_R@10"),
    *("params", "mllm_caption_time", "train_time", "train_memory", "infer_time", "infer_memory"),
]
METHODS = [
    *("JSA", "Alignment", "SLAVC", "EZ-VSL", "FNAC", "LVS", "OGL", "SSL-TIE", "SSPL", "HardPos", "LCBM"),
    *("CoarseToFine", "Attention10k", "DMC", "DSOL", "HearTheFlow", "NoPrior", "T-VSL", "OA-SSL"),
]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The index with two tables alone, and their files."""
    place = tmp_path_factory.mktemp("published")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load((FOLDER / "tables.yaml").read_text(encoding="utf-8"), loader)  # noqa: S506 - safe either way
    content["tables"] = [table for table in content["tables"] if table["id"] in {SIZES, "slavc-supp-1"}]
    (place / "tables.yaml").write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
    for table in content["tables"]:
        shutil.copyfile(FOLDER / table["file"], place / table["file"])
    return place


@pytest.fixture
def folder(small, tmp_path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(small, tmp_path / "published"))


def refused(folder: Path, sentence: str, name: str = SIZES) -> None:
    sentence = sentence.replace("FOLDER", str(folder))
    with pytest.raises(AvbenchError, match=f"^{re.escape(sentence)}$"):
        read_table(folder, name)


def change(folder: Path, line: int, column: str, value: str, name: str = SIZES) -> None:
    """Write ``value`` in a cell of a line, from 1."""
    path = folder / f"{name}.csv"
    lines = list(csv.reader(path.read_text().splitlines()))
    lines[line - 1][lines[0].index(column)] = value
    write(path, lines)


def write(path: Path, lines) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


def change_index(folder: Path, old: str, new: str) -> None:
    path = folder / "tables.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def rewrite(folder: Path, edit, name: str = SIZES) -> None:
    path = folder / f"{name}.csv"
    write(path, [edit(line) for line in csv.reader(path.read_text().splitlines())])


def test_the_folder_reads_as_it_is(folder):
    assert read_table(folder, SIZES) == read_table(FOLDER, SIZES)


def test_a_moved_column(folder):
    rewrite(folder, lambda line: [*line[:11], line[12], line[11], *line[13:]])
    refused(
        folder,
        "FOLDER/jsa-supp-1.csv, line 1: expected the column 'value' in place 12, got 'unit': the columns are "
        f"{COLUMNS}, in this order",
    )


def test_a_missing_column(folder):
    rewrite(folder, lambda line: line[:-1])
    refused(
        folder,
        "FOLDER/jsa-supp-1.csv, line 1: expected the column 'note' in place 15, got nothing: the columns are "
        f"{COLUMNS}, in this order",
    )


def test_an_additional_column(folder):
    rewrite(folder, lambda line: [*line, "source"])
    refused(
        folder,
        "FOLDER/jsa-supp-1.csv, line 1: expected no further column, got 'source': the columns are "
        f"{COLUMNS}, in this order",
    )


def test_an_empty_file(folder):
    (folder / "jsa-supp-1.csv").write_text("")
    refused(
        folder,
        "FOLDER/jsa-supp-1.csv, line 1: expected the column 'table_id' in place 1, got nothing: the columns are "
        f"{COLUMNS}, in this order",
    )


def test_a_short_line(folder):
    path = folder / "jsa-supp-1.csv"
    path.write_text(path.read_text() + "jsa-supp-1,jsa2025_supp\n")
    refused(folder, "FOLDER/jsa-supp-1.csv, line 5: expected 15 cells, got 2: restore the file")


def test_a_stray_quote(folder):
    path = folder / "jsa-supp-1.csv"
    path.write_text(path.read_text().replace("22.87", '"22"87'))
    refused(folder, "FOLDER/jsa-supp-1.csv, line 2: expected CSV (',' expected after '\"'): restore the file")


def test_no_file(folder):
    (folder / "jsa-supp-1.csv").unlink()
    refused(
        folder,
        "expected a file of published tables at FOLDER/jsa-supp-1.csv, which cannot be read (No such file or "
        "directory): restore it",
    )


def test_a_file_that_is_no_text(folder):
    (folder / "jsa-supp-1.csv").write_bytes(b"\xff")
    refused(
        folder,
        "expected text in FOLDER/jsa-supp-1.csv, which is no UTF-8 ('utf-8' codec can't decode byte 0xff in position "
        "0: invalid start byte): restore it",
    )


@pytest.mark.parametrize(
    ("line", "column", "value", "wanted"),
    [
        (3, "table_id", "jsa-supp-2", "jsa-supp-1 as table_id"),
        (3, "paper", "jsa", "jsa2025_supp as paper"),
        (3, "uses_ogl", "no", "true or false as uses_ogl"),
        (3, "pretrained_vision", "yes", "true or false or nothing as pretrained_vision"),
        (3, "protocol", "best", "early_stop or latest or zero_shot or nothing as protocol"),
        (3, "unit", "percent", "M as unit"),
        (3, "unit", "", "M as unit"),
        (2, "value", "22,87", "a number as value, in M"),
        (2, "value", "-22.87", "a number as value, in M"),
        (2, "value", "nan", "a number as value, in M"),
        (2, "value", "", "a number as value, in M"),
        (4, "caption_short", "Sizes", "the caption of the lines before"),
    ],
)
def test_a_cell_that_is_not_what_its_column_holds(folder, line, column, value, wanted):
    change(folder, line, column, value)
    refused(folder, f"FOLDER/jsa-supp-1.csv, line {line}: expected {wanted}, got {value!r}: restore the file")


@pytest.mark.parametrize(
    ("column", "value", "known"),
    [
        (
            "train_set",
            "vggss",
            "vggss_144k or flickr_144k or flickr_10k or vggss_heard or vggss_heard_ssltie or nothing",
        ),
        (
            "test_set",
            "vgg-ss",
            "vggss or flickr or vggss_heard or vggss_unheard or vggss_heard_ssltie or vggss_unheard_ssltie or "
            "flickr_plus_silent or vggss_plus_silent or s4 or ms3 or vggsound_duet or nothing",
        ),
        ("method", "Jsa", " or ".join(METHODS)),
        ("metric", "size", " or ".join(METRICS)),
        (
            "marker",
            "bold",
            "original_paper or dagger_official_page_model or dagger_inference_params or default_row or underline or "
            "dash or reconstructed or printed_label_differs or as_printed_suspect",
        ),
    ],
)
def test_a_name_that_the_index_does_not_have(folder, column, value, known):
    change(folder, 4, column, value)
    sentence = f"FOLDER/jsa-supp-1.csv, line 4: expected {known} as {column}, got {value!r}: restore the file"
    refused(folder, sentence)


def test_a_second_marker_is_looked_at_too(folder):
    change(folder, 4, "marker", "dagger_inference_params;")
    refused(
        folder,
        "FOLDER/jsa-supp-1.csv, line 4: expected original_paper or dagger_official_page_model or "
        "dagger_inference_params or default_row or underline or dash or reconstructed or printed_label_differs or "
        "as_printed_suspect as marker, got '': restore the file",
    )


def test_a_value_beside_a_dash(folder):
    change(folder, 2, "marker", "dash")
    refused(
        folder,
        "FOLDER/jsa-supp-1.csv, line 2: expected no value beside the marker dash, got '22.87': restore the file",
    )


def test_more_than_all(folder):
    change(folder, 2, "value", "450.2", "slavc-supp-1")
    refused(
        folder,
        "FOLDER/slavc-supp-1.csv, line 2: expected at most 100 percent as value, got '450.2': restore the file",
        "slavc-supp-1",
    )


def test_a_cell_without_a_line(folder):
    path = folder / "jsa-supp-1.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    refused(
        folder,
        "FOLDER/jsa-supp-1.csv: expected a line for row 'Ours [†]', column '# of parameters (M)', got none: restore "
        "the file",
    )


def test_a_line_without_a_cell(folder):
    path = folder / "jsa-supp-1.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1].replace("without", "with only") + "\n")
    refused(
        folder,
        "FOLDER/jsa-supp-1.csv, line 5: expected a line of one cell of the index, got JSA, with only auxiliary "
        "decoders (inference), params, which no cell has: restore the file",
    )


def test_a_cell_with_two_lines(folder):
    path = folder / "jsa-supp-1.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    refused(
        folder,
        "FOLDER/jsa-supp-1.csv, line 5: expected one line for row 'Ours [†]', column '# of parameters (M)', or one "
        "with the marker original_paper and one without, got 2 lines: restore the file",
    )


def test_the_rerun_before_the_original(folder):
    change(folder, 4, "marker", "", "slavc-supp-1")
    change(folder, 5, "marker", "original_paper", "slavc-supp-1")
    refused(
        folder,
        "FOLDER/slavc-supp-1.csv, line 5: expected one line for row 'Attention10k', column 'Early Stop / LocAcc', or "
        "one with the marker original_paper and one without, got 2 lines: restore the file",
        "slavc-supp-1",
    )


def test_two_values_measured_differently(folder):
    change(folder, 5, "uses_ogl", "true", "slavc-supp-1")
    refused(
        folder,
        "FOLDER/slavc-supp-1.csv, line 5: expected a second value measured as the first one of row 'Attention10k', "
        "column 'Early Stop / LocAcc', got another data set, protocol, unit or mark: restore the file",
        "slavc-supp-1",
    )


def test_one_line_for_two_cells(folder):
    change_index(folder, "all modules incl. auxiliary decoders (training)", "without auxiliary decoders (inference)")
    refused(
        folder,
        "FOLDER/jsa-supp-1.csv, line 4: expected a line of one cell of the index, got one of row 'Ours', column '# of "
        "parameters (M)' and of row 'Ours [†]', column '# of parameters (M)': restore the file",
    )


def test_a_row_that_is_too_narrow(folder):
    change_index(folder, "row_header:\n  - Method\n", "row_header:\n  - Method\n  - Size\n")
    refused(folder, "FOLDER/tables.yaml, table jsa-supp-1, row 'EZ-VSL': expected 2 labels, got 1: restore the file")


def test_two_marks_of_vision_in_a_row(folder):
    change(folder, 3, "pretrained_vision", "true", "slavc-supp-1")
    refused(
        folder,
        "FOLDER/tables.yaml, table slavc-supp-1, row 'Attention10k': expected one mark of pretrained vision for the "
        "row, got several: restore the file",
        "slavc-supp-1",
    )


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("  title: How many", "  titles: How many", ", a table: expected the key 'title', which is not there"),
        (
            "metric: params",
            "metric: param",
            f", table jsa-supp-1: expected a metric of {', '.join(METRICS)}, got 'param'",
        ),
        (
            "    metric: params",
            "    metric: params\n    best: low",
            ", table jsa-supp-1, a column: expected the keys header, metric, test_set, protocol, got 'best'",
        ),
        (
            "method: EZ-VSL\n    method_variant: two",
            "method: EZVSL\n    method_variant: two",
            f", table jsa-supp-1: expected a method of {', '.join(METHODS)}, got 'EZVSL'",
        ),
        (
            "  paper: jsa2025_supp\n",
            "  paper: jsa\n",
            ", table jsa-supp-1: expected a paper of jsa2025_supp, alignment2023, slavc2022_supp, oassl2025_supp, "
            "got 'jsa'",
        ),
        (
            "label: EZ-VSL\n",
            "label: EZ-VSL\n    test_set: vggs\n",
            ", table jsa-supp-1: expected a test set of vggss, flickr, vggss_heard, vggss_unheard, "
            "vggss_heard_ssltie, vggss_unheard_ssltie, flickr_plus_silent, vggss_plus_silent, s4, ms3, "
            "vggsound_duet, got 'vggs'",
        ),
        (
            "    venue: CVPR 2025\n    year: 2025\n    arxiv",
            "    year: 2025\n    arxiv",
            ", paper jsa2025_supp: expected the key 'venue', which is not there",
        ),
        (
            "    method_variant: two",
            "    variant: two",
            ", table jsa-supp-1, a row: expected the keys label, method, group, row_keys, method_variant, test_set, "
            "got 'variant'",
        ),
        ("conventions:", "agreements:", ": expected the key 'conventions', which is not there"),
    ],
)
def test_an_index_with_other_keys(folder, old, new, sentence):
    change_index(folder, old, new)
    refused(folder, f"FOLDER/tables.yaml{sentence}: restore the file")


def test_an_index_that_is_no_yaml(folder):
    (folder / "tables.yaml").write_text("a: [")
    with pytest.raises(AvbenchError, match=r"tables\.yaml is not YAML \(.+\): restore the file$"):
        read_table(folder, SIZES)


def test_an_index_that_is_a_list(folder):
    (folder / "tables.yaml").write_text("[1]")
    refused(
        folder,
        "FOLDER/tables.yaml: expected the keys about, csv_columns, markers, conventions, papers, train_sets, "
        "test_sets, metrics, methods, tables, got [1]: restore the file",
    )
