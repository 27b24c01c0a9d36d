"""Where a picture or a sound lies: a file of its own, or a part of a packed shard. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Form = Literal["pixels", "jpeg", "pcm16", "float32", "flac"]
"""How a part of a shard holds it: uint8 ``[3, 224, 224]``, a JPEG, int16 or float32 samples, a FLAC."""


@dataclass(frozen=True)
class Packed:
    """A picture or a sound in a shard, ``size`` bytes from ``offset`` of the file.

    Attributes:
        shard: the tar file.
        offset: of the first byte of content, headers aside.
        size: of the content in bytes.
        form: how the content is written.
        name: of the picture or the sound, without folder and suffix.
        rate: of a sound in Hz; 0 for a picture.
    """

    shard: Path
    offset: int
    size: int
    form: Form
    name: str
    rate: int = 0

    def __str__(self) -> str:
        return f"{self.name} in {self.shard}"


Place = Path | Packed
"""A file, present or not, or a part of a shard, which is always there."""
