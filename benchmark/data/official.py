"""The data sets of the field, and the official annotation files that each comes with.

A data set is a TOML file in ``avbench.datasets``. Nothing here imports torch.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from avbench.errors import UsageError, unknown_name

ALL = "all"
"""Stands for every data set."""

SOURCE = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)@(?P<version>[\w.-]+):(?P<path>[\w./-]+)")
"""``OWNER/REPOSITORY@COMMIT:PATH`` in a public repository; ``HEAD`` where no commit is known."""


@dataclass(frozen=True)
class Source:
    """A file in a public repository; the hash of the file, not its place, says that it is the right one."""

    repository: str
    version: str
    path: str

    @property
    def pinned(self) -> bool:
        """Whether the version is a commit, which cannot change."""
        return re.fullmatch(r"[0-9a-f]{40}", self.version) is not None

    @property
    def url(self) -> str:
        """Where the raw file is served."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.version}/{self.path}"

    @property
    def page(self) -> str:
        """Where a person finds it."""
        return f"https://github.com/{self.repository}/blob/{self.version}/{self.path}"


@dataclass(frozen=True)
class OfficialFile:
    """An annotation file or a list as it was released.

    Attributes:
        name: here; where several repositories call different files alike, another than theirs.
        folder: below a folder of official files, such as ``vggss``.
        what: it holds, in a few words.
        entries: rows without the header, or items of the JSON list.
        size: in bytes.
        sources: where it is public, the first one first.
    """

    name: str
    folder: str
    what: str
    entries: int
    size: int
    sha256: str
    sources: tuple[Source, ...]

    @property
    def place(self) -> str:
        """Path below a folder of official files."""
        return f"{self.folder}/{self.name}"

    @property
    def names(self) -> list[str]:
        """What it is called, here and in the repositories."""
        return list(dict.fromkeys([self.name, *(Path(source.path).name for source in self.sources)]))


@dataclass(frozen=True)
class Link:
    """A page to look at; not ``verified`` where nobody has seen that it is the right one."""

    url: str
    what: str
    verified: bool


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set.

    Attributes:
        samples: how many to test on, in a few words; ``size`` says it in full.
        licence: of annotations and media, ``not stated`` where it is not known; the first clause is the shortest.
        media: who has them, and how one gets them.
        layout: the folders that are expected, as a tree.
        recognised: what else is understood.
        also: data sets whose official files are needed too.
    """

    name: str
    title: str
    about: str
    paper: str
    samples: str
    size: str
    licence: str
    media: str
    layout: str
    recognised: tuple[str, ...]
    notes: tuple[str, ...]
    also: tuple[str, ...]
    links: tuple[Link, ...]
    files: tuple[OfficialFile, ...]


def data_set_names() -> list[str]:
    """Names of the data sets, sorted."""
    return sorted(_catalogue())


def data_set(name: str) -> DataSet:
    """The data set called ``name``.

    Raises:
        UsageError: for an unknown name, with the closest ones.
    """
    known = _catalogue()
    if name not in known:
        owner = next((one.name for one in known.values() if name in splits_of(one)), None)
        if owner is not None:
            raise UsageError(f"{name} is a split of the data set {owner}: name that one")
        raise unknown_name("data set", name, known, "avbench data list")
    return known[name]


def files_of(name: str) -> list[OfficialFile]:
    """The official files that the data set ``name`` needs, those of others included; of ``all`` every one.

    Raises:
        UsageError: as :func:`data_set`.
    """
    sets = [data_set(each) for each in (data_set_names() if name == ALL else (name, *data_set(name).also))]
    return list({file.sha256: file for each in sets for file in each.files}.values())


def splits_of(found: DataSet) -> list[str]:
    """Built-in splits that read an official file of the data set, or are drawn where it has none; sorted."""
    own = {file.name for file in found.files}
    reading = {name: _texts(values) for name, values in _split_files().items()}
    if not own:
        return sorted(name for name, values in _split_files().items() if values.get("kind") == found.name)
    return sorted(name for name, texts in reading.items() if own & texts)


@cache
def _catalogue() -> dict[str, DataSet]:
    return {name: _data_set(name, values) for name, values in _tomls("avbench.datasets")}


@cache
def _split_files() -> dict[str, dict[str, Any]]:
    return dict(_tomls("avbench.splits"))


def _tomls(package: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(files(package).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            yield file.name.removesuffix(".toml"), tomllib.loads(file.read_text(encoding="utf-8"))


def _texts(value: Any) -> set[str]:
    """Every text in ``value``, at any depth."""
    if isinstance(value, str):
        return {value, value.rpartition("/")[2]}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*map(_texts, inner))


def _data_set(name: str, values: dict[str, Any]) -> DataSet:
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    given["links"] = tuple(Link(**link) for link in values.get("links", []))
    given["files"] = tuple(_official_file(file) for file in values.get("files", []))
    return DataSet(name=name, **given)


def _official_file(values: dict[str, Any]) -> OfficialFile:
    return OfficialFile(
        **{key: values[key] for key in ("name", "folder", "what", "entries", "sha256")},
        size=values["bytes"],
        sources=tuple(_source(text) for text in values["from"]),
    )


def _source(text: str) -> Source:
    found = SOURCE.fullmatch(text)
    if found is None:
        raise ValueError(f"expected OWNER/REPOSITORY@VERSION:PATH, got {text!r}")
    return Source(**found.groupdict())
