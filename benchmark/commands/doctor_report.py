"""What ``avbench data doctor`` prints: reports for people, and all of them as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from avbench.data.doctor import Broken, Diagnosis, Several
from avbench.data.fitting import Fit
from avbench.data.inspecting import FileKind
from avbench.data.layouts import MediaIndex
from avbench.data.leftovers import Leftovers
from avbench.data.names import STYLES
from avbench.data.official import data_set, data_set_names, splits_of
from avbench.data.places import Place
from avbench.data.splits import Split

KINDS: dict[FileKind, str] = {
    "picture": "a picture",
    "sound": "a sound",
    "annotation": "its boxes (XML)",
    "mask": "a mask",
}


@dataclass(frozen=True)
class Checkup:
    """What of ``split`` was found in a folder.

    Attributes:
        given: the options that named the split and its media.
        decoded: whether files were decoded in full.
    """

    media: MediaIndex
    given: tuple[str, ...]
    split: Split
    found: Diagnosis
    rest: Leftovers
    decoded: bool

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing or broken."""
        return self.found.is_whole

    def as_json(self) -> dict[str, Any]:
        """All of it, ids and files in full."""
        found, rest = self.found, self.rest
        return {
            **_folder_json(self.media),
            "split": {"name": self.split.name, "title": self.split.title, "sha256": self.split.sha256},
            "decoded": self.decoded,
            "expected": found.expected,
            "found": list(found.found),
            "missing": list(found.missing),
            "broken": list(found.broken),
            "missing_by_kind": {kind: found.without(kind) for kind in KINDS},
            "broken_files": _broken_json(found.files),
            "ambiguous": _several_json(found.ambiguous),
            "duplicates": _several_json(found.duplicates),
            "near_misses": [{"id": n.id, "kind": n.kind, "file": str(n.file), "advice": n.advice} for n in rest.near],
            "broken_videos": _broken_json(rest.broken_videos),
            "in_videos": {name: str(path) for name, path in rest.videos.items()},
            "extra": [str(path) for path in rest.extra],
            "masks": found.masks,
            "whole": self.is_whole,
            "next": self.next_step(),
        }

    def as_text(self, limit: int) -> str:
        """It for people, with at most ``limit`` ids of a kind; 0 shows all."""
        split = self.split
        title = f"{split.name}: {split.title}" if split.title != split.name else split.name
        table = tabulate(list(self._rows(limit)), tablefmt="plain", colalign=("left", "right", "left"))
        details = [line for block in self._details(limit) for line in ("", *block)]
        return "\n".join([*_folder_lines(self.media), "", title, table, *details, "", f"next: {self.next_step()}"])

    def next_step(self) -> str:
        """What to do now, in one line."""
        found, rest, root = self.found, self.rest, str(self.media.base)
        if found.is_whole:
            return self._use()
        if rest.videos:
            source = str(next(iter(rest.videos.values())).parent)
            command = shlex.join(["avbench", "data", "prepare", "--src", source, "--dst"])
            return f"{command} NEW makes what is missing from the videos of {len(rest.videos):,} samples"
        if rest.near:
            return "rename, move or convert the files above that nearly fit, then look again"
        if found.ambiguous:
            return "call the right picture of each ambiguous folder image_050.jpg, or keep it alone, then look again"
        if found.missing:
            forgiven = found.found and not found.without("annotation")
            partial = "; --allow-missing runs on the rest" if forgiven else ""
            return f"complete the media in {root}{self._where()}{partial}"
        return f"replace the broken files, then look again{'' if self.decoded else ' with --decode'}"

    def _use(self) -> str:
        if self.split.purpose == "train":
            return shlex.join(["avbench", "train", "--method", "jsa", *self.given])
        if self.split.purpose == "validation":
            whole = self.split.name.removesuffix("-val")
            return shlex.join(["avbench", "train", "--method", "jsa", "--split", whole, "--validate", self.split.name])
        return shlex.join(["avbench", "run", "--method", "disc,square,whole", *self.given])

    def _where(self) -> str:
        names = [name for name in data_set_names() if self.split.name in splits_of(data_set(name))]
        return f" (avbench data where {names[0]} says whom to ask)" if names else ""

    def _rows(self, limit: int) -> Iterator[tuple[str, str, str]]:
        found = self.found
        yield "expected", f"{found.expected:,}", ""
        yield "found", f"{len(found.found):,}", ""
        yield "missing", f"{len(found.missing):,}", _some(found.missing, limit)
        for kind, what in KINDS.items():
            if without := found.without(kind):
                which = "" if tuple(without) == found.missing else _some(without, limit)
                yield f"- without {what}", f"{len(without):,}", which
        yield "broken", f"{len(found.broken):,}", _some(found.broken, limit)
        if 0 < found.masks < found.expected:
            yield "with a mask", f"{found.masks:,}", "masks count as truth where every sample has one"
        if self.rest.extra:
            prefix = f"{self.media.base}/"
            names = [path.removeprefix(prefix) for path in self.rest.extra]
            yield "files beyond it", f"{len(names):,}", _some(names, limit)

    def _details(self, limit: int) -> Iterator[list[str]]:
        found, base = self.found, self.media.base
        yield from _listed("broken files", [f"{_below(b.place, base)} {b.reason}" for b in found.files], limit)
        yield from _listed(
            "ambiguous folders: none of their pictures is known to be the right one",
            [f"{s.id}: {_below(s.files[0].parent, base)} holds {len(s.files)}" for s in found.ambiguous],
            limit,
        )
        yield from _listed(
            "several files for one sample: the first is taken",
            [f"{s.id}: {', '.join(_below(path, base) for path in s.files)}" for s in found.duplicates],
            limit,
        )
        yield from _listed(
            "files that nearly fit a missing sample",
            [f"{n.id}: {_below(n.file, base)}: {n.advice}" for n in self.rest.near],
            limit,
        )
        yield from _listed(
            "broken videos of missing samples",
            [f"{_below(b.place, base)} {b.reason}" for b in self.rest.broken_videos],
            limit,
        )
        yield from _listed(
            "missing samples whose video is here",
            [f"{name}: {_below(path, base)}" for name, path in self.rest.videos.items()],
            limit,
        )


@dataclass(frozen=True)
class Survey:
    """What is in a folder, whatever it is for.

    Attributes:
        broken: files that cannot be read, and why.
        fits: splits of which something is there.
        absent: splits whose official files are not at hand.
        decoded: whether files were decoded in full.
    """

    media: MediaIndex
    broken: tuple[tuple[Place, str], ...]
    fits: tuple[Fit, ...]
    absent: tuple[str, ...]
    decoded: bool

    @property
    def is_whole(self) -> bool:
        """Whether there are pictures or sounds and none is broken."""
        return self.media.has_media and not self.broken

    def as_json(self) -> dict[str, Any]:
        """All of it, ids and files in full."""
        return {
            **_folder_json(self.media),
            "decoded": self.decoded,
            "broken_files": [{"file": str(place), "reason": reason} for place, reason in self.broken],
            "splits": [
                {"name": f.split, "purpose": f.purpose, "expected": f.n, "covered": f.covered, "in_videos": f.videos}
                for f in self.fits
            ],
            "splits_without_official_files": list(self.absent),
            "whole": self.is_whole,
            "next": self.next_step(),
        }

    def as_text(self, limit: int) -> str:
        """It for people, with at most ``limit`` files; 0 shows all."""
        base = self.media.base
        lines = _folder_lines(self.media)
        for block in _listed("broken files", [f"{_below(place, base)} {why}" for place, why in self.broken], limit):
            lines += ["", *block]
        lines += ["", *self._splits()]
        if self.absent:
            lines.append(f"not compared, for want of official files (avbench data fetch): {_some(self.absent, limit)}")
        return "\n".join([*lines, "", f"next: {self.next_step()}"])

    def next_step(self) -> str:
        """What to do now, in one line."""
        root = str(self.media.base)
        if not self.media.has_media and self.media.videos():
            return f"{shlex.join(['avbench', 'data', 'prepare', '--src', root, '--dst'])} NEW makes pictures and sounds"
        if not self.media.has_media:
            return "point --data at a folder of pictures and sounds; avbench data where NAME says how to lay a set out"
        if not self.fits:
            fetch = "avbench data fetch all brings the lists that were not compared, or " if self.absent else ""
            return f"{fetch}describe a set of your own in a YAML file and pass it as --split"
        return shlex.join(["avbench", "data", "doctor", "--data", root, "--split", self.fits[0].split])

    def _splits(self) -> list[str]:
        if not self.fits:
            return ["no built-in split has a sample in here"]
        has_videos = any(fit.videos for fit in self.fits)
        rows = [
            (fit.split, fit.purpose, f"{fit.n:,}", f"{fit.covered:,}", f"{fit.covered / fit.n:.1%}")
            + ((f"{fit.videos:,}",) if has_videos else ())
            for fit in self.fits
        ]
        heads = ["split", "for", "samples", "here", "share"] + (["in videos"] if has_videos else [])
        return tabulate(
            rows,
            headers=heads,
            tablefmt="simple",
            disable_numparse=True,
            colalign=("left", "left", *["right"] * 4)[: len(heads)],
        ).splitlines()


def _folder_lines(media: MediaIndex) -> list[str]:
    rows = [("folder", str(media.base)), ("layout", media.described)]
    if media.styles:
        rows.append(("names", "; ".join(f"{STYLES[how]} ({n:,})" for how, n in media.styles.most_common())))
    if videos := media.videos():
        rows.append(
            ("videos", f"{len(videos):,}: they are no pictures and sounds until avbench data prepare made them")
        )
    rows += [("unreadable", place) for place in media.unreadable]
    return tabulate(rows, tablefmt="plain").splitlines()


def _folder_json(media: MediaIndex) -> dict[str, Any]:
    return {
        "folder": str(media.base),
        "layout": media.described,
        "names": {STYLES[how]: n for how, n in media.styles.most_common()},
        "videos": [str(path) for path in media.videos()],
        "unreadable": media.unreadable,
    }


def _broken_json(found: Iterable[Broken]) -> list[dict[str, Any]]:
    return [{"id": b.id, "kind": b.kind, "file": str(b.place), "reason": b.reason} for b in found]


def _several_json(found: Iterable[Several]) -> list[dict[str, Any]]:
    return [{"id": s.id, "kind": s.kind, "files": [str(path) for path in s.files]} for s in found]


def _listed(title: str, items: Sequence[str], limit: int) -> Iterator[list[str]]:
    """A block of lines, none for no items."""
    if items:
        shown = items[:limit] if limit else items
        rest = [f"  and {len(items) - len(shown):,} more: --limit 0 shows all"] if len(shown) < len(items) else []
        yield [f"{title} ({len(items):,})", *(f"  {item}" for item in shown), *rest]


def _some(items: Sequence[str], limit: int) -> str:
    shown = items[:limit] if limit else items
    return ", ".join(shown) + (", ..." if len(shown) < len(items) else "")


def _below(place: Place, base: Path) -> str:
    if isinstance(place, Path) and place.is_relative_to(base):
        return str(place.relative_to(base))
    return str(place)
