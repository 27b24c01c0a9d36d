"""Windows of many sounds are one tensor each, and share memory only where that changes nothing."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from avbench.data.decoding import cut
from avbench.data.stacking import change_together, stack, stack_windows
from avbench.types import Window

RATE = 10
LONG, MIDDLE, FIRST = Window(8.0, "start"), Window(3.0), Window(3.0, "start")
WINDOWS = [MIDDLE, LONG, FIRST]


def clips(*lengths: int) -> list[np.ndarray]:
    return [np.random.default_rng(n).random(n).astype(np.float32) for n in lengths]


def windows_of(clip: np.ndarray) -> dict[Window, np.ndarray]:
    return {w: cut(clip, RATE, w) for w in WINDOWS}


def place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def assert_rows(made: dict[Window, torch.Tensor], sounds: list[dict[Window, np.ndarray]]) -> None:
    assert list(made) == WINDOWS
    for window, tensor in made.items():
        np.testing.assert_array_equal(tensor, np.stack([sound[window] for sound in sounds]))


def test_windows_of_clips_of_one_length_share_memory() -> None:
    sounds = [windows_of(clip) for clip in clips(100, 100, 100)]
    made = stack_windows(sounds)
    assert_rows(made, sounds)
    assert len({place(t) for t in made.values()}) == 1


def test_windows_that_begin_elsewhere_in_each_clip_are_copied() -> None:
    sounds = [windows_of(clip) for clip in clips(100, 90, 100)]
    made = stack_windows(sounds)
    assert_rows(made, sounds)
    assert place(made[FIRST]) == place(made[LONG]) != place(made[MIDDLE])


def test_repeated_clips_and_parts_beyond_the_longest_window_are_copied() -> None:
    for lengths in ((20, 100), (50, 50), (200, 200)):
        sounds = [windows_of(clip) for clip in clips(*lengths)]
        assert_rows(stack_windows(sounds), sounds)


def test_other_sounds_are_never_shared() -> None:
    one, two = ({w: np.full(int(w.seconds), v, dtype=np.float32) for w in WINDOWS} for v in (1, 2))
    mixed = [{**one, MIDDLE: two[MIDDLE]}, {**two, MIDDLE: one[MIDDLE]}]
    assert_rows(stack_windows(mixed), mixed)


def test_channels_apart_are_copied() -> None:
    both = np.stack(clips(100, 100)[:1] * 2)
    sounds = [{w: cut(both, RATE, w) for w in WINDOWS}]
    made = stack_windows(sounds)
    assert made[MIDDLE].shape == (1, 2, 30)
    assert_rows(made, sounds)


def test_a_change_is_made_once_for_shared_memory_and_keeps_it_shared() -> None:
    sounds = [windows_of(clip) for clip in clips(100, 100)]
    made, seen = stack_windows(sounds), []

    def change(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(tensor.numel())
        return tensor.clone()

    changed = change_together(made, change)
    assert seen == [2 * 80]
    assert_rows(changed, sounds)
    assert len({place(t) for t in changed.values()}) == 1
    assert place(changed[LONG]) != place(made[LONG])


def stacked_and_shared(rows: list[np.ndarray]) -> tuple[torch.Tensor, bool]:
    made = stack(rows)
    return made, made.is_shared()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_in_a_worker_process_the_same_comes_out_of_shared_memory(dtype: type) -> None:
    rows = [np.arange(12, dtype=dtype).reshape(3, 4) + dtype(i) for i in range(5)]
    loader = DataLoader(rows, batch_size=5, num_workers=1, collate_fn=stacked_and_shared)
    ((came, shared),) = list(loader)
    assert shared
    assert torch.equal(came, stack(rows))
    assert not stack(rows).is_shared()
