"""Sounds and pictures of the goldens, as files, through our loader and through the official ones."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from avbench.augment import normalise
from avbench.data.decoding import cut, decode_audio, decode_image_short_side, decode_pictures
from avbench.frontends import PowerSpectrogram, ScipySpectrogram, counted_window, rolled_clip
from avbench.types import Frontend, Window

TOLERANCE = 1e-5
"""In the log domain, before the division by 12."""
JSA_LOUD = 1e-9 * 16000 * 432 / 2
"""A power of 1e-9 in SciPy's quantity, in JSA's, which is not divided by rate and window energy, nor doubled."""

SOUNDS = ["mono16k_10s", "mono22k_9s973", "stereo44k_10s", "mono48k_4s2", "short16k_1s37", "silence16k_10s"]
FRAMES = ["landscape640x360", "portrait270x480", "grey500x333"]

LVS = ScipySpectrogram(Window(10.0, "start"), amplitude="soundfile")
ALIGNMENT = ScipySpectrogram(counted_window(3.0, 10.0, "first"), noverlap=353, amplitude="soundfile")


@pytest.fixture(scope="module")
def tools(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_inputs", shared / "goldens/tools/make_inputs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stored(shared: Path) -> np.lib.npyio.NpzFile:
    return np.load(shared / "goldens/goldens/frontend.npz")


@pytest.fixture(scope="module")
def known(shared: Path) -> dict[str, Any]:
    """Shape, mean, least and greatest of every entry, stored or not."""
    entries: dict[str, Any] = json.loads((shared / "goldens/goldens/frontend.json").read_text())["entries"]
    return entries


@pytest.fixture(scope="module")
def files(tools: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("official")
    for name, (wave, rate) in tools.waveforms().items():
        soundfile.write(folder / f"{name}.wav", wave, rate)
    for name, pixels in tools.frames().items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def heard(file: Path, frontend: Frontend, *, rate: int | None = None) -> np.ndarray:
    """The spectrogram of a file at its own rate, before the division by 12."""
    samples, rate = decode_audio(file, rate=rate, channels=frontend.window.channels)
    waveform = torch.from_numpy(cut(samples, rate, frontend.window))[None]
    return (frontend(waveform, rate)[0, 0] * 12).double().numpy()


OFFICIAL: dict[str, tuple[Frontend, int]] = {
    "ezvsl": (ScipySpectrogram(), 1),
    "lvs": (LVS, 12),
    "alignment": (ALIGNMENT, 12),
    "alignment_ezvsl_style": (rolled_clip(10.0), 12),
}
"""Front-ends by the goldens' names, and by what the goldens' values were divided."""


@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize("kind", OFFICIAL)
def test_official_spectrograms(
    kind: str, sound: str, files: Path, stored: np.lib.npyio.NpzFile, known: dict[str, Any]
) -> None:
    entry = f"{kind}/{sound}"
    if "error" in known[entry]:
        pytest.skip(f"the official loader fails: {known[entry]['error']}")
    frontend, divisor = OFFICIAL[kind]
    came = heard(files / f"{sound}.wav", frontend)
    assert came.shape == tuple(known[entry]["shape"][-2:])
    for name, function in (("mean", np.mean), ("min", np.min), ("max", np.max)):
        assert function(came) == pytest.approx(known[entry][name] * divisor, rel=0, abs=TOLERANCE), name
    if entry in stored:
        golden = np.squeeze(stored[entry]).astype(np.float64) * divisor
        step = round(came.shape[1] / golden.shape[1])
        np.testing.assert_allclose(came[:, ::step], golden, rtol=0, atol=TOLERANCE)


def test_the_official_stereo_mix_to_the_bit(files: Path, stored: np.lib.npyio.NpzFile) -> None:
    samples, rate = decode_audio(files / "stereo44k_10s.wav", rate=None, channels="pyav")
    window = cut(samples, rate, ScipySpectrogram().window)
    np.testing.assert_array_equal(window * 32768, stored["ezvsl_window/stereo44k_10s"])
    mean, _ = decode_audio(files / "stereo44k_10s.wav", rate=None)
    assert set(np.unique((samples - mean) * 32768)) == {0, 0.5}


@pytest.mark.parametrize("sound", SOUNDS)
def test_official_jsa_spectrograms(sound: str, files: Path, stored: np.lib.npyio.NpzFile) -> None:
    """Officially in float32, whose rounding differs between machines in bins far below their column's loudest."""
    samples, rate = decode_audio(files / f"{sound}.wav", channels="each")
    for channel, golden in zip(np.atleast_2d(samples), stored[f"jsa/{sound}"], strict=True):
        waveform = torch.from_numpy(cut(channel, rate, PowerSpectrogram().window))[None]
        came = (PowerSpectrogram()(waveform, rate)[0, 0, :, ::2] * 12).numpy()
        loud = np.exp(golden) > JSA_LOUD
        np.testing.assert_allclose(came[loud], golden[loud], rtol=0, atol=1e-4)
        np.testing.assert_allclose(came, golden, rtol=0, atol=2e-3)


def test_official_jsa_spectrogram_of_both_channels(files: Path, stored: np.lib.npyio.NpzFile) -> None:
    came = heard(files / "stereo44k_10s.wav", PowerSpectrogram(Window(5.0, channels="each")), rate=16000)[:, ::2]
    np.testing.assert_allclose(came, stored["jsa_avsbench/stereo44k_10s"][0], rtol=0, atol=1e-4)


def test_official_resampling(files: Path, stored: np.lib.npyio.NpzFile) -> None:
    samples, _ = decode_audio(files / "mono22k_9s973.wav")
    np.testing.assert_allclose(samples[:4096], stored["jsa_resampled/mono22k_9s973"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", FRAMES)
def test_official_training_pictures(name: str, files: Path, stored: np.lib.npyio.NpzFile) -> None:
    if (entry := f"image_train_resize/{name}") not in stored:
        pytest.skip("its pixels are not stored")
    came = decode_image_short_side(files / f"{name}.png").transpose(1, 2, 0)
    np.testing.assert_array_equal(came, stored[entry])


@pytest.mark.parametrize("name", FRAMES)
def test_official_pictures(name: str, files: Path, stored: np.lib.npyio.NpzFile, known: dict[str, Any]) -> None:
    made = decode_pictures(files / f"{name}.png", ["squash", "centre-crop", "tensor"])
    assert [picture.dtype for picture in made.values()] == [np.uint8, np.uint8, np.float32]
    np.testing.assert_array_equal(made["squash"], stored[f"image_square/{name}"])
    np.testing.assert_array_equal(made["centre-crop"], stored[f"image_short_side_centre_crop/{name}"])
    entry = f"image_tensor_resize/{name}"
    seen = normalise(torch.from_numpy(made["tensor"])[None])[0].numpy()
    for statistic, value in (("mean", seen.mean(dtype=np.float64)), ("min", seen.min()), ("max", seen.max())):
        assert value == pytest.approx(known[entry][statistic], rel=0, abs=1e-5), statistic
    if entry in stored:
        np.testing.assert_allclose(seen, stored[entry], rtol=0, atol=1e-5)
