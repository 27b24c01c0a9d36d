"""Readers of official files: exact coordinates, and one sentence for whatever is not as expected."""

import csv
import io
import json
from pathlib import Path

import pytest
import torch

from avbench.data.annotations import Annotation
from avbench.data.readers import READERS, Wanted, find_official, read_all_boxes, xml_files
from avbench.data.readers_lists import read_ids
from avbench.data.readers_pairs import canvas_fraction
from avbench.data.readers_xml import LARGEST, read_boxes
from avbench.errors import AvbenchError, UsageError
from avbench.metrics.ground_truth import consensus_map, union_map

CLIP = "-_0BIyqJj9Z_000030"
PAIR = {"image": "/mnt/far/visual_frames/7_8.jpg", "audio": "/mnt/far/audio_wav/7_8.wav", "gt_box": [0.0, 1, 2.0, 224]}
SOLO = {"file": "HnUOaSfTA6c_000_00007", "class": "cello", "bbox": [0.1, 0.2, 0.3, 0.4]}
DUET = {
    "file": "HnUOaSfTA6c_000_00007",
    "class_src1": "cello",
    "bbox_src1": [0.1, 0.2, 0.3, 0.4],
    "class_src2": "flute",
    "bbox_src2": [0.5, 0.5, 0.5, 0.5],
}


def read(kind: str, tmp_path: Path, options: dict | None = None, **files) -> list[Annotation]:
    """Run a reader on files of this content: text, rows for CSV, else JSON."""
    places = {}
    for role, content in files.items():
        places[role] = tmp_path / (f"{role}.csv" if isinstance(content, list) and _rows(content) else f"{role}.txt")
        places[role].write_text(content if isinstance(content, str) else _written(content))
    return READERS[kind](places, options or {})


def _rows(content: list) -> bool:
    return all(isinstance(row, (list, tuple)) for row in content)


def _written(content: list) -> str:
    if not _rows(content):
        return json.dumps(content)
    text = io.StringIO()
    csv.writer(text).writerows(content)
    return text.getvalue()


def test_a_pixel_of_the_canvas_comes_back() -> None:
    for pixel in range(225):
        fraction = canvas_fraction(pixel)
        assert int(fraction * 224) == pixel
        assert fraction == pytest.approx(pixel / 224, abs=1e-15)
    assert int(61 / 224 * 224) == 60


def xml_of(path: Path, boxes: list[tuple[int, int, int, int]]) -> Path:
    inner = "".join(
        f"<annotator><name>a{n}</name><bbox><id>{n}</id><xmin>{x0}</xmin><ymin> {y0} </ymin><xmax>{x1}</xmax>"
        f"<ymax>{y1}</ymax></bbox></annotator>"
        for n, (x0, y0, x1, y1) in enumerate(boxes)
    )
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<annotation><file>é</file>{inner}</annotation>')
    return path


def test_every_pixel_of_a_256_frame_is_drawn_where_the_official_rule_puts_it(tmp_path: Path) -> None:
    values = [(v, v // 2, 256, 256) for v in range(257)] + [(0, 0, v, v) for v in range(257)]
    for box, read_box in zip(values, read_boxes(xml_of(tmp_path / "a.xml", values)), strict=True):
        assert [int(v * 224) for v in read_box] == [int(224 * v / 256) for v in box]
    some = values[3:500:31]
    drawn = [union_map([box]) for box in read_boxes(xml_of(tmp_path / "b.xml", some))]
    assert all(torch.equal(one, (consensus_map([box]) > 0).double()) for one, box in zip(drawn, some, strict=True))


def test_corners_beyond_the_frame_are_cut_where_they_are_drawn(tmp_path: Path) -> None:
    boxes = [(-30, -1, 300, 100), (200, 50, 100, 20)]
    found = read_boxes(xml_of(tmp_path / "a.xml", boxes))
    assert torch.equal(union_map(found), (consensus_map(boxes) > 0).double())


def test_boxes_are_found_at_any_depth(tmp_path: Path) -> None:
    box = "<xmin>0</xmin><ymin>64</ymin><xmax>128</xmax><ymax>256</ymax>"
    for text in (f"<bbox>{box}</bbox>", f"<a><b><bbox><x>9</x><points>{box}</points></bbox></b></a>"):
        (tmp_path / "a.xml").write_text(text)
        assert read_boxes(tmp_path / "a.xml") == ((0.0, 0.25, 0.5, 1.0),)


BOMB = "<!DOCTYPE lolz [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]><bbox>&b;</bbox>"
SOUND = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB, "declares a document type or entities"),
        (BOMB.replace("DOCTYPE", "doctype"), "declares a document type or entities"),
        (BOMB.encode("utf-16"), "is not XML or is cut off"),
        (b"<?xml version='1.0' encoding='cp037'?>" + BOMB.encode("cp037"), "is not XML or is cut off"),
        ("", "is not XML or is cut off"),
        ("<a><bbox>", "is not XML or is cut off"),
        (b"\xff\xd8\xff\xe0 a picture", "is not XML or is cut off"),
        ("<a/>", "holds no element bbox"),
        ("<a><bndbox/></a>", "holds no element bbox"),
        (f"<bbox>{SOUND}</bbox>", "a whole number of pixels under ymax of a bbox, got ''"),
        (f"<bbox>{SOUND}<ymax>nan</ymax></bbox>", "a whole number of pixels under ymax of a bbox, got 'nan'"),
        (f"<bbox>{SOUND}<ymax>1.5</ymax></bbox>", "under ymax of a bbox, got '1.5'"),
        (f"<bbox>{SOUND}<ymax>{'9' * 5000}</ymax></bbox>", "under ymax of a bbox, got '9999"),
        ("<a>" * 200_000, "is not XML or is cut off|declares"),
        (f"<bbox>{' ' * LARGEST}</bbox>", "expected the boxes of one picture"),
    ],
)
def test_xml_that_is_not_as_expected(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "1.xml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(AvbenchError, match=message) as caught:
        read_boxes(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_boxes_that_lie_beside_the_media(tmp_path: Path) -> None:
    listed = read("flickr", tmp_path, list=[["12", "0"], ["34", "7"]], negatives=[["12", "34", "non-sounding"]])
    deep = tmp_path / "m/Annotations"
    deep.mkdir(parents=True)
    xml_of(deep / "12.xml", [(0, 0, 128, 128), (0, 0, 256, 256)])
    find = xml_files(tmp_path).get
    with pytest.raises(AvbenchError, match=r"^1 of 2 samples lack the file of their boxes \(34\): expected A.*/34"):
        read_all_boxes(listed, find)
    xml_of(deep / "34.xml", [(0, 0, 0, 0)])
    found = read_all_boxes(listed, xml_files(tmp_path).get)
    assert [a.boxes for a in found] == [((0, 0, 0.5, 0.5), (0, 0, 1, 1)), ((0, 0, 0, 0),), ()]
    assert [a.consensus for a in found] == [True, True, False]


@pytest.mark.parametrize(
    ("naming", "line", "expected"),
    [
        ("vggsound", CLIP, CLIP),
        ("vggsound-jpg", f"{CLIP}.jpg", CLIP),
        ("vggsound-ms", "-_0BIyqJj9Z_30000_40000", CLIP),
        ("vggsound-ms", "-_0BIyqJj9Z_0_10000", "-_0BIyqJj9Z_000000"),
        ("flickr", "10000130166", "10000130166"),
    ],
)
def test_the_naming_of_lists(tmp_path: Path, naming: str, line: str, expected: str) -> None:
    (tmp_path / "l.txt").write_text(f"{line}\r\n")
    assert read_ids(tmp_path / "l.txt", naming) == [expected]


@pytest.mark.parametrize(
    ("naming", "content", "message"),
    [
        ("vggsound", "", "is empty: expected a list of one name per line"),
        ("vggsound", f"{CLIP}\n\n", r"line 2: expected a clip such as .*, got ''"),
        ("vggsound", f"{CLIP}\n{CLIP}", f"entry 1: the id '{CLIP}' stands there twice"),
        ("vggsound", f" {CLIP}", r"line 1: expected a clip such as"),
        ("vggsound", "../../../../etc_000030", r"line 1: expected a clip such as"),
        ("vggsound", f"{CLIP}.jpg", r"line 1: expected a clip such as"),
        ("vggsound-jpg", CLIP, r"line 1: expected a picture such as"),
        ("vggsound-ms", "-_0BIyqJj9Z_30000_50000", r"line 1: expected ten seconds such as"),
        ("vggsound-ms", "-_0BIyqJj9Z_30500_40500", r"line 1: expected ten seconds such as"),
        ("flickr", "12a", r"line 1: expected a number such as"),
        ("flickr", "\x00", r"line 1: expected a number such as"),
        ("flickr", b"\xff\xfe1", r"is no text in UTF-8"),
    ],
)
def test_lists_that_are_not_as_expected(tmp_path: Path, naming: str, content: str | bytes, message: str) -> None:
    path = tmp_path / "l.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(AvbenchError, match=message):
        read_ids(path, naming)


def pair(**changes) -> list[dict]:
    return [PAIR | changes]


S4 = {"image": "/m/test/cat/a_b/a_b_3.png", "audio": "/m/test/cat/a_b.wav"}
MS3 = {"image": "m/a_1/a_1.mp4_5.png", "audio": "a_1.wav"}
IS3 = {"image": "m/a b_c_7_a b.jpg", "audio": "n/a b_c_7_a b.wav"}


def test_names_come_from_the_last_parts_of_paths(tmp_path: Path) -> None:
    found = {
        layout: read("pairs", tmp_path, {"layout": layout}, boxes=pair(**paths))[0]
        for layout, paths in {"vpo": {}, "avsbench-s4": S4, "avsbench-ms3": MS3, "is3": IS3}.items()
    }
    named = {layout: (a.id, a.image, a.audio, a.label, a.group) for layout, a in found.items()}
    assert named == {
        "vpo": ("7_8", "7_8", "7_8", None, "7"),
        "avsbench-s4": ("a_b_3", "a_b_3", "a_b", "cat", None),
        "avsbench-ms3": ("a_1_5", "a_1_5", "a_1", None, None),
        "is3": ("a b_c_7_a b", "a b_c_7_a b", "a b_c_7_a b", "a b", "a b_c_7"),
    }
    assert found["vpo"].boxes == ((0, 1 / 224, 2 / 224, 1),)


def test_a_box_of_zeros_is_empty_truth_and_stays(tmp_path: Path) -> None:
    (found,) = read("pairs", tmp_path, {"layout": "vpo"}, boxes=pair(gt_box=[0, 0, 0, 0.0]))
    assert found.boxes == ((0, 0, 0, 0),)
    assert found.sounding


@pytest.mark.parametrize(
    ("layout", "content", "message"),
    [
        ("vpo", "[{", "is not JSON or is cut off"),
        ("vpo", "{}", "holds an object .dict. where a list of entries is expected"),
        ("vpo", "[]", "holds an empty list"),
        ("vpo", "[3]", "entry 0: expected an object with the keys image, audio, gt_box, got a number"),
        ("vpo", "[{}]", "entry 0: expected an object with the keys image, audio, gt_box, got the keys "),
        ("vpo", pair(offset=1), "got the keys audio, gt_box, image, offset"),
        ("vpo", pair(image=3), "entry 0: expected a text under 'image', got 3"),
        ("vpo", pair() + pair(), "entry 1: the id '7_8' stands there twice"),
        ("vpo", pair(image="x/../7.jpg"), "7.jpg and .* are not named as those of this set are"),
        ("vpo", pair(audio="7_9.wav"), "are not named as those of this set are"),
        ("vpo", pair(gt_box=[0, 0, 1]), r"a box is four numbers \[x0, y0, x1, y1\], got \[0, 0, 1\]"),
        ("vpo", pair(gt_box="m.png"), r"a box is four numbers .*, got 'm.png'"),
        ("vpo", pair(gt_box=[0, 0, 1, float("nan")]), "leaves the frame of 224 pixels"),
        ("vpo", pair(gt_box=[0, 0, 1, 10**400]), "leaves the frame of 224 pixels"),
        ("vpo", pair(gt_box=[0, -1, 1, 1]), "leaves the frame of 224 pixels"),
        ("vpo", pair(gt_box=[0, 0, 1, 225]), "leaves the frame of 224 pixels"),
        ("is3", pair(image="_a.jpg", audio="_a.wav"), "are not named as those of this set are"),
        ("is3", pair(image="a\n_b.jpg", audio="a\n_b.wav"), "is no plain file name"),
        ("is3", pair(image="a\\_b.jpg", audio="a\\_b.wav"), "is no plain file name"),
        ("avsbench-s4", pair(image="cat/a/a_6.png", audio="cat/a.wav"), "are not named as those of this set are"),
        ("avsbench-s4", pair(image="cat/a/a_1.png", audio="dog/a.wav"), "are not named as those of this set are"),
        ("avsbench-ms3", pair(image="a/b_1.png", audio="a.wav"), "are not named as those of this set are"),
        ("avsbench-ms3", pair(image="../.._1.png", audio="...wav"), "audio '..' is no plain file name"),
    ],
)
def test_pairs_that_are_not_as_expected(tmp_path: Path, layout: str, content: str | list, message: str) -> None:
    with pytest.raises(AvbenchError, match=message) as caught:
        read("pairs", tmp_path, {"layout": layout}, boxes=content)
    assert "\n" not in str(caught.value)


def test_music_boxes_in_both_readings(tmp_path: Path) -> None:
    (solo,) = read("music", tmp_path, {"boxes": "xywh"}, boxes=[SOLO])
    assert (solo.label, solo.audio, solo.image) == ("cello", "HnUOaSfTA6c", "HnUOaSfTA6c_000_00007")
    assert solo.boxes == ((0.1, 0.2, 0.1 + 0.3, 0.2 + 0.4),)
    (duet,) = read("music", tmp_path, {"boxes": "corners"}, boxes=[DUET])
    assert duet.boxes == ((0.1, 0.2, 0.3, 0.4), (0.5, 0.5, 0.5, 0.5))
    assert [(s.label, s.boxes) for s in duet.sources] == [("cello", duet.boxes[:1]), ("flute", duet.boxes[1:])]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([SOLO | {"bbox": [0.5, 0.5, 0.6, 0.1]}], r"the box \[0.5, 0.5, 0.6, 0.1\] leaves the frame"),
        ([SOLO | {"bbox": [0.5, 0.5, -0.1, 0.1]}], "leaves the frame"),
        ([SOLO | {"bbox": [0.5, 0.5, float("nan"), 0.1]}], "leaves the frame"),
        ([SOLO | {"bbox": [0.5, 0.5]}], r"a box is four numbers \[x, y, width, height\], got"),
        ([SOLO | {"class": None}], "expected a text under 'class', got None"),
        ([SOLO | {"class_src1": "x"}], "expected an object with the keys file, class_src1, bbox_src1"),
        ([SOLO | {"file": "short"}], "expected a frame such as HnUOaSfTA6c_000_00007, got 'short'"),
        ([SOLO | {"file": "../../../x_000_00007"}], "is no plain file name"),
        ([SOLO, SOLO], "entry 1: the id 'HnUOaSfTA6c_000_00007' stands there twice"),
    ],
)
def test_music_that_is_not_as_expected(tmp_path: Path, entries: list[dict], message: str) -> None:
    with pytest.raises(AvbenchError, match=message):
        read("music", tmp_path, {"boxes": "xywh"}, boxes=entries)


def entry(name: str, left: float) -> dict:
    return {"file": name, "class": f"kind, {name}", "bbox": [[left, 0, 1, 1]]}


ROWS = [["a", "kind_a", "b", "kind_b"], ["b", "kind_b", "c", "kind_c"], ["c", "kind_c", "b", "kind_b"]]
ENTRIES = [entry(name, left) for name, left in (("a", 0.1), ("b", 0.2), ("c", 0.3))]


def test_a_duet_is_two_pictures_that_hear_both(tmp_path: Path) -> None:
    found = read("duets", tmp_path, {"truth": "own"}, list=ROWS, boxes=ENTRIES)
    assert [a.id for a in found] == ["a+b+1", "a+b+2", "b+c+1", "b+c+2", "c+b+1", "c+b+2"]
    assert [(a.image, a.audio, a.mixed) for a in found[:2]] == [("a", "a", "b"), ("b", "b", "a")]
    assert [a.boxes[0][0] for a in found] == [0.1, 0.2, 0.2, 0.3, 0.3, 0.2]
    assert [a.label for a in found[:2]] == ["kind, a", "kind, b"]
    partners = read("duets", tmp_path, {"truth": "partner"}, list=ROWS, boxes=ENTRIES)
    assert [a.boxes[0][0] for a in partners] == [0.2, 0.3, 0.3, 0.2, 0.2, 0.3]
    masked = read("duets", tmp_path, {"truth": "own"}, list=ROWS)
    assert [(a.mask, a.label, a.boxes) for a in masked[:2]] == [("a", "kind_a", ()), ("b", "kind_b", ())]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["a", "x", "b"]], "row 1: expected id,class,partner,class, got 'a,x,b'"),
        ([["a", "", "b", "y"]], "row 1: expected a text under 'class'"),
        ([["a", "x", "../b", "y"]], "row 1: partner '../b' is no plain file name"),
        ([["a", "x", "d", "y"]], "mixes d, of which .* has no boxes"),
        ([ROWS[0], ROWS[0]], r"the id 'a\+b\+1' stands there twice"),
    ],
)
def test_duets_that_are_not_as_expected(tmp_path: Path, rows: list, message: str) -> None:
    with pytest.raises(AvbenchError, match=message):
        read("duets", tmp_path, {"truth": "own"}, list=rows, boxes=ENTRIES)


@pytest.mark.parametrize(
    ("kind", "rows", "message"),
    [
        ("instruments", [["a", "x"], ["a", "x"]], "entry 1: the id 'a' stands there twice"),
        ("instruments", [["a"]], "row 1: expected an id and a class, got 'a'"),
        ("instruments", [["..", "x"]], "row 1: id '..' is no plain file name"),
        ("flickr", [["12", "0"], ["12", "3"]], "entry 1: the id '12' stands there twice"),
        ("flickr", [["12"]], "row 1: expected an id and an integer, got '12'"),
        ("flickr", [["../12", "3"]], "row 1: expected an id and an integer"),
    ],
)
def test_tables_that_are_not_as_expected(tmp_path: Path, kind: str, rows: list, message: str) -> None:
    with pytest.raises(AvbenchError, match=message):
        read(kind, tmp_path, list=rows)


def test_a_list_and_boxes_that_do_not_belong_together(tmp_path: Path) -> None:
    known, other = entry(CLIP, 0.5), f"{CLIP[:-1]}1"
    with pytest.raises(AvbenchError, match=rf"lists {other}, of which .*boxes.txt has no boxes: fetch both again"):
        read("vggss", tmp_path, boxes=[known], list=f"{CLIP}\n{other}")
    assert [a.id for a in read("vggss", tmp_path, boxes=[known, entry(other, 0)], excluded=CLIP)] == [other]


def test_an_official_file_is_found_by_its_hash_among_others_of_its_name(tmp_path: Path) -> None:
    import hashlib

    for place, content in (("a", b"old"), ("b", b"new"), ("c", b"newer")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x.txt").write_bytes(content)
    assert find_official(Wanted("x.txt", hashlib.sha256(b"new").hexdigest()), tmp_path) == tmp_path / "b/x.txt"
    assert find_official(Wanted("x.txt"), tmp_path) == tmp_path / "a/x.txt"
    with pytest.raises(AvbenchError, match=r"a/x.txt is not the official x.txt: expected SHA-256 0000000000000000"):
        find_official(Wanted("x.txt", "0" * 64), tmp_path)
    with pytest.raises(UsageError, match=r"expected the folder of official files at .*none, found nothing"):
        find_official(Wanted("x.txt"), tmp_path / "none")
