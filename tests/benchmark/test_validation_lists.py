"""Lists to validate on: the draw, what it leaves to train on, and that nothing tested on is in them."""

import hashlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from avbench.commands import data_check
from avbench.data.held_out import check_validation, require_disjoint, shared_ids, without
from avbench.data.places import MediaNames
from avbench.data.readers_lists import read_validation
from avbench.data.splits import DEMO_SOURCE, Sample, Split, load_split, split_names, split_summary
from avbench.errors import UsageError

LEFT = {
    "vggsound-10k": 9491,
    "vggsound-144k": 142_739,
    "vggsound-heard": 57_975,
    "vggsound-ssltie-heard": 68_637,
    "flickr-10k": 9500,
    "flickr-144k": 143_000,
    "flickr-supervised": 4250,
}
"""Training lists, and how much of each is of no video of its validation list."""

TESTS = [n for n in split_names() if split_summary(n).purpose == "test" and split_summary(n).kind != "demo"]


@cache
def loaded(name: str, metadata: Path) -> Split:
    return load_split(name, metadata=metadata, truth=False)


@pytest.fixture
def get(shared: Path):
    return lambda name: loaded(name, shared / "metadata")


def ids(split: Split) -> list[str]:
    return [sample.id for sample in split.samples]


def made(*names: str, name: str = "made") -> Split:
    """A split of clips, without truth."""
    samples = tuple(Sample(n, None, None, (), image_name=n, names=MediaNames(n, n, None, n)) for n in names)
    return Split(name, name, samples, f"hash of {name}", len(samples), has_media=False, source="made")


def video(name: str) -> str:
    """The YouTube id of a clip or frame, else the name: written apart from what is tested."""
    return name[:11] if name[11:12] == "_" and not name[:11].isdecimal() else name


@cache
def videos_by_test(metadata: Path) -> dict[str, set[str]]:
    """What each test list is cut from, whether seen, heard or mixed in."""
    found = {}
    for test in TESTS:
        named = ((s.id, s.names.image, s.names.audio, s.names.mixed) for s in loaded(test, metadata).samples)
        found[test] = {video(each) for names in named for each in names if each}
    return found


def test_every_training_list_at_hand_has_one() -> None:
    validation = {n.removesuffix("-val") for n in split_names() if split_summary(n).purpose == "validation"}
    train = {n for n in split_names() if split_summary(n).purpose == "train"}
    assert validation == {*LEFT, "demo"}
    of_parts = {"flickr-10k-supervised"}  # made of two lists that have one each
    assert train - validation == {"vggsound-full", "demo-train", "demo-heard-train", *of_parts}


@pytest.mark.parametrize("drawn", ["flickr-10k-val", "flickr-supervised-val"])
def test_the_lists_of_the_parts_serve_their_union(get, drawn: str) -> None:
    union = get("flickr-10k-supervised")
    assert without(union, get(drawn)).n == union.n - 500


@pytest.mark.parametrize("name", LEFT)
def test_the_draw_is_the_rule_and_nothing_else(shared, get, name: str) -> None:
    tested = set().union(*videos_by_test(shared / "metadata").values())
    free = [each for each in ids(get(name)) if video(each) not in tested]
    order = sorted(free, key=lambda each: hashlib.sha256(b"avbench-validation:" + each.encode()).digest())
    drawn = ids(get(f"{name}-val"))
    wanted = set(order[: len(drawn)])
    assert drawn == [each for each in ids(get(name)) if each in wanted]


@pytest.mark.parametrize("name", LEFT)
def test_no_test_list_shares_an_id_or_a_video(shared, get, name: str) -> None:
    mine = {video(each) for each in ids(get(f"{name}-val"))}
    assert not {test for test, theirs in videos_by_test(shared / "metadata").items() if mine & theirs}


def test_what_was_drawn_passes_as_a_list_of_ones_own_would(get) -> None:
    for name in ("vggsound-144k-val", "flickr-144k-val"):
        require_disjoint(get(name), map(get, ("vggss-extended", "avsbench-s4", "flickr-extended", "music-duet")))
    with pytest.raises(UsageError, match="are of videos that the test list vggss-extended holds"):
        require_disjoint(get("vggsound-144k"), [get("vggss-extended")])


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_to_train_on(get, name: str) -> None:
    train, drawn = get(name), get(f"{name}-val")
    left = without(train, drawn)
    assert (left.n, len(left.samples)) == (LEFT[name], LEFT[name])
    held = {video(each) for each in ids(drawn)}
    assert left.samples == tuple(s for s in train.samples if video(s.id) not in held)
    assert left.name == f"{name} minus {name}-val"
    assert len({left.sha256, train.sha256, drawn.sha256}) == 3
    assert (left.purpose, left.family, left.source) == (train.purpose, train.family, train.source)


def test_the_hash_of_what_is_left_is_that_of_a_list_without_it(get) -> None:
    left = without(get("flickr-supervised"), get("flickr-supervised-val"))
    rows = [[s.id, [], None, True, s.id, s.id, {"consensus": True}] for s in left.samples]
    assert left.sha256 == hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


@pytest.mark.parametrize("name", ["is3", "flickr-extended", "vggsound-instruments-duet", "avsbench-ms3"])
def test_the_hash_takes_all_that_an_entry_has(get, name: str) -> None:
    split = get(name)
    more = replace(split.samples[0], id="zzzzzzzzzzz_000001", names=MediaNames("z", "z", None, "z"), image_name="z")
    longer = replace(split, samples=(*split.samples, more), n=split.n + 1)
    assert without(longer, made("z")).sha256 == split.sha256


def test_removal_is_by_video_and_keeps_the_order() -> None:
    train = made("ddddddddddd_000001", "aaaaaaaaaaa_000010", "ccccccccccc_000007", "aaaaaaaaaaa_000050")
    held_out = made("aaaaaaaaaaa_10000_20000", "bbbbbbbbbbb_000000", name="val")
    left = without(train, held_out)
    assert ids(left) == ["ddddddddddd_000001", "ccccccccccc_000007"]
    assert (left.name, left.title, left.n) == ("made minus val", "made, without the videos of val", 2)


def test_where_nothing_is_shared_the_split_stays_itself() -> None:
    train = made("aaaaaaaaaaa_000010")
    assert without(train, made("bbbbbbbbbbb_000010")) is train
    assert without(replace(train, n=2), made("bbbbbbbbbbb_000010")).n == 2


def test_nothing_left_to_train_on() -> None:
    train = made("aaaaaaaaaaa_000010")
    with pytest.raises(UsageError, match="nothing of made is left to train on without the videos of val: validate on"):
        without(train, made("aaaaaaaaaaa_000050", name="val"))


def test_a_list_that_lacks_samples_already() -> None:
    train = replace(made("aaaaaaaaaaa_000010", "bbbbbbbbbbb_000010"), n=3)
    with pytest.raises(UsageError, match="made holds 2 of its 3 samples: take val out of the whole list"):
        without(train, made("aaaaaaaaaaa_000050", name="val"))


def test_the_demo_world_shares_where_it_is_drawn_alike() -> None:
    train, validation, test, extended = (
        replace(made("demo_00000", name=name), source=DEMO_SOURCE)
        for name in ("demo-train", "demo-val", "demo", "demo-extended")
    )
    assert without(train, validation) is train
    assert shared_ids(test, extended) == ("demo_00000",)
    assert shared_ids(test, validation) == ()
    assert shared_ids(made("demo_00000"), test) == (), "names that others give say nothing of the demo world"
    with pytest.raises(UsageError, match=r"1 of 1 samples of demo-extended \(demo_00000\) are of videos that the test"):
        require_disjoint(extended, [test])


def test_a_test_list_is_no_list_to_validate_on(store) -> None:
    validation = replace(made("demo_00000", name="demo"), source=DEMO_SOURCE)
    with pytest.raises(UsageError, match="demo is a list to test on: validate on another, such as those called -val"):
        check_validation(validation)


def test_a_list_of_ones_own_that_holds_videos_by_test(shared) -> None:
    names = [f"{name[:11]}_000999" for name in ids(loaded("avsbench-s4", shared / "metadata"))[::5][:5]]
    mine = made(*names, "bbbbbbbbbbb_000010", name="mine")
    with pytest.raises(
        UsageError, match=r"5 of 6 samples of mine \(.{11}_000999, .*, .*, \.\.\.\) .* list avsbench-s4"
    ):
        check_validation(mine, metadata=shared / "metadata/avsbench")
    absent = check_validation(made("bbbbbbbbbbb_000010"), metadata=shared / "metadata/avsbench")
    assert set(TESTS) - set(absent) == {"avsbench-s4", "avsbench-ms3"}


def test_lists_that_are_not_at_hand_are_named(store) -> None:
    assert check_validation(made("bbbbbbbbbbb_000010")) == tuple(TESTS)


def test_the_lists_of_the_package_are_not_compared_again(get, store) -> None:
    assert check_validation(get("flickr-10k-val")) == ()


def test_the_draw_by_hand(tmp_path) -> None:
    (tmp_path / "list.txt").write_text("\n".join(f"{letter * 11}_000000" for letter in "abcdefgh"))
    order = "gbdfeahc"  # by sha256sum of avbench-validation: and the id
    options = {"n": "3"}
    drawn = [a.id[0] for a in read_validation({"list": tmp_path / "list.txt"}, options)]
    assert drawn == sorted(order[:3])
    options["excluded"] = f"{order[1] * 11}\n{'z' * 11}"
    drawn = [a.id[0] for a in read_validation({"list": tmp_path / "list.txt"}, options)]
    assert drawn == sorted(order[0] + order[2:4])


def test_data_check_compares_it_with_the_test_lists(shared, capsys) -> None:
    given = ["--split", "flickr-144k-val", "--metadata", str(shared / "metadata/flickr")]
    assert data_check.main(given) == 0
    page = capsys.readouterr().out
    assert "leakage   0 of 250 samples of flickr are in the validation list flickr-144k-val\n" in page
    assert "in the training list" not in page
    assert data_check.main([*given, "--train", "flickr-10k"]) == 0
    assert "samples of flickr-144k-val are in the training list flickr-10k" in capsys.readouterr().out
