from __future__ import annotations

import pytest
import torch

from htmdsep.model import build_network
from htmdsep.training.measure import measure, multiply_adds
from htmdsep.training.recipe import PAPER, Architecture, network_config


@pytest.mark.parametrize(
    ("architecture", "billions"), [("htmdnet", 5.96), ("convtasnet", 14.97), ("waveunet", 3.29)]
)
def test_multiply_adds_of_the_published_networks(
    architecture: Architecture, billions: float
) -> None:
    network = build_network(network_config(PAPER, architecture))
    assert multiply_adds(network) / 1e9 == pytest.approx(billions, rel=0.01)


def test_costs_are_measured(tiny_config) -> None:  # type: ignore[no-untyped-def]
    cost = measure(tiny_config, 2, torch.device("cpu"), bf16=False, compiled=False)
    assert cost.audio_seconds_per_second > 0
    assert cost.peak_gigabytes is not None and cost.peak_gigabytes > 0.05
    assert cost.parameters == sum(p.numel() for p in build_network(tiny_config).parameters())
