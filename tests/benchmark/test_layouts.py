"""Media are found in place in every common layout and style of names, and nothing is guessed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from avbench.data.layouts import MediaFolders, MediaIndex, index_media, look_below
from avbench.data.names import loose_key, style, vggsound_key, wanted_key
from avbench.errors import UsageError

CLIP = "-0BIyqJj9ZU_000030"
OTHER = "_dash__-id_-_000005"


def plant(root: Path, *files: str) -> Path:
    """Empty files below ``root``."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


LAYOUTS = {
    "official": ("x", "frames/x.jpg", "audio/x.wav", "pictures as frames/<id>.jpg (1); sounds as audio/<id>.wav (1)"),
    "FNAC, png": ("x", "frames/x.png", "audio/x.wav", "pictures as frames/<id>.png (1); sounds as audio/<id>.wav (1)"),
    "SSL-TIE": ("x", "frame/x.jpg", "audio/x.wav", "pictures as frame/<id>.jpg (1); sounds as audio/<id>.wav (1)"),
    "ACL": (
        "x",
        "extend_frames/x.jpg",
        "extend_audio/x.wav",
        "pictures as extend_frames/<id>.jpg (1); sounds as extend_audio/<id>.wav (1)",
    ),
    "by class": (
        "x",
        "frames/playing a drum, loudly/x.jpg",
        "audio/playing a drum, loudly/x.wav",
        "pictures as frames/<folder>/<id>.jpg (1); sounds as audio/<folder>/<id>.wav (1)",
    ),
    "by class, each with frames and audio": (
        "x",
        "drum/frames/x.jpg",
        "drum/audio/x.wav",
        "pictures as drum/frames/<id>.jpg (1); sounds as drum/audio/<id>.wav (1)",
    ),
    "upper case and flac": (
        "x",
        "Frames/x.JPG",
        "AUDIO/x.FLAC",
        "pictures as Frames/<id>.JPG (1); sounds as AUDIO/<id>.FLAC (1)",
    ),
    "mixed in one folder": ("x", "x.jpeg", "x.wav", "pictures as <id>.jpeg (1); sounds as <id>.wav (1)"),
    "mixed below": (
        "x",
        "Data/x.jpg",
        "Data/x.wav",
        "pictures as <folder>/<id>.jpg (1); sounds as <folder>/<id>.wav (1)",
    ),
    "Alignment": (
        CLIP,
        "frames/-0BIyqJj9ZU_30000_40000/image_050.jpg",
        "audio/-0BIyqJj9ZU_30000_40000.wav",
        "pictures as frames/<id>/image_050.jpg (1); sounds as audio/<id>.wav (1)",
    ),
    "Alignment, SSL-TIE's sounds": (
        CLIP,
        "frames/-0BIyqJj9ZU_30000_40000/image_050.jpg",
        "audio/-0BIyqJj9ZU_30000_40000/-0BIyqJj9ZU_30000_40000.wav",
        "pictures as frames/<id>/image_050.jpg (1); sounds as audio/<id>/<id>.wav (1)",
    ),
    "SSL-TIE in training": (
        CLIP,
        f"total_video_frames/{CLIP}/125.jpg",
        f"total_video_3s_audio/{CLIP}.wav",
        "pictures as total_video_frames/<id>/125.jpg (1); sounds as total_video_3s_audio/<id>.wav (1)",
    ),
    "Flickr-SoundNet": (
        "10000130166",
        "frames/10000130166.mp4/00000042.jpg",
        "audio/10000130166.wav",
        "pictures as frames/<id>.mp4/<any>.jpg (1); sounds as audio/<id>.wav (1)",
    ),
    "one picture in a folder": (
        "10000130166",
        "frames/10000130166/picture.jpg",
        "audio/10000130166.wav",
        "pictures as frames/<id>/<any>.jpg (1); sounds as audio/<id>.wav (1)",
    ),
    "IS3": (
        "accordion_female_10438_accordion",
        "images/accordion_female_10438_accordion.jpg",
        "audio_wav/accordion_female_10438_accordion.wav",
        "pictures as images/<id>.jpg (1); sounds as audio_wav/<id>.wav (1)",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path: Path, layout: str) -> None:
    name, picture, sound, described = LAYOUTS[layout]
    media = index_media(plant(tmp_path, picture, sound))
    assert media.image(name) == tmp_path / picture
    assert media.sound(name) == tmp_path / sound
    assert media.described == described
    assert media.has_media


def test_avsbench_s4_as_it_is_distributed(tmp_path: Path) -> None:
    data = "Single-source/s4_data"
    files = [f"{data}/visual_frames/test/dog_barking/0d9u2CymIxc/0d9u2CymIxc_{k}.png" for k in range(1, 6)]
    masks = [file.replace("visual_frames", "gt_masks") for file in files]
    sound = f"{data}/audio_wav/test/dog_barking/0d9u2CymIxc.wav"
    media = index_media(plant(tmp_path, *files, *masks, sound, sound.replace(".wav", ".pkl")))
    assert [media.image(f"0d9u2CymIxc_{k}") for k in range(1, 6)] == [tmp_path / file for file in files]
    assert [media.mask(f"0d9u2CymIxc_{k}") for k in range(1, 6)] == [tmp_path / mask for mask in masks]
    assert media.sound("0d9u2CymIxc") == tmp_path / sound
    assert f"{data}/visual_frames/<folder>/<folder>/<id>/<id>_<k>.png (5)" in media.described
    assert set(media.styles) == {"other"}


def test_avsbench_ms3_has_mp4_inside_its_names(tmp_path: Path) -> None:
    picture = "ms3_data/visual_frames/rq5RDUm2Hnk_1/rq5RDUm2Hnk_1.mp4_3.png"
    mask = "ms3_data/gt_masks/test/rq5RDUm2Hnk_1/rq5RDUm2Hnk_1_3.png"
    sound = "ms3_data/audio_wav/test/rq5RDUm2Hnk_1.wav"
    media = index_media(plant(tmp_path, picture, mask, sound))
    assert (media.image("rq5RDUm2Hnk_1_3"), media.mask("rq5RDUm2Hnk_1_3")) == (tmp_path / picture, tmp_path / mask)
    assert media.image("rq5RDUm2Hnk_1.mp4_3") == tmp_path / picture
    assert media.sound("rq5RDUm2Hnk_1") == tmp_path / sound
    assert "visual_frames/<id>/<id>.mp4_<k>.png" in media.described


def test_annotations_by_sample(tmp_path: Path) -> None:
    media = index_media(plant(tmp_path, "frames/x.jpg", "audio/x.wav", "Annotations/x.xml", "anno/y.xml"))
    assert media.annotation("x") == tmp_path / "Annotations/x.xml"
    assert media.annotation("y") == tmp_path / "anno/y.xml"
    assert media.annotation("z") is None
    assert media.mask("x") is None


@pytest.mark.parametrize(
    "stem",
    [
        "{id}_000030", "{id}_0000030", "{id}_30", "{id}_030", "{id}_30000_40000", "{id}_030000_040000", "{id}_30_40",
        "{id}_0000000030",
    ],
)  # fmt: skip
@pytest.mark.parametrize("video", ["gklbB7TYoK4", "-0BIyqJj9ZU", "_0-_--__30_", "12345678901"])
@pytest.mark.parametrize("wanted", ["{id}_000030", "{id}_30000_40000"])
def test_styles_of_vggsound_names(tmp_path: Path, stem: str, video: str, wanted: str) -> None:
    name = stem.format(id=video)
    media = index_media(plant(tmp_path, f"frames/{name}/image_050.jpg", f"audio/{name}.wav"))
    assert media.image(wanted.format(id=video)) == tmp_path / f"frames/{name}/image_050.jpg"
    assert media.sound(wanted.format(id=video)) == tmp_path / f"audio/{name}.wav"
    assert vggsound_key(name) == f"{video}_000030"


@pytest.mark.parametrize(
    "name",
    [
        "gklbB7TYoK4_30000_40001", "gklbB7TYoK4_30_39", "gklbB7TYoK4_30500_40500", "gklbB7TYoK_000030", "0d9u2CymIxc",
        "gklbB7TYoK4_30_40_50", "gklbB7TYoK4-000030", "gklbB7TYoK4_", "gklbB7TYoK4_3O", "gklbB7TYo.4_000030",
        "10000130166", "", "test_heard_00009",
    ],
)  # fmt: skip
def test_other_names_are_left_alone(name: str) -> None:
    assert vggsound_key(name) is None
    assert style(name) == "other"


@pytest.mark.parametrize("name", ["0d9u2CymIxc_1", "HnUOaSfTA6c_000_00010", "gklbB7TYoK4_30", "gklbB7TYoK4_0000030"])
def test_only_a_sure_name_is_looked_for_in_other_styles(tmp_path: Path, name: str) -> None:
    key = vggsound_key(name)
    assert key is not None
    assert wanted_key(name) is None
    media = index_media(plant(tmp_path, f"frames/{key}.jpg", f"audio/{key}.wav"))
    assert media.image(name) == tmp_path / f"frames/{name}.jpg"
    assert media.pictures.find(name) is None


def test_a_name_in_its_own_style_comes_before_another_style(tmp_path: Path) -> None:
    plant(tmp_path, f"frames/{CLIP}.png", "frames/-0BIyqJj9ZU_30000_40000.jpg", "audio/-0BIyqJj9ZU_30.wav")
    media = index_media(tmp_path)
    assert media.image(CLIP) == tmp_path / f"frames/{CLIP}.png"
    assert media.pictures.duplicates(CLIP) == (
        tmp_path / f"frames/{CLIP}.png",
        tmp_path / "frames/-0BIyqJj9ZU_30000_40000.jpg",
    )
    assert media.styles == {"six": 1, "milliseconds": 1, "unpadded": 1}


def test_of_several_files_suffix_then_depth_then_name_decide(tmp_path: Path) -> None:
    files = ["a/frames/x.jpeg", "b/c/frames/x.jpg", "z/frames/x.jpg", "y/frames/x.jpg", "a/frames/x.png"]
    media = index_media(plant(tmp_path, *files))
    order = ["y/frames/x.jpg", "z/frames/x.jpg", "b/c/frames/x.jpg", "a/frames/x.png", "a/frames/x.jpeg"]
    assert media.image("x") == tmp_path / order[0]
    assert media.pictures.duplicates("x") == tuple(tmp_path / file for file in order)
    assert media.sounds.duplicates("x") == ()


def test_several_unknown_frames_are_ambiguous_and_never_guessed(tmp_path: Path) -> None:
    frames = [f"frames/{CLIP}/frame_{k}.jpg" for k in (1, 2, 3)]
    media = index_media(plant(tmp_path, *frames, f"audio/{CLIP}.wav"))
    assert media.image(CLIP) == tmp_path / f"frames/{CLIP}.jpg"
    assert media.pictures.find(CLIP) is None
    assert media.pictures.ambiguous(CLIP) == tuple(tmp_path / frame for frame in frames)
    assert media.pictures.ambiguous("else") == ()
    assert "frames/<id>/<several>.jpg (1)" in media.described


@pytest.mark.parametrize(
    ("frames", "taken"),
    [
        (["image_049.jpg", "image_050.jpg", "image_051.jpg"], "image_050.jpg"),
        (["124.jpg", "125.jpg", "126.jpg"], "125.jpg"),
        (["125.jpg", "image_050.png"], "image_050.png"),
        (["image_050.png", "image_050.JPG"], "image_050.JPG"),
    ],
)
def test_the_middle_frame_of_many(tmp_path: Path, frames: list[str], taken: str) -> None:
    media = index_media(plant(tmp_path, *(f"frames/{CLIP}/{frame}" for frame in frames), f"audio/{CLIP}.wav"))
    assert media.image(CLIP) == tmp_path / f"frames/{CLIP}/{taken}"
    assert media.pictures.ambiguous(CLIP) == ()
    assert media.pictures.beside(CLIP) == {str(tmp_path / f"frames/{CLIP}/{frame}") for frame in frames}


def test_a_sample_called_125_among_classes(tmp_path: Path) -> None:
    media = index_media(plant(tmp_path, "frames/dog/125.jpg", "frames/dog/126.jpg", "audio/dog/125.wav"))
    assert media.image("125") == tmp_path / "frames/dog/125.jpg"


def test_what_is_missing_is_expected_in_the_official_layout(tmp_path: Path) -> None:
    media = index_media(plant(tmp_path, "set/visual_frames/test/a.png", "set/visual_frames/b.png"))
    assert media.image("gone") == tmp_path / "set/visual_frames/gone.jpg"
    assert media.sound("gone") == tmp_path / "audio/gone.wav"
    mixed = index_media(plant(tmp_path / "mixed", "a.jpg", "a.wav"))
    assert mixed.image("gone") == tmp_path / "mixed/gone.jpg"


def test_pictures_outside_known_folders_do_not_stand_in_for_missing_ones(tmp_path: Path) -> None:
    plant(
        tmp_path, "frames/a.jpg", "thumbnails/b.jpg", "flow/flow_x/b.jpg", "audio/b.jpg", "masks/b.png", "audio/b.wav"
    )
    media = index_media(tmp_path)
    assert media.pictures.find("b") is None
    assert media.mask("b") == tmp_path / "masks/b.png"
    assert media.sound("b") == tmp_path / "audio/b.wav"


def test_pictures_without_a_folder_are_no_masks(tmp_path: Path) -> None:
    media = index_media(plant(tmp_path, "a.png", "a.wav", "a.xml"))
    assert media.image("a") == tmp_path / "a.png"
    assert media.mask("a") is None
    assert media.annotation("a") == tmp_path / "a.xml"


def test_optical_flow_is_no_picture(tmp_path: Path) -> None:
    media = index_media(plant(tmp_path, "flow/flow_x/a.jpg", "a.jpg", "a.wav"))
    assert len(media.pictures) == 1
    assert media.image("a") == tmp_path / "a.jpg"


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    media = index_media(plant(tmp_path, "frames/._a.jpg", "frames/.cache/a.jpg", "audio/a.wav"))
    assert media.pictures.find("a") is None
    assert len(media.pictures) == 0


def test_circles_of_links_end(tmp_path: Path) -> None:
    plant(tmp_path, "one/frames/a.jpg", "two/audio/a.wav")
    (tmp_path / "one/two").symlink_to(tmp_path / "two")
    (tmp_path / "two/one").symlink_to(tmp_path / "one")
    (tmp_path / "two/up").symlink_to(tmp_path)
    (tmp_path / "two/itself").symlink_to("itself")
    media = index_media(tmp_path)
    assert media.image("a") == tmp_path / "one/frames/a.jpg"
    assert media.pictures.duplicates("a") == ()
    assert media.sounds.duplicates("a") == ()


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path: Path) -> None:
    disk = plant(tmp_path / "disk", "pictures/a.jpg")
    root = plant(tmp_path / "root", "audio/a.wav")
    (root / "frames").symlink_to(disk / "pictures")
    media = index_media(root)
    assert media.image("a") == root / "frames/a.jpg"


def test_a_link_up_the_tree_brings_no_neighbours(tmp_path: Path) -> None:
    plant(tmp_path, "root/frames/a.jpg", "root/audio/a.wav", "neighbour/frames/b.jpg")
    (tmp_path / "root/up").symlink_to(tmp_path)
    media = index_media(tmp_path / "root")
    assert media.pictures.find("b") is None
    assert len(media.pictures) == 1


def test_a_link_gives_a_folder_of_the_same_root_its_role(tmp_path: Path) -> None:
    plant(tmp_path, "pictures/a.jpg", "audio/a.wav")
    (tmp_path / "frames").symlink_to(tmp_path / "pictures")
    media = index_media(tmp_path)
    assert media.image("a") == tmp_path / "frames/a.jpg"
    assert media.pictures.duplicates("a") == ()


def test_the_same_folder_under_two_known_names_is_no_duplicate(tmp_path: Path) -> None:
    plant(tmp_path, "frames/a.jpg", "audio/a.wav")
    (tmp_path / "images").symlink_to(tmp_path / "frames")
    media = index_media(tmp_path)
    assert media.image("a") == tmp_path / "frames/a.jpg"
    assert media.pictures.duplicates("a") == ()
    assert len(media.pictures) == 1


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch) -> None:
    plant(tmp_path, "frames/a.jpg", "audio/a.wav", "lost+found/b.jpg")
    scandir = os.scandir

    def refused(path: str) -> Iterator[os.DirEntry[str]]:
        if path.endswith("lost+found"):
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    media = look_below(tmp_path)
    assert media.unreadable == [str(tmp_path / "lost+found")]
    assert media.image("a") == tmp_path / "frames/a.jpg"


def test_folders_that_a_set_names_itself(tmp_path: Path) -> None:
    plant(tmp_path, "my pics/dog/a.jpg", "snd/dog/a.wav", "masks/a.png", "my pics/masks/c.png")
    media = MediaIndex(MediaFolders(tmp_path / "my pics", tmp_path / "snd", tmp_path / "masks", tmp_path / "none"))
    assert media.image("a") == tmp_path / "my pics/dog/a.jpg"
    assert media.sound("a") == tmp_path / "snd/dog/a.wav"
    assert media.mask("a") == tmp_path / "masks/a.png"
    assert media.image("b") == tmp_path / "my pics/b.jpg"
    assert media.pictures.find("c") is None
    assert media.described.startswith("pictures as my pics/<folder>/<id>.jpg (1); sounds as snd/<folder>/<id>.wav (1)")


def test_one_folder_of_pictures_and_sounds_that_a_set_names(tmp_path: Path) -> None:
    plant(tmp_path, "clips/a.jpg", "clips/a.wav")
    media = MediaIndex(MediaFolders(tmp_path / "clips", tmp_path / "clips", tmp_path / "masks", tmp_path / "none"))
    assert (media.image("a"), media.sound("a")) == (tmp_path / "clips/a.jpg", tmp_path / "clips/a.wav")
    assert len(media.all_files()) == 2


def test_a_set_without_folders_has_no_media(tmp_path: Path) -> None:
    media = MediaIndex(MediaFolders.below(tmp_path))
    assert not media.has_media
    assert media.image("a") == tmp_path / "frames/a.jpg"


@pytest.mark.parametrize(
    ("files", "below", "message"),
    [
        (["notes.txt"], "", "expected frames/ and audio/ in .*, found notes.txt: point --data at their parent"),
        (
            ["v/a.mp4", "v/b.WEBM"],
            "",
            r"holds 2 videos, no frames and no sounds: .*avbench data prepare --src \S+ --dst",
        ),
        (["frames/a.jpg", "audio/a.wav"], "frames", "expected frames/ and audio/ in .*frames, found a.jpg: point"),
    ],
)
def test_nothing_to_run_on(tmp_path: Path, files: list[str], below: str, message: str) -> None:
    plant(tmp_path, *files)
    with pytest.raises(UsageError, match=message):
        index_media(tmp_path / below)


def test_each_folder_is_listed_once_and_no_file_is_looked_at(tmp_path: Path, monkeypatch) -> None:
    plant(tmp_path, "frames/a/1.jpg", "frames/b/1.jpg", "audio/a.wav")
    listed, asked = [], []
    scandir, stat = os.scandir, os.stat
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
        patch.setattr(os, "stat", lambda path, **how: asked.append(str(path)) or stat(path, **how))
        look_below(tmp_path).image("a")
    assert sorted(listed) == sorted(str(tmp_path / place) for place in ("", "frames", "frames/a", "frames/b", "audio"))
    assert not [path for path in asked if path.endswith((".jpg", ".wav"))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Clip_007", "clip-7"), ("-0BIyqJj9ZU_000030", "0BIyqJj9ZU_30"), ("a b", "a_b"),
        ("10000130166", "10000130166.mp4"), ("gklbB7TYoK4_30000_40000", "gklbb7tyok4_000030"),
    ],
)  # fmt: skip
def test_names_that_differ_in_style_alone(one: str, other: str) -> None:
    assert loose_key(one) == loose_key(other)


@pytest.mark.parametrize(("one", "other"), [("clip_1", "clip_2"), ("clip_10", "clip_1"), ("a", "b"), ("x_1", "y_1")])
def test_names_of_different_samples(one: str, other: str) -> None:
    assert loose_key(one) != loose_key(other)
