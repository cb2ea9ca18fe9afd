"""Synthesised signals, and networks small enough to be instant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from htmdsep.model import HTMDNet, HTMDNetConfig, NetworkOutput, initialise_like_keras
from htmdsep.weights import WeightsInfo, save_weights

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


class Scale(nn.Module):
    """A stand-in for a network: the estimate is the mixture times a factor."""

    def __init__(self, factor: float = 1.0, segment_length: int = 2048) -> None:
        super().__init__()
        self.config = HTMDNetConfig(segment_length=segment_length)
        self.factor = factor

    def forward(self, mixture: Tensor) -> NetworkOutput:
        return NetworkOutput(self.factor * mixture, None)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20_211)


@pytest.fixture
def tiny_network() -> HTMDNet:
    network = HTMDNet(TINY).eval()
    initialise_like_keras(network, torch.Generator().manual_seed(1))
    return network


@pytest.fixture
def tiny_weights(tmp_path: Path, tiny_network: HTMDNet) -> Path:
    path = tmp_path / "weights" / "tiny.safetensors"
    info = WeightsInfo("tiny", TINY, "CC0", {"data": "none"})
    save_weights(path, tiny_network, info, torch.float32)
    return path


def tone(frames: int, sample_rate: int, channels: int = 1, frequency: float = 440.0) -> np.ndarray:
    """A sine at half of full scale, each channel a little quieter than the one before."""
    wave = 0.5 * np.sin(2 * np.pi * frequency * np.arange(frames) / sample_rate)
    return (wave[:, None] * 0.9 ** np.arange(channels)).astype(np.float32)
