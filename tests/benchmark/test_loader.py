"""The identical loader: the same samples in the same order, whoever decodes them, and errors that stay readable."""

import json
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from avbench.data import batches as batches_module
from avbench.data import loader
from avbench.data.audio_modes import offscreen_partners, swap_partners
from avbench.data.batches import Decoded, RawBatch, collate, stream
from avbench.data.decoding import cut, decode_audio, decode_image, decode_pictures, decode_sounds
from avbench.data.loader import LoaderOptions, iterate_batches
from avbench.data.splits import Split, load_split
from avbench.errors import AvbenchError, UsageError
from avbench.types import Window

SHORT, LONG = Window(0.1, "centre-seconds"), Window(0.2)
N = 11


def make_split(root: Path, rates: list[int] | None = None, objects: bool = True) -> Split:
    rng = np.random.default_rng(0)
    entries = []
    for folder in ("frames", "audio"):
        (root / folder).mkdir()
    for i in range(N):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(root / f"frames/s{i}.png")
        rate = rates[i] if rates else 16000
        soundfile.write(root / f"audio/s{i}.wav", rng.standard_normal(rate // 4) * 0.1, rate)
        thing = {"class": "bell", "bbox": [0, 0, 0.5, (i + 1) / N], "sounding": True}
        extra = {"objects": [thing]} if objects else {}
        entries.append({"file": f"s{i}", "class": "abc"[i % 3], "bbox": [[0, 0, 1, 1]], **extra})
    (root / "boxes.json").write_text(json.dumps(entries))
    (root / "x.yaml").write_text("name: x\nformat: vggss\nannotations: boxes.json\nframes: frames\naudio: audio\n")
    return load_split(str(root / "x.yaml"))


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return make_split(tmp_path)


def load(split: Split, *, indices=range(N), windows=(SHORT, LONG), needs=("image", "audio"), **options):
    return list(
        iterate_batches(split, indices, windows=windows, needs=needs, options=LoaderOptions(batch_size=4, **options))
    )


def assert_same(one: list[RawBatch], two: list[RawBatch]) -> None:
    for a, b in zip(one, two, strict=True):
        assert (a.indices, a.ids, a.rate, a.objects, list(a.waveforms)) == (
            b.indices, b.ids, b.rate, b.objects, list(b.waveforms)
        )  # fmt: skip
        assert all(torch.equal(x, y) for x, y in zip(a.tensors(), b.tensors(), strict=True))


def test_batches_hold_what_the_decoders_give(split: Split) -> None:
    batches = load(split)
    assert [len(b.ids) for b in batches] == [4, 4, 3]
    assert [i for b in batches for i in b.indices] == list(range(N))
    for batch in batches:
        assert batch.rate == 16000
        assert batch.image is not None
        for row, index in enumerate(batch.indices):
            sample = split.samples[index]
            assert batch.ids[row] == sample.id
            assert sample.image is not None
            assert sample.audio is not None
            np.testing.assert_array_equal(batch.image[row], decode_image(sample.image))
            samples, rate = decode_audio(sample.audio)
            for window in (SHORT, LONG):
                np.testing.assert_array_equal(batch.waveforms[window][row], cut(samples, rate, window))
            assert batch.objects is not None
            assert batch.objects[row] == ((0.0, 0.0, 0.5, (index + 1) / N),)


@pytest.mark.parametrize("mode", ["true", "silent", "noise", "quiet-noise", "offscreen", "swapped"])
def test_worker_processes_change_nothing(split: Split, mode) -> None:
    assert_same(load(split, audio_mode=mode), load(split, audio_mode=mode, workers=2))


def test_what_workers_get_survives_pickling_so_that_they_may_be_spawned(split: Split) -> None:
    options = LoaderOptions(audio_mode="swapped")
    decoder = loader._Decoder(split.samples, windows=(SHORT,), image=True, options=options)
    one, two = decoder[3], pickle.loads(pickle.dumps((decoder, collate)))[0][3]  # noqa: S301 - ours
    assert isinstance(one, Decoded)
    assert isinstance(two, Decoded)
    assert (one.index, one.sample, one.rate) == (two.index, two.sample, two.rate)
    np.testing.assert_array_equal(one.waveforms[SHORT], two.waveforms[SHORT])
    np.testing.assert_array_equal(one.image, two.image)


def test_any_indices_in_their_order(split: Split) -> None:
    batches = load(split, indices=[7, 2, 2, 9, 0])
    assert [b.indices for b in batches] == [[7, 2, 2, 9], [0]]
    assert [b.ids for b in batches] == [["s7", "s2", "s2", "s9"], ["s0"]]
    assert load(split, indices=[]) == []


def test_each_file_is_opened_once_whatever_the_number_of_windows(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    def counting(path: Path, ways: set, *, rate: int | None):
        opened.append(path)
        return decode_sounds(path, ways, rate=rate)

    monkeypatch.setattr(batches_module, "decode_sounds", counting)
    load(split, windows=(SHORT, LONG, Window(0.05, "start"), Window(0.05, "start", "first")))
    assert len(opened) == len(set(opened)) == N


def test_further_pictures_lie_beside_the_squashed_one(split: Split) -> None:
    for workers in (0, 2):
        (first, *_) = load(split, pictures=("centre-crop", "squash", "tensor"), workers=workers)
        expected = decode_pictures(split.samples[1].image, ["centre-crop", "squash", "tensor"])
        assert list(first.pictures) == ["centre-crop", "tensor"]
        np.testing.assert_array_equal(first.image[1], expected["squash"])
        for kind, pictures in first.pictures.items():
            np.testing.assert_array_equal(pictures[1], expected[kind])
        assert len(first.tensors()) == 5


def test_no_picture_is_made_that_none_asks_for(split: Split) -> None:
    (first, *_) = load(split, pictures=("tensor",))
    assert (first.image, list(first.pictures)) == (None, ["tensor"])
    (first, *_) = load(split, pictures=("tensor",), needs=("audio",))
    assert (first.image, first.pictures) == (None, {})
    assert load(split)[0].pictures == {}


def test_batches_are_split_where_the_number_of_channels_kept_apart_changes(split: Split, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "audio/s2.wav", rng.uniform(-0.5, 0.5, (4000, 2)), 16000)
    apart = Window(0.1, channels="each")
    batches = load(split, windows=(SHORT, apart))
    assert [b.indices for b in batches] == [[0, 1], [2], [3], [4, 5, 6, 7], [8, 9, 10]]
    assert [tuple(b.waveforms[apart].shape[1:]) for b in batches] == [(1600,), (2, 1600), (1600,), (1600,), (1600,)]
    assert [b.indices for b in load(split, windows=(SHORT, LONG))] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    (noisy, *_) = load(split, windows=(apart,), audio_mode="noise")
    assert noisy.waveforms[apart].shape == (4, 1600)


def test_what_is_not_needed_is_not_read(split: Split, tmp_path: Path) -> None:
    for path in (tmp_path / "audio").iterdir():
        path.unlink()
    for options in ({"needs": ("image",)}, {"windows": ()}):
        (first, *_) = load(split, **options)
        assert (first.waveforms, first.rate) == ({}, 0)
        assert first.image is not None
    for path in (tmp_path / "frames").iterdir():
        path.unlink()
    (first, *_) = load(split, needs=())
    assert (first.image, first.waveforms, first.ids) == (None, {}, ["s0", "s1", "s2", "s3"])


def test_silence_and_noise(split: Split) -> None:
    silent, noisy = (load(split, audio_mode=mode) for mode in ("silent", "noise"))
    assert not any(w.any() for b in silent for w in b.waveforms.values())
    both = torch.cat([b.waveforms[LONG] for b in noisy])
    assert abs(both.std().item() - 1) < 0.02
    inner = both[:, (3200 - 1600) // 2 :][:, :1600]  # both windows hear the same noise
    assert torch.equal(torch.cat([b.waveforms[SHORT] for b in noisy]), inner)
    assert len({tuple(row[:4].tolist()) for row in both}) == N


def test_swapped_sounds_are_those_of_another_class(split: Split) -> None:
    true = torch.cat([b.waveforms[LONG] for b in load(split)])
    swapped = torch.cat([b.waveforms[LONG] for b in load(split, audio_mode="swapped")])
    partners = swap_partners(split.samples)
    assert torch.equal(swapped, true[partners])
    assert all(split.samples[i].label != split.samples[j].label for i, j in enumerate(partners))


def test_off_screen_sounds_are_those_of_other_samples(split: Split) -> None:
    true = torch.cat([b.waveforms[LONG] for b in load(split)])
    heard = torch.cat([b.waveforms[LONG] for b in load(split, audio_mode="offscreen")])
    partners = offscreen_partners(split.samples)
    assert torch.equal(heard, true[partners])
    assert not (heard == true).all(dim=1).any()


def test_native_rates_split_batches_in_order(tmp_path: Path) -> None:
    split = make_split(tmp_path, rates=[8000, 8000, 16000, 8000, *[22050] * 7])
    batches = load(split, audio_rate=None)
    assert [(b.indices, b.rate) for b in batches] == [
        ([0, 1], 8000), ([2], 16000), ([3], 8000), ([4, 5, 6, 7], 22050), ([8, 9, 10], 22050)
    ]  # fmt: skip
    assert [b.waveforms[LONG].shape[1] for b in batches] == [1600, 3200, 1600, 4410, 4410]
    assert {b.rate for b in load(split)} == {16000}


def test_unknown_objects_are_none(tmp_path: Path) -> None:
    assert load(make_split(tmp_path, objects=False))[0].objects is None


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_sample_ends_the_run_with_its_own_sentence(split: Split, tmp_path: Path, workers: int) -> None:
    (tmp_path / "audio/s9.wav").write_bytes(b"")
    got = []
    with pytest.raises(AvbenchError) as caught:
        got.extend(
            iterate_batches(split, range(N), windows=[SHORT], options=LoaderOptions(batch_size=4, workers=workers))
        )
    assert str(caught.value) == f"{tmp_path / 'audio/s9.wav'} is empty: expected a wav or flac file, fetch it again"
    assert caught.type is AvbenchError
    assert multiprocessing.active_children() == []


def test_batches_before_a_broken_one_are_yielded(split: Split, tmp_path: Path) -> None:
    (tmp_path / "frames/s9.png").write_bytes(b"x")
    batches = iterate_batches(split, range(N), windows=[SHORT], options=LoaderOptions(batch_size=4))
    assert [next(batches).indices, next(batches).indices] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(AvbenchError, match=r"s9.png cannot be read as a picture"):
        next(batches)


def test_a_split_without_media(shared: Path) -> None:
    split = load_split("vggss", metadata=shared / "metadata")
    with pytest.raises(UsageError, match="vggss was given without media: pass --data"):
        load(split)
    (first, *_) = iterate_batches(split, range(10), needs=(), options=LoaderOptions(batch_size=10))
    assert (len(first.ids), first.image) == (10, None)


class Deadly:
    """A decoder whose process dies."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, key: int) -> Decoded:
        os._exit(3)


def test_a_worker_that_dies_is_one_sentence() -> None:
    with pytest.raises(AvbenchError, match=r"a decoding process died \(DataLoader worker .*: memory may be short"):
        list(stream(Deadly(), [[0], [1]], workers=1, device=torch.device("cpu")))


def test_the_callers_random_numbers_are_left_alone(split: Split) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load(split)
    assert torch.equal(torch.rand(3), expected)


def test_errors_survive_the_way_through_a_process() -> None:
    for problem in (AvbenchError("one sentence"), UsageError("another")):
        copy = pickle.loads(pickle.dumps(problem))  # noqa: S301 - ours
        assert (type(copy), str(copy)) == (type(problem), str(problem))


def test_one_failure_takes_the_place_of_a_batch(split: Split) -> None:
    good = Decoded(0, split.samples[0], None, {})
    first, second = AvbenchError("first"), AvbenchError("second")
    assert collate([good, first, second]) == [first]
    (batch,) = collate([good, good])
    assert isinstance(batch, RawBatch)
    assert batch.indices == [0, 0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_batches_on_a_gpu_are_the_same(split: Split) -> None:
    expected = load(split)
    came = list(
        iterate_batches(
            split, range(N), windows=(SHORT, LONG), device="cuda", options=LoaderOptions(batch_size=4, workers=2)
        )
    )
    assert all(t.is_cuda for b in came for t in b.tensors())
    assert_same(expected, [b.to(torch.device("cpu")) for b in came])


def test_real_media(shared: Path, tmp_path: Path) -> None:
    root = shared / "media/composed_test"
    path = tmp_path / "composed.yaml"
    path.write_text(
        f"name: composed\nformat: vggss\nannotations: {root}/annotations.json\nframes: frames\naudio: audio\n"
    )
    split = load_split(str(path), data=root)
    windows = [Window(3.0, "centre-seconds"), Window(5.0)]
    batches = list(iterate_batches(split, range(split.n), windows=windows, options=LoaderOptions(workers=2)))
    assert sum(len(b.ids) for b in batches) == 65
    assert batches[0].waveforms[windows[1]].shape == (64, 80000)
    assert all(w.isfinite().all() for b in batches for w in b.waveforms.values())
