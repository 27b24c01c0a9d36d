"""Figures from stored results: what is drawn against numbers worked out by hand, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from avbench.cli import main
from avbench.data.splits import Sample
from avbench.errors import AvbenchError, UsageError
from avbench.figures import bump, detection, grid, reliability, sizes, success
from avbench.figures.choice import FigureChoice
from avbench.figures.picking import named, pick
from avbench.figures.seeing import see
from avbench.figures.style import looks_of, save
from avbench.leaderboards.sensitivity import Sensitivity
from avbench.metrics.statistics import wilson_interval
from avbench.records import read_record, write_record

PLUGIN = '''
from dataclasses import dataclass

import torch
from torch import nn

from avbench.registry import register_method
from avbench.types import Prediction


@dataclass(frozen=True)
class Config:
    gain: float = 1.0
    picture: str = "squash"


@register_method("bright", config=Config, needs=("image",), trainable=False)
class Bright(nn.Module):
    """Where the picture is bright."""

    frontend = None

    def __init__(self, config):
        super().__init__()
        self.config, self.picture = config, config.picture

    def localize(self, batch):
        cells = nn.functional.adaptive_avg_pool2d(batch.image.mean(dim=1, keepdim=True), 7)[:, 0]
        return Prediction(self.config.gain * cells)
'''

IDS = [f"clip_{number:03d}" for number in range(5)]
METHODS = FigureChoice(methods=("bright", "disc"))


@pytest.fixture(scope="module")
def world(noise_set, tmp_path_factory) -> Path:
    """A set of five samples, and a plugin and the controls on it; the same with the plugin's maps turned over."""
    folder = tmp_path_factory.mktemp("figures")
    listed = noise_set(folder / "tiny", 5)
    (folder / "plugin.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_HOME", str(folder / "home"))
        given = ["run", "--method", f"{folder / 'plugin.py'}:Bright", "--split", str(listed), "--pictures", "false"]
        assert main([*given, "--runs", str(folder / "runs")]) == 0
        assert main([*given, "--runs", str(folder / "turned"), "--controls", "false", "--set", "gain=-1"]) == 0
    return folder


@pytest.fixture
def runs(world, tmp_path) -> Path:
    """Results of its own for one test."""
    return Path(shutil.copytree(world / "runs", tmp_path / "runs"))


def record_of(runs: Path, method: str) -> Path:
    (found,) = (runs / "records" / "tiny").glob(f"{method}.av.common-*.json")
    return found


def give(runs: Path, **columns) -> Path:
    """Per-sample values to all rows, in place of those that were measured."""
    for path in (runs / "records" / "tiny").glob("*.common-*.parquet"):
        pd.read_parquet(path).assign(**columns).to_parquet(path)
    return runs


def extended(runs: Path, ciou, confidence, boxes) -> Path:
    return give(runs, ciou=ciou, confidence=confidence, boxes=boxes)


class TestSuccess:
    @pytest.fixture
    def data(self, runs):
        return success.gather([give(runs, ciou=[0.0, 0.2, 0.5, 0.5, np.nan])], METHODS)

    def test_rates_at_thresholds(self, data):
        assert [line.title for line in data.lines] == ["bright", "disc"]
        assert [line.control for line in data.lines] == [False, True]
        rates = dict(zip(np.round(data.thresholds, 2), data.lines[0].rates, strict=True))
        assert [rates[at] for at in (0, 0.01, 0.2, 0.21, 0.5, 0.51, 1)] == [0.8, 0.6, 0.6, 0.4, 0.4, 0, 0]

    def test_every_fifth_threshold_is_of_the_papers(self, data):
        assert data.thresholds[::5].tolist() == [0.05 * k for k in range(21)]
        assert len(data.thresholds) == 101

    def test_area_and_intervals(self, data):
        line = data.lines[0]
        # 0.8 at 0, 0.6 from 0.05 to 0.2, 0.4 from 0.25 to 0.5, 0 above: trapezoids of width 0.05
        assert line.auc == pytest.approx(0.05 * (0.4 + 4 * 0.6 + 6 * 0.4))
        assert (line.low[0], line.high[0]) == wilson_interval(4, 5)
        assert (line.low[-1], line.high[-1]) == wilson_interval(0, 5)

    def test_lines_are_the_data(self, data):
        figure = success.draw(data)
        drawn = figure.axes[0].get_lines()[:2]
        for line, shown in zip(data.lines, drawn, strict=True):
            np.testing.assert_array_equal(shown.get_xdata(), data.thresholds)
            np.testing.assert_array_equal(shown.get_ydata(), 100 * line.rates)
            assert shown.get_markevery() == 5
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [
            "bright (AUC 26.00)", "disc (AUC 26.00)"
        ]  # fmt: skip
        assert drawn[1].get_linestyle() != "-"

    def test_of_samples_with_a_box_alone(self, runs):
        data = success.gather([give(runs, ciou=[1.0, 1, 0, 0, 0], boxes=[1, 1, 0, 0, 0])], METHODS)
        assert data.lines[0].rates[50] == 1
        assert data.about == "tiny, protocol common, 2 samples with a box"


class TestDetection:
    @pytest.fixture
    def data(self, runs):
        found = extended(runs, [0.9, 0.1, 0, 0.5, 0.8], [0.9, 0.8, 0.7, 0.7, np.nan], [1, 1, 0, 1, 1])
        return detection.gather([found], METHODS)

    def test_points(self, data):
        line = data.lines[0]
        # at 0.9 one right, three sounding missed; at 0.8 one right of two; at 0.7 two right of four, one missed
        assert line.precision.tolist() == [1, 1 / 2, 2 / 4]
        assert line.recall.tolist() == [1 / 4, 1 / 3, 2 / 3]
        assert line.ap == pytest.approx(1 / 4 + (1 / 3 - 1 / 4) / 2 + (2 / 3 - 1 / 3) / 2)
        assert (line.best, line.max_f1) == (2, pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3)))
        assert data.about == "tiny, protocol common, 5 samples, 4 of them with a box"

    def test_lines_are_the_data(self, data):
        figure = detection.draw(data)
        shown = figure.axes[0].get_lines()[len(detection.ISO_F1)]
        np.testing.assert_allclose(shown.get_xdata(), [0, 25, 100 / 3, 200 / 3])
        np.testing.assert_allclose(shown.get_ydata(), [100, 100, 50, 50])
        assert shown.get_markevery() == [3]
        assert shown.get_drawstyle() == "steps-pre"
        assert figure.legends[0].get_texts()[0].get_text() == "bright (AP 45.83, max-F1 57.14)"

    def test_lines_of_equal_f1(self, data):
        for value, line in zip(detection.ISO_F1, detection.draw(data).axes[0].get_lines(), strict=False):
            recall, precision = line.get_xdata() / 100, line.get_ydata() / 100
            np.testing.assert_allclose(2 * recall * precision / (recall + precision), value)

    def test_no_number_among_the_confidences(self, runs):
        found = extended(runs, [0.9] * 5, [np.nan] * 5, [1, 1, 0, 1, 1])
        for figure in (detection, reliability):
            with pytest.raises(
                UsageError, match=r"^no confidence of bright on tiny is a number: leave it out with --method$"
            ):
                figure.gather([found], METHODS)

    def test_without_confidences(self, runs):
        for figure in (detection, reliability):
            with pytest.raises(
                UsageError,
                match=r"^this figure needs the confidence of each sample, and under the protocol common the values of "
                r"bright on tiny have none: choose a split with samples in which nothing sounds, such as "
                r"demo-extended$",
            ):
                figure.gather([runs], METHODS)


class TestReliability:
    def test_bins_of_equal_count_that_ties_leave_whole(self):
        assert np.bincount(reliability.bins_of(np.arange(100.0))).tolist() == [10] * 10
        assert np.bincount(reliability.bins_of(np.arange(53.0)), minlength=10).sum() == 53
        assert set(reliability.bins_of(np.ones(100))) == {5}
        assert reliability.bins_of(np.repeat([0.0, 1.0], [10, 30])).tolist() == [1] * 10 + [5] * 30
        assert reliability.bins_of(np.array([3.0, 1.0, 2.0])).tolist() == [0, 0, 0]
        assert reliability.bins_of(np.array([1.0])).tolist() == [0]

    def test_confidences_that_may_be_probabilities(self, runs):
        found = extended(runs, [0.9, 0.4, 0.5, 0, 1], [0.2, 0.4, 0.6, 0.8, np.nan], [1, 1, 1, 0, 1])
        (panel,) = reliability.gather([found], FigureChoice(methods=("bright",))).panels
        (one,) = panel.bins
        assert (one.n, one.right, one.share, one.sure) == (4, 2, 0.5, pytest.approx(0.5))
        assert (one.low, one.high) == wilson_interval(2, 4)
        assert (panel.probability, panel.error, panel.without) == (True, pytest.approx(0), 1)

    def test_other_confidences_by_their_quantiles(self, runs):
        found = extended(runs, [0.9, 0.4, 0.5, 0, 1], [-3, 4, 5, 5, 8], [1, 1, 1, 0, 1])
        (panel,) = reliability.gather([found], FigureChoice(methods=("bright",))).panels
        assert (panel.probability, panel.error) == (False, None)
        assert [(one.n, one.right, one.sure) for one in panel.bins] == [(5, 3, pytest.approx(0.5))]

    def test_error_and_what_is_drawn(self):
        bins = (reliability.Bin(0.2, 10, 1, 0.0, 0.3), reliability.Bin(0.8, 10, 5, 0.25, 0.75))
        panel = reliability.ReliabilityPanel("m", False, True, bins, 0.2, 3)
        figure = reliability.draw(reliability.ReliabilityData("about", (panel, replace(panel, probability=False))))
        line = figure.axes[0].get_lines()[1]
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([0.2, 0.8], [10, 50])
        (bars,) = (one for one in figure.axes[0].collections)
        np.testing.assert_allclose([path[:, 1] for path in bars.get_segments()], [[0, 30], [25, 75]])
        assert [axes.get_xlabel() for axes in figure.axes] == ["confidence", "quantile of confidence"]
        assert figure.axes[0].texts[0].get_text() == "ECE 20.0\n3 without"

    def test_expected_calibration_error(self, runs, monkeypatch):
        monkeypatch.setattr(reliability, "LEAST", 2)
        found = extended(runs, [0, 0.6, 0, 0.7, 0.8], [0.1, 0.3, 0.2, 0.9, 0.8], [1] * 5)
        (panel,) = reliability.gather([found], FigureChoice(methods=("bright",))).panels
        # two samples of which none is right, sure of 0.15 on the mean; three that are right, sure of 2/3
        assert [(one.n, one.right) for one in panel.bins] == [(2, 0), (3, 3)]
        assert panel.error == pytest.approx(0.4 * 0.15 + 0.6 / 3)


TABLE = Sensitivity(
    split="s",
    metric="locacc",
    protocols=("common", "jsa", "lvs"),
    rows=("a", "b", "c", "control"),
    values=((0.5, 0.4, 0.1), (0.5, 0.6, 0.3), (0.2, 0.7, 0.2), (0.1, 0.1, 0.1)),
    places=((1, 3, 3), (1, 2, 1), (3, 1, 2), (None, None, None)),
    tau=(1.0, -0.82, float("nan")),
    base="common",
    selections=(),
)


class TestBump:
    def test_places(self):
        data = bump.data_of(TABLE, samples=9)
        assert [(line.title, line.places) for line in data.lines] == [
            ("b", (1, 2, 1)),
            ("a", (1, 3, 3)),
            ("c", (3, 1, 2)),
        ]
        assert data.about == "s, places by cIoU, 9 samples"

    def test_lines_of_equal_place_lie_beside_each_other(self):
        data = bump.data_of(TABLE, samples=9)
        np.testing.assert_allclose(bump.heights(data.lines, 0), [1.5 - bump.APART / 2, 1.5 + bump.APART / 2, 3])
        assert bump.heights(data.lines, 1) == [2, 3, 1]

    def test_lines_are_the_data(self):
        figure = bump.draw(bump.data_of(TABLE, samples=9))
        axes = figure.axes[0]
        assert [line.get_label() for line in axes.get_lines()] == ["b", "a", "c"]
        assert list(axes.get_lines()[2].get_xdata()) == [0, 1, 2]
        assert list(axes.get_lines()[2].get_ydata()) == [3, 1, 2]
        assert {line.get_markerfacecolor() for line in axes.get_lines()} == {"white"}, "dark places are read on white"
        assert "white" not in {text.get_color() for text in axes.texts}
        assert [label.get_text() for label in axes.get_xticklabels()] == [
            *("common\n\u03c4 = 1.00", "jsa\n\u03c4 = -0.82", "lvs\n\u03c4 = -")
        ]
        low, high = axes.get_ylim()
        assert low > high  # the best above

    def test_of_stored_results(self, world):
        choice = FigureChoice(methods=("bright", "disc"), protocols=("common", "jsa"))
        data = bump.gather([world / "runs", world / "turned"], choice)
        assert data.protocols == ("common", "jsa")
        assert {line.title for line in data.lines} == {"bright@runs", "bright@turned"}

    def test_a_single_method(self, world):
        choice = FigureChoice(methods=("bright",), protocols=("common", "jsa"))
        with pytest.raises(
            UsageError,
            match=r"^a bump chart needs two methods or more that are no controls, complete on their split and placed "
            r"by cIoU under two protocols or more, got bright under common, jsa: name more$",
        ):
            bump.gather([world / "runs"], choice)


class TestPicking:
    eligible = np.array([0, 2, 3, 5, 6, 7])
    scores = np.array([[0.1, 0, 0.9, 0.5, 0, 0.3, 0.3, 0.2], [0.2, 1, 0.1, np.nan, 1, 0.3, 0.8, 0.2]])

    def picked(self, **given) -> list[int]:
        return pick(FigureChoice(**given), self.eligible, self.scores, count=4)

    def test_evenly(self):
        assert self.picked(count=2) == [2, 6]
        assert self.picked(count=3) == [2, 5, 7]
        assert self.picked() == [0, 3, 5, 7]
        assert self.picked(count=99) == self.eligible.tolist()

    def test_where_methods_differ_most(self):
        # ranges: 0.1, 0.8, 0.5 (NaN is 0), 0, 0.5, 0
        assert self.picked(samples="differ") == [2, 3, 6, 0]
        assert self.picked(samples="differ", count=5) == [2, 3, 6, 0, 5]

    def test_at_random(self):
        first = self.picked(samples="random", seed=1)
        assert first == self.picked(samples="random", seed=1) == sorted(set(first))
        assert set(first) <= set(self.eligible.tolist())
        assert len({tuple(self.picked(samples="random", seed=seed)) for seed in range(9)}) > 1

    def test_by_name(self):
        assert named(("c", "a"), ("a", "b", "c"), "demo") == [2, 0]
        with pytest.raises(UsageError, match=r"^expected ids of demo to show, such as a, got 'd': name others$"):
            named(("d",), ("a", "b"), "demo")
        with pytest.raises(UsageError, match=r"^the sample a is named twice for a figure: name it once$"):
            named(("a", "a"), ("a", "b"), "demo")


class TestSeeing:
    @pytest.fixture
    def sample(self, tmp_path) -> Sample:
        """A picture twice as wide as high."""
        pixels = np.random.default_rng(0).integers(0, 256, (224, 448, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        return Sample("a", tmp_path / "a.png", None, ())

    def test_the_whole_picture(self, sample):
        for way in ("squash", "tensor"):
            found = see(sample, [(0.25, 0, 0.5, 1)], way)
            assert (found.pixels.shape, found.pixels.dtype) == ((224, 224, 3), np.uint8)
            assert found.boxes == ((0.25, 0, 0.5, 1),)

    def test_the_middle_of_a_picture(self, sample):
        found = see(sample, [(0.25, 0, 0.5, 1), (0, 0.5, 1, 1)], "centre-crop")
        np.testing.assert_array_equal(found.pixels, np.asarray(Image.open(sample.image))[:, 112:336])
        assert found.boxes == ((0, 0, 0.5, 1), (-0.5, 0.5, 1.5, 1))

    def test_without_media(self, sample):
        with pytest.raises(
            UsageError, match=r"^a was loaded without media: pass --data with frames/ and audio/ in it$"
        ):
            see(replace(sample, image=None), [], "squash")


class TestGrid:
    def choice(self, world, **given) -> FigureChoice:
        return replace(METHODS, data=world / "tiny" / "tiny.yaml", **given)

    def test_rows_and_columns(self, world, runs):
        given = give(runs, ciou=[0.1, 0.2, 0.3, 0.4, 0.5])
        data = grid.gather([given], self.choice(world, samples=("clip_003", "clip_001")))
        (block,) = data.blocks
        assert data.titles == ("bright", "disc")
        assert [row.id for row in block.rows] == ["clip_003", "clip_001"]
        assert [row.label for row in block.rows] == ["kind 1", "kind 1"]
        assert [[cell.score for cell in row.cells] for row in block.rows] == [[0.4, 0.4], [0.2, 0.2]]
        figure = grid.draw(data)
        assert len(figure.axes) == 2 * (2 + 2)
        assert all(len(axes.images) == 1 for axes in figure.axes)
        assert [axes.get_title() for axes in figure.axes[:4]] == ["picture", "truth", "bright", "disc"]
        assert [text.get_text() for text in figure.axes[2].texts] == ["40"]

    def test_pictures_and_boxes(self, world, runs):
        data = grid.gather([runs], self.choice(world, samples=("clip_002",)))
        (row,) = data.blocks[0].rows
        frame = Image.open(world / "tiny" / "frames" / "clip_002.png").resize((224, 224), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(row.whole.pixels, np.asarray(frame))
        left, *_ = json.loads((world / "tiny" / "annotations.json").read_text())[2]["bbox"][0]
        figure = grid.draw(data)
        for axes in figure.axes[1:]:
            box = axes.patches[0]
            assert (box.get_x(), box.get_y()) == pytest.approx((224 * left, 22.4))
            assert (box.get_width(), box.get_height()) == pytest.approx((112, 0.8 * 224))
        assert not figure.axes[0].patches

    def test_maps_are_those_of_the_protocol(self, world, runs):
        data = grid.gather([runs], self.choice(world, samples=("clip_000",)))
        (row,) = data.blocks[0].rows
        for cell in row.cells:
            assert (cell.heat.values.min(), cell.heat.values.max()) == (0, 1)
            assert cell.heat.predicted.mean() == pytest.approx(0.5, abs=0.01)
            assert cell.heat.values[cell.heat.predicted].min() >= cell.heat.values[~cell.heat.predicted].max()
        absolute = grid.gather([runs], self.choice(world, samples=("clip_000",), protocols=("jsa",)))
        for cell in absolute.blocks[0].rows[0].cells:
            np.testing.assert_array_equal(cell.heat.predicted, cell.heat.values >= np.float32(0.6))

    def test_where_methods_differ_most(self, world, runs):
        other = record_of(runs, "square").with_suffix(".parquet")
        give(runs, ciou=[0.1, 0.2, 0.3, 0.4, 0.5])
        pd.read_parquet(other).assign(ciou=[0.1, 0.9, 0.3, 0.6, 0.6]).to_parquet(other)
        choice = replace(self.choice(world, samples="differ", count=3), methods=("disc", "square"))
        data = grid.gather([runs], choice)
        assert [row.id for row in data.blocks[0].rows] == ["clip_001", "clip_003", "clip_004"]

    def test_a_method_that_saw_the_middle(self, world, runs):
        (about,) = (runs / "predictions" / "tiny").glob("bright-*/about.json")
        content = json.loads(about.read_text())
        content["resolved"]["config"]["picture"] = "centre-crop"
        about.write_text(json.dumps(content))
        data = grid.gather([runs], self.choice(world, samples=("clip_000",)))
        own, other = data.blocks[0].rows[0].cells
        assert data.titles == ("bright\n(centre crop)", "disc")
        (x0, y0, x1, y1), (whole,) = own.seen.boxes[0], other.seen.boxes
        # 48 x 40 pixels become 268 x 224, of which 22 are cut off on the left
        assert (x0, x1) == pytest.approx(((268 * whole[0] - 22) / 224, (268 * whole[2] - 22) / 224))
        assert (y0, y1) == pytest.approx((0.1, 0.9))

    def test_samples_in_which_nothing_sounds(self, world, runs):
        give(runs, boxes=[0, 1, 1, 1, 1])
        data = grid.gather([runs], self.choice(world, count=5))
        assert [row.id for row in data.blocks[0].rows] == IDS[1:]
        (row,) = grid.gather([runs], self.choice(world, samples=("clip_000",))).blocks[0].rows
        assert [cell.score for cell in row.cells] == [None, None]
        silent = replace(row, whole=replace(row.whole, boxes=()))
        figure = grid.draw(replace(data, blocks=(grid.Block("", (silent,)),)))
        assert [text.get_text() for text in figure.axes[1].texts] == ["nothing sounds"]

    def test_a_mask_dims_the_rest(self, world, runs):
        data = grid.gather([runs], self.choice(world, samples=("clip_000",)))
        mask = np.zeros((224, 224), dtype=bool)
        mask[:, :100] = True
        row = replace(data.blocks[0].rows[0], mask=mask)
        figure = grid.draw(replace(data, blocks=(grid.Block("", (row,)),)))
        shown = figure.axes[1].images[0].get_array()
        np.testing.assert_array_equal(shown[:, :100], row.whole.pixels[:, :100])
        assert (shown[:, 100:] <= 0.4 * row.whole.pixels[:, 100:]).all()

    def test_a_set_of_ones_own_without_its_file(self, runs):
        with pytest.raises(
            UsageError,
            match=r"^this figure needs the pictures of tiny, which is no split of avbench: name the YAML file of the "
            r"set with --data$",
        ):
            grid.gather([runs], METHODS)

    def test_another_list(self, world, runs, tmp_path):
        other = tmp_path / "tiny"
        shutil.copytree(world / "tiny", other)
        entries = json.loads((other / "annotations.json").read_text())
        (other / "annotations.json").write_text(json.dumps(entries[:-1]))
        with pytest.raises(
            AvbenchError,
            match=r"^the list of tiny has the hash [0-9a-f]{12} and the results that of [0-9a-f]{12}: name the "
            r"annotation files that they were made with$",
        ):
            grid.gather([runs], replace(METHODS, data=other / "tiny.yaml"))


class TestSizes:
    @pytest.fixture
    def runs(self, runs):
        return give(runs, area=[100.0, 30_000, 10_000, 20_000, 1023])

    def test_a_block_for_each_size(self, world, runs):
        choice = replace(METHODS, data=world / "tiny" / "tiny.yaml", count=2)
        data = sizes.gather([runs], choice)
        assert [(block.title, [row.id for row in block.rows]) for block in data.blocks] == [
            ("small\n< 32\u00b2", ["clip_000", "clip_004"]),
            ("large\n96\u00b2 to 144\u00b2", ["clip_002", "clip_003"]),
            ("huge\n\u2265 144\u00b2", ["clip_001"]),
        ]
        figure = sizes.draw(data)
        assert len(figure.axes) == 5 * 4
        assert [text.get_text() for text in figure.texts][:-1] == [block.title for block in data.blocks]

    def test_named_samples(self, world, runs):
        choice = replace(METHODS, data=world / "tiny" / "tiny.yaml", samples=("clip_004", "clip_001"))
        assert [[row.id for row in block.rows] for block in sizes.gather([runs], choice).blocks] == [
            ["clip_004"],
            ["clip_001"],
        ]
        give(runs, boxes=[1, 0, 1, 1, 1])
        with pytest.raises(UsageError, match=r"^the sample clip_001 of tiny has no box and so no size: leave it out$"):
            sizes.gather([runs], choice)


class TestOneThingAFigure:
    def test_several_splits(self, runs):
        (folder,) = (runs / "predictions" / "tiny").glob("disc-*")
        other = Path(shutil.copytree(folder, runs / "predictions" / "other" / folder.name))
        content = json.loads((other / "about.json").read_text())
        (other / "about.json").write_text(json.dumps({**content, "split": "other"}))
        with pytest.raises(
            UsageError, match=r"^expected results of one split for a figure, got other, tiny: choose with --split$"
        ):
            success.gather([runs], FigureChoice())

    def test_several_protocols(self, runs):
        with pytest.raises(
            UsageError, match=r"^expected one protocol for this figure, got common and jsa: name one of them$"
        ):
            success.gather([runs], FigureChoice(protocols=("common", "jsa")))
        with pytest.raises(UsageError, match=r"^expected one protocol for this figure, got all: name one of them$"):
            success.gather([runs], FigureChoice(protocols=("all",)))

    def test_several_selections(self, runs):
        for method, rule in (("disc", "last"), ("square", "oracle")):
            record = read_record(record_of(runs, method))
            told = {"sha256": "ab", "selected": {"rule": rule, "split": "another"}}
            write_record(replace(record, provenance={**record.provenance, "checkpoint": told}))
            (about,) = (runs / "predictions" / "tiny").glob(f"{method}-*/about.json")
            content = json.loads(about.read_text())
            content["resolved"]["checkpoint"] = told
            about.write_text(json.dumps(content))
        with pytest.raises(
            UsageError,
            match=r"^expected checkpoints of one selection in a figure, got last and oracle: choose with --selection$",
        ):
            success.gather([runs], FigureChoice(methods=("disc", "square")))
        data = success.gather([runs], FigureChoice(methods=("disc", "square", "whole"), selection="oracle"))
        assert [line.title for line in data.lines] == ["square", "whole"]
        assert data.about.endswith("with a box, checkpoints best on a test set (oracle)")

    def test_no_sample_with_a_box(self, runs):
        with pytest.raises(
            UsageError, match=r"^this figure is of samples with a box, and tiny has none: choose another$"
        ):
            success.gather([give(runs, boxes=0)], METHODS)

    def test_broken_values(self, runs):
        path = record_of(runs, "disc").with_suffix(".parquet")
        path.write_bytes(b"no parquet")
        with pytest.raises(
            AvbenchError, match=r"^the per-sample values .*parquet cannot be read \(.*\): delete them and draw again$"
        ):
            success.gather([runs], METHODS)

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ({"count": 0}, r"^expected one sample or more in a figure, got a count of 0: leave it out$"),
            ({"samples": ()}, r"^expected samples and a protocol for a figure, got none: leave the option out$"),
        ],
    )
    def test_choices_that_leave_nothing(self, given, sentence):
        with pytest.raises(UsageError, match=sentence):
            FigureChoice(**given)


class TestFiles:
    @pytest.fixture
    def figures(self):
        """A figure of lines, drawn twice."""
        data = bump.data_of(TABLE, samples=9)
        return bump.draw(data), bump.draw(data)

    @pytest.mark.parametrize("suffix", [".pdf", ".svg", ".png"])
    def test_equal_figures_give_equal_files(self, figures, tmp_path, suffix):
        for number, figure in enumerate(figures):
            save(figure, tmp_path / f"{number}{suffix}")
        first, second = ((tmp_path / f"{number}{suffix}").read_bytes() for number in range(2))
        assert first == second
        assert len(first) > 3000
        assert b"CreationDate" not in first
        assert b"<dc:date>" not in first

    def test_fonts_are_embedded(self, figures, tmp_path):
        save(figures[0], tmp_path / "a.pdf")
        content = (tmp_path / "a.pdf").read_bytes()
        assert b"/FontFile2" in content
        assert b"/Type3" not in content

    def test_other_formats(self, figures, tmp_path):
        with pytest.raises(UsageError, match=r"^expected a figure ending in \.pdf, \.svg, \.png, got .*a\.gif$"):
            save(figures[0], tmp_path / "a.gif")
        assert not list(tmp_path.iterdir())

    def test_every_kind_in_every_format(self, world, runs, tmp_path):
        given = extended(runs, [0.9, 0.4, 0.5, 0, 1], [0.2, 0.4, 0.6, 0.8, 0.9], [1, 1, 1, 0, 1])
        choice = replace(METHODS, data=world / "tiny" / "tiny.yaml", count=1)
        for kind in (success, detection, reliability, grid, sizes):
            figure = kind.draw(kind.gather([given], choice))
            for suffix in (".pdf", ".svg", ".png"):
                save(figure, tmp_path / f"{kind.__name__}{suffix}")
                assert (tmp_path / f"{kind.__name__}{suffix}").stat().st_size > 3000


class TestLooks:
    def test_no_two_alike_without_their_colours(self):
        methods = looks_of([False] * 7)
        assert len({look.marker for look in methods}) == len({look.color for look in methods}) == 7
        many = looks_of([False] * 28)
        assert len({(look.color, look.linestyle) for look in many}) == 28
        assert len({(look.marker, look.linestyle) for look in many}) == 28

    def test_controls_are_grey_and_broken(self):
        looks = looks_of([True] * 21)
        assert {look.color for look in looks} == {"#767676"}
        assert "-" not in {look.linestyle for look in looks}
        assert len({(look.marker, look.linestyle) for look in looks}) == 21

    def test_more_than_can_be_told_apart(self):
        with pytest.raises(
            UsageError,
            match=r"^29 methods are more lines than can be told apart: choose 28 at most with --method$",
        ):
            looks_of([False] * 29)
        with pytest.raises(
            UsageError,
            match=r"^22 controls are more lines than can be told apart: choose 21 at most with --method$",
        ):
            looks_of([True] * 22)

    def test_dollars_are_dollars(self, tmp_path):
        data = bump.data_of(replace(TABLE, rows=("a$_{1}$", "b$", "c", "control")), samples=9)
        save(bump.draw(data), tmp_path / "a.svg")
