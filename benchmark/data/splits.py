"""Splits: named lists of samples with their truth, and a hash that says which list it was.

A built-in split is a TOML file in ``avbench.splits``; a user's own is a YAML file. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from avbench.data.annotations import Annotation, Source, read_annotations, read_negatives
from avbench.data.layouts import MediaFolders, MediaIndex, index_media
from avbench.data.places import NO_NAMES, MediaNames, Place
from avbench.data.readers_strict import file_hash
from avbench.data.user_sets import is_user_set, read_user_set
from avbench.errors import AvbenchError, UsageError, unknown_name
from avbench.types import Box

Progress = Callable[[int, int], None]
Purpose = Literal["test", "train"]

DEMO_SOURCE = "drawn by avbench.data.demo"


@dataclass(frozen=True)
class Sample:
    """One image with one sound.

    Attributes:
        image: where the picture should lie, present or not; None where the split was loaded without media.
        audio: the same for the sound.
        boxes: of the sounding object, as the annotation file has them.
        sounding: False where the sound comes from nothing in the frame.
        label: class of the sound, None where it is not known.
        mask: a picture of the sounding pixels, where the media bring one.
        objects: boxes of all that is visible, sounding or not, where the split knows them.
        image_name: name of the picture without folder and suffix, media or not; samples of one picture share it.
        sources: the sounding objects one by one, where the split knows them.
        doubtful: True for a sample without a sounding object whose sound is of the class of something in sight: label
            noise of the extended sets.
        mixed: a second sound that is added to ``audio``, sample by sample and without a weight.
        consensus: True where the boxes are those of several annotators: a pixel in one of them weighs a half, in two
            or more it weighs 1.
        names: by which the media are looked up.
    """

    id: str
    image: Place | None
    audio: Place | None
    boxes: tuple[Box, ...]
    label: str | None = None
    sounding: bool = True
    mask: Path | None = None
    objects: tuple[Box, ...] | None = None
    image_name: str = ""
    sources: tuple[Source, ...] = ()
    doubtful: bool = False
    mixed: Place | None = None
    consensus: bool = False
    names: MediaNames = NO_NAMES


@dataclass(frozen=True)
class SplitSummary:
    """What is known of a built-in split without reading its annotations."""

    name: str
    title: str
    kind: str
    n: int
    sha256: str
    source: str


@dataclass(frozen=True)
class Split:
    """A list of samples.

    Attributes:
        sha256: hash over ids, boxes, labels, sounding flags and media names of the *whole* list: the same wherever
            the media lie, and unchanged when missing media reduce ``samples``. For the demo world, hash over the
            bytes of all its files.
        n: length of the whole list.
        has_media: whether folders of media were named and found.
        family: of the data set, which names the conventions that a protocol may look at: ``vggss``, ``flickr``...
        purpose: ``train`` for a list that has no truth to score against.
    """

    name: str
    title: str
    samples: tuple[Sample, ...]
    sha256: str
    n: int
    has_media: bool
    source: str
    family: str = ""
    purpose: Purpose = "test"


def split_names() -> list[str]:
    """Names of the built-in splits, sorted."""
    return sorted(_definitions())


def split_summary(name: str) -> SplitSummary:
    """What is known of the built-in split ``name`` from its definition alone.

    Raises:
        UsageError: for an unknown name, with the closest ones.
    """
    values = _definition(name)
    return SplitSummary(
        name, values["title"], values["kind"], values["n"], values["sha256"], values.get("source", DEMO_SOURCE)
    )


def load_split(
    name_or_yaml: str,
    *,
    metadata: Path | None = None,
    data: Path | None = None,
    draw: bool = True,
    progress: Progress | None = None,
) -> Split:
    """Load a split, complete and verified.

    Args:
        name_or_yaml: a built-in name, or the path of a YAML file with the keys ``name``, ``format: vggss``,
            ``annotations``, ``frames`` and ``audio``; its paths are relative to the file itself.
        metadata: folder of the official annotation files, searched by name; needed by the ``vggss`` family.
        data: folder that holds ``frames/`` and ``audio/``; overrides the base of a YAML file's folders. Without it
            (and without a YAML file) the split has truth but no media, which is enough for the fixed controls.
        draw: False describes a demo split (``n``, ``sha256``, no samples) without drawing it first.
        progress: called with the samples drawn so far and their total, where a demo split has to be drawn.

    Raises:
        UsageError: for an unknown name or key, a missing argument, a folder that is not there.
        AvbenchError: for annotations that are not what the definition says, or cannot be read.
    """
    if name_or_yaml not in _definitions() and is_user_set(name_or_yaml):
        return _load_user_set(Path(name_or_yaml), data)
    values = _definition(name_or_yaml)
    if values["kind"] == "demo":
        return _load_demo(name_or_yaml, values, data=data, draw=draw, progress=progress)
    return _load_vggss(name_or_yaml, values, metadata=metadata, data=data)


def content_hash(annotations: Iterable[Annotation]) -> str:
    """SHA-256 of ``[id, boxes, label, sounding, image, audio]`` of all entries in order, as compact JSON."""
    rows = [[a.id, a.boxes, a.label, a.sounding, a.image, a.audio] for a in annotations]
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


@cache
def _definitions() -> dict[str, Any]:
    from importlib.resources import files

    return {f.name.removesuffix(".toml"): f for f in files("avbench.splits").iterdir() if f.name.endswith(".toml")}


@cache
def _definition(name: str) -> dict[str, Any]:
    import tomllib

    known = _definitions()
    if name not in known:
        raise unknown_name("split", name, known, "avbench list splits")
    return tomllib.loads(known[name].read_text(encoding="utf-8"))


def _load_vggss(name: str, values: dict[str, Any], *, metadata: Path | None, data: Path | None) -> Split:
    if metadata is None:
        raise UsageError(f"the split {name} needs the official file {values['file']}: pass --metadata DIR")
    path = _official_file(metadata, values["file"], values["file_sha256"])
    annotations = read_annotations(path, official=values["file_sha256"])
    if "list" in values:
        listed = _official_file(metadata, values["list"], values["list_sha256"])
        by_id = {a.id: a for a in annotations}
        annotations = [by_id[line] for line in listed.read_text(encoding="utf-8").splitlines()]
    if "negatives" in values:
        negatives = _official_file(metadata, values["negatives"], values["negatives_sha256"])
        annotations += read_negatives(negatives, {a.id: a.label for a in annotations})
    _verify(name, values, annotations)
    media = index_media(data) if data is not None else None
    return _build(name, values["title"], annotations, media=media, source=values["source"])


def _load_demo(name: str, values: dict[str, Any], *, data: Path | None, draw: bool, progress: Progress | None) -> Split:
    if data is not None:
        raise UsageError(f"the split {name} brings its own media: leave --data out")
    described = Split(name, values["title"], (), values["sha256"], values["n"], has_media=True, source=DEMO_SOURCE)
    if not draw:
        return described
    from avbench.data.demo import ensure_demo

    root = ensure_demo(name, progress=progress)
    media = MediaIndex(MediaFolders.below(root))
    samples = tuple(_sample(a, media) for a in read_annotations(root / "annotations.json"))
    return replace(described, samples=samples)


def _load_user_set(path: Path, data: Path | None) -> Split:
    official = _definition("vggss")["file_sha256"]
    mine = read_user_set(path, data=data, taken=_definitions(), official=official)
    return _build(mine.name, mine.name, mine.annotations, media=mine.media, source=mine.source)


def _official_file(metadata: Path, name: str, sha256: str) -> Path:
    """The file ``name`` with hash ``sha256`` in ``metadata``, in its ``vggss/`` or anywhere below."""
    if not metadata.exists():
        raise UsageError(f"expected the folder of official files at {metadata}, found nothing: check --metadata")
    found = [p for p in (metadata, metadata / name, metadata / "vggss" / name) if p.name == name and p.is_file()]
    found = found or sorted(metadata.rglob(name))
    if not found:
        raise AvbenchError(
            f"there is no {name} in {metadata} or below: take it from the official repository (LVS, EZ-VSL, SLAVC)"
        )
    for path in found:
        if file_hash(path) == sha256:
            return path
    raise AvbenchError(
        f"{found[0]} is not the official {name}: expected SHA-256 {sha256[:16]}..., got {file_hash(found[0])[:16]}...; "
        "fetch it again from the official repository, or describe your own version in a YAML file"
    )


def _verify(name: str, values: dict[str, Any], annotations: list[Annotation]) -> None:
    came = content_hash(annotations)
    if len(annotations) != values["n"] or came != values["sha256"]:
        raise AvbenchError(
            f"the split {name} has {values['n']} samples of hash {values['sha256'][:16]}..., the official files gave "
            f"{len(annotations)} of hash {came[:16]}...: avbench reads them wrongly, report it"
        )


def _build(name: str, title: str, annotations: list[Annotation], *, media: MediaIndex | None, source: str) -> Split:
    return Split(
        name=name,
        title=title,
        samples=tuple(_sample(a, media) for a in annotations),
        sha256=content_hash(annotations),
        n=len(annotations),
        has_media=media is not None and media.has_media,
        source=source,
    )


def _sample(a: Annotation, media: MediaIndex | None) -> Sample:
    return Sample(
        id=a.id,
        image=None if media is None else media.image(a.image),
        audio=None if media is None else media.sound(a.audio),
        boxes=a.boxes,
        label=a.label,
        sounding=a.sounding,
        mask=None if media is None else media.mask(a.mask or a.id),
        objects=a.objects,
        image_name=a.group or a.image,
        sources=a.sources,
        doubtful=a.doubtful,
        mixed=None if media is None or a.mixed is None else media.sound(a.mixed),
        consensus=a.consensus,
        names=MediaNames(a.image, a.audio, a.mixed, a.mask or a.id),
    )
