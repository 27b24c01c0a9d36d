"""Sound and picture of a video file, chosen by time and never by number of frame; read by PyAV.

Time counts from the first frame of the picture, as a fraction without rounding. The frame at a time is the one that a
player shows then: the last that begins at or before it. The middle is half of the video's length, which is that of its
picture: of n frames at an even rate the middle one is number n // 2, counted from 0.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from avbench.data.decoding import AUDIO_RATE, MOST_SAMPLES, Pixels, Waveform, mixed, square
from avbench.errors import AvbenchError
from avbench.types import CANVAS, Channels

SUFFIXES = {".avi", ".m4a", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm"}

WHOLE = 0.9
"""Share of the promised length below which a track counts as cut off; a download may end anywhere."""

EVEN = Fraction(2, 1000)
"""Seconds by which the times between frames may differ at an even rate: some containers count in milliseconds."""

MOST_CHANNELS = 8

TURNS = {90: Image.Transpose.ROTATE_90, -90: Image.Transpose.ROTATE_270}
UPSIDE_DOWN = 180


@dataclass(frozen=True)
class Timeline:
    """When the frames of a picture track begin, by its packets.

    Attributes:
        starts: of all frames in order, in units of ``base`` seconds.
        keys: those from which decoding can begin.
        seconds: length of the picture: as the container promises it, or as its frames last where that is longer.
    """

    starts: tuple[int, ...]
    keys: tuple[int, ...]
    base: Fraction
    seconds: Fraction

    @property
    def fps(self) -> float:
        """Frames per second on average, 0 for a single frame."""
        span = self.starts[-1] - self.starts[0]
        return float((len(self.starts) - 1) / (span * self.base)) if span else 0.0

    @property
    def varies(self) -> bool:
        """Whether the times between frames differ by more than :data:`EVEN`."""
        steps = [after - before for before, after in zip(self.starts, self.starts[1:], strict=False)]
        return bool(steps) and (max(steps) - min(steps)) * self.base > EVEN

    def at(self, seconds: Fraction) -> int:
        """Where the frame that is shown at a time begins, in units of ``base``."""
        return self.starts[max(bisect_right(self.starts, self.starts[0] + seconds / self.base) - 1, 0)]


@dataclass(frozen=True)
class Still:
    """A frame: its picture as it is shown, upright, and when it begins, in seconds from the first."""

    image: Image.Image
    begins: Fraction


@dataclass(frozen=True)
class SoundTrack:
    """What a sound track is as the file has it; ``begins`` in seconds from the first frame of the picture."""

    rate: int
    channels: int
    begins: float


def is_container(path: Path) -> bool:
    """Whether the suffix is one of a container of picture and sound, to be read by this module."""
    return path.suffix.lower() in SUFFIXES


def decode_container_audio(
    path: Path, *, rate: int | None = AUDIO_RATE, channels: Channels = "mean"
) -> tuple[Waveform, int]:
    """The first sound track of a container (mp4, mkv, m4a, ...), as :func:`avbench.data.decoding.decode_audio`.

    The encoder's delay (AAC, Opus) is left out where the container tells it, as mp4 and WebM do, and stays where it
    does not; what fills up the last packet stays. So samples may not line up with those of a wav made by another tool.
    A track that begins later than the picture is not padded.

    Returns:
        float32 ``[n]``, the channels mixed as :data:`avbench.types.Channels` says, and the rate in Hz.

    Raises:
        AvbenchError: for a file that is missing, cut off or no container, or that has no sound track.
    """
    with _opened(path, "audio") as container:
        track = container.streams.audio[0]
        native = track.codec_context.sample_rate
        planes = list(_planes(path, container, track))
        promised = _promised(container, track, Fraction(track.start_time or 0) * track.time_base)
    if promised is None:
        _check_reach(path, "audio")
    if not planes or not native:
        raise AvbenchError(f"{path} holds no sample of sound: fetch it again")
    samples = np.concatenate(planes, axis=1).T
    _check_whole(path, "sound", found=Fraction(len(samples), native), promised=promised)
    sounds, rate = mixed(path, samples, (channels,), native=native, rate=rate)
    return sounds[channels], rate


def middle_frame(path: Path, *, size: int = CANVAS) -> Pixels:
    """The frame that is shown at half of the video's length, by the rules of this module.

    It is the frame that VGGSound's users take (stoneMo/EZ-VSL, issue 1), squashed as
    :func:`avbench.data.decoding.decode_image` does.

    Returns:
        uint8 ``[3, size, size]``.

    Raises:
        AvbenchError: for a file that is missing, cut off or no container, or that has no picture.
    """
    line = timeline(path)
    return square(frames_at(path, line, [line.seconds / 2])[0].image, size=size)


def timeline(path: Path) -> Timeline:
    """When the frames of the first picture track begin; reads all of the file and decodes nothing.

    Raises:
        AvbenchError: for a file that is missing, cut off or no container, or that has no picture.
    """
    with _opened(path, "video") as container:
        track = container.streams.video[0]
        packets = [p for p in container.demux(track) if _is_timed(p) and not p.is_discard]
        starts = sorted({_begin(p) for p in packets})
        if not starts:
            raise AvbenchError(f"{path} holds no frame of video: it is cut off, fetch it again")
        base = Fraction(track.time_base)
        promised = _promised(container, track, starts[0] * base)
        found = (starts[-1] - starts[0]) * base + _last_step(track, max(packets, key=_begin), starts)
    if promised is None:
        _check_reach(path, "video")
    _check_whole(path, "picture", found=found, promised=promised)
    keys = sorted(_begin(p) for p in packets if p.is_keyframe)
    return Timeline(tuple(starts), tuple(keys), base, max(found, promised or found))


def frames_at(path: Path, line: Timeline, seconds: Sequence[Fraction]) -> list[Still]:
    """The frames that are shown at some times, in ascending order of these, decoding no more than is needed.

    A frame is turned as the container says, in steps of 90 degrees, and has its own number of pixels: where they are
    not square, it is not stretched.

    Raises:
        AvbenchError: for a file that cannot be decoded up to there, or a frame that is damaged.
    """
    with ExitStack() as stack:
        decoder = _Decoder(path, line, stack)
        return [_still(path, line, begin, decoder.shown_at(begin)) for begin in map(line.at, sorted(seconds))]


def sound_track(path: Path, line: Timeline) -> SoundTrack:
    """What the first sound track is; decodes its first packet.

    Raises:
        AvbenchError: for a file that is missing or no container, or that has no sound track.
    """
    with _opened(path, "audio") as container:
        track = container.streams.audio[0]
        first = next((frame for frame in container.decode(track) if frame.pts is not None), None)
        begins = Fraction(0) if first is None else first.pts * first.time_base - line.starts[0] * line.base
        return SoundTrack(track.codec_context.sample_rate, track.codec_context.layout.nb_channels, float(begins))


class _Decoder:
    """Finds frames in ascending order; jumps ahead where decoding can begin between one and the next."""

    def __init__(self, path: Path, line: Timeline, stack: ExitStack) -> None:
        self.path, self.line, self.stack = path, line, stack
        self._open()

    def shown_at(self, begin: int) -> Any:
        """The last frame that begins at or before ``begin``, or the first of all; None where decoding ends earlier."""
        place = bisect_right(self.line.keys, begin)
        if place and (self.following is None or self.line.keys[place - 1] > self.following.pts):
            self._jump(self.line.keys[place - 1])
        self._advance(begin)
        if self.shown is None or self.shown.pts != begin:  # the jump went astray, or the frame cannot be decoded
            self._open()
            self._advance(begin)
        if self.shown is None:
            return self.following
        return None if self.following is None and self.shown.pts < begin else self.shown

    def _open(self) -> None:
        self.stack.close()
        self.container = self.stack.enter_context(_opened(self.path, "video"))
        self.track = self.container.streams.video[0]
        self.track.codec_context.thread_count = 1  # clips are decoded side by side, by processes
        self._begin()

    def _jump(self, begin: int) -> None:
        with suppress(av.FFmpegError):  # as in some transport streams; then all frames up to there are decoded
            self.container.seek(begin, stream=self.track)
            self._begin()

    def _begin(self) -> None:
        self.frames = (frame for frame in self.container.decode(self.track) if frame.pts is not None)
        self.shown: Any = None
        self.following: Any = next(self.frames, None)

    def _advance(self, begin: int) -> None:
        while self.following is not None and self.following.pts <= begin:
            self.shown, self.following = self.following, next(self.frames, None)


def _still(path: Path, line: Timeline, begin: int, frame: Any) -> Still:
    if frame is None or frame.is_corrupt:
        seconds = float((begin - line.starts[0]) * line.base)
        raise AvbenchError(f"{path} cannot be decoded at {seconds:.2f} s: it is damaged, fetch it again")
    image = frame.to_image()
    turn = Image.Transpose.ROTATE_180 if abs(frame.rotation) == UPSIDE_DOWN else TURNS.get(frame.rotation)
    return Still(image if turn is None else image.transpose(turn), (frame.pts - line.starts[0]) * line.base)


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[Any]:
    if not path.is_file():
        raise AvbenchError(f"expected a video at {path}, found nothing")
    try:
        with av.open(str(path), metadata_errors="ignore") as container:  # a title may be in any old encoding
            tracks = getattr(container.streams, kind)
            if not tracks:
                raise AvbenchError(f"{path} has no {kind} track: expected a clip with picture and sound")
            if tracks[0].codec_context is None:
                raise AvbenchError(f"{path} has a track of {kind} that nothing here can decode: convert the video")
            yield container
    except (av.FFmpegError, ValueError, LookupError, ArithmeticError) as problem:
        raise AvbenchError(f"{path} cannot be read as a video ({problem}): it is cut off or no video") from problem


def _planes(path: Path, container: Any, track: Any) -> Iterator[Waveform]:
    """The track in pieces ``[channels, n]``, at its own rate and channels, the resampler's rest included."""
    resampler, total = av.AudioResampler(format="fltp"), 0
    pieces = (piece for frame in chain(container.decode(track), [None]) for piece in resampler.resample(frame))
    for piece in pieces:
        channels = piece.layout.nb_channels
        total += piece.samples * channels
        if channels > MOST_CHANNELS:  # PyAV looks for the samples of further ones where they are not
            raise AvbenchError(f"{path} claims {channels} channels of sound: expected at most {MOST_CHANNELS}")
        if total > MOST_SAMPLES:
            raise AvbenchError(f"{path} holds more than {MOST_SAMPLES} samples: expected a clip, cut it")
        if channels != track.codec_context.channels or piece.sample_rate != track.codec_context.sample_rate:
            raise AvbenchError(f"{path} changes the form of its sound on the way: it is damaged, fetch it again")
        yield piece.to_ndarray().astype(np.float32, copy=False)


def _last_step(track: Any, last: Any, starts: Sequence[int]) -> Fraction:
    """For how many seconds the last frame is shown; where its packet does not say, as long as the others on average."""
    if last.duration or len(starts) > 1:
        ticks = last.duration or Fraction(starts[-1] - starts[0], len(starts) - 1)
        return Fraction(ticks * track.time_base)
    return 1 / Fraction(track.guessed_rate) if track.guessed_rate else Fraction(0)


def _is_timed(packet: Any) -> bool:
    """Matroska leaves out one of the two times now and then; the empty packet at the end of a track has neither."""
    return packet.pts is not None or packet.dts is not None


def _begin(packet: Any) -> int:
    return int(packet.dts if packet.pts is None else packet.pts)


def _promised(container: Any, track: Any, begins: Fraction) -> Fraction | None:
    """Length of a track in seconds by the container's header.

    Matroska and WebM say when a track ends, if anything; what FFmpeg gives as its duration is that of the whole file.
    """
    if "matroska" not in container.format.name:
        return Fraction(track.duration * track.time_base) if track.duration else None
    try:
        hours, minutes, seconds = (Fraction(part) for part in track.metadata.get("DURATION", "").split(":"))
    except ValueError:
        return None
    return (hours * 60 + minutes) * 60 + seconds - begins


def _check_reach(path: Path, kind: str) -> None:
    """Hold the length of the whole file, where tracks have none of their own, against where its packets end."""
    with _opened(path, kind) as container:
        promised = Fraction(container.duration or 0, av.time_base)
        packets = [p for p in container.demux() if _is_timed(p)]
        begin = min((_begin(p) * p.time_base for p in packets), default=Fraction(0))
        end = max(((_begin(p) + (p.duration or 0)) * p.time_base for p in packets), default=Fraction(0))
    _check_whole(path, "video", found=end - begin, promised=promised)


def _check_whole(path: Path, kind: str, *, found: Fraction, promised: Fraction | None) -> None:
    if promised is not None and found < WHOLE * promised:
        seconds = f"{float(promised):.1f} s of {kind}, there are {float(found):.1f} s"
        raise AvbenchError(f"{path} is cut off: it promises {seconds}; fetch it again")
