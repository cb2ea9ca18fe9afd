"""Melodies for any voice, by resampling along a curve of semitones; solo leads that play them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.draw import Draw

CONTROL_STEP = 64  # samples between the points of a curve; interpolated linearly in between
MARGIN = 4  # samples that the cubic interpolation may read past a position
LOWEST_NOTE, HIGHEST_NOTE = 45, 81  # MIDI: A2 to A5, the range of voices and leads
DRIVE = (0.3, 12.0)  # of leads, from a sine to nearly a square wave
# How far curves go; ranges are uniform
TRANSPOSITION = 5.0  # semitones up or down, of the whole excerpt
INTERVALS = 4.0  # semitones, standard deviation of a note around the transposition
NOTE_SECONDS = (0.12, 0.9)
PORTAMENTO_SECONDS = (0.02, 0.12)
VIBRATO_HERTZ = (4.5, 6.8)
VIBRATO_DEPTH = 0.9  # semitones, at most
DRIFT = 0.12  # semitones, standard deviation of slow wavering
LIMIT = 9.0  # semitones that no curve exceeds


def source_length(length: int) -> int:
    """Return how many source samples a curve over `length` samples may need."""
    return int(np.ceil(length * 2 ** (LIMIT / 12))) + 2 * MARGIN


def draw_melodies(draw: Draw, length: int, melodic: np.ndarray) -> np.ndarray:
    """Draw curves' points in semitones, (rows, points); rows not `melodic` (rows,) keep a note."""
    rng, rows = draw.rng, len(melodic)
    seconds = np.arange(-(-length // CONTROL_STEP) + 1) * (CONTROL_STEP / draw.sample_rate)
    curve = rng.uniform(-TRANSPOSITION, TRANSPOSITION, (rows, 1))
    curve = curve + _notes(rng, rows, seconds) * melodic[:, None]
    curve += _vibrato(rng, rows, seconds)
    drift = _smooth(rng.standard_normal((rows, len(seconds))), np.full(rows, 12))
    curve += drift * (DRIFT * 5)  # a moving average over 25 points divides the deviation by five
    return np.asarray(curve.clip(-LIMIT, LIMIT))


def fine_curves(points: Tensor, length: int) -> Tensor:
    """Return the curves (rows, length) through control points."""
    size = (points.shape[1] - 1) * CONTROL_STEP + 1
    fine = torch.nn.functional.interpolate(points[:, None], size, mode="linear", align_corners=True)
    return fine[:, 0, :length]


def _notes(rng: np.random.Generator, rows: int, seconds: np.ndarray) -> np.ndarray:
    shortest, longest = NOTE_SECONDS
    count = int(seconds[-1] / shortest) + 2
    ends = np.cumsum(rng.uniform(shortest, longest, (rows, count)), axis=1)
    ends -= rng.uniform(0, longest, (rows, 1))
    pitches = np.round(rng.normal(0, INTERVALS, (rows, count + 1)))
    index = (ends[:, :, None] <= seconds).sum(axis=1)  # (rows, time)
    steps = np.take_along_axis(pitches, index, axis=1)
    width = rng.uniform(*PORTAMENTO_SECONDS, rows) / (2 * seconds[1])
    return _smooth(steps, np.maximum(1, width.astype(np.int64)))


def _vibrato(rng: np.random.Generator, rows: int, seconds: np.ndarray) -> np.ndarray:
    depth = VIBRATO_DEPTH * rng.uniform(0, 1, (rows, 1)) ** 2  # mostly shallow
    hertz = rng.uniform(*VIBRATO_HERTZ, (rows, 1))
    phase = rng.uniform(0, 2 * np.pi, (rows, 1))
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.2, 1.0, (rows, 1)) * seconds + phase * 3)
    return np.asarray(depth * swell * np.sin(2 * np.pi * hertz * seconds + phase))


def _smooth(curve: np.ndarray, half_widths: np.ndarray) -> np.ndarray:
    """Take a moving average over 2 * half_width + 1 points, one width a row."""
    widest = int(half_widths.max(initial=0))
    padded = np.pad(curve, ((0, 0), (widest + 1, widest)), mode="edge")
    sums = np.cumsum(padded, axis=1)
    centre = np.arange(curve.shape[1]) + widest + 1
    upper = np.take_along_axis(sums, centre + half_widths[:, None], axis=1)
    lower = np.take_along_axis(sums, centre - half_widths[:, None] - 1, axis=1)
    return np.asarray((upper - lower) / (2 * half_widths[:, None] + 1))


def resample_along(signal: Tensor, semitones: Tensor) -> Tensor:
    """Read (rows, channels, source_time) at the speeds a curve (rows, time) asks for.

    A curve of 0 returns the signal's beginning unchanged, +12 plays it at twice the speed. Past
    the end of the signal the result is silent. Interpolation is cubic (Catmull-Rom).
    """
    speed = torch.exp2(semitones / 12)
    position = torch.cumsum(speed, dim=1, dtype=torch.float64) - (speed[:, :1] - 1)
    source = torch.nn.functional.pad(signal, (1, MARGIN))
    last = signal.shape[2] + 1
    position = position.clamp_(max=float(last))
    index = position.long()
    fraction = position.sub_(index).float()[:, None]
    index = (index - 1)[:, None].expand(-1, signal.shape[1], -1)
    # The neighbours of a position, from views of the source that begin a sample later each
    before, here, after, beyond = (
        source[:, :, shift : last + shift].gather(2, index) for shift in range(4)
    )
    slope, next_slope = (after - before) / 2, (beyond - here) / 2
    difference = here - after
    cubic = 2 * difference + slope + next_slope
    square = -3 * difference - 2 * slope - next_slope
    return ((cubic * fraction + square) * fraction + slope) * fraction + here


def solo_leads(draw: Draw, rows: int, like: Tensor) -> Tensor:
    """Play solo instruments that are no voice: driven sines (rows, 1, time), RMS about 1."""
    length = like.shape[2]
    curves = fine_curves(draw.on(draw_melodies(draw, length, np.ones(rows, bool)), like), length)
    notes = draw.on(draw.uniform((LOWEST_NOTE, HIGHEST_NOTE), rows), like)
    drives = draw.on(np.exp(draw.uniform((np.log(DRIVE[0]), np.log(DRIVE[1])), rows)), like)
    offsets = draw.on(draw.uniform((0, 0.6), rows), like)  # bring even harmonics
    hertz = 440 * torch.exp2((notes - 69 + curves[:, None]) / 12)
    turns = torch.cumsum(hertz / draw.sample_rate, dim=2, dtype=torch.float64)
    phase = (turns - turns.floor()).float() * (2 * torch.pi)
    wave = torch.tanh(drives * (torch.sin(phase) + offsets))
    wave = wave - wave.mean(dim=2, keepdim=True)
    return wave / (wave.square().mean(dim=2, keepdim=True).sqrt() + 1e-6)
