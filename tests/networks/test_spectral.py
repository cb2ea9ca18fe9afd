"""Dense layers across bins."""

from __future__ import annotations

from dataclasses import replace

import torch

from htmdsep.networks.build import build_network
from htmdsep.networks.cost import multiply_adds
from htmdsep.networks.spectral import AcrossBins
from tests.tiny import TINY_SPECTRAL

DENSE = replace(TINY_SPECTRAL, dense_narrowing=2)


def test_dense_layers_begin_without_effect() -> None:
    torch.manual_seed(0)
    dense, plain = build_network(DENSE).eval(), build_network(TINY_SPECTRAL).eval()
    missing, unexpected = plain.load_state_dict(dense.state_dict(), strict=False)
    assert not missing and all("dense" in name for name in unexpected)
    mixture = torch.randn(2, 2, 2048)
    assert torch.equal(dense(mixture).estimate, plain(mixture).estimate)
    assert multiply_adds(dense) > multiply_adds(plain)


def test_a_dense_layer_hears_bins_that_are_far_apart() -> None:
    torch.manual_seed(0)
    layer = AcrossBins(bins=64, inside=16, leaky_slope=0.2)
    torch.nn.init.normal_(layer.widen.weight)
    hidden = torch.zeros(1, 2, 3, 64)
    before = layer(hidden)
    hidden[0, 1, 2, 0] = 1.0
    changed = (layer(hidden) - before).abs() > 1e-6
    assert changed[0, 1, 2].all()  # all bins of that frame and channel, and nothing else
    assert changed.sum() == 64
