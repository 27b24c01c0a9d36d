"""What ``avbench verify`` says to a person: a line for each kind of check, and what failed."""

import re

import pytest

from avbench.commands.verifying import main as verify
from avbench.errors import UsageError
from avbench.verification_reports import Check, detail, summary

GOOD = Check("maps", "disc on small", "6 maps")
BAD = Check("maps", "jsa on small", "6 maps", ("a is wrong", "b is wrong", "c is wrong", "d is wrong"))
SINGLE = Check("list", "small", "6 samples", ("e is wrong",))


def test_a_summary_has_a_line_for_each_kind_then_what_failed():
    assert summary([GOOD, SINGLE, BAD]) == [
        "FAILED  maps         1 of 2 checks passed",
        "FAILED  list         0 of 1 check passed",
        "FAILED  list         small: 1 problem",
        "        e is wrong",
        "FAILED  maps         jsa on small: 4 problems",
        "        a is wrong",
        "        b is wrong",
        "        c is wrong",
        "        and 1 more: --detail shows all",
    ]
    assert summary([GOOD, GOOD]) == ["ok      maps         2 of 2 checks passed"]


def test_detail_leaves_nothing_out():
    assert detail(GOOD) == ["ok      maps         disc on small: 6 maps"]
    assert detail(BAD)[1:] == [f"        {letter} is wrong" for letter in "abcd"]


def test_a_bundle_that_passes_has_few_lines(small, capsys, bundle_of_all):
    assert verify([str(bundle_of_all)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == "all.zip: all 28 checks passed"
    said = [re.fullmatch(r"ok {6}(\w+) +(\d+) of (\d+) checks? passed", line).groups() for line in lines]
    assert len({name for name, _, _ in said}) == len(said) < 12
    assert sum(int(passed) for _, passed, _ in said) == sum(int(count) for _, _, count in said) == 28


def test_detail_and_json_are_one_too_many(tmp_path):
    with pytest.raises(UsageError, match=re.escape("--json has every check already: leave --detail out")):
        verify([str(tmp_path / "b.zip"), "--json", "--detail"])
