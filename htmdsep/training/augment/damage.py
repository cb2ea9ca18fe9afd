"""What recordings suffer: soft clipping and lossy codecs, on the mixture and its part alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.draws import floats, rows_where
from htmdsep.training.augment.frames import signal_of, spectra

HOP = 512
KEEP = (0.03, 0.4)  # share of the spectrum's bins that a codec keeps
CLIP_DRIVE = (0.5, 2.5)


class Damage(NamedTuple):
    """How hard each of `rows` (n,) is hit: `strengths` (n, 1)."""

    rows: Tensor
    strengths: Tensor


def draw_clipping(rng: np.random.Generator, rows: int, share: float) -> Damage:
    """Draw the drives of a share of the rows, against their peak."""
    return _draw(rng, rows, share, CLIP_DRIVE)


def draw_coding(rng: np.random.Generator, rows: int, share: float) -> Damage:
    """Draw the shares of bins that a codec keeps, in a share of the rows."""
    return _draw(rng, rows, share, KEEP)


def _draw(
    rng: np.random.Generator, rows: int, share: float, strengths: tuple[float, float]
) -> Damage:
    hit = rows_where(rng.random(rows) < share)
    return Damage(hit, floats(rng.uniform(*strengths, (len(hit), 1))))


def soft_clip(mixture: Tensor, vocals: Tensor, clipping: Damage) -> tuple[Tensor, Tensor]:
    """Saturate the rows of a mixture (rows, time).

    The vocals get the gain that the mixture got at each instant, so that they remain the part
    of it that they were.
    """
    rows = clipping.rows
    loud = mixture[rows]
    driven = loud * (clipping.strengths / (loud.abs().amax(dim=1, keepdim=True) + 1e-6))
    gain = torch.where(driven.abs() < 1e-4, 1.0, torch.tanh(driven) / driven)
    return (
        mixture.index_copy(0, rows, loud * gain),
        vocals.index_copy(0, rows, vocals[rows] * gain),
    )


def drop_weak_bins(mixture: Tensor, vocals: Tensor, coding: Damage) -> tuple[Tensor, Tensor]:
    """Keep only the rows' strongest time-frequency bins, as a lossy codec does.

    One mask, found on the mixture, is put on both signals (rows, time).
    """
    rows = coding.rows
    if not len(rows):
        return mixture, vocals
    spectrum = spectra(torch.cat([mixture[rows], vocals[rows]]), HOP)
    weight = spectrum[: len(rows)].abs()
    weight *= torch.linspace(1.0, 0.3, weight.shape[2], device=weight.device)  # highs go first
    ordered = weight.flatten(1).sort(dim=1).values
    dropped = ((1 - coding.strengths) * ordered.shape[1]).long()
    limit = ordered.gather(1, (dropped - 1).clamp(min=0))
    spectrum *= (weight > limit[:, :, None]).repeat(2, 1, 1)
    coded, part = signal_of(spectrum, HOP, mixture.shape[1]).chunk(2)
    return mixture.index_copy(0, rows, coded), vocals.index_copy(0, rows, part)
