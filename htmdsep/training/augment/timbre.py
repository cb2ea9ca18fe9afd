"""Equalisers, and formants moved without moving the pitch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

FRAME = 1024  # samples a frame of the formant shift, 46 ms at 22 050 Hz
HOP = 256
ENVELOPE_QUEFRENCY = 32  # cepstral coefficients kept: the envelope up to 1.5 ms of delay
GAIN_LIMIT = 3.0  # nepers (26 dB) that the formant shift may add or take


def equaliser_curves(
    rng: np.random.Generator, rows: int, bins: int, decibels: float, tilt: float
) -> Tensor:
    """Draw smooth gains (rows, bins) over a linear frequency axis.

    Six points an equaliser, spaced evenly in log frequency, each within `decibels`, plus a tilt
    within `tilt` decibels from the lowest to the highest point.
    """
    points = rng.uniform(-decibels, decibels, (rows, 6))
    points += rng.uniform(-tilt / 2, tilt / 2, (rows, 1)) * np.linspace(-1, 1, 6)
    axis = np.log2(np.linspace(1, 256, bins)) / 8 * 5  # 0 at the bottom, 5 at Nyquist
    index = np.minimum(axis.astype(int), 4)
    fraction = axis - index
    curve = points[:, index] * (1 - fraction) + points[:, index + 1] * fraction
    return torch.from_numpy((10 ** (curve / 20)).astype(np.float32))


def shift_formants(signal: Tensor, ratios: Tensor) -> Tensor:
    """Scale the spectral envelope of (rows, time) in frequency by one ratio a row.

    A ratio of 1 returns the signal but for rounding; above 1 the voice sounds smaller. The
    pitch stays.
    """
    length = signal.shape[1]
    window = torch.hann_window(FRAME, dtype=signal.dtype)
    spectrum = torch.stft(signal, FRAME, HOP, window=window, return_complex=True)
    envelope = _log_envelope(spectrum.abs())  # (rows, bins, frames)
    bins = envelope.shape[1]
    position = (torch.arange(bins) / ratios[:, None]).clamp(max=bins - 1.001)  # (rows, bins)
    index = position.floor().long()
    fraction = (position - index)[:, :, None].to(signal.dtype)
    below = envelope.gather(1, index[:, :, None].expand_as(envelope))
    above = envelope.gather(1, (index + 1)[:, :, None].expand_as(envelope))
    gain = (below + (above - below) * fraction - envelope).clamp(-GAIN_LIMIT, GAIN_LIMIT)
    shifted: Tensor = torch.istft(spectrum * gain.exp(), FRAME, HOP, window=window, length=length)
    return shifted


def _log_envelope(magnitude: Tensor) -> Tensor:
    """Return the log magnitude with only its slow variation over frequency (real cepstrum)."""
    floor = magnitude.amax(dim=(1, 2), keepdim=True) * 1e-4 + 1e-8
    cepstrum = torch.fft.irfft((magnitude + floor).log(), dim=1)
    cepstrum[:, ENVELOPE_QUEFRENCY:-ENVELOPE_QUEFRENCY] = 0
    envelope: Tensor = torch.fft.rfft(cepstrum, dim=1).real
    return envelope
