"""Losses at the two probe points, and the slides' six variants by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from htmdsep.networks.htmdnet import NetworkOutput

Distance = Literal["mse", "mae", "ratio"]
RATIO_FLOOR = 1e-2  # of the mixture's power: no gain beyond 20 dB, also in voiceless rows
POWER_FLOOR = 1e-8  # mean square, of digital silence


@dataclass(frozen=True)
class LossSettings:
    """beta * distance at the masked estimate + alpha * distance at the estimate."""

    masked: Distance | None  # None: no loss at the first probe point
    beta: float
    final: Distance
    alpha: float


# Variant names and weights: the slides' loss table.
VARIANTS = {
    "mse-mse": LossSettings("mse", 0.5, "mse", 1.0),
    "mae-mae": LossSettings("mae", 0.5, "mae", 1.0),
    "mae-mse": LossSettings("mae", 0.05, "mse", 1.0),
    "mse-mae": LossSettings("mse", 1.0, "mae", 0.1),
    "mse": LossSettings(None, 0.0, "mse", 1.0),
    "mae": LossSettings(None, 0.0, "mae", 1.0),
}
# Ours: what SDR measures, so that quiet and loud, easy and hard mixtures count alike.
RATIO = LossSettings("ratio", 0.5, "ratio", 1.0)


def distance(kind: Distance, estimate: Tensor, target: Tensor, mixture: Tensor) -> Tensor:
    """Return rows' distances, (batch,); `ratio` is log10 of error power over mixture power."""
    difference = estimate.float() - target
    if kind == "mae":
        return difference.abs().mean(dim=(1, 2))
    power = difference.square().mean(dim=(1, 2))
    if kind == "mse":
        return power
    whole = mixture.square().mean(dim=(1, 2)) + POWER_FLOOR
    return torch.log10(power / whole + RATIO_FLOOR)


class Losses(NamedTuple):
    """The total to descend, and its parts before weighing, called as in the log; scalars."""

    loss: Tensor
    final_loss: Tensor
    masked_loss: Tensor


def supervise(
    output: NetworkOutput, mixture: Tensor, vocals: Tensor, settings: LossSettings
) -> Losses:
    """Compare both probe points with the vocals, all (batch, 1, time)."""
    final = distance(settings.final, output.estimate, vocals, mixture).mean()
    total = settings.alpha * final
    masked = torch.zeros_like(final)
    if output.masked_estimate is not None:
        kind = settings.masked or settings.final
        masked = distance(kind, output.masked_estimate, vocals, mixture).mean()
        if settings.masked is not None:
            total = total + settings.beta * masked
    return Losses(total, final.detach(), masked.detach())
