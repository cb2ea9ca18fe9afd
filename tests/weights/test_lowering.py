"""Layers that are exported in another form compute the same."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from htmdsep.networks.build import build_network
from htmdsep.networks.config import SpectralConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.networks.spectral import MOST_IN_PHASES
from htmdsep.weights.graph import network_graph
from htmdsep.weights.lowering import lower
from tests.engines.test_estimators import random_network
from tests.tiny import TINY_SPECTRAL

WIDE = replace(TINY_SPECTRAL, widths=(3, MOST_IN_PHASES, MOST_IN_PHASES + 1, 4))


@pytest.mark.parametrize("config", [TINY_SPECTRAL, WIDE])
def test_masks_are_those_of_the_network(config: SpectralConfig) -> None:
    network = random_network(config)
    assert isinstance(network, HTMDNet)
    masking = network.masking.double()
    lowered = copy.deepcopy(masking)
    lower(lowered)
    torch.manual_seed(0)
    magnitudes = torch.rand(3, 2, 32, config.bins, dtype=torch.float64)
    with torch.inference_mode():
        expected, found = (one.masks(magnitudes) for one in (masking, lowered))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_graph_pads_and_shuffles_nothing_by_itself() -> None:
    graph = network_graph(build_network(TINY_SPECTRAL)).graph
    assert not {"Pad", "DepthToSpace"} & {node.op_type for node in graph.node}
