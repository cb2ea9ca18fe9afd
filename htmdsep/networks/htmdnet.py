"""HTMD-Net, the hybrid masking-denoising network.

C. Garoufis, A. Zlatintsi, P. Maragos, "HTMD-Net: A Hybrid Masking-Denoising Approach to
Time-Domain Monaural Singing Voice Separation", EUSIPCO 2021.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htmdsep.networks.config import (
    Activation,
    ConvTasNetConfig,
    HTMDNetConfig,
    RecurrentActivation,
    SpectralConfig,
)
from htmdsep.networks.presence import presence
from htmdsep.networks.spectral import SpectralMasking


class NetworkOutput(NamedTuple):
    """The vocals estimate, and what else a network knows of it; all (batch, channels, time)."""

    estimate: Tensor
    masked_estimate: Tensor | None = None  # None where nothing comes after the masks
    high_gain: Tensor | None = None  # share of the mixture above the network's band, 0 to 1


class TemporalBlock(nn.Module):
    """1x1 expansion, dilated depthwise convolution, then a skip and a residual projection."""

    def __init__(
        self, config: HTMDNetConfig | ConvTasNetConfig, dilation: int, *, last: bool
    ) -> None:
        super().__init__()
        narrow, wide = config.bottleneck_channels, config.block_channels
        eps, momentum = config.batchnorm_eps, config.batchnorm_momentum
        self.expand = nn.Sequential(
            nn.Conv1d(narrow, wide, 1),
            nn.LeakyReLU(config.leaky_slope),
            nn.BatchNorm1d(wide, eps, momentum),
        )
        self.depthwise = nn.Sequential(
            nn.Conv1d(
                wide,
                wide,
                config.block_kernel,
                padding=dilation * (config.block_kernel // 2),
                dilation=dilation,
                groups=wide,
            ),
            nn.LeakyReLU(config.leaky_slope),
            nn.BatchNorm1d(wide, eps, momentum),
        )
        self.skip = nn.Conv1d(wide, narrow, 1)
        self.residual = None if last else nn.Conv1d(wide, narrow, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.depthwise(self.expand(features))  # (batch, wide, frames)
        if self.residual is not None:
            features = features + self.residual(hidden)
        return features, self.skip(hidden)  # both (batch, narrow, frames)


class MaskingNetwork(nn.Module):
    """Map a mixture (batch, 1, time) to the masked estimate of the vocals, of the same shape."""

    def __init__(self, config: HTMDNetConfig | ConvTasNetConfig) -> None:
        super().__init__()
        self.config = config
        channels, narrow = config.encoder_channels, config.bottleneck_channels
        kernel, stride = config.encoder_kernel, config.encoder_stride
        # "same": kernel - stride samples of padding in all, so frames = time / stride
        padding = (kernel - stride) // 2
        self.encoder = nn.Conv1d(1, channels, kernel, stride, padding)
        self.entry = nn.Sequential(
            nn.BatchNorm1d(channels, config.batchnorm_eps, config.batchnorm_momentum),
            nn.Conv1d(channels, narrow, 1),
        )
        dilations = [2**block for block in range(config.blocks)] * config.repeats
        self.blocks = nn.ModuleList(
            TemporalBlock(config, dilation, last=index == len(dilations) - 1)
            for index, dilation in enumerate(dilations)
        )
        self.mask = nn.Sequential(
            nn.LeakyReLU(config.leaky_slope), nn.Conv1d(narrow, channels, 1), nn.Sigmoid()
        )
        self.decoder = nn.ConvTranspose1d(channels, 1, kernel, stride, padding)

    def forward(self, mixture: Tensor) -> Tensor:
        encoded = self.encoder(mixture)  # (batch, channels, frames)
        features = self.entry(encoded)  # (batch, narrow, frames)
        skips = torch.zeros_like(features)
        for block in self.blocks:
            features, skip = block(features)
            skips = skips + skip
        mask = self.mask(skips)  # (batch, channels, frames)
        if self.config.least_share:
            mask = mask * self._presence(encoded, mask)
        masked: Tensor = self.decoder(encoded * mask)
        return masked  # (batch, 1, time)

    def _presence(self, encoded: Tensor, mask: Tensor) -> Tensor:
        """Return factors for a mask, (batch, 1, frames)."""
        config = self.config
        sums = encoded.square().sum(dim=1), (encoded * mask).square().sum(dim=1)
        rate = config.sample_rate / config.encoder_stride
        return presence(*sums, config.least_share, rate)[:, None]


class AveragedBiLSTM(nn.Module):
    """Map (batch, time, input_size) to (batch, time, size), the mean of both directions.

    With tanh and sigmoid this is PyTorch's own kernel. The published networks instead leave
    candidate and output linear, and gate with Keras's sigmoid or hard sigmoid.
    """

    def __init__(
        self,
        input_size: int,
        size: int,
        activation: Activation = "tanh",
        recurrent_activation: RecurrentActivation = "sigmoid",
    ) -> None:
        super().__init__()
        self.activation = activation
        self.recurrent_activation = recurrent_activation
        # Keras has one bias a gate, nn.LSTM two. Here a constant 1 is appended to the input, and
        # the last column of its weights is that one bias.
        self.lstm = nn.LSTM(input_size + 1, size, bias=False, batch_first=True, bidirectional=True)

    def forward(self, sequence: Tensor) -> Tensor:
        sequence = F.pad(sequence, (0, 1), value=1.0)  # (batch, time, input_size + 1)
        if self.activation == "tanh" and self.recurrent_activation == "sigmoid":
            forward, backward = self.lstm(sequence)[0].chunk(2, dim=2)
        else:
            forward = self._run(sequence, reverse=False)
            backward = self._run(sequence.flip(1), reverse=True).flip(1)
        mean: Tensor = (forward + backward) / 2  # (batch, time, size)
        return mean

    def _run(self, sequence: Tensor, *, reverse: bool) -> Tensor:
        """Run one direction, step by step; gates in the order i, f, candidate, o."""
        input_weight, hidden_weight = self.lstm.all_weights[int(reverse)]
        activate = torch.tanh if self.activation == "tanh" else nn.Identity()
        gate = torch.sigmoid if self.recurrent_activation == "sigmoid" else keras_hard_sigmoid
        projected = F.linear(sequence, input_weight)  # (batch, time, 4 * size)
        hidden = projected.new_zeros(projected.shape[0], hidden_weight.shape[1])
        cell = torch.zeros_like(hidden)
        outputs = []
        for step in projected.unbind(1):
            gates = step + F.linear(hidden, hidden_weight)
            input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=1)
            cell = gate(forget_gate) * cell + gate(input_gate) * activate(candidate)
            hidden = gate(output_gate) * activate(cell)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1)  # (batch, time, size)


def keras_hard_sigmoid(value: Tensor) -> Tensor:
    """Keras 2's hard sigmoid, clip(0.2 x + 0.5, 0, 1); PyTorch's has slope 1/6."""
    return torch.clamp(0.2 * value + 0.5, 0.0, 1.0)


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


class HTMDNet(nn.Module):
    """Estimate the vocals of a mixture at `config.sample_rate` by masking, then denoising if any.

    The masking network is of either kind, on waveforms or on spectra; Conv-TasNet* is the first
    alone. The mixture is (batch, config.input_channels, time), its time a multiple of
    `config.length_multiple`; all outputs have its shape. The masked estimate is the second probe
    point of deep supervision, there where a denoising network follows.
    """

    def __init__(self, config: HTMDNetConfig | ConvTasNetConfig | SpectralConfig) -> None:
        super().__init__()
        self.config = config
        self.masking: Any  # MaskingNetwork or SpectralMasking
        if isinstance(config, SpectralConfig):
            self.masking = SpectralMasking(config)
        else:
            self.masking = MaskingNetwork(config)
        self.denoising: DenoisingNetwork | None = None
        if not isinstance(config, ConvTasNetConfig) and config.denoiser_levels:
            self.denoising = DenoisingNetwork(config)

    def forward(self, mixture: Tensor) -> NetworkOutput:
        if isinstance(self.masking, SpectralMasking):
            masked, high_gain = self.masking(mixture)
        else:
            masked, high_gain = self.masking(mixture), None
        if self.denoising is None:
            return NetworkOutput(masked, None, high_gain)
        rows = masked.reshape(-1, 1, masked.shape[-1])  # every channel is denoised by itself
        return NetworkOutput(self.denoising(rows).reshape(masked.shape), masked, high_gain)
