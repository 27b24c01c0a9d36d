"""Which files lie below a folder, and what the names of their folders say of them. Nothing here imports torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Role = Literal["frames", "audio", "masks", "annotations", "none", "loose"]
"""What files in a folder are for; ``none``: nothing that we read, ``loose``: no folder above says."""

ROLES: dict[str, Role] = {
    **dict.fromkeys(("frames", "frame", "images", "image", "visual_frames"), "frames"),
    **dict.fromkeys(("extend_frames", "total_video_frames"), "frames"),
    **dict.fromkeys(("audio", "audios", "audio_wav", "wav", "wavs", "extend_audio", "total_video_3s_audio"), "audio"),
    **dict.fromkeys(("masks", "mask", "gt_masks", "gray_masks", "gt_segmentation"), "masks"),
    **dict.fromkeys(("annotations", "anno"), "annotations"),
    **dict.fromkeys(("flow", "flow_x", "flow_y", "audio_log_mel"), "none"),
}
"""Names of folders in the layouts of the official code, in lower case; optical flow looks like pictures and is not."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of a tree.

    Attributes:
        path: as reached from the root, links of folders in it or not.
        real: the same folder, links resolved.
        below: how many folders it lies below the one that gave the role, 0 for that one.
        depth: how many folders it lies below the root.
        home: path of the folder that gave the role; of the root where none did.
        files: names of the files in it, in no order.
    """

    path: str
    real: str
    role: Role
    below: int
    depth: int
    home: str
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Tree:
    """All folders below ``root``, itself included, and those that could not be listed."""

    root: Path
    folders: list[Folder]
    unreadable: list[str]


def walk(root: Path, role: Role = "loose") -> Tree:
    """List the tree below ``root``, each folder once.

    The nearest folder above a file whose name is known gives it its role, case aside. Hidden files and folders are
    passed over. Links of folders are followed, but not up the tree, and no folder is listed twice in the same role:
    a circle of links ends. No file is looked at, only its name.

    Args:
        root: the folder; one that is not there has no folders.
        role: of files in ``root`` itself.
    """
    top = os.path.realpath(root)
    tree = Tree(root, [], [])
    seen: set[tuple[str, Role]] = set()
    waiting = [Folder(str(root), top, role, 0, 0, str(root))] if root.is_dir() else []
    links: list[Folder] = []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop()
        if (folder.real, folder.role) in seen:
            continue
        seen.add((folder.real, folder.role))
        tree.folders.append(folder)
        for child, is_link in _listed(folder, tree.unreadable):
            if not is_link:
                waiting.append(child)
            elif not _is_above(child.real, top):
                links.append(child)
        links.sort(key=lambda link: link.path, reverse=True)
    return tree


def _listed(folder: Folder, unreadable: list[str]) -> Iterator[tuple[Folder, bool]]:
    """Fill ``folder.files``; the folders in it, and whether each is a link."""
    for entry in _entries(folder.path, unreadable):
        if _is_folder(entry):
            yield _child(folder, entry), entry.is_symlink()
        else:
            folder.files.append(entry.name)


def _entries(path: str, unreadable: list[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        unreadable.append(path)
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _child(folder: Folder, entry: os.DirEntry[str]) -> Folder:
    real = os.path.realpath(entry.path) if entry.is_symlink() else f"{folder.real}/{entry.name}"
    role = ROLES.get(entry.name.lower())
    if role is None:
        return Folder(entry.path, real, folder.role, folder.below + 1, folder.depth + 1, folder.home)
    return Folder(entry.path, real, role, 0, folder.depth + 1, entry.path)


def _is_above(place: str, below: str) -> bool:
    return os.path.commonpath((place, below)) == place
