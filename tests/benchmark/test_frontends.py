"""Front-ends against SciPy, a second implementation, and what the official loaders made of one sound."""

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch

from avbench.data.decoding import cut
from avbench.errors import AvbenchError, UsageError
from avbench.frontends import PowerSpectrogram, ScipySpectrogram, counted_window, rolled_clip
from avbench.types import Frontend, Window

JSA_LOUD = 1e-9 * 16000 * 432 / 2
"""A power of 1e-9 in SciPy's quantity, in JSA's, which is not divided by rate and window energy, nor doubled."""

GOLDEN = Path(__file__).parents[1] / "golden" / "frontends.npz"
"""Columns of the official EZ-VSL, LVS, JSA and SSLalignment loaders' output for one sound."""

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


COUNTED = ScipySpectrogram(counted_window(3.0, 10.0, "first"), noverlap=353, amplitude="soundfile")


@pytest.mark.parametrize(
    ("name", "frontend", "step", "tolerance"),
    [
        ("ezvsl", ScipySpectrogram(), 20, 1e-5),
        ("lvs", LVS, 48, 1e-5),
        ("alignment", COUNTED, 30, 1e-5),
        ("rolled", rolled_clip(10.0), 20, 1e-5),
        ("jsa", PowerSpectrogram(), 40, 2e-3),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_official_loaders_of_a_short_sound(
    name: str, frontend: Frontend, step: int, tolerance: float, dtype: torch.dtype
) -> None:
    golden = np.load(GOLDEN)
    samples = (golden["short16k_1s37"] / 32768).astype(np.float32)
    waveform = torch.from_numpy(cut(samples, 16000, frontend.window))[None].to(dtype)
    came = frontend(waveform, 16000)[0, 0, :, ::step] * 12
    before_division = name in {"ezvsl", "jsa"}
    expected = golden[name].astype(np.float64) * (1 if before_division else 12)
    np.testing.assert_allclose(came.double().numpy(), expected, rtol=0, atol=tolerance)
    if name == "jsa":  # the goldens' own tolerance for all but the faintest cells
        loud = np.exp(expected) > JSA_LOUD
        assert loud.any()
        np.testing.assert_allclose(came.double().numpy()[loud], expected[loud], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("frames", "first"), [(10, 2), (9, 3), (8, 4), (7, 4), (15, 0)])
def test_the_middle_columns_are_kept(frames: int, first: int) -> None:
    """Of 15 columns; halves go to the even number, as Python rounds: 2.5 to 2, 3.5 to 4."""
    wave = torch.tensor(noise(2, 512 + 14 * 238))
    whole = ScipySpectrogram()(wave, 16000)
    assert whole.shape[-1] == 15
    assert torch.equal(ScipySpectrogram(frames=frames)(wave, 16000), whole[..., first : first + frames])


def test_too_few_columns_are_refused() -> None:
    with pytest.raises(AvbenchError, match=r"at least 988 samples, got \(2, 987\)"):
        ScipySpectrogram(frames=3)(torch.zeros(2, 987), 16000)
    assert ScipySpectrogram(frames=3)(torch.zeros(2, 988), 16000).shape[-1] == 3


def test_powers_of_channels_are_averaged() -> None:
    waves = torch.tensor(noise(3, 2, 4800))
    left, right = ((PowerSpectrogram()(waves[:, c], 16000) * 12).exp() - 1e-7 for c in (0, 1))
    came = PowerSpectrogram()(waves, 16000)
    np.testing.assert_allclose(came * 12, ((left + right) / 2 + 1e-7).log(), rtol=0, atol=1e-9)
    assert not torch.allclose(came, PowerSpectrogram()(waves.mean(1), 16000), atol=1e-2)
    assert torch.equal(PowerSpectrogram()(waves[:, :1], 16000), PowerSpectrogram()(waves[:, 0], 16000))


def test_channels_apart_are_refused_where_they_are_not_averaged() -> None:
    with pytest.raises(AvbenchError, match=r"\[B, N\] of at least 512 samples, got \(2, 2, 600\)"):
        ScipySpectrogram()(torch.zeros(2, 2, 600), 16000)


def test_counted_samples_are_the_official_ones() -> None:
    assert counted_window(3.0, 10.0, "first") == Window(10.0, "start", "first", (56_000, 104_000))
    assert counted_window(3.0, 5.0, "mean") == Window(5.0, "start", "mean", (16_000, 64_000))
    assert counted_window(3.0, 10.0, "mean").samples(44_100) == 48_000


def test_impossible_clips_are_refused() -> None:
    with pytest.raises(UsageError, match="the middle 3 s of a longer clip are heard, got clip_seconds = 2"):
        counted_window(3.0, 2.0, "mean")
    with pytest.raises(UsageError, match="more than 0 seconds, got clip_seconds = 0"):
        rolled_clip(0.0)


@pytest.mark.parametrize("frontend", [ScipySpectrogram(), PowerSpectrogram(pool=2)])
def test_batches_of_any_size_are_the_same(frontend: Frontend) -> None:
    """A batch is computed in blocks on a CPU."""
    waves = torch.tensor(noise(7, 60_000), dtype=torch.float32)
    came = frontend(waves, 16000)
    assert torch.equal(came, torch.cat([frontend(waves[:5], 16000), frontend(waves[5:], 16000)]))
