"""Samples of wav and flac files as they are written; files that are cut off or claim too much are refused."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from avbench.data.regular import require_file
from avbench.errors import AvbenchError

Written = NDArray[np.int16] | NDArray[np.float32]
"""``[n, channels]``: 16-bit samples as such, others with full scale 1."""

MOST_SAMPLES = 2**28
"""Of all channels of a sound: 4 hours and a half at 16 kHz. A FLAC of silence would unpack to any size."""

MOST_RATE = 768_000
"""Hz; no converter is faster, and a header may claim 2^31."""

BYTE_ORDERS: dict[bytes, Literal["little", "big"]] = {b"RIFF": "little", b"RIFX": "big"}

MOST_CHUNKS = 64
"""Of a RIFF file that are looked at for its samples."""

UNKNOWN = 0x7FFF0000
"""Size of a chunk from which it is what a program wrote that did not know better."""


def read_sound(path: Path) -> tuple[Written, int]:
    """All samples of a wav or flac file, and their rate in Hz.

    16-bit samples are not made floats: libsndfile is slow at that.

    Raises:
        AvbenchError: for a file that is missing, empty, cut off, no wav or flac, or that claims an absurd size.
    """
    _check_complete(path)
    try:
        with soundfile.SoundFile(path) as file:
            _check_claims(path, file)
            samples = file.read(dtype="int16" if file.subtype == "PCM_16" else "float32", always_2d=True)
            return samples, file.samplerate
    except (RuntimeError, OSError, ValueError, TypeError) as problem:
        raise AvbenchError(f"{path} cannot be read as sound ({problem}): expected a wav or flac file") from problem


def _check_claims(path: Path, file: soundfile.SoundFile) -> None:
    """Refuse what would fill the memory before a sample of it is heard; a FLAC without a length claims the most."""
    if file.frames * file.channels > MOST_SAMPLES:
        raise AvbenchError(f"{path} claims {file.frames * file.channels} samples: expected a clip, cut it")
    if file.samplerate > MOST_RATE:
        raise AvbenchError(f"{path} claims a sampling rate of {file.samplerate} Hz: expected at most {MOST_RATE}")


def _check_complete(path: Path) -> None:
    """Refuse a wav file whose headers promise more bytes than there are; libsndfile reads such files silently."""
    try:
        require_file(path)
        with path.open("rb") as file:
            size = file.seek(0, 2)
            promised = _promised(file)
    except OSError as problem:
        raise AvbenchError(f"expected a sound at {path}: {problem.strerror}, complete the media") from problem
    if not size:
        raise AvbenchError(f"{path} is empty: expected a wav or flac file, fetch it again")
    if size + 1 < promised:
        raise AvbenchError(f"{path} is cut off: its header promises {promised} bytes, there are {size}; fetch it again")


def _promised(file: BinaryIO) -> int:
    """How long the file is by its own headers; 0 where they do not say, as after writing to a pipe."""
    file.seek(0)
    head = file.read(40)
    if head[:4] == b"RF64":
        return int.from_bytes(head[20:28], "little") + 8
    if head[:4] == b"riff":  # Sony Wave64
        return int.from_bytes(head[16:24], "little")
    if head[:4] not in BYTE_ORDERS:
        return 0
    order = BYTE_ORDERS[head[:4]]
    whole = int.from_bytes(head[4:8], order)
    return max(0 if _is_unknown(whole) else whole + 8, _end_of_data(file, order))


def _end_of_data(file: BinaryIO, order: Literal["little", "big"]) -> int:
    """Where the samples of a RIFF file end by the header of their chunk; 0 where it does not say."""
    place = 12
    for _ in range(MOST_CHUNKS):
        file.seek(place)
        head = file.read(8)
        size = int.from_bytes(head[4:], order)
        if len(head) < 8 or _is_unknown(size):
            return 0
        if head[:4] == b"data":
            return place + 8 + size
        place += 8 + size + size % 2
    return 0


def _is_unknown(size: int) -> bool:
    return size == 0 or size >= UNKNOWN
