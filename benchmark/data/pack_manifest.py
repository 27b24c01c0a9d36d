"""``pack.json``: what a pack is, which files it has, and what they have to be. Nothing here imports torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from avbench.data.shards import SHARD
from avbench.errors import AvbenchError
from avbench.store import read_json, write_json

MANIFEST, INDEX = "pack.json", "index.parquet"

FORMAT, VERSION = "avbench-pack", 1

HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)

BESIDE = re.compile(r"(masks|Annotations)/(?!\.{1,2}$)[^/\\\0]+")
"""Masks and annotations by sample, which stand beside the shards as they are."""


@dataclass(frozen=True)
class PackFile:
    """A file of a pack: its name below the pack's folder, its bytes, their hash."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class PackManifest:
    """What a pack is.

    Attributes:
        purpose: ``evaluation`` or ``training``.
        split: name of the split that was packed.
        split_sha256: its hash.
        split_n: its length.
        samples: how many of it are in the pack.
        audio_rate: Hz to which sounds of one channel were resampled; None where each kept its own.
        audio: ``exact``, ``flac`` or ``int16``.
        jpeg_quality: of a pack for training, else None.
        shards: the tar files in order.
        index: the Parquet file that says where each picture and sound stands.
        beside: masks and annotations.
        left_out: ids of samples that could not be decoded, and why.
        plan: hash of all that decided the bytes.
        avbench: version that made the pack.
    """

    purpose: str
    split: str
    split_sha256: str
    split_n: int
    samples: int
    audio_rate: int | None
    audio: str
    jpeg_quality: int | None
    shards: tuple[PackFile, ...]
    index: PackFile
    beside: tuple[PackFile, ...]
    left_out: tuple[tuple[str, str], ...]
    plan: str
    avbench: str

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in (*self.shards, self.index, *self.beside))

    def write(self, root: Path) -> None:
        """Write ``pack.json``, which makes a pack of the files in ``root``.

        Raises:
            AvbenchError: if the disk refuses.
        """
        write_json(root / MANIFEST, {"format": FORMAT, "version": VERSION, **asdict(self)})


def read_manifest(root: Path) -> PackManifest:
    """Read and check ``pack.json``.

    Raises:
        AvbenchError: if it is missing, of another format or version, or not what it has to be, such as a name that
            leads out of the folder.
    """
    place = root / MANIFEST
    if not place.exists():
        raise AvbenchError(f"{root} holds a pack that is unfinished, without {MANIFEST}: run avbench data pack again")
    values = read_json(place)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise AvbenchError(f"{place} does not describe a pack: expected the format {FORMAT!r}, name another folder")
    if values.get("version") != VERSION or isinstance(values["version"], bool):
        raise AvbenchError(
            f"{place} is of the pack format {values.get('version')!r}, this avbench reads {VERSION}: pack again, or "
            "take the avbench that made it"
        )
    try:
        return _manifest({key: value for key, value in values.items() if key not in {"format", "version"}})
    except (KeyError, TypeError, ValueError) as problem:
        raise AvbenchError(f"{place} is damaged or not of our making ({problem}): pack again") from problem


def _manifest(values: dict[str, Any]) -> PackManifest:
    for key, (of, allowed) in _FIELDS.items():
        if not of(values[key]):
            raise ValueError(f"{key} is {values[key]!r} where {allowed} is expected")
    shards = tuple(_file(value, SHARD) for value in values["shards"])
    if len({shard.name for shard in shards}) != len(shards):
        raise ValueError("a shard is named twice")
    return PackManifest(
        **{
            **values,
            "shards": shards,
            "index": _file(values["index"], re.compile(re.escape(INDEX))),
            "beside": tuple(_file(value, BESIDE) for value in values["beside"]),
            "left_out": tuple((str(name), str(why)) for name, why in values["left_out"]),
        }
    )


def _file(value: Any, pattern: re.Pattern[str]) -> PackFile:
    file = PackFile(**value)
    if not isinstance(file.name, str) or not pattern.fullmatch(file.name):
        raise ValueError(f"the file name {file.name!r} is none of a pack's")
    if not _whole(file.size) or not _sha256(file.sha256):
        raise ValueError(f"{file.name} lacks its size or its hash")
    return file


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _sha256(value: Any) -> bool:
    return isinstance(value, str) and HASH.fullmatch(value) is not None


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _list(value: Any) -> bool:
    return isinstance(value, list)


_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "purpose": (lambda value: value in {"evaluation", "training"}, "evaluation or training"),
    "split": (_text, "a name"),
    "split_sha256": (_sha256, "a hash"),
    "split_n": (_whole, "a number"),
    "samples": (_whole, "a number"),
    "audio_rate": (lambda value: value is None or _whole(value), "a rate"),
    "audio": (lambda value: value in {"exact", "flac", "int16"}, "exact, flac or int16"),
    "jpeg_quality": (lambda value: value is None or _whole(value), "a quality"),
    "shards": (_list, "a list"),
    "beside": (_list, "a list"),
    "left_out": (_list, "a list"),
    "plan": (_sha256, "a hash"),
    "avbench": (_text, "a version"),
}
