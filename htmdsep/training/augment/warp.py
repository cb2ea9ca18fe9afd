"""Melodies from any voice: time-varying resampling along a curve of semitones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.draws import floats

CONTROL_STEP = 64  # samples between the points of a curve; interpolated linearly in between
MARGIN = 4  # samples that the cubic interpolation may read past a position


@dataclass(frozen=True)
class MelodyRange:
    """How far curves go; ranges are uniform unless stated."""

    transposition: float = 5.0  # semitones up or down, of the whole excerpt
    intervals: float = 4.0  # semitones, standard deviation of a note around the transposition
    note_seconds: tuple[float, float] = (0.12, 0.9)
    portamento_seconds: tuple[float, float] = (0.02, 0.12)
    vibrato_hertz: tuple[float, float] = (4.5, 6.8)
    vibrato_depth: float = 0.9  # semitones, at most
    drift: float = 0.12  # semitones, standard deviation of slow wavering
    limit: float = 9.0  # semitones that no curve exceeds

    def source_length(self, length: int) -> int:
        """Return how many source samples a curve over `length` samples may need."""
        return int(np.ceil(length * 2 ** (self.limit / 12))) + 2 * MARGIN


def draw_melodies(
    rng: np.random.Generator,
    length: int,
    sample_rate: int,
    *,
    melodic: np.ndarray,
    ranges: MelodyRange,
) -> Tensor:
    """Draw curves of semitones over `length` samples, one a row of `melodic` (rows,).

    Returns their control points, (rows, points); rows not `melodic` keep one note a row.
    """
    rows = len(melodic)
    seconds = np.arange(-(-length // CONTROL_STEP) + 1) * (CONTROL_STEP / sample_rate)
    curve = rng.uniform(-ranges.transposition, ranges.transposition, (rows, 1))
    curve = curve + _notes(rng, rows, seconds, ranges) * melodic[:, None]
    curve += _vibrato(rng, rows, seconds, ranges)
    curve += _smooth(rng.standard_normal((rows, len(seconds))), np.full(rows, 12)) * (
        ranges.drift * 5  # a moving average over 25 points divides the deviation by five
    )
    return floats(curve.clip(-ranges.limit, ranges.limit))


def fine_curves(points: Tensor, length: int) -> Tensor:
    """Return the curves (rows, length) through control points."""
    size = (points.shape[1] - 1) * CONTROL_STEP + 1
    fine = torch.nn.functional.interpolate(
        points[:, None], size=size, mode="linear", align_corners=True
    )
    return fine[:, 0, :length]


def _notes(
    rng: np.random.Generator, rows: int, seconds: np.ndarray, ranges: MelodyRange
) -> np.ndarray:
    shortest, longest = ranges.note_seconds
    count = int(seconds[-1] / shortest) + 2
    ends = np.cumsum(rng.uniform(shortest, longest, (rows, count)), axis=1)
    ends -= rng.uniform(0, longest, (rows, 1))
    pitches = np.round(rng.normal(0, ranges.intervals, (rows, count + 1)))
    index = (ends[:, :, None] <= seconds).sum(axis=1)  # (rows, time)
    steps = np.take_along_axis(pitches, index, axis=1)
    width = rng.uniform(*ranges.portamento_seconds, rows) / (2 * seconds[1])
    return _smooth(steps, np.maximum(1, width.astype(np.int64)))


def _vibrato(
    rng: np.random.Generator, rows: int, seconds: np.ndarray, ranges: MelodyRange
) -> np.ndarray:
    depth = ranges.vibrato_depth * rng.uniform(0, 1, (rows, 1)) ** 2  # mostly shallow
    hertz = rng.uniform(*ranges.vibrato_hertz, (rows, 1))
    phase = rng.uniform(0, 2 * np.pi, (rows, 1))
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.2, 1.0, (rows, 1)) * seconds + phase * 3)
    vibrato: np.ndarray = depth * swell * np.sin(2 * np.pi * hertz * seconds + phase)
    return vibrato


def _smooth(curve: np.ndarray, half_widths: np.ndarray) -> np.ndarray:
    """Take a moving average over 2 * half_width + 1 points, one width a row."""
    widest = int(half_widths.max(initial=0))
    padded = np.pad(curve, ((0, 0), (widest + 1, widest)), mode="edge")
    sums = np.cumsum(padded, axis=1)
    centre = np.arange(curve.shape[1]) + widest + 1
    upper = np.take_along_axis(sums, centre + half_widths[:, None], axis=1)
    lower = np.take_along_axis(sums, centre - half_widths[:, None] - 1, axis=1)
    mean: np.ndarray = (upper - lower) / (2 * half_widths[:, None] + 1)
    return mean


def resample_along(signal: Tensor, semitones: Tensor) -> Tensor:
    """Read (rows, source_time) at the speed a curve (rows, time) asks for; returns its shape.

    A curve of 0 returns the signal's beginning unchanged, +12 plays it at twice the speed. Past
    the end of the signal the result is silent. Interpolation is cubic (Catmull-Rom).
    """
    speed = torch.exp2(semitones / 12)
    position = torch.cumsum(speed, dim=1, dtype=torch.float64) - (speed[:, :1] - 1)
    source = torch.nn.functional.pad(signal, (1, MARGIN))
    last = signal.shape[1] + 1
    position = position.clamp_(max=float(last))
    index = position.long()
    fraction = position.sub_(index).float()
    index -= 1
    # The neighbours of a position, from views of the source that begin a sample later each
    before, here, after, beyond = (
        source[:, shift : last + shift].gather(1, index) for shift in range(4)
    )
    slope, next_slope = (after - before) / 2, (beyond - here) / 2
    difference = here - after
    cubic = 2 * difference + slope + next_slope
    square = -3 * difference - 2 * slope - next_slope
    return ((cubic * fraction + square) * fraction + slope) * fraction + here
