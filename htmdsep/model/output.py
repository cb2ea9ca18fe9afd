"""What every network returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class NetworkOutput(NamedTuple):
    """The vocals estimate, and what else a network knows of it; all (batch, channels, time)."""

    estimate: Tensor
    masked_estimate: Tensor | None = None  # None where nothing comes after the masks
    high_gain: Tensor | None = None  # share of the mixture above the network's band, 0 to 1
