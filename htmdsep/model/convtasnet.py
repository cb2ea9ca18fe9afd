"""Conv-TasNet*, the slides' reimplementation of Conv-TasNet with batch norm and LeakyReLU."""

from __future__ import annotations

from torch import Tensor, nn

from htmdsep.config import ConvTasNetConfig
from htmdsep.model.layers import PLAIN, Layers
from htmdsep.model.masking import MaskingNetwork
from htmdsep.model.output import NetworkOutput


class ConvTasNet(nn.Module):
    """Estimate the vocals of a mono mixture, (batch, 1, time) to the same shape."""

    def __init__(self, config: ConvTasNetConfig, layers: Layers = PLAIN) -> None:
        super().__init__()
        self.config = config
        self.masking = MaskingNetwork(config, layers)

    def forward(self, mixture: Tensor) -> NetworkOutput:
        return NetworkOutput(self.masking(mixture), None)
