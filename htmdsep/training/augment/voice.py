"""Several voices from one: second takes, choirs; and silences in them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.draw import Draw, rms
from htmdsep.training.augment.melody import fine_curves, resample_along
from htmdsep.training.augment.timbre import move_formants

HARMONIES = (-12.0, -5.0, -4.0, -3.0, 0.0, 3.0, 4.0, 7.0, 12.0)  # semitones of a second voice
DELAY_SECONDS = (0.005, 0.05)  # of second takes
DETUNING = 0.12  # semitones, standard deviation, of second takes
SEMITONE_LIMIT = 12.0  # of a second take's curve
FADE_SECONDS = 0.02
GAP_SECONDS = (0.1, 1.2)


def sing_takes(
    source: Tensor, points: np.ndarray, free: np.ndarray, draw: Draw, length: int
) -> Tensor:
    """Sing (rows, channels, source_time) along curves of semitones (rows, points).

    Of rows that are `free` (rows,) some are sung twice, and formants of either move.
    """
    rng = draw.rng
    doubled = draw.rows(draw.settings.doubled, free)
    intervals = rng.choice(HARMONIES, len(doubled)) * (rng.random(len(doubled)) < 0.5)
    intervals += rng.normal(0, DETUNING, len(doubled))
    harmony = np.clip(points[doubled] + intervals[:, None], -SEMITONE_LIMIT, SEMITONE_LIMIT)
    curves = fine_curves(draw.on(np.concatenate([points, harmony]), source), length)
    rows = draw.on(doubled, source)
    delay = int(rng.uniform(*DELAY_SECONDS) * draw.sample_rate)
    on_time = torch.nn.functional.pad(source, (0, delay))
    late = torch.nn.functional.pad(source[rows], (delay, 0))
    sung = resample_along(torch.cat([on_time, late]), curves)
    sung = move_formants(sung, np.append(free, free[doubled]), draw)
    gains = draw.on(draw.uniform((0.2, 1.0), len(doubled)), source)
    return sung[: len(source)].index_add(0, rows, gains * sung[len(source) :])


def join_choir(vocals: Tensor, singing: np.ndarray, draw: Draw) -> Tensor:
    """Let another singing row's voice join, in a share of the singing rows."""
    count = len(singing)
    steps = draw.rng.integers(1, max(2, count), count)  # to another row; a batch may have but one
    others = (np.arange(count) + steps) % count
    joined = draw.rows(draw.settings.choir, singing & singing[others] & (count > 1))
    rows, joining = draw.on(joined, vocals), vocals[draw.on(others[joined], vocals)]
    gains = draw.on(draw.uniform((0.3, 1.0), len(joined)), vocals)
    return vocals.index_add(0, rows, gains * rms(vocals[rows]) / (rms(joining) + 1e-5) * joining)


def silence(signal: Tensor, draw: Draw, share: float) -> Tensor:
    """Cut a gap with faded edges into a share of the rows, and into a third of it another."""
    wanted = draw.rng.random((len(signal), 2)) < np.array([share, share / 3])
    holed = np.flatnonzero(wanted.any(axis=1))
    length = signal.shape[2]
    middles = draw.rng.uniform(0, length / draw.sample_rate, (len(holed), 2))
    halves = draw.rng.uniform(*GAP_SECONDS, (len(holed), 2)) / 2
    halves = np.where(wanted[holed], halves, -1.0)  # of negative length: none
    rows, places = draw.on(holed, signal), draw.on(np.stack([middles, halves]), signal)
    seconds = torch.arange(length, device=signal.device) / draw.sample_rate
    outside = ((seconds - places[0, :, :, None]).abs() - places[1, :, :, None]) / FADE_SECONDS
    gains = (0.5 - 0.5 * torch.cos(torch.pi * outside.clamp(0, 1))).prod(dim=1, keepdim=True)
    return signal.index_copy(0, rows, signal[rows] * gains)
