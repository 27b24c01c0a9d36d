"""Pictures and sounds against the official loaders' goldens, Pillow, soundfile and torchaudio."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
import torchaudio.functional
from PIL import Image
from torchvision.transforms import InterpolationMode, Resize

from avbench.data import decoding
from avbench.data.decoding import cut, decode_audio, decode_image, decode_image_short_side, mixed, random_crop
from avbench.types import Window


def random_picture(path: Path, width: int, height: int, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(width)
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode).save(path)
    with Image.open(path) as image:
        return image.convert("RGB")


@pytest.mark.parametrize(
    ("name", "width", "height", "mode"),
    [("a.png", 256, 256, "RGB"), ("a.jpg", 320, 180, "RGB"), ("a.png", 40, 300, "L"), ("a.png", 64, 64, "RGBA"),
     ("a.png", 90, 60, "P"), ("a.jpg", 90, 60, "CMYK"), ("a.png", 1, 1, "RGB")],
)  # fmt: skip
def test_a_picture_is_squashed_by_pillow(tmp_path: Path, name: str, width: int, height: int, mode: str) -> None:
    image = random_picture(tmp_path / name, width, height, mode)
    expected = np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC))
    came = decode_image(tmp_path / name)
    assert (came.shape, came.dtype, came.flags.c_contiguous) == ((3, 224, 224), np.uint8, True)
    np.testing.assert_array_equal(came.transpose(1, 2, 0), expected)


def test_another_size(tmp_path: Path) -> None:
    random_picture(tmp_path / "a.png", 50, 40)
    assert decode_image(tmp_path / "a.png", size=32).shape == (3, 32, 32)


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10))
    image.paste((255, 255, 255), (0, 0, 10, 10))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "a.jpg", exif=exif, quality=100)
    came = decode_image(tmp_path / "a.jpg")
    assert came[:, :, :80].min() > 200
    assert came[:, :, 140:].max() < 50


@pytest.mark.parametrize(("width", "height"), [(640, 360), (270, 480), (246, 246), (100, 339)])
def test_the_training_resize_is_torchvisions(tmp_path: Path, width: int, height: int) -> None:
    image = random_picture(tmp_path / "a.png", width, height)
    expected = np.asarray(Resize(246, InterpolationMode.BICUBIC)(image))
    np.testing.assert_array_equal(decode_image_short_side(tmp_path / "a.png").transpose(1, 2, 0), expected)


def test_crops_are_parts_of_the_resized_picture_at_every_place(tmp_path: Path) -> None:
    random_picture(tmp_path / "a.png", 250, 246)
    whole = decode_image_short_side(tmp_path / "a.png")
    windows = np.lib.stride_tricks.sliding_window_view(whole, (3, 224, 224))[0]
    assert windows.shape[:2] == (23, 27)
    places = set()
    for seed in range(300):
        crop, place = random_crop(whole, rng=np.random.default_rng(seed))
        found = np.argwhere((windows[:, :, :, 0, :5] == crop[:, 0, :5]).all((2, 3)))
        assert len(found) == 1
        np.testing.assert_array_equal(windows[tuple(found[0])], crop)
        y, x = found[0].tolist()
        assert place == (x / 250, y / 246, (x + 224) / 250, (y + 224) / 246)
        places.add(tuple(found[0].tolist()))
    assert {y for y, _ in places} == set(range(23))
    assert {x for _, x in places} == set(range(27))


def tone(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(channels)
    return (rng.standard_normal((int(seconds * rate), channels)) * 3000).astype(np.int16)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_16_bit_samples_are_exact(tmp_path: Path, name: str) -> None:
    wave = tone(0.1, 16000)
    soundfile.write(tmp_path / name, wave, 16000)
    samples, rate = decode_audio(tmp_path / name)
    assert (samples.dtype, rate) == (np.float32, 16000)
    np.testing.assert_array_equal(samples, wave[:, 0].astype(np.float32) / 32768)


def test_channels_are_averaged_and_the_rate_is_brought_to_16_khz(tmp_path: Path) -> None:
    wave = tone(0.2, 192000, channels=8)
    soundfile.write(tmp_path / "a.wav", wave, 192000, subtype="PCM_24")
    native, native_rate = decode_audio(tmp_path / "a.wav", rate=None)
    assert native_rate == 192000
    np.testing.assert_allclose(native, wave.mean(1) / 32768, atol=1e-6)
    samples, rate = decode_audio(tmp_path / "a.wav")
    expected = torchaudio.functional.resample(torch.from_numpy(native), 192000, 16000)
    assert (rate, samples.shape) == (16000, (3200,))
    np.testing.assert_allclose(samples, expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("native", [11025, 22050, 44100, 48000, 8000])
def test_resampling_is_torchaudios(tmp_path: Path, native: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.3, native), native)
    samples, _ = decode_audio(tmp_path / "a.wav")
    wave, _ = decode_audio(tmp_path / "a.wav", rate=None)
    expected = torchaudio.functional.resample(torch.from_numpy(wave).double(), native, 16000)  # its float32 is coarser
    np.testing.assert_allclose(samples, expected.numpy(), rtol=0, atol=1e-5)


def test_a_streamed_wav_of_unknown_length_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.1, 16000), 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    assert len(decode_audio(tmp_path / "a.wav")[0]) == 1600


def ramp(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.float32)


@pytest.mark.parametrize(
    ("n", "window", "first", "last"),
    [
        (100, Window(3.0, "start"), 0, 29),
        (100, Window(3.0), 35, 64),
        (101, Window(3.0), 35, 64),
        (100, Window(3.0, "centre-seconds"), 35, 64),
        (30, Window(3.0), 0, 29),
        (30, Window(3.0, "centre-seconds"), 0, 29),
        (31, Window(3.0, "centre-seconds"), 0, 29),
    ],
)
def test_where_a_clip_is_cut(n: int, window: Window, first: int, last: int) -> None:
    came = cut(ramp(n), 10, window)
    assert (came.dtype, len(came), came[0], came[-1]) == (np.float32, 30, first, last)


@pytest.mark.parametrize("anchor", ["start", "centre", "centre-seconds"])
def test_a_short_clip_is_repeated(anchor) -> None:
    assert cut(ramp(4), 10, Window(1.0, anchor)).tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize(
    ("n", "rate", "start"), [(160000, 16000, 56000), (219905, 22050, 76877), (201600, 48000, 28800)]
)
def test_the_official_start_of_three_seconds(n: int, rate: int, start: int) -> None:
    assert cut(ramp(n), rate, Window(3.0, "centre-seconds"))[0] == start


@pytest.mark.parametrize("n", [48000, 48001, 48002, 50001, 99999])
def test_the_cut_never_runs_short(n: int) -> None:
    assert len(cut(ramp(n), 16000, Window(3.0, "centre-seconds"))) == 48000


def test_no_channel_is_preferred() -> None:
    stereo = np.array([[1.0, 0.0], [0.0, 0.5]], dtype=np.float32)
    sounds, rate = mixed(Path("a"), stereo, ["mean"], native=8000, rate=None)
    assert (sounds["mean"].tolist(), rate) == ([0.5, 0.25], 8000)


@pytest.fixture(scope="module")
def tools(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_inputs", shared / "goldens/tools/make_inputs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["landscape640x360", "portrait270x480", "grey500x333"])
def test_official_pictures(name: str, tools: ModuleType, shared: Path, tmp_path: Path) -> None:
    goldens = np.load(shared / "goldens/goldens/frontend.npz")
    path = tmp_path / "a.png"
    Image.fromarray(tools.frames()[name]).save(path)
    np.testing.assert_array_equal(decode_image(path), goldens[f"image_square/{name}"])
    if f"image_train_resize/{name}" in goldens:
        came = decode_image_short_side(path).transpose(1, 2, 0)
        np.testing.assert_array_equal(came, goldens[f"image_train_resize/{name}"])


def test_the_tiny_set_of_the_goldens(shared: Path) -> None:
    folder = shared / "goldens/goldens/tiny"
    for image in sorted((folder / "frames").iterdir()):
        assert decode_image(image).shape == (3, 224, 224)
        samples, rate = decode_audio(folder / "audio" / f"{image.stem}.wav")
        assert rate == 16000
        assert samples.any()


def test_module_documents_its_sizes() -> None:
    assert int(224 * 1.1) == decoding.TRAIN_SHORT_SIDE
