"""Chopped vocals: slices of a voice struck again and again on a grid, as electronic music does."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.draws import floats, rows_where

STEP_SECONDS = (0.06, 0.3)  # between strikes
EDGE_SECONDS = 0.003  # of a slice's fades: strikes are abrupt
SLICES = 4  # that a row has at most
REST = 0.3  # share of the strikes that are left out
LASTING = (0.4, 1.0)  # of its step that a slice sounds


class Chops(NamedTuple):
    """Which rows (n,) are chopped, and how; a strike plays the slice that starts there."""

    rows: Tensor
    steps: Tensor  # (n, 1), samples between strikes
    starts: Tensor  # (n, strikes), samples
    loudness: Tensor  # (n, strikes), 0 at rests
    lasting: Tensor  # (n, 1), samples that a slice sounds
    spans: Tensor  # (n, 2), samples from where to where; the rest is sung as it was


def draw_chops(
    rng: np.random.Generator, wanted: np.ndarray, length: int, sample_rate: int
) -> Chops:
    """Draw grids of `length` samples for the rows that are `wanted` (rows,)."""
    count = int(wanted.sum())
    low, high = np.log(STEP_SECONDS)
    steps = (np.exp(rng.uniform(low, high, (count, 1))) * sample_rate).astype(np.int64)
    strikes = length // int(STEP_SECONDS[0] * sample_rate) + 2  # steps are rounded down
    slices = (rng.uniform(0, 1, (count, SLICES)) * np.maximum(length - steps, 1)).astype(np.int64)
    kinds = 1 + (rng.random((count, 1)) * SLICES).astype(np.int64)
    order = (rng.random((count, strikes)) * kinds).astype(np.int64)
    spans = np.sort(rng.uniform(-0.5, 1.5, (count, 2)).clip(0, 1), axis=1) * length
    return Chops(
        rows_where(wanted),
        torch.from_numpy(steps),
        torch.from_numpy(np.take_along_axis(slices, order, axis=1)),
        floats(rng.uniform(0.5, 1.0, (count, strikes)) * (rng.random((count, strikes)) > REST)),
        floats(steps * rng.uniform(*LASTING, (count, 1))),
        floats(spans),
    )


def chop(signal: Tensor, chops: Chops, sample_rate: int) -> Tensor:
    """Return (rows, time) with the chopped rows struck anew from their own slices."""
    if not len(chops.rows):
        return signal
    whole = signal[chops.rows]  # (n, time)
    time = torch.arange(signal.shape[1], device=signal.device)
    strike = time // chops.steps
    since = time - strike * chops.steps  # (n, time), samples since the strike
    index = (chops.starts.gather(1, strike) + since).clamp_(max=signal.shape[1] - 1)
    edge = EDGE_SECONDS * sample_rate
    fade = torch.minimum(since, chops.lasting - since).div_(edge).clamp_(0, 1)
    struck = whole.gather(1, index) * fade * chops.loudness.gather(1, strike)
    first, end = chops.spans[:, :1], chops.spans[:, 1:]
    inside = torch.minimum(time - first, end - time).div_(edge).clamp_(0, 1)
    return signal.index_copy(0, chops.rows, torch.lerp(whole, struck, inside))
