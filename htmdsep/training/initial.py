"""Where training starts from."""

from __future__ import annotations

import torch

from htmdsep.model import HTMDNet, Network, initialise_like_keras

OTHERS = 0.1  # what remains of the last convolution's other weights


def draw_weights(network: Network, seed: int, *, like_keras: bool) -> None:
    """Draw a network's weights as Keras does, or as PyTorch does with its last layer passing."""
    if like_keras:
        initialise_like_keras(network, torch.Generator().manual_seed(seed))
    elif isinstance(network, HTMDNet):
        pass_masked_estimate(network)


@torch.no_grad()
def pass_masked_estimate(network: HTMDNet) -> None:
    """Let HTMD-Net begin with its masked estimate as its estimate.

    Otherwise the weight that lets it pass must grow from about 0 to 1, by no more than the
    learning rate a step: after 217 steps at 1e-3 the estimate had a tenth of its level (measured).
    """
    output = network.denoising.output  # its last input channel is the masked estimate
    assert output.bias is not None
    output.weight.mul_(OTHERS)
    output.weight[0, -1, output.kernel_size[0] // 2] = 1
    output.bias.zero_()
