"""What the demo world shows and plays: boxes, masks, sounds, and that the picture does not betray the sounder."""

from dataclasses import replace

import numpy as np
import pytest

from avbench.data.demo_dice import Dice
from avbench.data.demo_drawing import HEIGHT, WIDTH
from avbench.data.demo_scene import choose, compose
from avbench.data.demo_shapes import STYLES
from avbench.data.demo_sound import SAMPLES, TIMBRES, decibel, hiss, level, mixture, silence, source
from avbench.data.demo_world import SCENE, SOUNDER, demo_splits, draw, read_split


@pytest.fixture(scope="module")
def scenes():
    """2,000 scenes in the mix of ``demo`` with the place of their sounder."""
    split = read_split("demo")
    scenes = [compose(Dice(5, i, SCENE), split.kinds, split.shares) for i in range(2000)]
    return [(scene, choose(scene, Dice(5, i, SOUNDER))) for i, scene in enumerate(scenes)]


def _area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def _extent(mask):
    rows, columns = np.nonzero(mask)
    return [columns.min() / WIDTH, rows.min() / HEIGHT, (columns.max() + 1) / WIDTH, (rows.max() + 1) / HEIGHT]


@pytest.mark.parametrize("name", demo_splits())
def test_a_sample_is_a_function_of_its_number(name):
    split = read_split(name)
    draw(split, 0)
    once, again, other = draw(split, 7), draw(split, 7), draw(replace(split, seed=split.seed + 1), 7)
    for field in ("frame", "mask", "sound"):
        assert np.array_equal(getattr(once, field), getattr(again, field))
        assert not np.array_equal(getattr(once, field), getattr(other, field))
    assert once.entry == again.entry


def test_splits_share_no_sample():
    frames = {draw(read_split(name), 0).frame.tobytes() for name in demo_splits()}
    assert len(frames) == len(demo_splits()) - 1  # demo-extended begins with demo


@pytest.mark.parametrize("number", range(12))
def test_box_is_the_extent_of_the_mask(number):
    drawn = draw(read_split("demo"), number)
    assert drawn.entry["bbox"] == [_extent(drawn.mask)]
    heard = [thing for thing in drawn.entry["objects"] if thing["sounding"]]
    assert [thing["bbox"] for thing in heard] == drawn.entry["bbox"]
    assert [thing["class"] for thing in heard] == [drawn.entry["class"]]


def test_mask_follows_what_hides_it():
    split = replace(read_split("demo-duet"), seed=3)
    drawn = draw(split, 0)
    boxes = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for x0, y0, x1, y1 in drawn.entry["bbox"]:
        boxes[round(y0 * HEIGHT) : round(y1 * HEIGHT), round(x0 * WIDTH) : round(x1 * WIDTH)] = True
    assert 0.3 < drawn.mask[boxes].mean() < 1
    assert not drawn.mask[~boxes].any()


def test_masks_of_one_image_do_not_overlap():
    split = read_split("demo-interactive")
    for number in range(0, 40, 2):
        assert not (draw(split, number).mask & draw(split, number + 1).mask).any()


def test_objects_of_a_frame_differ_in_class(scenes):
    assert all(len({thing.kind for thing in scene.things}) == len(scene.things) for scene, _ in scenes)


def test_boxes_lie_in_the_frame(scenes):
    for scene, _ in scenes:
        for x0, y0, x1, y1 in (thing.box for thing in scene.things):
            assert 0 <= x0 < x1 <= WIDTH
            assert 0 <= y0 < y1 <= HEIGHT


@pytest.mark.parametrize(
    "first",
    [
        lambda a, b: True,
        lambda a, b: a.box[0] < b.box[0],
        lambda a, b: a.box[1] < b.box[1],
        lambda a, b: _area(a.box) > _area(b.box),
        lambda a, b: a.kind < b.kind,
    ],
    ids=["painted first", "left", "above", "larger", "earlier in the alphabet"],
)
def test_of_two_large_objects_either_sounds(scenes, first):
    pairs = [(scene.things[:2], heard) for scene, heard in scenes if scene.layout == "exchangeable" and heard < 2]
    share = np.mean([first(*things) == (heard == 0) for things, heard in pairs])
    assert len(pairs) > 1000
    assert abs(share - 0.5) < 0.05


def test_every_class_sounds_and_is_silent_alike(scenes):
    kinds = [scene.things[heard].kind for scene, heard in scenes]
    assert all(abs(kinds.count(kind) / len(kinds) - 1 / 12) < 0.03 for kind in STYLES)


def test_mix_of_sizes(scenes):
    areas = np.array([_area(scene.things[heard].box) for scene, heard in scenes]) / (WIDTH * HEIGHT)
    assert 0.08 < np.mean(areas < 0.1) < 0.13
    assert np.mean((areas > 0.25) & (areas < 0.45)) > 0.85


def test_the_picture_alone_solves_part_of_it(scenes):
    """A centred square of half the frame, and the largest object: neither hopeless nor enough."""
    half = np.sqrt(0.5)
    square = ((1 - half) / 2 * WIDTH, (1 - half) / 2 * HEIGHT, (1 + half) / 2 * WIDTH, (1 + half) / 2 * HEIGHT)
    hits, largest = [], []
    for scene, heard in scenes:
        box = scene.things[heard].box
        sides = [min(box[i + 2], square[i + 2]) - max(box[i], square[i]) for i in (0, 1)]
        inside = max(0, sides[0]) * max(0, sides[1])
        hits.append(inside / (_area(box) + WIDTH * HEIGHT / 2 - inside) >= 0.5)
        largest.append(box == max((thing.box for thing in scene.things), key=_area))
    assert 0.08 < np.mean(hits) < 0.18
    assert 0.5 < np.mean(largest) < 0.66


def test_interactive_pairs_share_the_image():
    split = read_split("demo-interactive")
    first, second = draw(split, 8), draw(split, 9)
    assert first.image == second.image == "demo_interactive_00004"
    assert np.array_equal(first.frame, second.frame)
    assert {first.id, second.id} == {f"{first.image}_{drawn.entry['class']}" for drawn in (first, second)}
    assert first.entry["bbox"] != second.entry["bbox"]
    assert not np.array_equal(first.sound, second.sound)
    assert draw(split, 10).image != first.image


def test_duet_has_two_sources_of_four_objects():
    for number in range(6):
        drawn = draw(read_split("demo-duet"), number)
        heard = [thing for thing in drawn.entry["objects"] if thing["sounding"]]
        assert len(drawn.entry["objects"]) == 4
        assert [thing["bbox"] for thing in heard] == drawn.entry["bbox"]
        assert drawn.entry["class"] == " and ".join(thing["class"] for thing in heard)
        assert len(heard) == 2


def test_duet_chooses_any_two():
    split, pairs = read_split("demo-duet"), set()
    for number in range(40):
        pairs.add(tuple(thing["sounding"] for thing in draw(split, number).entry["objects"]))
    assert len(pairs) == 6


def test_extended_begins_with_the_positives():
    extended, plain = draw(read_split("demo-extended"), 11), draw(read_split("demo"), 11)
    assert extended.entry == plain.entry
    assert np.array_equal(extended.sound, plain.sound)


@pytest.mark.parametrize("number", [400, 401, 599])
def test_silent_negatives_hold_noise_alone(number):
    drawn, positive = draw(read_split("demo-extended"), number), draw(read_split("demo"), number - 400)
    assert np.array_equal(drawn.frame, positive.frame)
    assert (drawn.entry["sounding"], drawn.entry["bbox"], drawn.entry["class"]) == (False, [], "silence")
    assert not any(thing["sounding"] for thing in drawn.entry["objects"])
    assert not drawn.mask.any()
    assert level(drawn.sound / np.float32(32767)) < 1.01 * decibel(-25)


def test_silence_has_no_event():
    """The loudest and the softest tenth of a second of noise are alike; those of a source are not."""
    for number in range(6):
        noise, tick = silence(Dice(1, number)), mixture(["clock"], Dice(1, number))
        tenths = [clip.reshape(50, -1).astype(float).std(axis=1) for clip in (noise, tick)]
        assert tenths[0].max() < 2 * tenths[0].min() + 2
        assert tenths[1].max() > 1.3 * tenths[1].min()


@pytest.mark.parametrize("number", [600, 601, 650, 799])
def test_offscreen_class_is_not_in_the_frame(number):
    drawn, positive = draw(read_split("demo-extended"), number), draw(read_split("demo"), number - 400)
    assert np.array_equal(drawn.frame, positive.frame)
    assert (drawn.entry["sounding"], drawn.entry["bbox"], drawn.image) == (False, [], positive.id)
    assert drawn.entry["class"] in STYLES
    assert drawn.entry["class"] not in {thing["class"] for thing in drawn.entry["objects"]}
    assert level(drawn.sound / np.float32(32767)) > 0.001


def test_heard_and_unheard_classes_do_not_meet():
    heard, unheard, training = (read_split(name) for name in ("demo-heard", "demo-unheard", "demo-heard-train"))
    assert set(heard.kinds) | set(unheard.kinds) == set(STYLES)
    assert not set(heard.kinds) & set(unheard.kinds)
    assert training.kinds == heard.kinds
    for split in (heard, unheard, training):
        shown = {thing["class"] for number in range(10) for thing in draw(split, number).entry["objects"]}
        assert shown <= set(split.kinds)


def test_every_look_has_a_timbre():
    assert list(STYLES) == list(TIMBRES)


@pytest.mark.parametrize("kind", TIMBRES)
def test_a_source_is_heard_all_along(kind):
    for number in range(3):
        clip = source(kind, Dice(2, number))
        assert clip.shape == (SAMPLES,)
        assert np.abs(clip).max() == 1
        assert (np.abs(clip.reshape(2, -1)).max(axis=1) > 0.3).all()


def test_timbres_are_told_apart_by_ear():
    """Nearest mean spectrum and rhythm of 5 other clips of each class, noise and all."""
    features = np.array([[_hearing(mixture([kind], Dice(3, n))) for n in range(8)] for kind in TIMBRES])
    means = features[:, :5].mean(axis=1)
    guesses = ((features[:, 5:, None] - means) ** 2).sum(axis=-1).argmin(axis=-1)
    assert ((guesses == np.arange(12)[:, None]).mean(axis=1) > 0.5).all()


def _hearing(clip):
    frames = np.abs(np.fft.rfft(clip.reshape(-1, 400).astype(float), axis=1))
    bands = np.log(np.stack([part.sum(axis=1) for part in np.array_split(frames[:, 1:], 20, axis=1)], axis=1) + 1)
    bands -= bands.mean()
    return np.concatenate([bands.mean(axis=0), 2 * bands.std(axis=0)])


def test_loudness_and_noise_stay_in_their_ranges():
    for number in range(20):
        drawn = mixture(["bell"], Dice(4, number)).astype(float) / 32767
        assert 0.14 < np.abs(drawn).max() <= 1
    assert decibel(-20) == pytest.approx(0.1, rel=1e-6)
    assert level(np.full(100, 0.5, dtype=np.float32)) == 0.5
    assert np.abs(hiss(Dice(4))).max() <= 1
