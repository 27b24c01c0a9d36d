"""Where the media of a set lie below a folder. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avbench.data.places import Place
from avbench.errors import UsageError

IMAGE_SUFFIXES = (".jpg", ".png", ".jpeg")
AUDIO_SUFFIXES = (".wav", ".flac")


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
    """Finds media files by name, listing each folder once."""

    def __init__(self, folders: MediaFolders) -> None:
        self.folders = folders
        self._images = _listing(folders.frames, IMAGE_SUFFIXES)
        self._sounds = _listing(folders.audio, AUDIO_SUFFIXES)
        self._masks = _listing(folders.masks, (".png",))
        self._annotations = _listing(folders.annotations, (".xml",))

    @property
    def has_media(self) -> bool:
        """Whether a folder of pictures or of sounds is there."""
        return self.folders.frames.is_dir() or self.folders.audio.is_dir()

    def image(self, name: str) -> Place:
        """The picture called ``name``: where it lies, or where it is expected to."""
        return self.folders.frames / self._images.get(name, name + IMAGE_SUFFIXES[0])

    def sound(self, name: str) -> Place:
        """The sound called ``name``: where it lies, or where it is expected to."""
        return self.folders.audio / self._sounds.get(name, name + AUDIO_SUFFIXES[0])

    def mask(self, name: str) -> Path | None:
        """The mask called ``name``; None where there is none."""
        return self.folders.masks / self._masks[name] if name in self._masks else None

    def annotation(self, name: str) -> Path | None:
        """The annotation of the one sample called ``name`` (XML); None where there is none."""
        return self.folders.annotations / self._annotations[name] if name in self._annotations else None

    @property
    def described(self) -> str:
        """A sentence that names the layout found."""
        return "the official flat layout, frames/<id>.jpg and audio/<id>.wav"


def index_media(root: Path) -> MediaIndex:
    """What lies below ``root``, the folder that ``--data`` names.

    Raises:
        UsageError: for no folder, or one without anything that looks like media.
    """
    if not root.is_dir():
        raise UsageError(f"expected the folder of media at {root}, found none: check --data")
    index = MediaIndex(MediaFolders.below(root))
    if not index.has_media:
        inside = ", ".join(sorted(p.name for p in root.iterdir())[:5]) or "nothing"
        raise UsageError(f"expected frames/ and audio/ in {root}, found {inside}: point --data at their parent")
    return index


def _listing(folder: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
    """File name per stem; of several suffixes the first in ``suffixes`` wins."""
    names = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    return {n.removesuffix(s): n for s in reversed(suffixes) for n in names if n.endswith(s)}
