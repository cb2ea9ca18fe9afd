"""Short-time spectra of whole segments, as `torch.stft` and `torch.istft` make them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def stft(signal: np.ndarray, window_length: int, hop_length: int) -> np.ndarray:
    """Return Hann-windowed spectra of (..., time): complex64 (..., frames, bins).

    Frames are centred on every hop, the signal mirrored around itself; time is a multiple of the
    hop and over half a window, so that there are time / hop + 1 frames.
    """
    half = window_length // 2
    before, after = signal[..., half:0:-1], signal[..., -2 : -half - 2 : -1]
    padded = np.concatenate([before, signal, after], axis=-1)
    frames = sliding_window_view(padded, window_length, axis=-1)[..., ::hop_length, :]
    # Divided by the length, which the window makes up for: NumPy 2.4's transform that is not scaled
    # takes float32 for long doubles, and four times as long (measured).
    window = _window(window_length) * np.float32(window_length)
    spectra: np.ndarray = np.fft.rfft(frames * window, norm="forward")
    return spectra.astype(np.complex64, copy=False)


def istft(spectra: np.ndarray, window_length: int, hop_length: int) -> np.ndarray:
    """Return the signal (..., time) of spectra: windowed once more, overlapped, and divided by the
    sum of squared windows.
    """
    frames = np.fft.irfft(spectra, window_length).astype(np.float32, copy=False)
    frames *= _window(window_length)
    parts = window_length // hop_length  # hops to a window
    count = frames.shape[-2]
    pieces = frames.reshape(*frames.shape[:-1], parts, hop_length)
    total = np.zeros((*frames.shape[:-2], count + parts - 1, hop_length), np.float32)
    for part in range(parts):
        total[..., part : part + count, :] += pieces[..., part, :]
    total /= _squares(window_length, hop_length, count)
    half = window_length // 2
    signal: np.ndarray = total.reshape(*total.shape[:-2], -1)
    return signal[..., half : half + (count - 1) * hop_length]


@cache
def _window(length: int) -> np.ndarray:
    window: np.ndarray = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype("f4")
    return window


@cache
def _squares(window_length: int, hop_length: int, count: int) -> np.ndarray:
    """Return the sum of the squared windows of `count` frames, (hops, hop_length)."""
    pieces = np.square(_window(window_length)).reshape(-1, hop_length)
    total = np.zeros((count + len(pieces) - 1, hop_length), np.float32)
    for part, piece in enumerate(pieces):
        total[part : part + count] += piece
    total[total == 0] = 1  # the window's first sample alone, which lies outside the signal
    return total
