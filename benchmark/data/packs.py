"""Packs: shards with an index, found by name as files in folders are. Nothing here imports torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from avbench.data.layouts import MediaFolders, MediaIndex
from avbench.data.pack_manifest import INDEX, MANIFEST, PackFile, PackManifest, read_manifest
from avbench.data.packed import close_shards, packed_picture, packed_pixels, packed_samples
from avbench.data.places import Form, Packed, Place
from avbench.data.shards import SHARD, Member, file_sha256, members
from avbench.errors import AvbenchError
from avbench.types import CANVAS

if TYPE_CHECKING:
    import pyarrow

FORMS: tuple[Form, ...] = get_args(Form)
PICTURE_FORMS: tuple[Form, ...] = ("pixels", "jpeg")
ARRAY_FORMS: tuple[Form, ...] = ("pixels", "pcm16", "float32")

NPY_HEADER = 128
"""Bytes before the numbers of an array as we write it."""

COLUMNS = {
    "kind": "string", "name": "string", "shard": "int32", "offset": "int64", "size": "int64", "form": "string",
    "rate": "int32", "native": "int32", "channels": "int16", "mixed": "int8",
}  # fmt: skip
"""Of the index: a row for each picture and each sound, and one for each sound with its channels apart."""

KINDS = ("image", "sound", "channels")

UNSAFE = r"[/\\\x00]|^\.{0,2}$"
"""Names that are no plain file names."""


class PackIndex(MediaIndex):
    """The pictures and sounds of a pack by name; what it lacks is expected, in vain, in folders inside it.

    Attributes:
        root: folder of the pack.
        manifest: what the pack is.
    """

    def __init__(self, root: Path, manifest: PackManifest, rows: _Rows) -> None:
        super().__init__(MediaFolders.below(root))
        self.root, self.manifest, self._rows = root, manifest, rows

    def __len__(self) -> int:
        return len(self._rows.images) + len(self._rows.sounds)

    @property
    def has_media(self) -> bool:
        """True: a pack is made of media."""
        return True

    @cached_property
    def described(self) -> str:
        """A sentence that names the layout found."""
        made = self.manifest
        return (
            f"a pack of {made.split} for {made.purpose}, {len(self._rows.images)} pictures and "
            f"{len(self._rows.sounds)} sounds in {len(made.shards)} shards"
        )

    def image(self, name: str) -> Place:
        """The picture called ``name``: where it lies, or a file that is not there."""
        row = self._rows.images.get(name)
        return self.folders.frames / f"{name}.jpg" if row is None else self._rows.at(row)

    def sound(self, name: str) -> Place:
        """The sound called ``name``: where it lies, or a file that is not there."""
        row = self._rows.sounds.get(name)
        return self.folders.audio / f"{name}.wav" if row is None else self._rows.at(row)

    def entries(self, shard: str) -> list[Packed]:
        """The pictures and sounds in the shard of this file name, by offset."""
        rows = (*self._rows.images.values(), *self._rows.sounds.values())
        places = (self._rows.at(row) for row in rows)
        return sorted((place for place in places if place.shard.name == shard), key=lambda place: place.offset)


@dataclass(frozen=True)
class _Rows:
    """The index: which rows are of pictures, sounds, and sounds with their channels apart, by name; and all columns."""

    images: dict[str, int]
    sounds: dict[str, int]
    apart: dict[str, int]
    names: list[str]
    shards: list[Path]
    shard: list[int]
    offset: list[int]
    size: list[int]
    form: list[int]
    rate: list[int]
    channels: list[int]
    native: list[int]
    mixed: list[int]

    def at(self, row: int) -> Packed:
        """What the row says; made when it is asked for, since few need all of a large index."""
        apart = self.apart.get(self.names[row]) if self.mixed[row] else None
        return Packed(
            self.shards[self.shard[row]],
            self.offset[row],
            self.size[row],
            FORMS[self.form[row]],
            self.names[row],
            self.rate[row],
            self.channels[row],
            self.native[row],
            self.mixed[row] != 0,
            None if apart is None else self.at(apart),
        )


def is_pack(root: Path) -> bool:
    """Whether ``root`` holds a pack, finished or not."""
    return (root / MANIFEST).exists() or any(SHARD.fullmatch(p.name) for p in root.glob("shard-*.tar"))


def open_pack(root: Path) -> PackIndex:
    """Open a pack: read what it is and its index, and look at the sizes of its shards; contents are not read.

    Raises:
        AvbenchError: for a pack that is unfinished, damaged, of another version, or not of our making; for a shard
            that is missing or not of the size that it had.
    """
    manifest = read_manifest(root)
    for shard in manifest.shards:
        _check_size(root, shard)
    close_shards()  # those that an earlier pack in this place had
    return PackIndex(root, manifest, _read_index(root, manifest))


def verify_pack(root: Path) -> list[str]:
    """All that is wrong with a pack, a sentence each; every byte is read and every picture and sound decoded.

    Hashes of all files, the index against the members of the shards and their descriptions, and whether the members
    can be decoded.
    """
    try:
        index = open_pack(root)
    except AvbenchError as problem:
        return [str(problem)]
    made = index.manifest
    problems = [problem for file in (*made.shards, *made.beside) for problem in _hash_problems(root, file)]
    for shard in made.shards:
        try:
            problems += _shard_problems(index, shard.name)
        except AvbenchError as problem:
            problems.append(str(problem))
    return problems


def _hash_problems(root: Path, file: PackFile) -> list[str]:
    try:
        _check_size(root, file)
        same = file_sha256(root / file.name) == file.sha256
    except AvbenchError as problem:
        return [str(problem)]
    return [] if same else [f"{root / file.name} is not the file that was packed, its hash differs: pack again"]


def _shard_problems(index: PackIndex, shard: str) -> list[str]:
    place = index.root / shard
    found = {member.offset: member for member in members(place)}
    problems: list[str] = []
    for entry in _with_channels(index.entries(shard)):
        member = found.get(entry.offset - (NPY_HEADER if entry.form in ARRAY_FORMS else 0))
        if member is None or member.offset + member.size != entry.offset + entry.size:
            problems.append(f"{entry} stands nowhere in {place} where the index has it: pack again")
            continue
        problems += _content_problems(entry, member)
    return problems


def _with_channels(entries: list[Packed]) -> list[Packed]:
    return [*entries, *(entry.apart for entry in entries if entry.apart is not None)]


def _content_problems(entry: Packed, member: Member) -> list[str]:
    wanted = ("image",) if entry.form in PICTURE_FORMS else ("audio", "mixed")
    if member.name.split(".")[1] not in wanted:
        return [f"{entry} is called {member.name}: pack again"]
    try:
        if entry.form in ARRAY_FORMS:
            _check_header(entry, member)
        _check_content(entry)
    except AvbenchError as problem:
        return [str(problem)]
    return []


def _check_header(entry: Packed, member: Member) -> None:
    """Compare the header of an array with what the index says of it."""
    with entry.shard.open("rb") as file:
        file.seek(member.offset)
        try:
            version = np.lib.format.read_magic(file)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        except ValueError as problem:
            raise AvbenchError(f"{entry} has no header of an array ({problem}): pack again") from problem
        end = file.tell()
    kind = {"pixels": "|u1", "pcm16": "<i2", "float32": "<f4"}[entry.form]
    sound = len(shape) == 1 if entry.channels == 1 else shape[1:] == (entry.channels,)
    fits = shape == (3, CANVAS, CANVAS) if entry.form == "pixels" else sound
    if version != (1, 0) or fortran or dtype.str != kind or end != entry.offset or not fits:
        raise AvbenchError(f"{entry} is an array of {dtype} {shape} where the index says {entry.form}: pack again")


def _check_content(entry: Packed) -> None:
    if entry.form == "jpeg":
        packed_picture(entry)
    elif entry.form == "pixels":
        packed_pixels(entry, size=CANVAS)
    else:
        samples = packed_samples(entry, rate=entry.rate)
        if not len(samples) or not np.isfinite(samples).all():
            raise AvbenchError(f"{entry} holds no samples of sound, or some that are not finite: pack again")


def _check_size(root: Path, file: PackFile) -> None:
    place = root / file.name
    try:
        size = place.stat().st_size
    except OSError as problem:
        raise AvbenchError(f"expected a file of the pack at {place}: {problem.strerror}, pack again") from problem
    if size != file.size:
        raise AvbenchError(f"{place} has {size} bytes where {file.size} were packed: it was replaced, pack again")


def _read_index(root: Path, manifest: PackManifest) -> _Rows:
    place = root / INDEX
    _check_size(root, manifest.index)
    content = place.read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest.index.sha256:
        raise AvbenchError(f"{place} is not the index that was packed, its hash differs: pack again")
    try:
        columns = _columns(content)
        _check_places(columns, np.array([shard.size for shard in manifest.shards], dtype=np.int64))
        _check_forms(columns)
        return _rows(columns, [root / shard.name for shard in manifest.shards])
    except ValueError as problem:  # pyarrow's own errors are such
        raise AvbenchError(f"{place} is damaged or not of our making ({problem}): pack again") from problem


def _rows(columns: dict[str, Any], shards: list[Path]) -> _Rows:
    names: list[str] = columns["name"]
    images, sounds, apart = (_by_name(names, columns["kind"] == code) for code in range(len(KINDS)))
    if len(images) + len(sounds) + len(apart) != len(names):
        raise ValueError("a name stands there twice")
    numbers = {key: columns[key].tolist() for key in COLUMNS if key not in {"kind", "name"}}
    return _Rows(images, sounds, apart, names, shards, **numbers)


def _by_name(names: list[str], which: NDArray[np.bool_]) -> dict[str, int]:
    rows = np.flatnonzero(which).tolist()
    return dict(zip(compress(names, which.tolist()), rows, strict=True))


def _columns(content: bytes) -> dict[str, Any]:
    """Names as a list, numbers as arrays; kinds and forms as their places in ``KINDS`` and ``FORMS``."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(BytesIO(content), memory_map=False, use_threads=False).combine_chunks()
    if {field.name: str(field.type) for field in table.schema} != COLUMNS:
        raise ValueError(f"expected the columns {', '.join(COLUMNS)}")
    if any(column.null_count for column in table.columns):
        raise ValueError("a value is missing")
    unsafe = table.filter(pc.match_substring_regex(table["name"], UNSAFE))["name"]
    if len(unsafe):
        raise ValueError(f"the name {unsafe[0].as_py()!r} is no plain file name")
    numbers = {key: table[key].to_numpy() for key, kind in COLUMNS.items() if kind != "string"}
    codes = {"kind": _codes(table["kind"], KINDS), "form": _codes(table["form"], FORMS)}
    return {**numbers, **codes, "name": table["name"].to_pylist()}


def _codes(column: pyarrow.ChunkedArray, known: Sequence[str]) -> NDArray[np.int8]:
    """Places of the texts in ``known``."""
    written = column.combine_chunks().dictionary_encode()
    texts: list[str] = written.dictionary.to_pylist()
    for text in texts:
        if text not in known:
            raise ValueError(f"{text!r} is none of {', '.join(known)}")
    codes: NDArray[np.int8] = np.array([known.index(text) for text in texts], dtype=np.int8)
    places: NDArray[np.int8] = codes.take(written.indices.to_numpy())
    return places


def _check_places(columns: dict[str, Any], sizes: NDArray[np.int64]) -> None:
    shard, offset, size = columns["shard"], columns["offset"], columns["size"]
    if not ((shard >= 0) & (shard < len(sizes))).all():
        raise ValueError("a row points to a shard that does not exist")
    end = sizes[shard] if len(shard) else sizes
    if not ((offset >= 0) & (offset <= end) & (size >= 0) & (size <= end - offset)).all():
        raise ValueError("a row points outside its shard")


def _check_forms(columns: dict[str, Any]) -> None:
    form, picture = columns["form"], columns["kind"] == KINDS.index("image")
    if not (np.isin(form, [FORMS.index(f) for f in PICTURE_FORMS]) == picture).all():
        raise ValueError("a picture has the form of a sound, or a sound that of a picture")
    if not (columns["size"][form == FORMS.index("pixels")] == 3 * CANVAS * CANVAS).all():
        raise ValueError(f"a decoded picture has another size than {CANVAS} pixels a side")
    if not ((columns["rate"] > 0) & (columns["native"] > 0) & (columns["channels"] > 0))[~picture].all():
        raise ValueError("a sound has no rate or no channel")
    if columns["mixed"][columns["kind"] != KINDS.index("sound")].any():
        raise ValueError("what is no sound is said to be the mean of channels")
