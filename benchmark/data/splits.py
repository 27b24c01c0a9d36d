"""Splits: named lists of samples with their truth, and a hash that says which list it was.

A built-in split is a TOML file in ``avbench.splits``; a user's own is a YAML file. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from avbench.data.annotations import Annotation, Source, read_annotations
from avbench.data.layouts import MediaFolders, MediaIndex, index_media
from avbench.data.places import NO_NAMES, MediaNames, Place
from avbench.data.readers import (
    READERS,
    Wanted,
    find_official,
    official_copies,
    read_all_boxes,
    where_to_get,
    xml_files,
)
from avbench.data.user_sets import is_user_set, read_user_set
from avbench.errors import AvbenchError, UsageError, unknown_name
from avbench.store import metadata_folder
from avbench.types import Box

Progress = Callable[[int, int], None]
Purpose = Literal["test", "train", "validation"]
"""What a list is for; training lists and those to validate on carry truth or not."""

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
    """What is known of a built-in split without reading its annotations.

    Attributes:
        kind: how its files are read, ``demo`` where it is drawn.
        sha256: that :attr:`Split.sha256` has to have, but for boxes that lie beside the media; empty where nobody had
            the official file at hand.
        files: the official files that it is made of, by role.
    """

    name: str
    title: str
    kind: str
    n: int
    sha256: str
    source: str
    family: str = ""
    purpose: Purpose = "test"
    files: Mapping[str, Wanted] = field(default_factory=dict)


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
        purpose: ``test``, also for every list of a user's own.
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
        name=name,
        title=values["title"],
        kind=values["kind"],
        n=values["n"],
        sha256=values.get("sha256", ""),
        source=values.get("source", DEMO_SOURCE),
        family=values.get("family", values["kind"]),
        purpose=values.get("purpose", "test"),
        files={role: Wanted(**file) for role, file in values.get("files", {}).items()},
    )


def load_split(
    name_or_yaml: str,
    *,
    metadata: Path | None = None,
    data: Path | None = None,
    draw: bool = True,
    truth: bool = True,
    progress: Progress | None = None,
) -> Split:
    """Load a split, complete and verified.

    Args:
        name_or_yaml: a built-in name, or the path of a YAML file with the keys ``name``, ``format: vggss``,
            ``annotations``, ``frames`` and ``audio``; its paths are relative to the file itself.
        metadata: folder of the official annotation files, searched by name; without it the store's, where ``avbench
            data fetch`` puts them.
        data: folder that holds ``frames/`` and ``audio/``; overrides the base of a YAML file's folders. Without it
            (and without a YAML file) the split has truth but no media, which is enough for the fixed controls.
        draw: False describes a demo split (``n``, ``sha256``, no samples) without drawing it first.
        truth: False leaves out boxes that lie beside the media in files of their own, as Flickr-SoundNet has them: the
            list is read without.
        progress: called with the samples drawn so far and their total, where a demo split has to be drawn.

    Raises:
        UsageError: for an unknown name or key, a missing argument, a folder that is not there.
        AvbenchError: for annotations that are not what the definition says, or cannot be read.
    """
    if name_or_yaml not in _definitions() and is_user_set(name_or_yaml):
        return _load_user_set(Path(name_or_yaml), data)
    values = _definition(name_or_yaml)
    if values["kind"] == "demo":
        return _load_demo(name_or_yaml, data=data, draw=draw, progress=progress)
    return _load_official(split_summary(name_or_yaml), values.get("options", {}), metadata, data, truth=truth)


def content_hash(annotations: Iterable[Annotation]) -> str:
    """SHA-256 of ``[id, boxes, label, sounding, image, audio]`` of all entries in order, as compact JSON.

    An entry ends with an object of those of ``group``, ``mask``, ``mixed`` and ``consensus`` that it has.
    """
    rows = [[a.id, a.boxes, a.label, a.sounding, a.image, a.audio, *_further(a)] for a in annotations]
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


def _further(a: Annotation) -> list[dict[str, Any]]:
    if not (a.group or a.mask or a.mixed or a.consensus):
        return []
    found = {"group": a.group, "mask": a.mask, "mixed": a.mixed, "consensus": a.consensus}
    return [{name: value for name, value in found.items() if value}]


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


def _load_official(
    known: SplitSummary, options: dict[str, str], metadata: Path | None, data: Path | None, *, truth: bool
) -> Split:
    folder = metadata if metadata is not None else metadata_folder()
    files = {role: _official(known.name, wanted, metadata) for role, wanted in known.files.items()}
    annotations = READERS[known.kind](files, {**options, "n": str(known.n)})
    sha256 = _verified(known, annotations)
    media = index_media(data) if data is not None else None
    if truth and any(a.consensus for a in annotations):
        annotations = read_all_boxes(annotations, _beside(media, folder))
        sha256 = content_hash(annotations)
    split = _build(known.name, known.title, annotations, media=media, source=known.source, sha256=sha256)
    return replace(split, family=known.family, purpose=known.purpose)


def _beside(media: MediaIndex | None, metadata: Path) -> Callable[[str], Path | None]:
    """Finds the file of a picture's boxes: with the media, else with the official files."""
    others = xml_files(metadata)
    return lambda name: (media.annotation(name) if media else None) or others.get(name)


def _official(split: str, wanted: Wanted, metadata: Path | None) -> Path:
    if metadata is not None:
        return find_official(wanted, metadata)
    store = metadata_folder()
    if not official_copies(wanted, store):
        raise UsageError(
            f"the split {split} needs the official file {wanted.name}: pass --metadata DIR with it in DIR or below, or "
            f"have it in {store} ({where_to_get(wanted)})"
        )
    return find_official(wanted, store)


def _load_demo(name: str, *, data: Path | None, draw: bool, progress: Progress | None) -> Split:
    if data is not None:
        raise UsageError(f"the split {name} brings its own media: leave --data out")
    known = split_summary(name)
    described = Split(
        name, known.title, (), known.sha256, known.n, has_media=True, source=DEMO_SOURCE, family=known.family,
        purpose=known.purpose,
    )  # fmt: skip
    if not draw:
        return described
    from avbench.data.demo import ensure_demo

    root = ensure_demo(name, progress=progress)
    media = MediaIndex(MediaFolders.below(root))
    samples = tuple(_sample(a, media) for a in read_annotations(root / "annotations.json"))
    return replace(described, samples=samples)


def _load_user_set(path: Path, data: Path | None) -> Split:
    official = split_summary("vggss").files["boxes"].sha256
    mine = read_user_set(path, data=data, taken=_definitions(), official=official)
    sha256 = content_hash(mine.annotations)
    return _build(mine.name, mine.name, mine.annotations, media=mine.media, source=mine.source, sha256=sha256)


def _verified(known: SplitSummary, annotations: list[Annotation]) -> str:
    """The hash of the annotations, if they are what the definition says."""
    came = content_hash(annotations)
    if len(annotations) != known.n:
        raise AvbenchError(
            f"the split {known.name} has {known.n} samples, its files gave {len(annotations)}: fetch the official ones"
        )
    if known.sha256 and came != known.sha256:
        raise AvbenchError(
            f"the split {known.name} has the hash {known.sha256[:16]}..., the official files gave {came[:16]}...: "
            "avbench reads them wrongly, report it"
        )
    return came


def _build(
    name: str, title: str, annotations: list[Annotation], *, media: MediaIndex | None, source: str, sha256: str
) -> Split:
    return Split(
        name=name,
        title=title,
        samples=tuple(_sample(a, media) for a in annotations),
        sha256=sha256,
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
