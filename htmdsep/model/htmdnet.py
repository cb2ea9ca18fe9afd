"""HTMD-Net, the hybrid masking-denoising network.

C. Garoufis, A. Zlatintsi, P. Maragos, "HTMD-Net: A Hybrid Masking-Denoising Approach to
Time-Domain Monaural Singing Voice Separation", EUSIPCO 2021.
"""

from __future__ import annotations

from torch import Tensor, nn

from htmdsep.config import HTMDNetConfig
from htmdsep.model.denoising import DenoisingNetwork
from htmdsep.model.layers import PLAIN, Layers
from htmdsep.model.masking import MaskingNetwork
from htmdsep.model.output import NetworkOutput


class HTMDNet(nn.Module):
    """Estimate the vocals of a mono mixture at `config.sample_rate`.

    The mixture is (batch, 1, time), its time a multiple of `config.length_multiple`; both outputs
    have the same shape. The masked estimate is the second probe point of deep supervision.
    """

    def __init__(self, config: HTMDNetConfig, layers: Layers = PLAIN) -> None:
        super().__init__()
        self.config = config
        self.masking = MaskingNetwork(config, layers)
        self.denoising = DenoisingNetwork(config)

    def forward(self, mixture: Tensor) -> NetworkOutput:
        masked_estimate = self.masking(mixture)
        return NetworkOutput(self.denoising(masked_estimate), masked_estimate)
