"""Silent, noisy, off-screen and swapped sound: deterministic, and really another sound or class."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from avbench.data.audio_modes import altered, audio_sources, offscreen_partners, swap_partners
from avbench.data.splits import Sample, load_split
from avbench.errors import AvbenchError

WAVE = np.linspace(-1, 1, 16000, dtype=np.float32)


def samples(*labels: str | None) -> list[Sample]:
    return [Sample(f"s{i:04d}", None, None, ((0, 0, 1, 1),), label) for i, label in enumerate(labels)]


@pytest.mark.parametrize("mode", ["true", "offscreen", "swapped"])
def test_modes_of_real_sound_leave_the_samples_alone(mode) -> None:
    assert altered(WAVE, mode, key="a") is WAVE


def test_silence() -> None:
    came = altered(WAVE, "silent", key="a")
    assert (came.shape, came.dtype, came.any()) == (WAVE.shape, np.float32, False)


def test_noise_is_standard_normal_and_not_clipped_and_follows_the_id() -> None:
    came = altered(WAVE, "noise", key="a")
    assert (came.shape, came.dtype) == (WAVE.shape, np.float32)
    assert abs(came.std() - 1) < 0.02
    assert abs(came.mean()) < 0.03
    assert abs(came).max() > 3
    assert abs(np.corrcoef(came[:-1], came[1:])[0, 1]) < 0.03
    np.testing.assert_array_equal(came, altered(WAVE, "noise", key="a"))
    assert not np.array_equal(came, altered(WAVE, "noise", key="b"))


def test_quiet_noise_is_the_same_at_a_tenth() -> None:
    quiet, loud = altered(WAVE, "quiet-noise", key="a"), altered(WAVE, "noise", key="a")
    np.testing.assert_array_equal(quiet, loud * np.float32(0.1))


def test_the_modes_that_hear_other_samples() -> None:
    items = samples(*"aabbccddee")
    assert audio_sources(items, "offscreen", seed=3) == offscreen_partners(items, seed=3)
    assert audio_sources(items, "swapped", seed=3) == swap_partners(items, seed=3)
    for mode in ("true", "silent", "noise", "quiet-noise"):
        assert list(audio_sources(items, mode)) == list(range(10))


def test_off_screen_sounds_are_any_other_drawn_with_replacement() -> None:
    items = samples(*"ab" * 1000)
    partners = offscreen_partners(items)
    assert all(i != j for i, j in enumerate(partners))
    same = sum(items[i].label == items[j].label for i, j in enumerate(partners))
    assert abs(same / 2000 - 0.5) < 0.04
    uses = Counter(Counter(partners).values())
    assert abs(uses[1] / 2000 - np.exp(-1)) < 0.04  # Poisson, as of independent draws
    assert abs(uses[2] / 2000 - np.exp(-1) / 2) < 0.03


def test_the_off_screen_draw_depends_on_the_set_and_not_on_its_order() -> None:
    items = samples(*"aabbccddee")
    pairs = {items[i].id: items[j].id for i, j in enumerate(offscreen_partners(items))}
    turned = items[::-1]
    assert {turned[i].id: turned[j].id for i, j in enumerate(offscreen_partners(turned))} == pairs
    assert offscreen_partners(items) == offscreen_partners(items, seed=0)
    assert offscreen_partners(items) != offscreen_partners(items, seed=1)


def test_an_off_screen_sound_is_another_file() -> None:
    names = ["x.wav"] * 5 + ["y.wav"]
    items = [Sample(f"s{i}", None, Path(name), ()) for i, name in enumerate(names)]
    partners = offscreen_partners(items)
    assert partners[:5] == [5] * 5
    assert partners[5] in range(5)


@pytest.mark.parametrize("count", [1, 3])
def test_without_another_sound_there_is_no_off_screen_one(count: int) -> None:
    items = [Sample(f"s{i}", None, Path("x.wav"), ()) for i in range(count)]
    with pytest.raises(AvbenchError, match=rf"no off-screen sound: .* got {count} with the same; choose"):
        offscreen_partners(items)


def test_swapped_sounds_are_of_another_class_and_used_once() -> None:
    rng = random.Random(0)
    items = samples(*(rng.choice("abcdefg") for _ in range(300)))
    partners = swap_partners(items)
    assert all(items[i].label != items[j].label for i, j in enumerate(partners))
    assert sorted(partners) == list(range(300))


def test_the_pairing_depends_on_the_set_and_not_on_its_order() -> None:
    items = samples(*"aabbccddee")
    pairs = {items[i].id: items[j].id for i, j in enumerate(swap_partners(items))}
    turned = items[::-1]
    assert {turned[i].id: turned[j].id for i, j in enumerate(swap_partners(turned))} == pairs
    assert swap_partners(items) == swap_partners(items, seed=0)
    assert swap_partners(items) != swap_partners(items, seed=1)


def test_a_class_of_more_than_half_shares_the_others() -> None:
    items = samples(*"aaaaaaab")
    partners = swap_partners(items)
    assert partners[:7] == [7] * 7
    assert items[partners[7]].label == "a"


@pytest.mark.parametrize("labels", ["aabb", "abab", "aaabbb", "ab", "aabbb", "abc"])
def test_each_sound_is_used_once_wherever_half_is_not_exceeded(labels: str) -> None:
    for seed in range(50):
        partners = swap_partners(samples(*labels), seed=seed)
        assert all(labels[i] != labels[j] for i, j in enumerate(partners))
        if max(Counter(labels).values()) * 2 <= len(labels):
            assert sorted(partners) == list(range(len(labels)))


def test_without_labels_any_other_sound_will_do() -> None:
    partners = swap_partners(samples(None, None, None))
    assert sorted(partners) == [0, 1, 2]
    assert all(i != j for i, j in enumerate(partners))
    shared_sound = [Sample(name, None, Path("x.wav"), ()) for name in ("a", "b")]
    with pytest.raises(AvbenchError, match="no partner of another class"):
        swap_partners(shared_sound)


@pytest.mark.parametrize("labels", ["aaa", "a"])
def test_one_class_alone_cannot_be_swapped(labels: str) -> None:
    with pytest.raises(AvbenchError, match=rf"has no partner of another class among {len(labels)} samples; choose"):
        swap_partners(samples(*labels))


def test_swapping_vggss(shared: Path) -> None:
    split = load_split("vggss", metadata=shared / "metadata")
    partners = swap_partners(split.samples)
    assert all(split.samples[i].label != split.samples[j].label for i, j in enumerate(partners))
    assert sorted(partners) == list(range(5158))
