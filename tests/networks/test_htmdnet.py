from __future__ import annotations

import numpy as np
import pytest
import torch

from htmdsep.errors import HtmdsepError
from htmdsep.networks.build import build_network
from htmdsep.networks.config import (
    ConvTasNetConfig,
    HTMDNetConfig,
    NetworkConfig,
    WaveUNetConfig,
    config_from_dict,
    config_to_dict,
)
from htmdsep.networks.cost import parameter_count
from htmdsep.networks.htmdnet import AveragedBiLSTM, HTMDNet
from htmdsep.networks.waveunet import _double
from tests.tiny import TINY

SMALL = (
    TINY,
    HTMDNetConfig(
        **{**TINY.__dict__, "activation": "linear", "recurrent_activation": "hard_sigmoid"}
    ),
    ConvTasNetConfig(
        segment_length=2048, encoder_channels=8, bottleneck_channels=4, block_channels=8, blocks=2
    ),
    WaveUNetConfig(segment_length=2048, levels=3, channels=3),
)


@pytest.mark.parametrize(
    ("config", "trainable", "with_statistics"),
    [
        # The second number is what Keras counts in all (4 518 255 is on record for HTMD-Net).
        (HTMDNetConfig(), 4_498_799, 4_518_255),
        (HTMDNetConfig(encoder_kernel=32, encoder_stride=16), 4_515_183, 4_534_639),
        (HTMDNetConfig(activation="linear"), 4_498_799, 4_518_255),
        (ConvTasNetConfig(), 5_523_713, 5_580_033),
        (WaveUNetConfig(), 10_263_002, 10_263_002),
    ],
)
def test_parameter_counts(config: NetworkConfig, trainable: int, with_statistics: int) -> None:
    with torch.device("meta"):
        network = build_network(config)
    statistics = sum(
        buffer.numel() for name, buffer in network.named_buffers() if "running" in name
    )
    assert parameter_count(network) == trainable
    assert trainable + statistics == with_statistics


@pytest.mark.parametrize("config", SMALL)
def test_output_has_the_shape_of_the_mixture(config: NetworkConfig) -> None:
    network = build_network(config).eval()
    for multiples in (1, 2, 5):
        mixture = torch.randn(3, 1, multiples * config.length_multiple)
        output = network(mixture)
        assert output.estimate.shape == mixture.shape
        if isinstance(network, HTMDNet) and network.denoising is not None:
            assert output.masked_estimate is not None
            assert output.masked_estimate.shape == mixture.shape
        else:
            assert output.masked_estimate is None


@pytest.mark.parametrize("config", SMALL)
def test_gradient_reaches_every_parameter(config: NetworkConfig) -> None:
    torch.manual_seed(0)
    network = build_network(config)
    network(torch.randn(2, 1, 4 * config.length_multiple)).estimate.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("stride", [8, 16])
def test_encoder_and_decoder_are_aligned(stride: int) -> None:
    """An impulse comes out where it went in: the encoder's "same" padding equals the decoder's."""
    config = HTMDNetConfig(
        **{**TINY.__dict__, "encoder_kernel": 2 * stride, "encoder_stride": stride}
    )
    masking = HTMDNet(config).masking.eval()
    with torch.no_grad():
        masking.encoder.weight.fill_(1)
        masking.decoder.weight.fill_(1)
        for module in (masking.encoder, masking.decoder):
            assert module.bias is not None
            module.bias.zero_()
        impulse = torch.zeros(1, 1, 512)
        impulse[..., 256 + stride // 2] = 1
        response = masking(impulse)[0, 0].abs()
    reached = response.nonzero().flatten()
    centre = (reached.min() + reached.max()) / 2
    assert abs(float(centre) - (256 + stride // 2)) <= stride / 2


def test_lstm_loop_equals_the_library_kernel() -> None:
    """Forced through the step-by-step loop, tanh and sigmoid give PyTorch's own result."""
    torch.manual_seed(0)
    layer = AveragedBiLSTM(5, 7)
    sequence = torch.randn(3, 6, 5)
    padded = torch.nn.functional.pad(sequence, (0, 1), value=1.0)
    looped = layer._run(padded, reverse=False) + layer._run(padded.flip(1), reverse=True).flip(1)
    torch.testing.assert_close(looped / 2, layer(sequence))


def test_linear_lstm_with_hard_sigmoid_follows_the_published_equations() -> None:
    torch.manual_seed(0)
    layer = AveragedBiLSTM(2, 3, "linear", "hard_sigmoid")
    sequence = torch.randn(1, 4, 2)

    def gate(value: np.ndarray) -> np.ndarray:
        return np.clip(0.2 * value + 0.5, 0, 1)

    def run(steps: np.ndarray, suffix: str) -> np.ndarray:
        kernel = getattr(layer.lstm, f"weight_ih_l0{suffix}").detach().numpy()
        recurrent = getattr(layer.lstm, f"weight_hh_l0{suffix}").detach().numpy()
        hidden, cell, outputs = np.zeros(3), np.zeros(3), []
        for step in steps:
            gates = kernel[:, :2] @ step + kernel[:, 2] + recurrent @ hidden
            update, forget, candidate, expose = np.split(gates, 4)
            cell = gate(forget) * cell + gate(update) * candidate
            hidden = gate(expose) * cell
            outputs.append(hidden)
        return np.array(outputs)

    steps = sequence[0].numpy()
    expected = (run(steps, "") + run(steps[::-1], "_reverse")[::-1]) / 2
    np.testing.assert_allclose(layer(sequence)[0].detach().numpy(), expected, atol=1e-6)


def test_interpolation_keeps_the_samples_it_is_given() -> None:
    ramp = torch.arange(5.0).reshape(1, 1, 5)
    assert _double(ramp).flatten().tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4]


@pytest.mark.parametrize("config", SMALL)
def test_config_survives_its_plain_form(config: NetworkConfig) -> None:
    assert config_from_dict(config_to_dict(config)) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "unet"}, "unknown architecture 'unet'"),
        ({"colour": 1}, "unknown fields: \\['colour'\\]"),
        ({"activation": "relu"}, "activation must be 'tanh' or 'linear', not 'relu'"),
        ({"blocks": 0}, "blocks must be a positive number, not 0"),
        ({"blocks": "9"}, "blocks must be a positive number, not '9'"),
        ({"blocks": 2.5}, "blocks must be a whole number, not 2.5"),
        ({"segment_length": 1000}, "segment_length must be a multiple of 2048, not 1000"),
        ({"encoder_kernel": 15}, "must be even"),
        ({"block_kernel": 4}, "block_kernel must be odd"),
    ],
)
def test_wrong_configs_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(HtmdsepError, match=message):
        config_from_dict({**config_to_dict(HTMDNetConfig()), **changes})
