"""Reverb, echo, equalisers and low-passes, in one multiplication of spectra."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.draw import Draw

REVERB_SECONDS = (0.15, 1.6)  # time to fall by 60 dB
PLATE_SECONDS = (1.5, 4.0)
REVERB_LEVEL = (-24.0, -4.0)  # dB of the tail against the direct sound
REVERB_DELAY_SECONDS = 0.03  # before the tail begins, at most
ECHO_SECONDS = (0.08, 0.45)
ECHO_LEVEL = (-22.0, -7.0)  # dB of the first repeat
ECHOES = 3
RESPONSE_SECONDS, PLATE_RESPONSE_SECONDS = 1.0, 2.5
POINTS = 6  # of an equaliser, evenly spaced in log frequency
NEPERS = math.log(10) / 20  # a decibel
LOWPASSED = 0.2  # share of rows
LOWEST_CUTOFF = 3_000  # Hz
CUTOFF_WIDTH = 100  # Hz; the gain falls from 90 to 10 % over 440 Hz
# Equalisers ring for as long as their lowest step, of 90 Hz, is narrow; what wraps around a
# transform that is longer by this is below -90 dB.
EQUALISER_SECONDS = 0.2


def place(signal: Tensor, draw: Draw, *, reverb: float, decibels: float) -> Tensor:
    """Put a share of (rows, channels, time) into rooms, all through an equaliser; tails are cut.

    Its points lie within `decibels`, its tilt within twice as many; some rows pass a low-pass.
    """
    wanted = draw.rng.random((len(signal), 2)) < np.array([reverb, reverb / 3])  # tails, echoes
    placed, length = np.flatnonzero(wanted.any(axis=1)), signal.shape[2]
    plates = draw.rng.random(len(placed)) < draw.settings.plates
    seconds = PLATE_RESPONSE_SECONDS if plates.any() else RESPONSE_SECONDS
    tail = min(length, int(seconds * draw.sample_rate)) if len(placed) else 0
    size = transform_size(length + tail + int(EQUALISER_SECONDS * draw.sample_rate))
    spectrum = torch.fft.rfft(signal, size)
    spectrum *= _draw_curves(draw, signal, spectrum.shape[2], decibels)
    if len(placed):
        rows = draw.on(placed, signal)
        responses = room_responses(draw, signal[rows, :, :tail], wanted[placed], plates)
        spectrum.index_copy_(0, rows, torch.fft.rfft(responses, size).mul_(spectrum[rows]))
    through: Tensor = torch.fft.irfft(spectrum, size)[:, :, :length]
    return through


def room_responses(draw: Draw, like: Tensor, wanted: np.ndarray, plates: np.ndarray) -> Tensor:
    """Return impulse responses like `like`: a direct sound, tails, echoes where `wanted` (rows, 2).

    Each channel has a tail of its own; those of `plates` (rows,) are long.
    """
    rows, channels, length = like.shape
    decays = np.where(
        plates, *(draw.rng.uniform(*r, rows) for r in (PLATE_SECONDS, REVERB_SECONDS))
    )
    delays = draw.on(draw.uniform((0, REVERB_DELAY_SECONDS), rows), like)
    levels = draw.gains(draw.uniform(REVERB_LEVEL, rows), like)
    levels = levels * draw.on(wanted[:, :1, None], like)
    seconds = torch.arange(length, device=like.device) / draw.sample_rate
    seed = int(draw.rng.integers(1 << 62))
    tail = noise(rows, channels, length, seed=seed, device=like.device)
    tail *= torch.exp(seconds / draw.on(decays[:, None, None], like) * -math.log(1000))
    tail *= seconds >= delays
    tail *= levels / (tail.square().sum(dim=2, keepdim=True) + 1e-9).sqrt()
    repeats = np.arange(1, ECHOES + 1)
    gains = 10 ** (draw.uniform(ECHO_LEVEL, rows) / 20) * wanted[:, 1:, None]
    position = np.floor(draw.uniform(ECHO_SECONDS, rows) * draw.sample_rate).astype(int) * repeats
    gains = (gains**repeats * (position < length)).repeat(channels, axis=1)
    position = np.minimum(position, length - 1).repeat(channels, axis=1)
    tail.scatter_add_(2, draw.on(position, like), draw.on(gains, like))
    tail[:, :, 0] = 1
    return tail


def noise(*shape: int, seed: int, device: torch.device) -> Tensor:
    """Return white noise; what a seed gives depends on the kind of device."""
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(*shape, generator=generator, device=device)


def transform_size(least: int) -> int:
    """Return a number of at least `least` that is 8, 9, 10, 12 or 15 times a power of two."""
    power = 1 << max(0, (least - 1).bit_length() - 4)
    return next(step * power for step in (8, 9, 10, 12, 15, 16) if step * power >= least)


def _draw_curves(draw: Draw, like: Tensor, bins: int, decibels: float) -> Tensor:
    """Draw the gains (rows, 1, bins) of equalisers and low-passes over a linear frequency axis."""
    rows, highest = len(like), draw.sample_rate / 2
    points = draw.rng.uniform(-decibels, decibels, (rows, POINTS))
    points += draw.rng.uniform(-decibels, decibels, (rows, 1)) * np.linspace(-1, 1, POINTS)
    cutoffs = np.exp(draw.uniform((np.log(LOWEST_CUTOFF), np.log(highest)), rows))
    cutoffs = np.where(draw.rng.random((rows, 1, 1)) < LOWPASSED, cutoffs, 2 * highest)
    hertz = torch.linspace(0, highest, bins, device=like.device)
    lowpasses = torch.sigmoid((draw.on(cutoffs, like) - hertz) / CUTOFF_WIDTH)
    return equaliser_curves(draw.on(points, like), bins)[:, None] * lowpasses


def equaliser_curves(points: Tensor, bins: int) -> Tensor:
    """Return smooth gains (rows, bins) over a linear frequency axis through decibels at points."""
    axis = torch.linspace(1, 256, bins, device=points.device).log2() * ((POINTS - 1) / 8)
    place = torch.arange(POINTS, device=points.device)[:, None]
    hats = (1 - (axis - place).abs()).clamp(min=0)  # (POINTS, bins), linear interpolation
    return (points @ hats * NEPERS).exp_()
