"""Where the media of a set lie below a folder. Nothing here imports torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from avbench.data.describing import sentence, shapes
from avbench.data.names import Style
from avbench.data.places import Place
from avbench.data.shelves import Shelf
from avbench.data.walking import ROLES, Folder, Role, Tree, walk
from avbench.errors import UsageError

IMAGE_SUFFIXES = (".jpg", ".png", ".jpeg")
AUDIO_SUFFIXES = (".wav", ".flac")
MASK_SUFFIXES = (".png", ".jpg", ".jpeg")
ANNOTATION_SUFFIXES = (".xml",)
VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v", ".mpg", ".ts")

SUFFIXES: dict[Role, tuple[str, ...]] = {
    "frames": IMAGE_SUFFIXES,
    "audio": AUDIO_SUFFIXES,
    "masks": MASK_SUFFIXES,
    "annotations": ANNOTATION_SUFFIXES,
}
KINDS: dict[Role, str] = {"frames": "pictures", "audio": "sounds", "masks": "masks", "annotations": "XML files"}


@dataclass(frozen=True)
class MediaFolders:
    """Where pictures, sounds, masks and annotations by sample lie."""

    frames: Path
    audio: Path
    masks: Path
    annotations: Path

    @classmethod
    def below(cls, root: Path) -> MediaFolders:
        """The layout of the official code: ``frames/<id>.jpg``, ``audio/<id>.wav``, here also ``masks/<id>.png``."""
        return cls(root / "frames", root / "audio", root / "masks", root / "Annotations")


class MediaIndex:
    """Finds media files by the names of the samples, listing each folder once.

    The rules by which a name finds its file are those of :class:`avbench.data.shelves.Shelf`.

    Attributes:
        folders: where what is missing is expected, in the official flat layout.
        base: the folder that the others are described from.
        pictures, sounds, masks, annotations: the files of each kind.
    """

    def __init__(self, folders: MediaFolders, tree: Tree | None = None) -> None:
        """Index what lies below each of ``folders``, or in ``tree`` where the root of all was walked already."""
        self.folders = folders
        self.base = folders.frames.parent if tree is None else tree.root
        self._trees = {role: walk(home, role) if tree is None else tree for role, home in _homes(folders).items()}
        self.pictures = self._shelf("frames")
        self.sounds = self._shelf("audio")
        self.masks = self._shelf("masks")
        self.annotations = self._shelf("annotations")

    def _shelf(self, role: Role) -> Shelf:
        return Shelf(_homes(self.folders)[role], _of_role(self._trees[role], role), SUFFIXES[role])

    @property
    def has_media(self) -> bool:
        """Whether a folder of pictures or of sounds is there."""
        return bool(_of_role(self._trees["frames"], "frames") or _of_role(self._trees["audio"], "audio"))

    def image(self, name: str) -> Place:
        """The picture called ``name``: where it lies, or where it is expected to."""
        return self.pictures.find(name) or self.pictures.expected(name)

    def sound(self, name: str) -> Place:
        """The sound called ``name``: where it lies, or where it is expected to."""
        return self.sounds.find(name) or self.sounds.expected(name)

    def mask(self, name: str) -> Path | None:
        """The mask called ``name``; None where there is none."""
        return self.masks.find(name)

    def annotation(self, name: str) -> Path | None:
        """The annotation of the one sample called ``name`` (XML); None where there is none."""
        return self.annotations.find(name)

    @cached_property
    def described(self) -> str:
        """A sentence that names the layout found."""
        parts = [sentence(KINDS[role], self._shapes(role)) for role in ("frames", "audio")]
        parts += [sentence(KINDS[role], found) for role in ("masks", "annotations") if (found := self._shapes(role))]
        return "; ".join(parts)

    @cached_property
    def styles(self) -> Counter[Style]:
        """How many pictures and sounds are named in each style."""
        return self.pictures.styles() + self.sounds.styles()

    @property
    def unreadable(self) -> list[str]:
        """Folders that could not be listed, sorted."""
        return sorted({place for tree in self._trees.values() for place in tree.unreadable})

    def videos(self) -> list[Path]:
        """Files of video, anywhere in the folders, sorted."""
        return sorted(Path(path) for path in self.all_files() if path.lower().endswith(VIDEO_SUFFIXES))

    def all_files(self) -> set[str]:
        """The paths of every file in the folders, whatever it is; hidden ones aside."""
        trees = {id(tree): tree for tree in self._trees.values()}
        return {f"{folder.path}/{name}" for tree in trees.values() for folder in tree.folders for name in folder.files}

    def _shapes(self, role: Role) -> Counter[str]:
        return shapes(_of_role(self._trees[role], role), SUFFIXES[role], self.base)


def index_media(root: Path) -> MediaIndex:
    """What lies below ``root``, the folder that ``--data`` names.

    Folders of the official layouts are known by their names wherever they lie (:data:`avbench.data.walking.ROLES`).
    Where no folder is known by its name to hold pictures, any picture counts that lies in no folder of another kind,
    and likewise sounds: a folder of both mixed will do.

    Raises:
        UsageError: for no folder, or one without anything that looks like media.
    """
    from avbench.data.packs import is_pack, open_pack

    if is_pack(root):
        return open_pack(root)
    index = look_below(root)
    if not index.has_media or (root.name.lower() in ROLES and not (len(index.pictures) and len(index.sounds))):
        raise UsageError(_nothing(index))
    return index


def look_below(root: Path) -> MediaIndex:
    """As :func:`index_media`, whether or not anything looks like media.

    Raises:
        UsageError: for no folder.
    """
    if not root.is_dir():
        raise UsageError(f"expected the folder of media at {root}, found none: check --data")
    tree = walk(root)
    return MediaIndex(_found(tree), tree)


def _homes(folders: MediaFolders) -> dict[Role, Path]:
    return {
        "frames": folders.frames,
        "audio": folders.audio,
        "masks": folders.masks,
        "annotations": folders.annotations,
    }


def _of_role(tree: Tree, role: Role) -> list[Folder]:
    """The folders that hold files of a role: those called so, else those without a role that have such files."""
    called = [folder for folder in tree.folders if folder.role == role]
    if called or role == "masks":  # a picture is a mask only where its folder says so
        return called
    return [folder for folder in tree.folders if folder.role == "loose" and _holds(folder, SUFFIXES[role])]


def _holds(folder: Folder, suffixes: tuple[str, ...]) -> bool:
    return any(name.lower().endswith(suffixes) for name in folder.files)


def _found(tree: Tree) -> MediaFolders:
    """The first folder of each role, the official one where there is none; the root where files lie without any."""
    official = _homes(MediaFolders.below(tree.root))
    return MediaFolders(*(_home(tree, role, official[role]) for role in official))


def _home(tree: Tree, role: Role, official: Path) -> Path:
    homes = _of_role(tree, role)
    if not homes:
        return official
    return Path(min((folder.depth - folder.below, folder.home) for folder in homes)[1])


def _nothing(index: MediaIndex) -> str:
    root = index.base
    if videos := index.videos():
        return (
            f"{root} holds {len(videos):,} videos, no frames and no sounds: make them with "
            f"avbench data prepare --src {root} --dst ROOT, and point --data at that"
        )
    inside = ", ".join(sorted(p.name for p in root.iterdir())[:5]) or "nothing"
    return f"expected frames/ and audio/ in {root}, found {inside}: point --data at their parent"
