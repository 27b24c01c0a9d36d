"""Hundreds of broken annotation files, tables, set files and recipes: each is refused in one sentence, or sound."""

import json
import math
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.data.annotations import Annotation, read_annotations, read_negatives
from avbench.data.readers_strict import csv_rows, json_entries, read_bytes, text_lines
from avbench.data.readers_xml import read_boxes
from avbench.data.splits import load_split
from avbench.data.user_tables import read_table
from avbench.errors import LONGEST, AvbenchError
from avbench.recipe import load_recipe

PATIENCE = 120
"""Seconds after which a file counts as having hung the process; far more than all of them take."""


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """A read that never ends fails the test instead of hanging the suite."""

    def bark(number, frame) -> None:
        pytest.fail("a file hangs whoever reads it")  # no Exception, which a decoder would take for a refusal

    before = signal.signal(signal.SIGALRM, bark)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def boxes_fit(boxes: tuple[Any, ...]) -> None:
    assert all(len(box) == 4 and all(math.isfinite(v) for v in box) for box in boxes)


def well_formed(annotations: list[Annotation]) -> None:
    """Whatever the damage left, it is what a reader promises."""
    assert annotations
    assert len({a.id for a in annotations}) == len(annotations)
    for a in annotations:
        assert all(name.isprintable() and "/" not in name for name in (a.id, a.image, a.audio))
        boxes_fit(a.boxes)


ENTRY = {"file": "clip_1", "class": "bell", "bbox": [[0.25, 0, 1, 0.5]], "image": "frame_1", "sounding": True}
JSON = json.dumps(
    [ENTRY, {**ENTRY, "file": "clip_2", "objects": [{"class": "x", "bbox": [0, 0, 1, 1], "sounding": True}]}]
)
NEGATIVES = "image,audio,label\na,b,non-sounding\nc,d,non-sounding\n"
TABLE = "id,class,x0,y0,x1,y1,width,height\na,bell,0,0,50,50,100,100\nb,drum,1.5,2,30,40,64,64\n"
XML = "<annotation>" + "".join(
    f"<bbox><xmin>{i}</xmin><ymin>10</ymin><xmax>200</xmax><ymax>220</ymax></bbox>" for i in (5, 9)
) + "</annotation>"  # fmt: skip
YAML = "name: mine\nformat: vggss\nannotations: good.json\nframes: frames\naudio: audio\n"


def read_yaml(path: Path) -> None:
    well_formed([Annotation(s.id, s.label, s.boxes, s.id, s.id, s.sounding) for s in load_split(str(path)).samples])


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "json": (JSON, lambda path: well_formed(read_annotations(path))),
    "negatives.csv": (NEGATIVES, lambda path: well_formed(read_negatives(path, {}))),
    "csv": (TABLE, lambda path: well_formed(read_table(path, lambda name: False))),
    "xml": (XML, lambda path: boxes_fit(read_boxes(path))),
    "yaml": (YAML, read_yaml),
    "toml": ("", lambda path: load_recipe("ezvsl", str(path))),
}
"""By suffix: a good file, and what reads one and looks at what came."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.json").write_text(JSON)
    for name in ("frames", "audio"):
        (tmp_path / name).mkdir()
    return tmp_path


def good_file(suffix: str) -> bytes:
    if suffix == "toml":
        from importlib.resources import files

        return files("avbench.recipes").joinpath("any-demo.toml").read_bytes().replace(b'"any"', b'"ezvsl"')
    return READERS[suffix][0].encode()


def spoiled_at_random(content: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Cut short, with bits flipped, bytes doubled or dropped, junk in the middle."""
    for _ in range(12):
        place = int(rng.integers(len(content)))
        yield content[:place]
        yield content[:place] + rng.bytes(5) + content[place:]
        yield content[:place] + content[place + int(rng.integers(1, 9)) :]
        yield content[:place] + content[place : place + 9] * 2 + content[place + 9 :]
        yield bytes(b ^ (1 << int(rng.integers(8))) if rng.random() < 0.02 else b for b in content)


NO_TEXT = (
    b"",
    b" ",
    b"\n\n",
    b"\0" * 99,
    b"\xff\xfe" + "a: 1".encode("utf-16-le"),
    b"\xef\xbb\xbf",
    b"\x1b[31m\x80",
    b"<html>404</html>",
)
"""What stands in the place of any text file."""

HOSTILE: dict[str, tuple[str, ...]] = {
    "json": (
        "[" * 200_000,
        '{"a":' * 200_000,
        f"[{'9' * 9999}]",
        f'[{{"file": "a", "class": "b", "bbox": [[0, 0, {"9" * 9999}, 1]]}}]',
        '[{"file": "a", "class": "b", "bbox": [[0, 0, 1e999, 1]]}]',
        '[{"file": "a", "class": "b", "bbox": [[0, 0, NaN, 1]]}]',
        json.dumps([{**ENTRY, "file": "x" * 10**6}]),
        json.dumps([{**ENTRY, "class": ["x"] * 10**5}]),
        json.dumps([{**ENTRY, "y" * 10**6: 1}]),
        json.dumps([{**ENTRY, "file": "a\nb"}]),
        json.dumps([{**ENTRY, "file": "\ud800"}]),
        json.dumps([{**ENTRY, "file": "../../etc/passwd"}]),
        json.dumps([ENTRY, ENTRY]),
        '[{"file": "a", "file": "b", "class": "c"}]',
        "null", "1", "true", '"text"', "{}", "[]", "[[]]", "[null]", "[[[]]]",
    ),
    "negatives.csv": ("a,b\n", "a,b,non-sounding\n" * 2, '"a,b,non-sounding\n', "a,b,non-sounding\n\0", "x" * 10**6),
    "csv": (
        "id\n", "id,id\na,a\n", "id,x0\na,1\n", "nothing\n1\n", "id,x0,y0,x1,y1\na,nan,0,1,1\n",
        "id,x0,y0,x1,y1\na,0,0,inf,1\n", "id,x0,y0,x1,y1,width,height\na,0,0,1,1,0,0\n",
        "id,x0,y0,x1,y1,width,height\na,0,0,1,1,1e-320,1\n", "id,x0,y0,x1,y1\n../a,0,0,1,1\n",
        f"id,x0,y0,x1,y1\n{'a' * 200_000},0,0,1,1\n", "id,x0,y0,x1,y1\na,0,0,1\n", 'id,x0,y0,x1,y1\n"a,0,0,1,1\n',
    ),
    "xml": (
        '<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "<a>" * 100_000,
        "<a>" * 100_000 + "</a>" * 100_000,
        "<annotation/>",
        XML.replace("200", "1e999"), XML.replace("200", "nan"), XML.replace("200", ""), XML.replace("200", "9" * 9999),
        XML.replace("<xmax>200</xmax>", ""),
        "<a>" + "x" * 2**21 + "</a>",
    ),
    "yaml": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(20)
        ) + "name: *t\n",
        YAML.replace("mine", "&a [*a]"),
        YAML.replace("mine", "&a [" + "x," * 9 + "]") .replace("vggss", "[*a, *a]"),
        "[" * 5000,
        "!!python/object/apply:os.system ['true']",
        YAML.replace("mine", "!!python/name:os.system"),
        YAML + "name: again\n", YAML.replace("mine", "2024-01-01"), YAML.replace("mine", "../up"),
        YAML.replace("mine", "1e999"), YAML.replace("good.json", "none.json"), YAML.replace("good.json", "."),
        YAML.replace("good.json", "/dev/zero"), YAML.replace("mine", "vggss"),
        YAML.replace("format: vggss", "? [a]\n: b"),
        "1", "[]", "{}", "null", "---\n---\n", "a: b: c",
    ),
    "toml": (
        "[" * 5000, "a = " + "[" * 20_000, "x = " + "9" * 9999, "a = 1\na = 2", "sets = 1", "[sets]", "values = 1",
        "[values]\nlr = 1",
    ),
}  # fmt: skip
"""What somebody might write on purpose."""


def refusal(read: Callable[[Path], object], path: Path) -> AvbenchError | None:
    try:
        read(path)
    except AvbenchError as problem:
        return problem
    return None


def check(path: Path, read: Callable[[Path], object], counts: Counter[str]) -> None:
    """One file: refused in a printable line of bearable length that names it, or read as promised."""
    problem = refusal(read, path)
    counts["read" if problem is None else "refused"] += 1
    if problem is not None:
        assert str(problem).isprintable()
        assert len(str(problem)) < LONGEST + 100
        another = path.suffix == ".yaml" and str(problem).startswith("expected an annotation file at /")
        assert another or path.stem in str(problem), str(problem)


@pytest.mark.parametrize("suffix", READERS)
def test_files_of_a_kind(folder: Path, suffix: str) -> None:
    _, read = READERS[suffix]
    content, rng = good_file(suffix), np.random.default_rng(7)
    path = folder / f"the-file.{suffix}"
    path.write_bytes(content)
    assert refusal(read, path) is None, "the file is good before it is spoiled"
    counts: Counter[str] = Counter()
    spoiled = [*spoiled_at_random(content, rng), *NO_TEXT]
    hostile = [text.encode("utf-8", "surrogatepass") for text in HOSTILE[suffix]]
    for damage in (*spoiled, *hostile):
        path.write_bytes(damage)
        check(path, read, counts)
    assert counts.total() == len(spoiled) + len(hostile) >= 70
    assert counts["refused"] > 30


@pytest.mark.parametrize("suffix", READERS)
def test_what_is_no_file(folder: Path, suffix: str) -> None:
    _, read = READERS[suffix]
    counts: Counter[str] = Counter()
    places = [folder / f"the-{kind}.{suffix}" for kind in ("pipe", "zeros", "circle", "absent", "folder")]
    os.mkfifo(places[0])
    places[1].symlink_to("/dev/zero")
    places[2].symlink_to(places[2].name)
    places[4].mkdir()
    for path in places:
        check(path, read, counts)
    assert counts == {"refused": 5}


@pytest.mark.parametrize("text", HOSTILE["json"])
def test_hostile_json_is_refused(folder: Path, text: str) -> None:
    path = folder / "the-file.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert refusal(read_annotations, path) is not None


def values_in_a_place(entry: Any, place: int, value: Any) -> tuple[Any, int]:
    """``entry`` with its node number ``place`` exchanged, and how many nodes are left to pass."""
    if place == 0:
        return value, -1
    place -= 1
    if isinstance(entry, dict | list):
        keys = list(entry) if isinstance(entry, dict) else range(len(entry))
        entry = entry.copy()
        for key in keys:
            entry[key], place = values_in_a_place(entry[key], place, value)
            if place < 0:
                break
    return entry, place


ODD = (None, True, -1, 2**70, 1e308, "", "a/b", "\n", [], {}, [[]], [1, 2, 3, 4], {"bbox": []})


def test_any_value_in_any_place_of_an_annotation_file(folder: Path) -> None:
    """Which is valid JSON of the wrong form, more often than not."""
    path, counts = folder / "the-file.json", Counter[str]()
    whole = json.loads(JSON)
    for place in range(30):
        for value in ODD:
            spoiled, left = values_in_a_place(whole, place, value)
            if left < 0:
                path.write_text(json.dumps(spoiled))
                check(path, READERS["json"][1], counts)
    assert counts.total() >= 300
    assert counts["refused"] > 200


@pytest.mark.parametrize("read", [read_bytes, csv_rows, text_lines, lambda path: json_entries(path, read_bytes(path))])
def test_readers_do_not_wait_for_a_pipe(folder: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(AvbenchError, match=r"expected an annotation file at .*pipe: It is no file but a pipe"):
        read(folder / "pipe")
