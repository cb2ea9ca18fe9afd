"""What recordings suffer: soft clipping and lossy codecs, on the mixture and its part alike."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

FRAME = 1024
HOP = 512
KEEP = (0.03, 0.4)  # share of the spectrum's bins that a codec keeps
CLIP_DRIVE = (0.5, 2.5)


def soft_clip(
    rng: np.random.Generator, mixture: Tensor, vocals: Tensor, share: float
) -> tuple[Tensor, Tensor]:
    """Saturate the mixture (rows, time) in a share of the rows.

    The vocals get the gain that the mixture got at each instant, so that they remain the part
    of it that they were.
    """
    rows = len(mixture)
    peak = mixture.abs().amax(dim=1, keepdim=True) + 1e-6
    drive = torch.from_numpy(rng.uniform(*CLIP_DRIVE, (rows, 1)).astype(np.float32)) / peak
    driven = mixture * drive
    gain = torch.where(driven.abs() < 1e-4, 1.0, torch.tanh(driven) / driven)
    chosen = torch.from_numpy(rng.random((rows, 1)) < share)
    gain = torch.where(chosen, gain, 1.0)
    return mixture * gain, vocals * gain


def drop_weak_bins(
    rng: np.random.Generator, mixture: Tensor, vocals: Tensor
) -> tuple[Tensor, Tensor]:
    """Keep only each row's strongest time-frequency bins, as a lossy codec does.

    One mask, found on the mixture, is put on both signals (rows, time).
    """
    rows, length = mixture.shape
    window = torch.hann_window(FRAME)
    spectrum = torch.stft(
        torch.cat([mixture, vocals]), FRAME, HOP, window=window, return_complex=True
    )
    weight = spectrum[:rows].abs()
    weight = weight * torch.linspace(1.0, 0.3, weight.shape[1])[:, None]  # highs go first
    keep = torch.from_numpy(rng.uniform(*KEEP, rows).astype(np.float32))
    flat = weight.flatten(1)
    limits = torch.stack(
        [
            row.kthvalue(max(1, int((1 - share) * flat.shape[1]))).values
            for row, share in zip(flat, keep.tolist(), strict=True)
        ]
    )
    mask = (weight > limits[:, None, None]).repeat(2, 1, 1)
    damaged = torch.istft(spectrum * mask, FRAME, HOP, window=window, length=length)
    return damaged[:rows], damaged[rows:]
