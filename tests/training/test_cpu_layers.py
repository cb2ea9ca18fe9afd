from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from htmdsep.networks.config import HTMDNetConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.training.cpu_layers import Decoder, Depthwise, Encoder, Pointwise, use_cpu_layers
from tests.training.conftest import TINY


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
    """Return a network, its like with the fast layers, and mixtures (batch, 1, time)."""
    torch.manual_seed(0)
    plain = HTMDNet(config)
    fast = deepcopy(plain)
    use_cpu_layers(fast)
    return plain, fast, torch.randn(2, 1, 4096)


def rms(values: Tensor) -> float:
    return float(values.detach().square().mean().sqrt())


@pytest.mark.usefixtures("compiling")
def test_cpu_layers_change_nothing_and_are_as_exact_in_bf16() -> None:
    plain, fast, mixture = twins(TINY)
    exact, ours = (outputs_and_gradients(one, mixture, bf16=False) for one in (plain, fast))
    usual, rough = (outputs_and_gradients(one, mixture, bf16=True) for one in twins(TINY)[:2])
    assert len(ours) == len(exact) == 2 + len(list(plain.parameters()))
    for wanted, one, other, another in zip(exact, ours, usual, rough, strict=True):
        assert rms(one - wanted) <= 1e-4 * rms(wanted) + 1e-7
        assert rms(another - wanted) <= 3 * rms(other - wanted) + 0.02 * rms(wanted) + 1e-7
    for buffer, known in zip(fast.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(buffer, known, atol=1e-6, rtol=1e-4)  # batch-norm statistics


@pytest.mark.usefixtures("compiling")
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (3, 16), (3, 64), (5, 64), (7, 33)])
def test_the_fast_depthwise_convolution_reaches_beyond_its_signal(
    kernel: int, dilation: int
) -> None:
    plain, fast = (
        kind(4, 4, kernel, dilation=dilation, padding=dilation * (kernel // 2), groups=4)
        for kind in (nn.Conv1d, Depthwise)
    )
    fast.load_state_dict(plain.state_dict())
    signal = torch.randn(2, 4, 50)  # fewer frames than some of the taps are away
    for convolution in (plain, fast):
        convolution(signal).square().sum().backward()
    torch.testing.assert_close(fast(signal), plain(signal))
    for one, other in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("kernel", "stride"), [(16, 8), (24, 8), (12, 8), (64, 16), (9, 1)])
def test_encoders_and_decoders_change_nothing(kernel: int, stride: int) -> None:
    padding = (kernel - stride) // 2
    plain, fast = (
        nn.Sequential(
            encoder(1, 6, kernel, stride, padding), decoder(6, 1, kernel, stride, padding)
        )
        for encoder, decoder in ((nn.Conv1d, nn.ConvTranspose1d), (Encoder, Decoder))
    )
    fast.load_state_dict(plain.state_dict())
    mixture = torch.randn(3, 1, 40 * stride)
    for layers in (plain, fast):
        layers(mixture).square().sum().backward()
    torch.testing.assert_close(fast(mixture), plain(mixture))
    for one, other in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-4)


def test_weights_stay_and_are_named_alike() -> None:
    plain, fast, _ = twins(TINY)
    drawn, others = plain.state_dict(), fast.state_dict()
    assert list(drawn) == list(others)
    assert all(torch.equal(drawn[name], others[name]) for name in drawn)


def test_all_layers_of_the_masking_network_change_and_no_others() -> None:
    plain, fast, _ = twins(TINY)
    assert fast.denoising is not None and plain.denoising is not None
    forms = {type(layer) for layer in fast.masking.modules()}
    assert forms >= {Pointwise, Depthwise, Encoder, Decoder}
    assert not forms & {nn.Conv1d, nn.ConvTranspose1d}
    kinds = [[type(layer) for layer in one.modules()] for one in (fast.denoising, plain.denoising)]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("changes", [{"block_channels": 1}, {"block_kernel": 1}])
def test_layers_of_odd_shapes_get_the_form_that_computes_the_same(changes: dict[str, int]) -> None:
    plain, fast, mixture = twins(replace(TINY, **changes))  # type: ignore[arg-type]
    torch.testing.assert_close(fast(mixture), plain(mixture))
