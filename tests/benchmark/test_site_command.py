"""``avbench site``: one page from accepted records and runs folders, whole or not at all, that a browser shows."""

import base64
import gzip
import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest

from avbench import store
from avbench.cli import main
from avbench.leaderboards.entries import Accepted, Largest, Rerun
from avbench.leaderboards.entry_files import write_entry
from avbench.leaderboards.local_entries import entries_of_runs

CHROMIUM = shutil.which("chromium")
FIXTURES = Path(__file__).parents[1] / "leaderboards" / "conftest.py"
SPEC = importlib.util.spec_from_file_location("runs_by_hand", FIXTURES)
runs_by_hand = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(runs_by_hand)


def data_in(page: Path) -> dict:
    (packed,) = re.findall(r'<script[^>]*id="data"[^>]*>([^<]*)</script>', page.read_text(encoding="utf-8"))
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def runs(place: Path, **fields) -> Path:
    return runs_by_hand.Made(place, **fields).write(("common",))


@pytest.fixture
def records(tmp_path) -> Path:
    """A folder with one accepted entry."""
    (entry,) = entries_of_runs([runs(tmp_path / "submitted")])
    rerun = Rerun(avbench="0.1.0", git="abc", torch="2.11.0", largest=Largest(metrics=0.0, ciou=0.0))
    accepted = Accepted(date="2026-02-03", by="Ada", note="", url="")
    write_entry(entry, tmp_path / "records", badge="verified", accepted=accepted, rerun=rerun)
    return tmp_path / "records"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Runs the command without the papers' tables, which take seconds to count; gives its exit code and the page."""
    monkeypatch.setattr("avbench.pages.published.tables_for_page", lambda entries, progress: ())
    out = tmp_path / "site"

    def run(*given, to=out) -> tuple[int, Path]:
        return main(["site", "-o", str(to), *map(str, given)]), out / "index.html"

    return run


def refused(capsys) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_accepted_records(site, records, capsys):
    code, page = site("--records", records)
    assert code == 0
    data = data_in(page)
    (board,) = data["boards"]
    assert [(row["title"], row["badge"], row["values"]["locacc"]) for row in board["rows"]] == [
        ("toy", "verified", 0.666667)
    ]
    assert [*data["files"]] == ["toy-last-0123456789ab"]
    assert data["gallery"] is None
    assert f"page: {page} (" in capsys.readouterr().err
    assert [one.name for one in page.parent.iterdir()] == ["index.html"]


def test_runs_of_ones_own_beside_them(site, records, tmp_path):
    mine, more = runs(tmp_path / "mine", method="mine"), runs(tmp_path / "more", method="more")
    code, page = site("--records", records, "--runs", mine, more)
    data = data_in(page)
    assert code == 0
    assert [(board["badge"], [row["title"] for row in board["rows"]]) for board in data["boards"]] == [
        ("verified", ["toy"]),
        ("local", ["mine", "more"]),
    ]
    assert [*data["files"]] == ["toy-last-0123456789ab"]


def test_partial_results_are_left_out_and_named(site, records, tmp_path, capsys):
    partial = runs(tmp_path / "partial", method="torn", changes={"partial": True, "n_expected": 9})
    code, page = site("--records", records, "--runs", partial)
    assert code == 0
    assert [*data_in(page)["methods"]] == ["toy"]
    assert (
        f"torn (last, 0123456789ab) on four in {partial} is left out, being partial (4 of 9 samples): predict all "
        "samples"
    ) in capsys.readouterr().err


def test_the_same_records_give_the_same_page(site, records, tmp_path):
    mine, more = runs(tmp_path / "mine", method="mine"), runs(tmp_path / "more", method="more")
    _, page = site("--records", records, "--runs", mine, more)
    first = page.read_bytes()
    site("--records", records, "--runs", more, mine)
    assert page.read_bytes() == first


def test_the_split_of_the_gallery_has_records(site, records, capsys):
    assert site("--records", records, "--gallery", "vggss")[0] == 2
    assert refused(capsys).endswith("no record is of the split vggss: choose --gallery from four, or none")
    assert site("--records", records, "--gallery", "four")[0] == 2
    assert refused(capsys).endswith(
        "this figure needs the pictures of four, which is no split of avbench: name the YAML file of the set with "
        "--data"
    )
    code, page = site("--records", records, "--gallery", "none")
    assert (code, data_in(page)["gallery"]) == (0, None)


def test_there_is_something_to_show(site, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert site("--records", empty)[0] == 2
    assert refused(capsys).endswith("expected records to show, found none: name a folder of yours with --runs")
    assert site("--records", tmp_path / "absent")[0] == 2
    assert refused(capsys).endswith(
        f"expected a folder of accepted records in --records, got {tmp_path / 'absent'}: name one that is there"
    )
    assert site("--records", empty, "--runs", empty)[0] == 2
    assert refused(capsys).endswith(
        f"expected a runs folder with records/ in it, got {empty}: name one that avbench run filled"
    )
    assert not (tmp_path / "site").exists()


def test_a_file_is_no_folder(site, records, tmp_path, capsys):
    place = tmp_path / "file"
    place.write_text("mine")
    assert site("--records", records, to=place)[0] == 2
    assert refused(capsys).endswith(f"--out '{place}' cannot be a folder, since {place} is a file: name another")
    assert place.read_text() == "mine"


def test_a_write_that_fails_leaves_the_old_page(site, records, monkeypatch, capsys):
    _, page = site("--records", records)
    page.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    assert site("--records", records)[0] == 1
    assert refused(capsys).endswith(
        f"{page} cannot be written (No space left on device): free space or name another folder"
    )
    assert page.read_text() == "old"
    assert [one.name for one in page.parent.iterdir()] == ["index.html"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, noise_set) -> Path:
    """A page of two controls on a set of one's own, with its gallery and the papers' tables."""
    place = tmp_path_factory.mktemp("whole")
    listed = noise_set(place / "tiny", 3)
    how = ["--split", str(listed), "--runs", str(place / "runs"), "--protocol", "common,jsa"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_HOME", str(place / "home"))
        assert main(["run", "--method", "disc,random", *how, "--controls", "false", "--pictures", "false"]) == 0
        (place / "none").mkdir()
        asked = ["--records", str(place / "none"), "--runs", str(place / "runs")]
        shown = ["--gallery", "tiny", "--data", str(listed)]
        assert main(["site", "-o", str(place / "site"), *asked, *shown]) == 0
    return place / "site" / "index.html"


def test_the_gallery_of_a_set_of_ones_own(whole):
    data = data_in(whole)
    samples = data["gallery"]["samples"]
    assert [sample["id"] for sample in samples] == ["clip_000", "clip_001", "clip_002"]
    assert [[one["title"] for one in sample["maps"]] for sample in samples] == [["disc", "random"]] * 3
    assert len(data["published"]) == 21


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
def test_a_browser_shows_it(whole):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e .[dev]")
    said, asked = [], []
    with sync_api.sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{whole.as_uri()}#/")
        page.wait_for_selector("html[data-ready]", state="attached")
        titles = page.locator(".board tbody .name > :first-child").all_text_contents()
        page.goto(f"{whole.as_uri()}#/gallery")
        page.wait_for_selector(".sample")
        tiles = page.locator(".sample").first.locator(".tile").count()
        page.goto(f"{whole.as_uri()}#/method/random")
        page.wait_for_selector("figure.plot")
        page.goto(f"{whole.as_uri()}#/published")
        page.wait_for_selector(".foreign table")
        notes = page.locator(".foreign li").count()
        browser.close()
    assert sorted(titles) == ["disc", "random"]
    assert tiles == 3
    assert notes > 0
    assert said == []
    assert [one for one in asked if not one.startswith((whole.as_uri(), "data:", "blob:"))] == []
