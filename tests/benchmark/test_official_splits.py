"""Every built-in split on the real official files: counts, hashes, and what is known of each list."""

import csv
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from avbench.data import splits
from avbench.data.annotations import Source
from avbench.data.splits import Split, load_split, split_names, split_summary
from avbench.errors import AvbenchError, UsageError
from avbench.truth import box_counts

REAL = [name for name in split_names() if split_summary(name).kind != "demo" and name != "vggsound-full"]
TRAIN = [name for name in REAL if split_summary(name).purpose == "train"]
VALIDATION = [name for name in REAL if split_summary(name).purpose == "validation"]

COUNTS = {
    "vggss": 5158,
    "vggss-4911": 4911,
    "vggss-4692": 4692,
    "vggss-4670": 4670,
    "vggss-4655": 4655,
    "vggss-heard": 2564,
    "vggss-unheard": 2575,
    "vggss-ssltie-heard": 2425,
    "vggss-ssltie-unheard": 2463,
    "vggss-extended": 10_316,
    "vggss-clean": 1449,
    "flickr": 250,
    "flickr-249": 249,
    "flickr-extended": 500,
    "avsbench-s4": 3700,
    "avsbench-ms3": 320,
    "is3": 6480,
    "vpo-ss": 890,
    "vpo-ms": 2157,
    "vggsound-duet": 10_316,
    "vggsound-duet-official": 10_316,
    "vggsound-instruments": 446,
    "vggsound-instruments-duet": 892,
    "music-duet": 1020,
    "music-duet-corners": 1020,
    "music-solo": 2124,
    "music-solo-corners": 2124,
    "vggsound-10k": 10_000,
    "vggsound-144k": 144_000,
    "vggsound-heard": 59_468,
    "vggsound-ssltie-heard": 70_000,
    "flickr-10k": 10_000,
    "flickr-144k": 144_000,
    "flickr-supervised": 4750,
    "flickr-10k-supervised": 14_737,
    "vggsound-10k-val": 500,
    "vggsound-144k-val": 1000,
    "vggsound-heard-val": 1000,
    "vggsound-ssltie-heard-val": 1000,
    "flickr-10k-val": 500,
    "flickr-144k-val": 1000,
    "flickr-supervised-val": 500,
}

SIZES = {
    "vggss": (134, 1796, 1726, 1502),
    "vggss-heard": (76, 922, 871, 695),
    "vggss-unheard": (58, 873, 850, 794),
    "vggss-4911": (126, 1715, 1644, 1426),
    "vggss-4692": (124, 1635, 1559, 1374),
    "vggss-4670": (125, 1631, 1548, 1366),
    "vggss-4655": (120, 1596, 1569, 1370),
    "is3": (56, 1810, 2634, 1980),
    "vpo-ss": (199, 250, 190, 251),
    "vpo-ms": (438, 702, 454, 563),
}
"""Samples below 32, 96 and 144 squared pixels, and above."""

EMPTY = {
    "vggss": 2,
    "vggss-heard": 2,
    "vggss-4655": 2,
    "vggss-4692": 1,
    "vggss-4670": 1,
    "vggss-4911": 0,
    "vggss-unheard": 0,
    "is3": 0,
    "vpo-ss": 0,
    "vpo-ms": 2,
    "avsbench-s4": 6,
    "avsbench-ms3": 29,
}
"""Samples without a pixel of truth."""


@cache
def loaded(name: str, metadata: Path) -> Split:
    return load_split(name, metadata=metadata, truth=False)


@cache
def areas(name: str, metadata: Path) -> dict[str, int]:
    """Pixels of each sample's boxes together."""
    samples = loaded(name, metadata).samples
    parts = [samples[n : n + 256] for n in range(0, len(samples), 256)]
    sums = [box_counts([s.boxes for s in part]).clip(max=1).sum(axis=(1, 2), dtype=int).tolist() for part in parts]
    return dict(zip((s.id for s in samples), (area for part in sums for area in part), strict=True))


@pytest.fixture
def get(shared: Path):
    return lambda name: loaded(name, shared / "metadata")


@pytest.fixture
def area_of(shared: Path):
    """Area by sample; a list of VGG-SS takes those of the whole."""

    def find(name: str) -> list[int]:
        metadata = shared / "metadata"
        known = areas("vggss" if name.startswith("vggss") else name, metadata)
        return [known[s.id] for s in loaded(name, metadata).samples]

    return find


def ids(split: Split) -> list[str]:
    return [s.id for s in split.samples]


def test_the_counts_are_those_of_all_splits() -> None:
    assert sorted(COUNTS) == REAL
    assert {name: split_summary(name).n for name in REAL} == COUNTS


@pytest.mark.parametrize("name", REAL)
def test_count_hash_and_names(get, name: str) -> None:
    split, known = get(name), split_summary(name)
    assert len(split.samples) == split.n == COUNTS[name]
    assert split.sha256 == known.sha256
    assert (split.family, split.purpose, split.has_media) == (known.family, known.purpose, False)
    assert len(set(ids(split))) == split.n
    assert all(s.names.image and s.names.audio and s.image_name for s in split.samples)


@pytest.mark.parametrize("name", SIZES)
def test_sizes(area_of, name: str) -> None:
    numbers = np.searchsorted([32**2, 96**2, 144**2], area_of(name), side="right")
    assert tuple(np.bincount(numbers, minlength=4).tolist()) == SIZES[name]


@pytest.mark.parametrize("name", EMPTY)
def test_empty_truth_is_kept(get, area_of, name: str) -> None:
    assert sum(area == 0 for area in area_of(name)) == EMPTY[name]
    assert all(s.boxes and s.sounding for s in get(name).samples)


def test_the_lists_of_vggss(get) -> None:
    full = get("vggss")
    names = ("vggss-4911", "vggss-4692", "vggss-4670", "vggss-4655")
    lists = [set(ids(get(name))) for name in names]
    shared = {(a, b): len(lists[a] & lists[b]) for a in range(4) for b in range(a + 1, 4)}
    assert list(shared.values()) == [4461, 4440, 4436, 4637, 4403, 4383]
    assert len(set.intersection(*lists)) == 4142
    by_id = {s.id: s for s in full.samples}
    for name in (*names, "vggss-clean", "vggss-ssltie-heard", "vggss-ssltie-unheard"):
        assert all(by_id[s.id] == s for s in get(name).samples)
        if name in names:
            assert len({s.label for s in get(name).samples}) == 221, name


def test_heard_and_unheard_classes(get) -> None:
    labels = {n: {s.label for s in get(n).samples} for n in REAL if n.startswith("vggss") and "heard" in n}
    assert {len(found) for found in labels.values()} == {110}
    assert labels["vggss-heard"].isdisjoint(labels["vggss-unheard"])
    assert labels["vggss-ssltie-heard"].isdisjoint(labels["vggss-ssltie-unheard"])
    assert len(labels["vggss-heard"] & labels["vggss-ssltie-heard"]) == 52
    both = set(ids(get("vggss-ssltie-heard"))) | set(ids(get("vggss-ssltie-unheard")))
    rest = {s.label for s in get("vggss-4911").samples if s.id not in both}
    assert rest == {"playing trombone"}


def test_the_clean_part_shares_nothing_with_the_training_list(get) -> None:
    train, clean = set(ids(get("vggsound-144k"))), ids(get("vggss-clean"))
    assert train.isdisjoint(clean)
    assert clean == [name for name in ids(get("vggss")) if name not in train]


def test_flickr(get) -> None:
    full, older, extended = (get(name) for name in ("flickr", "flickr-249", "flickr-extended"))
    assert [name for name in ids(full) if name != "3908875350"] == ids(older)
    assert all(s.consensus and s.sounding and s.boxes == () and s.label is None for s in full.samples)
    assert extended.samples[:250] == full.samples
    negatives = extended.samples[250:]
    assert not any(s.sounding or s.consensus or s.doubtful for s in negatives)
    assert sorted(s.names.image for s in negatives) == sorted(ids(full))
    uses = Counter(s.names.audio for s in negatives)
    assert (len(uses), max(uses.values())) == (160, 5)
    assert all(s.names.image != s.names.audio for s in negatives)


def test_avsbench(get) -> None:
    s4, ms3 = get("avsbench-s4"), get("avsbench-ms3")
    for split, clips in ((s4, 740), (ms3, 64)):
        assert set(Counter(s.names.audio for s in split.samples).values()) == {5}
        assert len({s.names.audio for s in split.samples}) == clips
        assert all(s.id == s.image_name == s.names.mask for s in split.samples)
        assert all(s.id.removesuffix(s.id[-2:]) == s.names.audio and s.id[-1] in "12345" for s in split.samples)
    per_class = Counter(s.label for s in s4.samples)
    assert (len(per_class), per_class["coyote_howling"], per_class["helicopter"]) == (23, 45, 235)
    assert {s.label for s in ms3.samples} == {None}
    assert s4.samples[0].boxes == ((21 / 224, 72 / 224, 196 / 224, 140 / 224),)
    assert ms3.samples[0].boxes == ((0.0, 0.0, 0.0, 0.0),)


def test_avsbench_clips_are_those_of_the_official_test_split(shared: Path, get) -> None:
    for name, file in (("avsbench-s4", "s4_meta_data.csv"), ("avsbench-ms3", "ms3_meta_data.csv")):
        rows = _rows(shared / "metadata/avsbench" / file)
        assert {s.names.audio for s in get(name).samples} == {row[0] for row in rows if row[-1] == "test"}
    categories = {row[0]: row[2] for row in _rows(shared / "metadata/avsbench/s4_meta_data.csv")}
    assert all(s.label == categories[s.names.audio] for s in get("avsbench-s4").samples)


def test_groups_of_one_picture(get) -> None:
    groups = {name: Counter(s.image_name for s in get(name).samples) for name in ("is3", "vpo-ss", "vpo-ms")}
    sizes = {name: Counter(found.values()) for name, found in groups.items()}
    assert sizes == {"is3": {2: 3240}, "vpo-ss": {1: 890}, "vpo-ms": {1: 759, 2: 623, 3: 49, 5: 1}}
    assert len({s.label for s in get("is3").samples}) == 111
    assert all(s.id == f"{s.image_name}_{s.label}" for s in get("is3").samples)
    assert all(s.names.image == s.names.audio == s.id for name in groups for s in get(name).samples)
    alike = [{s.boxes for s in get("vpo-ms").samples if s.image_name == group} for group in list(groups["vpo-ms"])[:50]]
    assert all(alike)


def test_vggsound_duet(shared: Path, get) -> None:
    plain, own, official = (get(name) for name in ("vggss", "vggsound-duet", "vggsound-duet-official"))
    boxes = {s.id: s for s in plain.samples}
    rows = _rows(shared / "metadata/multisource/vggsound_duet_test.csv")
    partner = {row[0]: row[2] for row in rows}
    assert len(set(partner.values())) == 3255
    assert len(rows) * 2 == own.n
    for number, (x, x_class, y, _) in enumerate(rows):
        first, second = own.samples[2 * number : 2 * number + 2]
        assert (first.names.image, first.names.audio, first.names.mixed) == (x, x, y)
        assert (second.names.image, second.names.audio, second.names.mixed) == (y, y, x)
        assert (first.boxes, second.boxes) == (boxes[x].boxes, boxes[y].boxes)
        wrong = official.samples[2 * number : 2 * number + 2]
        assert tuple(s.boxes for s in wrong) == (boxes[y].boxes, boxes[partner[y]].boxes)
        assert first.label == boxes[x].label
        assert x_class == "_".join(first.label.replace(",", " ").split())
    assert ids(own) == ids(official)
    assert sum(partner[partner[x]] == x for x in partner) == 2
    assert not any(s.sources or s.objects for s in own.samples)


def _rows(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def test_vggsound_instruments(get) -> None:
    single, duet = get("vggsound-instruments"), get("vggsound-instruments-duet")
    assert len({s.label for s in single.samples}) == 36
    assert all(s.sounding and not s.boxes and s.names.mask == s.id for s in single.samples)
    assert len({s.names.mixed for s in duet.samples[::2]}) == 255
    classes = {s.id: s.label for s in single.samples}
    for s in duet.samples:
        assert s.label == classes[s.names.image] != classes[s.names.mixed]
        assert s.names.mask == s.names.image == s.names.audio


def test_music(shared: Path, get) -> None:
    duet, solo = get("music-duet"), get("music-solo")
    assert len({s.names.audio for s in duet.samples}) == 6
    assert len({s.names.audio for s in solo.samples}) == 20
    assert len({s.label for s in solo.samples}) == 7
    assert Counter(s.label for s in duet.samples)["cello and acoustic_guitar"] == 1012
    assert all(len(s.sources) == 2 and s.boxes == tuple(b for o in s.sources for b in o.boxes) for s in duet.samples)
    entry = json.loads((shared / "metadata/multisource/music_duet.json").read_text())[0]
    x, y, width, height = entry["bbox_src1"]
    assert duet.samples[0].sources[0] == Source("cello", ((x, y, x + width, y + height),))
    lists = [
        (shared / f"metadata/multisource/music_{name}_test.csv").read_text().splitlines() for name in ("duet", "solo")
    ]
    assert [ids(duet), ids(solo)] == [lists[0], [row.partition(",")[0] for row in lists[1]]]
    assert all(0 <= a < c <= 1 and 0 <= b < d <= 1 for s in (*duet.samples, *solo.samples) for a, b, c, d in s.boxes)


def test_music_read_as_corners_has_boxes_without_area(get) -> None:
    second = [s.boxes[1] for s in get("music-duet-corners").samples]
    assert sum(x1 <= x0 for x0, _, x1, _ in second) == 1001
    assert sum(y1 <= y0 for _, y0, _, y1 in second) == 1014
    only = [s.boxes[0] for s in get("music-solo-corners").samples]
    assert sum(x1 <= x0 for x0, _, x1, _ in only) == 748
    assert sum(y1 <= y0 for _, y0, _, y1 in only) == 899


@pytest.mark.parametrize("name", [*TRAIN, *VALIDATION])
def test_training_and_validation_lists_carry_no_truth(get, name: str) -> None:
    samples = get(name).samples
    assert all(s.sounding and s.boxes == () and s.label is None and s.mask is None for s in samples)
    assert all(s.names.image == s.names.audio == s.id for s in samples)
    some = {False, True} if name == "flickr-10k-supervised" else {name.startswith("flickr-supervised")}
    assert {s.consensus for s in samples} == some


def test_the_annotated_clips_follow_those_of_flickr_10k(get) -> None:
    plain, annotated = ids(get("flickr-10k")), ids(get("flickr-supervised"))
    split = get("flickr-10k-supervised")
    assert ids(split) == plain + [name for name in annotated if name not in set(plain)]
    assert {s.id for s in split.samples if s.consensus} == set(annotated)
    assert sum(s.consensus for s in split.samples[:10_000]) == 13
    assert {s.id for s in get("flickr").samples} & set(ids(split)) == {"4767923306"}


def test_training_lists_as_the_official_files_have_them(shared: Path, get) -> None:
    for name in sorted({*TRAIN} - {"flickr-10k-supervised"}):
        (wanted,) = split_summary(name).files.values()
        (path,) = (shared / "metadata").rglob(wanted.name)
        assert ids(get(name)) == path.read_text().splitlines(), name
    assert len(set(ids(get("vggsound-10k"))) & set(ids(get("vggsound-144k")))) == 7211
    assert set(ids(get("flickr-10k"))) < set(ids(get("flickr-144k")))


def test_a_list_that_nobody_had_at_hand_is_checked_by_its_count(tmp_path: Path, monkeypatch) -> None:
    known = split_summary("vggsound-full")
    assert (known.n, known.sha256, known.files["list"].sha256) == (190_228, "", "")
    monkeypatch.setattr(splits, "split_summary", lambda name: replace(known, n=3))
    path = tmp_path / "train_vggss_190228.txt"
    lines = [f"{n:011d}_000030" for n in range(3)]
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(AvbenchError, match=r"vggsound-full has 3 samples, its files gave 2: fetch the official ones"):
        load_split("vggsound-full", metadata=tmp_path)
    path.write_text("\n".join(lines))
    split = load_split("vggsound-full", metadata=tmp_path)
    assert (ids(split), split.purpose, len(split.sha256)) == (lines, "train", 64)


def test_official_files_are_found_under_their_official_names(shared: Path, tmp_path: Path, get) -> None:
    for ours, theirs in (("vggss.json", "vggss.json"), ("vggss_alignment_4655.txt", "ours_vggss.txt")):
        (tmp_path / theirs).write_bytes((shared / "metadata/vggss" / ours).read_bytes())
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for count, folder in ((249, "a"), (250, "b")):
        content = (shared / f"metadata/flickr/flickr_test_{count}.csv").read_bytes()
        (tmp_path / folder / "flickr_test.csv").write_bytes(content)
    assert load_split("vggss-4655", metadata=tmp_path).samples == get("vggss-4655").samples
    assert load_split("flickr", metadata=tmp_path, truth=False) == get("flickr")
    assert load_split("flickr-249", metadata=tmp_path, truth=False) == get("flickr-249")


def test_files_that_were_fetched_are_found_without_being_named(shared: Path, store: Path, get) -> None:
    with pytest.raises(
        UsageError, match=r"music-solo needs the official file music_solo.json: pass .*data fetch music"
    ):
        load_split("music-solo")
    (store / "metadata/multisource").mkdir(parents=True)
    content = (shared / "metadata/multisource/music_solo.json").read_bytes()
    (store / "metadata/multisource/music_solo.json").write_bytes(content)
    assert load_split("music-solo") == get("music-solo")
    (store / "metadata/multisource/music_solo.json").write_bytes(content[:-1])
    with pytest.raises(AvbenchError, match=r"home/metadata/.*music_solo.json is not the official music_solo.json"):
        load_split("music-solo")


def test_a_missing_file_says_what_brings_it(tmp_path: Path) -> None:
    with pytest.raises(AvbenchError, match=r"no vggss_144k.txt in .*: avbench data fetch vggsound --to .* brings it"):
        load_split("vggsound-144k", metadata=tmp_path)


def test_loading_imports_neither_torch_nor_numpy(shared: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from avbench.data.splits import load_split;"
        f"load_split('vpo-ss', metadata=Path({str(shared / 'metadata')!r}));"
        "print({'torch', 'numpy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
