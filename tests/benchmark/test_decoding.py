"""Pictures and sounds against the official loaders' goldens, Pillow, soundfile and torchaudio."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio.functional
from PIL import Image
from torchvision.transforms import InterpolationMode, Resize, v2

from avbench.data import decoding
from avbench.data.decoding import (
    cut,
    cut_at_random,
    decode_audio,
    decode_image,
    decode_image_short_side,
    decode_pictures,
    decode_sounds,
    mixed,
    random_crop,
)
from avbench.data.places import Packed
from avbench.errors import AvbenchError, UsageError
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


STEREO = np.array([[3, 4], [-3, -4], [7, 7], [0, 1], [32767, 32767], [-32768, -32768], [-1, 0]], dtype=np.int16)


def stereo_file(folder: Path, samples: np.ndarray = STEREO, *, rate: int = 16000) -> Path:
    soundfile.write(folder / "a.wav", samples, rate)
    return folder / "a.wav"


def test_channels_in_all_ways_at_once(tmp_path: Path) -> None:
    sounds, rate = decode_sounds(stereo_file(tmp_path), ["mean", "pyav", "first", "each"], rate=None)
    assert rate == 16000
    left, right = STEREO.T / 32768
    np.testing.assert_array_equal(sounds["mean"], (left + right) / 2)
    assert (sounds["pyav"] * 32768).tolist() == [4, -3, 7, 1, 32767, -32768, 0]  # halves go up
    np.testing.assert_array_equal(sounds["first"], left)
    np.testing.assert_array_equal(sounds["each"], [left, right])
    assert {x.dtype for x in sounds.values()} == {np.dtype(np.float32)}
    assert all(x.flags.c_contiguous for x in sounds.values())


def test_one_channel_is_one_sound_in_all_ways(tmp_path: Path) -> None:
    sounds, _ = decode_sounds(stereo_file(tmp_path, STEREO[:, 0]), ["mean", "pyav", "first", "each"])
    assert len({id(x) for x in sounds.values()}) == 1
    np.testing.assert_array_equal(sounds["each"], STEREO[:, 0] / 32768)


def test_samples_between_16_bit_steps_go_to_the_nearest_before_they_are_mixed_up(tmp_path: Path) -> None:
    between = np.array([[1.4, 2.0], [1.6, 2.0], [40000, 40000]]) / 32768
    soundfile.write(tmp_path / "a.wav", between, 16000, subtype="FLOAT")
    sound, _ = decode_audio(tmp_path / "a.wav", channels="pyav")
    assert (sound * 32768).tolist() == [2, 2, 32767]


@pytest.mark.parametrize(("channels", "rate"), [(3, 16000), (2, 8000)])
def test_more_channels_or_another_rate_are_the_plain_mean(tmp_path: Path, channels: int, rate: int) -> None:
    file = stereo_file(tmp_path, tone(0.1, rate, channels), rate=rate)
    sounds, _ = decode_sounds(file, ["mean", "pyav"])
    assert sounds["mean"] is sounds["pyav"]


def test_channels_apart_are_resampled_apart(tmp_path: Path) -> None:
    file = stereo_file(tmp_path, tone(0.1, 44100, 2), rate=44100)
    apart, rate = decode_audio(file, channels="each")
    assert (apart.shape, rate) == ((2, 1600), 16000)
    np.testing.assert_allclose(decode_audio(file, channels="first")[0], apart[0], atol=1e-6)
    np.testing.assert_allclose(decode_audio(file)[0], apart.mean(0), atol=1e-6)


def test_a_channel_that_is_not_heard_may_be_broken(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([[0.5, np.nan]]), 16000, subtype="FLOAT")
    assert decode_audio(tmp_path / "a.wav", channels="first")[0].tolist() == [0.5]
    with pytest.raises(AvbenchError, match=r"a.wav holds samples that are not finite"):
        decode_sounds(tmp_path / "a.wav", ["first", "each"])


def test_counted_samples_are_a_part_of_the_cut_whatever_the_rate() -> None:
    window = Window(10.0, "start", part=(50, 80))
    for rate in (10, 20):
        came = cut(ramp(400), rate, window)
        assert (len(came), came[0], came[-1]) == (window.samples(rate), 50, 79)
    assert cut(ramp(60), 10, window).tolist() == [*range(50, 60), *range(20)]  # 60 samples repeated to 100


def test_counted_samples_beyond_the_cut_are_refused() -> None:
    with pytest.raises(UsageError, match=r"samples 50 to 80 are heard whatever the rate, but 10 s are 70 samples"):
        cut(ramp(400), 7, Window(10.0, "start", part=(50, 80)))


@pytest.mark.parametrize("n", [40, 55, 99])
def test_a_short_clip_is_rolled_to_the_middle(n: int) -> None:
    """As SSLalignment's reader: repeated, cut, then turned by half of what it lacks."""
    came = cut(ramp(n), 10, Window(10.0, "rolled"))
    expected = np.roll(np.tile(ramp(n), 3)[:100], 50 - n // 2)
    np.testing.assert_array_equal(came, expected)
    assert came[50] == n // 2


@pytest.mark.parametrize("n", [100, 101, 250])
def test_a_long_clip_is_not_rolled(n: int) -> None:
    np.testing.assert_array_equal(cut(ramp(n), 10, Window(10.0, "rolled")), ramp(100))


@pytest.mark.parametrize(
    "window",
    [Window(3.0), Window(3.0, "centre-seconds"), Window(3.0, "start", part=(5, 9)), Window(9.0), Window(9.0, "rolled")],
)
def test_channels_apart_are_cut_alike(window: Window) -> None:
    both = np.stack([ramp(50), -ramp(50)])
    came = cut(both, 10, window)
    np.testing.assert_array_equal(came, [cut(ramp(50), 10, window), -cut(ramp(50), 10, window)])


@pytest.mark.parametrize("window", [Window(3.0), Window(3.0, "start", part=(5, 9)), Window(5.0, "rolled")])
def test_what_is_not_repeated_is_a_view(window: Window) -> None:
    clip = ramp(50)
    assert np.shares_memory(cut(clip, 10, window), clip)


@pytest.mark.parametrize("n", [20, 90])
def test_a_part_of_a_window_at_random_has_its_length(n: int) -> None:
    window = Window(5.0, "random", part=(10, 30))
    came = cut_at_random(np.stack([ramp(n), ramp(n)]), 10, window, rng=np.random.default_rng(0))
    assert came.shape == (2, 20)
    assert set(np.unique(np.diff(came[0]))) <= {1, 1 - n}


@pytest.mark.parametrize(
    ("width", "height", "mode"),
    [(640, 360, "RGB"), (270, 480, "RGB"), (301, 225, "L"), (224, 224, "RGB"), (50, 71, "P")],
)
def test_further_ways_to_see_are_torchvisions(tmp_path: Path, width: int, height: int, mode: str) -> None:
    image = random_picture(tmp_path / "a.png", width, height, mode)
    made = decode_pictures(tmp_path / "a.png", ["tensor", "squash", "centre-crop"])
    crop = v2.Compose([Resize(224, InterpolationMode.BICUBIC), v2.CenterCrop(224)])
    np.testing.assert_array_equal(made["centre-crop"].transpose(1, 2, 0), np.asarray(crop(image)))
    np.testing.assert_array_equal(made["squash"], decode_image(tmp_path / "a.png"))
    floats = v2.functional.to_dtype(v2.functional.pil_to_tensor(image), torch.float32, scale=True)
    resized = Resize((224, 224), InterpolationMode.BICUBIC, antialias=True)(floats)
    np.testing.assert_allclose(made["tensor"], resized, rtol=0, atol=1e-6)
    assert all(x.shape == (3, 224, 224) and x.flags.c_contiguous for x in made.values())


def test_tensors_are_not_clamped(tmp_path: Path) -> None:
    Image.fromarray(np.kron(np.eye(2, dtype=np.uint8) * 255, np.ones((150, 150), dtype=np.uint8))).save(
        tmp_path / "a.png"
    )
    made = decode_pictures(tmp_path / "a.png", ["tensor"])["tensor"]
    assert made.min() < -0.01
    assert made.max() > 1.01


@pytest.mark.parametrize("kind", ["centre-crop", "tensor"])
def test_packed_pictures_are_squashed_alone(kind) -> None:
    place = Packed(Path("a.tar"), 512, 3 * 224 * 224, "pixels", "s0")
    with pytest.raises(AvbenchError, match=f"s0 in a.tar is packed squashed, and a method was set to look .*'{kind}'"):
        decode_pictures(place, ["squash", kind])


def test_the_tiny_set_of_the_goldens(shared: Path) -> None:
    folder = shared / "goldens/goldens/tiny"
    for image in sorted((folder / "frames").iterdir()):
        assert decode_image(image).shape == (3, 224, 224)
        samples, rate = decode_audio(folder / "audio" / f"{image.stem}.wav")
        assert rate == 16000
        assert samples.any()


def test_module_documents_its_sizes() -> None:
    assert int(224 * 1.1) == decoding.TRAIN_SHORT_SIDE
