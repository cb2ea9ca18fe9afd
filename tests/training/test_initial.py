from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from htmdsep.networks.config import WaveUNetConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.networks.waveunet import WaveUNet
from htmdsep.training.initial import draw_weights, encode_frequencies
from tests.training.conftest import TINY


def test_our_htmdnet_begins_with_its_masked_estimate() -> None:
    network = HTMDNet(TINY)
    mixture = torch.randn(2, 1, 4096) / 10
    draw_weights(network, 0, like_keras=False)
    output = network(mixture)
    assert output.masked_estimate is not None
    torch.testing.assert_close(output.estimate, torch.tanh(output.masked_estimate))


@pytest.mark.parametrize(("channels", "kernel", "stride"), [(64, 16, 8), (64, 64, 16), (64, 48, 8)])
def test_our_masking_network_begins_transparent(channels: int, kernel: int, stride: int) -> None:
    config = replace(TINY, encoder_channels=channels, encoder_kernel=kernel, encoder_stride=stride)
    masking = HTMDNet(config).masking
    encode_frequencies(masking)
    mixture = torch.randn(2, 1, 4096)
    with torch.no_grad():
        unmasked = masking.decoder(masking.encoder(mixture))
    assert unmasked.shape == mixture.shape
    inner = slice(kernel, -kernel)
    torch.testing.assert_close(unmasked[..., inner], mixture[..., inner], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("channels", "kernel", "stride"), [(8, 16, 8), (32, 16, 12), (33, 16, 8)])
def test_encoders_that_cannot_be_transparent_stay_as_drawn(
    channels: int, kernel: int, stride: int
) -> None:
    config = replace(
        TINY,
        segment_length=4096 * 3,
        encoder_channels=channels,
        encoder_kernel=kernel,
        encoder_stride=stride,
    )
    masking = HTMDNet(config).masking
    before = masking.encoder.weight.clone()
    encode_frequencies(masking)
    assert torch.equal(masking.encoder.weight, before)


def test_weights_like_keras_are_seeded() -> None:
    first, second, third = (HTMDNet(TINY) for _ in range(3))
    for network, seed in ((first, 1), (second, 1), (third, 2)):
        draw_weights(network, seed, like_keras=True)
    names = ["masking.encoder.weight", "denoising.output.weight"]
    for name in names:
        assert torch.equal(first.state_dict()[name], second.state_dict()[name])
        assert not torch.equal(first.state_dict()[name], third.state_dict()[name])


def test_baselines_begin_as_pytorch_draws_them() -> None:
    network = WaveUNet(WaveUNetConfig(segment_length=4096, levels=3, channels=4))
    before = copy.deepcopy(network.state_dict())
    draw_weights(network, 0, like_keras=False)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
