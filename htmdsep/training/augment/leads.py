"""Synthetic solo instruments, which a separator must not take for a voice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.draws import floats
from htmdsep.training.augment.warp import MelodyRange, draw_melodies, fine_curves

LOWEST_NOTE, HIGHEST_NOTE = 45, 81  # MIDI: A2 to A5, the range of voices and leads
DRIVE = (0.3, 12.0)  # from a sine to nearly a square wave


class Leads(NamedTuple):
    """Melodies of solo instruments, one a row: curves (rows, points), the rest (rows, 1)."""

    curves: Tensor  # semitones around the note
    notes: Tensor  # MIDI
    drives: Tensor
    offsets: Tensor  # before the drive; brings even harmonics


def draw_leads(rng: np.random.Generator, rows: int, length: int, sample_rate: int) -> Leads:
    """Draw melodies of `length` samples."""
    melodic = np.ones(rows, dtype=bool)
    curves = draw_melodies(rng, length, sample_rate, melodic=melodic, ranges=MelodyRange())
    notes = rng.uniform(LOWEST_NOTE, HIGHEST_NOTE, (rows, 1))
    drives = np.exp(rng.uniform(np.log(DRIVE[0]), np.log(DRIVE[1]), (rows, 1)))
    return Leads(curves, floats(notes), floats(drives), floats(rng.uniform(0, 0.6, (rows, 1))))


def solo_leads(leads: Leads, length: int, sample_rate: int) -> Tensor:
    """Play the melodies, (rows, length), RMS about 1: driven sines with notes and vibrato."""
    hertz = 440 * torch.exp2((leads.notes - 69 + fine_curves(leads.curves, length)) / 12)
    turns = torch.cumsum(hertz / sample_rate, dim=1, dtype=torch.float64)
    phase = (turns - turns.floor()).float() * (2 * torch.pi)
    wave = torch.tanh(leads.drives * (torch.sin(phase) + leads.offsets))
    wave = wave - wave.mean(dim=1, keepdim=True)
    return wave / (wave.square().mean(dim=1, keepdim=True).sqrt() + 1e-6)
