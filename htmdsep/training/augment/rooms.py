"""Reverb, echo and equalisers, in one multiplication of spectra."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.draws import floats, gains, rows_where
from htmdsep.training.augment.timbre import draw_equalisers, equaliser_curves

REVERB_SECONDS = (0.15, 1.6)  # time to fall by 60 dB
REVERB_LEVEL = (-24.0, -4.0)  # dB of the tail against the direct sound
REVERB_DELAY_SECONDS = 0.03  # before the tail begins, at most
ECHO_SECONDS = (0.08, 0.45)
ECHO_LEVEL = (-22.0, -7.0)  # dB of the first repeat
ECHOES = 3
RESPONSE_SECONDS = 1.0
LOWEST_CUTOFF = 3_000  # Hz
CUTOFF_WIDTH = 100  # Hz; the gain falls from 90 to 10 % over 440 Hz
# Equalisers ring for as long as their lowest step, of 90 Hz, is narrow; what wraps around a
# transform that is longer by this is below -90 dB.
EQUALISER_SECONDS = 0.2


class Rooms(NamedTuple):
    """The rooms of `rows` (n,), which have a tail, echoes or both; the rest is (n, 1)."""

    rows: Tensor
    decays: Tensor  # s to fall by 60 dB
    delays: Tensor  # s before the tail begins
    levels: Tensor  # amplitude of the tail against the direct sound, perhaps 0
    echoes: Tensor  # amplitude of the first repeat, perhaps 0
    periods: Tensor  # s between repeats
    seed: int  # of the tails


class Placing(NamedTuple):
    """Where signals are put: `cutoffs` (rows, 1) in Hz of low-passes, `points` of equalisers."""

    rooms: Rooms
    points: Tensor
    cutoffs: Tensor


def draw_rooms(rng: np.random.Generator, rows: int, share: float) -> Rooms:
    """Draw a tail for a share of the rows, and echoes for a third of it."""
    wanted = rng.random((rows, 2)) < np.array([share, share / 3])
    placed = wanted[:, 0] | wanted[:, 1]
    shape = (int(placed.sum()), 1)
    return Rooms(
        rows_where(placed),
        floats(rng.uniform(*REVERB_SECONDS, shape)),
        floats(rng.uniform(0, REVERB_DELAY_SECONDS, shape)),
        gains(rng.uniform(*REVERB_LEVEL, shape)) * floats(wanted[placed, :1]),
        gains(rng.uniform(*ECHO_LEVEL, shape)) * floats(wanted[placed, 1:]),
        floats(rng.uniform(*ECHO_SECONDS, shape)),
        int(rng.integers(1 << 62)),
    )


def room_responses(rooms: Rooms, length: int, sample_rate: int) -> Tensor:
    """Return the rooms' impulse responses, (n, length): a direct sound, a tail, echoes."""
    seconds = torch.arange(length, device=rooms.decays.device) / sample_rate
    tail = noise(len(rooms.decays), length, rooms.seed, seconds.device)
    tail *= torch.exp(seconds / rooms.decays * -math.log(1000))
    tail *= seconds >= rooms.delays
    tail *= rooms.levels / (tail.square().sum(dim=1, keepdim=True) + 1e-9).sqrt()
    repeat = torch.arange(1, ECHOES + 1, device=seconds.device)
    position = (rooms.periods * sample_rate).long() * repeat
    within = position < length
    tail.scatter_add_(1, position.clamp(max=length - 1), within * rooms.echoes**repeat)
    tail[:, 0] = 1
    return tail


def noise(rows: int, length: int, seed: int, device: torch.device) -> Tensor:
    """Return white noise (rows, length); what a seed gives depends on the kind of device."""
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(rows, length, generator=generator, device=device)


def draw_placing(
    rng: np.random.Generator,
    rows: int,
    sample_rate: int,
    *,
    reverb_share: float,
    equaliser: tuple[float, float],
    lowpass_share: float,
) -> Placing:
    """Draw a place for each row; `equaliser` is (decibels, tilt)."""
    return Placing(
        draw_rooms(rng, rows, reverb_share),
        draw_equalisers(rng, rows, *equaliser),
        draw_lowpasses(rng, rows, sample_rate, lowpass_share),
    )


def place(signal: Tensor, placing: Placing, sample_rate: int) -> Tensor:
    """Put each row of (rows, time) into its room, through an equaliser and a low-pass.

    The result has the same shape; tails past it are dropped.
    """
    rooms, length = placing.rooms, signal.shape[1]
    response_length = min(length, int(RESPONSE_SECONDS * sample_rate))
    has_rooms = len(rooms.rows) > 0
    tail = response_length if has_rooms else 0
    size = _transform_size(length + tail + int(EQUALISER_SECONDS * sample_rate))
    spectrum = torch.fft.rfft(signal, size)
    bins = spectrum.shape[1]
    spectrum *= equaliser_curves(placing.points, bins).mul_(
        lowpass_curves(placing.cutoffs, bins, sample_rate)
    )
    if has_rooms:
        response = torch.fft.rfft(room_responses(rooms, response_length, sample_rate), size)
        spectrum.index_copy_(0, rooms.rows, response.mul_(spectrum[rooms.rows]))
    placed: Tensor = torch.fft.irfft(spectrum, size)[:, :length]
    return placed


def _transform_size(least: int) -> int:
    """Return a number of at least `least` that is 8, 9, 10, 12 or 15 times a power of two."""
    power = 1 << max(0, (least - 1).bit_length() - 4)
    return next(step * power for step in (8, 9, 10, 12, 15, 16) if step * power >= least)


def draw_lowpasses(rng: np.random.Generator, rows: int, sample_rate: int, share: float) -> Tensor:
    """Draw cut-offs (rows, 1) of 3 kHz or more in a share of the rows, elsewhere far too high."""
    highest = sample_rate / 2
    cutoffs = np.exp(rng.uniform(np.log(LOWEST_CUTOFF), np.log(highest), (rows, 1)))
    return floats(np.where(rng.random((rows, 1)) < share, cutoffs, 2 * highest))


def lowpass_curves(cutoffs: Tensor, bins: int, sample_rate: int) -> Tensor:
    """Return low-pass gains (rows, bins) over a linear frequency axis."""
    hertz = torch.linspace(0, sample_rate / 2, bins, device=cutoffs.device)
    return torch.sigmoid((cutoffs - hertz) / CUTOFF_WIDTH)
