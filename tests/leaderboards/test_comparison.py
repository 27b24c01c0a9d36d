"""Comparisons of made-up per-sample values: hand-computed tests, ranks and groups, refusals, and what is printed."""

import csv
import io
import json
import re
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from avbench.errors import AvbenchError, UsageError
from avbench.leaderboards.compared import Plan
from avbench.leaderboards.comparison import compare
from avbench.leaderboards.comparison_sheets import most_different, notes, sheets
from avbench.leaderboards.comparison_text import comparison_json, comparison_text, print_comparison
from avbench.leaderboards.contestants import Contestant, told_apart
from avbench.metrics.extended import average_precision, max_f1
from avbench.metrics.resampling import bootstrap, means
from avbench.metrics.success import area_under_success
from avbench.records import Record

QUICK = Plan(resamples=200)


def record(method, samples, **changes) -> Record:
    """A record of 40 expected samples; ``control`` and the parts of its provenance may be given by name."""
    known = {
        "method": {"name": method, "info": {"control": changes.pop("control", False)}},
        "split": {"sha256": changes.pop("split_sha256", "5f")},
        "truth": changes.pop("truth", "7e"),
        "protocol": {"version": changes.pop("version", 1)},
        "metrics": changes.pop("versions", {"locacc": 1, "auc": 1, "mean_ciou": 1}),
        "key": changes.pop("key", f"key-of-{method}"),
        "prior_key": None,
    }
    values = {
        "method": method,
        "variant": "av",
        "split": "demo",
        "protocol": "common",
        "audio": "true",
        "n_expected": 40,
        "n_scored": samples,
        "n_positive": samples,
        "n_nan": 0,
        "partial": samples < 40,
        "metrics": {"locacc": 0.5},
        "intervals": {},
        "provenance": known,
        "run": {"seconds": 1.0},
        "path": Path(f"runs/records/demo/{method}.json"),
    }
    return Record(**{**values, **changes})


def samples(ciou, **columns) -> pd.DataFrame:
    count = len(ciou)
    values = {
        "id": [f"clip_{n:02d}" for n in range(count)],
        "label": pd.array(["bell"] * count, dtype="string"),
        "image": [f"picture {n}" for n in range(count)],
        "boxes": 1,
        "area": 9_000.0,
        "doubtful": False,
        "ciou": np.asarray(ciou, dtype=float),
        "ciou_adap": np.asarray(ciou, dtype=float),
    }
    return pd.DataFrame({**values, **columns})


def entry(method, ciou, columns=None, **changes) -> Contestant:
    return Contestant(record(method, len(ciou), **changes), samples(ciou, **(columns or {})))


def right(first, last=0, of=40) -> list[float]:
    """cIoU of 0.9 on the ``first`` samples and the ``last`` ones, 0.1 on the others."""
    return [0.9 if n < first or n >= of - last else 0.1 for n in range(of)]


def noise(seed, of=40) -> list[float]:
    return np.random.default_rng(seed).uniform(0, 1, of).tolist()


def standing(result, title):
    return next(one for one in result.standings if one.title == title)


def by_metric(found):
    return {result.metric: result for result in found.results}


def test_mcnemar_by_hand():
    found = compare([entry("one", right(19)), entry("other", right(10, 1))], QUICK)
    (pair,) = found.results[0].pairs
    assert (pair.first, pair.second, pair.only_first, pair.only_second) == ("one", "other", 9, 1)
    assert pair.p == pair.p_holm == 2 * (1 + 10) / 2**10
    assert pair.difference == pytest.approx(8 / 40)
    assert pair.low <= pair.difference <= pair.high


def test_a_rate_has_wilsons_interval():
    found = compare([entry("one", right(209, of=250)), entry("other", right(1, of=250))], QUICK)
    one = standing(found.results[0], "one")
    assert (one.value, round(one.low, 3), round(one.high, 3)) == (0.836, 0.785, 0.877)


def test_tie_groups_by_hand():
    found = compare([entry("low", right(10)), entry("top", right(30)), entry("next", right(28))], QUICK)
    result = found.results[0]
    assert [one.title for one in result.standings] == ["top", "next", "low"]
    assert [(one.rank, one.group) for one in result.standings] == [(1, 1), (2, 1), (3, 2)]
    adjusted = {(pair.first, pair.second): pair.p_holm for pair in result.pairs}
    assert adjusted == {("top", "low"): 3 * 2 / 2**20, ("next", "low"): 2 * 2 / 2**18, ("top", "next"): 0.5}


def test_groups_go_by_the_corrected_values():
    found = compare([entry("top", right(30)), entry("next", right(24)), entry("low", right(23))], QUICK)
    tests = {(pair.first, pair.second): (pair.p, pair.p_holm) for pair in found.results[0].pairs}
    assert tests["top", "next"] == (2 / 2**6, 4 / 2**6)
    assert tests["top", "low"] == (2 / 2**7, 6 / 2**7)
    assert [one.group for one in found.results[0].standings] == [1, 1, 2]


def test_identical_methods_cannot_be_told_apart():
    values = noise(1)
    found = compare([entry("one", values), entry("twin", values)], QUICK)
    for result in found.results:
        assert [(one.rank, one.group) for one in result.standings] == [(1, 1), (1, 1)]
        (pair,) = result.pairs
        assert (pair.difference, pair.low, pair.high, pair.p, pair.p_holm) == (0, 0, 0, 1, 1)


def test_values_are_those_of_the_metrics():
    values = torch.tensor(noise(2), dtype=torch.float64)
    plan = replace(QUICK, metrics=("auc", "mean_ciou", "auc_exact", "locacc_30", "locacc_75", "locacc_adap"))
    versions = dict.fromkeys(plan.metrics, 1)
    found = compare([entry("one", values, versions=versions), entry("other", noise(3), versions=versions)], plan)
    known = {name: standing(result, "one").value for name, result in by_metric(found).items()}
    assert known == pytest.approx(
        {
            "auc": float(area_under_success(values)),
            "mean_ciou": float(values.mean()),
            "auc_exact": float(values.mean()),
            "locacc_30": np.mean(values.numpy() >= 0.3),
            "locacc_75": np.mean(values.numpy() >= 0.75),
            "locacc_adap": np.mean(values.numpy() >= 0.5),
        },
        abs=1e-12,
    )


def test_success_is_as_the_protocol_says():
    at_half = [0.5] * 20 + [0.9] * 20
    rates = {}
    for protocol in ("common", "slavc-train"):
        found = compare([entry(name, at_half, protocol=protocol) for name in ("one", "other")], QUICK)
        rates[protocol] = standing(found.results[0], "one").value
    assert rates == {"common": 1.0, "slavc-train": 0.5}


def test_means_share_the_resamples_of_the_bootstrap():
    first, second = noise(4), noise(5)
    found = by_metric(compare([entry("one", first), entry("other", second)], QUICK))["mean_ciou"]
    drawn = bootstrap([means({"mean": torch.tensor([first, second])})], 40, resamples=200, seed=0)["mean"]
    assert (standing(found, "one").low, standing(found, "one").high) == pytest.approx(drawn.interval(0))
    sign = 1 if found.pairs[0].first == "one" else -1
    assert sign * found.pairs[0].difference == pytest.approx(drawn.difference(0, 1).value)
    assert found.pairs[0].p == drawn.difference(0, 1).p


def test_the_order_of_methods_and_samples_decides_nothing():
    entries = [entry(name, noise(seed)) for seed, name in enumerate(("lvs", "jsa", "ezvsl", "fnac"))]
    shuffled = [Contestant(one.record, one.samples.sample(frac=1, random_state=3)) for one in reversed(entries)]
    assert compare(entries, QUICK) == compare(shuffled, QUICK)


def test_the_seed_decides_the_intervals():
    entries = [entry("one", noise(1)), entry("other", noise(2))]
    first, second = (by_metric(compare(entries, replace(QUICK, seed=seed)))["auc"] for seed in (0, 1))
    assert first.standings[0].low != second.standings[0].low


def test_sizes_and_classes_can_be_left_out():
    entries = [entry("one", noise(1)), entry("two", noise(2))]
    whole, without = (compare(entries, replace(QUICK, parts=parts)) for parts in (True, False))
    assert whole.parts
    assert without == replace(whole, parts=())


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "kind", "message"),
        [
            (
                {"split": "vggss"},
                UsageError,
                "the split is demo of one and vggss of the other; choose one with --split",
            ),
            ({"protocol": "jsa"}, UsageError, "the protocol is common of one and jsa of the other; choose one"),
            ({"split_sha256": "99"}, AvbenchError, "the hash of the list of demo is 5f of one and 99 of the other"),
            ({"version": 2}, AvbenchError, "the version of the protocol common is 1 of one and 2 of the other"),
            ({"truth": "00"}, AvbenchError, "the truth of their samples differs; predict both from the same"),
            (
                {"versions": {"locacc": 2}},
                AvbenchError,
                "the metric locacc has the version 1 in one and 2 in the other",
            ),
        ],
    )
    def test_other_tasks(self, changes, kind, message):
        entries = [entry("jsa", noise(1)), entry("lvs", noise(2), **changes)]
        with pytest.raises(kind, match=message) as refused:
            compare(entries, QUICK)
        assert type(refused.value) is kind
        assert "jsa (runs/records/demo/jsa.json) and lvs (runs/records/demo/lvs.json) cannot be" in str(refused.value)

    def test_the_version_of_a_metric_that_is_not_compared_does_not_matter(self):
        versions = {"locacc": 1, "auc": 1, "mean_ciou": 2}
        entries = [entry("jsa", noise(1)), entry("lvs", noise(2), versions=versions)]
        compare(entries, replace(QUICK, metrics=("locacc", "auc")))

    def test_other_samples(self):
        entries = [entry("jsa", noise(1)), entry("lvs", noise(2)[:39])]
        message = r"they have 40 and 39 samples of demo, 39 in common \(clip_39 is in one alone\); --common takes those"
        with pytest.raises(UsageError, match=message):
            compare(entries, QUICK)

    def test_other_truth_of_common_samples(self):
        moved = {"area": [9_000.0] * 38 + [1.0]}
        entries = [entry("jsa", noise(1)), entry("lvs", noise(2)[:39], columns=moved, truth="of 39")]
        with pytest.raises(AvbenchError, match="the truth of their samples differs, first of all that of clip_38"):
            compare(entries, replace(QUICK, common=True))

    def test_nothing_in_common(self):
        other = {"id": [f"other_{n}" for n in range(40)]}
        with pytest.raises(UsageError, match="the 2 rows have no sample in common"):
            compare([entry("jsa", noise(1)), entry("lvs", noise(2), columns=other)], replace(QUICK, common=True))

    @pytest.mark.parametrize(("entries", "alone"), [([], "nothing"), ([entry("jsa", right(3))], "jsa")])
    def test_fewer_than_two_rows(self, entries, alone):
        with pytest.raises(UsageError, match=f"expected two or more rows to compare, got {alone}: name more runs"):
            compare(entries, QUICK)

    def test_metrics(self):
        entries = [entry("jsa", noise(1)), entry("lvs", noise(2))]
        with pytest.raises(UsageError, match="there is no metric called 'locac': did you mean locacc"):
            compare(entries, replace(QUICK, metrics=("locac",)))
        with pytest.raises(
            UsageError, match=r"the metric ap cannot be compared, .* choose from locacc, auc, mean_ciou"
        ):
            compare(entries, replace(QUICK, metrics=("ap",)))
        nothing_sounds = [entry(name, noise(1), columns={"boxes": 0}) for name in ("jsa", "lvs")]
        with pytest.raises(UsageError, match="the metric locacc has none of the compared samples to go by"):
            compare(nothing_sounds, QUICK)


class TestCommon:
    def entries(self) -> list[Contestant]:
        """40 samples; the same without the last 10; the same without the first 5: the 6th to the 30th are common."""
        late = {"id": [f"clip_{n:02d}" for n in range(5, 40)], "image": [f"picture {n}" for n in range(5, 40)]}
        return [
            entry("whole", right(20)),
            entry("early", right(10, of=30), truth="of 30"),
            entry("late", right(5, of=35), columns=late, truth="of 35"),
        ]

    def test_the_samples_that_all_have(self):
        found = compare(self.entries(), replace(QUICK, common=True))
        assert (found.n, found.n_expected, found.common) == (25, 40, True)
        values = {one.title: one.value for one in found.results[0].standings}
        assert values == {"whole": 15 / 25, "early": 5 / 25, "late": 5 / 25}
        assert "The 25 of 40 samples of the split that all rows have in common." in notes(found)
        assert sheets(found)[0].title == "demo, protocol common: 25 of 40 samples"

    def test_in_whatever_order(self):
        plan = replace(QUICK, common=True)
        assert compare(self.entries(), plan) == compare(self.entries()[::-1], plan)

    def test_it_changes_nothing_where_all_have_the_same(self):
        entries = [entry("one", noise(1)), entry("other", noise(2))]
        assert compare(entries, replace(QUICK, common=True)) == compare(entries, QUICK)

    def test_equally_partial_rows_say_so(self):
        found = compare([entry("one", noise(1, of=30)), entry("other", noise(2, of=30))], QUICK)
        assert "Partial: 30 of the 40 samples of the split." in notes(found)


class TestControls:
    def entries(self, *methods) -> list[Contestant]:
        own = [entry(name, noise(seed)) for seed, name in enumerate(methods)]
        return [*own, entry("disc", right(39), control=True), entry("whole", right(2), control=True)]

    def test_they_are_shown_but_not_ranked(self):
        found = compare(self.entries("jsa", "lvs"), QUICK)
        assert [one.title for one in found.entrants][2:] == ["disc", "whole"]
        disc = standing(found.results[0], "disc")
        assert (disc.value, disc.rank, disc.group) == (39 / 40, None, None)
        assert disc.low < disc.value < disc.high
        assert len(found.results[0].pairs) == 1
        assert all(len(part.values) == 2 for part in found.parts)
        assert "Controls are not ranked or tested unless --method names them: disc, whole." in notes(found)

    def test_they_are_ranked_where_they_are_named(self):
        found = compare(self.entries("jsa", "lvs"), replace(QUICK, ranked=("jsa", "lvs", "disc")))
        assert standing(found.results[0], "disc").rank == 1
        assert standing(found.results[0], "whole").rank is None

    def test_one_that_is_named_is_enough_beside_a_single_method(self):
        found = compare(self.entries("jsa"), replace(QUICK, ranked=("jsa", "disc")))
        assert standing(found.results[0], "whole").rank is None

    def test_they_are_ranked_beside_a_single_method(self):
        found = compare(self.entries("jsa"), QUICK)
        assert [one.rank for one in found.results[0].standings] == [1, 2, 3]


class TestDetection:
    def entries(self) -> list[Contestant]:
        """30 sounding samples and 10 negatives, 4 of them doubtful."""
        generator = np.random.default_rng(0)
        fixed = {"boxes": [1] * 30 + [0] * 10, "doubtful": [False] * 36 + [True] * 4}
        return [
            entry(name, noise(seed), columns={**fixed, "confidence": generator.normal(size=40)})
            for seed, name in enumerate(("one", "other"))
        ]

    def test_is_added_where_something_is_silent(self):
        found = compare(self.entries(), QUICK)
        assert [result.metric for result in found.results] == ["locacc", "auc", "mean_ciou", "ap", "max_f1"]
        assert [result.n for result in found.results] == [30, 30, 30, 40, 40]
        assert "cIoU, AUC, mean cIoU: over the 30 samples with a sounding object." in notes(found)

    def test_values(self):
        plan = replace(QUICK, metrics=("ap", "max_f1_clean", "max_f1", "ap_clean"))
        found = by_metric(compare(self.entries(), plan))
        table = self.entries()[0].samples
        sure, ciou = torch.tensor(table["confidence"]), torch.tensor(table["ciou"])
        heard, clean = torch.tensor(table["boxes"]) > 0, ~torch.tensor(table["doubtful"])
        for suffix, rows in (("", torch.ones(40, dtype=torch.bool)), ("_clean", clean)):
            for name, function in (("ap", average_precision), ("max_f1", max_f1)):
                expected = float(function(sure[rows], ciou[rows], sounding=heard[rows]))
                assert standing(found[f"{name}{suffix}"], "one").value == pytest.approx(expected, abs=1e-12)
        assert found["ap_clean"].n == 36

    def test_has_no_sizes_or_classes(self):
        assert compare(self.entries(), replace(QUICK, metrics=("ap",))).parts == ()


class TestPictures:
    """Samples that show one picture are drawn together."""

    def test_no_test_takes_them_for_independent(self):
        shared = {"image": [f"picture {n // 2}" for n in range(40)]}
        found = compare([entry("one", right(19), columns=shared), entry("other", right(10), columns=shared)], QUICK)
        assert all(result.clustered for result in found.results)
        assert not any(result.exact for result in found.results)
        flags = torch.tensor([right(19), right(10)]) >= 0.5
        drawn = bootstrap([means({"rate": flags})], 40, resamples=200, clusters=shared["image"])["rate"]
        assert standing(found.results[0], "one").low == drawn.interval(0)[0]
        assert "cIoU, AUC, mean cIoU: samples of one picture are drawn together, not being independent." in notes(found)

    def test_their_differences_are_flipped_together_in_a_class(self):
        shared = {"image": [f"picture {n // 8}" for n in range(40)]}
        found = compare([entry("one", right(40), columns=shared), entry("other", right(0), columns=shared)], QUICK)
        (part,) = [part for part in found.parts if part.by == "class"]
        assert part.pairs[0].p == 2 / 2**5

    def test_negatives_of_the_same_pictures_do_not_matter_to_rates(self):
        columns = {"image": [f"picture {n % 20}" for n in range(40)], "boxes": [1] * 20 + [0] * 20, "confidence": 0.5}
        found = compare([entry("one", right(9), columns=columns), entry("other", right(1), columns=columns)], QUICK)
        assert found.results[0].exact
        assert found.results[0].pairs[0].p == 2 / 2**8
        assert "AP, max-F1: samples of one picture are drawn together, not being independent." in notes(found)


class TestParts:
    def entries(self) -> list[Contestant]:
        """Of 20 bells "one" alone finds 8; of 14 drums it alone finds 6; both find the 6 others, without a class."""
        columns = {
            "label": pd.array(["bell"] * 20 + ["drum"] * 14 + [None] * 6, dtype="string"),
            "area": [500.0] * 20 + [30_000.0] * 20,
        }
        one = [0.9] * 8 + [0.1] * 12 + [0.9] * 6 + [0.1] * 8 + [0.9] * 6
        other = [0.1] * 34 + [0.9] * 6
        return [entry("one", one, columns=columns), entry("other", other, columns=columns)]

    def test_by_hand(self):
        found = compare(self.entries(), QUICK)
        classes = {part.name: part for part in found.parts if part.by == "class"}
        assert {name: (part.n, part.values) for name, part in classes.items()} == {
            "(none)": (6, (1.0, 1.0)),
            "bell": (20, (0.4, 0.0)),
            "drum": (14, (6 / 14, 0.0)),
        }
        tests = {name: (part.pairs[0].p, part.pairs[0].p_holm) for name, part in classes.items()}
        assert tests == {"(none)": (1, 1), "bell": (2 / 2**8, 6 / 2**8), "drum": (2 / 2**6, 4 / 2**6)}
        assert {name: part.groups for name, part in classes.items()} == {
            "(none)": (1, 1),
            "bell": (1, 2),
            "drum": (1, 1),
        }
        sizes = [(part.name, part.n, part.pairs[0].p_holm) for part in found.parts if part.by == "size"]
        assert sizes == [("small", 20, 4 / 2**8), ("huge", 20, 2 / 2**6)]

    def test_means_are_tested_by_flipping_signs(self):
        found = compare(self.entries(), replace(QUICK, metrics=("mean_ciou", "locacc")))
        bell = next(part for part in found.parts if part.name == "bell")
        assert bell.metric == "mean_ciou"
        assert bell.pairs[0].difference == pytest.approx(8 * 0.8 / 20)
        assert bell.pairs[0].p == 2 / 2**8

    def test_the_most_different_come_first(self):
        found = compare(self.entries(), QUICK)
        classes = [part for part in found.parts if part.by == "class"]
        assert [part.name for part in most_different(classes)] == ["bell", "drum", "(none)"]
        many = [replace(classes[0], name=str(n)) for n in range(9)]
        assert [part.name for part in most_different(many)] == ["0", "1", "2", "3", "4"]

    @pytest.mark.parametrize(
        ("by", "shown"), [(None, ["size", "class"]), (["class"], ["class"]), (["size"], ["size"]), ([], [])]
    )
    def test_what_is_shown(self, by, shown):
        tables = sheets(compare(self.entries(), QUICK), by)[2:]
        assert [table.headings[0] for table in tables] == shown

    def test_letters_stand_where_methods_differ(self):
        (table,) = sheets(compare(self.entries(), QUICK), ["class"])[2:]
        assert table.lines == (
            ("(none)", "6", "100.0", "100.0"),
            ("bell", "20", "40.0a", "0.0b"),
            ("drum", "14", "42.9", "0.0"),
        )


class TestNoNumber:
    """A method with a value that is not a number has no place in what averages values; in rates it fails there."""

    def found(self):
        broken = [nan, *right(20)[1:]]
        entries = [entry("jsa", right(30)), entry("lvs", right(10)), entry("broken", broken)]
        return by_metric(compare(entries, QUICK)), compare(entries, QUICK)

    def test_it_is_not_ranked(self):
        results, _ = self.found()
        mean = standing(results["mean_ciou"], "broken")
        assert mean.value != mean.value
        assert (mean.rank, mean.group) == (None, None)
        assert len(results["mean_ciou"].pairs) == 1
        assert standing(results["locacc"], "broken").value == 19 / 40

    def test_it_is_blank_and_null(self):
        _, found = self.found()
        assert next(line for line in sheets(found)[0].lines if line[0] == "broken")[-3:] == ("", "", "-")
        content = json.loads(json.dumps(comparison_json(found), allow_nan=False))
        assert standing_json(content, "mean_ciou", "broken")["value"] is None

    def test_a_gap_leaves_the_sample_out_for_all(self):
        plan = replace(QUICK, metrics=("pixel_roc_auc",))
        values = {"pixel_roc_auc": [nan, *([0.5] * 39)]}
        entries = [entry("one", noise(1), columns=values), entry("other", noise(2), columns={"pixel_roc_auc": 0.4})]
        found = compare(entries, plan)
        assert found.results[0].n == 39
        assert "pixel ROC-AUC: over the 39 samples that it can be measured on." in notes(found)


def standing_json(content, metric, title):
    (result,) = [one for one in content["results"] if one["metric"] == metric]
    return next(one for one in result["standings"] if one["title"] == title)


def test_the_least_difference_that_can_be_found():
    found = compare([entry("one", right(20)), entry("other", right(12))], QUICK)
    rate = found.results[0]
    assert rate.discordance == 8 / 40
    assert rate.detectable == pytest.approx(0.2, abs=0.02)
    assert rate.detectable_worst > rate.detectable
    (line,) = [note for note in notes(found) if note.startswith("Least difference")]
    assert "at n = 40, in points: cIoU" in line
    assert "(discordance 20%; 30" in line


def test_opposite_methods_are_worse_than_unrelated_ones():
    found = compare([entry("one", right(24)), entry("other", right(0, 12))], QUICK)
    assert found.results[0].detectable == found.results[0].detectable_worst
    assert any("(discordance 90%), AUC" in note for note in notes(found))


class TestWarnings:
    def test_too_few_resamples_to_tell_anything_apart(self):
        entries = [entry("one", right(40)), entry("other", right(0))]
        lines = notes(compare(entries, Plan(resamples=30)))
        assert "AUC: too few resamples to tell any pair apart; raise --resamples." in lines
        assert not any(line.startswith("cIoU: too few") for line in lines)
        assert not any("too few" in line for line in notes(compare(entries, QUICK)))

    def test_more_pairs_need_more_resamples(self):
        entries = [entry("one", right(40)), entry("other", right(0)), entry("third", right(20))]
        assert any("too few" in line for line in notes(compare(entries, Plan(resamples=100))))
        assert not any("too few" in line for line in notes(compare(entries[:2], Plan(resamples=100))))

    def test_more_classes_need_more_sign_flips(self):
        values = {"image": [f"picture {n // 2}" for n in range(40)], "label": [f"kind {n // 10}" for n in range(40)]}
        entries = [entry("one", right(40), columns=values), entry("other", right(0), columns=values)]
        few, many = (notes(compare(entries, Plan(resamples=count))) for count in (70, 90))
        assert [line[:64] for line in few if "in classes" in line] == [
            "Too few resamples to tell rows apart in classes of many samples;"
        ]
        assert not any("Too few" in line for line in many)

    def test_few_samples(self):
        lines = notes(compare([entry("one", right(4, of=29)), entry("other", right(1, of=29))], QUICK))
        assert "AUC, mean cIoU: on fewer than 30 samples a bootstrap is too sure of itself." in lines


class TestNames:
    """Records of one title."""

    def titles(self, *records) -> list[str]:
        return [one.title for one in told_apart(records)[0]]

    def placed(self, folder, key, **changes) -> Record:
        return record("jsa", 40, key=key, path=Path(f"{folder}/records/demo/jsa.json"), **changes)

    def test_one_of_each_keeps_its_name(self):
        assert self.titles(record("jsa", 40), record("jsa", 40, variant="iqr")) == ["jsa", "jsa (iqr)"]

    def test_splits_have_names_of_their_own(self):
        assert self.titles(self.placed("runs", "a"), self.placed("runs", "b", split="vggss")) == ["jsa", "jsa"]

    def test_runs_folders_tell_apart(self):
        found = self.titles(self.placed("exp/first", "a"), self.placed("exp/second", "b", metrics={"locacc": 0.6}))
        assert found == ["jsa@first", "jsa@second"]

    def test_keys_tell_apart_what_lies_in_one_folder(self):
        keys = ("0123456789abcdef", "fedcba9876543210")
        assert self.titles(*(self.placed("runs", key) for key in keys)) == ["jsa@0123456789ab", "jsa@fedcba987654"]

    def test_both_where_neither_does(self):
        places = (("first", "a"), ("first", "b"), ("second", "a"))
        found = [self.placed(*place, metrics={"locacc": n / 10}) for n, place in enumerate(places)]
        assert self.titles(*found) == ["jsa@first@a", "jsa@first@b", "jsa@second@a"]

    def test_the_same_predictions_are_taken_once(self):
        found, doubles = told_apart([self.placed("second", "a"), self.placed("first", "a"), record("lvs", 40)])
        assert [(one.title, str(one.path)) for one in found] == [
            ("jsa", "first/records/demo/jsa.json"),
            ("lvs", "runs/records/demo/lvs.json"),
        ]
        assert doubles == ["jsa"]

    def test_a_name_holds_under_every_protocol(self):
        records = [
            self.placed(folder, key, protocol=protocol)
            for folder, key in (("first", "a"), ("second", "b"))
            for protocol in ("common", "jsa")
        ]
        assert self.titles(*records) == ["jsa@first", "jsa@first", "jsa@second", "jsa@second"]


SIX = ("lvs", "ezvsl", "slavc", "training-prior", "alignment-with-a-long-name", "jsa")


@pytest.fixture(scope="module")
def found():
    return compare([entry(name, noise(seed)) for seed, name in enumerate(SIX)], QUICK)


class TestForms:
    def test_json(self, found):
        content = json.loads(json.dumps(comparison_json(found), allow_nan=False))
        assert (content["split"], content["protocol"], content["n"], content["level"]) == ("demo", "common", 40, 0.05)
        assert [one["title"] for one in content["entrants"]] == [one.title for one in found.entrants]
        assert set(standing_json(content, "auc", "jsa")) == {"title", "value", "low", "high", "rank", "group"}
        assert len(content["results"][0]["pairs"]) == 15
        assert content["parts"][0]["pairs"][0]["p_holm"] == found.parts[0].pairs[0].p_holm
        assert content["notes"] == notes(found)

    def test_csv_is_one_table_of_fractions(self, found):
        lines = list(csv.DictReader(io.StringIO(comparison_text(found, "csv"))))
        kinds = [line["kind"] for line in lines]
        assert [kinds.count(kind) for kind in ("value", "pair", "part", "part pair")] == [18, 45, 12, 30]
        first = standing(found.results[0], "jsa")
        (line,) = [one for one in lines if (one["kind"], one["metric"], one["method"]) == ("value", "locacc", "jsa")]
        assert (float(line["value"]), float(line["low"]), int(line["rank"])) == (first.value, first.low, first.rank)
        assert line["p"] == ""

    @pytest.mark.parametrize(("form", "mark", "percent"), [("md", "**demo", "cIoU %"), ("tex", "% demo", r"cIoU \%")])
    def test_text_has_the_pairs_of_all_metrics(self, found, form, mark, percent):
        text = comparison_text(found, form)
        assert text.startswith(f"{mark}, protocol common: 40 samples")
        assert percent in text
        assert sum(line.count("alignment-with-a-long-name") for line in text.splitlines()) >= 3 * 5
        assert "10,000" not in text
        assert "200 paired resamples, seed 0" in text

    @pytest.mark.parametrize(("width", "needed"), [(60, 79), (80, 80), (100, 100)])
    def test_a_narrow_terminal_wraps_names_and_no_number(self, found, width, needed, monkeypatch, capsys):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("FORCE_COLOR", "1")
        print_comparison(found)
        shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        assert max(map(len, shown.splitlines())) <= needed
        assert "…" not in shown
        cells = [
            cell for sheet in sheets(found, every_pair=False) for line in sheet.lines for cell in line[sheet.names :]
        ]
        for cell in cells:
            assert cell.strip() in shown
        assert "The pairs of the other metrics: --metric with one of them first" in " ".join(shown.split())

    def test_a_pipe_gets_whole_lines(self, found, capsys):
        print_comparison(found)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) > 100
        assert any("alignment-with-a-long-name" in line for line in lines)

    def test_few_pairs_are_shown_of_all_metrics(self, capsys):
        print_comparison(compare([entry("one", right(19)), entry("other", right(10, 1))], QUICK))
        shown = capsys.readouterr().out
        assert "9:1" in shown
        assert "0.0215 *" in shown
        assert re.search(r"mean cIoU\s+one\s+other", shown)
        assert "The pairs of the other metrics" not in shown

    def test_the_legend_names_interval_test_and_correction(self, found):
        lines = notes(found)
        assert lines[0] == "95 %: Wilson for cIoU, else percentile bootstrap; 200 paired resamples, seed 0."
        assert lines[1].startswith("p: exact McNemar for cIoU, else paired bootstrap; Holm over the 15 pairs of each")
        drawn = compare([entry("one", noise(1)), entry("other", noise(2))], replace(QUICK, metrics=("auc",)))
        assert notes(drawn)[0] == "95 %: percentile bootstrap; 200 paired resamples, seed 0."
        sentence = "sign flips, Holm over the 1 test of sizes and over the 1 test of classes; letters where any differ."
        assert notes(drawn)[3] == f"By size and class: {sentence}"
        assert (
            notes(drawn, ["size"])[3] == "By size: sign flips, Holm over the 1 test of sizes; letters where any differ."
        )
        assert not any(line.startswith("By") for line in notes(drawn, []))
