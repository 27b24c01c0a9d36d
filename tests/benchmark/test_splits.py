"""Splits: found, verified, described, and the same list wherever the media lie."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from avbench.data import splits
from avbench.data.annotations import Source
from avbench.data.splits import Split, load_split, split_names, split_summary
from avbench.errors import AvbenchError, UsageError

ENTRIES = [
    {"file": "a", "class": "bell", "bbox": [[0, 0, 0.5, 0.5]]},
    {"file": "b", "class": "drum", "bbox": [[0.1, 0.2, 0.5, 0.5], [0.5, 0.5, 1, 1]]},
]


def make_set(root: Path, entries: list = ENTRIES, **keys: str) -> Path:
    """A YAML split in ``root`` with empty media files; the text of its keys can be replaced."""
    for folder, suffix in (("frames", "jpg"), ("audio", "wav")):
        (root / folder).mkdir(parents=True)
        for entry in entries:
            (root / folder / f"{entry['file']}.{suffix}").touch()
    (root / "boxes.json").write_text(json.dumps(entries))
    values = {"name": "mine", "format": "vggss", "annotations": "boxes.json", "frames": "frames", "audio": "audio"}
    path = root / "mine.yaml"
    path.write_text("".join(f"{k}: {v}\n" for k, v in (values | keys).items() if v))
    return path


def test_the_built_in_names() -> None:
    names = split_names()
    assert {"vggss", "vggss-extended", "vggss-heard", "vggss-unheard", "demo", "demo-train"} <= set(names)
    assert names == sorted(names)


@pytest.mark.parametrize("name", split_names())
def test_every_definition_describes_itself(name: str) -> None:
    summary = split_summary(name)
    assert summary.name == name
    assert summary.title
    assert summary.source
    assert summary.family
    assert summary.n > 0
    assert len(summary.sha256) == (0 if name == "vggsound-full" else 64)
    assert bool(summary.files) == (summary.kind != "demo")
    assert all(len(file.sha256) == 64 for file in summary.files.values() if name != "vggsound-full")


def test_an_unknown_split_names_the_closest() -> None:
    for call in (split_summary, load_split):
        with pytest.raises(UsageError, match=r"no split called 'vggs': did you mean vggss.*avbench list splits"):
            call("vggs")


def test_listing_imports_no_torch_or_numpy() -> None:
    code = "import sys, avbench.data.splits as s; s.split_summary('demo'); print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_vggss_asks_for_its_metadata() -> None:
    with pytest.raises(UsageError, match=r"vggss needs the official file vggss.json: pass --metadata DIR"):
        load_split("vggss")


def test_metadata_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected the folder of official files at .*none, found nothing"):
        load_split("vggss", metadata=tmp_path / "none")
    with pytest.raises(AvbenchError, match=r"there is no vggss.json in .* or below"):
        load_split("vggss", metadata=tmp_path)


def test_another_version_of_the_official_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vggss.json").write_text(json.dumps(ENTRIES))
    with pytest.raises(AvbenchError, match=r"is not the official vggss.json: expected SHA-256 ae300b4a259267e6"):
        load_split("vggss", metadata=tmp_path)


@pytest.mark.parametrize(("name", "n", "classes"), [("vggss", 5158, 221), ("vggss-heard", 2564, 110)])
def test_official_lists(shared: Path, name: str, n: int, classes: int) -> None:
    split = load_split(name, metadata=shared / "metadata")
    assert len(split.samples) == split.n == n
    assert split.sha256 == split_summary(name).sha256
    assert len({s.label for s in split.samples}) == classes
    assert not split.has_media
    assert all(s.image is None and s.audio is None and s.sounding for s in split.samples)


def test_official_order_and_relations(shared: Path) -> None:
    full, heard, unheard = (load_split(n, metadata=shared) for n in ("vggss", "vggss-heard", "vggss-unheard"))
    lists = shared / "metadata/vggss"
    assert [s.id for s in full.samples] == (lists / "vggss_test.csv").read_text().splitlines()
    assert [s.id for s in unheard.samples] == (lists / "vggss_unheard_test.csv").read_text().splitlines()
    labels = [{s.label for s in split.samples} for split in (heard, unheard)]
    assert labels[0].isdisjoint(labels[1])
    assert Counter(len(s.boxes) for s in full.samples) == {1: 4619, 2: 385, 3: 94, 4: 37, 5: 18, 6: 3, 7: 2}
    assert set(heard.samples) < set(full.samples)


def test_the_extended_set(shared: Path) -> None:
    plain, extended = (load_split(name, metadata=shared / "metadata") for name in ("vggss", "vggss-extended"))
    positives, negatives = extended.samples[:5158], extended.samples[5158:]
    assert positives == plain.samples
    assert len(negatives) == 5158
    assert extended.sha256 == split_summary("vggss-extended").sha256
    assert len({s.id for s in extended.samples}) == 10_316
    assert all(not s.sounding and not s.boxes for s in negatives)
    assert Counter(s.image_name for s in extended.samples).most_common(1)[0][1] == 2
    rows = (shared / "metadata/vggss/vggss_test_plus_silent.csv").read_text().splitlines()[1:]
    pairs = [row.removesuffix(",non-sounding").split(",") for row in rows]
    assert [s.id for s in negatives] == ["+".join(pair) for pair in pairs]
    assert [s.image_name for s in negatives] == [image for image, _ in pairs]


def test_the_label_noise_of_the_extended_set(shared: Path) -> None:
    samples = load_split("vggss-extended", metadata=shared / "metadata").samples
    classes = {s.id: s.label for s in samples if s.sounding}
    matched = [s for s in samples if s.id == f"{s.image_name}+{s.image_name}"]
    mismatched = [s for s in samples[5158:] if s.id != f"{s.image_name}+{s.image_name}"]
    assert (len(matched), len(mismatched)) == (379, 4779)
    assert all(s.label is None and not s.doubtful for s in matched)
    assert all(s.label is not None for s in mismatched)
    assert sum(s.doubtful for s in samples) == sum(s.doubtful for s in mismatched) == 1185
    assert all(s.doubtful == (classes[s.image_name] == s.label) for s in mismatched)
    assert all(s.label == classes[s.id.partition("+")[2]] for s in mismatched)


def test_media_of_the_extended_set(shared: Path) -> None:
    tiny = shared / "goldens/goldens/tiny"
    sample = load_split("vggss-extended", metadata=shared / "metadata", data=tiny).samples[-1]
    assert sample.image == tiny / "frames/t-yy7v7P0IE_000100.jpg"
    assert sample.audio == tiny / "audio/gTUu9V5zAME_000078.wav"


def test_the_extended_set_needs_both_official_files(shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / "metadata/vggss/vggss.json", tmp_path)
    with pytest.raises(AvbenchError, match=r"there is no vggss_test_plus_silent.csv in .* or below"):
        load_split("vggss-extended", metadata=tmp_path)
    content = (shared / "metadata/vggss/vggss_test_plus_silent.csv").read_bytes()
    (tmp_path / "vggss_test_plus_silent.csv").write_bytes(content[:-70])
    with pytest.raises(
        AvbenchError, match=r"is not the official vggss_test_plus_silent.csv: expected SHA-256 905a0094"
    ):
        load_split("vggss-extended", metadata=tmp_path)


@pytest.mark.parametrize("place", ["", "vggss", "deep/down/there"])
def test_the_official_file_is_found_in_the_folder_or_below(shared: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    shutil.copy(shared / "metadata/vggss/vggss.json", tmp_path / place)
    assert load_split("vggss", metadata=tmp_path).n == 5158


def test_official_media_layout(shared: Path) -> None:
    tiny = shared / "goldens/goldens/tiny"
    split = load_split("vggss", metadata=shared / "metadata", data=tiny)
    there = [s for s in split.samples if s.image and s.image.exists() and s.audio and s.audio.exists()]
    assert len(there) == 12
    assert split.has_media
    assert split.sha256 == split_summary("vggss").sha256
    absent = next(s for s in split.samples if s not in there)
    assert (absent.image, absent.audio) == (tiny / f"frames/{absent.id}.jpg", tiny / f"audio/{absent.id}.wav")


def test_folders_of_media_that_are_not_there(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected the folder of media at .*none, found none: check --data"):
        load_split("vggss", metadata=shared, data=tmp_path / "none")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UsageError, match=r"expected frames/ and audio/ in .*, found pictures: point --data at"):
        load_split("vggss", metadata=shared, data=tmp_path)


def test_a_users_own_split(tmp_path: Path) -> None:
    split = load_split(str(make_set(tmp_path)))
    first, second = split.samples
    assert (split.name, split.n, split.has_media) == ("mine", 2, True)
    assert (first.id, first.label, first.boxes) == ("a", "bell", ((0.0, 0.0, 0.5, 0.5),))
    assert (first.image, first.audio, first.mask) == (tmp_path / "frames/a.jpg", tmp_path / "audio/a.wav", None)
    assert len(second.boxes) == 2


def test_the_hash_follows_the_annotations_and_nothing_else(tmp_path: Path) -> None:
    one = load_split(str(make_set(tmp_path / "one")))
    moved = load_split(str(make_set(tmp_path / "two", name="other", frames="frames", audio="audio")))
    assert one.sha256 == moved.sha256
    rows = [["a", [[0.0, 0.0, 0.5, 0.5]], "bell", True, "a", "a"]]
    text = json.dumps(rows, separators=(",", ":"))
    assert (
        load_split(str(make_set(tmp_path / "by hand", ENTRIES[:1]))).sha256 == hashlib.sha256(text.encode()).hexdigest()
    )


@pytest.mark.parametrize(
    "change",
    [{"file": "c"}, {"class": "siren"}, {"bbox": [[0, 0, 0.5, 0.25]]}, {"audio": "b"}, {"sounding": False, "bbox": []}],
)
def test_the_hash_moves_with_every_part(tmp_path: Path, change: dict) -> None:
    before = load_split(str(make_set(tmp_path / "before")))
    after = load_split(str(make_set(tmp_path / "after", [ENTRIES[0] | change, ENTRIES[1]])))
    assert before.sha256 != after.sha256


def test_suffixes_and_shared_media(tmp_path: Path) -> None:
    path = make_set(tmp_path, [ENTRIES[0] | {"image": "x", "audio": "y"}, ENTRIES[1]])
    (tmp_path / "frames/x.png").touch()
    (tmp_path / "frames/x.jpeg").touch()
    (tmp_path / "frames/x.txt").touch()
    (tmp_path / "audio/y.flac").touch()
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/b.png").touch()
    first, second = load_split(str(path)).samples
    assert (first.image, first.audio, first.mask) == (tmp_path / "frames/x.png", tmp_path / "audio/y.flac", None)
    assert second.mask == tmp_path / "masks/b.png"


def test_samples_know_the_name_of_their_picture_and_their_sources(tmp_path: Path) -> None:
    things = [{"class": c, "bbox": [0, 0, 0.5, 0.5], "sounding": c == "bell"} for c in ("bell", "drum")]
    negative = {"file": "c", "image": "a", "class": "drum", "bbox": [], "sounding": False}
    entries = [ENTRIES[0] | {"image": "x", "objects": things}, ENTRIES[1], negative | {"objects": things[1:]}]
    first, second, third = load_split(str(make_set(tmp_path, entries))).samples
    assert [s.image_name for s in (first, second, third)] == ["x", "b", "a"]
    assert first.sources == (Source("bell", ((0.0, 0.0, 0.5, 0.5),)),)
    assert (second.sources, second.objects) == ((), None)
    assert [s.doubtful for s in (first, second, third)] == [False, False, True]


def test_the_name_of_the_picture_is_known_without_media(shared: Path) -> None:
    assert all(s.image_name == s.id and not s.doubtful for s in load_split("vggss", metadata=shared).samples)


def test_data_moves_the_folders_of_a_yaml_split(tmp_path: Path) -> None:
    path = make_set(tmp_path / "set")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(tmp_path / "set/frames", elsewhere / "frames")
    shutil.move(tmp_path / "set/audio", elsewhere / "audio")
    assert not load_split(str(path)).has_media
    split = load_split(str(path), data=elsewhere)
    assert split.has_media
    assert split.samples[0].image == elsewhere / "frames/a.jpg"
    with pytest.raises(UsageError, match=r"expected the folder of media at .*none"):
        load_split(str(path), data=tmp_path / "none")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"frame": "x"}, "mine.yaml: there is no key of a split file called 'frame': did you mean frames"),
        ({"audio": ""}, "expected a text under 'audio', it is missing; the keys are name, format"),
        ({"name": "3"}, "expected a text under 'name', got 3"),
        ({"format": "coco"}, "the format 'coco' is unknown: write format: vggss"),
        ({"name": "demo"}, "the name 'demo' belongs to a built-in split"),
        ({"name": "../up"}, "the name '../up' is no plain word"),
        ({"name": ".."}, "the name '..' is no plain word"),
        ({"annotations": "none.json"}, "expected an annotation file at .*none.json"),
        ({"name": "[unclosed"}, "mine.yaml is not YAML"),
    ],
)
def test_a_bad_yaml_file_is_refused(tmp_path: Path, keys: dict[str, str], message: str) -> None:
    with pytest.raises(AvbenchError, match=message) as caught:
        load_split(str(make_set(tmp_path, **keys)))
    assert "\n" not in str(caught.value)


def test_a_yaml_file_without_keys(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("- a\n- b\n")
    with pytest.raises(UsageError, match=r"a.yml holds no keys: expected name, format"):
        load_split(str(tmp_path / "a.yml"))
    with pytest.raises(UsageError, match=r"expected a split file at none.yaml: No such file"):
        load_split("none.yaml")


def test_boxes_of_a_user_are_checked_and_the_official_ones_kept(shared: Path, tmp_path: Path) -> None:
    path = make_set(tmp_path, [ENTRIES[0] | {"bbox": [[0, 0, 2, 1]]}])
    with pytest.raises(AvbenchError, match="leaves the frame"):
        load_split(str(path))
    shutil.copy(shared / "metadata/vggss/vggss.json", tmp_path / "boxes.json")
    assert load_split(str(path)).sha256 == split_summary("vggss").sha256


def test_a_demo_split_is_described_without_drawing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path))
    split = load_split("demo", draw=False)
    summary = split_summary("demo")
    assert (split.n, split.sha256, split.samples) == (summary.n, summary.sha256, ())
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="the split demo brings its own media: leave --data out"):
        load_split("demo", data=tmp_path)


def test_a_demo_split_is_read_from_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from avbench.data import demo

    thing = {"class": "bell", "bbox": [0, 0, 0.5, 0.5], "sounding": True}
    make_set(tmp_path, [ENTRIES[0] | {"sounding": True, "objects": [thing]}, ENTRIES[1]])
    (tmp_path / "boxes.json").rename(tmp_path / "annotations.json")
    asked = []

    def ensure(name: str, *, progress: object) -> Path:
        asked.append((name, progress))
        return tmp_path

    monkeypatch.setattr(demo, "ensure_demo", ensure)
    split = load_split("demo", progress=print)
    assert asked == [("demo", print)]
    assert split.samples[0].objects == ((0.0, 0.0, 0.5, 0.5),)
    assert split.samples[1].objects is None
    assert (split.sha256, split.source) == (split_summary("demo").sha256, splits.DEMO_SOURCE)


def test_real_media(shared: Path, tmp_path: Path) -> None:
    root = shared / "media/composed_test"
    path = tmp_path / "composed.yaml"
    path.write_text(
        f"name: composed\nformat: vggss\nannotations: {root}/annotations.json\nframes: frames\naudio: audio\n"
    )
    split: Split = load_split(str(path), data=root)
    assert split.n == 65
    assert all(p is not None and p.exists() for s in split.samples for p in (s.image, s.audio, s.mask))
