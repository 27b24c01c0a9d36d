"""Front-ends against SciPy, a second implementation, and what the official loaders made of the same sounds."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.signal
import torch

from avbench.data.decoding import cut, mono
from avbench.errors import AvbenchError
from avbench.frontends import PowerSpectrogram, ScipySpectrogram
from avbench.types import Frontend, Window

GOLDEN = Path(__file__).parents[1] / "golden" / "frontends.npz"
"""Columns of the official EZ-VSL, LVS and JSA loaders' output for one sound (commits in the goldens' own notes)."""

JSA_LOUD = 1e-9 * 16000 * 432 / 2
"""The same loudness in JSA's quantity, which is not divided by rate and window energy, nor doubled."""

LVS = ScipySpectrogram(Window(10.0, "start"), amplitude="soundfile")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape) * 0.1


def scipy_log(wave: np.ndarray, rate: int, nperseg: int = 512, noverlap: int = 274) -> np.ndarray:
    return np.log(scipy.signal.spectrogram(wave, rate, nperseg=nperseg, noverlap=noverlap)[2] + 1e-7)


def power_log(wave: np.ndarray) -> np.ndarray:
    """JSA's quantity frame by frame."""
    padded = np.pad(wave, 256, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    frames = [padded[s : s + 512] * hann for s in range(0, len(wave) + 1, 160)]
    return np.log(np.abs(np.fft.rfft(frames)).T ** 2 + 1e-7)


def assert_golden(came: torch.Tensor, golden: np.ndarray, *, loud: float = 1e-9) -> None:
    """The goldens' tolerance: 1e-4 in the log domain where the power is above ``loud``, 5e-3 below."""
    tolerance = np.where(np.exp(golden) - 1e-7 > loud, 1e-4, 5e-3)
    assert came.shape == golden.shape
    assert (np.abs(came.double().numpy() - golden) <= tolerance).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize(("rate", "noverlap"), [(16000, 274), (22050, 274), (16000, 353)])
def test_equals_scipy(dtype: torch.dtype, tolerance: float, rate: int, noverlap: int) -> None:
    waves = noise(3, 6000).astype(np.float32).astype(np.float64)
    came = ScipySpectrogram(noverlap=noverlap, amplitude="soundfile")(torch.tensor(waves, dtype=dtype), rate)
    expected = np.stack([scipy_log(wave, rate, noverlap=noverlap) for wave in waves])
    assert came.dtype == dtype
    np.testing.assert_allclose(came[:, 0].numpy() * 12, expected, rtol=0, atol=tolerance)


def test_equals_scipy_for_an_offset_which_every_segment_loses() -> None:
    wave = noise(3000) + 0.3
    came = ScipySpectrogram(amplitude="soundfile")(torch.tensor(wave)[None], 16000)
    np.testing.assert_allclose(came[0, 0].numpy() * 12, scipy_log(wave, 16000), rtol=0, atol=1e-12)


def test_equals_scipy_for_an_odd_segment() -> None:
    wave = noise(4000)
    came = ScipySpectrogram(nperseg=301, noverlap=100, amplitude="soundfile")(torch.tensor(wave)[None], 8000)
    np.testing.assert_allclose(came[0, 0].numpy() * 12, scipy_log(wave, 8000, 301, 100), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-4), (torch.float64, 1e-10)])
def test_power_spectrogram_equals_a_second_implementation(dtype: torch.dtype, tolerance: float) -> None:
    waves = noise(2, 4800).astype(np.float32).astype(np.float64)
    came = PowerSpectrogram()(torch.tensor(waves, dtype=dtype), 16000)
    assert came.shape == (2, 1, 257, 31)
    np.testing.assert_allclose(came[:, 0].numpy() * 12, np.stack([power_log(w) for w in waves]), rtol=0, atol=tolerance)


def test_pooling_averages_what_is_there() -> None:
    wave = torch.tensor(noise(1, 4800))
    whole = PowerSpectrogram()(wave, 16000)[0, 0].numpy()  # 257 x 31: both odd, so that both borders are short
    pooled = PowerSpectrogram(pool=2)(wave, 16000)[0, 0].numpy()
    padded = np.pad(whole, ((0, 1), (0, 1)), constant_values=np.nan)
    expected = np.nanmean(padded.reshape(129, 2, 16, 2), axis=(1, 3))
    np.testing.assert_allclose(pooled, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("seconds", "rate", "frames"),
    [(3, 11025, 137), (3, 16000, 200), (3, 22050, 276), (3, 44100, 554), (10, 16000, 671), (5, 48000, 1007)],
)
def test_number_of_frames(seconds: float, rate: int, frames: int) -> None:
    assert ScipySpectrogram()(torch.zeros(1, int(seconds * rate)), rate).shape == (1, 1, 257, frames)


def test_full_scale_is_a_named_choice() -> None:
    wave = torch.tensor(noise(1, 2000))
    official, plain = (ScipySpectrogram(amplitude=a)(wave, 16000) for a in ("pyav", "soundfile"))
    scaled = ScipySpectrogram(amplitude="soundfile")(wave * (32768 / 32767), 16000)
    assert not torch.equal(official, plain)
    assert torch.equal(official, scaled)


def test_samples_beyond_full_scale_are_clipped() -> None:
    wave = torch.tensor(noise(1, 2000)) * 20
    assert torch.equal(ScipySpectrogram()(wave, 16000), ScipySpectrogram()(wave.clamp(-1, 1), 16000))
    assert not torch.equal(PowerSpectrogram()(wave, 16000), PowerSpectrogram()(wave.clamp(-1, 1), 16000))


def test_silence_is_the_floor() -> None:
    for frontend in (ScipySpectrogram(), PowerSpectrogram()):
        came = frontend(torch.zeros(1, 2000, dtype=torch.float64), 16000)
        np.testing.assert_allclose(came.numpy(), np.log(1e-7) / 12, rtol=1e-12)


def test_equal_frontends_are_one_key() -> None:
    keys: set[Frontend] = {ScipySpectrogram(), ScipySpectrogram(), PowerSpectrogram(), PowerSpectrogram(pool=2)}
    assert len(keys) == 3


@pytest.mark.parametrize("frontend", [ScipySpectrogram(), PowerSpectrogram()])
def test_a_sample_is_a_function_of_itself(frontend: Frontend) -> None:
    waves = torch.tensor(noise(4, 3000))
    alone = torch.cat([frontend(w[None], 16000) for w in waves])
    assert torch.equal(frontend(waves, 16000), alone)


@pytest.mark.parametrize("frontend", [ScipySpectrogram(nperseg=64, noverlap=0), PowerSpectrogram(n_fft=64)])
def test_gradients_flow_after_an_inference_pass(frontend: Frontend) -> None:
    with torch.inference_mode():
        frontend(torch.rand(1, 500), 16000)
    wave = torch.rand(1, 500, requires_grad=True)
    frontend(wave, 16000).sum().backward()
    assert wave.grad is not None
    assert wave.grad.isfinite().all()


@pytest.mark.parametrize("frontend", [ScipySpectrogram(), PowerSpectrogram()])
def test_a_short_waveform_is_refused(frontend: Frontend) -> None:
    with pytest.raises(AvbenchError, match=r"at least 512 samples, got \(2, 300\)"):
        frontend(torch.zeros(2, 300), 16000)


def golden_input(frontend: Frontend, samples: np.ndarray, rate: int) -> torch.Tensor:
    return torch.from_numpy(cut(samples, rate, frontend.window))[None]


@pytest.mark.parametrize(
    ("name", "frontend", "step"), [("ezvsl", ScipySpectrogram(), 20), ("lvs", LVS, 48), ("jsa", PowerSpectrogram(), 40)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_official_loaders_of_a_short_sound(name: str, frontend: Frontend, step: int, dtype: torch.dtype) -> None:
    golden = np.load(GOLDEN)
    samples = (golden["short16k_1s37"] / 32768).astype(np.float32)
    came = frontend(golden_input(frontend, samples, 16000).to(dtype), 16000)[0, 0, :, ::step] * 12
    after_division = name == "lvs"
    assert_golden(came, golden[name] * (12 if after_division else 1), loud=JSA_LOUD if name == "jsa" else 1e-9)


@pytest.fixture(scope="module")
def tools(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_inputs", shared / "goldens/tools/make_inputs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def goldens(shared: Path) -> np.lib.npyio.NpzFile:
    return np.load(shared / "goldens/goldens/frontend.npz")


ALIGNMENT = ScipySpectrogram(Window(3.0), noverlap=353, amplitude="soundfile")
MONO = ["mono16k_10s", "mono22k_9s973", "mono48k_4s2", "short16k_1s37", "silence16k_10s"]


@pytest.mark.parametrize(
    ("entry", "frontend", "step", "after_division"),
    [
        *[(f"ezvsl/{s}", ScipySpectrogram(), 3 if s == "mono48k_4s2" else 1, False) for s in MONO],
        *[(f"lvs/{s}", LVS, 4, True) for s in MONO],
        ("alignment/mono16k_10s", ALIGNMENT, 1, True),
        ("alignment/silence16k_10s", ALIGNMENT, 1, True),
    ],
)
def test_official_loaders_at_native_rates(
    entry: str,
    frontend: ScipySpectrogram,
    step: int,
    after_division: bool,
    tools: ModuleType,
    goldens: np.lib.npyio.NpzFile,
) -> None:
    wave, rate = tools.waveforms()[entry.split("/")[1]]
    samples, _ = mono(Path(entry), (wave / 32768).astype(np.float32), native=rate, rate=None)
    came = frontend(golden_input(frontend, samples, rate), rate)[0, 0, :, ::step] * 12
    golden = goldens[entry].astype(np.float64)
    assert_golden(came, golden[0] * 12 if after_division else golden)


@pytest.mark.parametrize("sound", [*MONO, "stereo44k_10s"])
def test_official_jsa_loader(sound: str, tools: ModuleType, goldens: np.lib.npyio.NpzFile) -> None:
    wave, rate = tools.waveforms()[sound]
    frontend = PowerSpectrogram()
    for channel, golden in enumerate(goldens[f"jsa/{sound}"]):  # the official loader keeps the channels apart
        alone = (wave[:, channel : channel + 1] / 32768).astype(np.float32)
        samples, _ = mono(Path(sound), alone, native=rate, rate=16000)
        came = frontend(golden_input(frontend, samples, 16000), 16000)[0, 0, :, ::2] * 12
        assert_golden(came, golden, loud=JSA_LOUD)


def test_official_stereo_mix(tools: ModuleType, goldens: np.lib.npyio.NpzFile) -> None:
    """The official reader rounds the mean of the channels up to whole 16-bit steps; ours keeps the half steps."""
    wave, rate = tools.waveforms()["stereo44k_10s"]
    golden = goldens["ezvsl/stereo44k_10s"]
    window = torch.tensor(goldens["ezvsl_window/stereo44k_10s"] / 32768)
    rounded = ScipySpectrogram()(window[None], rate)[0, 0, :, ::3] * 12
    np.testing.assert_allclose(rounded, golden, rtol=0, atol=2e-6)
    samples, _ = mono(Path("sound"), (wave / 32768).astype(np.float32), native=rate, rate=None)
    ours = ScipySpectrogram()(golden_input(ScipySpectrogram(), samples, rate), rate)[0, 0, :, ::3] * 12
    np.testing.assert_allclose(ours, golden, rtol=0, atol=6e-4)


def test_official_resampling_to_the_bit(tools: ModuleType, goldens: np.lib.npyio.NpzFile) -> None:
    wave, rate = tools.waveforms()["mono22k_9s973"]
    samples, _ = mono(Path("sound"), (wave / 32768).astype(np.float32), native=rate, rate=16000)
    np.testing.assert_allclose(samples[:4096], goldens["jsa_resampled/mono22k_9s973"], rtol=0, atol=1e-6)
