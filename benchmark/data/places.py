"""Where a picture or a sound lies: a file of its own, or a part of a packed shard. Nothing here imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

Form = Literal["pixels", "jpeg", "pcm16", "float32", "flac"]
"""How a part of a shard holds it: uint8 ``[3, 224, 224]``, a JPEG, int16 or float32 samples, a FLAC."""


class Packed(NamedTuple):
    """A picture or a sound in a shard, ``size`` bytes from ``offset`` of the file.

    A tuple, since a training list has hundreds of thousands of them, which worker processes may have to be sent.

    Attributes:
        shard: the tar file.
        offset: of the first byte of content, headers aside.
        size: of the content in bytes.
        form: how the content is written.
        name: of the picture or the sound, without folder and suffix.
        rate: of a sound as it is written, in Hz; 0 for a picture.
        channels: of a sound as it is written; 0 for a picture.
        native: rate of the file that a sound was packed from, in Hz; 0 for a picture.
        mixed: whether a sound is written as the mean of several channels.
        apart: the same sound before its channels were mixed and its rate was changed, where that was kept.
    """

    shard: Path
    offset: int
    size: int
    form: Form
    name: str
    rate: int = 0
    channels: int = 0
    native: int = 0
    mixed: bool = False
    apart: Packed | None = None

    def __str__(self) -> str:
        return f"{self.name} in {self.shard}"


Place = Path | Packed
"""A file, present or not, or a part of a shard, which is always there."""


class MediaNames(NamedTuple):
    """By which names the media of a sample are looked up, in folders and in packs alike.

    Attributes:
        image: of the picture.
        audio: of the sound.
        mixed: of the sound that is added to it; None where there is none.
        mask: of the mask, whether or not there is one.
    """

    image: str = ""
    audio: str = ""
    mixed: str | None = None
    mask: str = ""


NO_NAMES = MediaNames()
"""Of a sample that was made without an index of media."""
