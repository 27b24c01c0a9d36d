"""``avbench data pack``: the same bytes whoever packs, nothing half there, and going on after an interruption."""

import errno
import hashlib
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from avbench.cli import main
from avbench.data import packing_shard, shards
from avbench.data.layouts import index_media
from avbench.data.packing import BrokenSamplesError, PackRequest, pack_split
from avbench.data.packing_shard import PackOptions
from avbench.data.packs import open_pack, verify_pack
from avbench.data.splits import Split, load_split
from avbench.errors import AvbenchError, UsageError

N = 5


def pack(split: Split, out: Path, **request: Any):
    return pack_split(split, out, request=PackRequest(shard_size=2, **request))


def contents(root: Path) -> dict[str, str]:
    return {
        str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in root.rglob("*") if f.is_file()
    }


@pytest.fixture
def split(tiny_set: Path) -> Split:
    return load_split(str(tiny_set))


def break_media(tiny_set: Path) -> None:
    """The second picture is cut off, the fourth sound is none."""
    picture = tiny_set.parent / "frames/clip_001.png"
    picture.write_bytes(picture.read_bytes()[:200])
    (tiny_set.parent / "audio/clip_003.wav").write_bytes(b"no sound")


@pytest.mark.parametrize("purpose", ["evaluation", "training"])
@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")  # there may be two cores
def test_the_same_bytes_whatever_the_number_of_workers(split, tmp_path, purpose) -> None:
    for workers in (0, 1, 3):
        pack(split, tmp_path / str(workers), options=PackOptions(purpose, audio_rate=22_050), workers=workers)
    once, *others = (contents(tmp_path / str(workers)) for workers in (0, 1, 3))
    assert sorted(once) == ["index.parquet", "pack.json", *(f"shard-00000{i}.tar" for i in range(3))]
    assert others == [once, once]


def test_the_bytes_know_no_time_and_no_place(split, tiny_set, tmp_path) -> None:
    pack(split, tmp_path / "one")
    for file in tiny_set.parent.rglob("*.*"):
        os.utime(file, (0, 0))
    tiny_set.parent.rename(tmp_path / "moved")
    pack(load_split(str(tmp_path / "moved/tiny.yaml")), tmp_path / "two")
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one.pop("pack.json") != two.pop("pack.json"), "the plan knows the times of the files"
    assert one == two


def killed(action) -> None:
    """Run ``action`` in a process of its own, which does not survive it."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def test_it_goes_on_after_a_kill(split, tmp_path, monkeypatch) -> None:
    add, members = shards.ShardWriter.add, []

    def dying(self, name, content):
        members.append(name)
        if len(members) == 9:  # within the second shard
            self._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return add(self, name, content)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(shards.ShardWriter, "add", dying)
        killed(lambda: pack(split, out))
    left = sorted(file.name for file in out.iterdir())
    assert left[1:] == ["shard-000000.json", "shard-000000.tar"]
    assert left[0].startswith(".shard-000001.tar.")
    with pytest.raises(AvbenchError, match=r"a pack that is unfinished, without pack\.json: run avbench data pack"):
        index_media(out)
    before = (out / "shard-000000.tar").stat().st_mtime_ns
    result = pack(split, out)
    assert result.kept == 1
    assert (out / "shard-000000.tar").stat().st_mtime_ns == before
    pack(split, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["other bytes", "cut off", "sidecar cut off", "sidecar lies", "other media"])
def test_a_shard_is_kept_only_where_it_is_what_was_noted(split, tiny_set, tmp_path, damage) -> None:
    out = tmp_path / "out"

    def interrupted(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_split(split, out, request=PackRequest(shard_size=2), advance=interrupted)
    shard, sidecar = out / "shard-000000.tar", out / "shard-000000.json"
    content = shard.read_bytes()
    if damage == "other bytes":
        shard.write_bytes(content[:600] + b"?" + content[601:])
    elif damage == "cut off":
        shard.write_bytes(content[:600])
    elif damage == "sidecar cut off":
        sidecar.write_bytes(sidecar.read_bytes()[:100])
    elif damage == "sidecar lies":
        sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "plan": "0" * 64}))
    else:
        os.utime(tiny_set.parent / "frames/clip_000.png", (0, 0))
    assert pack(split, out).kept == 0
    assert verify_pack(out) == []


def test_a_finished_pack_is_left_alone(split, tmp_path) -> None:
    first = pack(split, tmp_path / "out")
    before = contents(tmp_path / "out")
    again = pack(split, tmp_path / "out", workers=2)
    assert (first.kept, again.kept) == (0, 3)
    assert again.manifest == first.manifest
    assert contents(tmp_path / "out") == before
    with pytest.raises(UsageError, match=r"holds a finished pack of tiny for evaluation, made from other "):
        pack(split, tmp_path / "out", options=PackOptions("training"))
    assert contents(tmp_path / "out") == before


def test_a_folder_of_something_else_is_refused(split, tmp_path) -> None:
    (tmp_path / "thesis.doc").write_text("dear")
    with pytest.raises(UsageError, match=r"holds thesis\.doc: name a folder that is new, empty, or an unfinished pack"):
        pack(split, tmp_path)
    with pytest.raises(UsageError, match="cannot be a folder"):
        pack(split, tmp_path / "thesis.doc/out")
    assert (tmp_path / "thesis.doc").read_text() == "dear"


class Full:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, content: bytes) -> int:
        self.room -= len(content)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self.file.write(content))


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half(split, tmp_path, monkeypatch) -> None:
    out, enter = tmp_path / "out", shards.ShardWriter.__enter__

    def fuller(self):
        enter(self)
        self._file = Full(self._file, 10**6 if self.path.name == "shard-000000.tar" else 200_000)
        return self

    with monkeypatch.context() as patch:
        patch.setattr(shards.ShardWriter, "__enter__", fuller)
        with pytest.raises(AvbenchError, match=r"shard-000001\.tar cannot be written \(No space left on device"):
            pack(split, out)
    assert sorted(file.name for file in out.iterdir()) == ["shard-000000.json", "shard-000000.tar"]
    assert pack(split, out).kept == 1
    assert verify_pack(out) == []


def test_a_disk_that_gives_back_other_bytes_is_noticed(split, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(packing_shard, "file_sha256", lambda path: "0" * 64)
    with pytest.raises(AvbenchError, match=r"shard-000000\.tar holds other bytes than were written to it"):
        pack(split, tmp_path / "out")


@pytest.mark.parametrize("workers", [0, 2])
def test_every_broken_sample_is_named_and_the_rest_is_kept(split, tiny_set, tmp_path, workers) -> None:
    break_media(tiny_set)
    out = tmp_path / "out"
    with pytest.raises(BrokenSamplesError, match=r"2 of 5 samples of tiny cannot be decoded, clip_001 the f") as caught:
        pack(split, out, workers=workers)
    assert [name for name, _ in caught.value.broken] == ["clip_001", "clip_003"]
    assert "clip_001.png cannot be read as a picture" in caught.value.broken[0][1]
    assert sorted(file.name for file in out.iterdir()) == ["shard-000002.json", "shard-000002.tar"]


def test_broken_samples_are_left_out_on_request_and_recorded(split, tiny_set, tmp_path) -> None:
    break_media(tiny_set)
    out = tmp_path / "out"
    made = pack(split, out, allow_missing=True).manifest
    assert (made.samples, made.split_n, [name for name, _ in made.left_out]) == (3, 5, ["clip_001", "clip_003"])
    index = open_pack(out)
    assert index.manifest == made
    assert [m.name for m in shards.members(out / "shard-000000.tar")] == [
        f"000000000.{end}" for end in ("image.npy", "audio.npy", "json")
    ]
    for name, there in (("clip_000", True), ("clip_001", False), ("clip_004", True)):
        assert isinstance(index.image(name), Path) is not there
    assert verify_pack(out) == []


def test_media_that_are_missing_stop_it_at_once(split, tiny_set, tmp_path) -> None:
    (tiny_set.parent / "audio/clip_002.wav").unlink()
    with pytest.raises(AvbenchError, match=r"1 of 5 samples of tiny miss media .* \(clip_002\)"):
        pack(split, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    made = pack(split, tmp_path / "out", allow_missing=True).manifest
    assert [name for name, _ in made.left_out] == ["clip_002"]


def test_a_pack_is_not_packed_again(split, tiny_set, tmp_path) -> None:
    pack(split, tmp_path / "one")
    with pytest.raises(UsageError, match=r"clip_000 lies in a pack already, .*: pack from plain folders"):
        pack(load_split(str(tiny_set), data=tmp_path / "one"), tmp_path / "two")


@pytest.mark.parametrize("name", ["../clip_000", "/etc/passwd", "a\\b", "..", ""])
def test_names_that_lead_elsewhere_are_refused_before_anything_is_written(split, tmp_path, name) -> None:
    first, *others = split.samples
    named = replace(first, names=first.names._replace(mask=name))
    with pytest.raises(UsageError, match=r"clip_000 has media called .*, which is no plain file name"):
        pack(replace(split, samples=(named, *others)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_annotations_by_sample_come_along(split, tiny_set, tmp_path) -> None:
    folder = tiny_set.parent / "Annotations"
    folder.mkdir()
    for name in ("clip_001", "stranger"):
        (folder / f"{name}.xml").write_text(f"<{name}/>")
    media = index_media(tiny_set.parent)
    pack_split(split, tmp_path / "out", request=PackRequest(), media=media)
    index = open_pack(tmp_path / "out")
    assert index.annotation("clip_001").read_text() == "<clip_001/>"
    assert index.annotation("stranger") is None
    assert verify_pack(tmp_path / "out") == []
    (tmp_path / "out/Annotations/clip_001.xml").write_text("<clip_002/>")
    assert "clip_001.xml is not the file that was packed" in verify_pack(tmp_path / "out")[0]


def test_loud_samples_end_at_sixteen_bits_in_training(tmp_path, split, tiny_set) -> None:
    soundfile.write(tiny_set.parent / "audio/clip_000.wav", np.array([2, -2, 0.5] * 400), 16_000, subtype="FLOAT")
    pack(split, tmp_path / "out", options=PackOptions("training", audio="int16"))
    samples = packing_shard.decode_audio(open_pack(tmp_path / "out").sound("clip_000"))[0]
    np.testing.assert_array_equal(samples[:3], np.float32([32767 / 32768, -1, 0.5]))


def test_a_lower_quality_takes_less_room(split, tmp_path) -> None:
    sizes = []
    for quality in (30, 95):
        pack(split, tmp_path / str(quality), options=PackOptions("training", jpeg_quality=quality))
        sizes.append(open_pack(tmp_path / str(quality)).image("clip_000").size)
    assert sizes[0] < sizes[1] / 2


def run_json(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, Any]:
    code = main([str(argument) for argument in (*arguments, "--json")])
    return code, json.loads(capsys.readouterr().out)


def test_the_command_says_what_it_packed(capsys, tiny_set, tmp_path) -> None:
    out = tmp_path / "deep/pack"
    arguments = ("data", "pack", "--split", tiny_set, "--out", out, "--shard-size", 2)
    code, made = run_json(capsys, *arguments)
    assert code == 0
    assert (made["pack"], made["samples"], made["split"], made["kept"]) == (str(out), 5, "tiny", 0)
    assert made["bytes"] == sum(file["size"] for file in (*made["shards"], made["index"]))
    assert len(made["shards"]) == 3
    assert run_json(capsys, *arguments)[1] == {**made, "kept": 3}
    assert main([str(a) for a in arguments]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "5 of 5 samples of tiny for evaluation in 3 shards (3 of them finished before)" in said.err


def test_the_command_names_every_broken_sample(capsys, tiny_set, tmp_path) -> None:
    break_media(tiny_set)
    arguments = ["data", "pack", "--split", str(tiny_set), "--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "clip_001: " in said
    assert "clip_003: " in said
    assert "2 of 5 samples of tiny cannot be decoded" in said
    code, made = run_json(capsys, *arguments, "--allow-missing")
    assert code == 0
    assert [name for name, _ in made["left_out"]] == ["clip_001", "clip_003"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--for", "fun", "expected --for evaluation or training, got 'fun'"),
        ("--audio", "mp3", "expected --audio flac or int16, got 'mp3'"),
        ("--audio-rate", "fast", "expected --audio-rate native or a rate in Hz such as 16000, got 'fast'"),
        ("--audio-rate", "0", "expected --audio-rate native or a rate in Hz"),
        ("--jpeg-quality", "0", "expected --jpeg-quality of 1 to 100, got 0"),
        ("--shard-size", "0", "expected --shard-size of at least 1, got 0"),
        ("--workers", "-1", "expected --workers of at least 0, got -1"),
        ("--out", "", "expected --out DIR, got ''"),
        ("--split", "vgss", "there is no split called 'vgss'"),
    ],
)
def test_bad_requests(capsys, tiny_set, tmp_path, option, value, message) -> None:
    arguments = {"--split": str(tiny_set), "--out": str(tmp_path / "out"), option: value}
    assert main(["data", "pack", *(f"{key}={given}" for key, given in arguments.items())]) == 2
    assert message in capsys.readouterr().err


def test_a_run_on_a_pack_gives_the_same_records(capsys, tiny_set, plugin_file, tmp_path) -> None:
    assert main(["data", "pack", "--split", str(tiny_set), "--out", str(tmp_path / "pack")]) == 0
    rows = []
    for name, data in (("plain", ()), ("packed", ("--data", tmp_path / "pack"))):
        wanted = ("run", "--method", f"{plugin_file}:Tiny", "--split", tiny_set, "--pictures", "false")
        code, found = run_json(capsys, *wanted, "--runs", tmp_path / name, *data)
        assert code == 0
        rows.append([{key: row[key] for key in ("method", "variant", "n_scored", "metrics")} for row in found])
    assert rows[0] == rows[1]
    files = [sorted((tmp_path / name).rglob("*.parquet"), key=lambda f: f.stem) for name in ("plain", "packed")]
    assert len(files[0]) == len(files[1]) > 0


def test_a_picture_of_an_odd_shape_is_packed_for_training(tiny_set, tmp_path, split) -> None:
    Image.new("RGB", (40, 3000)).save(tiny_set.parent / "frames/clip_000.png")
    pack(split, tmp_path / "out", options=PackOptions("training"))
    assert verify_pack(tmp_path / "out") == []
