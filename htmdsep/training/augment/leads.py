"""Synthetic solo instruments, which a separator must not take for a voice."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.warp import MelodyRange, melody_curves

LOWEST_NOTE, HIGHEST_NOTE = 45, 81  # MIDI: A2 to A5, the range of voices and leads
DRIVE = (0.3, 12.0)  # from a sine to nearly a square wave


def solo_leads(rng: np.random.Generator, rows: int, length: int, sample_rate: int) -> Tensor:
    """Play one melody a row, (rows, length), RMS about 1: driven sines with notes and vibrato."""
    curve = melody_curves(
        rng, rows, length, sample_rate, melodic=np.ones(rows, dtype=bool), ranges=MelodyRange()
    )
    note = torch.from_numpy(rng.uniform(LOWEST_NOTE, HIGHEST_NOTE, (rows, 1)))
    hertz = 440 * torch.exp2((note + curve - 69) / 12)
    phase = torch.cumsum(hertz * (2 * np.pi / sample_rate), dim=1)
    drive = torch.from_numpy(np.exp(rng.uniform(np.log(DRIVE[0]), np.log(DRIVE[1]), (rows, 1))))
    offset = torch.from_numpy(rng.uniform(0, 0.6, (rows, 1)))  # brings even harmonics
    wave = torch.tanh(drive * (torch.sin(phase) + offset)).float()
    wave = wave - wave.mean(dim=1, keepdim=True)
    return wave / (wave.square().mean(dim=1, keepdim=True).sqrt() + 1e-6)
