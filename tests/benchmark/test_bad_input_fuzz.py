"""Hundreds of broken files: none ends or hangs a process, each is named in one sentence, and nothing else suffers."""

import io
import json
import os
import signal
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile
from PIL import Image

from avbench.cli import main
from avbench.data.batches import in_workers
from avbench.data.decoding import decode_audio, decode_image, decode_image_short_side
from avbench.data.loader import LoaderOptions, _Decoder
from avbench.data.splits import Sample
from avbench.errors import AvbenchError
from avbench.types import Window

Fate = Literal["refused", "decoded", "either"]
"""What must become of a file; a flipped bit may leave a picture that is only wrong."""

PATIENCE = 120
"""Seconds after which a file counts as having hung the process; far more than all of them take."""


@dataclass(frozen=True)
class Case:
    path: Path
    fate: Fate


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """A read that never ends fails the test instead of hanging the suite."""

    def bark(number, frame) -> None:
        pytest.fail("a file hangs whoever reads it")  # no Exception, which a decoder would take for a refusal

    before = signal.signal(signal.SIGALRM, bark)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def picture_bytes(kind: str, size: tuple[int, int] = (61, 47), mode: str = "RGB", **options) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize(size).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def sound_bytes(subtype: str = "PCM_16", channels: int = 1, rate: int = 16_000, kind: str = "WAV") -> bytes:
    samples = np.random.default_rng(2).uniform(-0.5, 0.5, (900, channels))
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


PICTURES = {
    "jpg": picture_bytes("jpeg"),
    "progressive.jpg": picture_bytes("jpeg", progressive=True),
    "png": picture_bytes("png"),
    "gif": picture_bytes("gif"),
    "webp": picture_bytes("webp"),
    "bmp": picture_bytes("bmp"),
    "tif": picture_bytes("tiff", compression="tiff_lzw"),
}
SOUNDS = {
    "wav": sound_bytes(),
    "stereo.wav": sound_bytes(channels=2),
    "24.wav": sound_bytes("PCM_24"),
    "float.wav": sound_bytes("FLOAT"),
    "flac": sound_bytes(kind="FLAC"),
    "24.flac": sound_bytes("PCM_24", kind="FLAC"),
}


def cut_short(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(1, len(content)))]


def flipped(content: bytes, rng: np.random.Generator, first: int, last: int) -> bytes:
    """With one to eight bits flipped between two bytes."""
    spoiled = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        spoiled[int(rng.integers(first, min(last, len(content))))] ^= 1 << int(rng.integers(8))
    return bytes(spoiled)


def spoil_at_random(folder: Path, good: dict[str, bytes], rng: np.random.Generator) -> list[Case]:
    """Cut short, with bits flipped in head and body, with junk behind or in the middle."""
    cases = []

    def add(name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)
        cases.append(Case(folder / name, "either"))

    for kind, content in good.items():
        for i in range(8):
            add(f"cut{i}.{kind}", cut_short(content, rng))
            add(f"head{i}.{kind}", flipped(content, rng, 0, 64))
            add(f"body{i}.{kind}", flipped(content, rng, 64, len(content)))
        place = int(rng.integers(1, len(content)))
        add(f"junk.{kind}", content[:place] + rng.bytes(300) + content[place:])
        add(f"zeros.{kind}", content[:place] + bytes(len(content) - place))
        add(f"twice.{kind}", content + content)
    return cases


def png(width: int, height: int, depth: int = 8, colours: int = 2) -> bytes:
    """The head of a picture that claims to be of a size, and a chunk of data that is none."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    rest = b"\0\0\0\x04IDATabcd"
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + rest


def animated(kind: str) -> bytes:
    file = io.BytesIO()
    first, second = (Image.new("RGB", (30, 20), colour) for colour in ("red", "blue"))
    first.save(file, kind, save_all=True, append_images=[second])
    return file.getvalue()


def special_pictures() -> dict[str, tuple[bytes, Fate]]:
    jpeg = PICTURES["jpg"]
    tall = jpeg.replace(struct.pack(">HH", 47, 61), struct.pack(">HH", 65535, 65535))
    return {
        "empty.jpg": (b"", "refused"),
        "page.jpg": (b"<html>404</html>", "refused"),
        "text.png": ("Größe\n".encode("utf-16"), "refused"),
        "sound.jpg": (SOUNDS["wav"], "refused"),
        "svg.png": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "refused"),
        "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "refused"),
        "magic.jpg": (jpeg[:3], "refused"),
        "wrong.jpg": (b"GIF89a" + jpeg, "refused"),
        "bomb.png": (png(60_000, 60_000), "refused"),
        "warned-bomb.png": (png(10_000, 10_000), "refused"),
        "widest.png": (png(2**31 - 1, 1), "refused"),
        "none.png": (png(0, 9), "refused"),
        "odd-depth.png": (png(9, 9, depth=3), "refused"),
        "odd-colours.png": (png(9, 9, colours=7), "refused"),
        "bomb.jpg": (tall, "refused"),
        "bomb.bmp": (b"BM" + struct.pack("<IHHIIiiHHI20x", 54, 0, 0, 54, 40, 2**30, 2**30, 1, 24, 0), "refused"),
        "bomb.gif": (b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\x01\0\0;", "refused"),
        "cmyk.jpg": (picture_bytes("jpeg", mode="CMYK"), "decoded"),
        "grey.jpg": (picture_bytes("jpeg", mode="L"), "decoded"),
        "palette.png": (picture_bytes("png", mode="P"), "decoded"),
        "palette.gif": (picture_bytes("gif", mode="P"), "decoded"),
        "16-bit.png": (picture_bytes("png", mode="I;16"), "decoded"),
        "1-bit.png": (picture_bytes("png", mode="1"), "decoded"),
        "transparent.png": (picture_bytes("png", mode="RGBA"), "decoded"),
        "grey-alpha.png": (picture_bytes("png", mode="LA"), "decoded"),
        "float.tif": (picture_bytes("tiff", mode="F"), "decoded"),
        "lab.tif": (picture_bytes("tiff", mode="LAB"), "decoded"),
        "animated.gif": (animated("gif"), "decoded"),
        "animated.webp": (animated("webp"), "decoded"),
        "animated.png": (animated("png"), "decoded"),
        "pixel.png": (picture_bytes("png", (1, 1)), "decoded"),
        "line.png": (picture_bytes("png", (300, 1)), "decoded"),
        "column.jpg": (picture_bytes("jpeg", (1, 300)), "decoded"),
        "thread.png": (picture_bytes("png", (65_000, 1)), "either"),
        "line\nbreak.jpg": (jpeg[:90], "refused"),
        "schlüssel-鍵-🔑.jpg": (jpeg[:90], "refused"),
        "\x1b[31mred.jpg": (jpeg[:90], "refused"),
        f"{'long' * 60}.jpg": (jpeg[:90], "refused"),
        "good, line\nbreak.jpg": (jpeg, "decoded"),
        "good-鍵.jpg": (jpeg, "decoded"),
    }  # fmt: skip


def wave(
    format_: tuple[int, ...], data: bytes = bytes(200), *, riff: int | None = None, size: int | None = None
) -> bytes:
    """A wav file of ``format_`` (tag, channels, rate, bytes per second, bytes per frame, bits), lengths as claimed."""
    fmt = struct.pack("<HHIIHH", *format_)
    chunks = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data"
    chunks += struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", len(chunks) if riff is None else riff) + chunks


def samples_of(value: float, subtype: str) -> bytes:
    samples = np.zeros((90, 2))
    samples[7, 1] = value
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype=subtype)
    return file.getvalue()


def special_sounds() -> dict[str, tuple[bytes, Fate]]:
    plain = (1, 1, 16_000, 32_000, 2, 16)
    flac = SOUNDS["flac"]
    endless = flac[:21] + bytes([flac[21] | 0x0F]) + b"\xff\xff\xff\xff" + flac[26:]  # claims 2^36 - 1 samples
    return {
        "empty.wav": (b"", "refused"),
        "page.wav": (b"<html>404</html>", "refused"),
        "text.flac": (b"not a sound\n" * 9, "refused"),
        "picture.wav": (PICTURES["png"], "refused"),
        "riff.wav": (b"RIFF\x04\0\0\0WAVE", "refused"),
        "magic.flac": (b"fLaC" + b"\0" * 40, "refused"),
        "endless.flac": (endless, "refused"),
        "good.wav": (wave(plain), "decoded"),
        "no-channel.wav": (wave((1, 0, 16_000, 0, 0, 16)), "refused"),
        "65535-channels.wav": (wave((1, 65_535, 16_000, 2**31, 65_534, 16)), "refused"),
        "no-bits.wav": (wave((1, 1, 16_000, 0, 0, 0)), "either"),
        "7-bits.wav": (wave((1, 1, 16_000, 16_000, 1, 7)), "either"),
        "no-codec.wav": (wave((0xBEEF, *plain[1:])), "refused"),
        "no-rate.wav": (wave((1, 1, 0, 0, 2, 16)), "refused"),
        "rate-2-31.wav": (wave((1, 1, 2**31, 2**32 - 2, 2, 16)), "refused"),
        "rate-2-32.wav": (wave((1, 1, 2**32 - 1, 2**32 - 1, 2, 16)), "refused"),
        "rate-1.wav": (wave((1, 1, 1, 2, 2, 16)), "either"),
        "odd-rate.wav": (wave((1, 1, 44_099, 88_198, 2, 16)), "refused"),
        "no-samples.wav": (wave(plain, b""), "refused"),
        "half-a-sample.wav": (wave(plain, b"\1"), "refused"),
        "claims-more.wav": (wave(plain, riff=10_000), "refused"),
        "data-claims-more.wav": (wave(plain, size=10_000), "either"),
        "data-claims-most.wav": (wave(plain, size=2**32 - 2), "either"),
        "data-claims-less.wav": (wave(plain, size=10), "decoded"),
        "streamed.wav": (wave(plain, riff=2**32 - 1, size=2**32 - 1), "decoded"),
        "8-channels-192k.wav": (sound_bytes("PCM_24", 8, 192_000), "decoded"),
        "8-bits.wav": (sound_bytes("PCM_U8"), "decoded"),
        "64-bits.wav": (sound_bytes("DOUBLE"), "decoded"),
        "law.wav": (sound_bytes("ULAW"), "decoded"),
        "nan.wav": (samples_of(np.nan, "FLOAT"), "refused"),
        "inf.wav": (samples_of(np.inf, "DOUBLE"), "refused"),
        "huge.wav": (samples_of(1e300, "DOUBLE"), "refused"),
        "line\nbreak.wav": (SOUNDS["wav"][:90], "refused"),
        "schlüssel-鍵-🔑.flac": (flac[:90], "refused"),
        "good-鍵.flac": (flac, "decoded"),
    }


def not_files(folder: Path, good: Path) -> list[Case]:
    """What can stand in a file's place: a folder, a pipe, links to nothing, to a folder, to themselves, to a device."""
    (folder / "folder.x").mkdir()
    os.mkfifo(folder / "pipe.x")
    for name, target in {
        "dangling.x": "nothing", "circle.x": "circle.x", "to-folder.x": "folder.x", "to-pipe.x": "pipe.x",
        "to-zeros.x": "/dev/zero", "to-nothing.x": "/dev/null", "link.x": good.name,
    }.items():  # fmt: skip
        (folder / name).symlink_to(target)
    (folder / "absent.x").unlink(missing_ok=True)
    (folder / "locked.x").write_bytes(good.read_bytes())
    (folder / "locked.x").chmod(0)
    names = ("folder", "pipe", "dangling", "circle", "to-folder", "to-pipe", "to-zeros", "to-nothing", "absent")
    own: Fate = "decoded" if os.geteuid() == 0 else "refused"  # root may read anything
    return [
        *(Case(folder / f"{name}.x", "refused") for name in names),
        Case(folder / "link.x", "decoded"), Case(folder / "locked.x", own),
    ]  # fmt: skip


def spoil(folder: Path, good: dict[str, bytes], special: dict[str, tuple[bytes, Fate]], seed: int) -> list[Case]:
    folder.mkdir()
    cases = spoil_at_random(folder, good, np.random.default_rng(seed))
    for name, (content, fate) in special.items():
        (folder / name).write_bytes(content)
        cases.append(Case(folder / name, fate))
    first = next(iter(good))
    (folder / f"whole.{first}").write_bytes(good[first])
    return [*cases, *not_files(folder, folder / f"whole.{first}"), Case(folder / f"whole.{first}", "decoded")]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Case]:
    return spoil(tmp_path_factory.mktemp("broken") / "frames", PICTURES, special_pictures(), 11)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> list[Case]:
    return spoil(tmp_path_factory.mktemp("broken") / "audio", SOUNDS, special_sounds(), 12)


def shown(path: Path) -> str:
    """A file's name as errors write it: what is not printable is escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in path.name)


def said_well(problem: AvbenchError, path: Path) -> bool:
    """Whether an error is one printable line that names the file."""
    return str(problem).isprintable() and shown(path) in str(problem)


def refusal(decode: Callable[[Path], object], path: Path) -> AvbenchError | None:
    try:
        decode(path)
    except AvbenchError as problem:
        return problem
    return None


def fates(cases: list[Case], decode: Callable[[Path], object]) -> Counter[str]:
    """How many were refused and decoded, each as it must be."""
    counts: Counter[str] = Counter()
    for case in cases:
        problem = refusal(decode, case.path)
        fate = "refused" if problem else "decoded"
        assert case.fate in {fate, "either"}, f"{case.path.name} was {fate}"
        assert problem is None or said_well(problem, case.path), str(problem)
        counts[fate] += 1
    return counts


def test_there_are_hundreds(pictures, sounds) -> None:
    assert len(pictures) + len(sounds) >= 300
    assert len({case.path for case in (*pictures, *sounds)}) == len(pictures) + len(sounds)


def test_pictures_are_refused_or_whole(pictures) -> None:
    def decode(path: Path) -> None:
        image = decode_image(path)
        assert (image.shape, image.dtype) == ((3, 224, 224), np.uint8)
        whole = decode_image_short_side(path)
        assert (whole.shape[0], min(whole.shape[1:]), whole.dtype) == (3, 246, np.uint8)

    counts = fates(pictures, decode)
    assert counts["decoded"] + counts["refused"] == len(pictures)
    assert min(counts.values()) > 50, "else the damage is too light or too heavy to tell anything"


def test_a_picture_that_magnifies_into_gigabytes(pictures) -> None:
    (thread,) = (case.path for case in pictures if case.path.name == "thread.png")
    assert decode_image(thread).shape == (3, 224, 224)
    with pytest.raises(AvbenchError, match=r"thread.png cannot be read as a picture .65000 by 1 pixels are too narrow"):
        decode_image_short_side(thread)


@pytest.mark.parametrize("rate", [16_000, None])
def test_sounds_are_refused_or_finite(sounds, rate) -> None:
    def decode(path: Path) -> None:
        samples, came = decode_audio(path, rate=rate)
        assert came == rate or rate is None
        assert (samples.ndim, samples.dtype) == (1, np.float32)
        assert samples.size
        assert np.isfinite(samples).all()

    kept = [case for case in sounds if case.path.name != "odd-rate.wav" or rate]
    counts = fates(kept, decode)
    assert counts["decoded"] + counts["refused"] == len(kept)
    assert min(counts.values()) > 50


@pytest.mark.parametrize("workers", [0, 2])
def test_worker_processes_outlive_them_all(pictures, sounds, workers) -> None:
    """And the good half of each pair is what it is elsewhere."""
    window = Window(0.05)
    image, sound = pictures[-1].path, sounds[-1].path
    whole = decode_image(image)
    samples = [Sample(case.path.name, case.path, sound, ()) for case in pictures]
    samples += [Sample(case.path.name, image, case.path, ()) for case in sounds]
    cases = [*pictures, *sounds]
    decoder = _Decoder(tuple(samples), windows=(window,), image=True, options=LoaderOptions())
    counts: Counter[str] = Counter()
    batches = [list(range(i, min(i + 16, len(samples)))) for i in range(0, len(samples), 16)]
    with closing(in_workers(decoder, batches, workers=workers, gather=list)) as items:
        for index, item in enumerate(items):
            refused = isinstance(item, AvbenchError)
            assert cases[index].fate in {"refused" if refused else "decoded", "either"}
            assert not refused or said_well(item, cases[index].path)
            assert refused or index < len(pictures) or np.array_equal(item.image, whole)
            counts["refused" if refused else "decoded"] += 1
    assert counts["decoded"] + counts["refused"] == len(samples)


def test_a_check_names_every_file_that_is_broken_or_absent(pictures, sounds, tmp_path, capsys) -> None:
    entries, expected = [], {"picture": Counter[str](), "sound": Counter[str]()}
    for folder in ("frames", "audio"):
        (tmp_path / folder).mkdir()
    for number, (kind, case) in enumerate([*(("picture", c) for c in pictures), *(("sound", c) for c in sounds)]):
        name = f"clip_{number:03d}"
        entries.append({"file": name, "class": "x", "bbox": [[0, 0, 0.5, 0.5]]})
        (tmp_path / f"frames/{name}.jpg").symlink_to(case.path if kind == "picture" else pictures[-1].path)
        (tmp_path / f"audio/{name}.wav").symlink_to(case.path if kind == "sound" else sounds[-1].path)
        decode = decode_image if kind == "picture" else decode_audio
        expected[kind]["refused" if refusal(decode, case.path) else "whole"] += 1
    (tmp_path / "boxes.json").write_text(json.dumps(entries))
    (tmp_path / "all.yaml").write_text(
        "name: all\nformat: vggss\nannotations: boxes.json\nframes: frames\naudio: audio\n"
    )
    assert main(["data", "check", "--split", str(tmp_path / "all.yaml"), "--workers", "2", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    for kind, others in (("picture", len(sounds)), ("sound", len(pictures))):
        counts = found["files"][kind]
        assert counts["listed"] == len(entries) == counts["whole"] + counts["broken"] + counts["missing"]
        assert counts["whole"] == expected[kind]["whole"] + others
    errors = {
        name for one in found["findings"] if one["level"] == "error" for item in one["items"] for name in item["names"]
    }
    assert len(errors) == expected["picture"]["refused"] + expected["sound"]["refused"]
