"""Upper bounds: what masks and filters reach that know the true sources.

Defined as in the signal separation campaigns (F.-R. Stoeter et al., "The 2018 Signal Separation
Evaluation Campaign", LVA/ICA 2018): Hann windows of 2048 samples, half overlapped.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

TRANSFORM_LENGTH = 2048  # samples
HOP_LENGTH = TRANSFORM_LENGTH // 2
WINDOW = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(TRANSFORM_LENGTH) / TRANSFORM_LENGTH)
TINY = 1e-20  # against division by zero
LOADING = 1e-9  # of a covariance's mean power, where the channels hold the same
BINS_TOGETHER = 64  # frequencies filtered at once

Oracle = Callable[[np.ndarray, np.ndarray], np.ndarray]


def ideal_ratio_mask(vocals: np.ndarray, accompaniment: np.ndarray) -> np.ndarray:
    """Return the vocals that |V| / (|V| + |A|) lets through of the mixture, channel by channel.

    All signals are (frames, channels) float32.
    """
    voice, music = _transform(vocals), _transform(accompaniment)
    strengths = np.abs(voice), np.abs(music)
    mask = strengths[0] / (strengths[0] + strengths[1] + TINY)
    return _back((voice + music) * mask, len(vocals))


def multichannel_wiener(vocals: np.ndarray, accompaniment: np.ndarray) -> np.ndarray:
    """Return the vocals that the multichannel Wiener filter v R (v R + v' R')^-1 lets through.

    v is a source's power in time and frequency, R how it is spread over the channels in a
    frequency, on average over the song. Signals are (frames, channels) float32; of one channel
    this is the ratio of powers.
    """
    sources = np.stack([_transform(vocals), _transform(accompaniment)])
    filtered = np.empty_like(sources[0])
    for first in range(0, sources.shape[2], BINS_TOGETHER):
        part = slice(first, first + BINS_TOGETHER)
        filtered[:, part] = _wiener(sources[:, :, part])
    return _back(filtered, len(vocals))


def _wiener(sources: np.ndarray) -> np.ndarray:
    """Map (2, channels, bins, times) sources to (channels, bins, times) vocals."""
    channels = sources.shape[1]
    sources = sources.astype(np.complex128)
    powers = np.mean(np.abs(sources) ** 2, axis=1) + TINY  # (2, bins, times)
    products = np.einsum("scft,sdft->sfcd", sources, sources.conj())
    spread = products / powers.sum(axis=2)[..., None, None]  # (2, bins, channels, channels)
    covariance = powers[..., None, None] * spread[:, :, None]  # (2, bins, times, channels, ...)
    total = covariance.sum(axis=0)
    loading = LOADING * np.trace(total, axis1=2, axis2=3).real / channels + TINY
    total += loading[..., None, None] * np.eye(channels)
    mixture = sources.sum(axis=0).transpose(1, 2, 0)[..., None]  # (bins, times, channels, 1)
    vocals = covariance[0] @ np.linalg.solve(total, mixture)
    return np.asarray(vocals[..., 0].transpose(2, 0, 1))


def _transform(signal: np.ndarray) -> np.ndarray:
    """Return (channels, bins, times) complex64; the first and last windows lie half outside."""
    after = HOP_LENGTH + -len(signal) % HOP_LENGTH
    padded = np.pad(signal.T.astype(np.float32), ((0, 0), (HOP_LENGTH, after)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, TRANSFORM_LENGTH, axis=1)
    spectra = np.fft.rfft(windows[:, ::HOP_LENGTH] * np.float32(WINDOW))
    return np.ascontiguousarray(spectra.transpose(0, 2, 1), np.complex64)


def _back(spectra: np.ndarray, frames: int) -> np.ndarray:
    """Return the (frames, channels) float32 signal of (channels, bins, times)."""
    windows = np.fft.irfft(spectra.transpose(0, 2, 1), TRANSFORM_LENGTH) * WINDOW
    first, second = np.split(windows, 2, axis=2)
    joined = first[:, 1:] + second[:, :-1]  # each hop lies in two windows
    joined /= WINDOW[:HOP_LENGTH] ** 2 + WINDOW[HOP_LENGTH:] ** 2
    signal = joined.reshape(len(spectra), -1)[:, :frames]
    return np.ascontiguousarray(signal.T, np.float32)
