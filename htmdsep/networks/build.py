"""The networks: HTMD-Net with either masking network, and the slides' two baselines."""

from __future__ import annotations

import torch
from torch import nn

from htmdsep.networks.config import NetworkConfig, WaveUNetConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.networks.waveunet import WaveUNet

Network = HTMDNet | WaveUNet


def build_network(config: NetworkConfig) -> Network:
    """Return a config's network, its weights drawn as by PyTorch."""
    return WaveUNet(config) if isinstance(config, WaveUNetConfig) else HTMDNet(config)


@torch.no_grad()
def initialise_like_keras(network: nn.Module, generator: torch.Generator) -> None:
    """Draw weights as Keras does: Glorot-uniform, recurrent orthogonal, forget gates at 1."""
    for module in network.modules():
        if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            assert module.bias is not None
            module.bias.zero_()
        elif isinstance(module, nn.LSTM):
            size = module.hidden_size
            for direction in ("", "_reverse"):
                kernel = getattr(module, f"weight_ih_l0{direction}")
                nn.init.xavier_uniform_(kernel[:, :-1], generator=generator)
                kernel[:, -1] = 0  # the bias: see AveragedBiLSTM
                kernel[size : 2 * size, -1] = 1
                recurrent = getattr(module, f"weight_hh_l0{direction}")
                nn.init.orthogonal_(recurrent, generator=generator)
