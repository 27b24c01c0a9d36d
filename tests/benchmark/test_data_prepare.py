"""Pictures and sounds from videos: by time, whole or not at all, again and again, whatever is broken or killed."""

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from avbench import cli
from avbench.data import preparation, preparation_clip
from avbench.data.preparation import safe_name
from avbench.data.preparation_clip import Outcome, pcm16
from avbench.data.preparation_manifest import Manifest
from avbench.data.preparation_workers import Died, worked
from avbench.data.splits import load_split
from avbench.data.video import decode_container_audio, frames_at, timeline
from avbench.errors import AvbenchError

RATE = 16000
"""Of the sounds where the codec allows: nothing has to be resampled then."""
CODECS = {".webm": ("libvpx-vp9", "libopus", 48000), ".avi": ("mpeg4", "pcm_s16le", RATE)}


def make_video(
    path: Path, *, times: list[int] | None = None, frames: int = 12, seconds: float = 1.2, still: bool = False, gain=0.4
) -> Path:
    """Frame i is of the grey level 20 * i and begins at i / 10 s, or ``times[i]`` ms; a tone on two channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture, sound, rate = CODECS.get(path.suffix, ("libx264", "aac", RATE))
    with av.open(str(path), "w") as container:
        video = container.add_stream(picture, rate=10) if frames else None
        audio = container.add_stream(sound, rate=rate, layout="stereo") if seconds else None
        if video is not None:
            video.width, video.height, video.pix_fmt, video.bit_rate = 96, 64, "yuv420p", 4_000_000
            if times:
                video.codec_context.time_base = Fraction(1, 1000)
        for i in range(frames):
            grey = np.full((64, 96, 3), 100 if still else 20 * i, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            if times:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(video.encode(frame))
        if video is not None:
            container.mux(video.encode(None))
        if audio is not None:
            write_tone(container, audio, seconds, gain)
    return path


def write_tone(container, track, seconds: float, gain: float) -> None:
    tone = gain * np.sin(2 * np.pi * 1000 * np.arange(int(seconds * track.rate)) / track.rate)
    frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]).astype(np.float32), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = track.rate, 0
    resampler = av.AudioResampler(format=track.format, layout="stereo", rate=track.rate)
    for piece in (*resampler.resample(frame), *resampler.resample(None)):
        container.mux(track.encode(piece))
    container.mux(track.encode(None))


def number_of(path: Path) -> int:
    """Which frame of :func:`make_video` a picture is."""
    with Image.open(path) as picture:
        return round(float(np.median(np.asarray(picture))) / 20)


def prepare(videos: Path, root: Path, *given: str, workers: int = 0) -> int:
    return cli.main(
        ["data", "prepare", "--src", str(videos), "--dst", str(root), "--workers", str(workers), *map(str, given)]
    )


def manifest(root: Path) -> dict[str, dict]:
    lines = (root / "manifest.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["id"] for record in records] == sorted(record["id"] for record in records)
    return {record["id"]: record for record in records}


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four good videos, one in a folder of its own."""
    folder = tmp_path_factory.mktemp("videos")
    for name in ("one.mp4", "two.mov", "deep/three.mkv", "four.avi"):
        make_video(folder / name)
    (folder / "notes.txt").write_text("no video")
    return folder


@pytest.fixture
def copied(videos: Path, tmp_path: Path) -> Path:
    return shutil.copytree(videos, tmp_path / "videos")


@pytest.fixture(scope="module")
def webm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fifth, whose sound has to be resampled."""
    return make_video(tmp_path_factory.mktemp("webm") / "five.webm").parent


def test_every_container(copied: Path, webm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, videos = tmp_path / "a" / "root", copied
    shutil.copy(webm / "five.webm", videos)
    assert prepare(videos, root) == 0
    assert "5 made, 0 kept, 0 broken, 0 refused, 0 missing, 0 not wanted" in capsys.readouterr().out
    names = ["five", "four", "one", "three", "two"]
    assert sorted(contents(root)) == sorted(
        ["manifest.jsonl", *(f"audio/{n}.wav" for n in names), *(f"frames/{n}.jpg" for n in names)]
    )
    for name, record in manifest(root).items():
        assert number_of(root / f"frames/{name}.jpg") == 6
        info = soundfile.info(root / f"audio/{name}.wav")
        assert (info.samplerate, info.channels, info.subtype, info.frames) == (16000, 1, "PCM_16", record["samples"])
        assert 19200 <= info.frames <= 20480
        video = next(videos.rglob(f"{name}.*"))
        numbers, clipped = pcm16(decode_container_audio(video)[0])
        assert np.array_equal(soundfile.read(root / f"audio/{name}.wav", dtype="int16")[0], numbers)
        assert clipped == record["clipped"] == 0
    split = load_split(yaml_of(root, names))
    assert all(sample.image.exists() and sample.audio.exists() for sample in split.samples)


def yaml_of(root: Path, names: list[str]) -> str:
    entries = [{"file": name, "class": "tone", "bbox": [[0, 0, 0.5, 0.5]]} for name in names]
    (root / "boxes.json").write_text(json.dumps(entries))
    (root / "my.yaml").write_text("name: mine\nformat: vggss\nannotations: boxes.json\nframes: frames\naudio: audio\n")
    return str(root / "my.yaml")


def test_the_manifest(videos: Path, tmp_path: Path) -> None:
    prepare(videos, tmp_path)
    record = manifest(tmp_path)["three"]
    video = videos / "deep/three.mkv"
    assert record["source"] == "deep/three.mkv"
    assert record["source_sha256"] == hashlib.sha256(video.read_bytes()).hexdigest()
    assert (record["source_bytes"], record["source_mtime_ns"]) == (video.stat().st_size, video.stat().st_mtime_ns)
    assert [file["path"] for file in record["files"]] == ["frames/three.jpg", "audio/three.wav"]
    for file in record["files"]:
        content = (tmp_path / file["path"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert (record["fps"], record["fps_varies"], record["frames"]) == (10.0, False, 12)
    assert (record["picture_seconds"], record["asked_seconds"], record["frame_seconds"]) == (1.2, 0.6, 0.6)
    assert (record["width"], record["height"], record["still"]) == (96, 64, False)
    assert (record["source_rate"], record["source_channels"], record["rate"]) == (16000, 2, 16000)
    assert record["sound_begins"] == pytest.approx(0, abs=0.07)
    assert record["sound_seconds"] == pytest.approx(record["samples"] / 16000)
    assert record["peak"] == pytest.approx(0.4, abs=0.06)
    assert (record["silent"], record["notes"]) == (False, [])
    assert record["settings"] == {"at": None, "rate": 16000, "image": "jpg"}
    assert record["decoder"]["pyav"] == av.__version__
    assert record["decoder"]["libavcodec"] == ".".join(map(str, av.library_versions["libavcodec"]))


def test_time_rate_and_form(videos: Path, tmp_path: Path) -> None:
    assert prepare(videos, tmp_path, "--at", "0.349", "--rate", "22050", "--image", "png") == 0
    for name, record in manifest(tmp_path).items():
        video = next(videos.rglob(f"{name}.*"))
        there = frames_at(video, timeline(video), [Fraction("0.349")])[0]
        with Image.open(tmp_path / f"frames/{name}.png") as picture:
            assert np.array_equal(np.asarray(picture), np.asarray(there.image)), "without loss"
        assert (number_of(tmp_path / f"frames/{name}.png"), record["asked_seconds"]) == (3, 0.349)
        assert record["frame_seconds"] == pytest.approx(0.3)
        assert soundfile.info(tmp_path / f"audio/{name}.wav").samplerate == 22050


def test_jpegs_keep_every_colour(videos: Path, tmp_path: Path) -> None:
    prepare(videos, tmp_path)
    with Image.open(tmp_path / "frames/one.jpg") as picture:
        assert {layer[1:3] for layer in picture.layer} == {(1, 1)}, "4:4:4"
        picture.save(tmp_path / "reference.jpg", quality=95)
        with Image.open(tmp_path / "reference.jpg") as reference:
            assert picture.quantization == reference.quantization


def test_frames_go_by_time_where_the_rate_varies(tmp_path: Path) -> None:
    make_video(tmp_path / "videos/a.mp4", frames=8, times=[0, 40, 80, 120, 160, 200, 900, 1160])
    assert prepare(tmp_path / "videos", tmp_path / "root") == 0
    record = manifest(tmp_path / "root")["a"]
    assert record["fps_varies"]
    assert "the frame rate varies" in record["notes"]
    assert number_of(tmp_path / "root/frames/a.jpg") == 5, "the one shown from 0.2 to 0.9 s, not frame 4 of 8"
    assert record["frame_seconds"] == pytest.approx(0.2)


def test_what_is_worth_noting(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    make_video(folder / "still.mp4", still=True)
    make_video(folder / "silent.mp4", gain=0)
    make_video(folder / "short.mp4", seconds=0.5)
    make_video(folder / "long.webm", seconds=2)
    make_video(folder / "loud.mp4", gain=1)
    assert prepare(folder, tmp_path / "root") == 0
    notes = {name: record["notes"] for name, record in manifest(tmp_path / "root").items()}
    assert notes["still"] == ["the picture stands still"]
    assert notes["silent"] == ["the sound is silent"]
    assert notes["short"][0].startswith("the sound ends 0.6")
    assert notes["short"][0].endswith("s before the picture")
    assert notes["long"][0].startswith("the sound ends 0.8")
    assert notes["long"][0].endswith("s after the picture")
    assert re.fullmatch(r"\d+ samples were clipped", notes["loud"][0])
    assert soundfile.info(tmp_path / "root/audio/short.wav").frames == pytest.approx(8000, abs=400)


def test_sixteen_bits() -> None:
    values = np.array([0, 0.5, 1, -1, 1.5, -1.5, 0.5 / 32768, 1.5 / 32768, 2.6 / 32768], dtype=np.float32)
    numbers, clipped = pcm16(values)
    assert numbers.tolist() == [0, 16384, 32767, -32768, 32767, -32768, 0, 2, 3]
    assert (numbers.dtype, clipped) == (np.int16, 3)
    every = np.arange(-32768, 32768)
    again, lost = pcm16((every / 32768).astype(np.float32))
    assert (np.array_equal(again, every), lost) == (True, 0)


def break_things(folder: Path) -> dict[str, str]:
    """Add broken videos to a folder; returns what should be said of each."""
    make_video(folder / "mute.mp4", seconds=0)
    make_video(folder / "blind.mp4", frames=0)
    (folder / "empty.webm").write_bytes(b"")
    (folder / "page.mp4").write_bytes(b"<html>404 Not Found</html>")
    content = (folder / "one.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    content = (folder / "deep/three.mkv").read_bytes()
    (folder / "half.mkv").write_bytes(content[: len(content) // 2])
    return {
        "mute.mp4": "has no audio track",
        "blind.mp4": "has no video track",
        "empty.webm": "cannot be read as a video",
        "page.mp4": "cannot be read as a video",
        "cut.mp4": "cannot be read as a video",
        "half.mkv": "is cut off: it promises 1.",
    }


def test_broken_videos_are_listed_and_stop_nothing(copied: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    expected = break_things(copied)
    root = tmp_path / "root"
    assert prepare(copied, root, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert sorted(report["made"]) == ["four", "one", "three", "two"]
    assert {name: expected[name] in reason for name, reason in report["broken"].items()} == dict.fromkeys(
        expected, True
    )
    assert all("\n" not in reason for reason in report["broken"].values())
    assert len(contents(root)) == 9, "nothing of a broken one"
    before = contents(root)
    monkeypatch.setattr(preparation, "prepare_clip", None)
    assert prepare(copied, root, "--json") == 1
    again = json.loads(capsys.readouterr().out)
    assert again == report | {"made": {}, "kept": ["four", "one", "three", "two"]}
    assert contents(root) == before
    monkeypatch.undo()
    shutil.copy(copied / "one.mp4", copied / "empty.webm")
    assert prepare(copied, root) == 1
    assert "1 made, 4 kept, 5 broken" in capsys.readouterr().out


def test_another_decoder_tries_again(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copied / "one.mp4").write_bytes(b"")
    assert prepare(copied, tmp_path / "root") == 1
    tried = []
    monkeypatch.setattr(preparation, "DECODER", {"pyav": "99"})
    monkeypatch.setattr(preparation, "prepare_clip", lambda job: tried.append(job.name) or Outcome("died", reason="x"))
    assert prepare(copied, tmp_path / "root") == 1
    assert tried == ["one"], "what was made well stays"


def test_a_time_that_a_video_does_not_have(videos: Path, tmp_path: Path, capsys) -> None:
    assert prepare(videos, tmp_path, "--at", "3") == 1
    assert "one.mp4 is 1.20 s long and has no frame at 3 s" in capsys.readouterr().out


def test_a_second_run_does_nothing(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    prepare(copied, root)
    before = contents(root), {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    monkeypatch.setattr(preparation, "prepare_clip", None)
    assert prepare(copied, root) == 0
    assert (contents(root), {p: p.stat().st_mtime_ns for p in root.rglob("*")}) == before


def made_again(copied: Path, root: Path, capsys) -> list[str]:
    capsys.readouterr()
    assert prepare(copied, root, "--json") == 0
    return sorted(json.loads(capsys.readouterr().out)["made"])


def test_what_changed_is_made_again(copied: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "root"
    prepare(copied, root)
    first = contents(root)
    (root / "audio/one.wav").unlink()
    (root / "frames/two.jpg").write_bytes(b"short")
    assert made_again(copied, root, capsys) == ["one", "two"]
    assert contents(root) == first
    make_video(copied / "one.mp4", frames=6, seconds=0.6)
    assert made_again(copied, root, capsys) == ["one"]
    assert number_of(root / "frames/one.jpg") == 3
    assert manifest(root)["one"]["frames"] == 6


def test_other_settings_replace_what_was_made(copied: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    prepare(copied, root)
    assert prepare(copied, root, "--image", "png", "--rate", "8000") == 0
    assert not list(root.rglob("*.jpg"))
    assert len(list(root.rglob("*.png"))) == 4
    assert {record["rate"] for record in manifest(root).values()} == {8000}


def test_a_file_of_somebody_else_is_never_replaced(copied: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "root"
    (root / "frames").mkdir(parents=True)
    (root / "frames/one.jpg").write_bytes(b"mine")
    assert prepare(copied, root, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert list(report["refused"]) == ["one.mp4"]
    assert "frames/one.jpg is there already and was not made here: remove it" in report["refused"]["one.mp4"]
    assert (root / "frames/one.jpg").read_bytes() == b"mine"
    assert not (root / "audio/one.wav").exists()
    (root / "frames/one.jpg").unlink()
    assert made_again(copied, root, capsys) == ["one"]


def test_a_video_that_breaks_takes_its_files_along(copied: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    prepare(copied, root)
    (copied / "one.mp4").write_bytes(b"")
    assert prepare(copied, root) == 1
    assert not list(root.rglob("one.*"))
    assert "error" in manifest(root)["one"]
    assert len(contents(root)) == 7


def test_processes_make_the_same_bytes(copied: Path, webm: Path, tmp_path: Path) -> None:
    videos = copied
    shutil.copy(webm / "five.webm", videos)
    assert prepare(videos, tmp_path / "serial") == prepare(videos, tmp_path / "parallel", workers=2) == 0
    assert contents(tmp_path / "serial") == contents(tmp_path / "parallel")


def test_a_worker_that_is_killed(videos: Path, tmp_path: Path, capsys) -> None:
    def kill_first() -> None:
        while not multiprocessing.active_children():
            time.sleep(0.01)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    thread = threading.Thread(target=kill_first)
    thread.start()
    assert prepare(videos, tmp_path, "--json", workers=1) == 1
    thread.join()
    report = json.loads(capsys.readouterr().out)
    assert (list(report["broken"]), len(report["made"])) == (["deep/three.mkv"], 3)
    assert "the process that read it was killed by signal 9" in report["broken"]["deep/three.mkv"]
    assert made_again(videos, tmp_path, capsys) == ["three"], "it is tried again, since nothing says it was the video"


def test_a_death_costs_one_job() -> None:
    results = dict(enumerate(worked(signal.raise_signal, [0, 9, 0, 15, 0], 2)))
    assert sorted(str(result) for _, result in results.values()) == sorted(
        ["None"] * 3
        + [f"the process that read it was killed by signal {n}: free memory, or look at the file" for n in (9, 15)]
    )
    assert [result for _, result in worked(os._exit, [3], 1)] == [Died(3)]
    assert not multiprocessing.active_children()


KILLED = """
import os, signal, sys
from avbench import cli
from avbench.data import preparation_clip

written = []
def write(path, content):
    if len(written) == int(sys.argv[1]):
        path.with_name(f".{path.name}.{os.getpid()}.tmp").write_bytes(content[:100])
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(path)
    real(path, content)

real, preparation_clip.write_atomic = preparation_clip.write_atomic, write
cli.main(sys.argv[2:])
"""


def test_a_run_that_is_killed_goes_on(videos: Path, tmp_path: Path, capsys) -> None:
    root, given = tmp_path / "root", ["data", "prepare", "--src", str(videos), "--workers", "0", "--dst"]
    done = subprocess.run([sys.executable, "-c", KILLED, "3", *given, str(root)], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    there = contents(root)
    assert len([name for name in there if name.endswith(".tmp")]) == 1
    assert len(list(root.rglob("*.jpg"))) == 2
    assert len(manifest(root)) == 1
    assert len(made_again(videos, root, capsys)) == 3
    prepare(videos, tmp_path / "whole")
    assert contents(root) == contents(tmp_path / "whole")


def test_ctrl_c_leaves_everything_valid(videos: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    real, written = preparation_clip.write_atomic, []

    def interrupted(path: Path, content: bytes) -> None:
        if len(written) == 3:
            path.with_name(f".{path.name}.1.tmp").write_bytes(b"half")
            raise KeyboardInterrupt
        written.append(path)
        real(path, content)

    monkeypatch.setattr(preparation_clip, "write_atomic", interrupted)
    assert prepare(videos, tmp_path / "root") == cli.INTERRUPTED
    assert "the same command goes on from there" in capsys.readouterr().err
    assert not list((tmp_path / "root").rglob("*.tmp"))
    monkeypatch.undo()
    assert len(made_again(videos, tmp_path / "root", capsys)) == 3


def test_a_disk_that_refuses_ends_the_run(videos: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise AvbenchError(f"{path} cannot be written (No space left on device): free space")

    monkeypatch.setattr(preparation_clip, "write_atomic", full)
    assert prepare(videos, tmp_path / "root") == 1
    assert "No space left on device" in capsys.readouterr().err


def test_the_manifest_survives_a_cut_and_is_not_believed_blindly(copied: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "root"
    prepare(copied, root)
    place = root / "manifest.jsonl"
    whole = place.read_bytes()
    place.write_bytes(whole[:-40])
    assert made_again(copied, root, capsys) == ["two"]
    assert place.read_bytes() == whole
    (tmp_path / "precious.txt").write_text("keep")
    records = [json.loads(line) for line in whole.splitlines()]
    records[0]["files"] = [{"path": "../precious.txt", "bytes": 1, "sha256": ""}]
    place.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert made_again(copied, root, capsys) == ["four"]
    assert (tmp_path / "precious.txt").exists()
    place.write_bytes(b"nonsense\n" + whole)
    assert prepare(copied, root) == 1
    assert "manifest.jsonl, line 1: expected the record of a sample: delete it" in capsys.readouterr().err


def test_lines_after_a_cut_stand_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"id": "a"}\n{"id": "b", "fra')
    Manifest(tmp_path).add({"id": "c"})
    assert list(Manifest(tmp_path).records) == ["a", "c"]


def test_names_of_vggsound_become_its_own(videos: Path, tmp_path: Path) -> None:
    for name in ("-0BIyqJj9ZU_30000_40000", "abcdefghij__000007", "0d9u2CymIxc", "rq5RDUm2Hnk_1", "ä b.c"):
        shutil.copy(videos / "one.mp4", tmp_path / f"{name}.mp4")
    assert prepare(tmp_path, tmp_path / "root") == 0
    assert list(manifest(tmp_path / "root")) == [
        "-0BIyqJj9ZU_000030", "0d9u2CymIxc", "abcdefghij__000007", "rq5RDUm2Hnk_1", "ä b.c"
    ]  # fmt: skip


def test_only_the_samples_of_a_split(videos: Path, tmp_path: Path, capsys) -> None:
    for name in ("-0BIyqJj9ZU_30000_40000", "unwantedxx1_000001", "abcdefghij__7", "plain"):
        shutil.copy(videos / "one.mp4", tmp_path / f"{name}.mp4")
    set_of = yaml_of(tmp_path, ["-0BIyqJj9ZU_000030", "abcdefghij__000007", "plain", "absent"])
    assert prepare(tmp_path, tmp_path / "root", "--split", set_of, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert sorted(report["made"]) == ["-0BIyqJj9ZU_000030", "abcdefghij__000007", "plain"]
    assert (report["missing"], report["unwanted"]) == (["absent"], 1)
    assert prepare(tmp_path, tmp_path / "root", "--split", set_of) == 1
    assert "missing: absent\n0 made, 3 kept, 0 broken, 0 refused, 1 missing, 1 not wanted" in capsys.readouterr().out


def test_pictures_and_sounds_of_other_names_are_wanted(videos: Path, tmp_path: Path, capsys) -> None:
    shutil.copy(videos / "one.mp4", tmp_path)
    (tmp_path / "mine.csv").write_text("id,image,audio,sounding\na,one,other,false\n")
    assert prepare(tmp_path, tmp_path / "root", "--split", str(tmp_path / "mine.csv"), "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (list(report["made"]), report["missing"]) == (["one"], ["other"])


def test_names_that_are_refused(videos: Path, tmp_path: Path, capsys) -> None:
    names = [".hidden.mp4", "back\\slash.mp4", "new\nline.mp4", "x" * 201 + ".mp4", "same.mp4", "deep/same.webm"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(videos / "one.mp4", tmp_path / name)
    shutil.copy(videos / "one.mp4", os.fsencode(tmp_path) + b"/latin\xe9.mp4")
    shutil.copy(videos / "one.mp4", tmp_path / "good.mp4")
    assert prepare(tmp_path, tmp_path / "root", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert list(report["made"]) == ["good"]
    assert {name: reason.partition(":")[0] for name, reason in report["refused"].items()} == dict.fromkeys(
        [".hidden.mp4", "back\\slash.mp4", "new?line.mp4", "x" * 201 + ".mp4", "latin?.mp4"],
        "its name cannot be that of a sample",
    ) | dict.fromkeys(["deep/same.webm", "same.mp4"], "2 videos are of the sample same")


@pytest.mark.parametrize(
    ("name", "safe"), [("a", True), ("-x_1 é", True), ("..", False), ("a/b", False), ("\0", False)]
)
def test_what_is_a_safe_name(name: str, safe: bool) -> None:
    assert safe_name(name) is safe


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--at", "end"], "expected --at middle or a time in seconds such as 3.5, got 'end'"),
        (["--at", "-1"], "expected --at middle or a time"),
        (["--at", "nan"], "expected --at middle or a time"),
        (["--rate", "0"], "expected --rate of at least 1, got 0"),
        (["--image", "gif"], "expected --image jpg or png, got 'gif'"),
        (["--workers", "-1"], "expected --workers of at least 0, got -1"),
        (["--split", "vgss"], "there is no split called 'vgss': did you mean vggss"),
        (["--src", "none"], "expected a folder of videos at none, found none: check --src"),
        (["--src", "."], "there is no video in . or below: expected files that end in .mp4"),
    ],
)
def test_requests_that_cannot_be_met(videos: Path, tmp_path: Path, capsys, monkeypatch, given, message) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepare(videos, tmp_path / "root", *given) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_real_clips(shared: Path, tmp_path: Path) -> None:
    clips = shared / "media/vggsound_clips"
    for name in ("1aDnyPubxdY_118000_128000.mp4", "6zlMP_kQ_-w_30000_40000.mp4", "3qesirWAGt4_20000_30000.mp4"):
        (tmp_path / name).symlink_to(clips / name)
    assert prepare(tmp_path, tmp_path / "root") == 0
    records = manifest(tmp_path / "root")
    assert list(records) == ["1aDnyPubxdY_000118", "3qesirWAGt4_000020", "6zlMP_kQ_-w_000030"]
    assert {record["frame_seconds"] for record in records.values()} == {5.0}
    assert [record["fps"] for record in records.values()] == [30.0, 25.0, 30.0]
    assert not any(record["still"] or record["silent"] for record in records.values())
    listed = {entry["file"] for entry in json.loads((clips / "annotations.json").read_text())}
    assert set(records) <= listed
