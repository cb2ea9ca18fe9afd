"""The masking network: an encoder, dilated temporal blocks that estimate a mask, a decoder.

After Y. Luo, N. Mesgarani, "Conv-TasNet", IEEE/ACM TASLP 2019, in the form of HTMD-Net's slides.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from htmdsep.config import ConvTasNetConfig, HTMDNetConfig
from htmdsep.model.layers import PLAIN, Layers


class TemporalBlock(nn.Module):
    """1x1 expansion, dilated depthwise convolution, then a skip and a residual projection."""

    def __init__(
        self,
        config: HTMDNetConfig | ConvTasNetConfig,
        dilation: int,
        *,
        last: bool,
        layers: Layers = PLAIN,
    ) -> None:
        super().__init__()
        narrow, wide = config.bottleneck_channels, config.block_channels
        eps, momentum = config.batchnorm_eps, config.batchnorm_momentum
        self.expand = nn.Sequential(
            layers.pointwise(narrow, wide, 1),
            nn.LeakyReLU(config.leaky_slope),
            layers.norm(wide, eps, momentum),
        )
        self.depthwise = nn.Sequential(
            layers.depthwise(
                wide,
                wide,
                config.block_kernel,
                padding=dilation * (config.block_kernel // 2),
                dilation=dilation,
                groups=wide,
            ),
            nn.LeakyReLU(config.leaky_slope),
            layers.norm(wide, eps, momentum),
        )
        self.skip = layers.pointwise(wide, narrow, 1)
        self.residual = None if last else layers.pointwise(wide, narrow, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.depthwise(self.expand(features))  # (batch, wide, frames)
        if self.residual is not None:
            features = features + self.residual(hidden)
        return features, self.skip(hidden)  # both (batch, narrow, frames)


class MaskingNetwork(nn.Module):
    """Map a mixture (batch, 1, time) to the masked estimate of the vocals, of the same shape."""

    def __init__(self, config: HTMDNetConfig | ConvTasNetConfig, layers: Layers = PLAIN) -> None:
        super().__init__()
        channels, narrow = config.encoder_channels, config.bottleneck_channels
        kernel, stride = config.encoder_kernel, config.encoder_stride
        # "same": kernel - stride samples of padding in all, so frames = time / stride
        padding = (kernel - stride) // 2
        self.encoder = layers.encoder(1, channels, kernel, stride, padding)
        self.entry = nn.Sequential(
            layers.norm(channels, config.batchnorm_eps, config.batchnorm_momentum),
            layers.pointwise(channels, narrow, 1),
        )
        dilations = [2**block for block in range(config.blocks)] * config.repeats
        self.blocks = nn.ModuleList(
            TemporalBlock(config, dilation, last=index == len(dilations) - 1, layers=layers)
            for index, dilation in enumerate(dilations)
        )
        self.mask = nn.Sequential(
            nn.LeakyReLU(config.leaky_slope), layers.pointwise(narrow, channels, 1), nn.Sigmoid()
        )
        self.decoder = layers.decoder(channels, 1, kernel, stride, padding)

    def forward(self, mixture: Tensor) -> Tensor:
        encoded = self.encoder(mixture)  # (batch, channels, frames)
        features = self.entry(encoded)  # (batch, narrow, frames)
        skips = torch.zeros_like(features)
        for block in self.blocks:
            features, skip = block(features)
            skips = skips + skip
        masked: Tensor = self.decoder(encoded * self.mask(skips))
        return masked  # (batch, 1, time)
