"""What a network computes when it begins with another's weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch

from htmdsep.errors import HtmdsepError
from htmdsep.model import HTMDNet, HTMDNetConfig
from htmdsep.training.start import start_from
from htmdsep.weights_file import WeightsInfo, save_weights


@pytest.fixture
def known(tiny_config: HTMDNetConfig) -> HTMDNet:
    torch.manual_seed(3)
    return HTMDNet(tiny_config).eval()


@pytest.fixture
def path(tmp_path: Path, known: HTMDNet) -> str:
    path = tmp_path / "known.safetensors"
    save_weights(path, known, WeightsInfo("known", known.config, "CC0-1.0"), torch.float32)
    return str(path)


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_a_deeper_network_begins_as_the_known_one(known: HTMDNet, path: str, repeats: int) -> None:
    network = HTMDNet(replace(cast(HTMDNetConfig, known.config), repeats=repeats)).eval()
    start_from(network, path)
    mixture = torch.randn(2, 1, known.config.segment_length)
    with torch.no_grad():
        assert torch.equal(network(mixture).estimate, known(mixture).estimate)


def test_every_further_block_learns(known: HTMDNet, path: str) -> None:
    network = HTMDNet(replace(cast(HTMDNetConfig, known.config), repeats=3)).train()
    start_from(network, path)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    mixture = torch.randn(2, 1, known.config.segment_length)
    for _ in range(2):  # projections of zero first, then what they let through
        optimiser.zero_grad()
        network(mixture).masked_estimate.square().mean().backward()
        optimiser.step()
    for name, weight in network.masking.blocks.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name


def test_a_shallower_network_is_another(tiny_config: HTMDNetConfig, tmp_path: Path) -> None:
    deep = replace(tiny_config, repeats=2)
    path = tmp_path / "deep.safetensors"
    save_weights(path, HTMDNet(deep), WeightsInfo("deep", deep, "CC0-1.0"), torch.float32)
    with pytest.raises(HtmdsepError, match="repeats 2, not 1"):
        start_from(HTMDNet(tiny_config), str(path))
