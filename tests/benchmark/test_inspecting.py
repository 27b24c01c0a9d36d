"""Files that the loader could not read are known by their headers and ends, and no others are called broken."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from avbench.data.inspecting import problem, problems


def picture(path: Path) -> Path:
    noise = np.random.default_rng(len(path.name)).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format="PNG" if path.suffix.lower() == ".png" else "JPEG")
    return path


def sound(path: Path) -> Path:
    noise = np.random.default_rng(len(path.name)).uniform(-0.5, 0.5, 1600)
    soundfile.write(path, noise, 16_000, format=path.suffix[1:].upper())
    return path


def video(path: Path) -> Path:
    with av.open(path, "w") as container:
        track = container.add_stream("mpeg4", rate=25)
        track.width, track.height, track.pix_fmt = 32, 24, "yuv420p"
        voice = container.add_stream("aac", rate=16_000)
        frame = av.VideoFrame.from_ndarray(np.zeros((24, 32, 3), dtype=np.uint8), format="rgb24")
        container.mux([*track.encode(frame), *track.encode(None)])
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        samples.rate = 16_000
        container.mux([*voice.encode(samples), *voice.encode(None)])
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".wav", ".flac"])
@pytest.mark.parametrize("damage", ["empty", "half", "head", "text", "end"])
def test_damage_that_headers_and_ends_show(tmp_path: Path, suffix: str, damage: str) -> None:
    is_sound = suffix in {".wav", ".flac"}
    place = (sound if is_sound else picture)(tmp_path / f"a{suffix}")
    kind = "sound" if is_sound else "picture"
    whole = place.read_bytes()
    assert problem(kind, place) is None
    place.write_bytes(whole + b"\0" * 9)
    assert problem(kind, place) is None
    cut = {"empty": b"", "half": whole[: len(whole) // 2], "head": whole[:20], "text": b"<html>", "end": whole[:-3]}
    place.write_bytes(cut[damage])
    found = problem(kind, place)
    assert (found is None) == (problem(kind, place, decode=True) is None)
    if (suffix, damage) not in {(".png", "end")}:
        assert found
        assert str(place) not in found


@pytest.mark.parametrize("kind", ["picture", "sound", "video", "mask"])
def test_pipes_and_folders_are_no_files(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder", "nothing"):
        assert problem(kind, tmp_path / name)


def test_a_flac_that_ends_early_is_seen_by_going_to_its_end(tmp_path: Path) -> None:
    place = tmp_path / "a.flac"
    soundfile.write(place, np.random.default_rng(0).uniform(-0.5, 0.5, 160_000), 16_000)
    place.write_bytes(place.read_bytes()[:-100_000])
    assert soundfile.info(place).frames == 160_000
    assert "cannot be read as sound" in str(problem("sound", place))


def test_a_truncated_video(tmp_path: Path) -> None:
    place = video(tmp_path / "a.mp4")
    assert problem("video", place) is None
    place.write_bytes(place.read_bytes()[:-200])
    assert "cannot be opened" in str(problem("video", place))


def test_progress_counts_every_file(tmp_path: Path) -> None:
    files = [("sound", sound(tmp_path / f"{n}.wav")) for n in range(5)]
    steps: list[int] = []
    assert problems(files, progress=steps.append) == [None] * 5
    assert steps == [1] * 5
