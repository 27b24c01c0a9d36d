"""Sets of one's own: YAML files, tables and folders, with boxes or masks; and the page that describes them."""

import json
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from avbench import cli
from avbench.data.splits import load_split
from avbench.data.user_sets import is_user_set
from avbench.errors import AvbenchError, UsageError

PAGE = Path(__file__).parents[2] / "docs" / "your_data.md"


def make_media(root: Path, *names: str, masks: bool = False) -> Path:
    """A folder with a picture and a sound of each name, and a mask of the left half where asked for."""
    for folder in ("frames", "audio", "masks")[: 3 if masks else 2]:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (64, 48), "gray").save(root / "frames" / f"{name}.jpg")
        soundfile.write(root / "audio" / f"{name}.wav", np.sin(np.arange(16_000) / 9), 16_000)
        if masks:
            half = np.zeros((48, 64), dtype=np.uint8)
            half[:, :32] = 255
            Image.fromarray(half).save(root / "masks" / f"{name}.png")
    return root


def table(root: Path, *rows: str, name: str = "mine.csv") -> str:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("".join(f"{row}\n" for row in rows))
    return str(root / name)


def refused(split: str, message: str, *, data: Path | None = None) -> None:
    with pytest.raises(AvbenchError, match=message) as caught:
        load_split(split, data=data)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(". ") == 0


def test_a_table_of_fractions(tmp_path: Path) -> None:
    make_media(tmp_path, "a", "b")
    split = load_split(
        table(tmp_path, "id,class,x0,y0,x1,y1", 'a,"bell, big",0,0.25,0.5,1', "b,,0,0,1,1", 'a,"bell, big",0.5,0,1,0.5')
    )
    first, second = split.samples
    assert (split.name, split.n, split.has_media, split.source) == ("mine", 2, True, str(tmp_path / "mine.csv"))
    assert (first.id, first.label, first.sounding) == ("a", "bell, big", True)
    assert first.boxes == ((0.0, 0.25, 0.5, 1.0), (0.5, 0.0, 1.0, 0.5))
    assert (first.image, first.audio) == (tmp_path / "frames/a.jpg", tmp_path / "audio/a.wav")
    assert (second.label, second.boxes) == (None, ((0.0, 0.0, 1.0, 1.0),))


def test_a_table_of_pixels(tmp_path: Path) -> None:
    rows = ("id,width,height,x0,y0,x1,y1", "a,640,480,64,48,320,480", "b,10,20,0,0,10,20")
    first, second = load_split(table(tmp_path, *rows)).samples
    assert first.boxes == ((0.1, 0.1, 0.5, 1.0),)
    assert second.boxes == ((0.0, 0.0, 1.0, 1.0),)


def test_other_names_and_silence(tmp_path: Path) -> None:
    make_media(tmp_path, "p", "q")
    header = "id,image,audio,sounding,x0,y0,x1,y1"
    first, second = load_split(table(tmp_path, header, "a,p,q,TRUE,0,0,1,1", "b,p,,0,,,,")).samples
    assert (first.image, first.audio, first.names.audio) == (tmp_path / "frames/p.jpg", tmp_path / "audio/q.wav", "q")
    assert (second.image_name, second.names.audio, second.sounding, second.boxes) == ("p", "b", False, ())


def test_a_table_equals_the_same_set_in_json(tmp_path: Path) -> None:
    entries = [
        {"file": "a", "class": "bell", "bbox": [[0, 0, 0.5, 0.5], [0.25, 0.5, 1, 1]]},
        {"file": "b", "class": "drum", "bbox": [], "sounding": False},
    ]
    folder = make_media(tmp_path / "boxes", "a", "b")
    (folder / "annotations.json").write_text(json.dumps(entries))
    rows = ("id,class,sounding,x0,y0,x1,y1", "a,bell,,0,0,0.5,0.5", "a,bell,,0.25,0.5,1,1", "b,drum,false,,,,")
    by_table, by_folder = load_split(table(tmp_path, *rows)), load_split(str(folder))
    assert by_table.sha256 == by_folder.sha256
    assert [s.boxes for s in by_table.samples] == [s.boxes for s in by_folder.samples]


def test_a_table_as_spreadsheets_write_it(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes("\ufeffid,x0,y0,x1,y1\r\nä b,0,0,1,1\r\n\r\n".encode())
    assert [s.id for s in load_split(str(tmp_path / "mine.csv")).samples] == ["ä b"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((), r"mine.csv has no column 'id': begin with a row of id,class,x0,y0,x1,y1"),
        (("id,x0,y0,x1,y1",), "mine.csv holds no row below its header"),
        (("id,clas", "a,b"), "mine.csv: there is no column of a table called 'clas': did you mean class"),
        (("id;x0;y0", "a;0;0"), r"has its cells apart by semicolons: expected commas"),
        (("id,id", "a,a"), "the column 'id' is there twice"),
        (("id,x0,y0,x1", "a,0,0,1"), "has the column x0, y0, x1 alone: x0, y0, x1, y1 go together"),
        (("id,width,x0,y0,x1,y1", "a,9,0,0,1,1"), "has the column width alone: width, height go together"),
        (("id,x0,y0,x1,y1", "a,0,0,1,1", "b,0,0,1"), r"mine.csv, row 3: expected 5 cells as in the header, got 4"),
        (("id,x0,y0,x1,y1", "a,0,0,one,1"), r"mine.csv, row 2: expected a number under x1, got 'one'"),
        (("id,x0,y0,x1,y1", "a,0,0,,1"), r"row 2: expected a number under x1, got ''"),
        (("id,x0,y0,x1,y1", "a,0,0,nan,1"), r"row 2: expected a number under x1, got 'nan'"),
        (
            ("id,x0,y0,x1,y1", "a,0,0,64,48"),
            r"row 2: the box 0,0,64,48 is no x0,y0,x1,y1 with x0 < x1 and y0 < y1 within 0 and 1 "
            r"\(pixels need the columns width and height\)",
        ),
        (("id,x0,y0,x1,y1", "a,0.5,0,0.5,1"), r"row 2: the box 0.5,0,0.5,1 is no"),
        (("id,x0,y0,x1,y1", "a,-0.1,0,0.5,1"), r"row 2: the box -0.1,0,0.5,1 is no"),
        (("id,width,height,x0,y0,x1,y1", "a,64,48,0,0,64,49"), "within the 64 x 48 pixels of width and height"),
        (("id,width,height,x0,y0,x1,y1", "a,,48,0,0,64,48"), "expected a number under width, got ''"),
        (("id,width,height,x0,y0,x1,y1", "a,0,0,0,0,0,0"), "the box 0,0,0,0 is no"),
        (("id,sounding", "a,maybe"), "row 2: sounding is true or false, got 'maybe'"),
        (("id,sounding,x0,y0,x1,y1", "a,0,0,0,1,1"), "row 2: a sample in which nothing sounds has a box"),
        (("id", "a"), "row 2: a sounds and has neither a box nor a mask: give x0,y0,x1,y1 or masks/a.png"),
        (("id,class,x0,y0,x1,y1", "a,b,0,0,1,1", "a,c,0,0,1,1"), "row 3: the class of a is 'c' here and 'b' before"),
        (("id,image,x0,y0,x1,y1", "a,,0,0,1,1", "a,c,0,0,1,1"), "row 3: the image of a is 'c' here and '' before"),
        (("id,x0,y0,x1,y1", "../a,0,0,1,1"), "row 2: id '../a' is no plain file name"),
        (("id,image,x0,y0,x1,y1", "a,b/c,0,0,1,1"), "row 2: image 'b/c' is no plain file name"),
        (("id,x0,y0,x1,y1", ",0,0,1,1"), "row 2: expected a text under 'id', got ''"),
        (("id,x0,y0,x1,y1", '"a,0,0,1,1'), "mine.csv is not CSV or is cut off"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, rows: tuple[str, ...], message: str) -> None:
    refused(table(tmp_path, *rows), message)


def test_masks_are_truth_enough(tmp_path: Path) -> None:
    make_media(tmp_path, "a", "b", masks=True)
    split = load_split(table(tmp_path, "id,class", "a,bell", "b,"))
    assert [s.mask for s in split.samples] == [tmp_path / "masks/a.png", tmp_path / "masks/b.png"]
    assert all(s.sounding and not s.boxes for s in split.samples)


def test_a_folder_of_masks(tmp_path: Path) -> None:
    split = load_split(str(make_media(tmp_path / "my set", "b", "a", masks=True)))
    assert (split.name, [s.id for s in split.samples]) == ("my-set", ["a", "b"])
    assert all(s.mask and s.label is None and s.sounding for s in split.samples)
    (tmp_path / "my set/frames/b.jpg").unlink()
    assert load_split(str(tmp_path / "my set")).sha256 == split.sha256, "a picture that is missing still counts"
    make_media(tmp_path / "my set", "c")
    refused(str(tmp_path / "my set"), r"the picture c in .*frames has no mask: add .*masks/c.png")


def test_a_folder_with_a_table(tmp_path: Path) -> None:
    folder = make_media(tmp_path / "mine", "a", "b")
    table(folder, "id,x0,y0,x1,y1", "a,0,0,1,1", name="annotations.csv")
    assert [s.id for s in load_split(str(folder)).samples] == ["a"]
    (folder / "annotations.json").write_text("[]")
    refused(str(folder), "holds both annotations.json and annotations.csv: keep one")


def test_a_folder_without_truth(tmp_path: Path) -> None:
    refused(str(make_media(tmp_path / "mine", "a")), r"mine holds no truth: expected annotations.json, annotations.csv")
    (tmp_path / "empty/masks").mkdir(parents=True)
    refused(str(tmp_path / "empty"), r"empty/masks holds no mask: expected a PNG for every picture")


def test_the_yaml_of_a_table_and_of_masks(tmp_path: Path) -> None:
    make_media(tmp_path, "a", masks=True)
    (tmp_path / "masks").rename(tmp_path / "sounding pixels")
    table(tmp_path, "id", "a")
    keys = "name: told\nformat: {}\nframes: frames\naudio: audio\nmasks: sounding pixels\n"
    (tmp_path / "my.yaml").write_text(keys.format("csv") + "annotations: mine.csv\n")
    (tmp_path / "masks.yml").write_text(keys.format("folder"))
    for name in ("my.yaml", "masks.yml"):
        split = load_split(str(tmp_path / name))
        assert (split.name, [s.mask for s in split.samples]) == ("told", [tmp_path / "sounding pixels/a.png"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format: folder\nannotations: a.csv\n", "with format: folder masks are the truth: leave annotations out"),
        ("format: csv\n", "expected a text under 'annotations', it is missing"),
        ("format: json\nannotations: a.json\n", "the format 'json' is unknown: write format: vggss, csv, folder"),
        ("format: folder\nmasks: 3\n", "expected a text under 'masks', got 3"),
        ("format: folder\nmask: there\n", "there is no key of a split file called 'mask': did you mean masks"),
    ],
)
def test_a_yaml_that_does_not_fit(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "my.yaml").write_text(f"name: mine\nframes: frames\naudio: audio\n{text}")
    refused(str(tmp_path / "my.yaml"), message)


def test_media_elsewhere(tmp_path: Path) -> None:
    media = make_media(tmp_path / "media", "a", masks=True)
    split = load_split(table(tmp_path / "lists", "id", "a"), data=media)
    assert (split.has_media, split.samples[0].image) == (True, media / "frames/a.jpg")
    refused(table(tmp_path / "lists", "id", "a"), "expected the folder of media at .*none", data=tmp_path / "none")
    lonely = load_split(table(tmp_path / "lists", "id,x0,y0,x1,y1", "a,0,0,1,1"))
    assert not lonely.has_media, "the fixed controls need none"


@pytest.mark.parametrize("name", ["vggss", "demo"])
def test_a_name_that_is_taken(tmp_path: Path, name: str) -> None:
    make_media(tmp_path / name, "a", masks=True)
    refused(str(tmp_path / name), f"would be called '{name}', which belongs to a built-in split: rename it")
    refused(table(tmp_path, "id,x0,y0,x1,y1", "a,0,0,1,1", name=f"{name}.csv"), "belongs to a built-in split")


def test_what_is_taken_for_a_set_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_media(tmp_path / "here", "a", masks=True))
    assert [is_user_set(text) for text in ("a.yaml", "b.yml", "c.csv", "d/e", ".", "masks", "nothing")] == [
        True, True, True, True, True, True, False
    ]  # fmt: skip
    assert load_split(".").name == "here"
    with pytest.raises(UsageError, match="there is no split called 'nothing'"):
        load_split("nothing")
    with pytest.raises(UsageError, match=r"expected a set of one's own at no/where, a folder or a file that ends in"):
        load_split("no/where")
    refused("none.csv", "expected an annotation file at none.csv")


def blocks() -> list[tuple[str, str, str]]:
    """Language, file name and text of each block of code on the page, in order."""
    return re.findall(r"^```(\w+) ?([\w./-]*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_page_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = []
    for language, name, text in blocks():
        if name:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text)
        if language == "python":
            runpy.run_path(name)
        for line in text.splitlines() if language == "sh" else ():
            program, *given = shlex.split(line)
            assert program == "avbench"
            assert cli.main(given) == 0, line
            ran.append(given[given.index("--split") + 1])
    assert {Path(split).suffix for split in ran} == {".yaml", ".csv", ""}
    assert "disc" in capsys.readouterr().out
    scored = {path.parent.name: json.loads(path.read_text()) for path in Path("runs/records").glob("*/disc.*.json")}
    means = {name: record["metrics"]["mean_ciou"] for name, record in scored.items()}
    assert means["my-boxes"] == means["fractions"] == means["pixels"]
    assert means["my"] == means["my-masks"] != means["pixels"]
    assert {name: record["n_scored"] for name, record in scored.items()} == {
        "my-boxes": 3, "fractions": 3, "pixels": 2, "my": 2, "my-masks": 2
    }  # fmt: skip
    sets = [load_split(split) for split in ("my/set.yaml", "my/fractions.csv")]
    assert sets[0].sha256 == sets[1].sha256, "the same set in two forms"
