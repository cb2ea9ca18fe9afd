from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from htmdsep.model import HTMDNet, HTMDNetConfig, WaveUNet, WaveUNetConfig
from htmdsep.training.initial import draw_weights, encode_frequencies
from htmdsep.training.kernels import use_fast_kernels


def test_our_htmdnet_begins_with_its_masked_estimate(tiny_config: HTMDNetConfig) -> None:
    network = HTMDNet(tiny_config)
    mixture = torch.randn(2, 1, 4096) / 10
    draw_weights(network, 0, like_keras=False)
    output = network(mixture)
    assert output.masked_estimate is not None
    torch.testing.assert_close(output.estimate, torch.tanh(output.masked_estimate))


@pytest.mark.parametrize(("channels", "kernel", "stride"), [(64, 16, 8), (64, 64, 16), (64, 48, 8)])
def test_our_masking_network_begins_transparent(
    tiny_config: HTMDNetConfig, channels: int, kernel: int, stride: int
) -> None:
    config = replace(
        tiny_config, encoder_channels=channels, encoder_kernel=kernel, encoder_stride=stride
    )
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
    tiny_config: HTMDNetConfig, channels: int, kernel: int, stride: int
) -> None:
    config = replace(
        tiny_config,
        segment_length=4096 * 3,
        encoder_channels=channels,
        encoder_kernel=kernel,
        encoder_stride=stride,
    )
    masking = HTMDNet(config).masking
    before = masking.encoder.weight.clone()
    encode_frequencies(masking)
    assert torch.equal(masking.encoder.weight, before)


def test_weights_like_keras_are_seeded(tiny_config: HTMDNetConfig) -> None:
    first, second, third = (HTMDNet(tiny_config) for _ in range(3))
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


def outputs_and_gradients(network: nn.Module, mixture: Tensor, *, bf16: bool) -> list[Tensor]:
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        output = network(mixture)
    output.estimate.float().square().mean().backward()
    gradients = [value.grad for value in network.parameters() if value.grad is not None]
    return [output.estimate.float(), output.masked_estimate.float(), *gradients]


@pytest.mark.parametrize("bf16", [False, True])
def test_fast_kernels_change_nothing(tiny_config: HTMDNetConfig, bf16: bool) -> None:
    plain = HTMDNet(tiny_config)
    fast = copy.deepcopy(plain)
    use_fast_kernels(fast)
    mixture = torch.randn(2, 1, 4096)
    ours = outputs_and_gradients(fast, mixture, bf16=bf16)
    wanted = outputs_and_gradients(plain, mixture, bf16=bf16)
    assert len(ours) == len(wanted) == 2 + len(list(plain.parameters()))
    for one, other in zip(ours, wanted, strict=True):
        difference = (one - other).square().mean().sqrt()
        assert difference <= (0.05 if bf16 else 1e-4) * other.square().mean().sqrt() + 1e-7


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 16), (3, 64), (5, 64), (7, 33)])
def test_the_fast_depthwise_convolution_reaches_beyond_its_signal(
    kernel: int, dilation: int
) -> None:
    plain = nn.Conv1d(4, 4, kernel, dilation=dilation, padding="same", groups=4)
    fast = copy.deepcopy(plain)
    use_fast_kernels(nn.Sequential(fast))
    signal = torch.randn(2, 4, 50)  # fewer frames than some of the taps are away
    for convolution in (plain, fast):
        convolution(signal).square().sum().backward()
    for one, other in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-4)


def test_fast_kernels_survive_a_copy(tiny_config: HTMDNetConfig) -> None:
    network = HTMDNet(tiny_config).eval()
    use_fast_kernels(network)
    copied = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    mixture = torch.randn(1, 1, 4096)
    assert network(mixture).masked_estimate.abs().sum() == 0
    assert copied(mixture).masked_estimate.abs().sum() > 0
