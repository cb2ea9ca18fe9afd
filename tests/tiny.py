"""Networks small enough to be instant."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from htmdsep.networks.config import HTMDNetConfig, SpectralConfig
from htmdsep.networks.htmdnet import HTMDNet, NetworkOutput

TINY = HTMDNetConfig(
    segment_length=2048,
    encoder_channels=8,
    encoder_kernel=16,
    encoder_stride=8,
    bottleneck_channels=4,
    block_channels=8,
    blocks=2,
    denoiser_levels=4,
    denoiser_channels=2,
    lstm_size=4,
)
TINY_SPECTRAL = SpectralConfig(
    segment_length=2048,
    input_level=-16.0,
    window_length=256,
    hop_length=64,
    bins=128,
    widths=(2, 3, 4),
    magnitude_scale=1.0,
)


class Scale(nn.Module):
    """A stand-in for a network: the estimate is the mixture times a factor."""

    def __init__(self, factor: float = 1.0, segment_length: int = 2048) -> None:
        super().__init__()
        self.config = HTMDNetConfig(segment_length=segment_length)
        self.factor = factor

    def forward(self, mixture: Tensor) -> NetworkOutput:
        return NetworkOutput(self.factor * mixture, None)


def scale(factor: float = 1.0) -> HTMDNet:
    """Return a `Scale` where a network is wanted."""
    return cast(HTMDNet, Scale(factor))
