"""Equalisers, and formants moved without moving the pitch."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.draws import floats, rows_where
from htmdsep.training.augment.frames import FRAME, signal_of, spectra

HOP = 256
ENVELOPE_QUEFRENCY = 32  # cepstral coefficients kept: the envelope up to 1.5 ms of delay
GAIN_LIMIT = 3.0  # nepers (26 dB) that the formant shift may add or take
SEMITONE_LIMIT = 6.0  # of a formant shift
POINTS = 6  # of an equaliser, evenly spaced in log frequency
NEPERS = math.log(10) / 20  # a decibel


class Formants(NamedTuple):
    """By what the formants of `rows` (n,) are moved: `ratios` (n, 1) of frequency."""

    rows: Tensor
    ratios: Tensor


def draw_equalisers(rng: np.random.Generator, rows: int, decibels: float, tilt: float) -> Tensor:
    """Draw the decibels of equalisers at their points, (rows, POINTS).

    Each within `decibels`, plus a tilt within `tilt` decibels from the lowest to the highest.
    """
    points = rng.uniform(-decibels, decibels, (rows, POINTS))
    tilts = rng.uniform(-tilt / 2, tilt / 2, (rows, 1))
    return floats(points + tilts * np.linspace(-1, 1, POINTS))


def equaliser_curves(points: Tensor, bins: int) -> Tensor:
    """Return smooth gains (rows, bins) over a linear frequency axis through decibels at points."""
    axis = torch.linspace(1, 256, bins, device=points.device).log2() * ((POINTS - 1) / 8)
    place = torch.arange(POINTS, device=points.device)[:, None]
    hats = (1 - (axis - place).abs()).clamp(min=0)  # (POINTS, bins), linear interpolation
    return (points @ hats * NEPERS).exp_()


def draw_formants(rng: np.random.Generator, moved: np.ndarray, deviation: float) -> Formants:
    """Draw ratios for the rows that are `moved` (rows,), `deviation` semitones wide."""
    rows = rows_where(moved)
    semitones = rng.normal(0, deviation, (len(rows), 1)).clip(-SEMITONE_LIMIT, SEMITONE_LIMIT)
    return Formants(rows, floats(2 ** (semitones / 12)))


def shift_formants(signal: Tensor, ratios: Tensor) -> Tensor:
    """Scale the spectral envelope of (rows, time) in frequency by one ratio a row, (rows, 1).

    A ratio of 1 returns the signal but for rounding; above 1 the voice sounds smaller. The
    pitch stays. The envelope is the log magnitude with only its slow variation over frequency
    (real cepstrum), a sum of cosines that can be read at any frequency.
    """
    if not len(signal):
        return signal
    spectrum = spectra(signal, HOP)  # (rows, frames, bins)
    magnitude = spectrum.abs()
    magnitude += magnitude.amax(dim=(1, 2), keepdim=True) * 1e-4 + 1e-8
    bins = magnitude.shape[2]
    frequency = torch.linspace(0, torch.pi, bins, device=signal.device)
    quefrency = torch.arange(ENVELOPE_QUEFRENCY + 1, device=signal.device)[:, None]
    here = torch.cos(quefrency * frequency)  # (quefrencies, bins)
    there = torch.cos(quefrency * (frequency / ratios).clamp(max=torch.pi)[:, None])
    gain = (magnitude.log_() @ _cepstral_weights(here).T) @ (there - here)
    spectrum *= gain.clamp_(-GAIN_LIMIT, GAIN_LIMIT).exp_()
    return signal_of(spectrum, HOP, signal.shape[1])


def _cepstral_weights(cosines: Tensor) -> Tensor:
    """Return the matrix (quefrencies, bins) that takes log magnitudes to sums of `cosines`.

    It is the inverse DFT of an even spectrum of FRAME bins, of which the inner half is stored:
    inner bins count twice, and so do all coefficients but those at either end of what is kept.
    """
    weights = cosines * (2 / FRAME)
    weights[:, 1:-1] *= 2
    weights[0] /= 2
    weights[-1] /= 2
    return weights
