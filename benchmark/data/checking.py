"""Checking the media of a split, or of a folder: what is missing or broken, what is doubled, silent, blank or odd."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from avbench.data.examining import FULL_SCALE, Facts, Kind, examine_all
from avbench.data.layouts import AUDIO_SUFFIXES, IMAGE_SUFFIXES
from avbench.data.leakage import clip_of
from avbench.data.packs import PICTURE_FORMS, PackIndex, is_pack, verify_pack
from avbench.data.places import Packed, Place
from avbench.data.splits import Split
from avbench.data.walking import walk
from avbench.errors import AvbenchError

SILENT_RMS = 1e-3
"""Below which a sound counts as silent: -60 dB of full scale."""

SHORT_SECONDS = 1.0
"""Below which a sound counts as very short; the methods hear 3 to 10 s and repeat what is shorter."""

CLIPPED_SHARE = 0.01
"""Of samples at full scale above which a sound counts as clipped."""

MANIFEST = "manifest.jsonl"
"""What ``avbench data prepare`` leaves beside the media."""

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Medium:
    """One file of a set.

    Attributes:
        kind: what it should hold.
        place: where it should lie.
        name: by which it is called in findings.
        samples: ids of the samples that need it; empty where there is no split.
    """

    kind: Kind
    place: Place
    name: str
    samples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One kind of trouble.

    Attributes:
        what: a short name, such as ``silent``.
        level: an ``error`` keeps a split from being run.
        told: what it means, with the limit that was used.
        items: for each case the names concerned (of samples for errors, of media otherwise) and a detail.
    """

    what: str
    level: Level
    told: str
    items: tuple[tuple[tuple[str, ...], str], ...]


@dataclass(frozen=True)
class Tally:
    """How many files of a kind are listed, decode, are broken, and are missing; the last three add up to the first."""

    listed: int
    whole: int
    broken: int
    missing: int


@dataclass(frozen=True)
class Checked:
    """The result of a check.

    Attributes:
        tallies: by kind of file, kinds without a file left out.
        findings: what was found, errors first; nothing found, nothing there.
        sizes: of pictures, width and height, with how many have it.
        rates: of sounds in Hz.
        channels: of sounds.
        seconds: shortest, median and longest sound; None without a sound.
    """

    tallies: dict[Kind, Tally]
    findings: tuple[Finding, ...]
    sizes: Counter[tuple[int, int]]
    rates: Counter[int]
    channels: Counter[int]
    seconds: tuple[float, float, float] | None

    @property
    def passed(self) -> bool:
        """Whether nothing is missing or broken; warnings are no failure."""
        return all(finding.level != "error" for finding in self.findings)


def media_of(split: Split) -> list[Medium]:
    """The distinct files that the samples of a split need, in its order; those of one place are one.

    A picture is called as the split calls it: copies that samples have of one picture go by one name.
    """
    found: dict[tuple[Kind, Place], tuple[str, list[str]]] = {}
    for sample in split.samples:
        needed: tuple[tuple[Kind, Place | None, str | None], ...] = (
            ("picture", sample.image, sample.image_name or sample.names.image),
            ("sound", sample.audio, sample.names.audio),
            ("sound", sample.mixed, sample.names.mixed),
            ("mask", sample.mask, sample.names.mask),
        )
        for kind, place, name in needed:
            if place is not None:
                found.setdefault((kind, place), (name or sample.id, []))[1].append(sample.id)
    return [Medium(kind, place, name, tuple(dict.fromkeys(ids))) for (kind, place), (name, ids) in found.items()]


def media_below(root: Path) -> list[Medium]:
    """Every picture, sound and mask below ``root``, sorted; they are called by their paths from there."""
    found = []
    for folder in walk(root).folders:
        for path in (Path(folder.path, name) for name in folder.files if folder.role != "none"):
            kind = _kind(path, masks=folder.role == "masks")
            if kind is not None:
                found.append(Medium(kind, path, str(path.relative_to(root))))
    return sorted(found, key=lambda medium: medium.name)


def media_of_pack(pack: PackIndex) -> list[Medium]:
    """Every picture and sound of a pack, shard by shard."""
    places = (place for shard in pack.manifest.shards for place in pack.entries(shard.name))
    return [Medium("picture" if place.form in PICTURE_FORMS else "sound", place, place.name) for place in places]


def named_twice(split: Split) -> list[tuple[str, ...]]:
    """Ids of samples whose picture and sound are the same by name, VGGSound clips in whatever way they are written."""
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for sample in split.samples:
        used = (sample.names.image or sample.id, sample.names.audio or sample.id, sample.names.mixed or "")
        groups[tuple(map(clip_of, used))].append(sample.id)
    return [tuple(ids) for ids in groups.values() if len(ids) > 1]


def _pack_findings(root: Path) -> list[Finding]:
    """What is wrong with a pack itself: hashes, index, members."""
    return [Finding("pack", "error", "a pack that is not whole", tuple(((root.name,), p) for p in verify_pack(root)))]


def _still_findings(root: Path) -> list[Finding]:
    """Clips whose picture stands still, where the videos were prepared by us and the manifest says so.

    Raises:
        AvbenchError: for a manifest with a line that is no record.
    """
    path = root / MANIFEST
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []  # what a killed run cut off is no line
    records = [_record(path, number, line) for number, line in enumerate(lines, start=1)]
    still = {str(record.get("id")): record.get("still") is True for record in records}
    told = "clips whose picture stands still, by manifest.jsonl"
    return [Finding("still", "warning", told, tuple(((name,), "") for name, stands in still.items() if stands))]


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise AvbenchError(f"{path}, line {number}: expected the record of a sample, as JSON: prepare the videos again")
    return record


def check_media(
    media: Sequence[Medium],
    *,
    root: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Checked:
    """Decode and measure every file of ``media``.

    Args:
        media: of :func:`media_of`, :func:`media_of_pack` or :func:`media_below`.
        root: the folder or the pack that they lie in, which may say more: a manifest, hashes of shards.
        workers: as for :func:`avbench.data.examining.examine_all`.
        progress: called with the number of files done since the last call, the missing ones first.

    Raises:
        AvbenchError: if a process dies.
    """
    there = [medium for medium in media if isinstance(medium.place, Packed) or medium.place.is_file()]
    progress(len(media) - len(there))
    facts = examine_all([(medium.kind, medium.place) for medium in there], workers=workers, progress=progress)
    known = dict(zip(there, facts, strict=True))
    whole = {medium: fact for medium, fact in known.items() if fact.problem is None}
    findings = [*(_root_findings(root) if root is not None else ()), *_findings(media, known, whole)]
    pictures, sounds = ([fact for m, fact in whole.items() if m.kind == kind] for kind in ("picture", "sound"))
    return Checked(
        tallies=_tallies(media, known),
        findings=tuple(sorted((f for f in findings if f.items), key=lambda f: f.level)),
        sizes=Counter(fact.size for fact in pictures if fact.size is not None),
        rates=Counter(fact.rate for fact in sounds),
        channels=Counter(fact.channels for fact in sounds if fact.channels),
        seconds=_spread([fact.seconds for fact in sounds]),
    )


def _root_findings(root: Path) -> list[Finding]:
    return _pack_findings(root) if is_pack(root) else _still_findings(root)


def _kind(path: Path, *, masks: bool) -> Kind | None:
    suffix = path.suffix.lower()
    if suffix in AUDIO_SUFFIXES:
        return "sound"
    if suffix in IMAGE_SUFFIXES:
        return "mask" if masks else "picture"
    return None


def _tallies(media: Sequence[Medium], known: Mapping[Medium, Facts]) -> dict[Kind, Tally]:
    kinds: tuple[Kind, ...] = ("picture", "sound", "mask")
    return {kind: _tally([m for m in media if m.kind == kind], known) for kind in kinds if _any(media, kind)}


def _any(media: Iterable[Medium], kind: Kind) -> bool:
    return any(medium.kind == kind for medium in media)


def _tally(media: Sequence[Medium], known: Mapping[Medium, Facts]) -> Tally:
    there = [known[medium] for medium in media if medium in known]
    broken = sum(fact.problem is not None for fact in there)
    return Tally(len(media), len(there) - broken, broken, len(media) - len(there))


def _spread(values: Sequence[float]) -> tuple[float, float, float] | None:
    return (min(values), median(values), max(values)) if values else None


def _findings(
    media: Sequence[Medium], known: Mapping[Medium, Facts], whole: Mapping[Medium, Facts]
) -> Iterator[Finding]:
    missing = [(m.samples or (m.name,), f"no {m.kind} at {m.place}") for m in media if m not in known]
    broken = [(m.samples or (m.name,), fact.problem or "") for m, fact in known.items() if fact.problem is not None]
    yield Finding("missing", "error", "files that the split needs and that are not there", tuple(missing))
    yield Finding("broken", "error", "files that the loader refuses", tuple(broken))
    yield from _doubles(whole)
    yield from _oddities(whole)


def _doubles(whole: Mapping[Medium, Facts]) -> Iterator[Finding]:
    for kind, same in (("picture", "pictures of the same pixels"), ("sound", "sounds of the same samples")):
        facts = {m: fact for m, fact in whole.items() if m.kind == kind}
        exact = _groups((fact.content, m) for m, fact in facts.items())
        yield _double(f"same {kind} files", f"{kind}s of the same bytes under several names", exact)
        alike = [group for group in _groups((f.decoded, m) for m, f in facts.items()) if group not in exact]
        yield _double(f"same {kind}s", f"{same} in different files", alike)
    yield _double("same clips", "samples whose picture and sound are both the same", _clips(whole))


def _double(what: str, told: str, groups: Sequence[tuple[str, ...]]) -> Finding:
    return Finding(what, "warning", told, tuple((group, "") for group in groups))


def _groups(keyed: Iterable[tuple[str, Medium]]) -> list[tuple[str, ...]]:
    """Names of media with one key, where there are several names: a copy for each sample of a picture is no double."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for key, medium in keyed:
        names[key][medium.name] = None
    return [tuple(group) for group in names.values() if len(group) > 1]


def _clips(whole: Mapping[Medium, Facts]) -> list[tuple[str, ...]]:
    """Ids of samples that show and sound the same."""
    shown = {i: fact.decoded for m, fact in whole.items() if m.kind == "picture" for i in m.samples}
    heard: dict[str, list[str]] = defaultdict(list)
    for medium, fact in whole.items():
        if medium.kind == "sound":
            for sample in medium.samples:
                heard[sample].append(fact.decoded)
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for sample, picture in shown.items():
        if sample in heard:
            groups[picture, *sorted(heard[sample])].append(sample)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _oddities(whole: Mapping[Medium, Facts]) -> Iterator[Finding]:
    sounds = [(m, fact) for m, fact in whole.items() if m.kind == "sound"]
    silent = [((m.name,), f"rms {fact.rms:.1e}") for m, fact in sounds if fact.rms < SILENT_RMS]
    yield Finding("silent", "warning", f"sounds of an rms below {SILENT_RMS:g} of full scale (-60 dB)", tuple(silent))
    loud = [((m.name,), f"{fact.clipped:.1%}") for m, fact in sounds if fact.clipped > CLIPPED_SHARE]
    told = f"sounds with more than {CLIPPED_SHARE:.0%} of samples at {FULL_SCALE} of full scale or above"
    yield Finding("clipped", "warning", told, tuple(loud))
    short = [((m.name,), f"{fact.seconds:.3f} s") for m, fact in sounds if fact.seconds < SHORT_SECONDS]
    yield Finding("short", "warning", f"sounds shorter than {SHORT_SECONDS:g} s", tuple(short))
    blank = [((m.name,), "") for m, fact in whole.items() if m.kind == "picture" and fact.blank]
    yield Finding("blank", "warning", "pictures of a single colour", tuple(blank))
