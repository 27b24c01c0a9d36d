"""Sound and picture of a video file, for trying a method on one's own clip; read by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np

from avbench.data.decoding import AUDIO_RATE, Pixels, Waveform, mono, square
from avbench.errors import AvbenchError
from avbench.types import CANVAS

SUFFIXES = {".avi", ".m4a", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm"}

WHOLE = 0.9
"""Share of the promised length below which a sound track counts as cut off; a download may end anywhere."""


def is_container(path: Path) -> bool:
    """Whether the suffix is one of a container of picture and sound, to be read by this module."""
    return path.suffix.lower() in SUFFIXES


def decode_container_audio(path: Path, *, rate: int | None = AUDIO_RATE) -> tuple[Waveform, int]:
    """The first sound track of a container (mp4, mkv, m4a, ...), as :func:`avbench.data.decoding.decode_audio`.

    AAC keeps its encoder delay: samples do not line up with those of a wav made by another tool.

    Returns:
        float32 ``[n]``, mean of the channels, and the rate in Hz.

    Raises:
        AvbenchError: for a file that is missing, cut off or no container, or that has no sound track.
    """
    with _opened(path, "audio") as container:
        track = container.streams.audio[0]
        native = track.codec_context.sample_rate
        planes = [frame.to_ndarray() for frame in _as_float(container, track)]
        promised = _seconds(container, track) * native
    samples = np.concatenate(planes, axis=1).T if planes else np.zeros((0, 1), dtype=np.float32)
    if len(samples) < WHOLE * promised:
        seconds = f"{promised / native:.1f} s of sound, there are {len(samples) / native:.1f} s"
        raise AvbenchError(f"{path} is cut off: it promises {seconds}; fetch it again")
    return mono(path, samples, native=native, rate=rate)


def middle_frame(path: Path, *, size: int = CANVAS) -> Pixels:
    """The first frame at or after half of the video's length, the last one where there is none.

    It is the frame that VGGSound's users take (stoneMo/EZ-VSL, issue 1), squashed as
    :func:`avbench.data.decoding.decode_image` does.

    Returns:
        uint8 ``[3, size, size]``.

    Raises:
        AvbenchError: for a file that is missing, cut off or no container, or that has no picture.
    """
    with _opened(path, "video") as container:
        track = container.streams.video[0]
        middle = _seconds(container, track) / 2
        container.seek(int(middle * av.time_base))
        frame = None
        for frame in container.decode(track):
            if frame.time is None or frame.time >= middle:
                break
        if frame is None:
            raise AvbenchError(f"{path} holds no frame of video: it is cut off, fetch it again")
        return square(frame.to_image(), size=size)


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[Any]:
    if not path.is_file():
        raise AvbenchError(f"expected a video at {path}, found nothing")
    try:
        with av.open(str(path)) as container:
            if not getattr(container.streams, kind):
                raise AvbenchError(f"{path} has no {kind} track: expected a clip with picture and sound")
            yield container
    except (av.FFmpegError, ValueError) as problem:
        raise AvbenchError(f"{path} cannot be read as a video ({problem}): it is cut off or no video") from problem


def _as_float(container: Any, track: Any) -> Iterator[Any]:
    """Frames of planar float32 at the track's own rate and channels, the resampler's rest included."""
    resampler = av.AudioResampler(format="fltp")
    for frame in container.decode(track):
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def _seconds(container: Any, track: Any) -> float:
    if track.duration is not None:
        return float(track.duration * track.time_base)
    return float(container.duration or 0) / av.time_base
