from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from htmdsep.model import HTMDNet, HTMDNetConfig
from htmdsep.training.kernels import use_fast_kernels


def outputs_and_gradients(network: nn.Module, mixture: Tensor, *, bf16: bool) -> list[Tensor]:
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        output = network(mixture)
    output.estimate.float().square().mean().backward()
    gradients = [value.grad for value in network.parameters() if value.grad is not None]
    return [output.estimate.float(), output.masked_estimate.float(), *gradients]


@pytest.fixture(params=[False, True], ids=["as it is", "as if compiled"])
def compiling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the forms for `torch.compile` are used, here without a compiler."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: request.param)
    return bool(request.param)


def twins(config: HTMDNetConfig) -> tuple[HTMDNet, HTMDNet, Tensor]:
    """Return a network, the same one with fast kernels, and mixtures (batch, 1, time)."""
    torch.manual_seed(0)
    plain = HTMDNet(config)
    fast = copy.deepcopy(plain)
    use_fast_kernels(fast)
    return plain, fast, torch.randn(2, 1, 4096)


def rms(values: Tensor) -> float:
    return float(values.detach().square().mean().sqrt())


@pytest.mark.usefixtures("compiling")
def test_fast_kernels_change_nothing(tiny_config: HTMDNetConfig) -> None:
    plain, fast, mixture = twins(tiny_config)
    ours = outputs_and_gradients(fast, mixture, bf16=False)
    wanted = outputs_and_gradients(plain, mixture, bf16=False)
    assert len(ours) == len(wanted) == 2 + len(list(plain.parameters()))
    for one, other in zip(ours, wanted, strict=True):
        assert rms(one - other) <= 1e-4 * rms(other) + 1e-7
    for one, other in zip(fast.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)  # batch-norm statistics


@pytest.mark.usefixtures("compiling")
def test_fast_kernels_are_as_exact_in_bf16(tiny_config: HTMDNetConfig) -> None:
    plain, fast, mixture = twins(tiny_config)
    exact = outputs_and_gradients(plain, mixture, bf16=False)
    usual = outputs_and_gradients(plain, mixture, bf16=True)
    ours = outputs_and_gradients(fast, mixture, bf16=True)
    for wanted, other, one in zip(exact, usual, ours, strict=True):
        assert rms(one - wanted) <= 3 * rms(other - wanted) + 0.02 * rms(wanted) + 1e-7


@pytest.mark.usefixtures("compiling")
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (3, 16), (3, 64), (5, 64), (7, 33)])
def test_the_fast_depthwise_convolution_reaches_beyond_its_signal(
    kernel: int, dilation: int
) -> None:
    plain = nn.Conv1d(4, 4, kernel, dilation=dilation, padding="same", groups=4)
    fast = copy.deepcopy(plain)
    use_fast_kernels(nn.Sequential(fast))
    signal = torch.randn(2, 4, 50)  # fewer frames than some of the taps are away
    for convolution in (plain, fast):
        convolution(signal).square().sum().backward()
    torch.testing.assert_close(fast(signal), plain(signal))
    for one, other in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("kernel", "stride"), [(16, 8), (24, 8), (12, 8), (64, 16)])
def test_fast_encoders_and_decoders_change_nothing(kernel: int, stride: int) -> None:
    padding = (kernel - stride) // 2
    plain = nn.Sequential(
        nn.Conv1d(1, 6, kernel, stride, padding), nn.ConvTranspose1d(6, 1, kernel, stride, padding)
    )
    fast = copy.deepcopy(plain)
    use_fast_kernels(fast)
    assert all("forward" in vars(layer) for layer in fast)
    mixture = torch.randn(3, 1, 40 * stride)
    for layers in (plain, fast):
        layers(mixture).square().sum().backward()
    torch.testing.assert_close(fast(mixture), plain(mixture))
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
