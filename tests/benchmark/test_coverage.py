"""What of a split is there: counts, ids, strictness, and a fingerprint that notices change."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from avbench.data.coverage import Coverage, coverage, covered, media_fingerprint
from avbench.data.splits import Split, load_split
from avbench.errors import AvbenchError, UsageError

BOTH = ("image", "audio")


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Ten samples with empty media files."""
    for folder in ("frames", "audio"):
        (tmp_path / folder).mkdir()
    for i in range(10):
        (tmp_path / f"frames/s{i}.jpg").touch()
        (tmp_path / f"audio/s{i}.wav").touch()
    entries = [{"file": f"s{i}", "class": "bell", "bbox": [[0, 0, 1, 1]]} for i in range(10)]
    (tmp_path / "boxes.json").write_text(json.dumps(entries))
    path = tmp_path / "ten.yaml"
    path.write_text("name: ten\nformat: vggss\nannotations: boxes.json\nframes: frames\naudio: audio\n")
    return load_split(str(path))


def test_a_complete_split(split: Split) -> None:
    same, found = covered(split, BOTH)
    assert same is split
    assert found == Coverage(10, 10, ())


@pytest.mark.parametrize(
    ("needs", "missing"),
    [(BOTH, ("s1", "s2", "s7")), (("image",), ("s2", "s7")), (("audio",), ("s1", "s2")), ((), ()), (("objects",), ())],
)
def test_missing_ids_in_order(split: Split, tmp_path: Path, needs, missing: tuple[str, ...]) -> None:
    for name in ("frames/s7.jpg", "frames/s2.jpg", "audio/s2.wav", "audio/s1.wav"):
        (tmp_path / name).unlink()
    assert coverage(split, needs) == Coverage(10, 10 - len(missing), missing)


def test_missing_media_are_an_error_that_counts_and_names_them(split: Split, tmp_path: Path) -> None:
    for i in (3, 4, 5, 9):
        (tmp_path / f"audio/s{i}.wav").unlink()
    places = f"{tmp_path / 'audio'} and {tmp_path / 'frames'}"
    with pytest.raises(AvbenchError) as caught:
        covered(split, BOTH)
    assert str(caught.value) == (
        f"4 of 10 samples of ten miss media in {places} (s3, s4, s5, ...): "
        "complete the media, or pass --allow-missing for a partial result"
    )


def test_allow_missing_gives_a_partial_split_of_the_same_hash(split: Split, tmp_path: Path) -> None:
    (tmp_path / "audio/s3.wav").unlink()
    partial, found = covered(split, BOTH, allow_missing=True)
    assert (partial.n, len(partial.samples)) == (10, 9)
    assert partial.sha256 == split.sha256
    assert "s3" not in {s.id for s in partial.samples}
    assert found.missing == ("s3",)


def test_nothing_at_all_is_an_error_even_then(split: Split, tmp_path: Path) -> None:
    for path in (tmp_path / "audio").iterdir():
        path.unlink()
    (tmp_path / "audio").rmdir()
    with pytest.raises(AvbenchError, match=r"10 of 10 samples of ten miss media in .*: complete the media$"):
        covered(split, BOTH, allow_missing=True)


def test_a_split_without_media_serves_the_fixed_controls_only(shared: Path) -> None:
    split = load_split("vggss", metadata=shared / "metadata")
    assert coverage(split, ()) == Coverage(5158, 5158, ())
    for call in (coverage, media_fingerprint):
        with pytest.raises(UsageError, match="vggss was given without media: pass --data"):
            call(split, BOTH)


def test_the_tiny_set_of_the_goldens(shared: Path) -> None:
    split = load_split("vggss", metadata=shared / "metadata", data=shared / "goldens/goldens/tiny")
    partial, found = covered(split, BOTH, allow_missing=True)
    assert (found.expected, found.found, len(found.missing)) == (5158, 12, 5146)
    assert [s.id for s in partial.samples] == [s.id for s in split.samples if s.id not in found.missing]


def test_the_fingerprint_follows_size_and_time_of_what_is_needed(split: Split, tmp_path: Path) -> None:
    def prints() -> tuple[str, str]:
        return media_fingerprint(split, ("image",)), media_fingerprint(split, BOTH)

    image, both = prints()
    assert prints() == (image, both)
    assert image != both
    sound = tmp_path / "audio/s4.wav"
    before = sound.stat()
    sound.write_bytes(b"1")
    os.utime(sound, ns=(before.st_atime_ns, before.st_mtime_ns))
    resized = prints()
    os.utime(sound, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    touched = prints()
    sound.unlink()
    gone = prints()
    assert {image} == {p[0] for p in (resized, touched, gone)}
    assert len({both, resized[1], touched[1], gone[1]}) == 4


def test_the_fingerprint_ignores_files_of_others(split: Split, tmp_path: Path) -> None:
    before = media_fingerprint(split, BOTH)
    (tmp_path / "frames/other.jpg").touch()
    assert media_fingerprint(split, BOTH) == before


@pytest.fixture
def framed(tmp_path: Path) -> Split:
    """Thirty samples, each with a folder of frames of its own; the sounds lie in one folder."""
    for i in range(30):
        (tmp_path / f"frames/s{i}").mkdir(parents=True)
        (tmp_path / f"frames/s{i}/image_050.jpg").touch()
    (tmp_path / "audio").mkdir()
    for i in range(30):
        (tmp_path / f"audio/s{i}.wav").touch()
    entries = [{"file": f"s{i}", "class": "bell", "bbox": [[0, 0, 1, 1]]} for i in range(30)]
    (tmp_path / "boxes.json").write_text(json.dumps(entries))
    path = tmp_path / "thirty.yaml"
    path.write_text("name: thirty\nformat: vggss\nannotations: boxes.json\nframes: frames\naudio: audio\n")
    return load_split(str(path))


def test_folders_of_frames_are_not_listed_one_by_one(framed: Split, tmp_path: Path, monkeypatch) -> None:
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    assert coverage(framed, BOTH) == Coverage(30, 30, ())
    assert listed == [str(tmp_path / "audio")]


def test_a_frame_that_went_missing_since(framed: Split, tmp_path: Path) -> None:
    before = media_fingerprint(framed, BOTH)
    (tmp_path / "frames/s7/image_050.jpg").unlink()
    assert coverage(framed, BOTH) == Coverage(30, 29, ("s7",))
    assert media_fingerprint(framed, BOTH) != before
    with pytest.raises(AvbenchError) as caught:
        covered(framed, BOTH)
    places = f"{tmp_path / 'audio'} and {tmp_path / 'frames'}"
    assert f"1 of 30 samples of thirty miss media in {places} (s7): complete" in str(caught.value)


@pytest.mark.parametrize("name", ["frames/s3/image_050.jpg", "audio/s3.wav"])
@pytest.mark.parametrize("instead", ["link", "folder"])
def test_what_is_no_file_does_not_count(framed: Split, tmp_path: Path, name: str, instead: str) -> None:
    (tmp_path / name).unlink()
    if instead == "link":
        (tmp_path / name).symlink_to("nowhere")
    else:
        (tmp_path / name).mkdir()
    assert coverage(framed, BOTH) == Coverage(30, 29, ("s3",))


def test_the_second_sound_of_a_mixture_counts_as_well(split: Split, tmp_path: Path) -> None:
    first, *others = split.samples
    mixed = replace(split, samples=(replace(first, mixed=tmp_path / "audio/other.wav"), *others))
    assert coverage(mixed, BOTH).missing == (first.id,)
    assert coverage(mixed, ("image",)).missing == ()
    (tmp_path / "audio/other.wav").touch()
    assert coverage(mixed, BOTH).missing == ()
