"""Layers of the spectral network as ONNX Runtime computes them fastest, for its graph.

ONNX pads each side of a convolution by itself, which PyTorch does not: nothing has to be padded or
cut then. The numbers are those of the network's own layers; a tenth of the time goes (measured).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htmdsep.networks.htmdnet import AveragedBiLSTM
from htmdsep.networks.spectral import STRIDE, Doubling, Halving, SpectralMasking

if TYPE_CHECKING:
    from htmdsep.networks.build import Network

Padding = tuple[int, int, int, int]  # rows and columns before, rows and columns after


class GraphNetwork(nn.Module):
    """The part of a network that a graph holds, in its other forms."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        lower(self.network)

    def forward(self, signal: Tensor) -> Tensor:
        masking = getattr(self.network, "masking", None)
        if isinstance(masking, SpectralMasking):
            return masking.masks(signal)
        vocals: Tensor = self.network(signal).estimate
        return vocals


def lower(network: nn.Module) -> None:
    """Give the layers of a network, a copy that is to be exported, their other forms."""
    forms = {Halving: _GraphHalving, Doubling: _GraphDoubling, nn.Conv2d: _GraphConvolution}
    for module in network.modules():
        module.__class__ = forms.get(type(module), type(module))
        if isinstance(module, SpectralMasking):
            for norm in module.down_norm:
                norm.__class__ = _GraphNorm
        if isinstance(module, AveragedBiLSTM):  # the graph is given other functions afterwards
            module.activation, module.recurrent_activation = "tanh", "sigmoid"


class _Convolution(torch.autograd.Function):
    """A convolution with a padding of its own on each side."""

    @staticmethod
    def forward(
        _: Any, hidden: Tensor, kernel: Tensor, bias: Tensor, padding: Padding, stride: int
    ) -> Tensor:
        top, left, bottom, right = padding
        return F.conv2d(F.pad(hidden, (left, right, top, bottom)), kernel, bias, stride)

    @staticmethod
    def symbolic(
        graph: Any, hidden: Any, kernel: Any, bias: Any, padding: Padding, stride: int
    ) -> Any:
        return graph.op("Conv", hidden, kernel, bias, pads_i=padding, strides_i=[stride, stride])


def _convolved(
    hidden: Tensor, kernel: Tensor, bias: Tensor | None, padding: Padding, stride: int
) -> Tensor:
    found: Tensor = _Convolution.apply(hidden, kernel, bias, padding, stride)  # type: ignore[no-untyped-call]
    return found


class _GraphHalving(Halving):
    def forward(self, hidden: Tensor) -> Tensor:
        before, after = self.PADDING
        padding = (before, before, after, after)
        return _convolved(hidden, self.weight, self.bias, padding, STRIDE)


class _GraphDoubling(Doubling):
    def phase(self, hidden: Tensor, kernel: Tensor, row: int, column: int) -> Tensor:
        return _convolved(hidden, kernel, self.bias, (1, 1, 1 - row, 1 - column), 1)

    def interleaved(self, phases: list[Tensor]) -> Tensor:
        batch, _, frames, bins = phases[0].shape
        rows = []
        for pair in (phases[:2], phases[2:]):
            # Turned over as a matrix of two columns: with the rows, half the time of DepthToSpace
            columns = torch.cat(pair, dim=1).reshape(batch, 2, -1).transpose(1, 2)
            rows.append(columns.reshape(batch, self.out_channels, frames, 2 * bins))
        return torch.cat(rows, dim=3).reshape(batch, self.out_channels, 2 * frames, 2 * bins)


class _GraphConvolution(nn.Conv2d):
    """A convolution into a few channels, in three dimensions, of which the first has one place.

    ONNX Runtime would compute as many channels of a flat one as a register holds.
    """

    def forward(self, hidden: Tensor) -> Tensor:
        assert not isinstance(self.padding, str)
        kernel, padding, dilation = self.weight[:, :, None], self.padding, self.dilation
        found = F.conv3d(hidden[:, :, None], kernel, self.bias, 1, (0, *padding), (1, *dilation))
        return found[:, :, 0]


class _GraphNorm(nn.BatchNorm2d):
    """Batch norm as a convolution, which the leaky ReLU behind it becomes a part of."""

    def forward(self, hidden: Tensor) -> Tensor:
        assert self.running_mean is not None and self.running_var is not None
        scale = self.weight / torch.sqrt(self.running_var + self.eps)
        shift = self.bias - self.running_mean * scale
        return F.conv2d(hidden, scale[:, None, None, None], shift, groups=len(scale))
