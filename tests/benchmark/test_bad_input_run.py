"""Runs and trainings on sets with broken media: what ends them, what is kept, what can be forgiven."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from avbench.cli import main
from avbench.data.decoding import decode_audio, decode_image, decode_image_short_side
from avbench.data.layouts import index_media
from avbench.data.packing import PackRequest, pack_split
from avbench.data.packing_shard import PackOptions
from avbench.data.packs import verify_pack
from avbench.data.splits import load_split
from avbench.errors import AvbenchError

N = 270
"""Samples: a part file, and the beginning of a second."""

Say = tuple[int, str]
"""Exit code and last line of what is said."""


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """The YAML file of a set whose samples are links to one picture and one sound."""
    root = tmp_path / "links"
    for folder in ("frames", "audio"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(tmp_path / "picture.png")
    soundfile.write(tmp_path / "sound.wav", rng.uniform(-0.5, 0.5, 4000), 16_000)
    entries = []
    for number in range(N):
        os.link(tmp_path / "picture.png", root / f"frames/clip_{number:03d}.png")
        os.link(tmp_path / "sound.wav", root / f"audio/clip_{number:03d}.wav")
        entries.append({"file": f"clip_{number:03d}", "class": "x", "bbox": [[0.1, 0.1, 0.6, 0.9]]})
    (root / "boxes.json").write_text(json.dumps(entries))
    (root / "links.yaml").write_text(
        "name: links\nformat: vggss\nannotations: boxes.json\nframes: frames\naudio: audio\n"
    )
    return root / "links.yaml"


def exchange(place: Path, content: bytes) -> None:
    """Another file in the place of a link."""
    place.unlink()
    place.write_bytes(content)


@pytest.fixture
def run(plugin_file, links, tmp_path, capsys) -> Callable[..., Say]:
    command = [
        "run",
        "--method",
        f"{plugin_file}:Tiny",
        "--controls=false",
        "--split",
        str(links),
        "--pictures",
        "false",
    ]

    def run(*options: str) -> Say:
        code = main([*command, "--runs", str(tmp_path / "runs"), "--json", *options])
        return code, capsys.readouterr().err.splitlines()[-1]

    return run


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_ends_at_a_broken_file_and_keeps_what_is_finished(run, links, tmp_path, workers) -> None:
    broken = links.parent / "audio/clip_260.wav"
    whole = broken.read_bytes()
    exchange(broken, whole[:1000])
    sentence = f"avbench: {broken} is cut off: its header promises {len(whole)} bytes, there are 1000; fetch it again"
    assert run("--workers", workers) == (1, sentence)
    (finished,) = (tmp_path / "runs").rglob("part-*.safetensors")
    written = finished.stat().st_mtime_ns
    assert run("--workers", workers, "--allow-missing") == (1, sentence), "a broken file is not absent"
    assert finished.stat().st_mtime_ns == written
    broken.write_bytes(whole)
    assert run("--workers", workers)[0] == 0


def test_absent_files_can_be_forgiven_and_broken_ones_cannot(run, links) -> None:
    (links.parent / "audio/clip_005.wav").unlink()
    exchange(links.parent / "frames/clip_006.png", b"<html>404</html>")
    code, said = run()
    assert (code, "1 of 270 samples of links miss media" in said) == (1, True)
    code, said = run("--allow-missing")
    assert (code, "frames/clip_006.png cannot be read as a picture" in said) == (1, True)
    (links.parent / "frames/clip_006.png").unlink()
    assert run("--allow-missing")[0] == 0


def test_what_is_no_file_counts_as_absent(run, links, tmp_path) -> None:
    places = [links.parent / f"frames/clip_{number:03d}.png" for number in range(6)]
    for place in places:
        place.unlink()
    places[0].mkdir()
    os.mkfifo(places[1])
    for place, target in zip(places[2:], ("nothing", places[2].name, places[3].name, "/dev/zero"), strict=True):
        place.symlink_to(target)
    code, said = run()
    assert (code, "6 of 270 samples of links miss media" in said) == (1, True)
    assert run("--allow-missing")[0] == 0


@pytest.fixture
def train(trainable_plugin, links, tmp_path, capsys) -> Callable[..., tuple[int, list[str]]]:
    """Trains a method on the set for an epoch; its exit code and the lines it says."""
    command = ["train", "--method", f"{trainable_plugin}:Tiny", "--split", str(links), "--epochs", "1"]

    def train(*options: str) -> tuple[int, list[str]]:
        code = main([*command, "--out", str(tmp_path / "out"), *options])
        return code, capsys.readouterr().err.splitlines()

    return train


def logged(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_training_goes_on_without_what_is_broken_and_says_so(train, links, tmp_path, workers) -> None:
    exchange(links.parent / "audio/clip_111.wav", b"")
    (links.parent / "frames/clip_222.png").unlink()
    code, said = train("--workers", workers)
    assert code == 0
    log = tmp_path / "out/log.jsonl"
    assert f"2 of 270 samples could not be decoded and were left out: {log} names them" in said
    rows = logged(tmp_path / "out")
    broken = [row for row in rows if "broken" in row]
    assert [sorted(row) for row in broken] == [["broken", "epoch", "reason", "step"]] * len(broken)
    assert {row["broken"] for row in broken} == {"clip_111", "clip_222"}
    assert {row["reason"] for row in broken if row["broken"] == "clip_111"} == {
        f"{links.parent / 'audio/clip_111.wav'} is empty: expected a wav or flac file, fetch it again"
    }
    steps = [row["step"] for row in rows if "lr" in row]
    assert steps == list(range(1, len(steps) + 1))
    assert (tmp_path / "out/curve.png").is_file()


def test_a_training_fails_where_more_than_a_hundredth_is_broken(train, links, tmp_path) -> None:
    for number in (7, 8, 9):
        exchange(links.parent / f"audio/clip_{number:03d}.wav", b"")
    code, said = train()
    assert code == 1
    assert "avbench: 3 of 270 samples of links cannot be decoded, more than 1% (clip_00" in said[-1]
    assert said[-1].endswith(
        f"mend {links.parent / 'audio'} and {links.parent / 'frames'}, or take these samples off the list"
    )
    assert not (tmp_path / "out/config.json").exists()


@pytest.mark.parametrize("purpose", ["evaluation", "training"])
def test_a_pack_with_any_damage_is_refused_or_whole(tiny_set, tmp_path, purpose) -> None:
    """Whatever is cut off, flipped or overwritten in any of its files; reading all of it finds every change."""
    split = load_split(str(tiny_set))
    pack_split(split, tmp_path / "pack", request=PackRequest(PackOptions(purpose), shard_size=2))
    decode = decode_image if purpose == "evaluation" else decode_image_short_side
    rng, refused = np.random.default_rng(4), 0
    for _ in range(40):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(tmp_path / "pack", tmp_path / "copy")
        spoiled = rng.choice(sorted(p for p in (tmp_path / "copy").rglob("*") if p.is_file()))
        spoiled.write_bytes(damaged(spoiled.read_bytes(), rng))
        try:
            media = index_media(tmp_path / "copy")
            for sample in split.samples:
                assert decode(media.image(sample.id)).dtype == np.uint8
                assert np.isfinite(decode_audio(media.sound(sample.id))[0]).all()
            assert verify_pack(tmp_path / "copy") or spoiled.name == "pack.json"
        except AvbenchError as problem:
            refused += 1
            text = str(problem)
        else:
            continue
        assert text.isprintable()
        assert str(tmp_path / "copy") in text
    assert refused > 10


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    place, kind = int(rng.integers(len(content))), rng.integers(3)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :]
    return rng.bytes(len(content))
