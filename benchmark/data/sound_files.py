"""Samples of wav and flac files as they are written; files that are cut off or claim too much are refused."""

from __future__ import annotations

from pathlib import Path

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
    """Refuse a wav file whose RIFF header promises more bytes than there are; libsndfile reads such files silently."""
    try:
        require_file(path)
        with path.open("rb") as file:
            head = file.read(12)
            size = file.seek(0, 2)
    except OSError as problem:
        raise AvbenchError(f"expected a sound at {path}: {problem.strerror}, complete the media") from problem
    if not size:
        raise AvbenchError(f"{path} is empty: expected a wav or flac file, fetch it again")
    promised = int.from_bytes(head[4:8], "little") + 8
    streamed = head[4:8] in {b"\0\0\0\0", b"\xff\xff\xff\xff"}  # written to a pipe, the length was not known
    if head[:4] == b"RIFF" and not streamed and size + 1 < promised:
        raise AvbenchError(f"{path} is cut off: its header promises {promised} bytes, there are {size}; fetch it again")
