"""The demo world on disk: layout, hashes, resuming, damage."""

import hashlib
import json
import subprocess
import sys
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avbench.data import demo_portions
from avbench.data.demo import content_sha256, demo_root, demo_splits, ensure_demo, ensure_split
from avbench.data.demo_sheet import contact_sheet
from avbench.data.demo_world import DemoSplit, draw, read_split
from avbench.errors import AvbenchError, UsageError

N = 26  # one portion and a bit of a second


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> DemoSplit:
    """A small split with its right hash, found by letting a drawing with a wrong one be refused."""
    split = replace(read_split("demo-extended"), name="tiny", n=N, sha256="?")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_HOME", str(tmp_path_factory.mktemp("tiny")))
        with pytest.raises(AvbenchError, match="this machine drew"):
            ensure_split(split, workers=1)
        assert not (demo_root() / "tiny").exists()
        return replace(split, sha256=content_sha256(demo_root() / ".tiny-?.part"))


@pytest.fixture
def numbers(monkeypatch) -> list[int]:
    """The numbers of the samples that are drawn in this process from now on."""
    seen: list[int] = []

    def counted(split, number):
        seen.append(number)
        return draw(split, number)

    monkeypatch.setattr(demo_portions, "draw", counted)
    return seen


def test_layout_is_the_official_one(home, tiny):
    folder = ensure_split(tiny, workers=1)
    assert folder == home / "demo-v1" / "tiny"
    entries = json.loads((folder / "annotations.json").read_text())
    assert len(entries) == N
    for entry in entries:
        with Image.open(folder / "frames" / f"{entry.get('image', entry['file'])}.png") as frame:
            assert (frame.mode, frame.size) == ("RGB", (240, 180))
        with Image.open(folder / "masks" / f"{entry['file']}.png") as mask:
            assert (mask.mode, mask.size) == ("1", (240, 180))
            assert mask.getbbox() is None or entry["sounding"]
        with wave.open(str(folder / "audio" / f"{entry['file']}.wav")) as sound:
            assert sound.getparams()[:4] == (1, 2, 16_000, 80_000)


def test_files_hold_what_was_drawn(home, tiny):
    folder, drawn = ensure_split(tiny, workers=1), draw(tiny, 3)
    with Image.open(folder / "frames" / f"{drawn.image}.png") as frame:
        assert np.array_equal(np.asarray(frame), drawn.frame)
    with Image.open(folder / "masks" / f"{drawn.id}.png") as mask:
        assert np.array_equal(np.asarray(mask), drawn.mask)
    with wave.open(str(folder / "audio" / f"{drawn.id}.wav")) as sound:
        assert np.array_equal(np.frombuffer(sound.readframes(80_000), dtype="<i2"), drawn.sound)
    assert json.loads((folder / "annotations.json").read_text())[3] == drawn.entry


def test_sums_list_every_file(home, tiny):
    folder = ensure_split(tiny, workers=1)
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    listed = {line[66:]: line[:64] for line in lines}
    found = {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.rglob("*.*")}
    found.pop("verified.json")
    assert listed == found
    assert list(listed) == sorted(listed)


def test_progress_counts_up_to_the_total(home, tiny):
    calls = []
    ensure_split(tiny, workers=1, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(20, N), (N, N)]


def test_second_call_draws_nothing(home, tiny, numbers):
    ensure_split(tiny, workers=1)
    assert sorted(numbers) == list(range(N))
    numbers.clear()
    ensure_split(tiny, workers=1)
    assert numbers == []


def test_several_processes_draw_the_same(home, tiny, numbers):
    calls = []
    folder = ensure_split(tiny, workers=2, progress=lambda done, total: calls.append((done, total)))
    assert content_sha256(folder) == tiny.sha256
    assert numbers == []
    assert calls[-1] == (N, N)


def test_a_process_that_dies_is_reported(home, tiny, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(AvbenchError, match="ended early"):
        ensure_split(tiny, workers=2)


def test_two_callers_draw_once(home, tiny, numbers):
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: ensure_split(tiny, workers=1), range(2)))
    assert folders[0] == folders[1]
    assert len(numbers) == N


def _interrupted(tiny, monkeypatch, at):
    def stopping(split, number):
        if number == at:
            raise KeyboardInterrupt
        return draw(split, number)

    with monkeypatch.context() as patch:
        patch.setattr(demo_portions, "draw", stopping)
        with pytest.raises(KeyboardInterrupt):
            ensure_split(tiny, workers=1)


def test_interrupted_drawing_goes_on(home, tiny, monkeypatch, numbers):
    _interrupted(tiny, monkeypatch, 23)
    assert not (demo_root() / "tiny").exists()
    folder = ensure_split(tiny, workers=1)
    assert numbers == list(range(20, N))
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["SHA256SUMS", "annotations.json", "audio", "frames", "masks", "verified.json"]
    )


def test_interrupted_drawing_trusts_no_torn_file(home, tiny, monkeypatch, numbers):
    _interrupted(tiny, monkeypatch, 23)
    torn = next((demo_root() / f".tiny-{tiny.sha256[:12]}.part" / "audio").iterdir())
    torn.write_bytes(torn.read_bytes()[:1000])
    ensure_split(tiny, workers=1)
    assert numbers == list(range(N))


@pytest.mark.parametrize("name", ["frames/demo_00001.png", "audio/demo_00001.wav", "annotations.json", "SHA256SUMS"])
def test_changed_file_is_refused(home, tiny, name):
    path = ensure_split(tiny, workers=1) / name
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(AvbenchError, match=r"tiny should .*: delete that folder, and it will be drawn again"):
        ensure_split(tiny, workers=1)


def test_missing_file_is_refused_by_name(home, tiny):
    (ensure_split(tiny, workers=1) / "masks" / "demo_00002.png").unlink()
    with pytest.raises(AvbenchError, match=r"masks/demo_00002\.png .* missing or was changed"):
        ensure_split(tiny, workers=1)


def test_missing_folder_is_refused(home, tiny):
    folder = ensure_split(tiny, workers=1)
    (folder / "audio").rename(home / "elsewhere")
    with pytest.raises(AvbenchError, match=r"audio/demo_00000\.wav"):
        ensure_split(tiny, workers=1)


def test_damaged_stamp_means_a_new_check(home, tiny, numbers):
    folder = ensure_split(tiny, workers=1)
    (folder / "verified.json").write_text("{")
    ensure_split(tiny, workers=1)
    assert json.loads((folder / "verified.json").read_text())["sha256"] == tiny.sha256
    assert len(numbers) == N


def test_stamp_of_another_hash_does_not_count(home, tiny):
    ensure_split(tiny, workers=1)
    with pytest.raises(AvbenchError, match="SHA256SUMS with the hash 000000000000"):
        ensure_split(replace(tiny, sha256="0" * 64), workers=1)


def test_unusable_home_is_one_sentence(tmp_path, monkeypatch, tiny):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path / "file"))
    with pytest.raises(AvbenchError, match="free space there or set AVBENCH_HOME"):
        ensure_split(tiny, workers=1)


def test_root_without_a_setting_lies_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("AVBENCH_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert demo_root() == tmp_path / ".cache" / "avbench" / "demo-v1"


def test_unknown_split_names_the_closest(home):
    with pytest.raises(UsageError, match="did you mean demo-duet"):
        ensure_demo("demo-duett")


def test_pinned_hash_is_what_is_drawn_here(home):
    folder = ensure_demo("demo-interactive")
    assert content_sha256(folder) == read_split("demo-interactive").sha256


def test_definitions_are_complete():
    assert set(demo_splits()) == {
        "demo", "demo-train", "demo-val", "demo-extended", "demo-duet", "demo-interactive",
        "demo-heard-train", "demo-heard", "demo-unheard",
    }  # fmt: skip
    splits = [read_split(name) for name in demo_splits()]
    assert [split.name for split in splits] == list(demo_splits())
    assert all(abs(sum(split.shares.values()) - 1) < 1e-9 for split in splits)
    seeds = [split.seed for split in splits if split.name != "demo-extended"]
    assert len(set(seeds)) == len(seeds)
    assert read_split("demo-extended").seed == read_split("demo").seed
    assert len({split.sha256 for split in splits}) == len(splits)


def test_torch_is_not_imported():
    code = "import avbench.data.demo, avbench.data.demo_sheet, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_contact_sheet_shows_the_boxes(home, tmp_path, monkeypatch, tiny):
    monkeypatch.setattr("avbench.data.demo_sheet.ensure_demo", lambda name: ensure_split(tiny, workers=1))
    contact_sheet("tiny", tmp_path / "sheet.png", n=8)
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet).reshape(-1, 3)
        assert sheet.size == (6 * 246 + 6, 2 * (180 + 58 + 6) + 6)
    for colour in ((40, 220, 60), (235, 50, 40)):
        assert (pixels == colour).all(axis=1).sum() > 1000
