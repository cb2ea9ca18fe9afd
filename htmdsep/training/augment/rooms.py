"""Reverb, echo and equalisers, in one multiplication of spectra."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.timbre import equaliser_curves

REVERB_SECONDS = (0.15, 1.6)  # time to fall by 60 dB
REVERB_LEVEL = (-24.0, -4.0)  # dB of the tail against the direct sound
ECHO_SECONDS = (0.08, 0.45)
ECHO_LEVEL = (-22.0, -7.0)  # dB of the first repeat


def room_responses(
    rng: np.random.Generator, rows: int, length: int, sample_rate: int, share: float
) -> Tensor:
    """Draw impulse responses (rows, length): a direct sound, and in a share a tail or echoes."""
    seconds = np.arange(length) / sample_rate
    decay = np.exp(-6.91 * seconds / rng.uniform(*REVERB_SECONDS, (rows, 1)))  # 6.91 = ln 1000
    tail = rng.standard_normal((rows, length)) * decay
    delay = rng.uniform(0, 0.03, (rows, 1))  # s before the tail begins
    tail *= seconds >= delay
    level = 10 ** (rng.uniform(*REVERB_LEVEL, (rows, 1)) / 20)
    tail *= level / np.sqrt((tail**2).sum(axis=1, keepdims=True) + 1e-9)
    response = tail * (rng.random((rows, 1)) < share)
    echo = 10 ** (rng.uniform(*ECHO_LEVEL, rows) / 20) * (rng.random(rows) < share / 3)
    step = (rng.uniform(*ECHO_SECONDS, rows) * sample_rate).astype(int)
    for repeat in (1, 2, 3):
        position = np.minimum(step * repeat, length - 1)
        response[np.arange(rows), position] += echo**repeat
    response[:, 0] = 1
    return torch.from_numpy(response.astype(np.float32))


def place(
    rng: np.random.Generator,
    signal: Tensor,
    sample_rate: int,
    *,
    reverb_share: float,
    equaliser: tuple[float, float],
    lowpass_share: float,
) -> Tensor:
    """Put each row of (rows, time) into a room, through an equaliser and perhaps a low-pass.

    `equaliser` is (decibels, tilt). The result has the same shape; tails past it are dropped.
    """
    rows, length = signal.shape
    size = 2 * length
    bins = size // 2 + 1
    gain = equaliser_curves(rng, rows, bins, *equaliser) * lowpass_curves(
        rng, rows, bins, sample_rate, lowpass_share
    )
    spectrum = torch.fft.rfft(signal, size) * gain
    if reverb_share:
        response = room_responses(rng, rows, min(length, sample_rate), sample_rate, reverb_share)
        spectrum = spectrum * torch.fft.rfft(response, size)
    placed: Tensor = torch.fft.irfft(spectrum, size)[:, :length]
    return placed


def lowpass_curves(
    rng: np.random.Generator, rows: int, bins: int, sample_rate: int, share: float
) -> Tensor:
    """Draw low-pass gains (rows, bins) in a share of the rows, with a cut-off of 3 kHz or more."""
    cutoff = np.exp(rng.uniform(np.log(3_000), np.log(sample_rate / 2), (rows, 1)))
    cutoff = np.where(rng.random((rows, 1)) < share, cutoff, sample_rate)
    hertz = np.linspace(0, sample_rate / 2, bins)
    gain = 1 / (1 + np.exp((hertz - cutoff) / 100).clip(max=1e6))  # about 400 Hz wide
    return torch.from_numpy(gain.astype(np.float32))
