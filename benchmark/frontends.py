"""From waveforms to spectrograms, batched on the waveform's device.

Front-ends are frozen and hashable: two methods that want the same spectrogram share one computation per batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
import torchaudio.functional
from torch import Tensor

from avbench.errors import AvbenchError
from avbench.types import Window

INT16_READER_GAIN = 32768 / 32767
"""EZ-VSL, SLAVC and FNAC divide 16-bit samples by 32767 (``audio_io.py``), soundfile by 32768."""

MIDDLE_3S = Window(3.0, "centre-seconds")
MIDDLE_5S = Window(5.0)


@dataclass(frozen=True)
class ScipySpectrogram:
    """Log of ``scipy.signal.spectrogram`` with its defaults, as the EZ-VSL family, LVS and Alignment use it.

    Periodic Tukey window (alpha 0.25), segments without padding, the mean of each removed, one-sided power density
    ``|rfft|^2 / (rate * sum(window^2))`` with all bins but the first and the last doubled; then
    ``ln(S + eps) / divide``. The waveform is clipped to [-1, 1] first.

    Sources: EZ-VSL ``datasets.py``, ``load_spectrogram``; hop 238 = 512 - 274. LVS hears ``Window(10, "start")``,
    Alignment the centre 3 s with ``noverlap=353``.
    """

    window: Window = MIDDLE_3S
    nperseg: int = 512
    noverlap: int = 274
    eps: float = 1e-7
    divide: float = 12.0
    amplitude: Literal["pyav", "soundfile"] = "pyav"
    """``"pyav"``: full scale is 32767, as the EZ-VSL family reads; ``"soundfile"``: 32768 (LVS, Alignment)."""

    def __call__(self, waveform: Tensor, rate: int) -> Tensor:
        """Spectrogram of a batch.

        Args:
            waveform: ``[B, N]`` float32 or float64, full scale 1 (16-bit samples / 32768).
            rate: in Hz.

        Returns:
            ``[B, 1, nperseg // 2 + 1, (N - noverlap) // (nperseg - noverlap)]`` in the waveform's dtype.

        Raises:
            AvbenchError: for a waveform that is shorter than one segment.
        """
        _check_length(waveform, self.nperseg)
        gain = INT16_READER_GAIN if self.amplitude == "pyav" else 1.0
        samples = (waveform * gain).clamp(-1, 1)
        segments = samples.unfold(-1, self.nperseg, self.nperseg - self.noverlap)
        window = _tukey(self.nperseg, waveform.dtype, waveform.device)
        spectrum = torch.fft.rfft((segments - segments.mean(-1, keepdim=True)) * window)
        density = spectrum.real.square() + spectrum.imag.square()
        density = density * _density_scale(self.nperseg, rate, waveform.dtype, waveform.device)
        return _log(density, self.eps, self.divide).transpose(-2, -1)


@dataclass(frozen=True)
class PowerSpectrogram:
    """Log of torchaudio's power spectrogram, as JSA uses it.

    Periodic Hann window of ``n_fft`` samples, frames centred with reflected borders, no scaling; then
    ``ln(S + eps) / divide``. Nothing is clipped. JSA trains with ``eps=1e-8`` and tests with 1e-7 (``dataset.py``).

    With ``pool`` above 1 each cell is the mean of ``pool x pool`` cells of the log spectrogram; cells at the far
    borders average what is there.
    """

    window: Window = MIDDLE_5S
    n_fft: int = 512
    hop: int = 160
    eps: float = 1e-7
    divide: float = 12.0
    pool: int = 1

    def __call__(self, waveform: Tensor, rate: int) -> Tensor:
        """Spectrogram of a batch.

        Args:
            waveform: ``[B, N]`` float32 or float64, full scale 1.
            rate: in Hz; the quantity does not depend on it.

        Returns:
            ``[B, 1, ceil((n_fft // 2 + 1) / pool), ceil((N // hop + 1) / pool)]`` in the waveform's dtype.

        Raises:
            AvbenchError: for a waveform that is shorter than ``n_fft``.
        """
        _check_length(waveform, self.n_fft)
        window = _hann(self.n_fft, waveform.dtype, waveform.device)
        power = torchaudio.functional.spectrogram(
            waveform, pad=0, window=window, n_fft=self.n_fft, hop_length=self.hop, win_length=self.n_fft, power=2.0,
            normalized=False,
        )  # fmt: skip
        log = _log(power, self.eps, self.divide)
        return log if self.pool == 1 else F.avg_pool2d(log, self.pool, ceil_mode=True)


def _log(power: Tensor, eps: float, divide: float) -> Tensor:
    """``[B, 1, ...]``; in place, since a batch of spectrograms is mostly memory traffic."""
    return power.add_(eps).log_().div_(divide).unsqueeze(1)


def _check_length(waveform: Tensor, least: int) -> None:
    if waveform.ndim != 2 or waveform.shape[1] < least:
        raise AvbenchError(
            f"a spectrogram needs waveforms [B, N] of at least {least} samples, got {tuple(waveform.shape)}: "
            "choose a longer window or a higher rate"
        )


@cache
@torch.inference_mode(False)  # what is made inside could not take part in a later backward pass
def _tukey(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    position = torch.arange(length, dtype=torch.float64)
    ramp = (torch.minimum(position, length - position) / (0.125 * length)).clamp(max=1)
    return (0.5 - 0.5 * torch.cos(math.pi * ramp)).to(device, dtype)


@cache
@torch.inference_mode(False)
def _hann(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.hann_window(length, dtype=dtype, device=device)


@cache
@torch.inference_mode(False)
def _density_scale(length: int, rate: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    energy = _tukey(length, torch.float64, torch.device("cpu")).square().sum()
    scale = torch.full((length // 2 + 1,), 2.0, dtype=torch.float64) / (rate * energy)
    scale[0] /= 2
    if length % 2 == 0:
        scale[-1] /= 2
    return scale.to(device, dtype)
