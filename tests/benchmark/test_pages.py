"""The data of the leaderboard page, of made-up entries: numbers worked out by hand, and the form that it reads."""

import base64
import gzip
import importlib.util
import io
import json
import math
import random
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from avbench.data.splits import Sample, Split
from avbench.device_costs import count_parameters
from avbench.leaderboards.boards import boards
from avbench.leaderboards.contestants import Contestant
from avbench.leaderboards.entries import Accepted, Entry, Largest, Parameters, Rerun
from avbench.leaderboards.entry_files import read_entries, write_entry
from avbench.leaderboards.local_entries import entries_of_runs
from avbench.leaderboards.published_tables import published_tables
from avbench.leaderboards.site.page import render
from avbench.listening import Drop, Rate
from avbench.metrics.statistics import wilson_interval
from avbench.pages.data import Site, site_data
from avbench.pages.gallery import SIDE, gallery
from avbench.pages.methods import POINTS, page_of
from avbench.pages.published import tables_for_page
from avbench.records import Record

TESTS = Path(__file__).parents[1]
ACCEPTED = Accepted(date="2026-02-03", by="Ada", note="", url="")
RERUN = Rerun(avbench="0.1.0", git="abc", torch="2.11.0", largest=Largest(metrics=0.0, ciou=0.0))
LIST = "d" * 64
RESAMPLES = 100


def loaded(place: str):
    """A file of tests as a module."""
    spec = importlib.util.spec_from_file_location(Path(place).stem, TESTS / place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = loaded("leaderboards/site_example.py").example
Runs = loaded("leaderboards/conftest.py").Made


@dataclass(frozen=True)
class Made(Entry):
    """An entry whose per-sample values lie in no file."""

    tables: dict = field(default_factory=dict, compare=False)

    def contestant(self, record: Record) -> Contestant:
        return Contestant(record, self.tables[record.protocol])


def values(ciou, **columns) -> pd.DataFrame:
    count = len(ciou)
    known = {
        "id": [f"clip {n}" for n in range(count)],
        "label": ["bell"] * count,
        "image": [f"clip {n}" for n in range(count)],
        "boxes": 1,
        "area": 9_000.0,
        "doubtful": False,
        "ciou": np.asarray(ciou, dtype=float),
    }
    return pd.DataFrame({**known, **columns}).astype({"label": "string"})


def entry(method="toy", ciou=(0.6, 0.5, 0.2), *, rule="last", key="", protocols=None, columns=None, **about) -> Made:
    """Of one sample for each cIoU, under ``common`` or the ``protocols`` with a cIoU each."""
    measured = {name: values(one, **(columns or {})) for name, one in (protocols or {"common": ciou}).items()}
    config, sha256 = about.pop("config", {}), about.pop("split_sha256", LIST)
    path = Path(f"records/four/{method}-{rule}-{key}.json")
    found = []
    for protocol, table in measured.items():
        checkpoint = None if rule == "none" else {"sha256": "5f", "selected": {"rule": rule}}
        heard = table["ciou"][table["boxes"] > 0]
        known = {
            "method": {"name": method, "info": {"control": rule == "none", "summary": f"{method} it is"}},
            "checkpoint": checkpoint,
            "config": config,
            "split": {"name": "four", "sha256": sha256},
            "truth": "e" * 64,
            "protocol": {"name": protocol, "version": 1},
            "metrics": {"locacc": 1, "auc": 1, "mean_ciou": 1},
            "key": (key or f"{method}-{rule}").ljust(64, "0"),
            "prior_key": None,
        }
        metrics = {"locacc": float((heard >= 0.5).mean()), "auc": 0.0, "mean_ciou": float(heard.mean())}
        found.append(
            Record(
                method=method, variant="av", split="four", protocol=protocol, audio="true", n_expected=len(table),
                n_scored=len(table), n_positive=len(heard), n_nan=0, partial=False, metrics=metrics, intervals={},
                provenance=known, run={"seconds": 0.6, "device": "cpu"}, path=path,
            )
        )  # fmt: skip
    badge = about.pop("badge", "local")
    return Made(badge=badge, records=tuple(found), path=path, tables=measured, **about)


def data_of(*entries, pictures=None, published=()) -> dict:
    return site_data(Site(tuple(entries), pictures, tuple(published), RESAMPLES))


def figures(one: Entry) -> dict:
    (found,) = page_of([one])["entries"]
    return found


def answer(*, partial=False):
    success = {"true": Rate(0.5, 0.4, 0.6), "noise": Rate(0.25, 0.2, 0.3)}
    return SimpleNamespace(partial=partial, success=success, drops={"noise": Drop(0.25, 0.1, 0.4, 0.01, 0.03)})


# -- pictures ---------------------------------------------------------------------------------------------------------

GREY = 128


@pytest.fixture
def pictures(tmp_path) -> Split:
    """Three grey pictures; the last is twice as wide as high."""
    samples = []
    for number, size in enumerate(((224, 224), (224, 224), (448, 224))):
        place = tmp_path / f"{number}.png"
        Image.new("RGB", size, (GREY,) * 3).save(place)
        boxes = ((0.1, 0.2, 0.123456789, 0.9),)
        samples.append(Sample(id=f"clip {number}", image=place, audio=None, boxes=boxes, label="bell"))
    return Split(name="four", title="Four", samples=tuple(samples), sha256=LIST, n=3, has_media=True, source="")


def decoded(uri: str) -> np.ndarray:
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(body)))
    assert picture.size == (SIDE, SIDE)
    return np.asarray(picture.convert("L"), dtype=float)


def hot_at(row: int, column: int) -> np.ndarray:
    found = np.zeros((4, 4), dtype=np.float32)
    found[row, column] = 3
    return found


def maps(native) -> dict:
    return {f"clip {n}": native for n in range(3)}


def spot(picture: np.ndarray, across: float, down: float) -> float:
    """Mean lightness about a point, in fractions of the sides."""
    column, row = int(across * SIDE), int(down * SIDE)
    return float(picture[max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5].mean())


# -- the whole --------------------------------------------------------------------------------------------------------


@pytest.fixture
def accepted(tmp_path) -> list[Entry]:
    """Read from files: two methods, one of them by two selections, one of these with all that an entry may have."""
    folder = tmp_path / "accepted"
    rows = [{"epoch": 1, "split": "val", "purpose": "validation", "n": 9, "locacc": 0.5, "auc": 0.25}]
    for method, rule, shift in (("other", "last", -0.2), ("toy", "last", 0.0), ("toy", "oracle", 0.1)):
        key = f"{method}{rule}".encode().hex().ljust(64, "0")[:64]
        runs = Runs(tmp_path / f"{method}-{rule}", method=method, rule=rule, key=key, shift=shift).write(("common",))
        (found,) = entries_of_runs([runs])
        about = {"evaluations": tuple(rows), "parameters": Parameters(7, 5)} if rule == "last" else {}
        write_entry(replace(found, **about), folder, badge="verified", accepted=ACCEPTED, rerun=RERUN)
    return read_entries(folder)


def full(accepted, pictures) -> dict:
    """With something in each part of the page."""
    heard = entry("heard", listening=answer(), maps=maps(hot_at(0, 0)), **TWO_PROTOCOLS)
    return data_of(*accepted, heard, entry("deaf", **TWO_PROTOCOLS), pictures=pictures, published=PUBLISHED)


TWO_PROTOCOLS = {"protocols": {"common": (0.6, 0.5, 0.2), "jsa": (0.6, 0.1, 0.2)}}
PUBLISHED = [{"id": "one", "title": "One", "paper": "Paper", "html": "<table></table>"}]


def forms(value, place="") -> dict[str, set[str]]:
    """The keys of each mapping in a page's data, those that are names left out."""
    if isinstance(value, list):
        return merged(forms(one, place) for one in value)
    if not isinstance(value, dict):
        return {}
    named = place in {"/metrics", "/protocols", "/splits", "/methods", "/pages", "/files"} or place.endswith(
        ("/values", "/intervals", "/ranks", "/groups", "/rates", "/drops")
    )
    inner = merged(forms(one, f"{place}/{'*' if named else key}") for key, one in value.items())
    return inner if named else merged([{place: set(value)}, inner])


def merged(found) -> dict[str, set[str]]:
    whole: dict[str, set[str]] = {}
    for one in found:
        for place, keys in one.items():
            whole[place] = whole.get(place, set()) | keys
    return whole


class TestContract:
    def test_every_key_that_the_page_reads_is_there(self, accepted, pictures):
        wanted, found = forms(example()), forms(full(accepted, pictures))
        wanted = {place: keys for place, keys in wanted.items() if not place.endswith("/drops/*")}  # a number will do
        lacking = {place: keys - found.get(place, set()) for place, keys in wanted.items()}
        assert {place: keys for place, keys in lacking.items() if keys} == {}

    def test_names_lead_to_what_is_there(self, accepted, pictures):
        data = full(accepted, pictures)
        for board in data["boards"]:
            assert board["split"] in data["splits"]
            assert board["protocol"] in data["protocols"]
            assert {*board["metrics"]} <= {*data["metrics"]}
            for row in board["rows"]:
                assert row["method"] in data["methods"]
                assert row["entry"] in {one["entry"] for one in data["pages"][row["method"]]["entries"]}
        assert len({board["id"] for board in data["boards"]}) == len(data["boards"])
        assert {curve["metric"] for page in data["pages"].values() for curve in page["curves"]} <= {*data["metrics"]}
        assert {move["metric"] for move in data["moves"]} <= {*data["metrics"]}
        assert data["generated"]["entries"] == 5
        assert data["generated"]["records"] == 7
        assert "accepted records" not in data["generated"]["note"], "these are local"

    def test_the_order_of_entries_changes_no_byte(self, accepted, pictures):
        twin = replace(accepted[1], badge="submitted")
        entries = [
            *accepted,
            twin,
            entry("heard", maps=maps(hot_at(0, 0)), **TWO_PROTOCOLS),
            entry("whole", rule="none"),
        ]
        text = render(data_of(*entries, pictures=pictures))
        for seed in range(3):
            random.Random(seed).shuffle(entries)
            assert render(data_of(*entries, pictures=pictures)) == text

    def test_numbers_that_are_none_are_none(self, pictures):
        row = {"epoch": 1, "split": "val", "purpose": "validation", "n": 9, "locacc": None, "auc": math.nan}
        torn = np.full((2, 2), np.nan, dtype=np.float32)
        empty = entry("empty", (math.nan,) * 3, evaluations=(row,), maps=maps(torn))
        data = data_of(empty, entry(), pictures=pictures)
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        assert data["pages"]["empty"]["curves"] == []
        (shown,) = data["gallery"]["samples"][0]["maps"]
        assert shown["ciou"] is None
        assert "NaN" not in render(data)

    def test_nothing_at_all(self):
        data = data_of()
        assert (data["boards"], data["moves"], data["pages"], data["gallery"]) == ([], [], {}, None)
        assert "There are no results yet." in render(data)


class TestBoards:
    def test_rows_are_those_of_boards(self, accepted):
        found = data_of(*accepted)["boards"]
        expected = boards(accepted, resamples=RESAMPLES)
        assert [(one["split"], one["protocol"], one["selection"], one["badge"]) for one in found] == [
            ("four", "common", "last", "verified"),
            ("four", "common", "oracle", "verified"),
        ]
        for mine, theirs in zip(found, expected, strict=True):
            assert (mine["metrics"], mine["notes"]) == (list(theirs.metrics), list(theirs.notes))
            assert (mine["version"], mine["n"], mine["n_positive"]) == (theirs.version, 4, 3)
            for row, line in zip(mine["rows"], theirs.lines, strict=True):
                assert (row["title"], row["entry"], row["ranks"]) == (line.title, line.entry.name, line.ranks)
                assert row["groups"] == line.groups
                assert row["values"] == pytest.approx(line.values, abs=1e-6)
                assert {*row["intervals"]} == {*line.intervals}
                for name, interval in line.intervals.items():
                    assert row["intervals"][name] == pytest.approx(interval, abs=1e-5)
        assert [(row["title"], row["ranks"]["locacc"]) for row in found[0]["rows"]] == [("toy", 1), ("other", 2)]
        assert found[0]["rows"][0]["values"]["locacc"] == 0.666667
        assert found[0]["rows"][1]["values"]["locacc"] == 0.333333
        assert found[0]["rows"][0]["milliseconds"] == 625.0

    def test_what_stands_beside_the_numbers(self):
        heard = entry("heard", listening=answer(), parameters=Parameters(9, 4))
        (board,) = data_of(heard, entry("whole", rule="none"))["boards"]
        rows = {row["title"]: row for row in board["rows"]}
        assert rows["heard"]["listens"] == {"verdict": "yes", "drop": 0.25, "low": 0.1, "high": 0.4, "p": 0.03}
        assert (rows["heard"]["parameters"], rows["heard"]["selection"]) == (4, "last")
        assert (rows["whole"]["listens"], rows["whole"]["control"], rows["whole"]["selection"]) == (None, True, "")
        assert rows["whole"]["ranks"]["locacc"] is None

    def test_a_method_is_told_of_by_its_newest_record(self):
        old, new = entry(config={"tau": 0.1}), entry(rule="oracle", config={"tau": 0.07})
        old.records[0].run["finished"], new.records[0].run["finished"] = "2026-01-01", "2026-01-02"
        found = data_of(new, old)["methods"]["toy"]
        assert ["Settings", "tau = 0.07"] in found["card"]
        assert (found["summary"], found["family"], found["control"]) == ("toy it is", "self-supervised", False)


# -- pages of methods -------------------------------------------------------------------------------------------------


class TestFigures:
    """Three samples with a box, cIoU 0.6, 0.5, 0.2, and one without; confidence 0.9, 0.4, 0.6, 0.7."""

    @pytest.fixture
    def shown(self, accepted):
        return figures(next(one for one in accepted if one.name.startswith("toy-last")))

    def test_success_falls_at_each_sample(self, shown):
        rates = dict(zip(shown["success"]["thresholds"], shown["success"]["rates"], strict=True))
        assert len(rates) == 21
        assert [rates[at] for at in (0.0, 0.2, 0.25, 0.5, 0.55, 0.6, 1.0)] == [
            1.0, 1.0, 0.66667, 0.66667, 0.33333, 0.0, 0.0,
        ]  # fmt: skip  # 0.05 * 12 lies a little above 0.6

    def test_shares_of_classes_and_sizes(self, shown):
        assert shown["classes"] == [
            ["cat", 1, 1.0, *(round(end, 5) for end in wilson_interval(1, 1))],
            ["dog", 2, 0.5, *(round(end, 5) for end in wilson_interval(1, 2))],
        ]
        assert shown["classes"][1][3:] == [0.09453, 0.90547]  # (1 -+ z / sqrt(2 + z^2)) / 2
        assert shown["sizes"] == [["small", 3, 0.66667, *(round(end, 5) for end in wilson_interval(2, 3))]]

    def test_precision_over_recall(self, shown):
        assert shown["detection"] == {"recall": [0.33333, 0.33333, 0.5, 1.0], "precision": [1.0, 0.5, 0.33333, 0.5]}

    def test_one_bin_of_four_samples(self, shown):
        assert shown["reliability"] == [[0.65, 0.5, 4]]

    def test_an_entry_without_negatives_has_no_detection(self):
        shown = figures(entry(columns={"confidence": [0.1, 0.2, 0.3]}))
        assert shown["detection"] is None
        assert shown["reliability"] == [[0.2, 0.66667, 3]]

    def test_sizes_in_their_order_and_none_that_is_empty(self):
        found = figures(entry("toy", (0.6, 0.6, 0.2, 0.9), columns={"area": [30_000.0, 10.0, 10.0, 10_000.0]}))["sizes"]
        assert [(name, n, share) for name, n, share, *_ in found] == [
            ("small", 2, 0.5),
            ("large", 1, 1.0),
            ("huge", 1, 1.0),
        ]

    def test_samples_without_a_class(self):
        found = figures(entry(columns={"label": [None, "bell", None]}))["classes"]
        assert sorted(n for _, n, *_ in found) == [1, 2]

    def test_bins_of_five(self):
        ciou, confidence = [0.9] * 3 + [0.1] * 7, [0.9] * 5 + [0.1] * 5
        assert figures(entry("toy", ciou, columns={"confidence": confidence}))["reliability"] == [
            [0.1, 0.0, 5],
            [0.9, 0.6, 5],
        ]

    def test_many_thresholds_are_thinned_from_end_to_end(self):
        count = 1000
        columns = {"confidence": np.linspace(1, 0, count), "boxes": [1] * (count - 1) + [0]}
        found = figures(entry("toy", [0.9] * count, columns=columns))["detection"]
        assert len(found["recall"]) == len(found["precision"]) == POINTS
        assert found["recall"][0] == round(1 / 999, 5)
        assert (found["recall"][-1], found["precision"][-1]) == (1.0, 0.999)
        assert sorted(found["recall"]) == found["recall"]

    def test_masks_without_boxes_have_no_curves(self):
        found = figures(entry(columns={"boxes": 0}))
        assert (found["success"], found["classes"], found["sizes"], found["detection"]) == (None, [], [], None)

    def test_an_answer_of_the_whole_list_alone(self):
        assert figures(entry(listening=answer()))["listening"] == {
            "rates": {"true": 0.5, "noise": 0.25},
            "drops": {"noise": 0.25},
        }
        assert figures(entry(listening=answer(partial=True)))["listening"] is None


def judged(epoch, split="val", purpose="validation", **metrics) -> dict:
    return {"epoch": epoch, "split": split, "purpose": purpose, "n": 9, **metrics}


class TestCurves:
    def test_one_for_each_list_and_metric(self):
        rows = (
            judged(2, locacc=0.4, auc=0.3),
            judged(1, locacc=0.2, auc=0.1),
            judged(1, "test", "oracle", locacc=0.123456),
        )
        assert page_of([entry(evaluations=rows)])["curves"] == [
            {
                "label": "training",
                "split": "test",
                "purpose": "test list",
                "metric": "locacc",
                "epochs": [1],
                "values": [0.12346],
            },
            {
                "label": "training",
                "split": "val",
                "purpose": "validation list",
                "metric": "locacc",
                "epochs": [1, 2],
                "values": [0.2, 0.4],
            },
            {
                "label": "training",
                "split": "val",
                "purpose": "validation list",
                "metric": "auc",
                "epochs": [1, 2],
                "values": [0.1, 0.3],
            },
        ]

    def test_entries_of_one_training_share_it(self):
        one, other = (judged(1, locacc=0.2),), (judged(1, locacc=0.3),)
        found = page_of([entry(rule=rule, evaluations=one) for rule in ("last", "validation", "oracle")])["curves"]
        assert [curve["label"] for curve in found] == ["training"]
        found = page_of([entry(evaluations=one), entry(key="b", evaluations=other), entry(key="c")])["curves"]
        assert [(curve["label"], curve["values"]) for curve in found] == [("training 1", [0.2]), ("training 2", [0.3])]

    def test_epochs_without_a_number_are_left_out(self):
        rows = (judged(1, locacc=0.2), judged(2, locacc=None), judged(3, locacc=0.4))
        (curve,) = page_of([entry(evaluations=rows)])["curves"]
        assert (curve["epochs"], curve["values"]) == ([1, 3], [0.2, 0.4])


# -- moves ------------------------------------------------------------------------------------------------------------


class TestMoves:
    def test_places_and_tau(self):
        first = entry("first", protocols={"common": (0.9, 0.9, 0.9), "jsa": (0.9, 0.9, 0.1), "lvs": (0.9, 0.1, 0.1)})
        second = entry("second", protocols={"common": (0.9, 0.1, 0.1), "jsa": (0.9, 0.9, 0.9), "lvs": (0.1, 0.9, 0.1)})
        whole = entry("whole", rule="none", protocols={"common": (0.9, 0.9, 0.1), "jsa": (0.1,) * 3})
        (move,) = data_of(first, second, whole)["moves"]
        assert move == {
            "split": "four",
            "selection": "last",
            "badge": "local",
            "metric": "locacc",
            "protocols": ["common", "jsa", "lvs"],
            "rows": [
                {"title": "first", "control": False, "values": [1.0, 0.666667, 0.333333], "places": [1, 2, 1]},
                {"title": "second", "control": False, "values": [0.333333, 1.0, 0.333333], "places": [2, 1, 1]},
                {"title": "whole", "control": True, "values": [0.666667, 0.0, None], "places": [None, None, None]},
            ],
            "tau": [1.0, -1.0, None],  # two equal values have no order
        }

    def test_each_selection_and_badge_has_its_own(self):
        both = {"common": (0.9, 0.1), "jsa": (0.1, 0.1)}
        found = [entry(name, rule=rule, protocols=both) for name in ("a", "b") for rule in ("last", "oracle")]
        moves = data_of(*found, entry("c", protocols={"common": (0.9, 0.9)}))["moves"]
        assert [(move["selection"], [row["title"] for row in move["rows"]]) for move in moves] == [
            ("last", ["a", "b", "c"]),
            ("oracle", ["a", "b"]),
        ]
        assert moves[0]["rows"][2]["values"] == [1.0, None]

    def test_two_checkpoints_of_one_method_are_told_apart(self):
        both = {"common": (0.9, 0.1), "jsa": (0.1, 0.1)}
        data = data_of(entry(key="aaaaaaaaaaaa1", protocols=both), entry(key="bbbbbbbbbbbb2", protocols=both))
        (move,) = data["moves"]
        titles = [row["title"] for row in move["rows"]]
        assert titles == ["toy@aaaaaaaaaaaa", "toy@bbbbbbbbbbbb"]
        assert {row["title"] for row in data["boards"][0]["rows"]} == {*titles}

    def test_one_protocol_moves_nothing(self):
        assert data_of(entry("a"), entry("b"))["moves"] == []

    def test_a_value_that_is_no_number(self):
        both = {"common": (0.9, 0.1), "jsa": (0.1, 0.1)}
        torn = entry("torn", protocols=both)
        torn.records[1].metrics["locacc"] = math.nan
        (move,) = data_of(entry("a", protocols=both), entry("b", protocols=both), torn)["moves"]
        assert move["rows"][2]["values"] == [0.5, None]
        json.dumps(move, allow_nan=False)


# -- the gallery ------------------------------------------------------------------------------------------------------


class TestGallery:
    def test_a_hot_corner_is_hot_there(self, pictures):
        for row, column in ((0, 0), (0, 3), (3, 0), (3, 3)):
            found = gallery(pictures, [entry(maps=maps(hot_at(row, column)))])
            shown = decoded(found["samples"][0]["maps"][0]["uri"])
            corners = {(down, across): spot(shown, across / 3, down / 3) for down in (0, 3) for across in (0, 3)}
            assert corners.pop((row, column)) > 180
            assert max(corners.values()) < 60

    def test_what_is_said_of_a_sample(self, pictures):
        areas = {"area": [10.0, 9_300.0, 30_000.0]}
        found = gallery(pictures, [entry(ciou=(0.61234, 0.5, math.nan), columns=areas, maps=maps(hot_at(0, 0)))])
        assert found["split"] == "four"
        assert [(one["id"], one["label"], one["size"]) for one in found["samples"]] == [
            ("clip 0", "bell", "small"),
            ("clip 1", "bell", "large"),
            ("clip 2", "bell", "huge"),
        ]
        assert [one["maps"][0]["ciou"] for one in found["samples"]] == [0.6123, 0.5, None]
        assert found["samples"][0]["boxes"] == [[0.1, 0.2, 0.12346, 0.9]]
        assert decoded(found["samples"][0]["image"]).mean() == pytest.approx(GREY, abs=1)

    def test_the_columns(self, pictures):
        kept = maps(hot_at(0, 0))
        entries = [
            entry("any disc", rule="none", maps=kept),
            entry("b", rule="oracle", maps=kept),
            entry("b", rule="validation", maps=kept, ciou=(0.1, 0.1, 0.1)),
            entry("b", rule="last"),
            entry("a", maps={"clip 1": hot_at(0, 0)}),
            entry("elsewhere", maps=kept, split_sha256="f" * 64),
            entry("bare"),
        ]
        samples = data_of(*entries, pictures=pictures)["gallery"]["samples"]
        assert [[one["title"] for one in sample["maps"]] for sample in samples] == [
            ["b", "any disc"],
            ["a", "b", "any disc"],
            ["b", "any disc"],
        ]
        assert samples[0]["maps"][0]["ciou"] == 0.1

    def test_without_maps_there_is_none(self, pictures):
        assert data_of(entry(), pictures=pictures)["gallery"] is None
        assert data_of(entry(maps=maps(hot_at(0, 0)), split_sha256="f" * 64), pictures=pictures)["gallery"] is None
        assert data_of(entry(maps=maps(hot_at(0, 0))))["gallery"] is None

    def test_samples_that_no_entry_keeps_are_left_out(self, pictures):
        found = gallery(pictures, [entry(maps={"clip 1": hot_at(0, 0)})])
        assert [one["id"] for one in found["samples"]] == ["clip 1"]

    def test_a_cropped_picture_has_its_map_in_the_middle(self, pictures):
        cropped = entry("cropped", maps=maps(hot_at(0, 0)), config={"picture": "centre-crop"})
        found = gallery(pictures, [cropped, entry("squashed", maps=maps(hot_at(0, 0)))])
        middle, whole = (decoded(one["uri"]) for one in found["samples"][2]["maps"])
        assert spot(middle, 0.3, 0.05) > 180
        assert spot(middle, 0.7, 0.95) < 60
        assert spot(middle, 0.1, 0.05) == pytest.approx(GREY, abs=3)
        assert spot(middle, 0.9, 0.95) == pytest.approx(GREY, abs=3)
        assert spot(whole, 0.05, 0.05) > 180
        assert spot(whole, 0.9, 0.95) < 60
        square, other = (decoded(one["uri"]) for one in found["samples"][0]["maps"])
        assert (square == other).all()
        assert found["about"].endswith(
            "Where a method sees the middle of a picture alone, its map lies there, and the rest is as it was: cropped."
        )

    def test_a_method_without_ciou_has_its_map(self, pictures):
        masks = entry(maps=maps(hot_at(0, 0)))
        masks.tables["common"] = masks.tables["common"].drop(columns="ciou").assign(iou=0.5)
        assert gallery(pictures, [masks])["samples"][0]["maps"][0]["ciou"] is None


# -- files and tables -------------------------------------------------------------------------------------------------


class TestFiles:
    def test_each_is_the_very_one(self, accepted):
        files = data_of(*accepted, entry("mine"))["files"]
        assert {*files} == {one.name for one in accepted}
        for one in accepted:
            assert files[one.name]["name"] == one.path.name
            assert gzip.decompress(base64.b64decode(files[one.name]["gzip"])) == one.path.read_bytes()


@pytest.fixture(scope="module")
def tables() -> tuple[dict[str, str], ...]:
    return tables_for_page([])


class TestPublished:
    def test_all_of_them_in_their_order(self, tables):
        assert [one["id"] for one in tables] == [one.id for one in published_tables()]
        assert len(tables) == 21

    def test_parameters_are_counted(self, tables):
        (table,) = (one for one in tables if one["id"] == "jsa-supp-1")
        assert f"jsa {count_parameters('jsa', {}):,}" in table["html"]

    def test_the_html_is_tame_and_whole(self, tables):
        for one in tables:
            tags = {*re.findall(r"<\s*/?\s*([a-zA-Z0-9]+)", one["html"])}
            assert tags <= ALLOWED, one["id"]
            assert re.search(r"\son\w+\s*=|javascript:|style\s*=", one["html"]) is None
            assert {link[0] for link in re.findall(r'href="([^"]*)"', one["html"])} <= {"#"}
            assert one["html"].count("<table") == one["html"].count("</table>") == 1
            assert one["title"]
            assert one["paper"]


ALLOWED = {
    *("figure", "table", "caption", "thead", "tbody", "tr", "th", "td", "strong", "u", "br", "sup", "ol", "ul", "li"),
    *("p", "span", "small", "em", "b", "i", "code", "figcaption", "a"),
}
