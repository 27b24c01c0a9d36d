"""The page in a real browser: what a reader clicks, types and sees, from a file and without any other request."""

import copy
import importlib.util
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from avbench.leaderboards.site.page import render

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e .[dev]")
expect = sync_api.expect
expect.set_options(timeout=30_000)

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
SPEC = importlib.util.spec_from_file_location("site_example", Path(__file__).parent / "site_example.py")
site_example = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(site_example)
DATA = site_example.example()
HOSTILE = '<img src=x onerror="window.hit=1"></script><script>window.hit=1</script>'


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> str:
    return written(tmp_path_factory.mktemp("site") / "index.html", DATA)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS.split())
        yield launched
        launched.close()


@pytest.fixture
def visit(browser, url):
    """Open an address in a window of its own; in the end the console is empty and nothing else was loaded."""
    contexts, said, asked = [], [], []

    def opened(tail="#/", address=url, ready=True, **settings):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings}))
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address + tail)
        if ready:
            page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []
    assert [one for one in asked if not one.startswith((url.rsplit("/", 2)[0], "data:", "blob:"))] == []
    assert len([one for one in asked if one.startswith("file:")]) == len(contexts)


def written(path: Path, data) -> str:
    path.write_text(render(data), encoding="utf-8")
    return path.as_uri()


def go(page, tail: str) -> None:
    """Follow the address; when this returns, the page of it stands there."""
    page.evaluate(
        "tail => location.hash === tail || new Promise((done) => {"
        " addEventListener('hashchange', () => done(true), { once: true }); location.hash = tail; })",
        tail,
    )


def board_of(protocol="common", selection="last"):
    return next(one for one in DATA["boards"] if one["id"] == f"demo-{protocol}-{selection}-verified")


def titles(page) -> list[str]:
    return page.locator(".board tbody .name > :first-child").all_text_contents()


def sorted_titles(rows, key, *, down: bool) -> list[str]:
    having = [row for row in rows if key(row) is not None]
    blank = [row for row in rows if key(row) is None]
    return [row["title"] for row in [*sorted(having, key=key, reverse=down), *blank]]


# -- the text ---------------------------------------------------------------------------------------------------------


def test_the_same_data_give_the_same_text():
    assert render(DATA) == render(copy.deepcopy(DATA))


def test_a_page_of_many_boards_is_small():
    assert len(render(site_example.example(boards=45, gallery=False)).encode()) < 1_000_000


def test_no_text_of_the_data_ends_the_script():
    data = {**DATA, "title": HOSTILE, "boards": [{**board_of(), "notes": [HOSTILE]}]}
    text = render(data)
    assert text.count("</script>") == render(DATA).count("</script>")
    assert text.count("<img src=x") == 0


def test_a_number_that_json_has_not_is_refused():
    row = {**board_of()["rows"][0], "values": {"locacc": float("nan"), "auc": 0.5, "mean_ciou": 0.5}}
    with pytest.raises(ValueError, match=r"^Out of range float values are not JSON compliant"):
        render({**DATA, "boards": [{**board_of(), "rows": [row]}]})


def test_a_page_without_results_is_a_page():
    assert "There are no results yet." in render({**DATA, "boards": []})


# -- the board --------------------------------------------------------------------------------------------------------


@needs_chromium
def test_without_script_the_first_board_stands_there(visit):
    page = visit(java_script_enabled=False, ready=False)
    rows = page.locator("main .board tbody tr")
    expect(rows).to_have_count(15)
    first = board_of()["rows"][0]
    expect(rows.first).to_contain_text(first["title"])
    expect(rows.first).to_contain_text(f"{100 * first['values']['locacc']:.2f}")
    expect(page.locator("nav")).to_be_hidden()


@needs_chromium
def test_columns_sort_both_ways_with_blanks_last(visit):
    page, rows = visit(), board_of()["rows"]
    assert titles(page) == [row["title"] for row in rows]
    page.click("#sort-mean_ciou")
    expect(page.locator("th[aria-sort=descending]")).to_have_text(re.compile("mean cIoU"))
    assert titles(page) == sorted_titles(rows, lambda row: row["values"]["mean_ciou"], down=True)
    page.click("#sort-mean_ciou")
    expect(page.locator("th[aria-sort=ascending]")).to_have_text(re.compile("mean cIoU"))
    assert titles(page) == sorted_titles(rows, lambda row: row["values"]["mean_ciou"], down=False)
    for way, down in (("ascending", False), ("descending", True)):
        page.click("#sort-parameters")
        expect(page.locator(f"th[aria-sort={way}]")).to_have_text(re.compile("Params"))
        assert titles(page) == sorted_titles(rows, lambda row: row["parameters"], down=down)


@needs_chromium
def test_every_column_sorts_from_the_keyboard(visit):
    page, rows = visit(), board_of()["rows"]
    columns = {
        "rank": (lambda row: row["ranks"]["locacc"], False),
        "title": (lambda row: row["title"].lower(), False),
        "milliseconds": (lambda row: row["milliseconds"], False),
        "selection": (lambda row: None if row["control"] else row["selection"], False),
        "auc": (lambda row: row["values"]["auc"], True),
    }
    for column, (key, down) in columns.items():
        page.focus(f"#sort-{column}")
        page.keyboard.press("Enter")
        way = "descending" if down else "ascending"
        expect(page.locator(f"th[aria-sort={way}] #sort-{column}")).to_be_focused()
        assert titles(page) == sorted_titles(rows, key, down=down), column


@needs_chromium
def test_rows_that_listen_come_first(visit):
    page = visit("#/?sort=listens")
    verdicts = [text.split()[1] for text in page.locator(".listens:not(:empty)").all_text_contents()]
    assert verdicts == sorted(verdicts, key=["yes", "unclear", "no"].index)
    assert len(verdicts) == 11


@needs_chromium
def test_filters_hide_rows_and_keep_ranks(visit):
    page = visit()
    page.select_option("#family", "control")
    expect(page.locator(".tally")).to_have_text("4 of 15 rows")
    page.select_option("#family", "")
    page.locator("#q").press_sequentially("ogl FNAC")
    expect(page.locator(".board tbody tr")).to_have_count(1)
    expect(page.locator("#q")).to_be_focused()
    expect(page.locator("#q")).to_have_value("ogl FNAC")
    row = next(row for row in board_of()["rows"] if row["title"] == "FNAC + OGL")
    assert row["ranks"]["locacc"] > 1
    expect(page.locator("td.rank")).to_have_text(re.compile(rf"^{row['ranks']['locacc']}\D"))
    page.fill("#q", "no such thing")
    expect(page.locator("main")).to_contain_text("No row fits these filters.")


@needs_chromium
def test_ranks_are_those_of_the_metric_sorted_by(visit):
    page = visit("#/?sort=mean_ciou&by=mean_ciou")
    found = dict(zip(titles(page), page.locator("td.rank").all_text_contents(), strict=True))
    for row in board_of()["rows"]:
        rank, group = row["ranks"]["mean_ciou"], row["groups"]["mean_ciou"]
        text = "control, not ranked" if row["control"] else f"{rank} tie group {'abcdefgh'[group - 1]}"
        assert found[row["title"]] == text


@needs_chromium
def test_ties_shade_and_controls_stand_apart(visit):
    page = visit()
    for row in board_of()["rows"]:
        line = page.locator(f'tr[data-row="{row["method"]}/{row["variant"]}/{row["title"]}"]')
        kind = (line.get_attribute("class") or "").split()
        assert ("control" in kind) == row["control"]
        assert ("band" in kind) == (row["groups"]["locacc"] is not None and row["groups"]["locacc"] % 2 == 0)
    name = page.locator("tr.control .name a").first
    assert name.evaluate("node => getComputedStyle(node).fontStyle") == "italic"
    shades = page.locator(".board tbody tr td:first-child").evaluate_all(
        "cells => cells.map(cell => getComputedStyle(cell).backgroundColor)"
    )
    assert len({*shades}) == 2


@needs_chromium
def test_bars_span_their_intervals_on_one_scale(visit):
    page, rows = visit(), board_of()["rows"]
    low = min(row["intervals"]["auc"][0] for row in rows)
    high = max(row["intervals"]["auc"][1] for row in rows)
    bars = page.locator("tbody td:nth-child(4) .bar rect")
    expect(bars).to_have_count(15)
    for row, bar in zip(rows, bars.all(), strict=True):
        start, end = row["intervals"]["auc"]
        assert float(bar.get_attribute("x")) == pytest.approx(1 + 62 * (start - low) / (high - low))
        assert float(bar.get_attribute("width")) == pytest.approx(62 * (end - start) / (high - low))


@needs_chromium
def test_a_switch_of_the_protocol_shows_its_board_and_what_moved(visit):
    page = visit()
    page.focus("#protocol-common")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#protocol-jsa")).to_be_checked()
    expect(page.locator("#protocol-jsa")).to_be_focused()
    rows = board_of("jsa")["rows"]
    assert titles(page) == [row["title"] for row in rows]
    before = {row["title"]: row["ranks"]["locacc"] for row in board_of()["rows"]}
    moved = {row["title"]: before[row["title"]] - row["ranks"]["locacc"] for row in rows if not row["control"]}
    assert any(moved.values())
    ranks = dict(zip(titles(page), page.locator("td.rank").all_text_contents(), strict=True))
    for title, steps in moved.items():
        way = f"{'up' if steps > 0 else 'down'} {abs(steps)} from common"
        assert (way in ranks[title]) == (steps != 0)
    page.check("#selection-oracle")
    expect(page.locator("main")).to_contain_text("Checkpoints: best on the test set (oracle).")
    assert titles(page) == [row["title"] for row in board_of("jsa", "oracle")["rows"]]
    expect(page.locator(".moved")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("oracle: chosen on the test set")


@needs_chromium
def test_a_split_offers_its_own_boards_alone(visit):
    page = visit("#/?protocol=lvs&selection=oracle")
    page.select_option("#split", "demo-heard")
    expect(page.locator("h1")).to_have_text("Demo world, heard classes")
    expect(page.locator(".board tbody tr")).to_have_count(4)
    expect(page.locator("input[name=protocol]")).to_have_count(1)
    expect(page.locator("#badge-submitted")).to_be_checked()


@needs_chromium
def test_links_carry_the_state_and_back_returns(visit):
    page = visit("#/?protocol=lvs&selection=validation&sort=auc&by=auc&dir=worst&family=self-supervised&theme=dark")
    rows = [row for row in board_of("lvs", "validation")["rows"] if row["family"] == "self-supervised"]
    expected = sorted_titles(rows, lambda row: row["values"]["auc"], down=False)
    assert titles(page) == expected
    page.locator(".board tbody .name a").first.click()
    expect(page.locator("h1")).to_be_focused()
    assert "theme=dark" in page.url
    page.click("text=← Leaderboard")
    expect(page.locator(".tally")).to_have_text("10 of 15 rows")
    assert titles(page) == expected
    page.check("#protocol-jsa")
    page.go_back()
    expect(page.locator("#protocol-lvs")).to_be_checked()
    assert titles(page) == expected


@needs_chromium
def test_an_address_that_leads_nowhere_says_so(visit):
    page = visit("#/method/constructor")
    expect(page.locator("h1")).to_have_text("Nothing here")
    go(page, "#/%E0%A4%A?split=none")
    expect(page.locator("h1")).to_have_text("Nothing here")
    go(page, "#/?split=none&sort=none&by=none")
    expect(page.locator("h1")).to_have_text("Demo world")
    assert titles(page) == [row["title"] for row in board_of()["rows"]]


# -- the other pages --------------------------------------------------------------------------------------------------


@needs_chromium
def test_moves_draw_a_line_a_row_and_give_the_table_too(visit):
    page = visit("#/moves?metric=auc")
    move = next(one for one in DATA["moves"] if one["metric"] == "auc" and one["selection"] == "last")
    expect(page.locator(".track")).to_have_count(15)
    for row in move["rows"]:
        track = page.locator(f'.track[data-title="{row["title"]}"]')
        assert track.locator(".place").all_text_contents() == [str(place or "") for place in row["places"]]
    for column in range(3):
        across = [track.locator(".node").nth(column).bounding_box()["y"] for track in page.locator(".track").all()]
        best_first = sorted(range(15), key=lambda row: -move["rows"][row]["values"][column])
        heights = [across[row] for row in best_first]
        assert all(above < below for above, below in pairwise(heights))
    page.locator(".track").nth(2).focus()
    faded = "node => getComputedStyle(node).opacity < 1 || node.getAnimations().length > 0"
    assert page.locator(".track").nth(3).evaluate(faded)
    assert not page.locator(".track").nth(2).evaluate(faded)
    page.click("text=The same as a table")
    first = move["rows"][0]
    line = page.locator("table.plain tbody tr").first
    expect(line).to_contain_text(f"{first['places'][1]} ({100 * first['values'][1]:.2f})")
    expect(page.locator("table.plain tbody tr").last).to_have_text("Kendall's τ1.000.78")


@needs_chromium
def test_a_method_page_has_its_card_and_its_plots(visit):
    page = visit("#/method/ezvsl")
    expect(page.locator(".card")).to_contain_text("22.3 M at inference, 22.4 M in training")
    expect(page.locator(".card a")).to_have_attribute("href", "https://example.org/ezvsl")
    counts = {
        "Success over threshold": (".series.hue-0 .mark", 21),
        "Precision and recall": (".series.hue-0 .mark", 41),
        "Reliability of the confidence": (".series.hue-0 .mark", 10),
        "By class": (".row .whisker", 12),
        "By size of the source": (".row .whisker", 4),
        "With other sounds": (".row .rod", 4),
        "LocAcc while training": (":scope > svg .series .mark", 40),
    }
    plots = page.locator("figure.plot")
    expect(plots).to_have_count(len(counts))
    for title, (selector, number) in counts.items():
        expect(plots.filter(has_text=title).locator(selector)).to_have_count(number)
    others = [
        one for name, one in DATA["pages"].items() if name != "ezvsl" and one["entries"][0]["selection"] == "last"
    ]
    expect(page.locator(".series.behind")).to_have_count(len(others))
    rate = DATA["pages"]["ezvsl"]["entries"][0]["success"]["rates"][10]
    plots.first.locator("summary").click()
    expect(plots.first.locator("tbody tr").nth(10)).to_have_text(f"0.50{100 * rate:.1f}")


@needs_chromium
def test_the_records_downloaded_are_the_very_ones(visit):
    page = visit("#/method/jsa?entry=jsa-oracle")
    expect(page.locator("tr.chosen")).to_contain_text("oracle")
    with page.expect_download() as waiting:
        page.locator("tr.chosen .download").click()
    assert waiting.value.suggested_filename == "jsa-oracle-0123456789ab.json"
    assert json.loads(waiting.value.path().read_text()) == {"method": "jsa", "selection": "oracle", "note": "é ✓"}


@needs_chromium
def test_a_method_page_has_the_gallery_with_its_own_maps_first(visit):
    page, samples = visit("#/method/jsa"), DATA["gallery"]["samples"]
    expect(page.locator(".sample")).to_have_count(12)
    titles = page.locator(".sample").nth(3).locator(".who")
    others = [one["title"] for one in samples[3]["maps"] if one["method"] != "jsa"]
    (own,) = [one["title"] for one in samples[3]["maps"] if one["method"] == "jsa"]
    expect(titles).to_have_text(["truth", own, *others])
    page.locator(".sample").nth(3).locator(".tile").nth(1).focus()
    expect(page.locator("#zoom strong")).to_have_text(own)


@needs_chromium
def test_the_gallery_enlarges_what_is_pointed_at_focused_or_tapped(visit):
    page, samples = visit("#/gallery"), DATA["gallery"]["samples"]
    expect(page.locator(".sample")).to_have_count(12)
    expect(page.locator(".tile")).to_have_count(12 * 12)
    tiles = page.locator(".sample").nth(3).locator(".tile")
    expect(tiles.first.locator(".boxes .dash")).to_have_count(2)
    tiles.nth(2).hover()
    map_ = samples[3]["maps"][1]
    expect(page.locator("#zoom")).to_contain_text(f"{map_['title']} cIoU {100 * map_['ciou']:.1f} %")
    expect(page.locator("#zoom .over")).to_have_attribute("src", map_["uri"])
    page.locator("#zoom").hover()
    page.wait_for_timeout(250)
    expect(page.locator("#zoom")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#zoom")).to_have_count(0)
    tiles.nth(4).focus()
    expect(tiles.nth(4)).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Tab")
    expect(page.locator("#zoom")).to_contain_text(samples[3]["maps"][4]["title"])
    page.keyboard.press("Escape")
    expect(page.locator("[aria-expanded=true]")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.locator("#zoom")).to_be_visible()
    page.click("nav >> text=Moves")
    expect(page.locator("#zoom")).to_have_count(0)


@needs_chromium
def test_papers_and_repositories_are_links(visit, tmp_path):
    data = copy.deepcopy(DATA)
    data["methods"]["ezvsl"] |= {"paper": "arXiv:2203.09324", "official": "stoneMo/EZ-VSL"}
    data["methods"]["jsa"] |= {"paper": "CVPR 2025", "official": "owner/name, compared model"}
    page = visit("#/method/ezvsl", written(tmp_path / "index.html", data))
    found = [(link.text_content(), link.get_attribute("href")) for link in page.locator(".card a").all()]
    assert found == [
        ("arXiv:2203.09324", "https://arxiv.org/abs/2203.09324"),
        ("stoneMo/EZ-VSL", "https://github.com/stoneMo/EZ-VSL"),
    ]
    page.evaluate("location.hash = '#/method/jsa'")
    expect(page.locator("h1")).to_have_text("jsa")
    expect(page.locator(".card a")).to_have_attribute("href", "https://github.com/owner/name")
    expect(page.locator(".card")).to_contain_text("owner/name, compared model")
    expect(page.locator(".card")).to_contain_text("CVPR 2025")


@needs_chromium
def test_published_tables_keep_their_marks_and_lose_anything_live(visit, tmp_path):
    table = (
        '<table onclick="window.hit=1"><tr><td class="best" style="color:red">'
        '<b>1.5</b><img src=x onerror="window.hit=1"><script>window.hit=1</script></td></tr></table>'
    )
    data = {**DATA, "published": [{"id": "one", "title": "One", "paper": "Paper", "html": table}]}
    page = visit("#/published", written(tmp_path / "index.html", data))
    expect(page.locator(".foreign td.best b")).to_have_text("1.5")
    expect(page.locator(".foreign img, .foreign script, .foreign [onclick], .foreign [style]")).to_have_count(0)
    assert page.evaluate("window.hit") is None


# -- everywhere -------------------------------------------------------------------------------------------------------


@needs_chromium
def test_names_are_text_whatever_they_say(visit, tmp_path):
    board, row = board_of(), {**board_of()["rows"][0], "title": HOSTILE, "method": HOSTILE, "family": HOSTILE}
    data = copy.deepcopy(DATA)
    data |= {"title": HOSTILE, "boards": [{**board, "rows": [row, *board["rows"][1:]], "notes": [HOSTILE]}]}
    data["methods"][HOSTILE] = {**DATA["methods"]["jsa"], "summary": HOSTILE, "official": "javascript:window.hit=1"}
    data["pages"][HOSTILE] = data["pages"]["jsa"]
    data["splits"]["demo"] |= {"title": HOSTILE, "about": HOSTILE}
    data["gallery"]["samples"][0] |= {"label": HOSTILE, "image": "https://example.org/picture.jpg"}
    data["moves"][0]["rows"][0]["title"] = HOSTILE
    page = visit(address=written(tmp_path / "index.html", data))
    expect(page.locator(".board .name a").first).to_have_text(HOSTILE)
    page.locator(".board .name a").first.click()
    expect(page.locator("h1")).to_have_text(HOSTILE)
    expect(page.locator('a[href^="javascript:"]')).to_have_count(0)
    for name in ("Moves", "Gallery"):
        page.click(f"nav >> text={name}")
        expect(page.locator("main")).to_contain_text("<img src=x")
    assert page.evaluate("window.hit") is None
    expect(page.locator("img[src=x]")).to_have_count(0)


PAGES = ("#/", "#/moves", "#/method/ezvsl", "#/gallery", "#/published")


@needs_chromium
def test_a_phone_never_scrolls_the_page_sideways(visit):
    width = 360
    page = visit(viewport={"width": width, "height": 740}, has_touch=True)
    for tail in PAGES:
        go(page, tail)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tail
    go(page, "#/")
    box = page.locator("#board-box")
    box.evaluate("node => node.scrollTo(200, 0)")
    assert box.evaluate("node => node.scrollLeft") == 200
    name = page.locator(".board tbody .name").first
    assert name.bounding_box()["x"] == pytest.approx(box.bounding_box()["x"], abs=1)
    go(page, "#/gallery")
    page.locator(".tile").nth(1).tap()
    zoom = page.locator("#zoom").bounding_box()
    assert zoom["x"] >= 0
    assert zoom["x"] + zoom["width"] <= width


CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8").split("\n", 1)[1]


@needs_chromium
def test_contrast_suffices_in_both_themes(visit):
    page = visit()
    for tail in PAGES:
        go(page, tail)
        for scheme, paper in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(17, 22, 27)")):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
            measured = page.evaluate(CONTRAST)
            assert len(measured["texts"]) > 10
            assert [one for one in measured["texts"] if one[0] < 4.5] == []
            assert [one for one in measured["drawn"] if one[0] < 3] == []


@needs_chromium
def test_the_theme_can_be_turned_and_stays(visit):
    page = visit("#/?protocol=jsa", color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(17, 22, 27)"
    page.click("#theme")
    expect(page.locator("#theme")).to_have_text("Theme: light")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.click("nav >> text=Moves")
    expect(page.locator("h1")).to_contain_text("How ranks move")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.click("nav >> text=Leaderboard")
    expect(page.locator("#protocol-jsa")).to_be_checked()


FOCUSED = """() => {
  const at = document.activeElement;
  const mark = at.type === "radio" ? at.nextSibling : at;
  return [at.id || at.innerText, getComputedStyle(mark).outlineStyle, at.labels?.[0]?.innerText ?? at.innerText];
}"""


@needs_chromium
def test_every_control_has_a_name_and_a_visible_focus(visit):
    page = visit()
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    seen = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.add(tuple(page.evaluate(FOCUSED)))
    assert len(seen) == 12
    assert [one for one in seen if one[1] != "solid" or not one[2]] == []
    for tail in PAGES:
        go(page, tail)
        nameless = "button, a, select, input, summary, [role=img], [role=group], [role=region]"
        names = "node => node.getAttribute('aria-label') || node.labels?.[0]?.textContent || node.textContent"
        assert page.locator(nameless).evaluate_all(f"nodes => nodes.filter(node => !({names})(node)).length") == 0
        assert page.locator("main h1").count() == 1


SLIDING = """(protocol) => new Promise((done) => {
  const running = () => document.querySelector(".board").getAnimations({ subtree: true }).length;
  document.querySelector(`#protocol-${protocol}`).click();
  addEventListener("hashchange", () => done(running()), { once: true });
})"""


@needs_chromium
def test_rows_slide_unless_motion_is_unwanted(visit):
    page = visit()
    for motion, protocol, moving in (("reduce", "jsa", False), ("no-preference", "common", True)):
        page.emulate_media(reduced_motion=motion)
        running = page.evaluate(SLIDING, protocol)
        assert (running > 0) == moving
