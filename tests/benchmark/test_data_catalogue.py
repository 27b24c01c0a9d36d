"""The catalogue of data sets: complete, true to the official files, and readable."""

import json
import re
from hashlib import sha256

import pytest

from avbench.commands import data_list, data_where
from avbench.data.official import ALL, Source, data_set, data_set_names, files_of, splits_of
from avbench.data.splits import split_names, split_summary
from avbench.errors import UsageError

SETS = data_set_names()
NOT_AT_HAND = {"train_vggss_190228.txt"}
"""Official lists that a split names and nobody could hash."""


def entries(path) -> int:
    if path.suffix == ".json":
        return len(json.loads(path.read_text()))
    rows = path.read_text(encoding="utf-8").splitlines()
    return len(rows) - (rows[0].split(",")[0] in {"name", "video_id", "video"})


def test_the_sets_of_the_field_are_there():
    wanted = {"vggsound", "vggss", "flickr-soundnet", "avsbench", "is3", "vpo", "music", "vggsound-duet", "demo"}
    assert wanted | {"vggsound-instruments"} == set(SETS)


@pytest.mark.parametrize("name", SETS)
def test_each_set_is_described(name):
    found = data_set(name)
    for text in (found.title, found.about, found.paper, found.size, found.licence, found.media, found.layout):
        assert text.strip()
    assert set(found.also) <= set(SETS)
    assert all(link.url.startswith(("http://", "https://")) for link in found.links)


def test_each_file_has_one_place_and_one_hash():
    files = files_of(ALL)
    assert len({file.place for file in files}) == len(files) == len({file.sha256 for file in files})
    for file in files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert ".." not in file.place
        assert file.sources


def test_the_real_files_are_as_the_catalogue_says(shared):
    for file in files_of(ALL):
        path = shared / "metadata" / file.place
        assert sha256(path.read_bytes()).hexdigest() == file.sha256, file.place
        assert (path.stat().st_size, entries(path)) == (file.size, file.entries), file.place


def test_no_real_file_is_left_out(shared):
    there = {str(path.relative_to(shared / "metadata")) for path in (shared / "metadata").rglob("*") if path.is_file()}
    assert there == {file.place for file in files_of(ALL)}


@pytest.mark.parametrize("name", [n for n in split_names() if split_summary(n).kind != "demo"])
def test_what_a_split_reads_can_be_fetched(name):
    known = {file.name: file.sha256 for file in files_of(ALL)}
    for wanted in split_summary(name).files.values():
        if wanted.name not in NOT_AT_HAND:
            assert known[wanted.name] == wanted.sha256


def test_splits_are_found_by_the_files_that_they_read():
    assert {"vggss", "vggss-heard", "vggss-unheard", "vggss-extended"} <= set(splits_of(data_set("vggss")))
    assert "demo" in splits_of(data_set("demo"))
    assert "demo" not in splits_of(data_set("vggss"))


def test_a_set_brings_the_files_of_others_that_it_needs():
    assert "vggss.json" in {file.name for file in files_of("vggsound-duet")}
    assert "vggss.json" not in {file.name for file in data_set("vggsound-duet").files}


def test_a_source_is_pinned_by_a_commit_alone():
    source = Source("stoneMo/EZ-VSL", "9" * 40, "metadata/vggss.json")
    assert source.pinned
    assert source.url == f"https://raw.githubusercontent.com/stoneMo/EZ-VSL/{'9' * 40}/metadata/vggss.json"
    assert not Source("zjsong/SSPL", "HEAD", "x.csv").pinned


def test_list_shows_every_set(capsys):
    assert data_list.main([]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[1:]] == SETS
    assert "5,158" in shown


def test_list_as_json_is_json_alone(capsys):
    assert data_list.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found] == SETS
    assert "vggss/vggss.json" in next(each for each in found if each["name"] == "vggss")["files"]


@pytest.mark.parametrize("name", SETS)
def test_where_is_a_page(name, capsys):
    assert data_where.main([name]) == 0
    page = capsys.readouterr().out
    found = data_set(name)
    assert found.layout.splitlines()[-1] in page
    for text in (*(link.url for link in found.links), *(file.place for file in found.files), *splits_of(found)):
        assert text in page


def test_where_marks_what_nobody_has_verified(capsys):
    data_where.main(["flickr-soundnet"])
    page = capsys.readouterr().out
    assert "soundnet.csail.mit.edu/ (page of SoundNet; not verified)" in " ".join(page.split())


def test_where_as_json_has_every_address(capsys):
    assert data_where.main(["vggss", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    boxes = next(file for file in found["files"] if file["name"] == "vggss.json")
    assert all(source["url"].endswith("/vggss.json") and source["pinned"] for source in boxes["sources"])
    assert "vggss-heard" in found["splits"]


def test_an_unknown_set_gets_the_closest_names():
    with pytest.raises(
        UsageError, match=r"no data set called 'vgss': did you mean .*vggss.*avbench data list shows all"
    ):
        data_where.main(["vgss"])
