"""A bundle: results with their maps, in one zip that anybody can score again. Its form, and how it is written.

Beside :data:`MANIFEST` it holds what a runs folder holds, of the methods that are handed in, and of trainings what
their curves are drawn from::

    predictions/<split>/<method>-<key>/  about.json  part-00000.safetensors ...  timing.json  retrieval.safetensors
    records/<split>/                     a .json and a .parquet for each row; answers of avbench listen
    truth/<split>-<key>.parquet
    trainings/<method>-<key>/            config.json  evaluations.jsonl

Imports no torch.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeGuard, get_args
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import avbench
from avbench.data.audio_modes import AudioMode
from avbench.errors import AvbenchError, UsageError
from avbench.records import Selection
from avbench.redacting import ABSOLUTE
from avbench.store import json_bytes

FORMAT = 1
"""Version of the manifest's form and of the layout."""

MANIFEST = "manifest.json"

WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
KEY = r"[0-9a-f]{12}"
LAYOUT = re.compile(
    rf"predictions/{WORD}/{WORD}-{KEY}/(about\.json|timing\.json|retrieval\.safetensors|part-[0-9]{{5}}\.safetensors)"
    rf"|records/{WORD}/{WORD}-{KEY}\.(json|parquet)|records/{WORD}/{WORD}\.listening-{KEY}\.json"
    rf"|truth/{WORD}-{KEY}\.parquet|trainings/{WORD}-{KEY}/(config\.json|evaluations\.jsonl)",
    re.ASCII,
)
"""The names that members of a bundle may have, beside the manifest's."""

HASH = re.compile(r"[0-9a-f]{64}")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every member: the first that a zip can tell."""


@dataclass(frozen=True)
class Result:
    """One method with one checkpoint on one split.

    Attributes:
        key: of the predictions with its own sounds.
        audio: keys of its predictions by what it heard, ``true`` among them.
        prior: key of the object maps that rows of it fuse in.
        protocols: under which it was scored.
        training: whether the bundle has the evaluations of its training.
    """

    split: str
    method: str
    key: str
    selection: Selection
    audio: dict[str, str]
    prior: str | None
    protocols: tuple[str, ...]
    training: bool

    @property
    def title(self) -> str:
        """What it is called in reports."""
        return f"{self.method} on {self.split}"


@dataclass(frozen=True)
class Item:
    """A member as the manifest lists it."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        by: who hands it in.
        note: what there is to know.
        url: where more is told.
        files: every member but the manifest, by name.
    """

    avbench: str
    by: str
    note: str
    url: str
    entries: tuple[Result, ...]
    files: dict[str, Item]


def folder_name(method: str, key: str) -> str:
    """What the folder of predictions of this key is called, and that of their training."""
    return f"{method}-{key[:12]}"


def without_paths(value: Any) -> Any:
    """``value``, as of JSON, its texts with the last component in the place of every absolute path."""
    if isinstance(value, dict):
        return {key: without_paths(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(one) for one in value]
    return ABSOLUTE.sub(lambda found: _last(found[0]), value) if isinstance(value, str) else value


def _last(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def write_bundle(out: Path, told: Mapping[str, Any], entries: tuple[Result, ...], files: Mapping[str, Path]) -> bool:
    """Write a bundle: equal bytes for equal contents.

    Args:
        out: the zip.
        told: ``by``, ``note`` and ``url``.
        entries: what is in it.
        files: where each member's content stands, by the member's name.

    Returns:
        False where the same bundle was there already.

    Raises:
        UsageError: if another file is there.
        AvbenchError: if the disk refuses.
    """
    listed = {name: _item(files[name]) for name in sorted(files)}
    manifest = Manifest(avbench.__version__, **told, entries=entries, files=listed)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(temporary, manifest, files)
        if not out.exists():
            temporary.replace(out)
            return True
        if _item(out) != _item(temporary):
            raise UsageError(f"{out} is there already with other content: name another file, or delete it")
    except OSError as problem:
        raise AvbenchError(f"{out} cannot be written ({problem.strerror}): free space or name another place") from None
    finally:
        with suppress(OSError):
            temporary.unlink()
    return False


def _write(path: Path, manifest: Manifest, files: Mapping[str, Path]) -> None:
    with ZipFile(path, "w", ZIP_STORED) as archive:
        archive.writestr(_member(MANIFEST), json_bytes({"format": FORMAT, **asdict(manifest)}))
        for name in manifest.files:
            archive.writestr(_member(name), files[name].read_bytes())


def _member(name: str) -> ZipInfo:
    info = ZipInfo(name, EPOCH)
    info.create_system = 3  # Unix, wherever it is made
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info


def _item(path: Path) -> Item:
    with path.open("rb") as file:
        return Item(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def manifest_of(content: Any, bundle: str) -> Manifest:
    """The manifest of what :data:`MANIFEST` holds, every value of its type.

    Raises:
        AvbenchError: for a newer format, or fields that are missing, unknown or of another type.
    """
    stated = content.get("format") if isinstance(content, dict) else None
    if _is_count(stated) and stated > FORMAT:
        raise AvbenchError(
            f"{bundle} has the format {stated}, newer than the {FORMAT} that this avbench reads: update avbench"
        )
    _require(_is_count(stated) and stated == FORMAT, bundle, f"an object of format {FORMAT}")
    _require_fields(content, {"format", *(f.name for f in fields(Manifest))}, bundle, "the manifest")
    for name in ("avbench", "by", "note", "url"):
        _require(isinstance(content[name], str), bundle, f"a text under {name!r}")
    _require(isinstance(content["entries"], list) and content["entries"], bundle, "a list under 'entries'")
    _require(isinstance(content["files"], dict), bundle, "an object under 'files'")
    told = {name: content[name] for name in ("avbench", "by", "note", "url")}
    entries = tuple(_result(one, bundle) for one in content["entries"])
    listed = {name: _listed(name, one, bundle) for name, one in content["files"].items()}
    return Manifest(**told, entries=entries, files=listed)


AGAIN = "make it again with avbench submit"
"""What is to be done about a bundle that is not as it should be."""


def _result(content: Any, bundle: str) -> Result:
    _require(isinstance(content, dict), bundle, "objects in 'entries'")
    _require_fields(content, {f.name for f in fields(Result)}, bundle, "an entry of the manifest")
    for name in ("split", "method"):
        plain = isinstance(content[name], str) and re.fullmatch(WORD, content[name], re.ASCII)
        _require(plain, bundle, f"a plain word under {name!r} of an entry")
    audio, prior, protocols = content["audio"], content["prior"], content["protocols"]
    _require(_is_hash(content["key"]), bundle, "a hash under 'key' of an entry")
    _require(prior is None or _is_hash(prior), bundle, "a hash or null under 'prior' of an entry")
    _require(content["selection"] in get_args(Selection), bundle, "a known 'selection' of an entry")
    _require(
        isinstance(audio, dict)
        and {*audio} <= {*get_args(AudioMode)}
        and all(map(_is_hash, audio.values()))
        and audio.get("true") == content["key"],
        bundle,
        "hashes by kind of audio under 'audio' of an entry, that of its own among them",
    )
    _require(
        isinstance(protocols, list) and all(isinstance(one, str) for one in protocols),
        bundle,
        "texts under 'protocols' of an entry",
    )
    _require(isinstance(content["training"], bool), bundle, "true or false under 'training' of an entry")
    return Result(**{**content, "protocols": tuple(protocols)})


def _listed(name: str, content: Any, bundle: str) -> Item:
    fits = isinstance(content, dict) and set(content) == {"size", "sha256"}
    _require(
        fits and _is_count(content["size"]) and _is_hash(content["sha256"]), bundle, f"the size and sha256 of {name!r}"
    )
    return Item(**content)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and HASH.fullmatch(value) is not None


def _require(met: Any, bundle: str, what: str) -> None:
    if not met:
        raise AvbenchError(f"expected {what} in the manifest of {bundle}, found something else: {AGAIN}")


def _require_fields(content: Mapping[str, Any], known: set[str], bundle: str, what: str) -> None:
    missing, foreign = sorted(known - set(content)), sorted(set(content) - known)
    if missing or foreign:
        said = " and ".join(
            [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has the unknown {', '.join(foreign)}"] * bool(foreign)
        )
        raise AvbenchError(f"{what} of {bundle} {said}: {AGAIN}")
