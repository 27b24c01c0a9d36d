"""Silent, noisy and swapped sound: deterministic, and really another class."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from avbench.data.audio_modes import NOISE_RMS, altered, swap_partners
from avbench.data.splits import Sample, load_split
from avbench.errors import AvbenchError

WAVE = np.linspace(-1, 1, 16000, dtype=np.float32)


def samples(*labels: str | None) -> list[Sample]:
    return [Sample(f"s{i:04d}", None, None, ((0, 0, 1, 1),), label) for i, label in enumerate(labels)]


def test_true_and_swapped_leave_the_samples_alone() -> None:
    assert altered(WAVE, "true", key="a") is WAVE
    assert altered(WAVE, "swapped", key="a") is WAVE


def test_silence() -> None:
    came = altered(WAVE, "silent", key="a")
    assert (came.shape, came.dtype, came.any()) == (WAVE.shape, np.float32, False)


def test_noise_is_white_of_the_stated_level_and_follows_the_id() -> None:
    came = altered(WAVE, "noise", key="a")
    assert (came.shape, came.dtype) == (WAVE.shape, np.float32)
    assert abs(came.std() - NOISE_RMS) < 0.002
    assert abs(np.corrcoef(came[:-1], came[1:])[0, 1]) < 0.03
    np.testing.assert_array_equal(came, altered(WAVE, "noise", key="a"))
    assert not np.array_equal(came, altered(WAVE, "noise", key="b"))


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
