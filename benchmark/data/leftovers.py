"""Files of a folder that no sample uses, and the missing samples that they may be meant for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avbench.data.doctor import Broken, Diagnosis, Progress, Wanted, shelf_of
from avbench.data.inspecting import FileKind, problems
from avbench.data.layouts import ANNOTATION_SUFFIXES, AUDIO_SUFFIXES, IMAGE_SUFFIXES, MediaIndex
from avbench.data.names import folder_name, loose_key, plain, vggsound_key, wanted_key
from avbench.data.shelves import MIDDLES

OTHER_PICTURES = (".webp", ".bmp", ".gif", ".tif", ".tiff")
OTHER_SOUNDS = (".mp3", ".m4a", ".aac", ".ogg", ".opus", ".aiff")
LIKELY: dict[FileKind, tuple[str, ...]] = {
    "picture": IMAGE_SUFFIXES + OTHER_PICTURES,
    "mask": IMAGE_SUFFIXES + OTHER_PICTURES,
    "sound": AUDIO_SUFFIXES + OTHER_SOUNDS,
    "annotation": ANNOTATION_SUFFIXES,
}
"""Suffixes of files that may be meant for a missing one, read or not."""


@dataclass(frozen=True)
class NearMiss:
    """An unused file whose name is nearly that of a missing one of the sample ``id``, and what to do with it."""

    id: str
    kind: FileKind
    file: Path
    advice: str


@dataclass(frozen=True)
class Leftovers:
    """What no sample uses.

    Attributes:
        extra: paths of pictures and sounds where such are looked for, sorted.
        near: files that may be meant for what is missing; none is ever taken for it.
        videos: of missing samples, from which pictures and sounds can be made, by id.
        broken_videos: of missing samples, and why nothing can be made from them.
    """

    extra: tuple[str, ...]
    near: tuple[NearMiss, ...]
    videos: dict[str, Path]
    broken_videos: tuple[Broken, ...]


def leftovers(found: Diagnosis, media: MediaIndex, *, workers: int | None = None, progress: Progress) -> Leftovers:
    """What of ``media`` the samples of ``found`` leave unused; videos of missing samples are opened.

    Raises:
        AvbenchError: if a process that looks at videos dies.
    """
    unused = media.all_files() - set(_used(found, media))
    shelved = {*media.pictures.files(), *media.sounds.files()}
    by_name = videos_by_name(media)
    videos = {w.id: by_name[key] for w in found.lacking if (key := clip_name(w.name)) in by_name}
    broken = _broken(videos, workers, progress) if videos else ()
    bad = {video.id for video in broken}
    return Leftovers(
        extra=tuple(sorted(unused & shelved)),
        near=tuple(_near(found.lacking, media, unused)),
        videos={name: path for name, path in videos.items() if name not in bad},
        broken_videos=broken,
    )


def _broken(videos: dict[str, Path], workers: int | None, progress: Progress) -> tuple[Broken, ...]:
    with progress("looking at videos", len(videos)) as step:
        reasons = problems([("video", path) for path in videos.values()], workers=workers, progress=step)
    return tuple(
        Broken(name, "video", path, reason)
        for (name, path), reason in zip(videos.items(), reasons, strict=True)
        if reason is not None
    )


def videos_by_name(media: MediaIndex) -> dict[str, Path]:
    """The videos in ``media`` by :func:`clip_name`."""
    return {vggsound_key(path.stem) or path.stem: path for path in media.videos()}


def clip_name(name: str) -> str:
    """What the video of a sample is called, whatever the style of either."""
    return wanted_key(name) or name


def _used(found: Diagnosis, media: MediaIndex) -> Iterator[str]:
    """Files of the samples, and those beside or instead of them that are theirs as well."""
    for file in found.wanted:
        if isinstance(file.place, Path):
            yield str(file.place)
        yield from shelf_of(file.kind, media).beside(file.name)
    for several in found.duplicates:
        yield from map(str, several.files)


def _near(lacking: Sequence[Wanted], media: MediaIndex, unused: set[str]) -> Iterator[NearMiss]:
    likely = _by_loose_name(unused) if lacking else {}
    for wanted in lacking:
        files = [f for f in likely.get(loose_key(wanted.name), ()) if f.lower().endswith(LIKELY[wanted.kind])]
        if files:
            file = Path(min(files))
            yield NearMiss(wanted.id, wanted.kind, file, _advice(wanted, file, media))


def _by_loose_name(files: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in files:
        folder, _, name = file.rpartition("/")
        stem = name.rpartition(".")[0]
        sample = folder_name(folder.rpartition("/")[2]) if stem in MIDDLES else stem
        found.setdefault(loose_key(sample), []).append(file)
    return found


def _advice(wanted: Wanted, file: Path, media: MediaIndex) -> str:
    shelf = shelf_of(wanted.kind, media)
    if file.suffix.lower() not in shelf.suffixes:
        return f"convert it to {shelf.expected(wanted.name)}"
    if plain(file.stem) == wanted.name:
        return f"move it to {shelf.home}"
    if file.stem in MIDDLES:
        return f"rename its folder to {wanted.name}"
    return f"rename it to {wanted.name}{file.suffix}"
