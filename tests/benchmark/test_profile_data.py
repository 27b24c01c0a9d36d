"""``avbench profile data``: the official loader's steps and ours give the same, and all ways are timed."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from avbench import profiling_data
from avbench.cli import main
from avbench.clock import Clock
from avbench.data.layouts import MediaFolders, MediaIndex
from avbench.data.splits import Sample, Split
from avbench.opening import Places, open_split
from avbench.profiling import load_oracle
from avbench.profiling_data import FED, METHODS, Loading, Media, compare, packed_media
from avbench.profiling_samples import draw_samples
from avbench.profiling_ways import Goal, Timed, Way, time_ways

ORACLE = Path(__file__).parents[1] / "oracles" / "official_loading.py"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def oracle():
    return load_oracle(ORACLE, ("load_sample",))


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    return draw_samples(tmp_path_factory.mktemp("noise"), 3)


@pytest.fixture(scope="module")
def built(noise) -> Loading:
    """Building the methods once is enough."""
    return Loading(Media(open_split(str(noise), Places())), CPU, 0)


@pytest.fixture
def loading_of(built):
    def make(media: Media, workers: int = 0) -> Loading:
        found = copy.copy(built)
        found.media, found.workers = media, workers
        return found

    return make


@pytest.fixture
def few(monkeypatch):
    """Decoding processes go through the list once."""
    monkeypatch.setitem(profiling_data.FED, "cpu", 1)


def split_of(folder: Path, sounds: dict[str, tuple[np.ndarray, int]], size: tuple[int, int] = (37, 51)) -> Split:
    """A split of noise pictures with these sounds."""
    for name in ("frames", "audio"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(1)
    index = MediaIndex(MediaFolders.below(folder))
    samples = []
    for name, (sound, rate) in sounds.items():
        picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / "frames" / f"{name}.jpg", quality=90)
        soundfile.write(folder / "audio" / f"{name}.wav", sound, rate, subtype="PCM_16")
        samples.append(Sample(name, index.image(name), index.sound(name), ((0.0, 0.0, 1.0, 1.0),)))
    return Split("made", "made", tuple(samples), "0" * 64, len(samples), has_media=True, source="made")


def tone(seconds: float, rate: int) -> np.ndarray:
    rng = np.random.default_rng(int(rate * seconds))
    return 0.3 * np.sin(np.arange(int(seconds * rate)) * 0.05) + 0.05 * rng.standard_normal(int(seconds * rate))


SOUNDS = {
    "ten_seconds": (tone(10, 16_000), 16_000),
    "five_seconds": (tone(5, 16_000), 16_000),
    "just_enough": (tone(3, 16_000), 16_000),
    "too_short": (tone(1.3, 16_000), 16_000),
    "slow": (tone(7, 11_025), 11_025),
    "quick": (tone(6, 44_100), 44_100),
    "quickest": (tone(4, 48_000), 48_000),
    "at_full_scale": (np.random.default_rng(7).uniform(-2, 2, 64_000), 16_000),
    "silent": (np.zeros(64_000), 16_000),
}


def test_the_official_steps_and_our_loader_give_the_same(tmp_path, oracle, loading_of):
    split = split_of(tmp_path, SOUNDS)
    found = compare(loading_of(Media(split)), oracle, range(len(SOUNDS)))
    assert (found.samples, found.pictures, found.spectrograms) == (len(SOUNDS),) * 3
    assert found.largest < 3e-5
    assert found.packed is None
    assert found.holds


def test_packed_samples_are_the_same_too(tmp_path, oracle, noise, loading_of):
    split = open_split(str(noise), Places())
    media = packed_media(split, tmp_path, workers=0, advance=lambda done: None)
    found = compare(loading_of(media), oracle, range(3))
    assert found.holds
    assert found.packed is True


def test_another_picture_or_another_sound_is_noticed(tmp_path, oracle, loading_of):
    split = split_of(tmp_path, {name: SOUNDS[name] for name in ("five_seconds", "just_enough")})
    first, second = split.samples
    for sample, pictures, spectrograms in (
        (Sample(second.id, first.image, second.audio, ()), 1, 2),
        (Sample(second.id, second.image, first.audio, ()), 2, 1),
    ):
        other = Split("other", "other", (first, sample), "0" * 64, 2, has_media=True, source="made")
        assert compare(loading_of(Media(split, packed=other)), oracle, range(2)).packed is False
        found = compare(loading_of(Media(other)), Elsewhere(oracle, split), range(2))
        assert (found.pictures, found.spectrograms, found.holds) == (pictures, spectrograms, False)


class Elsewhere:
    """The official loader, reading the files of another split."""

    def __init__(self, oracle, split):
        self.oracle, self.turn = oracle, iter(split.samples)

    def load_sample(self, picture, sound):
        sample = next(self.turn)
        return self.oracle.load_sample(sample.image, sample.audio)


def test_a_spectrogram_of_another_length_is_a_difference(tmp_path, oracle, loading_of, monkeypatch):
    split = split_of(tmp_path, {"five_seconds": SOUNDS["five_seconds"]})
    monkeypatch.setattr(oracle, "SECONDS", 2.0)
    found = compare(loading_of(Media(split)), oracle, range(1))
    assert (found.pictures, found.spectrograms, found.largest) == (1, 0, float("inf"))


def test_the_official_training_pictures_are_crops(oracle, noise):
    torch.manual_seed(0)
    picture = noise.parent / "frames" / "noise_00000.jpg"
    pictures = {mode: oracle.load_picture(picture, mode) for mode in ("test", "train", "hard")}
    assert {tuple(found.shape) for found in pictures.values()} == {(3, 224, 224)}
    assert not torch.equal(pictures["test"], pictures["train"])
    assert not torch.equal(pictures["train"], pictures["hard"])


def test_made_up_samples_are_the_same_every_time_and_as_heavy_as_real_ones(tmp_path, noise):
    again = draw_samples(tmp_path, 3)
    ours = {path.relative_to(noise.parent): path.read_bytes() for path in noise.parent.rglob("*") if path.is_file()}
    assert ours == {path.relative_to(tmp_path): path.read_bytes() for path in again.parent.rglob("*") if path.is_file()}
    sizes = [len(content) for path, content in ours.items() if path.suffix == ".jpg"]
    assert len(sizes) == 3
    assert all(35_000 < size < 55_000 for size in sizes)
    with Image.open(noise.parent / "frames" / "noise_00001.jpg") as picture:
        assert picture.size == (640, 360)
    sound = soundfile.info(noise.parent / "audio" / "noise_00001.wav")
    assert (sound.samplerate, sound.channels, sound.frames, sound.subtype) == (16_000, 1, 160_000, "PCM_16")
    assert [len(sample.boxes) for sample in open_split(str(noise), Places()).samples] == [1, 1, 1]


def test_ways_take_turns_and_what_starts_processes_goes_through_the_list_at_a_stretch():
    calls = []

    def way(name: str, whole: int = 0) -> Way:
        return Way(name, load=lambda indices: calls.append((name, list(indices))) or len(indices), whole=whole)

    ways, done = [way("a"), way("b"), way("all", whole=2)], []
    time_ways(ways, 5, chunk=2, repeats=2, advance=done.append)
    chunks = [[0, 1], [2, 3], [4]]
    round_ = [(n, c) for c, order in zip(chunks, ("ab", "ba", "ab"), strict=True) for n in order]
    warm = [(name, [0, 1]) for name in ("a", "b", "all")]
    whole = [("all", [0, 1, 2, 3, 4] * 2)]
    assert calls == warm + round_ + whole + round_ + whole
    assert [[clock.items for clock in way.rounds] for way in ways] == [[5, 5], [5, 5], [10, 10]]
    assert done == [2, 2, 1, 2, 2, 1]


def test_ratios_say_how_many_times_as_fast_or_where_the_goal_is_a_most_as_long():
    slow = Timed("slow", rounds=[Clock(wall=w, cpu=2 * w, items=10) for w in (1.0, 2.0, 4.0)])
    quick = Timed("quick", "slow", Goal(3.0), [Clock(wall=w, items=5) for w in (0.1, 0.1, 0.5)])
    longer = Timed("longer", "slow", Goal(most=1.15), [Clock(wall=w, items=10) for w in (1.1, 2.0, 6.0)])
    assert (slow.ms, slow.least_ms, slow.cpu_ms) == pytest.approx((200, 100, 400))
    assert quick.ratios(slow) == pytest.approx([5, 10, 4])
    assert quick.ratio(slow) == pytest.approx(5)
    assert longer.ratios(slow) == pytest.approx([1.1, 1, 1.5])


def test_a_clock_counts_what_passes_between_start_and_stop_alone():
    clock = Clock()
    with clock.on(3):
        sum(range(200_000))
    wall, cpu = clock.wall, clock.cpu
    sum(range(200_000))
    assert (clock.wall, clock.cpu, clock.items) == (wall, cpu, 3)
    assert cpu > 0
    with clock.on(2):
        pass
    assert clock.wall > wall
    assert clock.items == 5


def profiled(capsys, *options: str) -> tuple[int, dict]:
    code = main(["profile", "data", "--samples", "2", "--device", "cpu", "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def test_every_way_is_timed_and_told(capsys, few):
    code, found = profiled(capsys, "--repeats", "2", "--workers", "1", "--oracle", str(ORACLE))
    assert code == 0
    assert found["samples"] == 2
    assert found["workers"] == 1
    assert found["agreement"] == {
        "samples": 2, "pictures": 2, "spectrograms": 2, "packed": True, "largest": found["agreement"]["largest"],
    }  # fmt: skip
    beside = {name: way["beside"] for name, way in found["ways"].items()}
    one = "decoding for one method"
    assert beside == {
        "official": None, "official, training": None, "official, hard_img": None,
        "folders": "official", "folders, 1 process": "official",
        "packed": "official", "packed, 1 process": "official",
        one: None, f"decoding for {len(METHODS)} methods": one,
        "training": "official, training", "training, packed": "official, training",
        "training, packed, 1 process": "official, training",
        "hard_img": "official, hard_img", "hard_img, packed": "official, hard_img",
        "hard_img, packed, 1 process": "official, hard_img",
    }  # fmt: skip
    for way in found["ways"].values():
        assert way["ms"] >= way["ms_least"] > 0
        assert way["per_second"] == pytest.approx(1000 / way["ms"])
        assert way["bytes_per_second"] > 0
        assert (way["ratio"] is None) == (way["beside"] is None)
        assert way["ratios"] is None or len(way["ratios"]) == 2
    goals = {name: way["goal"] for name, way in found["ways"].items()}
    assert goals["folders"] == {"least": 3.0, "per_second": None, "most": None}
    assert goals["packed"]["least"] == 10.0
    assert goals[f"decoding for {len(METHODS)} methods"]["most"] == 1.15
    assert {"machine", "software", "limit", "steps"} <= found.keys()
    assert found["limit"] in found["steps"]
    assert found["steps"][found["limit"]]["of"] == "folders"


def test_without_the_official_steps_and_processes_ours_is_timed_alone(capsys):
    code, found = profiled(capsys, "--repeats", "1", "--workers", "0", "--oracle", "none")
    assert code == 0
    assert found["agreement"] is None
    assert "packed" in found["ways"]
    assert not any("official" in name or "process" in name for name in found["ways"])
    assert found["ways"]["folders"]["ratio"] is None


def test_a_split_of_one_s_own_is_cut_to_the_samples_asked_for(capsys, tiny_set):
    options = ["--split", str(tiny_set), "--workers", "0", "--oracle", str(ORACLE)]
    assert main(["profile", "data", "--samples", "2", "--repeats", "1", "--device", "cpu", *options]) == 0
    shown = capsys.readouterr().out
    assert "loading 2 samples on cpu" in shown
    assert "times as fast as official" in shown
    assert "times as long as decoding for one method" in shown
    assert "Of 2 samples 2 have the official loader's picture to the bit and 2 its log spectrogram" in shown


def test_of_a_split_those_are_loaded_that_are_there(capsys, tiny_set):
    (tiny_set.parent / "audio" / "clip_000.wav").unlink()
    code = main(["profile", "data", "--split", str(tiny_set), "--oracle", "none", "--workers", "0", "--repeats", "1"])
    assert code == 0
    assert "loading 4 samples" in capsys.readouterr().out


def test_times_of_different_work_are_not_passed_over(capsys, tmp_path, tiny_set):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(ORACLE.read_text().replace("+ 1e-7", "+ 1e-6"))
    options = ["--split", str(tiny_set), "--workers", "0", "--oracle", str(wrong), "--json"]
    assert main(["profile", "data", "--samples", "2", "--repeats", "1", "--device", "cpu", *options]) == 1
    shown = capsys.readouterr()
    assert "the official loader's tensors and ours are not the same" in shown.err
    assert json.loads(shown.out)["agreement"]["spectrograms"] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--samples", "0"], "--samples of at least 1"),
        (["--repeats", "0"], "--repeats of at least 1"),
        (["--workers", "-1"], "--workers of at least 0"),
        (["--device", "tpu"], "expected --device auto, cpu"),
        (["--data", "somewhere"], "none is named: add --split NAME"),
        (["--oracle", "nowhere.py"], "expected the official steps as a Python file at nowhere.py"),
        (["--oracle", __file__], "lacks load_sample of the official steps"),
    ],
)
def test_what_cannot_be_timed_is_refused(capsys, arguments, sentence):
    assert main(["profile", "data", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_pack_cannot_be_read_by_the_official_loader(capsys, tmp_path, tiny_set):
    pack = tmp_path / "pack"
    assert main(["data", "pack", "--split", str(tiny_set), "--out", str(pack)]) == 0
    assert main(["profile", "data", "--split", str(tiny_set), "--data", str(pack), "--oracle", "none"]) == 2
    assert "lies packed, which the official loader cannot read: name plain folders" in capsys.readouterr().err


def test_processes_are_timed_on_enough_samples_that_their_start_is_a_small_part(noise, loading_of):
    split = open_split(str(noise), Places())
    loading = loading_of(Media(split), workers=2)
    way = profiling_data._way(loading, "folders", loading.evaluated, split, processes=True)
    assert 3 * way.whole >= FED["cpu"] > 3 * (way.whole - 1)


def test_the_overview_names_what_can_be_profiled(capsys):
    assert main(["profile"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("score", "data", "evaluation"))
