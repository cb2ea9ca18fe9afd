"""Losses at the two probe points, and the slides' six variants by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from htmdsep.model import NetworkOutput

Distance = Literal["mse", "mae"]


@dataclass(frozen=True)
class LossSettings:
    """beta * d(masked estimate) + alpha * d(estimate) + spectral * spectral distance."""

    masked: Distance | None  # None: no loss at the first probe point
    beta: float
    final: Distance
    alpha: float
    spectral: float = 0.0  # weight of `spectral_distance` at the output
    balanced: float = 0.0  # 0: as it is; 1: distances divided by each mixture's RMS


# Variant names and weights: the slides' loss table.
VARIANTS = {
    "mse-mse": LossSettings("mse", 0.5, "mse", 1.0),
    "mae-mae": LossSettings("mae", 0.5, "mae", 1.0),
    "mae-mse": LossSettings("mae", 0.05, "mse", 1.0),
    "mse-mae": LossSettings("mse", 1.0, "mae", 0.1),
    "mse": LossSettings(None, 0.0, "mse", 1.0),
    "mae": LossSettings(None, 0.0, "mae", 1.0),
}
FRAMES = (512, 1024, 2048)  # samples, of the spectral distance
COMPRESSION = 0.5  # exponent of magnitudes, so that quiet partials count


def distance(kind: Distance, estimate: Tensor, target: Tensor) -> Tensor:
    """Return the mean distance of each row of (batch, 1, time), as (batch,)."""
    difference = estimate.float() - target
    values = difference.square() if kind == "mse" else difference.abs()
    return values.mean(dim=(1, 2))


def spectral_distance(estimate: Tensor, target: Tensor, frames: Sequence[int] = FRAMES) -> Tensor:
    """Return the mean L1 distance of compressed magnitudes of each row, as (batch,).

    The magnitudes are those of short-time spectra with several frame lengths.
    """
    both = torch.cat([estimate.float(), target])[:, 0]
    total = torch.zeros(len(target), device=target.device)
    for frame in frames:
        window = torch.hann_window(frame, device=target.device)
        spectrum = torch.stft(
            both, frame, frame // 2, window=window, normalized=True, return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        magnitude = (power + 1e-8) ** (COMPRESSION / 2)
        ours, wanted = magnitude.chunk(2)
        total = total + (ours - wanted).abs().mean(dim=(1, 2))
    return total / len(frames)


@dataclass(frozen=True)
class Losses:
    """The total to descend, and its parts before weighing; scalars."""

    total: Tensor
    final: Tensor
    masked: Tensor


def supervise(
    output: NetworkOutput, mixture: Tensor, vocals: Tensor, settings: LossSettings
) -> Losses:
    """Compare both probe points with the vocals, all (batch, 1, time)."""
    scale = mixture.square().mean(dim=(1, 2)).sqrt().clamp(min=1e-3) ** settings.balanced
    final = distance(settings.final, output.estimate, vocals)
    total = settings.alpha * final / scale
    masked = torch.zeros_like(final)
    if output.masked_estimate is not None:
        masked = distance(settings.masked or settings.final, output.masked_estimate, vocals)
        if settings.masked is not None:
            total = total + settings.beta * masked / scale
    if settings.spectral:
        weight = settings.spectral / scale**COMPRESSION if settings.balanced else settings.spectral
        total = total + weight * spectral_distance(output.estimate, vocals)
    return Losses(total.mean(), final.mean().detach(), masked.mean().detach())
