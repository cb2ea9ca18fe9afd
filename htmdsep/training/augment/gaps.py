"""Silences in a voice, with faded edges."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

FADE_SECONDS = 0.02
GAP_SECONDS = (0.1, 1.2)


def gap_gains(
    rng: np.random.Generator, rows: int, length: int, sample_rate: int, share: float
) -> Tensor:
    """Draw gains (rows, length) in 0..1: in a share of the rows one or two gaps, elsewhere 1."""
    seconds = np.arange(length) / sample_rate
    gains = np.ones((rows, length))
    for odds in (share, share / 3):
        middle = rng.uniform(0, seconds[-1], (rows, 1))
        half = rng.uniform(*GAP_SECONDS, (rows, 1)) / 2
        outside = (np.abs(seconds - middle) - half) / FADE_SECONDS
        gap = 0.5 - 0.5 * np.cos(np.pi * outside.clip(0, 1))
        gains *= np.where(rng.random((rows, 1)) < odds, gap, 1)
    return torch.from_numpy(gains.astype(np.float32))
