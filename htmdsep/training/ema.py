"""An exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class MovingAverage:
    """Keep a copy of a network whose weights trail the original's."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network's weights; copy its batch-norm statistics.

        The decay starts low, (1 + n) / (10 + n), so that the first weights are soon forgotten.
        """
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        ours, theirs = list(self.network.parameters()), list(network.parameters())
        torch._foreach_lerp_(ours, [value.detach() for value in theirs], 1 - decay)
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            if buffer.is_floating_point():
                average.lerp_(buffer, 1 - decay)
            else:
                average.copy_(buffer)
