from __future__ import annotations

import torch

from htmdsep.model import HTMDNet, HTMDNetConfig
from htmdsep.training.ema import MovingAverage


def shift(network: HTMDNet, value: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(value)


def test_without_decay_the_average_is_the_network(tiny_config: HTMDNetConfig) -> None:
    network = HTMDNet(tiny_config)
    average = MovingAverage(network, 0.0)
    shift(network, 1.0)
    network.train()(torch.randn(2, 1, 4096))  # moves the batch-norm statistics
    average.update(network)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(average.network.state_dict()[name], value)


def test_the_average_trails_the_network(tiny_config: HTMDNetConfig) -> None:
    network = HTMDNet(tiny_config)
    average = MovingAverage(network, 0.5)
    average.updates = 1000
    before = next(iter(average.network.parameters())).clone()
    shift(network, 1.0)
    for wanted in (0.5, 0.75, 0.875):
        average.update(network)
        moved = next(iter(average.network.parameters())) - before
        torch.testing.assert_close(moved, torch.full_like(moved, wanted), atol=1e-5, rtol=0)


def test_the_first_weights_are_soon_forgotten(tiny_config: HTMDNetConfig) -> None:
    network = HTMDNet(tiny_config)
    average = MovingAverage(network, 0.999)
    before = next(iter(average.network.parameters())).clone()
    shift(network, 1.0)
    for _ in range(40):
        average.update(network)
    assert (next(iter(average.network.parameters())) - before > 0.95).all()
