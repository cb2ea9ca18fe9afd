"""Upper bounds: what masks and filters reach that know the true sources.

Defined as in the signal separation campaigns (F.-R. Stoeter et al., "The 2018 Signal Separation
Evaluation Campaign", LVA/ICA 2018): Hann windows of 2048 samples, half overlapped.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from htmdsep.dsp.spectra import istft, stft

TRANSFORM_LENGTH = 2048  # samples
HOP_LENGTH = TRANSFORM_LENGTH // 2
TINY = 1e-20  # against division by zero
LOADING = 1e-9  # of a covariance's mean power, where the channels hold the same
BINS_TOGETHER = 64  # frequencies filtered at once

Oracle = Callable[[np.ndarray, np.ndarray], np.ndarray]


def ideal_ratio_mask(vocals: np.ndarray, accompaniment: np.ndarray) -> np.ndarray:
    """Return what |V| / (|V| + |A|) lets through of the mixture, by channel; (frames, channels)."""
    voice, music = _transform(vocals), _transform(accompaniment)
    strengths = np.abs(voice), np.abs(music)
    mask = strengths[0] / (strengths[0] + strengths[1] + TINY)
    return _back((voice + music) * mask, len(vocals))


def multichannel_wiener(vocals: np.ndarray, accompaniment: np.ndarray) -> np.ndarray:
    """Return the vocals that the multichannel Wiener filter v R (v R + v' R')^-1 lets through.

    v is a source's power in time and frequency, R its mean spread over the channels in a frequency.
    Signals are (frames, channels) float32; of one channel this is the ratio of powers.
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
    """Return (channels, bins, times) complex64, with silence before and after the signal."""
    after = HOP_LENGTH + -len(signal) % HOP_LENGTH
    padded = np.pad(signal.T.astype(np.float32), ((0, 0), (HOP_LENGTH, after)))
    return stft(padded, TRANSFORM_LENGTH, HOP_LENGTH).swapaxes(1, 2)


def _back(spectra: np.ndarray, frames: int) -> np.ndarray:
    signal = istft(spectra.swapaxes(1, 2), TRANSFORM_LENGTH, HOP_LENGTH)
    return np.ascontiguousarray(signal[:, HOP_LENGTH : HOP_LENGTH + frames].T, np.float32)
