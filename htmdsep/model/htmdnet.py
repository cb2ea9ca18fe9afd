"""HTMD-Net, the hybrid masking-denoising network.

C. Garoufis, A. Zlatintsi, P. Maragos, "HTMD-Net: A Hybrid Masking-Denoising Approach to
Time-Domain Monaural Singing Voice Separation", EUSIPCO 2021.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from htmdsep.config import HTMDNetConfig, SpectralConfig
from htmdsep.model.denoising import DenoisingNetwork
from htmdsep.model.layers import PLAIN, Layers
from htmdsep.model.masking import MaskingNetwork
from htmdsep.model.output import NetworkOutput
from htmdsep.model.spectral import SpectralMasking


class HTMDNet(nn.Module):
    """Estimate the vocals of a mixture at `config.sample_rate` by masking, then denoising if any.

    The masking network is of either kind, on waveforms or on spectra. The mixture is (batch,
    config.input_channels, time), its time a multiple of `config.length_multiple`; all outputs have
    its shape. The masked estimate is the second probe point of deep supervision, there where a
    denoising network follows.
    """

    def __init__(self, config: HTMDNetConfig | SpectralConfig, layers: Layers = PLAIN) -> None:
        super().__init__()
        self.config = config
        self.masking: Any  # MaskingNetwork or SpectralMasking
        if isinstance(config, SpectralConfig):
            self.masking = SpectralMasking(config)
        else:
            self.masking = MaskingNetwork(config, layers)
        self.denoising = DenoisingNetwork(config) if config.denoiser_levels else None

    def forward(self, mixture: Tensor) -> NetworkOutput:
        masked, high_gain = self.masking(mixture), None
        if isinstance(self.masking, SpectralMasking):
            masked, high_gain = masked
        if self.denoising is None:
            return NetworkOutput(masked, None, high_gain)
        rows = masked.reshape(-1, 1, masked.shape[-1])  # every channel is denoised by itself
        return NetworkOutput(self.denoising(rows).reshape(masked.shape), masked, high_gain)
