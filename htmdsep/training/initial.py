"""Where training starts from: weights as drawn, weights that begin transparent, or known ones."""

from __future__ import annotations

import math
from typing import Any

import torch

from htmdsep.errors import HtmdsepError
from htmdsep.networks.build import Network, initialise_like_keras
from htmdsep.networks.config import config_to_dict
from htmdsep.networks.htmdnet import DenoisingNetwork, HTMDNet, MaskingNetwork
from htmdsep.weights.catalogue import find_weights

# Parts of the config that no part of the weights depends on
FREE = {"segment_length", "input_level", "least_share"}


def draw_weights(network: Network, seed: int, *, like_keras: bool) -> None:
    """Draw weights as Keras does, or as PyTorch does but for what begins transparent."""
    if like_keras:
        initialise_like_keras(network, torch.Generator().manual_seed(seed))
        return
    masking = getattr(network, "masking", None)
    if isinstance(masking, MaskingNetwork):
        encode_frequencies(masking)
    if isinstance(network, HTMDNet) and network.denoising is not None:
        pass_masked_estimate(network.denoising)


@torch.no_grad()
def encode_frequencies(network: MaskingNetwork) -> None:
    """Let encoder and decoder begin as windowed cosines and sines that undo each other.

    Half of the channels are cosines at (k + 1/2) / channels of the sample rate, half the sines;
    their sum is `channels / 2` at lag 0 and 0 at every other lag below `channels`. Squared roots of
    a Hann window, `kernel / stride` to a frame, add up to `kernel / (2 stride)`. Where kernel and
    stride do not allow this, the weights stay as drawn.
    """
    encoder, decoder = network.encoder, network.decoder
    channels, kernel, stride = encoder.out_channels, encoder.kernel_size[0], encoder.stride[0]
    if channels % 2 or channels < kernel or kernel % stride or kernel < 2 * stride:
        return
    time = torch.arange(kernel, dtype=torch.float64) + 0.5
    window = torch.sin(math.pi * time / kernel)  # the root of a Hann window
    frequency = (torch.arange(channels // 2, dtype=torch.float64) + 0.5) / channels
    phase = 2 * math.pi * frequency[:, None] * time
    atoms = window * torch.cat([phase.cos(), phase.sin()])  # (channels, kernel)
    atoms = atoms / math.sqrt(channels / 2 * kernel / (2 * stride))
    for layer in (encoder, decoder):
        layer.weight.copy_(atoms[:, None])
        assert layer.bias is not None
        layer.bias.zero_()


@torch.no_grad()
def pass_masked_estimate(network: DenoisingNetwork) -> None:
    """Let HTMD-Net begin with its masked estimate, else let through after hundreds of steps."""
    output = network.output  # its last input channel is the masked estimate
    assert output.bias is not None
    output.weight.zero_()
    output.weight[0, -1, output.kernel_size[0] // 2] = 1
    output.bias.zero_()


def start_from(network: Network, weights: str) -> dict[str, Any]:
    """Give a network known weights, by name or file, and return where those come from."""
    located = find_weights(weights)
    known, info = located.load()
    wanted, found = config_to_dict(network.config), config_to_dict(info.config)
    odd = sorted(
        f"{name} {found.get(name)}, not {wanted.get(name)}"
        for name in (wanted.keys() | found.keys()) - FREE
        if wanted.get(name) != found.get(name)
    )
    if odd:
        raise HtmdsepError(
            f"the weights {weights} are of another network ({'; '.join(odd)}); start from others, "
            "or give --architecture, --encoder and --repeats to match"
        )
    network.load_state_dict(known.state_dict())
    return {
        "name": info.name,
        "sha256": located.hash(),
        "licence": info.licence,
        "provenance": info.provenance,
    }
