"""Figures that ask a method or compare its embeddings: what is gathered, by hand, and that it is what is drawn."""

from dataclasses import replace
from math import log
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from avbench.checkpoints import save_checkpoint
from avbench.cli import main
from avbench.data.decoding import decode_image
from avbench.data.splits import Sample, load_split
from avbench.errors import AvbenchError, UsageError
from avbench.figures import attention, negatives, retrieval
from avbench.figures.asking import Question, ready
from avbench.figures.choice import FigureChoice
from avbench.figures.negatives import Anchor, BatchChoice, Item, Negatives, Tally
from avbench.methods.jsa import JSA, JSAConfig
from avbench.nets.slot_attention import Slots
from avbench.opening import Places, silent
from avbench.parts import Part, read_part, write_part
from avbench.request import Settings, part_path
from avbench.retrieval import FILE, rank_embeddings
from avbench.runner import request_for
from avbench.stored import find_stored
from avbench.truth import read_truth


def slim(folder: Path, **settings) -> Path:
    """A checkpoint of an untrained JSA, as small as it gets."""
    torch.manual_seed(0)
    config = JSAConfig(width=0.0625, dim=8, spectrogram_pool=4, decoders=False, lam1=0.0, **settings)
    save_checkpoint(folder, JSA(config), name="jsa", meta={})
    return folder


def question(method, checkpoint, split, **settings) -> Question:
    return Question(request_for(method, checkpoint, settings), str(split), Places(), Settings(device="cpu", workers=0))


def pixels_of(split, name) -> np.ndarray:
    sample = next(sample for sample in load_split(str(split)).samples if sample.id == name)
    return np.moveaxis(decode_image(sample.image), 0, -1)


class TestAttention:
    def test_slots_share_each_position(self):
        """One channel: queries 1 and 0, keys ln 3 and 0, hence shares of 3/4 and 1/4, of 1/2 and 1/2."""
        queries, keys = torch.tensor([[[1.0], [0.0]]]), torch.tensor([[[log(3)], [0.0]]])
        other = Slots(queries, queries, keys[:, :1])
        image, audio = attention.slot_weights(Slots(queries, queries, keys), other)
        torch.testing.assert_close(image, torch.tensor([[[0.75, 0.5], [0.25, 0.5]]]))
        torch.testing.assert_close(audio, torch.tensor([[[0.75], [0.25]]]))

    def test_names_count_where_there_are_several(self):
        assert attention.slot_names(2, 1) == ["target slot", "off-target slot"]
        assert attention.slot_names(4, 2) == [
            *("target slot 1", "target slot 2", "off-target slot 1", "off-target slot 2")
        ]

    @pytest.fixture
    def found(self, store, tiny_set, tmp_path) -> attention.Attention:
        checkpoint = slim(tmp_path / "jsa", num_slots=3, num_targets=2)
        choice = FigureChoice(samples=("clip_003", "clip_001"))
        return attention.gather(question("jsa", checkpoint, tiny_set), choice)

    def test_what_is_gathered(self, found, tiny_set):
        assert (found.method, found.split, found.slots) == ("jsa", "tiny", True)
        assert [row.title for row in found.rows] == ["kind 1", "kind 1"]
        panels = ["target slot 1", "target slot 2", "off-target slot"]
        for row, name in zip(found.rows, ["clip_003", "clip_001"], strict=True):
            np.testing.assert_array_equal(row.seen.pixels, pixels_of(tiny_set, name))
            assert list(row.looks) == list(row.listens) == panels
            assert {weights.shape for weights in row.looks.values()} == {(7, 7)}
            assert {weights.shape for weights in row.listens.values()} == {(4,)}  # 126 columns, 32 each
            np.testing.assert_allclose(sum(row.looks.values()), 1, atol=1e-5)
            np.testing.assert_allclose(sum(row.listens.values()), 1, atol=1e-5)
            assert row.spectrogram.shape == (65, 126)
        assert not np.array_equal(found.rows[0].looks["target slot 1"], found.rows[1].looks["target slot 1"])

    def test_the_image_query_map_is_the_targets_share(self, store, tiny_set, tmp_path):
        """Without sharpening, JSA's own map of the image's query is the target's share, divided by its sum."""
        checkpoint = slim(tmp_path / "jsa", infer_sharpening=1.0)
        wanted = question("jsa", checkpoint, tiny_set)
        (row,) = attention.gather(wanted, FigureChoice(samples=("clip_000",))).rows
        asked = ready(wanted, silent)
        ((_, _, prediction),) = asked.answers([0], lambda network, batch: network.localize(batch), silent)
        share = row.looks["target slot"]
        np.testing.assert_allclose(share / share.sum(), prediction.extra["image_query"][0].numpy(), atol=1e-6)

    def test_what_is_drawn_is_what_was_gathered(self, found):
        figure = attention.draw(found)
        grid, bar = figure.axes[:-1], figure.axes[-1]
        assert len(grid) == 2 * 8
        assert [axis.get_title() for axis in grid[:8]] == [
            *("image", "target slot 1", "target slot 2", "off-target slot"),
            *("sound", "target slot 1", "target slot 2", "off-target slot"),
        ]
        assert bar.get_ylabel() == "share of the slot"
        assert [axis.texts[0].get_text() for axis in (grid[0], grid[8])] == ["kind 1", "kind 1"]
        np.testing.assert_array_equal(grid[8].images[0].get_array(), found.rows[1].seen.pixels)
        assert grid[4].images[0].get_array().shape == (65, 126, 3)
        heard = grid[5].images[0].get_array() - grid[6].images[0].get_array()
        assert np.abs(heard[:, 31] - heard[:, 0]).max() < 1e-6  # a position is 32 columns

    def test_further_maps_of_a_method_without_slots(self, store, tiny_set, plugin_file):
        text = plugin_file.read_text().replace("return Prediction(", "found = (")
        text = text.replace(
            "\n    def embed", "        return Prediction(found, extra={'other_view': -found})\n\n    def embed"
        )
        plugin_file.write_text(text)
        found = attention.gather(question(f"{plugin_file}:Tiny", None, tiny_set), FigureChoice(count=2))
        assert not found.slots
        assert len(found.rows) == 2
        (row, _) = found.rows
        assert list(row.looks) == ["map", "other view"]
        np.testing.assert_allclose(row.looks["map"] + row.looks["other view"], 1, atol=1e-5)
        assert (row.spectrogram, row.listens) == (None, {})
        figure = attention.draw(found)
        assert [axis.get_title() for axis in figure.axes[:3]] == ["image", "map", "other view"]
        assert figure.axes[-1].get_ylabel() == "each map, from its least to its most"

    def test_a_method_with_one_map_is_refused(self, store, tiny_set, plugin_file):
        sentence = (
            "^this figure needs a method with slots or with further maps, as jsa has, and Tiny gives one map alone: "
            "name another, or draw a grid$"
        )
        with pytest.raises(UsageError, match=sentence):
            attention.gather(question(f"{plugin_file}:Tiny", None, tiny_set), FigureChoice())


def samples(*labels: str | None) -> list[Sample]:
    return [Sample(str(number), None, None, (), label) for number, label in enumerate(labels)]


TOY = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
"""Two and two that are near each other."""


class TestFlags:
    def test_of_jsa(self):
        found = negatives.flags_of_jsa(SimpleNamespace(reciprocal_k=2), SimpleNamespace(image=3 * TOY, audio=TOY))
        assert torch.equal(found.flagged, pairs((0, 1), (2, 3)))
        torch.testing.assert_close(found.alike[0], torch.tensor([2.0, 1.6, 0.0, -1.2]))

    def test_of_jsa_both_modalities_count(self):
        turned = TOY[[0, 2, 1, 3]]
        found = negatives.flags_of_jsa(SimpleNamespace(reciprocal_k=2), SimpleNamespace(image=TOY, audio=turned))
        assert not found.flagged.any()

    def test_of_several_targets_the_best_pair_counts(self):
        away = torch.tensor([0.0, 0.0, 1.0]).expand(4, 3)
        images = torch.stack([away, torch.nn.functional.pad(TOY, (0, 1))], dim=1)
        audios = torch.stack([torch.nn.functional.pad(TOY, (0, 1)), -away], dim=1)
        found = negatives.flags_of_jsa(SimpleNamespace(reciprocal_k=2), SimpleNamespace(image=images, audio=audios))
        assert torch.equal(found.flagged, pairs((0, 1), (2, 3)))

    def test_of_jsa_without_neighbours(self):
        sentence = (
            "^JSA's reciprocal_k is 0 as it was trained, which flags no pair: choose one to look through, for example "
            "--set reciprocal_k=10$"
        )
        with pytest.raises(UsageError, match=sentence):
            negatives.flags_of_jsa(SimpleNamespace(reciprocal_k=0), SimpleNamespace(image=TOY, audio=TOY))

    def test_of_fnac(self):
        """Two pairs of equals: e / (2 e + 2) = 0.366 of each row within a pair, 0.134 without; a quarter is even."""
        sounds = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        cells = sounds[[0, 2, 1, 3]][:, :, None, None].expand(4, 2, 3, 3)
        embeddings = SimpleNamespace(image=cells, audio=sounds)
        by_sound = negatives.flags_of_fnac(weights(1, 0), embeddings)
        assert torch.equal(by_sound.flagged, pairs((0, 1), (2, 3)))
        assert by_sound.rule == "likeness of sounds above 1/4"
        torch.testing.assert_close(by_sound.alike[0], torch.tensor([0.3655, 0.3655, 0.1345, 0.1345]), atol=1e-4, rtol=0)
        assert torch.equal(negatives.flags_of_fnac(weights(0, 1), embeddings).flagged, pairs((0, 2), (1, 3)))
        assert torch.equal(negatives.flags_of_fnac(weights(3, 1), embeddings).flagged, pairs((0, 1), (2, 3)))

    def test_of_fnac_without_guides(self):
        sentence = "^FNAC has no guide with fns1_weight = 0 and fns2_weight = 0: set one of them above 0$"
        with pytest.raises(UsageError, match=sentence):
            negatives.flags_of_fnac(weights(0, 0), SimpleNamespace(image=TOY[:, :, None, None], audio=TOY))

    def test_tally_leaves_out_what_is_not_known(self):
        flagged = pairs((0, 1), (0, 2), (0, 3))
        assert negatives.tally(flagged, samples("a", "a", "b", None)) == Tally(flagged=4, alike=2, right=2)
        assert negatives.tally(pairs((0, 1)), samples(None, None)[:2] + samples("a", "b")) == Tally(0, 0, 0)

    def test_tally_in_words(self):
        assert Tally(8, 4, 2).told() == "8 pairs flagged, 2 of one class, precision 25.0 %, recall 50.0 % of 4"
        assert Tally(0, 0, 0).told() == "0 pairs flagged, 0 of one class"


def pairs(*which) -> torch.Tensor:
    table = torch.zeros(4, 4, dtype=torch.bool)
    for one, other in which:
        table[one, other] = table[other, one] = True
    return table


def weights(sounds, images) -> SimpleNamespace:
    return SimpleNamespace(tau=1.0, fns1_weight=float(sounds), fns2_weight=float(images))


class TestNegatives:
    @pytest.fixture
    def asked(self, store, tiny_set, tmp_path) -> Question:
        return question("jsa", slim(tmp_path / "jsa"), tiny_set, reciprocal_k=4)

    def test_rows_are_the_method_s_flags(self, asked, tiny_set):
        choice = BatchChoice(size=5, rows=2, columns=1)
        found = negatives.gather(asked, choice)
        everything = negatives.gather(asked, BatchChoice(size=5))
        assert (found.method, found.split, found.batch, found.rule) == ("jsa", "tiny", 5, "k = 4 reciprocal neighbours")
        assert found.tally == everything.tally
        assert found.tally.flagged == sum(len(anchor.partners) for anchor in everything.anchors)
        assert found.tally.right == sum(sum(anchor.right) for anchor in everything.anchors)
        assert len(found.anchors) == 2
        for short, long in zip(found.anchors, everything.anchors[:2], strict=True):
            assert short.partners[0].id == long.partners[0].id
            assert short.more == len(long.partners) - 1
            assert long.right[0] == (long.item.label == long.partners[0].label)
            np.testing.assert_array_equal(short.item.image, pixels_of(tiny_set, short.item.id))

    def test_the_seed_draws_the_batch(self, asked):
        drawn = [
            [anchor.item.id for anchor in negatives.gather(asked, BatchChoice(size=5, seed=seed)).anchors]
            for seed in (0, 0, 1)
        ]
        assert drawn[0] == drawn[1] != drawn[2]

    def test_a_batch_larger_than_the_split(self, asked):
        with pytest.raises(UsageError, match=r"^expected a batch of 2 to 5 samples of tiny, got 6$"):
            negatives.gather(asked, BatchChoice(size=6))

    def test_a_method_that_looks_for_none(self, tiny_set):
        with pytest.raises(UsageError, match=r"^lvs looks for no false negatives: name one of jsa, fnac$"):
            negatives.gather(question("lvs", None, tiny_set), BatchChoice())

    def test_nothing_flagged(self, asked):
        lonely = replace(asked, request=request_for("jsa", asked.request.checkpoint, {"reciprocal_k": 1}))
        sentence = (
            r"^jsa flags no pair of the 5 samples \(k = 1 reciprocal neighbours\), so that there is nothing to draw: "
            "name another batch, or settings under which it flags more$"
        )
        with pytest.raises(AvbenchError, match=sentence):
            negatives.gather(lonely, BatchChoice(size=5))

    def test_what_is_drawn(self):
        grey = [np.full((224, 224, 3), shade, dtype=np.uint8) for shade in range(4)]
        items = [Item(str(n), label, grey[n]) for n, label in enumerate(["a", "a", "b", None])]
        anchors = (
            Anchor(items[0], (items[1], items[2]), (True, False), more=3),
            Anchor(items[2], (items[3],), (None,), more=0),
        )
        figure = negatives.draw(Negatives("jsa", "tiny", 4, "a rule", Tally(8, 4, 2), anchors))
        first, second = figure.axes[:4], figure.axes[4:]
        assert [shown(axis) for axis in first] == [(0, "a"), (1, "a"), (2, "b"), None]
        assert [shown(axis) for axis in second] == [(2, "b"), (3, "3"), None, None]
        assert [sign(axis) for axis in (*first[:3], *second[:2])] == ["", "\u2713", "\u2717", "", ""]
        assert first[2].texts[-1].get_text() == "+ 3"
        assert figure.get_suptitle() == f"jsa on 4 samples of tiny, a rule\n{Tally(8, 4, 2).told()}"


def shown(axis) -> tuple[int, str] | None:
    return (int(axis.images[0].get_array()[0, 0, 0]), axis.texts[0].get_text()) if axis.images else None


def sign(axis) -> str:
    """The sign of a frame; empty without a frame."""
    signs = [text.get_text() for text in axis.texts if text.get_text() in {"\u25cf", "\u2713", "\u2717"}]
    assert sum(not patch.get_fill() for patch in axis.patches) == len(signs)
    return "".join(signs)


IMAGES = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0], [0, 0.6, 0.8]])
AUDIOS = torch.tensor([[2.0, 0, 0], [0, 0, 2], [0, 2, 0], [0.8, 0.6, 0], [0, 0.8, 0.6]])
"""Of five samples with the labels kind 0, 1, 0, 1, 0; the sounds of samples 1 and 2 lie at each other's images."""


class TestRetrieval:
    @pytest.fixture
    def runs(self, store, plugin_file, tiny_set, tmp_path, capsys) -> Path:
        given = ["--method", f"{plugin_file}:Tiny", "--split", tiny_set, "--runs", tmp_path / "runs"]
        assert main(["run", *map(str, given), "--pictures", "false", "--retrieval"]) == 0
        capsys.readouterr()
        embed(tmp_path / "runs", IMAGES, AUDIOS)
        return tmp_path / "runs"

    def gathered(self, runs, tiny_set, **more) -> retrieval.Retrieval:
        wanted = {"methods": ("tiny-plugin",), "samples": ("clip_000", "clip_001"), "data": tiny_set}
        further = {name: more.pop(name) for name in ("top", "directions") if name in more}
        return retrieval.gather([runs], FigureChoice(**{**wanted, **more}), **further)

    def test_the_order_is_that_of_the_embeddings(self, runs, tiny_set):
        found = self.gathered(runs, tiny_set, top=3)
        assert (found.title, found.split, found.gallery) == ("tiny-plugin", "tiny", 5)
        by_sound, by_image = found.blocks
        assert told(by_sound) == {
            "clip_000": (1, [("clip_000", 1.0, "own"), ("clip_003", 0.6, "wrong"), ("clip_001", 0.0, "wrong")]),
            "clip_001": (4, [("clip_002", 1.0, "wrong"), ("clip_004", 0.8, "wrong"), ("clip_000", 0.0, "wrong")]),
        }
        assert told(by_image) == {
            "clip_000": (1, [("clip_000", 1.0, "own"), ("clip_003", 0.8, "wrong"), ("clip_001", 0.0, "wrong")]),
            "clip_001": (5, [("clip_002", 1.0, "wrong"), ("clip_004", 0.8, "wrong"), ("clip_003", 0.6, "right")]),
        }
        assert by_sound.recalls[1] == pytest.approx(3 / 5)
        assert by_sound.recalls[5] == 1

    def test_what_stands_for_a_sound(self, runs, tiny_set):
        by_sound, by_image = self.gathered(runs, tiny_set).blocks
        heard = by_sound.queries[0].item.envelope
        assert heard.shape == (2, 150)
        assert (heard[0] < 0).all()
        assert (heard[1] > 0).all()
        assert np.abs(heard).max() <= 0.5
        assert by_sound.queries[0].hits[0].item.envelope is None
        assert by_image.queries[0].item.envelope is None
        np.testing.assert_array_equal(by_image.queries[0].hits[0].item.envelope, heard)
        np.testing.assert_array_equal(by_sound.queries[1].item.image, pixels_of(tiny_set, "clip_001"))

    def test_one_direction(self, runs, tiny_set):
        (block,) = self.gathered(runs, tiny_set, directions=("image-to-sound",)).blocks
        assert block.direction == "image-to-sound"

    def test_what_is_drawn(self, runs, tiny_set):
        found = self.gathered(runs, tiny_set, top=2)
        figure = retrieval.draw(found)
        head, first, second = figure.subfigs
        assert head.get_suptitle().startswith("tiny-plugin on tiny, 5 pairs; ")
        assert first.get_suptitle() == "sound to image (R@1 60.0 %, R@5 100.0 %, R@10 100.0 %)"
        assert second.get_suptitle().startswith("image to sound (R@1 ")
        line = first.axes[:3]
        assert [axis.texts[0].get_text() for axis in line] == [
            "kind 0\nits own: rank 1",
            "kind 0\n1.000",
            "kind 1\n0.600",
        ]
        assert [sign(axis) for axis in line] == ["", "\u25cf", "\u2717"]
        assert len(line[0].collections) == 1  # the sound
        np.testing.assert_array_equal(line[1].images[0].get_array(), found.blocks[0].queries[0].hits[0].item.image)

    def test_a_sample_that_is_not_there(self, runs, tiny_set):
        with pytest.raises(
            UsageError, match=r"^expected ids of tiny to show, such as clip_000, got 'no': name others$"
        ):
            self.gathered(runs, tiny_set, samples=("no",))

    def test_several_methods(self, runs, tiny_set):
        sentence = (
            "^expected one method in a figure of retrieval, got tiny-plugin, disc, square, whole: choose with --method$"
        )
        with pytest.raises(UsageError, match=sentence):
            self.gathered(runs, tiny_set, methods=())

    def test_a_method_without_embeddings(self, runs, tiny_set):
        sentence = (
            "^disc on tiny was predicted without embeddings to compare: run it again with avbench run --retrieval, "
            "which methods without embeddings ignore$"
        )
        with pytest.raises(UsageError, match=sentence):
            self.gathered(runs, tiny_set, methods=("disc",))

    def test_embeddings_that_were_changed_after_the_ranks(self, runs, tiny_set):
        embed(runs, IMAGES, AUDIOS.flip(0), ranked=False)
        sentence = (
            "^the partner of clip_000 stands at rank 1 as it was stored and at 5 by the embeddings: they are compared "
            "in a way that only the method with its weights knows, or were changed; run it again$"
        )
        with pytest.raises(AvbenchError, match=sentence):
            self.gathered(runs, tiny_set)

    def test_a_method_of_ours_compares_as_it_does_itself(self):
        config = {"width": 0.0625, "dim": 8, "decoders": False, "lam1": 0.0, "pretrained": "imagenet"}
        stored = SimpleNamespace(method="jsa", resolved={"config": config})
        compare = retrieval.similarity_of(stored)
        several = torch.stack([IMAGES, -IMAGES], dim=1)
        cosines = IMAGES @ torch.nn.functional.normalize(AUDIOS).T
        torch.testing.assert_close(compare(several, AUDIOS[:, None]), cosines.abs())  # of the better of two targets


def told(block) -> dict:
    return {
        query.item.id: (query.rank, [(hit.item.id, pytest.approx(hit.similarity), hit.mark) for hit in query.hits])
        for query in block.queries
    }


def embed(runs, images, audios, *, ranked: bool = True) -> None:
    """Put these embeddings in the place of what the plugin stored, with their ranks."""
    (folder,) = (runs / "predictions" / "tiny").glob("tiny-plugin-*")
    known = read_part(part_path(folder, 0))
    write_part(folder, 0, Part(known.ids, {**known.tensors, "embedding.image": images, "embedding.audio": audios}))
    if ranked:
        (folder / FILE).unlink()
        (stored,) = find_stored([folder])
        rank_embeddings(stored, read_truth(stored.truth_path), SimpleNamespace(embed=None))
