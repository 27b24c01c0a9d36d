"""``avbench data doctor``: everything is counted once, by id, and what nearly fits is named and never taken."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from avbench.commands import data_doctor
from avbench.data.doctor import diagnose
from avbench.data.fitting import fits, official_splits
from avbench.data.layouts import index_media
from avbench.data.splits import load_split
from avbench.errors import UsageError

VGGSS = ("zpWuikVorYg_000032", "gEvCUcZ6w88_000030", "JIemsK_0lXc_000364")
"""The first ids of VGG-SS."""


@contextmanager
def silent(title: str, total: int) -> Iterator[Callable[[int], None]]:
    yield lambda done: None


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format="PNG" if path.suffix.lower() == ".png" else "JPEG")
    return path


def sound(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).uniform(-0.5, 0.5, 1600)
    soundfile.write(path, noise, 16_000, format=path.suffix[1:].upper())
    return path


def video(path: Path, *, silent: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        track = container.add_stream("mpeg4", rate=25)
        track.width, track.height, track.pix_fmt = 32, 24, "yuv420p"
        voice = None if silent else container.add_stream("aac", rate=16_000)
        frame = av.VideoFrame.from_ndarray(np.zeros((24, 32, 3), dtype=np.uint8), format="rgb24")
        container.mux([*track.encode(frame), *track.encode(None)])
        if voice is not None:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
            samples.rate = 16_000
            container.mux([*voice.encode(samples), *voice.encode(None)])
    return path


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """The YAML file of ten samples, called clip_000 to clip_009, all of them whole."""
    names = [f"clip_{number:03d}" for number in range(10)]
    for name in names:
        picture(tmp_path / f"frames/{name}.jpg")
        sound(tmp_path / f"audio/{name}.wav")
    entries = [{"file": name, "class": "bell", "bbox": [[0, 0, 1, 1]]} for name in names]
    (tmp_path / "boxes.json").write_text(json.dumps(entries))
    place = tmp_path / "ten.yaml"
    place.write_text("name: ten\nformat: vggss\nannotations: boxes.json\nframes: frames\naudio: audio\n")
    return place


def doctor(capsys, *options: object) -> tuple[int, dict]:
    """Exit code and JSON; the counts of a split must add up whatever the test is about."""
    code = data_doctor.main([*map(str, options), "--json"])
    found = json.loads(capsys.readouterr().out)
    if "expected" in found:
        groups = [found["found"], found["missing"], found["broken"]]
        assert sum(map(len, groups)) == found["expected"] == len(set().union(*groups))
    assert (code == 0) == found["whole"]
    return code, found


def spoil(ten: Path) -> None:
    """Every kind of trouble, in the order of the ids."""
    root = ten.parent
    (root / "frames/clip_001.jpg").write_bytes(b"")
    whole = (root / "audio/clip_002.wav").read_bytes()
    (root / "audio/clip_002.wav").write_bytes(whole[:1000])
    (root / "frames/clip_003.jpg").unlink()
    (root / "audio/clip_003.wav").unlink()
    (root / "audio/clip_004.wav").rename(root / "audio/Clip-4.wav")
    (root / "audio/clip_005.wav").write_text("<html>not found</html>")
    (root / "frames/clip_005.jpg").unlink()
    picture(root / "frames/clip_006.png")
    (root / "frames/clip_007.jpg").unlink()
    for frame in (1, 2):
        picture(root / f"frames/clip_007/{frame}.jpg")
    picture(root / "frames/holiday.jpg")


def test_a_whole_set(ten: Path, capsys) -> None:
    code, found = doctor(capsys, "--split", ten)
    assert code == 0
    assert found["layout"] == "pictures as frames/<id>.jpg (10); sounds as audio/<id>.wav (10)"
    assert found["found"] == [f"clip_{n:03d}" for n in range(10)]
    assert found["next"] == f"avbench run --method disc,square,whole --split {ten}"
    empty = ("broken_files", "ambiguous", "duplicates", "near_misses", "broken_videos", "extra")
    assert [found[key] for key in empty] == [[]] * len(empty)
    assert found["missing_by_kind"] == {"picture": [], "sound": [], "annotation": [], "mask": []}


def test_every_trouble_is_named_once(ten: Path, capsys) -> None:
    spoil(ten)
    root = ten.parent
    code, found = doctor(capsys, "--split", ten)
    assert code == 1
    assert found["found"] == ["clip_000", "clip_006", "clip_008", "clip_009"]
    assert found["missing"] == ["clip_003", "clip_004", "clip_005", "clip_007"]
    assert found["broken"] == ["clip_001", "clip_002"]
    assert found["missing_by_kind"]["picture"] == ["clip_003", "clip_005", "clip_007"]
    assert found["missing_by_kind"]["sound"] == ["clip_003", "clip_004"]
    assert [(b["id"], b["kind"], b["reason"].split(":")[0]) for b in found["broken_files"]] == [
        ("clip_001", "picture", "is empty"),
        ("clip_002", "sound", "is cut off"),
        ("clip_005", "sound", "cannot be read as sound (Error opening"),
    ]
    assert [(a["id"], len(a["files"])) for a in found["ambiguous"]] == [("clip_007", 2)]
    assert found["duplicates"] == [
        {"id": "clip_006", "kind": "picture", "files": [str(root / f"frames/clip_006{s}") for s in (".jpg", ".png")]}
    ]
    near = {"id": "clip_004", "kind": "sound", "file": str(root / "audio/Clip-4.wav")}
    assert found["near_misses"] == [{**near, "advice": "rename it to clip_004.wav"}]
    assert found["extra"] == [str(root / "audio/Clip-4.wav"), str(root / "frames/holiday.jpg")]


def test_the_report_for_people(ten: Path, capsys) -> None:
    spoil(ten)
    assert data_doctor.main(["--split", str(ten), "--limit", "2"]) == 1
    lines = capsys.readouterr().out.splitlines()
    table = [line.split(maxsplit=1) for line in lines]
    assert ["expected", "10"] in table
    assert ["found", "4"] in table
    assert ["missing", "4  clip_003, clip_004, ..."] in table
    assert ["-", "without a picture   3  clip_003, clip_005, ..."] in table
    assert ["-", "without a sound     2  clip_003, clip_004"] in table
    assert ["broken", "2  clip_001, clip_002"] in table
    assert "broken files (3)" in lines
    assert "  frames/clip_001.jpg is empty: expected a picture, fetch it again" in lines
    assert "  and 1 more: --limit 0 shows all" in lines
    assert "  clip_007: frames/clip_007 holds 2" in lines
    assert "  clip_004: audio/Clip-4.wav: rename it to clip_004.wav" in lines
    assert lines[-1] == "next: rename, move or convert the files above that nearly fit, then look again"
    data_doctor.main(["--split", str(ten), "--limit", "0"])
    assert "clip_003, clip_004, clip_005, clip_007" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("there", "advice"),
    [
        ("frames/CLIP_000.jpg", "rename it to clip_000.jpg"),
        ("frames/clip_0.png", "rename it to clip_000.png"),
        ("frames/clip-000.JPG", "rename it to clip_000.JPG"),
        ("frames/clip_000.webp", "convert it to {}/frames/clip_000.jpg"),
        ("frames/CLIP-0/image_050.jpg", "rename its folder to clip_000"),
        ("frames/clip_1000.jpg", None),
        ("frames/clip_000.txt", None),
        ("frames/clip_000.wav", None),
    ],
)
def test_near_misses(ten: Path, capsys, there: str, advice: str | None) -> None:
    (ten.parent / there).parent.mkdir(exist_ok=True)
    (ten.parent / "frames/clip_000.jpg").rename(ten.parent / there)
    _, found = doctor(capsys, "--split", ten)
    assert found["missing"] == ["clip_000"]
    expected = [] if advice is None else [advice.format(ten.parent)]
    assert [near["advice"] for near in found["near_misses"]] == expected


def test_names_of_files_that_are_no_text(ten: Path, capsys) -> None:
    place = os.fsdecode(os.fsencode(ten.parent / "frames") + b"/caf\xe9.jpg")
    Path(place).write_bytes(b"")
    _, found = doctor(capsys, "--split", ten)
    assert found["extra"] == [place]
    assert data_doctor.main(["--split", str(ten)]) == 0
    assert "frames/caf\\udce9.jpg" in capsys.readouterr().out


def test_a_broken_link_is_missing(ten: Path, capsys) -> None:
    (ten.parent / "audio/clip_004.wav").unlink()
    (ten.parent / "audio/clip_004.wav").symlink_to("nowhere.wav")
    _, found = doctor(capsys, "--split", ten)
    assert (found["missing"], found["missing_by_kind"]["sound"]) == (["clip_004"], ["clip_004"])


def test_decoding_finds_what_headers_hide(ten: Path, capsys) -> None:
    place = ten.parent / "frames/clip_004.jpg"
    whole = bytearray(picture(place.with_suffix(".png")).read_bytes())
    place.with_suffix(".png").unlink()
    whole[len(whole) // 2] ^= 255
    place.write_bytes(whole)
    assert doctor(capsys, "--split", ten)[0] == 0
    code, found = doctor(capsys, "--split", ten, "--decode")
    assert (code, found["broken"], found["decoded"]) == (1, ["clip_004"], True)


def test_a_file_that_samples_share_is_looked_at_once(ten: Path, capsys) -> None:
    entries = json.loads((ten.parent / "boxes.json").read_text())
    for entry in entries:
        entry["audio"] = "clip_000"
    (ten.parent / "boxes.json").write_text(json.dumps(entries))
    (ten.parent / "audio/clip_000.wav").write_bytes(b"")
    _, found = doctor(capsys, "--split", ten, "--workers", 0)
    assert len(found["broken"]) == len(found["broken_files"]) == 10
    data_doctor.main(["--split", str(ten)])
    assert "looking at files: 11" in capsys.readouterr().err


def test_several_processes_say_the_same(ten: Path, capsys) -> None:
    spoil(ten)
    assert doctor(capsys, "--split", ten, "--workers", 2) == doctor(capsys, "--split", ten, "--workers", 0)


def test_other_styles_and_layouts_are_whole(shared: Path, tmp_path: Path, capsys) -> None:
    for name in VGGSS:
        start = int(name[12:]) * 1000
        ranged = f"{name[:11]}_{start}_{start + 10_000}"
        picture(tmp_path / f"frames/{ranged}/image_050.jpg")
        sound(tmp_path / f"audio/{ranged}/{ranged}.wav")
    for frame in (49, 51):
        picture(tmp_path / f"frames/{ranged}/image_0{frame}.jpg")
    _, found = doctor(capsys, "--data", tmp_path, "--split", "vggss", "--metadata", shared / "metadata")
    assert tuple(found["found"]) == VGGSS
    assert (found["expected"], len(found["missing"])) == (5158, 5155)
    assert found["names"] == {"<YouTube id>_<start>_<end>, in milliseconds": 6}
    assert found["extra"] == []
    assert "avbench data where vggss" in found["next"]


def test_a_picture_outside_the_known_folders_is_named(shared: Path, tmp_path: Path, capsys) -> None:
    picture(tmp_path / f"frames/{VGGSS[0]}.jpg")
    picture(tmp_path / f"old/{VGGSS[1]}.jpg")
    _, found = doctor(capsys, "--data", tmp_path, "--split", "vggss", "--metadata", shared / "metadata")
    assert [(near["id"], near["advice"]) for near in found["near_misses"]] == [
        (VGGSS[1], f"move it to {tmp_path / 'frames'}")
    ]
    assert found["extra"] == []


def test_flickr_needs_its_boxes(shared: Path, tmp_path: Path, capsys) -> None:
    first, second, third = "10000130166", "10007936344", "10008553263"
    for name in (first, second, third):
        picture(tmp_path / f"Data/{name}.mp4/00000010.jpg")
        sound(tmp_path / f"Data/{name}.wav")
    (tmp_path / "Annotations").mkdir()
    corners = "<xmin>1</xmin><ymin>1</ymin><xmax>200</xmax><ymax>200</ymax>"
    (tmp_path / f"Annotations/{first}.xml").write_text(f"<a><bbox>{corners}</bbox></a>")
    (tmp_path / f"Annotations/{second}.xml").write_text(f"<a><bbox>{corners}</bb")
    _, found = doctor(capsys, "--data", tmp_path, "--split", "flickr", "--metadata", shared / "metadata")
    assert (found["found"], found["broken"], len(found["missing"])) == ([first], [second], 248)
    assert len(found["missing_by_kind"]["annotation"]) == 248
    assert third in found["missing_by_kind"]["annotation"]
    assert third not in found["missing_by_kind"]["picture"]
    assert "is not XML or is cut off" in found["broken_files"][0]["reason"]


def test_masks_are_missing_where_they_are_the_only_truth(shared: Path, tmp_path: Path, capsys) -> None:
    for number in (190, 191):
        picture(tmp_path / f"frames/sample{number:04d}.jpg")
        sound(tmp_path / f"audio/sample{number:04d}.wav")
    options = ("--data", tmp_path, "--split", "vggsound-instruments", "--metadata", shared / "metadata")
    _, found = doctor(capsys, *options)
    assert set(found["missing_by_kind"]["mask"]) == set(found["missing"])
    picture(tmp_path / "masks/sample0190.png")
    _, found = doctor(capsys, *options)
    assert (found["found"], found["masks"]) == (["sample0190"], 1)


@pytest.fixture
def official(shared: Path, tmp_path: Path) -> Path:
    """A folder with the official files of a few splits, which are compared in a moment."""
    folder = tmp_path / "official"
    folder.mkdir()
    for file in ("vggss.json", "vggss_test.csv", "vggss_unheard_test.csv"):
        shutil.copy(shared / "metadata/vggss" / file, folder)
    return folder


def test_videos_alone(official: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "videos"
    video(root / f"{VGGSS[0][:11]}_32000_42000.mp4")
    video(root / f"{VGGSS[1]}.mp4", silent=True)
    (root / f"{VGGSS[2]}.mp4").write_bytes(b"")
    options = ("--data", root, "--metadata", official)
    code, found = doctor(capsys, *options, "--split", "vggss")
    assert code == 1
    assert list(found["in_videos"]) == [VGGSS[0]]
    assert [(b["id"], b["reason"]) for b in found["broken_videos"]] == [
        (VGGSS[1], "has no audio track: fetch it again"),
        (VGGSS[2], "is empty: fetch it again"),
    ]
    assert found["next"].startswith(f"avbench data prepare --src {root} --dst NEW")
    code, found = doctor(capsys, *options)
    assert code == 1
    assert len(found["videos"]) == 3
    assert len(found["broken_files"]) == 2
    fits = {fit["name"]: fit for fit in found["splits"]}
    assert (fits["vggss"]["covered"], fits["vggss"]["in_videos"], fits["vggss"]["expected"]) == (0, 3, 5158)
    assert found["next"].startswith(f"avbench data prepare --src {root} --dst NEW")


def test_which_splits_fit(official: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "root"
    unheard = (official / "vggss_unheard_test.csv").read_text().split(maxsplit=1)[0].split(",")[0]
    for name in (*VGGSS, unheard):
        picture(root / f"frames/{name}.jpg")
        sound(root / f"audio/{name}.wav")
    picture(root / "frames/-0BIyqJj9ZU_000030.jpg")
    code, found = doctor(capsys, "--data", root, "--metadata", official)
    fits = {fit["name"]: (fit["covered"], fit["expected"], fit["purpose"]) for fit in found["splits"]}
    known = set((official / "vggss_unheard_test.csv").read_text().replace(",", "\n").split())
    assert code == 0
    assert fits["vggss"] == (4, 5158, "test")
    assert fits["vggss-unheard"] == (len(known & {*VGGSS, unheard}), 2575, "test")
    assert found["splits"][0]["name"] == "vggss"
    assert "flickr" in found["splits_without_official_files"]
    assert found["next"] == f"avbench data doctor --data {root} --split vggss"
    data_doctor.main(["--data", str(root), "--metadata", str(official)])
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["vggss", "test", "5,158", "4", "0.1%"] in table


def test_whole_splits_come_first_then_the_largest_share(official: Path, shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / "metadata/vggss/vggss_heard_test.csv", official)
    metadata = {"metadata": official}
    names = [s.id for s in load_split("vggss-unheard", **metadata).samples]
    names += [s.id for s in load_split("vggss-heard", **metadata).samples[:100]]
    for folder, suffix in (("frames", "jpg"), ("audio", "wav")):
        (tmp_path / "root" / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / "root" / folder / f"{name}.{suffix}").touch()
    steps: list[int] = []
    found, absent = fits(index_media(tmp_path / "root"), official, steps.append)
    order = [(fit.split, fit.covered) for fit in found if fit.split in {"vggss", "vggss-heard", "vggss-unheard"}]
    assert order == [("vggss-unheard", 2575), ("vggss", 2675), ("vggss-heard", 100)]
    assert len(steps) == len(official_splits())
    assert not {fit.split for fit in found} & set(absent)


def test_the_second_sound_of_a_mixture_is_looked_for(ten: Path) -> None:
    split = load_split(str(ten))
    mixed = replace(split.samples[0], names=split.samples[0].names._replace(mixed="clip_009"))
    lacking = replace(split.samples[1], names=split.samples[1].names._replace(mixed="none"))
    found = diagnose(
        replace(split, samples=(mixed, lacking)), index_media(ten.parent), annotation=lambda _: None, progress=silent
    )
    assert (found.found, found.missing, found.without("sound")) == (("clip_000",), ("clip_001",), ["clip_001"])


def test_a_survey_names_broken_files(official: Path, tmp_path: Path, capsys) -> None:
    (picture(tmp_path / "root/frames/a.jpg").parent / "b.jpg").write_bytes(b"")
    code, found = doctor(capsys, "--data", tmp_path / "root", "--metadata", official)
    assert (code, [Path(b["file"]).name for b in found["broken_files"]]) == (1, ["b.jpg"])
    data_doctor.main(["--data", str(tmp_path / "root"), "--metadata", str(official)])
    assert "  frames/b.jpg is empty: expected a picture, fetch it again" in capsys.readouterr().out.splitlines()


def test_a_folder_of_nothing(tmp_path: Path, capsys) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "metadata").mkdir()
    code, found = doctor(capsys, "--data", tmp_path / "root", "--metadata", tmp_path / "metadata")
    assert (code, found["splits"], found["layout"]) == (1, [], "no pictures; no sounds")
    assert "avbench data where NAME" in found["next"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected the folder to look at: pass --data ROOT"),
        (["--data", "{}/none"], "expected the folder of media at .*none, found none: check --data"),
        (["--data", "{}", "--limit", "-1"], "expected --limit of at least 0, got -1"),
        (["--data", "{}", "--workers", "-1"], "expected --workers of at least 0, got -1"),
        (["--data", "{}", "--split", "vgss"], "there is no split called 'vgss': did you mean vggss"),
    ],
)
def test_requests_that_cannot_be_met(tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        data_doctor.main([option.format(tmp_path) for option in options])


def test_real_media(shared: Path, tmp_path: Path, capsys) -> None:
    place = tmp_path / "real.yaml"
    truth = shared / "media/composed_test/annotations.json"
    place.write_text(f"name: real\nformat: vggss\nannotations: {truth}\nframes: frames\naudio: audio\n")
    code, found = doctor(capsys, "--split", place, "--data", shared / "media/composed_test")
    assert (code, len(found["found"]), found["masks"]) == (0, 65, 65)
    assert "masks as masks/<id>.png (65)" in found["layout"]
