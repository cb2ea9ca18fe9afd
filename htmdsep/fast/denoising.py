"""The denoising network over one waveform, tile by tile in buffers made once."""

from __future__ import annotations

from collections.abc import Iterator

from htmdsep.config import HTMDNetConfig
from htmdsep.fast.convolutions import (
    Convolution,
    down_convolution,
    output_convolution,
    up_convolution,
)
from htmdsep.fast.ops import Array, Ops
from htmdsep.fast.recurrent import FastBiLSTM
from htmdsep.fast.tensors import Tensors

TILE_BYTES = 1 << 20  # of a tile of windows (measured: 5 % faster than a quarter of it)
LEAST_TILE = 128  # windows; fewer waste time on fetching the matrix
POOL_GAIN = 0.5  # of the mean of two rows: pools only add, and what follows has this gain


class FastDenoising:
    """A denoising network's weights, as matrices; shared by any number of threads."""

    def __init__(self, config: HTMDNetConfig, tensors: Tensors, ops: Ops) -> None:
        levels, size = config.denoiser_levels, config.lstm_size
        self.slope, self.lstm_size = config.leaky_slope, size
        self.widths = [config.denoiser_channels * (level + 1) for level in range(levels)]
        multiples = [2 ** (levels - level) for level in range(levels)]
        self.down = []
        self.up = []
        for level, (width, multiple) in enumerate(zip(self.widths, multiples, strict=True)):
            above = self.widths[level - 1] if level else 1
            kernel = config.down_kernel if level else config.first_kernel
            down = tensors.convolution(f"denoising.down.{level}", width, above, kernel)
            gain = POOL_GAIN if level else 1.0
            self.down.append(down_convolution(down, gain, multiple).made_by(ops))
            below = self.widths[level + 1] if level + 1 < levels else size
            name = f"denoising.up.{levels - 1 - level}"
            up = tensors.convolution(name, width, below + width, config.up_kernel)
            self.up.append(up_convolution(up, below, multiple).made_by(ops))
        inputs = [self.widths[-1]] + [size] * (config.lstm_layers - 1)
        self.bottleneck = [
            FastBiLSTM(config, tensors, f"denoising.bottleneck.{layer}.lstm", count)
            for layer, count in enumerate(inputs)
        ]
        output = tensors.convolution("denoising.output", 1, self.widths[0] + 1, config.up_kernel)
        # The samples themselves are computed in full precision, whatever the rest is.
        output_matrix = output_convolution(output, self.widths[0], multiples[0])
        self.output = output_matrix.made_by(ops, exact=True)


class Rows:
    """A (time, channels) signal between rows of zeros, as convolutions see it."""

    def __init__(
        self, ops: Ops, time: int, channels: int, margin: int, *, exact: bool = False
    ) -> None:
        self._all = ops.zeros(margin + time + margin, channels, exact=exact)
        self._ops, self._margin = ops, margin
        self.values = self._all[margin : margin + time]

    def windows(self, first: int, stride: int, span: int, count: int) -> Array:
        """Return (count, span * channels): windows of `span` rows, the first from row `first`."""
        channels = self._all.shape[1]
        offset = (self._margin + first) * channels
        assert offset >= 0
        shape, strides = (count, span * channels), (stride * channels, 1)
        return self._ops.strided(self._all, shape, strides, offset)


class DenoisingBuffers:
    """What one thread needs to run a denoising network over waveforms of one length."""

    def __init__(self, network: FastDenoising, time: int, ops: Ops) -> None:
        self.network, self.ops = network, ops
        convolutions = (*network.down, *network.up, network.output)
        margin = max(source.span for conv in convolutions for source in conv.sources)
        lengths = [time >> level for level in range(len(network.widths) + 1)]
        shapes = list(zip(lengths, network.widths, strict=False))
        self.masked = Rows(ops, time, 1, margin, exact=True)
        self.skips = [Rows(ops, length, width, margin) for length, width in shapes]
        self.pooled = [Rows(ops, length // 2, width, margin) for length, width in shapes]
        self.ups = [Rows(ops, length, width, margin) for length, width in shapes]
        self.ups.append(Rows(ops, lengths[-1], network.lstm_size, margin))
        self.estimate = ops.zeros(time, 1, exact=True)
        self._windows = {
            exact: ops.zeros(
                max(_tile_values(conv) for conv in convolutions if conv.exact == exact),
                exact=exact,
            )
            for exact in (False, True)
        }

    def run(self, masked_estimate: Array) -> Array:
        """Map a masked estimate (time,) to the estimate (time,), which the next run reuses."""
        network, ops = self.network, self.ops
        self.masked.values[:, 0] = masked_estimate
        source = self.masked
        for down, skip, pooled in zip(network.down, self.skips, self.pooled, strict=True):
            for tile in self._convolve(down, (source,), skip.values):
                ops.leaky_relu(skip.values[tile], network.slope)
                pairs = skip.values[tile].reshape(-1, 2, skip.values.shape[1])
                half = pooled.values[tile.start // 2 : tile.stop // 2]
                ops.add(pairs[:, 0], pairs[:, 1], half)
            source = pooled
        self._remember(source.values)
        for level in reversed(range(len(network.up))):
            result = self.ups[level].values
            sources = (self.ups[level + 1], self.skips[level])
            for tile in self._convolve(network.up[level], sources, result):
                ops.leaky_relu(result[tile], network.slope)
        for _ in self._convolve(network.output, (self.ups[0], self.masked), self.estimate):
            pass
        estimate = self.estimate[:, 0]
        ops.tanh(estimate)
        return estimate

    def _remember(self, pooled: Array) -> None:
        """Run the bottleneck's LSTM, in float32 whatever the precision."""
        sequence = POOL_GAIN * self.ops.given(pooled)  # (time / 2**levels, channels)
        for layer in self.network.bottleneck:
            sequence = layer(sequence)
        self.ups[-1].values[:] = self.ops.taken(sequence)
        self.ops.leaky_relu(self.ups[-1].values, self.network.slope)

    def _convolve(
        self, conv: Convolution, signals: tuple[Rows, ...], result: Array
    ) -> Iterator[slice]:
        """Convolve signals into `result` (time, outputs), and yield its rows tile by tile."""
        inner, columns = conv.matrix.shape
        block = columns // result.shape[1]
        blocks = result.reshape(-1, columns)
        most = _tile_length(conv)
        for first in range(0, len(blocks), most):
            last = min(first + most, len(blocks))
            windows = self._windows[conv.exact][: (last - first) * inner].reshape(-1, inner)
            column = 0
            for source, signal in zip(conv.sources, signals, strict=True):
                row = first * source.stride - source.before
                part = signal.windows(row, source.stride, source.span, last - first)
                windows[:, column : column + part.shape[1]] = part
                column += part.shape[1]
            self.ops.affine(conv.bias, windows, conv.matrix, blocks[first:last])
            yield slice(first * block, last * block)


def _tile_length(conv: Convolution) -> int:
    """Return an even number of windows, for pools to take pairs of rows."""
    window_bytes: int = len(conv.matrix) * conv.matrix.itemsize
    return max(LEAST_TILE, TILE_BYTES // window_bytes // 2 * 2)


def _tile_values(conv: Convolution) -> int:
    return _tile_length(conv) * len(conv.matrix)
