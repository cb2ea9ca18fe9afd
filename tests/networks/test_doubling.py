from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from htmdsep.networks.spectral import Doubling


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_doubling_is_what_is_positive_of_a_transposed_convolution_within_its_borders(
    channels: int, frames: int
) -> None:
    torch.manual_seed(0)
    doubling = Doubling(2, channels, 5, 2).double()
    hidden = torch.randn(2, 2, frames, 4, dtype=torch.float64, requires_grad=True)
    whole = F.relu(nn.ConvTranspose2d.forward(doubling, hidden)[:, :, 1:-2, 1:-2])
    found = doubling(hidden)
    assert found.shape == (2, channels, 2 * frames, 8)
    torch.testing.assert_close(found, whole)
    gradients = (torch.autograd.grad(one.square().sum(), hidden)[0] for one in (found, whole))
    torch.testing.assert_close(*gradients)
