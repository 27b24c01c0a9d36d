"""Fetching official files: from a server of our own that misbehaves in every way, and from folders."""

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from avbench.commands import data_fetch
from avbench.data.fetching import Folder, Mirror, Public, Web, fetch, origin_of
from avbench.data.official import ALL, OfficialFile, Source, files_of
from avbench.data.splits import load_split
from avbench.errors import AvbenchError, UsageError

CONTENT = b"zpWuikVorYg_000032\ngEvCUcZ6w88_000030\n" * 40
QUICK = {"timeout": 5.0, "pause": 0.0}


@dataclass(frozen=True)
class LocalSource(Source):
    """A source at an address of the test."""

    address: str = ""

    @property
    def url(self) -> str:
        return self.address


def official(*addresses: str, name: str = "list.csv", content: bytes = CONTENT) -> OfficialFile:
    sources = tuple(LocalSource("o/r", "HEAD", f"metadata/theirs_{name}", address) for address in addresses)
    sources = sources or (Source("o/r", "HEAD", f"metadata/theirs_{name}"),)
    return OfficialFile(name, "vggss", "a list", 80, len(content), sha256(content).hexdigest(), sources)


class Server:
    """Answers of a server by path: each a function of the handler, used up one by one but the last."""

    def __init__(self) -> None:
        self.answers: dict[str, list] = {}
        self.asked: list[str] = []
        self.released = threading.Event()
        self.address = ""

    def says(self, path: str, *answers) -> str:
        self.answers[path] = list(answers)
        return self.address + path

    def answer(self, handler) -> None:
        self.asked.append(handler.path)
        waiting = self.answers.get(handler.path, [status(404)])
        (waiting.pop(0) if len(waiting) > 1 else waiting[0])(handler)


def whole(content: bytes = CONTENT, promised: int | None = None):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) if promised is None else promised))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def status(code: int, location: str | None = None):
    def answer(handler):
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        if location:
            handler.send_header("Location", location)
        handler.end_headers()

    return answer


@contextmanager
def running(server: Server):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.answer(self)

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    server.address = f"http://127.0.0.1:{http.server_port}"
    try:
        yield server
    finally:
        server.released.set()
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.fixture
def server():
    with running(Server()) as serving:
        yield serving


def public(server, file, folder, **settings):
    return fetch(file, folder, Public(Web(**{**QUICK, **settings})))


def test_a_good_answer_is_written_in_its_place(server, tmp_path):
    file = official(server.says("/list.csv", whole()))
    found = public(server, file, tmp_path)
    assert (found.state, found.origin, found.problems) == ("fetched", server.address + "/list.csv", ())
    assert (tmp_path / "vggss" / "list.csv").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["list.csv"]


def test_the_next_source_is_tried_and_the_failure_told(server, tmp_path):
    file = official(server.says("/gone", status(404)), server.says("/here", whole()))
    found = public(server, file, tmp_path)
    assert found.state == "fetched"
    assert found.origin.endswith("/here")
    assert found.problems == (f"{server.address}/gone answered 404 (Not Found)",)
    assert server.asked == ["/gone", "/here"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (CONTENT[:-1] + b"?", "is not the official list.csv: expected SHA-256"),
        (CONTENT[:10], "is not the official list.csv: .* of 10 bytes"),
        (CONTENT * 3, "holds more than the 1,520 bytes of the official list.csv"),
        (b"", "of 0 bytes"),
    ],
)
def test_another_content_is_refused(server, tmp_path, content, told):
    found = public(server, official(server.says("/x", whole(content))), tmp_path)
    assert found.failed
    assert len(found.problems) == 1
    with pytest.raises(AvbenchError, match=told):
        raise AvbenchError(found.problems[0])
    assert not list(tmp_path.rglob("list.csv"))


def test_a_download_that_breaks_off_is_asked_for_again(server, tmp_path):
    cut = whole(CONTENT[:99], promised=len(CONTENT))
    found = public(server, official(server.says("/x", cut, cut, whole())), tmp_path)
    assert found.state == "fetched"
    assert server.asked == ["/x"] * 3
    found = public(server, official(server.says("/y", cut), name="other.csv"), tmp_path)
    assert found.problems == (f"{server.address}/y broke off after 99 of {len(CONTENT)} bytes",)


def test_a_busy_server_is_asked_again_and_a_refusing_one_is_not(server, tmp_path):
    assert public(server, official(server.says("/busy", status(503), whole())), tmp_path).state == "fetched"
    public(server, official(server.says("/no", status(403)), name="b.csv"), tmp_path)
    assert server.asked == ["/busy", "/busy", "/no"]


def test_redirects_are_followed(server, tmp_path):
    server.says("/new", whole())
    file = official(server.says("/old", status(302, server.address + "/new")))
    assert public(server, file, tmp_path).state == "fetched"


def test_a_redirect_to_a_file_is_not_followed(server, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    found = public(server, official(server.says("/old", status(302, secret.as_uri()))), tmp_path / "to")
    assert found.failed


def test_a_silent_server_is_given_up_and_not_asked_for_the_next_file(server, tmp_path):
    url = server.says("/slow", lambda handler: server.released.wait(30))
    web = Web(timeout=0.1, tries=2, pause=0.0)
    first = fetch(official(url), tmp_path, Public(web))
    assert first.problems == (f"{url} cannot be reached (no answer in time)",)
    assert server.asked == ["/slow"] * 2
    second = fetch(official(server.says("/fine", whole()), name="b.csv"), tmp_path, Public(web))
    host = server.address.removeprefix("http://")
    assert second.problems == (f"{host} cannot be reached (no answer in time)",)
    assert server.asked == ["/slow"] * 2


def test_a_server_that_is_not_there_fails_at_once(tmp_path):
    with running(Server()) as gone:
        address = gone.address
    found = fetch(official(f"{address}/a", f"{address}/b"), tmp_path, Public(Web(**QUICK)))
    assert len(found.problems) == 2
    assert "cannot be reached (Connection refused)" in found.problems[0]


def test_a_mirror_is_asked_by_folder_then_by_each_name(server, tmp_path):
    server.says("/m/theirs_list.csv", whole())
    found = fetch(official(), tmp_path, Mirror(f"{server.address}/m/", Web(**QUICK)))
    assert found.state == "fetched"
    assert server.asked == ["/m/vggss/list.csv", "/m/list.csv", "/m/theirs_list.csv"]


def test_the_right_file_is_left_alone(server, tmp_path):
    place = tmp_path / "vggss" / "list.csv"
    place.parent.mkdir()
    place.write_bytes(CONTENT)
    before = place.stat()
    assert public(server, official(server.says("/x", whole())), tmp_path).state == "there"
    assert place.stat().st_mtime_ns == before.st_mtime_ns
    assert not server.asked


def test_another_file_is_replaced_only_by_the_right_one_and_that_is_said(server, tmp_path):
    place = tmp_path / "vggss" / "list.csv"
    place.parent.mkdir()
    place.write_bytes(b"mine")
    assert public(server, official(server.says("/x", status(404))), tmp_path).failed
    assert place.read_bytes() == b"mine"
    assert public(server, official(server.says("/y", whole())), tmp_path).state == "replaced"
    assert place.read_bytes() == CONTENT


def test_a_folder_is_searched_by_hash_under_any_name(tmp_path):
    source = tmp_path / "downloads" / "deep"
    source.mkdir(parents=True)
    (source / "list.csv").write_bytes(CONTENT[:-1] + b"?")
    (source / "download (3)").write_bytes(CONTENT)
    found = fetch(official(), tmp_path / "to", Folder(tmp_path / "downloads"))
    assert found.state == "fetched"
    assert found.origin == str(source / "download (3)")
    assert "list.csv is not the official list.csv" in found.problems[0]


def test_a_folder_without_the_file_says_what_it_has_instead(tmp_path):
    found = fetch(official(), tmp_path / "to", Folder(tmp_path))
    assert found.problems == (f"no file in {tmp_path} has the 1,520 bytes of list.csv",)
    (tmp_path / "theirs_list.csv").write_bytes(b"short")
    found = fetch(official(), tmp_path / "to", Folder(tmp_path))
    assert found.problems == (f"{tmp_path / 'theirs_list.csv'} has 5 bytes, expected 1,520",)


def test_a_dry_run_asks_and_writes_nothing(server, tmp_path):
    origin = Public(Web(**QUICK))
    assert fetch(official(server.says("/x", whole())), tmp_path, origin, dry_run=True).state == "to fetch"
    assert not server.asked
    assert not list(tmp_path.iterdir())
    assert fetch(official(), tmp_path, Folder(tmp_path), dry_run=True).failed


@pytest.mark.parametrize("text", ["nowhere", "ftp://example.org/x", "file:///etc", ""])
def test_an_origin_is_a_folder_or_an_address(text):
    with pytest.raises(UsageError, match="expected --from with a folder, or an address with http"):
        origin_of(text, Web())


def test_the_command_brings_all_from_a_folder(shared, store, capsys):
    assert data_fetch.main([ALL, "--from", str(shared / "metadata")]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert f"{len(files_of(ALL))} fetched" in told.err
    assert "media are not fetched" in told.err
    assert load_split("vggss-unheard").n == 2575
    assert data_fetch.main([ALL, "--from", str(shared / "metadata"), "--json"]) == 0
    assert {file["state"] for file in json.loads(capsys.readouterr().out)["files"]} == {"there"}


def test_the_command_says_how_to_get_by_hand_what_it_could_not(store, tmp_path, capsys):
    assert data_fetch.main(["vpo", "--from", str(tmp_path), "--to", str(tmp_path / "to")]) == 1
    told = capsys.readouterr().err
    assert "failed: is3_vpo/vpo_ss_bbox.json: no file in" in told
    assert "https://github.com/kaistmm/SSLalignment/blob/" in told
    assert "avbench data fetch vpo --from DIR" in told
    assert not (tmp_path / "to").exists()


def test_the_command_downloads_from_a_mirror(server, shared, store, capsys):
    for file in files_of("is3"):
        server.says(f"/{file.place}", whole((shared / "metadata" / file.place).read_bytes()))
    assert data_fetch.main(["is3", "--from", server.address, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [file["state"] for file in shown["files"]] == ["fetched", "fetched"]
    assert all(Path(file["path"]).is_file() for file in shown["files"])


def test_a_set_without_files_says_so(store, capsys):
    assert data_fetch.main(["demo"]) == 0
    assert "demo has no official files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["vgss"], "no data set called 'vgss'"),
        (["vggss", "--timeout", "0"], "expected --timeout above 0"),
        (["vggss", "--to", ""], "expected --to with a folder"),
    ],
)
def test_wrong_requests_are_usage_errors(given, told, store):
    with pytest.raises(UsageError, match=told):
        data_fetch.main(given)
