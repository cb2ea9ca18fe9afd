"""Silences in a voice, with faded edges."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.draws import floats, rows_where

FADE_SECONDS = 0.02
GAP_SECONDS = (0.1, 1.2)


class Gaps(NamedTuple):
    """One or two gaps in each of `rows` (n,), in seconds; an unwanted one is of negative length."""

    rows: Tensor
    middles: Tensor  # (n, 2)
    halves: Tensor  # (n, 2), half of their lengths


def draw_gaps(rng: np.random.Generator, rows: int, seconds: float, share: float) -> Gaps:
    """Draw a gap within `seconds` for a share of the rows, and for a third of it another."""
    wanted = rng.random((rows, 2)) < np.array([share, share / 3])
    holed = wanted[:, 0] | wanted[:, 1]
    middles = rng.uniform(0, seconds, (int(holed.sum()), 2))
    halves = rng.uniform(*GAP_SECONDS, middles.shape) / 2
    halves = np.where(wanted[holed], halves, -1.0)
    return Gaps(rows_where(holed), floats(middles), floats(halves))


def gap_gains(gaps: Gaps, length: int, sample_rate: int) -> Tensor:
    """Return the gains of the rows that have gaps, (n, length), in 0..1."""
    seconds = torch.arange(length, device=gaps.middles.device) / sample_rate
    gains = seconds.new_ones(len(gaps.middles), length)
    for number in range(gaps.middles.shape[1]):
        gap = slice(number, number + 1)
        outside = ((seconds - gaps.middles[:, gap]).abs() - gaps.halves[:, gap]) / FADE_SECONDS
        gains *= 0.5 - 0.5 * torch.cos(torch.pi * outside.clamp(0, 1))
    return gains


def silence(signal: Tensor, gaps: Gaps, sample_rate: int) -> Tensor:
    """Return (rows, time) with the gaps in it."""
    gains = gap_gains(gaps, signal.shape[1], sample_rate)
    return signal.index_copy(0, gaps.rows, signal[gaps.rows] * gains)
