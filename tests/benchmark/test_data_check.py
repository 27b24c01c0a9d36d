"""Checking media: a folder in which everything is wrong once, and real media in which nothing is."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from PIL import Image

from avbench.commands import data_check, data_pack
from avbench.data.checking import check_media, media_below, media_of, named_twice
from avbench.data.examining import examine, examine_all
from avbench.data.splits import load_split
from avbench.errors import AvbenchError, UsageError

RATE = 16_000
IDS = [f"clip_{number:02d}" for number in range(14)]


def noise(rng, seconds=2.0, rate=RATE, channels=1):
    return rng.uniform(-0.5, 0.5, (int(seconds * rate), channels))


def describe(folder, ids):
    entries = [{"file": each, "class": "thing", "bbox": [[0.1, 0.1, 0.6, 0.6]]} for each in ids]
    (folder / "annotations.json").write_text(json.dumps(entries))
    place = folder / "made.yaml"
    place.write_text("name: made\nformat: vggss\nannotations: annotations.json\nframes: frames\naudio: audio\n")
    return place


@pytest.fixture(scope="module")
def everything_wrong(tmp_path_factory):
    """The YAML file of 14 clips; the ids say nothing of what is wrong."""
    folder = tmp_path_factory.mktemp("wrong")
    frames, audio = folder / "frames", folder / "audio"
    frames.mkdir()
    audio.mkdir()
    rng = np.random.default_rng(0)
    for each in IDS:
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(frames / f"{each}.png")
        soundfile.write(audio / f"{each}.wav", noise(rng), RATE)
    for place, suffix in ((frames, "png"), (audio, "wav")):
        (place / f"clip_01.{suffix}").write_bytes((place / f"clip_00.{suffix}").read_bytes())
    Image.open(frames / "clip_02.png").save(frames / "clip_03.png", compress_level=0)
    samples, _ = soundfile.read(audio / "clip_02.wav", dtype="int16")
    soundfile.write(audio / "clip_03.wav", samples, RATE, subtype="PCM_24")
    soundfile.write(audio / "clip_04.wav", np.zeros(RATE * 2), RATE)
    soundfile.write(audio / "clip_05.wav", np.clip(3 * rng.normal(size=RATE * 2), -1, 1), RATE)
    soundfile.write(audio / "clip_06.wav", noise(rng, 0.05), RATE)
    Image.new("RGB", (40, 40), (9, 9, 9)).save(frames / "clip_06.png")
    (audio / "clip_07.wav").write_bytes(b"")
    (frames / "clip_07.png").write_bytes((frames / "clip_08.png").read_bytes()[:900])
    soundfile.write(audio / "clip_09.wav", np.r_[noise(rng)[:, 0], np.nan], RATE, subtype="FLOAT")
    (frames / "clip_10.png").unlink()
    soundfile.write(audio / "clip_11.wav", noise(rng, 1.0, 44_100, 2), 44_100)
    soundfile.write(audio / "clip_12.wav", noise(rng, 1.0, 44_099), 44_099)
    return describe(folder, IDS)


@pytest.fixture(scope="module")
def checked(everything_wrong):
    return check_media(media_of(load_split(str(everything_wrong))))


def cases(checked, what):
    return [names for finding in checked.findings if finding.what == what for names, _ in finding.items]


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("missing", [("clip_10",)]),
        ("broken", [("clip_07",), ("clip_07",), ("clip_09",), ("clip_12",)]),
        ("same picture files", [("clip_00", "clip_01")]),
        ("same pictures", [("clip_02", "clip_03")]),
        ("same sound files", [("clip_00", "clip_01")]),
        ("same sounds", [("clip_02", "clip_03")]),
        ("same clips", [("clip_00", "clip_01"), ("clip_02", "clip_03")]),
        ("silent", [("clip_04",)]),
        ("clipped", [("clip_05",)]),
        ("short", [("clip_06",)]),
        ("blank", [("clip_06",)]),
    ],
)
def test_each_trouble_is_named_and_nothing_else(checked, what, names):
    assert sorted(cases(checked, what)) == names


def test_counts_add_up(checked):
    for tally in checked.tallies.values():
        assert tally.listed == tally.whole + tally.broken + tally.missing == len(IDS)
    pictures, sounds = checked.tallies["picture"], checked.tallies["sound"]
    assert (pictures.broken, pictures.missing) == (1, 1)
    assert (sounds.broken, sounds.missing) == (3, 0)
    assert sum(checked.sizes.values()) == pictures.whole
    assert sum(checked.rates.values()) == sum(checked.channels.values()) == sounds.whole
    errors = sum(len(finding.items) for finding in checked.findings if finding.level == "error")
    assert errors == sum(tally.broken + tally.missing for tally in checked.tallies.values())


def test_progress_counts_every_file_once(everything_wrong):
    media = media_of(load_split(str(everything_wrong)))[16:24]
    done: list[int] = []
    check_media(media, progress=done.append)
    assert sum(done) == len(media)


def test_sizes_rates_and_lengths(checked):
    assert checked.sizes == {(48, 40): 11, (40, 40): 1}
    assert checked.rates == {RATE: 10, 44_100: 1}
    assert checked.channels == {1: 10, 2: 1}
    assert checked.seconds == (0.05, 2.0, 2.0)


def test_errors_come_first_and_fail_the_check(checked):
    levels = [finding.level for finding in checked.findings]
    assert levels == sorted(levels)
    assert levels[0] == "error"
    assert not checked.passed


def test_several_processes_see_what_one_sees(everything_wrong):
    files = [(medium.kind, medium.place) for medium in media_of(load_split(str(everything_wrong)))][:6]
    done = []
    alone = examine_all(files, workers=1, progress=done.append)
    assert sum(done) == len(files)
    assert examine_all(files, workers=2, progress=done.append) == alone
    assert sum(done) == 2 * len(files)


def test_a_folder_without_a_split(everything_wrong):
    media = media_below(everything_wrong.parent)
    assert [medium.name for medium in media] == sorted(medium.name for medium in media)
    found = check_media(media)
    assert (found.tallies["picture"].listed, found.tallies["sound"].listed) == (13, 14)
    assert cases(found, "silent") == [("audio/clip_04.wav",)]
    assert "missing" not in [finding.what for finding in found.findings]


def test_warnings_alone_pass(tmp_path):
    rng = np.random.default_rng(1)
    for folder in ("frames", "audio"):
        (tmp_path / folder).mkdir()
    Image.fromarray(rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)).save(tmp_path / "frames" / "one.jpg")
    soundfile.write(tmp_path / "audio" / "one.wav", np.zeros(RATE), RATE)
    found = check_media(media_below(tmp_path))
    assert [finding.what for finding in found.findings] == ["silent"]
    assert found.passed


def test_the_limits_of_loudness(tmp_path):
    sounds = {"quiet": np.full(RATE, 0.0009), "audible": np.full(RATE, 0.0011), "clipped": np.zeros(RATE)}
    sounds["clipped"][: RATE // 50] = -1.0
    sounds["peaks"] = np.r_[np.ones(RATE // 100), np.zeros(RATE - RATE // 100)]
    for name, samples in sounds.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE, subtype="FLOAT")
    found = check_media(media_below(tmp_path))
    assert (cases(found, "silent"), cases(found, "clipped")) == ([("quiet.wav",)], [("clipped.wav",)])


def test_a_folder_in_the_place_of_a_file_is_broken_and_not_fatal(tmp_path):
    assert examine("picture", tmp_path).problem is not None
    assert examine("sound", tmp_path).problem is not None


def test_samples_of_one_clip_under_two_names_of_a_list(tmp_path):
    place = describe(tmp_path, ["aaaaaaaaaaa_000010", "aaaaaaaaaaa_10000_20000", "bbbbbbbbbbb_000000"])
    split = load_split(str(place))
    assert named_twice(split) == [("aaaaaaaaaaa_000010", "aaaaaaaaaaa_10000_20000")]


def test_copies_of_a_shared_picture_are_no_doubles(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "audio").mkdir()
    rng = np.random.default_rng(2)
    for each in ("a", "b"):
        Image.new("RGB", (30, 30), (1, 200, 9)).save(tmp_path / "frames" / f"{each}.png")
        soundfile.write(tmp_path / "audio" / f"{each}.wav", noise(rng), RATE)
    split = load_split(str(describe(tmp_path, ["a", "b"])))
    assert cases(check_media(media_of(split)), "same picture files") == [("a", "b")]
    grouped = replace(split, samples=tuple(replace(sample, image_name="group") for sample in split.samples))
    assert cases(check_media(media_of(grouped)), "same picture files") == []


def test_the_manifest_of_prepared_videos_says_what_stands_still(tmp_path, everything_wrong):
    lines = [{"id": "one", "still": True}, {"id": "two", "still": False}]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"id": "cut o')
    assert cases(check_media([], root=tmp_path), "still") == [("one",)]
    manifest.write_text("[]\n")
    with pytest.raises(AvbenchError, match=r"manifest\.jsonl, line 1: expected the record of a sample"):
        check_media([], root=tmp_path)


def test_the_command_on_everything_wrong(everything_wrong, store, capsys):
    assert data_check.main(["--split", str(everything_wrong)]) == 1
    page = capsys.readouterr().out
    assert "clip_09: " in page
    assert "holds samples that are not finite" in page
    assert page.splitlines()[-1] == "failed: 5 errors, 10 warnings"


def test_the_command_as_json(everything_wrong, store, capsys):
    assert data_check.main(["--split", str(everything_wrong), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["split"]["name"] == "made"
    assert found["files"]["sound"] == {"listed": 14, "whole": 11, "broken": 3, "missing": 0}
    assert not found["passed"]
    broken = next(finding for finding in found["findings"] if finding["what"] == "broken")
    assert broken["count"] == len(broken["items"]) == 4
    assert all(item["detail"] for item in broken["items"])


def test_the_command_names_a_few_cases_only(tmp_path, store, capsys):
    (tmp_path / "frames").mkdir()
    (tmp_path / "audio").mkdir()
    place = describe(tmp_path, IDS)
    assert data_check.main(["--split", str(place)]) == 1
    page = capsys.readouterr().out
    assert page.count("no picture at") + page.count("no sound at") == data_check.SHOWN
    assert "and 23 more: --json has all" in page


def test_the_command_tells_leakage_of_a_split(everything_wrong, tmp_path, store, capsys):
    train = describe(tmp_path, [IDS[0], "another"])
    assert data_check.main(["--split", str(everything_wrong), "--train", str(train)]) == 1
    assert "leakage   1 of 14 samples of made are in the training list made" in capsys.readouterr().out


def test_a_pack_is_checked_whole(tiny_set, tmp_path, store, capsys):
    out = tmp_path / "pack"
    assert data_pack.main(["--split", str(tiny_set), "--out", str(out)]) == 0
    assert data_check.main(["--data", str(out)]) == 0
    assert "pictures          5        5        0        0" in capsys.readouterr().out
    shard = next(out.glob("*.tar"))
    content = bytearray(shard.read_bytes())
    content[2000] ^= 255
    shard.write_bytes(content)
    assert data_check.main(["--data", str(out)]) == 1
    assert "its hash differs" in capsys.readouterr().out


def test_boxes_beside_the_media_are_missed_where_there_are_media(shared, tmp_path, store, capsys):
    given = ["--split", "flickr", "--metadata", str(shared / "metadata" / "flickr"), "--train", "flickr-10k"]
    assert data_check.main(given) == 0
    assert "leakage   1 of 250 samples of flickr" in capsys.readouterr().out
    (tmp_path / "frames").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "frames" / "10000130166.jpg")
    assert data_check.main([*given, "--data", str(tmp_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["files"]["picture"] == {"listed": 250, "whole": 1, "broken": 0, "missing": 249}
    assert "250 of 250 samples lack the file of their boxes" in found["findings"][0]["items"][0]["detail"]


def test_real_media_pass(shared, store, capsys):
    place = shared / "media" / "composed_test"
    assert data_check.main(["--data", str(place), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    n = len(json.loads((place / "annotations.json").read_text()))
    assert {kind: tally["whole"] for kind, tally in found["files"].items()} == dict.fromkeys(
        ("picture", "sound", "mask"), n
    )
    assert found["sizes"] == {"320x256": n}
    assert found["findings"] == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "expected --split NAME, --data ROOT or both, or --leakage"),
        (["--data", "nowhere"], "expected the folder of media at nowhere, found none"),
        (["--data", ".", "--workers", "-1"], "expected --workers of at least 0"),
    ],
)
def test_wrong_requests_are_usage_errors(given, told, store):
    with pytest.raises(UsageError, match=told):
        data_check.main(given)


def test_a_folder_without_media_is_not_passed(tmp_path):
    with pytest.raises(UsageError, match="found nothing"):
        data_check.main(["--data", str(tmp_path)])
