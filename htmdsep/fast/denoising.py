"""The denoising network over one waveform, tile by tile in buffers made once."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htmdsep.fast.convolutions import (
    Convolution,
    down_convolution,
    output_convolution,
    up_convolution,
)
from htmdsep.model.denoising import DenoisingNetwork

TILE_VALUES = 1 << 18  # of a tile of windows: 1 MiB (measured: 5 % faster than a quarter of it)
LEAST_TILE = 128  # windows; fewer waste time on fetching the matrix
POOL_GAIN = 0.5  # of the mean of two rows: pools only add, and what follows has this gain


class FastDenoising:
    """A denoising network's weights, as matrices; shared by any number of threads."""

    def __init__(self, network: DenoisingNetwork, dtype: torch.dtype) -> None:
        downs, ups = _convolutions(network.down), _convolutions(network.up)
        multiples = [2 ** (len(downs) - level) for level in range(len(downs))]
        self.dtype = dtype
        self.slope = float(network.leaky.negative_slope)
        self.widths = [down.out_channels for down in downs]
        self.bottleneck = deepcopy(network.bottleneck).to("cpu", torch.float32)
        self.down = [
            down_convolution(down, POOL_GAIN if level else 1.0, multiples[level]).to(dtype)
            for level, down in enumerate(downs)
        ]
        self.up = [
            up_convolution(up, up.in_channels - width, multiple).to(dtype)
            for up, width, multiple in zip(reversed(ups), self.widths, multiples, strict=True)
        ]
        self.lstm_size = ups[0].in_channels - self.widths[-1]
        # The samples themselves are computed in full precision, whatever the rest is.
        output = output_convolution(network.output, self.widths[0], multiples[0])
        self.output = output.to(torch.float32)


class Rows:
    """A (time, channels) signal between rows of zeros, as convolutions see it."""

    def __init__(self, time: int, channels: int, margin: int, dtype: torch.dtype) -> None:
        self._all = torch.zeros(margin + time + margin, channels, dtype=dtype)
        self._margin = margin
        self.values = self._all[margin : margin + time]

    def windows(self, first: int, stride: int, span: int, count: int) -> Tensor:
        """Return (count, span * channels): windows of `span` rows, the first from row `first`."""
        channels = self._all.shape[1]
        offset = (self._margin + first) * channels
        assert offset >= 0
        return self._all.as_strided((count, span * channels), (stride * channels, 1), offset)


class DenoisingBuffers:
    """What one thread needs to run a denoising network over waveforms of one length."""

    def __init__(self, network: FastDenoising, time: int) -> None:
        self.network = network
        convolutions = (*network.down, *network.up, network.output)
        margin = max(source.span for conv in convolutions for source in conv.sources)
        lengths = [time >> level for level in range(len(network.widths) + 1)]
        shapes = list(zip(lengths, network.widths, strict=False))
        dtype = network.dtype
        self.masked = Rows(time, 1, margin, torch.float32)
        self.skips = [Rows(length, width, margin, dtype) for length, width in shapes]
        self.pooled = [Rows(length // 2, width, margin, dtype) for length, width in shapes]
        self.ups = [Rows(length, width, margin, dtype) for length, width in shapes]
        self.ups.append(Rows(lengths[-1], network.lstm_size, margin, dtype))
        self.estimate = torch.zeros(time, 1)
        self._windows = {
            dtype: torch.zeros(max(map(_tile_values, convolutions)), dtype=dtype)
            for dtype in {dtype, torch.float32}
        }

    def run(self, masked_estimate: Tensor) -> Tensor:
        """Map a masked estimate (time,) to the estimate (time,), which the next run reuses."""
        network = self.network
        self.masked.values[:, 0] = masked_estimate
        source = self.masked
        for down, skip, pooled in zip(network.down, self.skips, self.pooled, strict=True):
            for tile in self._convolve(down, (source,), skip.values):
                F.leaky_relu_(skip.values[tile], network.slope)
                even, odd = skip.values[tile].view(-1, 2, skip.values.shape[1]).unbind(1)
                torch.add(even, odd, out=pooled.values[tile.start // 2 : tile.stop // 2])
            source = pooled
        sequence = network.bottleneck(POOL_GAIN * source.values[None].float())[0]
        self.ups[-1].values[:] = F.leaky_relu_(sequence, network.slope)
        for level in reversed(range(len(network.up))):
            result = self.ups[level].values
            sources = (self.ups[level + 1], self.skips[level])
            for tile in self._convolve(network.up[level], sources, result):
                F.leaky_relu_(result[tile], network.slope)
        for _ in self._convolve(network.output, (self.ups[0], self.masked), self.estimate):
            pass
        return self.estimate[:, 0].tanh_()

    def _convolve(
        self, conv: Convolution, signals: tuple[Rows, ...], result: Tensor
    ) -> Iterator[slice]:
        """Convolve signals into `result` (time, outputs), and yield its rows tile by tile."""
        inner, columns = conv.matrix.shape
        block = columns // result.shape[1]
        blocks = result.view(-1, columns)
        most = _tile_length(conv)
        for first in range(0, len(blocks), most):
            last = min(first + most, len(blocks))
            windows = self._windows[conv.matrix.dtype][: (last - first) * inner].view(-1, inner)
            column = 0
            for source, signal in zip(conv.sources, signals, strict=True):
                row = first * source.stride - source.before
                part = signal.windows(row, source.stride, source.span, last - first)
                windows[:, column : column + part.shape[1]] = part
                column += part.shape[1]
            torch.addmm(conv.bias, windows, conv.matrix, out=blocks[first:last])
            yield slice(first * block, last * block)


def _convolutions(modules: nn.Module) -> list[nn.Conv1d]:
    found = list(modules.children())
    assert all(isinstance(module, nn.Conv1d) for module in found)
    return found  # type: ignore[return-value]


def _tile_length(conv: Convolution) -> int:
    """Return an even number of windows, for pools to take pairs of rows."""
    return max(LEAST_TILE, TILE_VALUES // len(conv.matrix) // 2 * 2)


def _tile_values(conv: Convolution) -> int:
    return _tile_length(conv) * len(conv.matrix)
