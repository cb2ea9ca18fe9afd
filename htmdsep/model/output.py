"""What every network returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class NetworkOutput(NamedTuple):
    """The vocals estimate, and the masked estimate where the network has that probe point."""

    estimate: Tensor  # (batch, 1, time)
    masked_estimate: Tensor | None  # (batch, 1, time); None for the two baselines
