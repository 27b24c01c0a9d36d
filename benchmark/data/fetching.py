"""Bringing official annotation files from their public places, a mirror or a folder, verified by hash.

Media are never fetched. Nothing here imports torch.
"""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol

from avbench.data.official import OfficialFile
from avbench.errors import AvbenchError, UsageError
from avbench.store import write_atomic

State = Literal["there", "fetched", "replaced", "to fetch", "to replace", "failed"]
"""``there``: the right file stood in its place already. ``replaced``: a file of another content did."""

SLOWEST = 10_000
"""Bytes a second below which a download is given up."""

CHUNK = 1 << 16
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Answers of a server after which it is worth asking again."""


@dataclass(frozen=True)
class Candidate:
    """A place that may hold a file; ``read`` gives its content or raises AvbenchError with one sentence."""

    place: str
    read: Callable[[], bytes]


class Origin(Protocol):
    """Where files are looked for."""

    def candidates(self, file: OfficialFile) -> Iterator[Candidate]:
        """Places to try, the best first."""

    def absence(self, file: OfficialFile) -> str:
        """One sentence for a file without any candidate."""


@dataclass(frozen=True)
class Fetched:
    """What became of one file.

    Attributes:
        path: where it stands, or should.
        origin: where it came from, or would; None where it was there or could not be had.
        problems: one sentence for each place that failed.
    """

    file: OfficialFile
    state: State
    path: Path
    origin: str | None = None
    problems: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the file is still missing."""
        return self.state == "failed"


@dataclass
class Web:
    """Downloads of whole small files over HTTP.

    A host that does not answer is not asked again, so that a machine without a network fails at once.

    Attributes:
        timeout: seconds that a server may be silent.
        tries: how often a place is asked when it is busy or breaks off.
        pause: seconds before the second try, doubled before each further one.
    """

    timeout: float = 20.0
    tries: int = 3
    pause: float = 1.0
    silent: dict[str, str] = field(default_factory=dict)

    def get(self, url: str, size: int) -> bytes:
        """The content of ``url``, which should be ``size`` bytes long.

        Raises:
            AvbenchError: with one sentence that names the address, for anything else.
        """
        host = urllib.parse.urlsplit(url).netloc
        if host in self.silent:
            raise AvbenchError(f"{host} {self.silent[host]}")
        for attempt in range(self.tries):
            time.sleep(self.pause * 2 ** (attempt - 1) if attempt else 0)
            problem, again = "", False
            try:
                return self._read(url, size)
            except urllib.error.HTTPError as refusal:
                problem, again = f"answered {refusal.code} ({refusal.reason})", refusal.code in BUSY
                refusal.close()
            except _BrokenOffError as broken:
                problem, again = str(broken), True
            except (OSError, http.client.HTTPException, ValueError) as failure:
                problem, again = f"cannot be reached ({_reason(failure)})", _may_pass(failure)
                if not again or attempt + 1 == self.tries:
                    self.silent[host] = problem
            if not again:
                break
        raise AvbenchError(f"{url} {problem}")

    def _read(self, url: str, size: int) -> bytes:
        request = urllib.request.Request(url, headers={"User-Agent": "avbench"})  # noqa: S310 - http(s) alone, checked
        deadline = time.monotonic() + self.timeout + size / SLOWEST
        content = bytearray()
        with urllib.request.urlopen(request, timeout=self.timeout) as answer:  # noqa: S310
            while len(content) <= size and (chunk := answer.read1(CHUNK)):
                content += chunk
                if time.monotonic() > deadline:
                    raise TimeoutError("too slow")
            promised = int(answer.headers.get("Content-Length") or 0)
        if len(content) < promised and len(content) <= size:
            raise _BrokenOffError(f"broke off after {len(content)} of {promised} bytes")
        return bytes(content)


@dataclass
class Public:
    """The repositories that the catalogue names."""

    web: Web

    def candidates(self, file: OfficialFile) -> Iterator[Candidate]:
        """One for each repository."""
        for source in file.sources:
            yield Candidate(source.url, partial(self.web.get, source.url, file.size))

    def absence(self, file: OfficialFile) -> str:
        """Never met: every file has a source."""
        return f"no public place of {file.name} is known"


@dataclass
class Mirror:
    """An address under which the files lie, in their folders or all in one."""

    prefix: str
    web: Web

    def candidates(self, file: OfficialFile) -> Iterator[Candidate]:
        """In its folder, then by each of its names."""
        for name in (file.place, *file.names):
            url = f"{self.prefix.rstrip('/')}/{name}"
            yield Candidate(url, partial(self.web.get, url, file.size))

    def absence(self, file: OfficialFile) -> str:
        """Never met: an address can always be asked."""
        return f"{self.prefix} was not asked for {file.name}"


@dataclass
class Folder:
    """A folder in which the files lie anywhere, under any name: they are known by size and hash."""

    root: Path

    def candidates(self, file: OfficialFile) -> Iterator[Candidate]:
        """Files of the right size, those called so first."""
        for path in sorted(self._by_size[file.size], key=lambda path: (path.name not in file.names, path)):
            yield Candidate(str(path), partial(_content, path))

    def absence(self, file: OfficialFile) -> str:
        """What is called so but has another size, or that nothing fits."""
        called = sorted(path for paths in self._by_size.values() for path in paths if path.name in file.names)
        if called:
            return f"{called[0]} has {called[0].stat().st_size:,} bytes, expected {file.size:,}"
        return f"no file in {self.root} has the {file.size:,} bytes of {file.name}"

    @cached_property
    def _by_size(self) -> dict[int, list[Path]]:
        found = defaultdict(list)
        for folder, _, names in os.walk(self.root):
            for path in (Path(folder, name) for name in names):
                if path.is_file():
                    found[path.stat().st_size].append(path)
        return found


def origin_of(text: str | None, web: Web) -> Origin:
    """Where to look: the public places for None, else the folder or the address of a mirror that ``text`` names.

    Raises:
        UsageError: if ``text`` is neither.
    """
    if text is None:
        return Public(web)
    if text.startswith(("http://", "https://")):
        return Mirror(text, web)
    if text and "://" not in text and Path(text).is_dir():
        return Folder(Path(text))
    raise UsageError(f"expected --from with a folder, or an address with http:// or https://, got {text!r}")


def fetch(file: OfficialFile, folder: Path, origin: Origin, *, dry_run: bool = False) -> Fetched:
    """Bring one file into its place below ``folder``, verified.

    The right file in its place is left as it is. A file of another content is replaced, once the right one is at
    hand. With ``dry_run`` nothing is asked or written, but a folder is searched.

    Raises:
        AvbenchError: if the disk refuses.
    """
    path = folder / file.folder / file.name
    if path.is_file() and path.stat().st_size == file.size and _sum(path.read_bytes()) == file.sha256:
        return Fetched(file, "there", path)
    other = path.exists()
    if dry_run:
        return _planned(file, path, origin, other)
    problems = []
    for candidate in origin.candidates(file):
        try:
            content = candidate.read()
            _verify(file, candidate.place, content)
        except AvbenchError as problem:
            problems.append(str(problem))
            continue
        write_atomic(path, content)
        return Fetched(file, "replaced" if other else "fetched", path, candidate.place, tuple(problems))
    return Fetched(file, "failed", path, None, tuple(dict.fromkeys(problems)) or (origin.absence(file),))


def _planned(file: OfficialFile, path: Path, origin: Origin, other: bool) -> Fetched:
    """What would be done; files of a folder are looked into."""
    for candidate in origin.candidates(file):
        if not isinstance(origin, Folder) or _sum(candidate.read()) == file.sha256:
            return Fetched(file, "to replace" if other else "to fetch", path, candidate.place)
    return Fetched(file, "failed", path, None, (origin.absence(file),))


def _verify(file: OfficialFile, place: str, content: bytes) -> None:
    if len(content) > file.size:
        raise AvbenchError(f"{place} holds more than the {file.size:,} bytes of the official {file.name}")
    came = _sum(content)
    if came != file.sha256:
        raise AvbenchError(
            f"{place} is not the official {file.name}: expected SHA-256 {file.sha256[:16]}..., got {came[:16]}... of "
            f"{len(content):,} bytes"
        )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise AvbenchError(f"{path} cannot be read ({problem.strerror})") from problem


def _sum(content: bytes) -> str:
    return sha256(content).hexdigest()


class _BrokenOffError(Exception):
    """A download that ended early."""


def _reason(failure: Exception) -> str:
    inner = getattr(failure, "reason", failure)
    if isinstance(inner, TimeoutError):
        return "no answer in time"
    return str(getattr(inner, "strerror", None) or inner)


def _may_pass(failure: Exception) -> bool:
    """Whether to ask again: a name that is not known, or a refused connection, stays so for a while."""
    inner = getattr(failure, "reason", failure)
    return isinstance(inner, TimeoutError | ConnectionResetError | http.client.HTTPException)
