"""Overlap of training and test lists: by hand, and as counted on the official files."""

import csv
import json
from types import SimpleNamespace

import pytest

from avbench.commands import data_check
from avbench.commands.data_leakage import of_checkpoints
from avbench.data.leakage import TrainingClips, clip_of, kind_of, overlap, video_of
from avbench.data.places import MediaNames
from avbench.data.splits import Sample, Split, load_split
from avbench.errors import AvbenchError, UsageError


def split_of(pairs, name="made") -> Split:
    """A split of ``(picture, sound)`` names, or of ``(picture, sound, sound mixed in)``."""
    samples = tuple(
        Sample(f"s{i}", None, None, (), names=MediaNames(pair[0], pair[1], *pair[2:])) for i, pair in enumerate(pairs)
    )
    return Split(name, name, samples, "", len(samples), has_media=False, source="made")


def clips(*names: str, name="made") -> Split:
    return split_of([(each, each) for each in names], name)


@pytest.fixture(scope="module")
def trains(shared):
    """Training lists, each read when first asked for."""
    known: dict[str, TrainingClips] = {}

    def train(name: str) -> TrainingClips:
        if name not in known:
            known[name] = TrainingClips(load_split(name, metadata=shared / "metadata", truth=False))
        return known[name]

    return train


@pytest.mark.parametrize(
    ("name", "clip", "video"),
    [
        ("-0BIyqJj9ZU_000030", "-0BIyqJj9ZU_000030", "-0BIyqJj9ZU"),
        ("gklbB7TYoK4_30000_40000", "gklbB7TYoK4_000030", "gklbB7TYoK4"),
        ("a_b-c_d-e_f_000001", "a_b-c_d-e_f_000001", "a_b-c_d-e_f"),
        ("0d9u2CymIxc", "0d9u2CymIxc", "0d9u2CymIxc"),
        ("rq5RDUm2Hnk_1_3", "rq5RDUm2Hnk_1_3", "rq5RDUm2Hnk"),
        ("HnUOaSfTA6c_000_00007", "HnUOaSfTA6c_000_00007", "HnUOaSfTA6c"),
        ("10000130166", "10000130166", "10000130166"),
        ("000000062491_432356", "000000062491_432356", "000000062491_432356"),
        ("accordion_female_10438_accordion",) * 3,
    ],
)
def test_names_tell_clip_and_video(name, clip, video):
    assert clip_of(name) == clip
    assert video_of(name) == video


def test_kinds_of_names():
    assert kind_of(clips("-0BIyqJj9ZU_000030", "HnUOaSfTA6c_000_00007")) == "youtube"
    assert kind_of(clips("10000130166", "4767923306")) == "flickr"
    assert kind_of(clips("sample0190", "accordion_female_10438_accordion")) == "own"
    assert kind_of(clips()) == "own"
    assert not TrainingClips(clips("10000130166")).comparable(clips("-0BIyqJj9ZU_000030"))


def test_a_clip_and_another_clip_of_its_video():
    train = clips("aaaaaaaaaaa_000010", "bbbbbbbbbbb_000020")
    test = clips("aaaaaaaaaaa_10000_20000", "aaaaaaaaaaa_000050", "ccccccccccc_000000", name="test")
    found = overlap(train, test)
    assert found.ids == ("s0",)
    assert found.videos == ("s0", "s1")
    assert (found.test_videos, found.shared_videos) == (2, 1)
    assert (found.n_train, found.n_test) == (2, 3)
    told = "1 of 3 samples of test are in the training list made, and 1 more is cut from its videos"
    assert found.told == told


def test_picture_sound_and_what_is_mixed_in_count_once_each_sample():
    train = clips("aaaaaaaaaaa_000010")
    known, other = "aaaaaaaaaaa_000010", "ccccccccccc_000000"
    found = overlap(train, split_of([(known, known), (known, other), (other, known), (other, other, known)]))
    assert found.ids == ("s0", "s1", "s2", "s3")
    assert (found.pictures, found.sounds) == (2, 2)


def test_nothing_in_common():
    found = overlap(clips("a"), clips("b", name="test"))
    assert (found.ids, found.videos, found.shared_videos) == ((), (), 0)
    assert found.told == "0 of 1 samples of test are in the training list made"


@pytest.mark.parametrize(
    ("train", "test", "ids", "videos"),
    [
        ("vggsound-144k", "vggss", 3709, 3784),
        ("vggsound-10k", "vggss", 238, 252),
        ("vggsound-heard", "vggss", 0, 1),
        ("vggsound-ssltie-heard", "vggss", 2306, 2315),
        ("vggsound-144k", "vggss-heard", 1859, 1895),
        ("vggsound-144k", "vggss-unheard", 1840, 1879),
        ("vggsound-144k", "vggss-clean", 0, 75),
        ("vggsound-ssltie-heard", "vggss-ssltie-heard", 2299, 2308),
        ("vggsound-ssltie-heard", "vggss-ssltie-unheard", 0, 0),
        ("vggsound-144k", "avsbench-ms3", 0, 0),
        ("flickr-144k", "flickr", 20, 20),
        ("flickr-10k", "flickr", 1, 1),
        ("flickr-supervised", "flickr", 0, 0),
        ("flickr-10k-supervised", "flickr", 1, 1),
    ],
)
def test_the_counts_on_the_official_lists(shared, trains, train, test, ids, videos):
    found = trains(train).overlap(load_split(test, metadata=shared / "metadata", truth=False))
    assert (len(found.ids), len(found.videos)) == (ids, videos)


def test_the_clip_of_the_small_flickr_list_is_known_by_name(shared, trains):
    found = trains("flickr-10k").overlap(load_split("flickr", metadata=shared / "metadata", truth=False))
    assert found.ids == ("4767923306",)


def test_s4_shares_videos_and_no_clip(shared, trains):
    found = trains("vggsound-144k").overlap(load_split("avsbench-s4", metadata=shared / "metadata"))
    assert not found.ids
    assert (found.test_videos, found.shared_videos) == (740, 564)


def test_negatives_of_the_extended_sets(shared, trains):
    with (shared / "metadata" / "vggss" / "vggss_test_plus_silent.csv").open() as file:
        rows = [row[:2] for row in csv.reader(file)][1:]
    matched = trains("vggsound-144k").overlap(split_of([row for row in rows if row[0] == row[1]]))
    assert (matched.n_test, len(matched.ids), len(matched.videos)) == (379, 0, 261)
    with (shared / "metadata" / "flickr" / "flickr_test_plus_silent.csv").open() as file:
        rows = [row[:2] for row in csv.reader(file)][1:]
    found = trains("flickr-144k").overlap(split_of(rows))
    assert (found.pictures, found.sounds) == (20, 27)


@pytest.fixture
def user_sets(tmp_path):
    """YAML files of a training and a test set that share one of three clips."""
    found = {}
    for name, ids in (("train", "abcd"), ("test", "cxy")):
        entries = [{"file": f"clip-{i}", "class": "thing", "bbox": [[0.1, 0.1, 0.6, 0.6]]} for i in ids]
        (tmp_path / f"{name}.json").write_text(json.dumps(entries))
        found[name] = tmp_path / f"{name}.yaml"
        found[name].write_text(f"name: my-{name}\nformat: vggss\nannotations: {name}.json\nframes: f\naudio: a\n")
    return found


def test_the_matrix_of_lists_of_ones_own(user_sets, store, capsys):
    given = ["--leakage", "--split", str(user_sets["test"]), "--train", str(user_sets["train"])]
    assert data_check.main(given) == 0
    assert "my-test        3     1 / 1" in capsys.readouterr().out
    assert data_check.main([*given, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["train"], found["test"], found["ids"]) == ("my-train", "my-test", ["clip-c"])


def test_the_matrix_of_all_lists_at_hand(shared, store, capsys, tmp_path):
    for name in ("flickr/flickr_10k.txt", "flickr/flickr_test_250.csv", "vggss/vggss_heard.txt", "vggss/vggss.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((shared / "metadata" / name).read_bytes())
    assert data_check.main(["--leakage", "--metadata", str(tmp_path)]) == 0
    told = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:] for line in told.out.splitlines() if line and line[0] != " "}
    assert rows["flickr"] == ["250", "1", "/", "1"]
    assert "not at hand, left out" in told.err
    assert "vggsound-144k" in told.err
    assert "vggsound-144k" not in told.out


def test_leakage_without_any_list(store):
    with pytest.raises(AvbenchError, match="no training list or no test list at hand: avbench data fetch all"):
        data_check.main(["--leakage"])


def test_a_list_that_was_named_has_to_be_there(store, user_sets):
    with pytest.raises(AvbenchError, match=r"flickr-10k.*flickr_10k\.txt"):
        data_check.main(["--leakage", "--split", str(user_sets["test"]), "--train", "flickr-10k"])


def test_leakage_looks_at_no_media(tmp_path):
    with pytest.raises(UsageError, match="compares lists and looks at no media: leave --data out"):
        data_check.main(["--leakage", "--data", str(tmp_path)])


def record_of(train, method="learner"):
    return SimpleNamespace(method=method, provenance={"checkpoint": {"training": train}})


def test_a_checkpoint_that_names_its_training_list_tells_leakage(shared, store):
    test = load_split("flickr", metadata=shared / "metadata", truth=False)
    records = [record_of({"split": {"name": "flickr-10k"}}), record_of({"split": {"name": "my-own"}}, "other")]
    told = list(of_checkpoints(records, test, shared / "metadata"))
    assert told == ["learner: 1 of 250 samples of flickr are in the training list flickr-10k"]
    assert list(of_checkpoints(records, test, store)) == told, "remembered without the lists"


@pytest.mark.parametrize("training", [None, {}, {"split": None}, {"split": {"name": 3}}, "text"])
def test_a_checkpoint_that_names_none_tells_nothing(training, store):
    assert not list(of_checkpoints([record_of(training)], clips("a"), None))


def test_a_training_list_that_is_not_at_hand_is_said(store):
    (told,) = of_checkpoints([record_of({"split": {"name": "flickr-10k"}})], clips("a", name="mine"), None)
    assert told.startswith("learner: whether the training list flickr-10k holds samples of mine is not known, since")
