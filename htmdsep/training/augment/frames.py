"""Short-time spectra without `torch.istft`, which waits for the device to check its window.

Frames lie in the middle dimension, so that every spectrum is contiguous: on a CPU half the time
of `torch.stft` and a quarter of that of `torch.istft` (measured: 4 rows of 65 536, one thread).
"""

from __future__ import annotations

import torch
from torch import Tensor

FRAME = 1024  # samples, 46 ms at 22 050 Hz


def spectra(signal: Tensor, hop: int) -> Tensor:
    """Return the Hann-windowed spectra of (rows, time): (rows, frames, FRAME // 2 + 1).

    `hop` divides FRAME. The signal is taken to be silent around itself, and every sample lies in
    FRAME / hop frames.
    """
    length = signal.shape[1]
    frames = -(-length // hop) + FRAME // hop - 1
    padded = torch.nn.functional.pad(signal, (FRAME - hop, frames * hop - length))
    found: Tensor = torch.fft.rfft(padded.unfold(1, FRAME, hop) * _window(signal))
    return found


def signal_of(spectra: Tensor, hop: int, length: int) -> Tensor:
    """Return the signal (rows, length) of spectra, windowed once more and overlapped."""
    overlap = FRAME // hop
    frames = torch.fft.irfft(spectra)
    window = _window(frames)
    frames *= window
    rows, count, _ = frames.shape
    parts = frames.view(rows, count, overlap, hop)
    signal = frames.new_zeros(rows, count + overlap - 1, hop)
    for place in range(overlap):
        signal[:, place : place + count] += parts[:, :, place]
    signal /= window.square().view(overlap, hop).sum(dim=0)
    cut: Tensor = signal.flatten(1)[:, FRAME - hop : FRAME - hop + length]
    return cut


def _window(like: Tensor) -> Tensor:
    return torch.hann_window(FRAME, device=like.device, dtype=like.dtype)
