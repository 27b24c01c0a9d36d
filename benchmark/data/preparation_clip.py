"""From one video to a picture and a sound, with a record of what was done; run in processes of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from avbench.data.decoding import AUDIO_RATE, Waveform, mixed
from avbench.data.video import SoundTrack, Still, Timeline, decode_container_audio, frames_at, sound_track, timeline
from avbench.errors import AvbenchError
from avbench.store import write_atomic

FULL_SCALE = 32768
QUALITY = 95
"""Of JPEG, with every colour at full resolution (4:4:4)."""

SILENT = 0.001
"""Peak below which a sound counts as silent, full scale being 1: 33 steps of 16 bits."""

LOOKS = tuple(Fraction(k, 10) for k in (1, 3, 5, 7, 9))
"""Where a picture is looked at to see whether it stands still, as shares of its length."""
CELLS = 32
"""Cells on each side into which pictures are averaged to be compared."""
MOVED = 4
"""Grey levels of 255 by which some cell of a picture that moves differs; a compressed still changes less."""

APART = 0.1
"""Seconds by which sound and picture may begin or end apart without a note."""

LIBRARIES = ("libavcodec", "libavformat", "libavutil", "libswresample", "libswscale")
DECODER = {"pyav": av.__version__, **{name: ".".join(map(str, av.library_versions[name])) for name in LIBRARIES}}
"""Versions of PyAV and of FFmpeg's libraries."""


STAMP = ("source_bytes", "source_mtime_ns", "settings")
"""By what of a record is known that nothing changed since."""


@dataclass(frozen=True)
class Making:
    """How pictures and sounds are made.

    Attributes:
        at: which frame is taken, in seconds from the first; None for the middle of the video.
        rate: of the sounds in Hz.
        image: form of the pictures: JPEG of quality 95 without subsampling, or PNG without loss.
    """

    at: float | None = None
    rate: int = AUDIO_RATE
    image: Literal["jpg", "png"] = "jpg"


@dataclass(frozen=True)
class Job:
    """One video, the name of its sample, and the folder that ``frames/`` and ``audio/`` are in.

    Attributes:
        shown: the video relative to the folder of videos, for the record.
        owned: what an earlier run made for this sample, relative to ``root``; only that is ever replaced.
    """

    name: str
    video: Path
    root: Path
    making: Making
    shown: str
    owned: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a video: made or broken, each with its record, or refused since another file is in its way.

    ``died`` is a process that ended while it read the video, which is tried again next time; ``stop`` is a disk that
    refuses, which no other video would fare better with.
    """

    kind: Literal["made", "broken", "died", "refused", "stop"]
    record: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


def prepare_clip(job: Job) -> Outcome:
    """Write the picture and the sound of one video, each whole or not at all.

    Of a broken video nothing is written, and what an earlier run made of the video that was there before is removed.
    """
    try:
        record, contents = _made(job)
    except (AvbenchError, OSError, ValueError, MemoryError) as problem:
        reason = " ".join(str(problem).split()) or type(problem).__name__
        _remove(job, job.owned)
        record = {"id": job.name, "source": job.shown, "decoder": DECODER, "error": reason}
        return Outcome("broken", record | (source_stamp(job) if job.video.exists() else {}), reason)
    blocked = next((p for p, c in contents.items() if p not in job.owned and _differs(job.root / p, c)), None)
    if blocked:
        reason = f"{job.root / blocked} is there already and was not made here: remove it, or name another --dst"
        return Outcome("refused", reason=reason)
    try:
        for place, content in contents.items():
            write_atomic(job.root / place, content)
    except AvbenchError as problem:
        return Outcome("stop", reason=str(problem))
    _remove(job, set(job.owned) - set(contents))
    return Outcome("made", record)


def source_stamp(job: Job) -> dict[str, Any]:
    """By what is known that a video and how it is prepared are the same: its size, its time, the settings."""
    found = job.video.stat()
    return dict(zip(STAMP, (found.st_size, found.st_mtime_ns, asdict(job.making)), strict=True))


def pcm16(samples: Waveform) -> tuple[NDArray[np.int16], int]:
    """Samples times 32768, rounded (halves to even) without dithering, clipped to 16 bits; and how many were clipped.

    What came from 16 bits at the same rate is the same again.
    """
    scaled = np.rint(samples.astype(np.float64) * FULL_SCALE)
    clipped = scaled.clip(-FULL_SCALE, FULL_SCALE - 1)
    return clipped.astype(np.int16), int((clipped != scaled).sum())


def _made(job: Job) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The record of a video, and what the files below ``root`` should hold."""
    record = {
        "id": job.name,
        **source_stamp(job),
        "source": job.shown,
        "source_sha256": _hash_of(job.video),
        "decoder": DECODER,
    }
    line = timeline(job.video)
    track = sound_track(job.video, line)
    samples = _resampled(job.video, job.making.rate)
    still, picture = _picture(job, line)
    wav, sound = _sound(samples, job.making.rate, track)
    contents = {f"frames/{job.name}.{job.making.image}": _encoded(still.image, job.making.image)}
    contents[f"audio/{job.name}.wav"] = wav
    files = [{"path": p, "bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for p, c in contents.items()]
    return record | picture | sound | {"files": files, "notes": _notes(picture, sound)}, contents


def _picture(job: Job, line: Timeline) -> tuple[Still, dict[str, Any]]:
    asked = line.seconds / 2 if job.making.at is None else Fraction(str(job.making.at))
    if asked > line.seconds:
        raise AvbenchError(f"{job.video} is {float(line.seconds):.2f} s long and has no frame at {float(asked):g} s")
    times = sorted((line.seconds * LOOKS[0], asked))
    looks = frames_at(job.video, line, times)
    still = looks[times.index(asked)]
    change = _change(looks)
    if change < MOVED:  # only what seems to stand still is worth decoding to its end
        change = max(change, _change(frames_at(job.video, line, [line.seconds * share for share in LOOKS])))
    return still, {
        "fps": round(line.fps, 6),
        "fps_varies": line.varies,
        "frames": len(line.starts),
        "picture_seconds": round(float(line.seconds), 6),
        "asked_seconds": round(float(asked), 6),
        "frame_seconds": round(float(still.begins), 6),
        "width": still.image.width,
        "height": still.image.height,
        "change": round(change, 3),
        "still": change < MOVED,
    }


def _resampled(video: Path, rate: int) -> Waveform:
    """As :func:`decode_container_audio`, by one thread: the same bits whatever else the machine does."""
    samples, native = decode_container_audio(video, rate=None)
    if native == rate:
        return samples
    import torch  # late: it takes longer to import than a clip to prepare

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        sounds, _ = mixed(video, samples[:, None], ["first"], native=native, rate=rate)
        return sounds["first"]
    finally:
        torch.set_num_threads(threads)


def _sound(samples: Waveform, rate: int, track: SoundTrack) -> tuple[bytes, dict[str, Any]]:
    numbers, clipped = pcm16(samples)
    content = BytesIO()
    soundfile.write(content, numbers, rate, format="WAV", subtype="PCM_16")
    peak = float(np.abs(samples).max())
    return content.getvalue(), {
        "source_rate": track.rate,
        "source_channels": track.channels,
        "sound_begins": round(track.begins, 6),
        "rate": rate,
        "samples": len(samples),
        "sound_seconds": round(len(samples) / rate, 6),
        "peak": round(peak, 6),
        "clipped": clipped,
        "silent": peak < SILENT,
    }


def _notes(picture: dict[str, Any], sound: dict[str, Any]) -> list[str]:
    """What a person may want to know of a clip, in words."""
    begins = sound["sound_begins"]
    ends = begins + sound["sound_seconds"] - picture["picture_seconds"]
    notes = [f"the sound {verb} {abs(by):.2f} s {'after' if by > 0 else 'before'} the picture"
             for verb, by in (("begins", begins), ("ends", ends)) if abs(by) > APART]  # fmt: skip
    if picture["still"]:
        notes.append("the picture stands still")
    if sound["silent"]:
        notes.append("the sound is silent")
    if picture["fps_varies"]:
        notes.append("the frame rate varies")
    if sound["clipped"]:
        notes.append(f"{sound['clipped']} samples were clipped")
    return notes


def _change(stills: list[Still]) -> float:
    """The most by which any cell of a picture differs from another of them, in grey levels of 255."""
    small = [np.asarray(s.image.convert("L").resize((CELLS, CELLS), Image.Resampling.BOX), np.float32) for s in stills]
    return max(float(np.abs(a - b).max()) for a, b in combinations(small, 2))


def _encoded(image: Image.Image, form: str) -> bytes:
    content = BytesIO()
    if form == "png":
        image.save(content, "PNG")
    else:
        image.save(content, "JPEG", quality=QUALITY, subsampling=0)
    return content.getvalue()


def _differs(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() != content


def _remove(job: Job, places: Iterable[str]) -> None:
    for place in places:
        (job.root / place).unlink(missing_ok=True)


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
