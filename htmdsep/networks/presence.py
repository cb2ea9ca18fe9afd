"""Masks that fall where nobody sings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PRESENCE_SECONDS = 0.5  # over which it is told whether anybody sings


def presence(powers: Tensor, kept: Tensor, least_share: float, frames_a_second: float) -> Tensor:
    """Return factors for masks: 1, but less where hardly any of the mixture is kept as a voice.

    `powers` are the mixture's, `kept` what masks keep of them, all (batch, frames). What a network
    lets through all the time, however little, is what is heard of it where nobody sings: 11 dB less
    of that leaves voices 12 dB under the music as they are, and takes from those that are 18 dB
    under it as much as their faults are (docs/recipe.md).
    """
    around = round(PRESENCE_SECONDS / 2 * frames_a_second)
    both = torch.stack([powers, kept], dim=1)  # (batch, 2, frames)
    whole, kept = F.avg_pool1d(both, 2 * around + 1, 1, around).unbind(dim=1)
    share = kept / (whole + 1e-9)
    return (share / least_share).clamp(max=1)
