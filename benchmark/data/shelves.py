"""Finding the files of one kind by the names of the samples. Nothing here imports torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from avbench.data.names import Style, folder_name, plain, style, vggsound_key, wanted_key
from avbench.data.walking import Folder

MIDDLES = ("image_050", "125")
"""Stems of the frame to take of a folder of frames: Alignment's, of 10 a second, and SSL-TIE's, of 25 a second."""


class _File(NamedTuple):
    """One file; of several for one name the smallest is taken."""

    rank: int
    depth: int
    path: str


class Shelf:
    """The files of one kind in some folders, by name.

    A sample called ``name`` is the file whose stem is ``name``; failing that, one whose stem is the same VGGSound clip
    in another style (:func:`avbench.data.names.wanted_key`); failing that, a frame in a folder that is called so:
    ``image_050``, else ``125``, else the only file in it. A folder of several others is ambiguous and none is taken.
    Of several files for one name comes first the one whose suffix stands first in ``suffixes``, then the one in the
    fewest folders, then the first by path.
    """

    def __init__(self, home: Path, folders: Sequence[Folder], suffixes: Sequence[str]) -> None:
        """Files of ``folders`` that end in one of ``suffixes``, case aside; what is missing is expected in ``home``."""
        self.home = home
        self.suffixes = tuple(suffixes)
        self._folders: dict[str, list[list[_File]]] = {}
        self._stems: dict[str, _File] = {}
        self._rivals: dict[str, list[_File]] = {}
        for folder in folders:
            files = list(self._read(folder))
            if files and folder.below:
                name = folder_name(folder.path.rpartition("/")[2])
                self._folders.setdefault(name, []).append(files)

    def _read(self, folder: Folder) -> Iterator[_File]:
        for name in folder.files:
            stem, _, suffix = name.rpartition(".")
            rank = self._ranks.get(suffix.lower())
            if rank is None or not stem:
                continue
            file = _File(rank, folder.depth, f"{folder.path}/{name}")
            key = plain(stem)
            first = self._stems.setdefault(key, file)
            if first is not file:
                self._rivals.setdefault(key, [first]).append(file)
            yield file

    @cached_property
    def _ranks(self) -> dict[str, int]:
        return {suffix.removeprefix("."): rank for rank, suffix in enumerate(self.suffixes)}

    @cached_property
    def _n(self) -> int:
        return len(self._stems) + sum(len(files) - 1 for files in self._rivals.values())

    @cached_property
    def _keys(self) -> dict[str, list[str]]:
        return _by_key(self._stems)

    @cached_property
    def _folder_keys(self) -> dict[str, list[str]]:
        return _by_key(self._folders)

    def __len__(self) -> int:
        return self._n

    def find(self, name: str) -> Path | None:
        """The file of the sample ``name``; None where there is none, or where a folder leaves the choice open."""
        if name in self._stems and name not in self._rivals:
            return Path(self._stems[name].path)
        if not self._knows(name):
            return None
        candidates = next((files for files in self._candidates(name) if files), None)
        return Path(min(candidates).path) if candidates else None

    def has(self, name: str) -> bool:
        """Whether :meth:`find` finds anything."""
        return name in self._stems or self.find(name) is not None

    def _knows(self, name: str) -> bool:
        """Whether anything is called ``name``, the right thing or not; this is asked of very many names."""
        if plain(name) in self._stems or name in self._folders:
            return True
        key = wanted_key(name)
        return key is not None and (key in self._keys or key in self._folder_keys)

    def expected(self, name: str) -> Path:
        """Where the file of ``name`` would be looked for first."""
        return self.home / f"{name}{self.suffixes[0]}"

    def duplicates(self, name: str) -> tuple[Path, ...]:
        """All files for ``name`` where there are several, the one taken first."""
        if not self._knows(name):
            return ()
        found = dict.fromkeys(file.path for files in self._candidates(name) for file in sorted(files))
        return tuple(map(Path, found)) if len(found) > 1 else ()

    def ambiguous(self, name: str) -> tuple[Path, ...]:
        """The frames of a folder called ``name`` of which none is known to be the right one, sorted; else none."""
        if not self._knows(name) or self.find(name) is not None:
            return ()
        files = [file for frames in self._frames(name) for file in frames]
        return tuple(sorted(Path(file.path) for file in files))

    def beside(self, name: str) -> set[str]:
        """The paths of the other frames in the folders of ``name``, which belong to it too."""
        return {file.path for frames in self._frames(name) for file in frames}

    def files(self) -> Iterator[str]:
        """The path of every file, in no order."""
        for key, file in self._stems.items():
            for each in self._rivals.get(key, (file,)):
                yield each.path

    def styles(self) -> Counter[Style]:
        """How many samples are named in each style, by their files or, of folders of frames, by the folders."""
        styled = {name for name in self._folders if style(name) != "other"}
        named = (_style(stem, file, styled) for stem, file in self._stems.items() if stem not in MIDDLES)
        files = Counter(how for how in named if how is not None)
        return files + Counter(style(name) for name in styled if name not in self._stems)

    def _candidates(self, name: str) -> Iterator[list[_File]]:
        """The files for ``name``, group after group: of the better groups come first."""
        key, exact = wanted_key(name), plain(name)
        yield self._called(exact)
        others = [stem for stem in self._keys.get(key, ()) if stem != exact] if key else []
        yield [file for stem in others for file in self._called(stem)]
        yield [file for frames in self._frames(name) if (file := _middle(frames)) is not None]

    def _called(self, stem: str) -> list[_File]:
        if stem in self._rivals:
            return self._rivals[stem]
        return [self._stems[stem]] if stem in self._stems else []

    def _frames(self, name: str) -> list[list[_File]]:
        key = wanted_key(name)
        called = {name, *(self._folder_keys.get(key, ()) if key else ())}
        return [files for folder in sorted(called) for files in self._folders.get(folder, ())]


def _middle(frames: list[_File]) -> _File | None:
    """The frame to take of a folder; None where that is not known."""
    if len(frames) == 1:
        return frames[0]
    stems = {file.path.rpartition("/")[2].rpartition(".")[0]: file for file in sorted(frames, reverse=True)}
    return next((stems[stem] for stem in MIDDLES if stem in stems), None)


def _style(stem: str, file: _File, styled: set[str]) -> Style | None:
    """The style of a file's name, None for a frame in one of the folders that are called after samples, ``styled``.

    Frames of AVSBench, ``<id>/<id>_<k>``, only look like VGGSound's.
    """
    folder = folder_name(file.path.rpartition("/")[0].rpartition("/")[2])
    if stem != folder and folder in styled:
        return None
    return "other" if stem.startswith(f"{folder}_") else style(stem)


def _by_key(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        if (key := vggsound_key(name)) is not None:
            found.setdefault(key, []).append(name)
    return found
