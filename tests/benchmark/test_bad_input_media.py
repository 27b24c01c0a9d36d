"""Pictures and sounds that are broken: each is refused in one sentence that names the file."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from avbench.data.decoding import decode_audio, decode_image, decode_image_short_side
from avbench.errors import AvbenchError


def refused(call: Callable[[], object], path: Path, message: str) -> None:
    with pytest.raises(AvbenchError, match=message) as caught:
        call()
    text = str(caught.value)
    assert text.startswith((str(path), "expected a"))
    assert str(path) in text
    assert "\n" not in text


def jpeg(path: Path) -> bytes:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(path, "jpeg")
    return path.read_bytes()


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


BROKEN_DATA = b"\0\0\0\x04IDATabcd"


def test_truncated_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(path)[:2000])
    refused(lambda: decode_image(path), path, r"cannot be read as a picture .*: it is cut off or no picture")
    refused(lambda: decode_image_short_side(path), path, "cannot be read as a picture")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>404</html>",
        b"\xff\xd8\xff",
        png_header(9, 9),
        png_header(9, 9) + BROKEN_DATA,
        b"\0" * 999,
    ],
    ids=["empty", "a web page", "a start of a jpeg", "a start of a png", "a broken png", "zeros"],
)
def test_no_picture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    refused(lambda: decode_image(path), path, "cannot be read as a picture")


@pytest.mark.filterwarnings("default")  # Pillow only warns of the smaller one
@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (60_000, 60_000)])
def test_a_decompression_bomb(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_header(width, height) + BROKEN_DATA)
    refused(lambda: decode_image(path), path, "claims more than 89478485 pixels: expected a video frame")


def test_missing_media(tmp_path: Path) -> None:
    image, sound = tmp_path / "a.jpg", tmp_path / "a.wav"
    refused(lambda: decode_image(image), image, r"expected a picture at .*a.jpg, found nothing")
    refused(lambda: decode_audio(sound), sound, r"expected a sound at .*a.wav: No such file")
    refused(lambda: decode_image(tmp_path), tmp_path, "cannot be read as a picture")


def wave(path: Path, samples: np.ndarray, rate: int = 16000, subtype: str = "PCM_16") -> bytes:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: expected a wav or flac file, fetch it again"),
        (b"<html>404</html>", "cannot be read as sound .*: expected a wav or flac file"),
        (b"RIFF\x04\0\0\0WAVE", "cannot be read as sound"),
        (b"fLaC" + b"\0" * 40, "cannot be read as sound"),
    ],
)
def test_no_sound(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    refused(lambda: decode_audio(path), path, message)


def test_truncated_wav(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    whole = wave(path, np.ones(1000))
    path.write_bytes(whole[:1044])
    refused(lambda: decode_audio(path), path, "is cut off: its header promises 2044 bytes, there are 1044")


def test_a_wav_without_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wave(path, np.zeros(0))
    refused(lambda: decode_audio(path), path, "holds no sample of sound")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_samples_that_are_not_finite(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.wav"
    samples = np.zeros((50, 2))
    samples[7, 1] = value
    wave(path, samples, subtype="DOUBLE")
    refused(lambda: decode_audio(path), path, r"holds samples that are not finite \(NaN or infinite\)")


def test_a_rate_that_would_need_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wave(path, np.zeros(100), rate=44099)
    refused(lambda: decode_audio(path), path, "has an odd sampling rate of 44099 Hz")
    assert decode_audio(path, rate=None)[1] == 44099


def test_a_sound_of_one_sample_is_a_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wave(path, np.full(1, 0.5))
    assert decode_audio(path)[0].tolist() == [0.5]
