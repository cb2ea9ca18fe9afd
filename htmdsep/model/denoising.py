"""The denoising network: a Wave-U-Net-like encoder and decoder around a bidirectional LSTM.

After D. Stoller, S. Ewert, S. Dixon, "Wave-U-Net", ISMIR 2018, in the form of HTMD-Net's slides.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htmdsep.config import HTMDNetConfig, SpectralConfig
from htmdsep.model.lstm import AveragedBiLSTM


class DenoisingNetwork(nn.Module):
    """Map a masked estimate (batch, 1, time) to the final estimate, of the same shape."""

    def __init__(self, config: HTMDNetConfig | SpectralConfig) -> None:
        super().__init__()
        widths = [config.denoiser_channels * (level + 1) for level in range(config.denoiser_levels)]
        self.down = nn.ModuleList(
            _convolution(before, width, config.down_kernel if level else config.first_kernel)
            for level, (before, width) in enumerate(zip([1, *widths], widths, strict=False))
        )
        sizes = [widths[-1]] + [config.lstm_size] * config.lstm_layers
        self.bottleneck = nn.Sequential(
            *(
                AveragedBiLSTM(
                    size, config.lstm_size, config.activation, config.recurrent_activation
                )
                for size in sizes[:-1]
            )
        )
        below = [*widths[1:], config.lstm_size]  # channels that come up from the level below
        self.up = nn.ModuleList(
            _convolution(below[level] + widths[level], widths[level], config.up_kernel)
            for level in reversed(range(config.denoiser_levels))
        )
        self.output = _convolution(widths[0] + 1, 1, config.up_kernel)
        self.leaky = nn.LeakyReLU(config.leaky_slope)

    def forward(self, masked_estimate: Tensor) -> Tensor:
        hidden = masked_estimate
        skips = []
        for down in self.down:
            skips.append(self.leaky(down(hidden)))
            hidden = F.avg_pool1d(skips[-1], 2)
        sequence = self.bottleneck(hidden.transpose(1, 2))  # (batch, time / 2**levels, lstm_size)
        hidden = self.leaky(sequence.transpose(1, 2))  # (batch, lstm_size, time / 2**levels)
        for up in self.up:
            hidden = F.interpolate(hidden, scale_factor=2, mode="nearest")
            hidden = self.leaky(up(torch.cat([hidden, skips.pop()], dim=1)))
        output = self.output(torch.cat([hidden, masked_estimate], dim=1))
        return torch.tanh(output)  # (batch, 1, time)


def _convolution(before: int, after: int, kernel: int) -> nn.Conv1d:
    return nn.Conv1d(before, after, kernel, padding=kernel // 2)
