"""One shard of a pack: its samples decoded, written in one go, read back, and noted in a sidecar."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from avbench.data.decoding import (
    AUDIO_RATE,
    TRAIN_SHORT_SIDE,
    Pixels,
    Waveform,
    decode_audio,
    decode_image,
    decode_image_short_side,
    mixed,
)
from avbench.data.pack_manifest import VERSION
from avbench.data.places import Form, Packed, Place
from avbench.data.shards import ShardWriter, file_sha256
from avbench.data.splits import Sample
from avbench.errors import AvbenchError, UsageError
from avbench.store import hash_json, read_json, write_json
from avbench.types import Channels

Purpose = Literal["evaluation", "training"]
TrainingAudio = Literal["flac", "int16"]

FULL_SCALE = 32768
"""What a 16-bit sample is divided by."""

MEAN: tuple[Channels, ...] = ("mean",)


@dataclass(frozen=True)
class PackOptions:
    """What the members of a pack hold.

    Attributes:
        purpose: ``evaluation``: the picture squashed to 224 pixels and the sound, both to the bit what plain folders
            give; ``training``: with loss, a JPEG whose shorter side is 246 and the mean of the channels in 16 bits.
        audio_rate: Hz to which sounds are resampled, None to keep each file's own. A pack for evaluation has sounds of
            several channels as they are too, so that they can be mixed in every way before they are resampled.
        audio: how a pack for training holds sounds.
        jpeg_quality: of Pillow, 1 to 100; colours are not subsampled.
    """

    purpose: Purpose = "evaluation"
    audio_rate: int | None = AUDIO_RATE
    audio: TrainingAudio = "flac"
    jpeg_quality: int = 95


class Row(NamedTuple):
    """A row of the index: a picture, a sound, or a sound with its channels apart, and where it stands."""

    kind: Literal["image", "sound", "channels"]
    name: str
    shard: int
    offset: int
    size: int
    form: Form
    rate: int = 0
    native: int = 0
    channels: int = 0
    mixed: int = 0


@dataclass(frozen=True)
class ShardJob:
    """A shard to be made at ``path`` of ``samples``, which stand in their split from ``first`` on."""

    path: Path
    number: int
    first: int
    samples: tuple[Sample, ...]
    options: PackOptions
    allow_broken: bool

    def plan(self) -> str:
        """Hash of all that decides the bytes: samples, options, sizes and times of the files."""
        samples = [[s.id, s.names, s.label, s.sounding, s.boxes, *map(_stat, _places(s))] for s in self.samples]
        return hash_json([VERSION, asdict(self.options), self.first, self.allow_broken, samples])

    @property
    def sidecar(self) -> Path:
        """Where it is noted that the shard is finished."""
        return self.path.with_suffix(".json")


@dataclass(frozen=True)
class ShardRecord:
    """What is known of a finished shard.

    Attributes:
        plan: of the job that made it.
        size: of the file in bytes.
        samples: how many it holds.
        rows: of the index.
        left_out: ids of samples that cannot be decoded, and why. Where they are not allowed there is no file.
        kept: whether it had been finished before.
    """

    name: str
    plan: str
    size: int
    sha256: str
    samples: int
    rows: tuple[Row, ...]
    left_out: tuple[tuple[str, str], ...]
    kept: bool = False

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ShardRecord:
        """As :func:`pack_shard` noted it."""
        rows = tuple(Row(*row) for row in values["rows"])
        return cls(**{**values, "rows": rows, "left_out": tuple((name, why) for name, why in values["left_out"])})


class Part(NamedTuple):
    """A member of a sample: what follows the key in its name, its bytes and its row, short of key and shard."""

    suffix: str
    content: bytes
    header: int
    row: Row


def pack_shard(job: ShardJob) -> ShardRecord:
    """Make the shard, or keep it where it is finished and its bytes are those that were noted.

    Raises:
        AvbenchError: if the disk refuses, or gives back other bytes than were written.
    """
    plan = job.plan()
    return _finished(job, plan) or _made(job, plan)


def _finished(job: ShardJob, plan: str) -> ShardRecord | None:
    if not job.path.is_file() or not job.sidecar.is_file():
        return None
    try:
        record = ShardRecord.from_json(read_json(job.sidecar))
    except (AvbenchError, KeyError, TypeError, ValueError):  # cut off or not ours: the shard is made again
        return None
    same = record.plan == plan and record.size == job.path.stat().st_size
    return replace(record, kept=True) if same and record.sha256 == file_sha256(job.path) else None


def _made(job: ShardJob, plan: str) -> ShardRecord:
    rows: list[Row] = []
    left_out: list[tuple[str, str]] = []
    with ShardWriter(job.path) as shard:
        for key, sample in enumerate(job.samples, start=job.first):
            try:
                parts = _parts(sample, job.options)
            except UsageError:
                raise
            except AvbenchError as problem:
                left_out.append((sample.id, str(problem)))
                continue
            rows += _written(shard, f"{key:09d}", parts, job.number)
            shard.add(f"{key:09d}.json", _described(sample, parts))
        if left_out and not job.allow_broken:
            shard.abandon()
    n = len(job.samples) - len(left_out)
    record = ShardRecord(job.path.name, plan, shard.size, shard.sha256, n, tuple(rows), tuple(left_out))
    if not shard.abandoned:
        _note(job, record)
    return record


def _note(job: ShardJob, record: ShardRecord) -> None:
    if file_sha256(job.path) != record.sha256:
        raise AvbenchError(f"{job.path} holds other bytes than were written to it: check the disk and pack again")
    write_json(job.sidecar, asdict(record))


def _written(shard: ShardWriter, key: str, parts: list[Part], number: int) -> Iterator[Row]:
    for part in parts:
        offset = shard.add(f"{key}.{part.suffix}", part.content) + part.header
        yield part.row._replace(shard=number, offset=offset)


def _parts(sample: Sample, options: PackOptions) -> list[Part]:
    """The picture, the sound and the one added to it.

    Raises:
        AvbenchError: for one that cannot be decoded.
        UsageError: for one that lies in a pack already.
    """
    image, audio, second = (_file(place, sample) for place in _places(sample))
    if image is None or audio is None:
        raise UsageError(f"{sample.id} was loaded without media: pass --data with frames/ and audio/ in it")
    picture, sound = _ENCODERS[options.purpose]
    parts = [picture(image, sample.names.image, options), *sound(audio, "audio", sample.names.audio, options)]
    if second is not None:
        parts += sound(second, "mixed", sample.names.mixed or "", options)
    return parts


def _exact_picture(path: Path, name: str, options: PackOptions) -> Part:
    return _array("image", decode_image(path), Row("image", name, 0, 0, 0, "pixels"))


def _small_picture(path: Path, name: str, options: PackOptions) -> Part:
    buffer = io.BytesIO()
    try:
        Image.fromarray(_last(decode_image_short_side(path, short_side=TRAIN_SHORT_SIDE))).save(
            buffer, "JPEG", quality=options.jpeg_quality, subsampling="4:4:4"
        )
    except OSError as problem:
        raise AvbenchError(f"{path} cannot be written as a JPEG ({problem}): crop it to a sensible shape") from problem
    content = buffer.getvalue()
    return Part("image.jpg", content, 0, Row("image", name, 0, 0, len(content), "jpeg"))


def _exact_sound(path: Path, what: str, name: str, options: PackOptions) -> list[Part]:
    whole, native = decode_audio(path, rate=None, channels="each")
    apart = whole[None] if whole.ndim == 1 else whole
    row = Row("sound", name, 0, 0, 0, "pcm16", native, native, len(apart))
    if options.audio_rate in {None, native}:
        return [_samples(what, apart.T, row)]
    sounds, rate = mixed(path, apart.T, MEAN, native=native, rate=options.audio_rate)
    several = len(apart) > 1
    parts = [_samples(what, sounds["mean"][:, None], row._replace(rate=rate, channels=1, mixed=int(several)))]
    if several:
        parts.append(_samples(f"{what}.channels", apart.T, row._replace(kind="channels")))
    return parts


def _samples(what: str, samples: Waveform, row: Row) -> Part:
    """A member of ``[n, channels]``, or ``[n]`` for one channel."""
    shaped = samples[:, 0] if samples.shape[1] == 1 else samples
    exact = _int16(shaped)
    return _array(what, shaped, row._replace(form="float32")) if exact is None else _array(what, exact, row)


def _small_sound(path: Path, what: str, name: str, options: PackOptions) -> list[Part]:
    apart, native = decode_audio(path, rate=None, channels="each")
    several = apart.ndim == 2
    sounds, rate = mixed(path, apart.T if several else apart[:, None], MEAN, native=native, rate=options.audio_rate)
    rounded = np.rint(sounds["mean"] * np.float32(FULL_SCALE)).clip(-FULL_SCALE, FULL_SCALE - 1).astype("<i2")
    row = Row("sound", name, 0, 0, 0, "pcm16", rate, native, 1, int(several))
    if options.audio == "int16":
        return [_array(what, rounded, row)]
    buffer = io.BytesIO()
    try:
        soundfile.write(buffer, rounded, rate, format="FLAC", subtype="PCM_16")
    except (soundfile.LibsndfileError, ValueError) as problem:
        raise AvbenchError(f"{path} cannot be written as FLAC ({problem}): pack with --audio int16") from problem
    content = buffer.getvalue()
    return [Part(f"{what}.flac", content, 0, row._replace(size=len(content), form="flac"))]


_ENCODERS = {"evaluation": (_exact_picture, _exact_sound), "training": (_small_picture, _small_sound)}


def _int16(samples: Waveform) -> NDArray[np.int16] | None:
    """The samples in 16 bits, None where that would change one of them, be it the sign of a zero."""
    scaled = samples * np.float32(FULL_SCALE)
    if scaled.min() < -FULL_SCALE or scaled.max() > FULL_SCALE - 1:
        return None
    rounded = scaled.astype("<i2")
    back = rounded.astype(np.float32) / np.float32(FULL_SCALE)
    same = np.array_equal(back.view(np.uint32), np.ascontiguousarray(samples).view(np.uint32))
    return rounded if same else None


def _array(what: str, values: NDArray[Any], row: Row) -> Part:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(values), version=(1, 0), allow_pickle=False)
    content = buffer.getvalue()
    return Part(f"{what}.npy", content, len(content) - values.nbytes, row._replace(size=values.nbytes))


def _described(sample: Sample, parts: list[Part]) -> bytes:
    """What other readers of the shard may want to know of a sample."""
    sound = parts[1].row
    values = {
        "id": sample.id,
        **{key: name for key, name in sample.names._asdict().items() if name is not None},
        "label": sample.label,
        "sounding": sample.sounding,
        "boxes": sample.boxes,
        "rate": sound.rate,
        "native": sound.native,
        "channels": sound.channels,
    }
    return json.dumps(values, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _places(sample: Sample) -> tuple[Place | None, Place | None, Place | None]:
    return sample.image, sample.audio, sample.mixed


def _file(place: Place | None, sample: Sample) -> Path | None:
    if isinstance(place, Packed):
        raise UsageError(f"{sample.id} lies in a pack already, {place}: pack from plain folders")
    return place


def _stat(place: Place | None) -> list[int | str]:
    if not isinstance(place, Path):
        return []
    try:
        stat = place.stat()
    except OSError:
        return [str(place)]
    return [place.name, stat.st_size, stat.st_mtime_ns]


def _last(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))
