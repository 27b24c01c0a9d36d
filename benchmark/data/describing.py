"""A layout of media in words. Nothing here imports torch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from avbench.data.names import folder_name, style
from avbench.data.shelves import MIDDLES
from avbench.data.walking import Folder

SHOWN = 3
"""Ways to lie that a sentence names."""

FLICKR_DIGITS = 10
"""The ids of Flickr-SoundNet have 10 or 11 digits."""


def shapes(folders: Iterable[Folder], suffixes: tuple[str, ...], base: Path) -> Counter[str]:
    """How the files that end in ``suffixes`` lie below ``base``, and how many samples lie so.

    ``frames/<folder>/<id>.jpg`` stands for folders by class or by split, ``frames/<id>/image_050.jpg`` for a folder of
    frames, which counts once.
    """
    found: Counter[str] = Counter()
    for folder in folders:
        names = [name for name in folder.files if name.lower().endswith(suffixes)]
        if names:
            leaf, count = _leaf(folder, names)
            above = [part for part in os.path.relpath(folder.home, base).split("/") if part != "."]
            levels = folder.below - leaf.count("/")
            found["/".join([*above, *["<folder>"] * levels, leaf])] += count
    return found


def sentence(what: str, found: Counter[str]) -> str:
    """``pictures as frames/<id>.jpg (10)``; the most frequent ways first."""
    named = [f"{shape} ({n:,})" for shape, n in sorted(found.items(), key=lambda item: (-item[1], item[0]))]
    rest = f" and {len(named) - SHOWN} other ways" if len(named) > SHOWN else ""
    return f"{what} as {', '.join(named[:SHOWN])}{rest}" if named else f"no {what}"


def _leaf(folder: Folder, names: list[str]) -> tuple[str, int]:
    """The end of a shape and how many samples the folder holds."""
    last = folder.path.rpartition("/")[2]
    stems = {name.rpartition(".")[0] for name in names}
    stem, _, suffix = min(names).rpartition(".")
    if not folder.below:
        return f"<id>.{suffix}", len(names)
    if stem == folder_name(last):
        return f"<id>/<id>.{suffix}", 1
    for between in ("_", ".mp4_"):
        if stem.startswith(last + between):
            return f"<id>/<id>{between}<k>.{suffix}", len(names)
    middle = next((known for known in MIDDLES if known in stems), None)
    if middle is not None and (len(names) > 1 or _is_sample(last)):
        return f"<id>/{middle}.{suffix}", 1
    if _is_sample(last):
        tail = ".mp4" if folder_name(last) != last else ""
        return f"<id>{tail}/<{'any' if len(names) == 1 else 'several'}>.{suffix}", 1
    return f"<folder>/<id>.{suffix}", len(names)


def _is_sample(folder: str) -> bool:
    """Whether a folder is surely called after one sample, not after a class or a split."""
    return (
        style(folder) != "other"
        or folder_name(folder) != folder
        or (folder.isdecimal() and len(folder) >= len("1" * 10))
    )
