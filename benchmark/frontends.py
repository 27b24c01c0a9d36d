"""From waveforms to spectrograms, batched on the waveform's device.

Front-ends are frozen and hashable: two methods that want the same spectrogram share one computation per batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
import torchaudio.functional
from torch import Tensor

from avbench.errors import AvbenchError, UsageError
from avbench.types import Channels, Window

INT16_READER_GAIN = 32768 / 32767
"""EZ-VSL, SLAVC and FNAC divide 16-bit samples by 32767 (``audio_io.py``), soundfile by 32768."""

AT_ONCE = 160_000
"""Samples of sound at a time on a CPU, so that what is made of them stays in its cache: half the time of a batch."""

MIDDLE_3S = Window(3.0, "centre-seconds", channels="pyav")
"""What EZ-VSL, SLAVC and FNAC hear (``datasets.py``, ``audio_io.py``)."""
MIDDLE_5S = Window(5.0)

ROLLED_FRAMES = 200
"""Columns of 3 s at 16 kHz; SSLalignment ``datasets.py``."""
COUNTED_RATE = 16_000
"""Hz; SSLalignment ``datasets_lvs.py`` counts samples as if all files had it."""


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
    frames: int | None = None
    """How many columns in the middle are kept: of T those from ``round((T - frames) / 2)`` on, half to even."""

    def __call__(self, waveform: Tensor, rate: int) -> Tensor:
        """Spectrogram of a batch.

        Args:
            waveform: ``[B, N]`` float32 or float64, full scale 1 (16-bit samples / 32768).
            rate: in Hz.

        Returns:
            ``[B, 1, nperseg // 2 + 1, T]`` in the waveform's dtype, T being ``frames``, or without it
            ``(N - noverlap) // (nperseg - noverlap)``.

        Raises:
            AvbenchError: for a waveform that is shorter than one segment, or than ``frames``.
        """
        if waveform.ndim != 2:
            raise _unfit(waveform, self.nperseg)
        return _in_blocks(lambda block: self._log_density(block, rate), waveform)

    def _log_density(self, waveform: Tensor, rate: int) -> Tensor:
        gain = INT16_READER_GAIN if self.amplitude == "pyav" else 1.0
        segments = self._segments((waveform * gain).clamp_(-1, 1))
        window = _density_window(self.nperseg, rate, waveform.dtype, waveform.device)
        density = _power((segments - segments.mean(-1, keepdim=True)).mul_(window))
        density[..., 0] *= 0.5
        if self.nperseg % 2 == 0:
            density[..., -1] *= 0.5
        return _log(density, self.eps, self.divide)

    def _segments(self, samples: Tensor) -> Tensor:
        if samples.shape[-1] < self.nperseg:
            raise _unfit(samples, self.nperseg)
        segments = samples.unfold(-1, self.nperseg, self.nperseg - self.noverlap)
        if self.frames is None:
            return segments
        spare = segments.shape[1] - self.frames
        if spare < 0:
            raise _unfit(samples, self.nperseg + (self.frames - 1) * (self.nperseg - self.noverlap))
        return segments.narrow(1, round(spare / 2), self.frames)


@dataclass(frozen=True)
class PowerSpectrogram:
    """Log of torchaudio's power spectrogram, as JSA uses it.

    Periodic Hann window of ``n_fft`` samples, frames centred with reflected borders, no scaling; then
    ``ln(S + eps) / divide``. Nothing is clipped. JSA trains with ``eps=1e-8`` and tests with 1e-7 (``dataset.py``).

    Of several channels the powers are averaged before the logarithm (JSA ``dataset_avs.py``); a window must hear
    ``each`` of them for that. With ``pool`` above 1 each cell is the mean of ``pool x pool`` cells of the log
    spectrogram; cells at the far borders average what is there.
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
            waveform: ``[B, N]`` or ``[B, channels, N]``, float32 or float64, full scale 1.
            rate: in Hz; the quantity does not depend on it.

        Returns:
            ``[B, 1, ceil((n_fft // 2 + 1) / pool), ceil((N // hop + 1) / pool)]`` in the waveform's dtype.

        Raises:
            AvbenchError: for a waveform that is shorter than ``n_fft``.
        """
        if waveform.ndim not in {2, 3} or waveform.shape[-1] < self.n_fft:
            raise _unfit(waveform, self.n_fft)
        power = torchaudio.functional.spectrogram(
            waveform, pad=0, window=_hann(self.n_fft, waveform.dtype, waveform.device), n_fft=self.n_fft,
            hop_length=self.hop, win_length=self.n_fft, power=2.0, normalized=False,
        )  # fmt: skip
        log = _log(power.mean(1) if waveform.ndim == 3 else power, self.eps, self.divide).unsqueeze(1)
        return log if self.pool == 1 else F.avg_pool2d(log, self.pool, ceil_mode=True)


def rolled_clip(seconds: float) -> ScipySpectrogram:
    """What SSLalignment lets EZ-VSL and SLAVC hear (``datasets.py``): a clip brought to ``seconds``, 200 columns of it.

    The clip is cut from its start, or repeated and turned so that its middle lies in the middle; 200 columns are the
    3 s in the middle at 16 kHz. ``seconds`` is 10 there, and 5 for AVSBench.

    Raises:
        UsageError: if it is not above 0.
    """
    if seconds <= 0:
        raise UsageError(f"a clip is brought to more than 0 seconds, got clip_seconds = {seconds:g}")
    return ScipySpectrogram(Window(seconds, "rolled", channels="pyav"), frames=ROLLED_FRAMES)


def counted_window(seconds: float, clip_seconds: float, channels: Channels) -> Window:
    """What SSLalignment lets LVS and Alignment hear (``datasets_lvs.py``): the middle of a clip of ``clip_seconds``.

    The clip is cut from its start, or repeated; its middle ``seconds`` are then counted in samples as if the rate were
    16 kHz, whatever it is: 56,000 to 104,000 for 3 of 10 s, 16,000 to 64,000 for 3 of 5 s (AVSBench).

    Raises:
        UsageError: if ``clip_seconds`` is shorter than ``seconds``.
    """
    need, there = int(seconds * COUNTED_RATE), int(clip_seconds * COUNTED_RATE)
    if there < need:
        raise UsageError(
            f"the middle {seconds:g} s of a longer clip are heard, got clip_seconds = {clip_seconds:g}: raise it"
        )
    start = (there - need) // 2
    return Window(clip_seconds, "start", channels, (start, start + need))


def _in_blocks(compute: Callable[[Tensor], Tensor], waveform: Tensor) -> Tensor:
    """``[B, ...]`` waveforms by ``compute``, which gives ``[B, T, F]``, to ``[B, 1, F, T]``."""
    rows = max(1, AT_ONCE // waveform[:1].numel()) if waveform.device.type == "cpu" else len(waveform)
    blocks = torch.split(waveform, rows)
    return torch.cat([compute(block) for block in blocks]).unsqueeze(1).transpose(-2, -1)


def _power(windowed: Tensor) -> Tensor:
    spectrum = torch.fft.rfft(windowed)
    real, imaginary = spectrum.real, spectrum.imag
    power: Tensor = real.square().addcmul_(imaginary, imaginary)
    return power


def _log(power: Tensor, eps: float, divide: float) -> Tensor:
    """In place, since a batch of spectrograms is mostly memory traffic."""
    return power.add_(eps).log_().div_(divide)


def _unfit(waveform: Tensor, least: int) -> AvbenchError:
    return AvbenchError(
        f"a spectrogram needs waveforms [B, N] of at least {least} samples, got {tuple(waveform.shape)}: choose a "
        "longer window or a higher rate"
    )


@cache
@torch.inference_mode(False)  # what is made inside could not take part in a later backward pass
def _tukey(length: int) -> Tensor:
    position = torch.arange(length, dtype=torch.float64)
    ramp = (torch.minimum(position, length - position) / (0.125 * length)).clamp(max=1)
    return 0.5 - 0.5 * torch.cos(math.pi * ramp)


@cache
@torch.inference_mode(False)
def _hann(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.hann_window(length, dtype=dtype, device=device)


@cache
@torch.inference_mode(False)
def _density_window(length: int, rate: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Such that the squared spectrum is the density of all bins but the first and the last, which it doubles."""
    window = _tukey(length)
    return (window * (2 / (rate * window.square().sum())).sqrt()).to(device, dtype)
