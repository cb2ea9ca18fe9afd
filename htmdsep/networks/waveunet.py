"""Wave-U-Net, after D. Stoller, S. Ewert, S. Dixon, "Wave-U-Net", ISMIR 2018 (variant M4's sizes).

Decimation keeps every second sample and linear interpolation puts the kept samples back where
they were, so skip connections and upsampled features stay aligned.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from htmdsep.networks.config import WaveUNetConfig
from htmdsep.networks.htmdnet import NetworkOutput


class WaveUNet(nn.Module):
    """Estimate the vocals of a mono mixture, (batch, 1, time) to the same shape."""

    def __init__(self, config: WaveUNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels * (level + 1) for level in range(config.levels + 1)]
        down_padding, up_padding = config.down_kernel // 2, config.up_kernel // 2
        # The last of these is the bottleneck, which is not decimated again.
        self.down = nn.ModuleList(
            nn.Conv1d(before, after, config.down_kernel, padding=down_padding)
            for before, after in zip([1, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            nn.Conv1d(
                widths[level + 1] + widths[level],
                widths[level],
                config.up_kernel,
                padding=up_padding,
            )
            for level in reversed(range(config.levels))
        )
        self.output = nn.Conv1d(widths[0] + 1, 1, 1)
        self.leaky = nn.LeakyReLU(config.leaky_slope)

    def forward(self, mixture: Tensor) -> NetworkOutput:
        hidden = self.leaky(self.down[0](mixture))
        skips = []
        for down in self.down[1:]:
            skips.append(hidden)
            hidden = self.leaky(down(hidden[:, :, ::2]))
        for up in self.up:
            hidden = torch.cat([_double(hidden), skips.pop()], dim=1)
            hidden = self.leaky(up(hidden))
        output = self.output(torch.cat([hidden, mixture], dim=1))
        return NetworkOutput(torch.tanh(output), None)


def _double(features: Tensor) -> Tensor:
    """Interpolate linearly to twice the length; even outputs are the inputs themselves."""
    following = torch.cat([features[:, :, 1:], features[:, :, -1:]], dim=2)
    between = (features + following) / 2
    return torch.stack([features, between], dim=3).flatten(2)  # (batch, channels, 2 * time)
