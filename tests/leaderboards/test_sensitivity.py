"""How the ranks move with the protocol: hand-made records with known orders."""

import math

import pytest

from avbench.leaderboards.sensitivity import sensitivity
from avbench.leaderboards.sensitivity_text import lines, print_sensitivity, sensitivity_text, tau_line
from avbench.records import Record


def make(method: str, protocol: str, value: float, **changes) -> Record:
    values = {
        "method": method,
        "variant": "av",
        "split": "demo",
        "protocol": protocol,
        "audio": "true",
        "n_expected": 400,
        "n_scored": 400,
        "n_positive": 400,
        "n_nan": 0,
        "partial": False,
        "metrics": {"locacc": value},
        "intervals": {},
        "provenance": {"method": {"info": {"control": method == "disc"}}},
        "run": {"seconds": 1.0},
    }
    return Record(**{**values, **changes})


def table(rows: dict[str, dict[str, float]]) -> list[Record]:
    return [make(method, protocol, value) for method, cells in rows.items() for protocol, value in cells.items()]


ORDERS = {
    "a": {"lvs": 0.3, "common": 0.5, "jsa": 0.1},
    "b": {"lvs": 0.2, "common": 0.4, "jsa": 0.2},
    "disc": {"lvs": 0.9, "common": 0.9, "jsa": 0.9},
    "c": {"lvs": 0.1, "common": 0.3, "jsa": 0.3},
}


def test_ranks_and_tau_by_hand():
    found = sensitivity(table(ORDERS))
    assert found.rows == ("a", "b", "c", "disc"), "controls last"
    assert found.protocols == ("lvs", "common", "jsa")
    assert found.base == "common"
    assert found.places == ((1, 1, 3), (2, 2, 2), (3, 3, 1), (None, None, None))
    assert found.tau == (1, 1, -1)


def test_one_pair_that_changes_places():
    rows = {**ORDERS, "c": {"lvs": 0.25, "common": 0.3, "jsa": 0.05}}
    found = sensitivity(table(rows))
    assert found.places[:3] == ((1, 1, 2), (3, 2, 1), (2, 3, 3))
    assert found.tau == pytest.approx((1 / 3, 1, 1 / 3))


def test_equal_values_share_the_better_place():
    rows = {**ORDERS, "b": {"lvs": 0.3, "common": 0.5, "jsa": 0.5}}
    assert sensitivity(table(rows)).places[:3] == ((1, 1, 3), (1, 1, 1), (3, 3, 2))


def test_a_method_without_a_value_somewhere_is_not_ranked_anywhere():
    records = [record for record in table(ORDERS) if (record.method, record.protocol) != ("b", "jsa")]
    found = sensitivity(records)
    assert found.values[1] == (0.2, 0.4, None)
    assert found.places == ((1, 1, 2), (None, None, None), (2, 2, 1), (None, None, None))
    assert lines(found)[1] == ("b", "20.00", "40.00", "")


def test_partial_results_are_left_out():
    records = [make(r.method, r.protocol, r.metrics["locacc"], partial=r.method == "a") for r in table(ORDERS)]
    assert sensitivity(records).rows == ("b", "c", "disc")


@pytest.mark.parametrize(
    "records",
    [table({"a": ORDERS["a"], "disc": ORDERS["disc"]}), table({"a": {"lvs": 0.1}, "b": {"lvs": 0.2}}), []],
    ids=["one method", "one protocol", "nothing"],
)
def test_nothing_to_compare_is_no_table(records):
    assert sensitivity(records) is None
    assert sensitivity_text(records, "md") == ""


def test_a_protocol_that_ties_all_has_no_tau():
    rows = {name: {**cells, "lvs": 0.2} for name, cells in ORDERS.items()}
    found = sensitivity(table(rows))
    assert math.isnan(found.tau[0])
    assert tau_line(found) == ("Kendall's tau", "", "1.00", "-1.00")


def test_without_common_the_first_protocol_is_the_base():
    rows = {name: {"lvs": cells["lvs"], "jsa": cells["jsa"]} for name, cells in ORDERS.items()}
    found = sensitivity(table(rows))
    assert (found.base, found.tau) == ("lvs", (1, -1))


def test_the_text_says_who_leads_where(capsys):
    records = table(ORDERS)
    text = sensitivity_text(records, "md")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert ["a", "30.00 (1)", "50.00 (1)", "10.00 (3)"] in cells
    assert ["disc", "90.00", "90.00", "90.00"] in cells
    assert "First place: a under lvs, common; c under jsa." in text
    print_sensitivity(records)
    assert "First place: a under lvs, common; c under jsa." in capsys.readouterr().out
    assert "\\toprule" in sensitivity_text(records, "tex")


def test_splits_have_tables_of_their_own():
    other = [make(r.method, r.protocol, r.metrics["locacc"], split="b") for r in table(ORDERS)]
    text = sensitivity_text([*table(ORDERS), *other], "md")
    assert text.index("**b: ") < text.index("**demo: ")


def test_two_rows_of_one_title_are_refused():
    with pytest.raises(ValueError, match=r"expected one record for each title and protocol, got several"):
        sensitivity([*table(ORDERS), make("a", "lvs", 0.7)])
