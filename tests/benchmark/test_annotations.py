"""The strict reader of VGG-SS annotation files: what it takes, what it refuses, and how it says so."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from avbench.data.annotations import Annotation, Source, read_annotations, read_negatives
from avbench.data.readers_strict import file_hash
from avbench.errors import AvbenchError

GOOD = {"file": "-0BIyqJj9ZU_000030", "class": "female speech, woman speaking", "bbox": [[0.25, 0, 1, 0.5]]}


def write(folder: Path, content: Any) -> Path:
    path = folder / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_plain_entry(tmp_path: Path) -> None:
    name = "-0BIyqJj9ZU_000030"
    assert read_annotations(write(tmp_path, [GOOD])) == [
        Annotation(name, "female speech, woman speaking", ((0.25, 0.0, 1.0, 0.5),), name, name, True, None)
    ]


def test_the_keys_that_may_be_added(tmp_path: Path) -> None:
    extra = {
        "file": "a_1",
        "class": "bell",
        "bbox": [],
        "image": "a",
        "audio": "one",
        "sounding": False,
        "objects": [{"class": "drum", "bbox": [0, 0, 0.5, 0.5], "sounding": False}],
    }
    (came,) = read_annotations(write(tmp_path, [extra]))
    assert came == Annotation("a_1", "bell", (), "a", "one", False, ((0.0, 0.0, 0.5, 0.5),), (), ("drum",))


def thing(kind: str, right: float, sounding: bool) -> dict[str, Any]:
    return {"class": kind, "bbox": [0, 0, right, 0.5], "sounding": sounding}


def test_each_sounding_object_is_a_source_of_its_own(tmp_path: Path) -> None:
    things = [thing("bell", 0.25, True), thing("drum", 0.5, False), thing("bell", 0.75, True)]
    (came,) = read_annotations(write(tmp_path, [GOOD | {"objects": things}]))
    assert came.sources == (Source("bell", ((0.0, 0.0, 0.25, 0.5),)), Source("bell", ((0.0, 0.0, 0.75, 0.5),)))
    assert came.visible == ("bell", "drum", "bell")
    assert came.objects == tuple((0.0, 0.0, right, 0.5) for right in (0.25, 0.5, 0.75))


@pytest.mark.parametrize(
    ("sounding", "kind", "doubtful"), [(False, "bell", True), (False, "drum", False), (True, "bell", False)]
)
def test_a_negative_is_doubtful_if_a_class_of_its_sound_is_in_sight(
    tmp_path: Path, sounding: bool, kind: str, doubtful: bool
) -> None:
    things = [thing("saw", 0.5, False), thing(kind, 0.5, sounding)]
    entry = GOOD | {"class": "bell", "sounding": sounding, "objects": things}
    entry |= {} if sounding else {"bbox": []}
    (came,) = read_annotations(write(tmp_path, [entry]))
    assert came.doubtful is doubtful


def test_a_sound_of_unknown_class_is_not_doubtful() -> None:
    assert not Annotation("a", None, (), "a", "a", False).doubtful
    assert not Annotation("a", None, (), "a", "a", False, visible=("bell",)).doubtful


def test_order_is_kept(tmp_path: Path) -> None:
    names = ["b", "a", "c"]
    assert [a.id for a in read_annotations(write(tmp_path, [GOOD | {"file": n} for n in names]))] == names


BAD_FILES = [
    ("", "boxes.json is not JSON or is cut off .*: expected a list of entries"),
    ('[{"file": "a", "class": "b", "bb', "is not JSON or is cut off"),
    ("\udcff\udcfe", "is not JSON"),
    ({"a": GOOD}, r"boxes.json holds an object \(dict\) where a list of entries is expected"),
    ("3", "holds a number where a list"),
    ([], "holds an empty list"),
    ("[" * 100_000, "is not JSON"),
    ([GOOD, "a"], "boxes.json, entry 1: expected an object with the keys file, class, bbox, got a text"),
    ([GOOD, GOOD], "entry 1: the id '-0BIyqJj9ZU_000030' stands there twice"),
    ([GOOD | {"sounds": True}], "entry 0: there is no annotation key called 'sounds': did you mean sounding"),
]


@pytest.mark.parametrize(("content", "message"), BAD_FILES)
def test_a_bad_file_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "boxes.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(AvbenchError, match=message):
        read_annotations(path)


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AvbenchError, match=r"expected an annotation file at .*none.json: No such file"):
        read_annotations(tmp_path / "none.json")


@pytest.mark.parametrize("key", ["file", "class", "bbox"])
def test_a_missing_key_is_refused(tmp_path: Path, key: str) -> None:
    entry = {k: v for k, v in GOOD.items() if k != key}
    with pytest.raises(AvbenchError, match=f"entry 0: the key '{key}' is missing; an entry has file, class, bbox"):
        read_annotations(write(tmp_path, [entry]))


BAD_VALUES = [
    ("file", "../up", r"file '../up' is no plain file name"),
    ("file", "..", "is no plain file name"),
    ("file", "a/b", "is no plain file name"),
    ("file", "a\\b", "is no plain file name"),
    ("file", "a\0b", "is no plain file name"),
    ("file", "", "expected a text under 'file', got ''"),
    ("file", 12, "expected a text under 'file', got 12"),
    ("image", "../up", "image '../up' is no plain file name"),
    ("audio", "/etc/x", "audio '/etc/x' is no plain file name"),
    ("class", None, "expected a text under 'class', got None"),
    ("sounding", 1, "'sounding' is true or false, got 1"),
    ("bbox", {"x": 1}, r"expected a list under 'bbox', got an object \(dict\)"),
    ("bbox", [], "a sounding sample without any box"),
    ("bbox", [0.1, 0.1, 0.5, 0.5], "a box is four numbers .*, got 0.1"),
    ("bbox", [[0.1, 0.1, 0.5]], r"a box is four numbers \[x0, y0, x1, y1\], got \[0.1, 0.1, 0.5\]"),
    ("bbox", [[0.1, 0.1, 0.5, "1"]], "a box is four numbers"),
    ("bbox", [[0.1, 0.1, 0.5, True]], "a box is four numbers"),
    ("bbox", [[0.1, float("nan"), 0.5, 1]], r"holds a number that is not finite, \[0.1, nan, 0.5, 1.0\]"),
    ("bbox", [[0.1, 0.1, float("inf"), 1]], r"holds a number that is not finite, \[0.1, 0.1, inf, 1.0\]"),
    ("bbox", [[0.1, 0.1, 10**400, 1]], "holds a number that is not finite"),
    ("bbox", [[-0.1, 0.1, 0.5, 0.5]], r"the box \[-0.1, 0.1, 0.5, 0.5\] leaves the frame"),
    ("bbox", [[10, 10, 120, 130]], r"leaves the frame: coordinates are fractions in \[0, 1\]"),
    ("bbox", [[0.5, 0.1, 0.5, 0.5]], "has no area"),
    ("bbox", [[0.1, 0.6, 0.5, 0.5]], "has no area"),
    ("objects", [GOOD], "entry 0, object 0: the key 'sounding' is missing"),
    ("objects", [{"class": "x", "bbox": [0, 0, 2, 1], "sounding": True}], "object 0: the box .* leaves the frame"),
    ("objects", ["x"], "object 0: expected an object with the keys"),
]


@pytest.mark.parametrize(("key", "value", "message"), BAD_VALUES)
def test_a_bad_value_is_refused(tmp_path: Path, key: str, value: Any, message: str) -> None:
    with pytest.raises(AvbenchError, match=message) as caught:
        read_annotations(write(tmp_path, [GOOD | {key: value}]))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'boxes.json'}, entry 0")


def test_odd_boxes_are_kept_in_the_official_file_alone(tmp_path: Path) -> None:
    path = write(tmp_path, [GOOD | {"bbox": [[0.3, -2.8823037615171176e16, 0.2, 1]]}])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert file_hash(path) == digest
    assert read_annotations(path, official=digest)[0].boxes == ((0.3, -2.8823037615171176e16, 0.2, 1.0),)
    for other in (None, "0" * 64):
        with pytest.raises(AvbenchError, match="leaves the frame"):
            read_annotations(path, official=other)


CLASSES: dict[str, str | None] = {"a": "bell", "b": "drum", "c": "bell", "d": None}


def negatives(folder: Path, text: str | bytes) -> list[Annotation]:
    path = folder / "silent.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_negatives(path, CLASSES)


def test_negatives_of_an_extended_set(tmp_path: Path) -> None:
    came = negatives(tmp_path, 'video,audio,label\r\n"x","x",non-sounding\r\na,b,non-sounding\r\na,c,non-sounding')
    assert [(a.id, a.image, a.audio, a.label) for a in came] == [
        ("x+x", "x", "x", None), ("a+b", "a", "b", "drum"), ("a+c", "a", "c", "bell")
    ]  # fmt: skip
    assert [a.doubtful for a in came] == [False, False, True]
    assert all((a.boxes, a.sounding, a.objects, a.sources) == ((), False, None, ()) for a in came)


def test_negatives_need_no_header_and_may_be_of_no_class(tmp_path: Path) -> None:
    came = negatives(tmp_path, "d,d,non-sounding\nd,x,non-sounding\n")
    assert [(a.id, a.label, a.doubtful) for a in came] == [("d+d", None, False), ("d+x", None, False)]


HEAD = "video,audio,label\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "silent.csv holds no row of image,audio,non-sounding: fetch the file again"),
        (HEAD, "holds no row of image,audio,non-sounding"),
        (HEAD + "a,b,non-soun", "silent.csv, row 2: expected image,audio,non-sounding, got 'a,b,non-soun': fetch"),
        (HEAD + "a,b,non-sounding\na,c", "row 3: expected image,audio,non-sounding, got 'a,c'"),
        ("a,b", "row 1: expected image,audio,non-sounding, got 'a,b'"),
        (HEAD + "a,b,sounding\n", "row 2: expected image,audio,non-sounding, got 'a,b,sounding'"),
        (HEAD + "\na,b,non-sounding\n", "row 2: expected image,audio,non-sounding, got ''"),
        (HEAD + "../a,b,non-sounding\n", "row 2: image '../a' is no plain file name"),
        (HEAD + "a,,non-sounding\n", "row 2: expected a text under 'audio', got ''"),
        (HEAD + "a,b,non-sounding\n" * 2, "row 3: a,b,non-sounding stands there twice: keep one row of each pair"),
        (HEAD + 'a,"b', "silent.csv is not CSV or is cut off"),
        (HEAD.encode() + b"\xff,b,non-sounding", "silent.csv is not CSV in UTF-8 .*: save it as that"),
    ],
)
def test_bad_negatives_are_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(AvbenchError, match=message) as caught:
        negatives(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "silent.csv"))


def test_no_negatives_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AvbenchError, match=r"expected an annotation file at .*none.csv: No such file"):
        read_negatives(tmp_path / "none.csv", {})


def test_the_official_file(shared: Path) -> None:
    path = shared / "metadata/vggss/vggss.json"
    entries = read_annotations(path, official=file_hash(path))
    boxes = [box for entry in entries for box in entry.boxes]
    assert len(entries) == 5158
    assert len({entry.label for entry in entries}) == 221
    assert len(boxes) == 5941
    assert sum(v < -1e16 for box in boxes for v in box) == 14
    assert sum(x1 <= x0 or y1 <= y0 for x0, y0, x1, y1 in boxes) == 18


def test_boxes_of_what_does_not_sound_are_refused(tmp_path):
    place = tmp_path / "annotations.json"
    place.write_text('[{"file": "a", "class": "bell", "bbox": [[0, 0, 1, 1]], "sounding": false}]')
    with pytest.raises(AvbenchError, match=r"entry 0: a sample in which nothing sounds has boxes: empty 'bbox'"):
        read_annotations(place)
