"""Which results fill a cell of a published table: every rule on made-up records, differences worked out by hand."""

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from avbench.data.splits import split_summary
from avbench.leaderboards.contestants import Contestant
from avbench.leaderboards.entries import Entry
from avbench.leaderboards.paper_cells import filled, filled_count
from avbench.leaderboards.paper_matches import AUTHORS_FILE, NOT_LAST
from avbench.leaderboards.paper_wanted import published_settings, recipe_called, wanted
from avbench.leaderboards.published_tables import published_table
from avbench.records import Record

FILE = "ab" * 32
"""The hash of a file with neighbours."""
SEARCHES = {
    "": {},
    "supervised": {"image": "resnet18", "audio": FILE},
    "self-supervised": {"image": FILE, "audio": FILE},
}


def want_of(table: str, row: int, column: int):
    found = published_table(table)
    return wanted(found, found.rows[row], found.cells[row][column])


def record(want, value=0.5, *, seed=0, recipe=(), config=(), training=(), selection=None, **changes) -> Record:
    """What fills a cell, of 5,158 samples, but for ``changes``; ``training`` None is an authors' file."""
    rule = selection or want.selections[0]
    trained = {}
    if want.recipe is not None and training is not None:
        own = asdict(recipe_called(want.method, want.recipe))
        trained = {
            "recipe": json.loads(json.dumps({**own, "seed": seed, **dict(recipe)})),
            "split": {"name": want.train},
            "neighbours": SEARCHES[want.neighbours],
            **dict(training),
        }
    chosen = {"rule": rule, "split": want.split if rule == "oracle" else "vggsound-144k-val"}
    checkpoint = {"sha256": "5f", "name": "last", "selected": chosen, "training": trained}
    if rule == "none":
        checkpoint = {"sha256": None}
    known = {
        "method": {"name": want.method, "origin": "built-in", "info": {"control": rule == "none"}},
        "config": {**published_settings(want.method, want.recipe), **want.settings, **dict(config)},
        "checkpoint": checkpoint,
        "split": {"name": want.split, "sha256": split_summary(want.split).sha256},
        "truth": "7e",
        "protocol": {"version": 1},
        "metrics": {want.metric: 1},
        "key": f"{want.method}-{seed}",
        "prior_key": None,
    }
    values = {
        "method": want.method,
        "variant": want.variant,
        "split": want.split,
        "protocol": want.protocol,
        "audio": "true",
        "n_expected": 5158,
        "n_scored": 5158,
        "n_positive": 5158,
        "n_nan": 0,
        "partial": False,
        "metrics": {want.metric: value},
        "intervals": {},
        "provenance": known,
        "run": {"seconds": 1.0, "finished": "2026-01-01T00:00:00+00:00"},
    }
    return Record(**{**values, **changes})


def entry(found: Record, badge="verified") -> Entry:
    return Entry(badge, (found,))


def number(table: str, place, *entries: Entry):
    return filled(published_table(table), entries).numbers.get(place)


JSA = ("jsa-supp-3", (2, 0))
"""JSA with five iterations, cIoU: 40.71."""
SILENT = ("alignment-1", (2, 0))


@pytest.fixture
def jsa():
    return want_of("jsa-supp-3", 2, 0)


class TestNumbers:
    def test_one_run(self, jsa):
        found = number(*JSA, entry(record(jsa, 0.4065)))
        assert (found.text, found.difference_text, found.samples) == ("40.65", "-0.06", 5158)
        assert (found.badge, found.selection, found.runs, found.notes) == ("verified", "last", 1, ())

    def test_better_than_published(self, jsa):
        assert number(*JSA, entry(record(jsa, 0.4083))).difference_text == "+0.12"

    def test_no_difference_has_no_sign(self, jsa):
        assert number(*JSA, entry(record(jsa, 0.40709))).difference_text == "0.00"

    def test_seeds_are_averaged(self, jsa):
        found = number(*JSA, *(entry(record(jsa, value, seed=n)) for n, value in enumerate([0.40, 0.41, 0.42])))
        assert (found.text, found.difference_text) == ("41.00 ± 1.00 (3 runs)", "+0.29")

    def test_the_same_seed_counts_once_by_what_ended_last(self, jsa):
        old, new = record(jsa, 0.1), record(jsa, 0.2, run={"seconds": 1.0, "finished": "2026-02-01T00:00:00+00:00"})
        for order in ([old, new], [new, old]):
            assert number(*JSA, *map(entry, order)).text == "20.00"

    def test_of_two_published_values_the_second_is_what_ours_is_held_against(self):
        want = want_of("slavc-supp-1", 0, 2)
        assert [one.text for one in published_table("slavc-supp-1").cells[0][2].printed] == ["43.60", "42.54"]
        assert number("slavc-supp-1", (0, 2), entry(record(want, 0.43))).difference_text == "+0.46"

    def test_a_dash_has_no_difference(self):
        want = want_of("slavc-supp-2", 0, 0)
        assert number("slavc-supp-2", (0, 0), entry(record(want, 0.43))).difference is None

    def test_nothing_of_ours(self, jsa):
        assert filled(published_table("jsa-supp-3"), []).numbers == {}

    def test_a_count_of_what_is_filled(self, jsa):
        assert filled_count(published_table("jsa-supp-3"), [entry(record(jsa))]) == "1 of 40"
        assert filled_count(published_table("jsa-supp-1"), []) == "3 of 3"


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "ezvsl"},
        {"variant": "av+ogl"},
        {"variant": "iqr"},
        {"split": "vggss-4655"},
        {"protocol": "common"},
        {"protocol": "jsa:av_weight=0.6"},
        {"audio": "silent"},
        {"partial": True},
        {"metrics": {"auc": 0.5}},
        {"metrics": {"locacc": float("nan")}},
        {"selection": "oracle"},
        {"training": {"split": {"name": "vggsound-10k"}}},
        {"training": None},
        {"config": {"iters": 3}},
        {"config": {"mask_ratio": 0.5}},
        {"config": {"width": 0.25}},
    ],
    ids=str,
)
def test_what_does_not_fill_a_cell(jsa, changes):
    assert number(*JSA, entry(record(jsa, **changes))) is None
    assert number(*JSA, entry(record(jsa))) is not None


def test_what_inference_leaves_out_does_not_matter(jsa):
    assert number(*JSA, entry(record(jsa, config={"decoders": False}))) is not None


def test_each_setting_fills_its_own_row(jsa):
    found = filled(published_table("jsa-supp-3"), [entry(record(want_of("jsa-supp-3", 4, 0), 0.3))])
    assert list(found.numbers) == [(4, 0)]
    assert dict(found.wanted[4, 0].settings) == {"iters": 10}
    assert dict(jsa.settings) == {}, "five iterations are the default"
    slots = want_of("jsa-supp-2", 5, 0)
    assert (dict(slots.settings), slots.split) == ({"num_targets": 2, "num_slots": 3}, "avsbench-ms3")


def test_the_default_row_is_filled_in_every_sweep(jsa):
    result = entry(record(jsa))
    assert [
        place
        for name in ("jsa-supp-3", "jsa-supp-4", "jsa-supp-5", "jsa-supp-6")
        for place in filled(published_table(name), [result]).numbers
    ] == [(2, 0), (1, 0), (2, 0), (0, 0)]


@pytest.mark.parametrize(
    ("where", "other"),
    [
        (("method", "origin"), "mine.py"),
        (("split", "sha256"), "0" * 64),
        (("protocol", "version"), 2),
        (("metrics", "locacc"), 2),
        (("checkpoint", "training", "split", "sha256"), "0" * 64),
    ],
)
def test_what_has_the_names_of_a_cell_and_is_something_else(jsa, where, other):
    result = record(jsa)
    assert number(*JSA, entry(result)) is not None
    *way, last = where
    inner = result.provenance
    for key in way:
        inner = inner[key]
    inner[last] = other
    assert number(*JSA, entry(result)) is None


class TestSelections:
    def test_early_stop_is_the_oracle_of_the_same_list_and_latest_the_last(self):
        early, late = want_of("slavc-supp-2", 3, 0), want_of("slavc-supp-2", 3, 3)
        assert (early.selections, late.selections) == (("oracle",), ("last",))
        results = [entry(record(early, 0.3)), entry(record(late, 0.2))]
        found = filled(published_table("slavc-supp-2"), results).numbers
        assert {place: one.text for place, one in found.items()} == {(3, 0): "30.00", (3, 3): "20.00"}
        elsewhere = record(early, 0.3)
        elsewhere.provenance["checkpoint"]["selected"]["split"] = "vggss-unheard"
        assert filled(published_table("slavc-supp-2"), [entry(elsewhere)]).numbers == {}
        of_that_name = record(early, 0.3)
        of_that_name.provenance["checkpoint"]["selected"]["sha256"] = "0" * 64
        assert filled(published_table("slavc-supp-2"), [entry(of_that_name)]).numbers == {}

    def test_where_none_is_said_the_last_comes_before_the_validated_one(self, jsa):
        last, validated = entry(record(jsa, 0.2), "local"), entry(record(jsa, 0.3, selection="validation"))
        assert number(*JSA, validated, last).text == "20.00"
        alone = number(*JSA, validated)
        assert (alone.text, alone.selection, alone.notes) == ("30.00", "validation", (NOT_LAST,))

    def test_an_authors_file_fills_what_nothing_else_does_where_its_name_says_the_list(self, jsa):
        theirs = record(jsa, 0.4, training=None, selection="unknown")
        theirs.provenance["checkpoint"]["name"] = "jsa_vggsound_144k.pth"
        found = number(*JSA, entry(theirs))
        assert (found.text, found.notes) == ("40.00", (AUTHORS_FILE.format(train="vggsound-144k"),))
        assert number(*JSA, entry(theirs), entry(record(jsa, 0.3), "local")).text == "30.00"
        theirs.provenance["checkpoint"]["name"] = "jsa_vggsound_10k.pth"
        assert number(*JSA, entry(theirs)) is None

    def test_a_released_model_is_the_authors_alone(self):
        want = want_of("alignment-1", 3, 0)
        assert want.released
        assert number("alignment-1", (3, 0), entry(record(want, selection="last"))) is None
        theirs = record(want, 0.3, training=None, selection="unknown")
        theirs.provenance["checkpoint"]["training"] = {"converted": {"file": "lvs-vggsound144k.pth.tar"}}
        assert number("alignment-1", (3, 0), entry(theirs)).text == "30.00"


class TestTrainings:
    def test_another_recipe_is_told_and_gives_way(self, jsa):
        other = entry(record(jsa, 0.3, recipe={"epochs": 1, "seed": 7}))
        assert number(*JSA, other).notes == (
            f"trained with epochs 1 instead of {recipe_called('jsa', 'vggsound-144k').epochs}",
        )
        assert number(*JSA, other, entry(record(jsa, 0.4))).text == "40.00"

    @pytest.mark.parametrize(("row", "search"), [(11, "supervised"), (12, "self-supervised")])
    def test_neighbours(self, row, search):
        want = want_of("alignment-1", row, 0)
        assert want.neighbours == search
        for name, sources in SEARCHES.items():
            found = number("alignment-1", (row, 0), entry(record(want, training={"neighbours": sources})))
            assert (found is not None) == (name == search)

    def test_colours_are_no_encoder_of_the_papers(self):
        want = want_of("alignment-1", 11, 0)
        for sources in ({"image": "colours", "audio": FILE}, {"image": "resnet18", "audio": "spectrum"}):
            assert number("alignment-1", (11, 0), entry(record(want, training={"neighbours": sources}))) is None

    def test_without_semantic_positives_nobody_asks_for_neighbours(self):
        want = want_of("alignment-8", 7, 0)
        assert (want.neighbours, want.split) == ("", "vggss-4655")
        assert number("alignment-8", (7, 0), entry(record(want))) is not None

    def test_boxes_in_training(self):
        weak, semi = want_of("slavc-supp-1", 4, 0), want_of("slavc-supp-1", 8, 0)
        assert (weak.train, semi.train) == ("flickr-10k", "flickr-10k-supervised")
        table = published_table("slavc-supp-1")
        assert list(filled(table, [entry(record(semi))]).numbers) == [(8, 0)]
        assert list(filled(table, [entry(record(weak))]).numbers) == [(4, 0)]

    def test_the_object_map_alone_needs_no_training(self):
        want = want_of("alignment-7", 5, 0)
        assert (want.method, want.variant, want.train, want.selections) == ("ogl", "av", None, ("none",))
        assert number("alignment-7", (5, 0), entry(record(want, 0.2))).text == "20.00"

    def test_a_mixed_map_is_another_row(self):
        want = want_of("alignment-1", 13, 0)
        assert want.variant == "av+ogl"
        assert list(filled(published_table("alignment-1"), [entry(record(want))]).numbers) == [(13, 0)]


@pytest.mark.parametrize("order", [("local", "submitted", "verified"), ("verified", "local", "submitted")])
def test_badges_are_never_mixed(jsa, order):
    values = {"verified": 0.1, "submitted": 0.2, "local": 0.3}
    results = [entry(record(jsa, values[badge], seed=n), badge) for n, badge in enumerate(order)]
    assert (number(*JSA, *results).text, number(*JSA, *results).badge) == ("10.00", "verified")
    left = [one for one in results if one.badge != "verified"]
    assert (number(*JSA, *left).text, number(*JSA, *left).badge) == ("20.00", "submitted")


class Held(Entry):
    """An entry with its per-sample values at hand."""

    def contestant(self, record):
        hits = round(record.metrics["locacc"] * 40)
        rng = np.random.default_rng(0)
        return Contestant(
            record,
            pd.DataFrame(
                {
                    "id": [f"{n:02d}" for n in range(40)],
                    "label": "bell",
                    "image": [f"{n:02d}" for n in range(40)],
                    "boxes": 1,
                    "area": 0.2,
                    "doubtful": False,
                    "ciou": np.where(np.arange(40) < hits, 0.9, 0.1),
                    "confidence": rng.random(40),
                }
            ),
        )


class TestMarks:
    def results(self, rows, badge="verified", **changes):
        table = published_table("jsa-supp-3")
        wants = {row: wanted(table, table.rows[row], table.cells[row][0]) for row in rows}
        common = {"n_expected": 40, "n_scored": 40, "n_positive": 40, "per_sample": "x.parquet", **changes}
        return [Held(badge, (replace(record(wants[row], value), **common),)) for row, value in rows.items()]

    def marks(self, entries):
        return {
            row: mark for (row, _), mark in filled(published_table("jsa-supp-3"), entries, resamples=200).marks.items()
        }

    def test_best_second_and_ties(self):
        found = self.marks(self.results({0: 0.1, 1: 0.9, 2: 0.875, 3: 0.5}))
        assert {row: (mark.best, mark.second, mark.tie) for row, mark in found.items()} == {
            0: (False, False, "c"),
            1: (True, False, "a"),
            2: (False, True, "a"),
            3: (False, False, "b"),
        }

    def test_one_alone_is_neither_best_nor_tied(self):
        (mark,) = self.marks(self.results({1: 0.9})).values()
        assert (mark.best, mark.second, mark.tie) == (False, False, "")

    def test_badges_are_marked_apart(self):
        found = self.marks([*self.results({0: 0.1, 1: 0.2}), *self.results({2: 0.8, 3: 0.9}, "local")])
        assert {row: (mark.best, mark.second) for row, mark in found.items()} == {
            0: (False, True),
            1: (True, False),
            2: (False, True),
            3: (True, False),
        }

    def test_without_per_sample_values_nothing_is_tied(self):
        found = self.marks(self.results({0: 0.1, 1: 0.2}, per_sample=""))
        assert [mark.tie for mark in found.values()] == ["", ""]
        assert found[1].best
