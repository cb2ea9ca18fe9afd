"""The masking network over one waveform, tile by tile in buffers that stay in the cache.

Time-major: features lie as (frames, channels), so that a 1x1 convolution is a matrix product and
the depthwise convolution is a sum of shifted rows.
"""

from __future__ import annotations

from htmdsep.config import ConvTasNetConfig, HTMDNetConfig
from htmdsep.fast.folding import BlockWeights, MaskingWeights, fold_masking
from htmdsep.fast.ops import Array, Ops
from htmdsep.fast.tensors import Tensors

# Of a block's wide features held at once, besides what the dilation needs: with 512 channels, 2 048
# frames in float32 and 4 096 in bfloat16.
CHUNK_BYTES = 1 << 22


class FastMasking:
    """A masking network's weights, folded; shared by any number of threads."""

    def __init__(
        self, config: HTMDNetConfig | ConvTasNetConfig, tensors: Tensors, ops: Ops
    ) -> None:
        self.weights: MaskingWeights = fold_masking(config, tensors, ops)
        self.slope = config.leaky_slope
        self.kernel = config.encoder_kernel
        self.stride = config.encoder_stride
        self.padding = (self.kernel - self.stride) // 2


class MaskingBuffers:
    """What one thread needs to run a masking network over waveforms of one length."""

    def __init__(self, network: FastMasking, time: int, ops: Ops) -> None:
        weights = network.weights
        self.network, self.ops = network, ops
        self.frames = frames = time // network.stride
        narrow, wide = weights.blocks[0].expand.shape
        reach = max(_reach(block) for block in weights.blocks)
        frame_bytes = wide * weights.blocks[0].expand.itemsize
        self.chunk = chunk = min(max(1, CHUNK_BYTES // frame_bytes), frames)
        self.tile = tile = min(max(1, ops.tile_bytes // frame_bytes), chunk)
        channels, pieces = weights.decoder.shape
        self.waveform = ops.zeros(time + 2 * network.padding, exact=True)
        self.features = ops.zeros(frames, 2 * narrow)  # residual stream, and the sum of the skips
        self.expanded = ops.zeros(chunk + 2 * reach, wide)
        self.carried = ops.zeros(2 * reach, wide)  # from one chunk of expanded frames to the next
        self.hidden = ops.zeros(tile, wide)
        self.windows = ops.zeros(tile, network.kernel)
        self.skips = ops.zeros(tile, narrow)
        self.mask = ops.zeros(tile, channels)
        self.encoded = ops.zeros(tile, channels)
        self.pieces = ops.zeros(tile, pieces)
        self.decoded = ops.zeros(frames + pieces // network.stride - 1, network.stride, exact=True)

    def run(self, waveform: Array) -> Array:
        """Map a waveform (time,) to the masked estimate (time,), which the next run reuses."""
        padding = self.network.padding
        self.waveform[padding : padding + len(waveform)] = waveform
        self._enter()
        for block in self.network.weights.blocks:
            self._block(block)
        self._decode()
        return self.decoded.reshape(-1)[padding : padding + len(waveform)]

    def _enter(self) -> None:
        entry = self.network.weights.entry
        narrow = entry.shape[1]
        for start, stop in _spans(0, self.frames, self.tile):
            windows = self._windowed(start, stop)
            self.ops.product(windows, entry, self.features[start:stop, :narrow])
        self.features[:, narrow:] = 0

    def _windowed(self, start: int, stop: int) -> Array:
        """Return the waveform's frames `start` to `stop` as rows of a matrix."""
        stride, kernel = self.network.stride, self.network.kernel
        windows = self.windows[: stop - start]
        windows[:] = self.ops.strided(
            self.waveform, (stop - start, kernel), (stride, 1), start * stride
        )
        return windows

    def _block(self, block: BlockWeights) -> None:
        """Add a block's residual and skip to the features.

        The wide features are held for a chunk and for `reach` frames on both sides of it. Those
        of frames past the chunk are computed before the chunk's residual is added, and are kept
        for the next chunk, so every frame is expanded once, from features not yet changed.
        """
        reach, narrow = _reach(block), block.expand.shape[0]
        chunk = self.chunk
        self.expanded[:reach] = block.padding
        known = 0  # frames expanded so far
        for start, stop in _spans(0, self.frames, chunk):
            if start:
                carried = self.carried[: 2 * reach]
                carried[:] = self.expanded[chunk : chunk + 2 * reach]
                self.expanded[: 2 * reach] = carried
            offset = reach - start  # of a frame's row
            ahead = min(stop + reach, self.frames)
            self._expand(block, known, ahead, offset)
            known = max(known, ahead)
            self.expanded[ahead + offset : stop + reach + offset] = block.padding
            target = self.features[:, narrow:] if block.last else self.features
            for first, last in _spans(start, stop, self.tile):
                hidden = self._depthwise(block, first + offset - reach, last - first)
                self.ops.add_product(target[first:last], hidden, block.project)

    def _expand(self, block: BlockWeights, first: int, end: int, offset: int) -> None:
        """Compute the wide features of frames `first` to `end`."""
        narrow = block.expand.shape[0]
        for start, stop in _spans(first, end, self.tile):
            expanded = self.expanded[start + offset : stop + offset]
            features = self.features[start:stop, :narrow]
            self.ops.affine(block.expand_bias, features, block.expand, expanded)
            self.ops.leaky_relu(expanded, self.network.slope)

    def _depthwise(self, block: BlockWeights, row: int, count: int) -> Array:
        """Return the activated depthwise convolution of `count` rows, its first tap from `row`."""
        hidden = self.hidden[:count]
        first, *others = block.taps
        self.ops.scale(self.expanded[row : row + count], first, block.taps_bias, hidden)
        for tap in others:
            row += block.dilation
            self.ops.add_scaled(hidden, self.expanded[row : row + count], tap)
        self.ops.leaky_relu(hidden, self.network.slope)
        return hidden

    def _decode(self) -> None:
        weights, stride, ops = self.network.weights, self.network.stride, self.ops
        narrow = weights.entry.shape[1]
        self.decoded[:] = weights.decoder_bias
        for start, stop in _spans(0, self.frames, self.tile):
            count = stop - start
            skips, mask, encoded, pieces = (
                part[:count] for part in (self.skips, self.mask, self.encoded, self.pieces)
            )
            ops.add(self.features[start:stop, narrow:], weights.skip_bias, skips)
            ops.leaky_relu(skips, self.network.slope)
            ops.affine(weights.mask_bias, skips, weights.mask, mask)
            windows = self._windowed(start, stop)
            ops.affine(weights.encoder_bias, windows, weights.encoder, encoded)
            ops.gate(encoded, mask)
            ops.product(encoded, weights.decoder, pieces)
            for shift in range(pieces.shape[1] // stride):
                piece = pieces[:, shift * stride : (shift + 1) * stride]
                self.decoded[start + shift : stop + shift] += piece


def _reach(block: BlockWeights) -> int:
    """Return how many frames to either side a block's depthwise convolution reaches."""
    return block.dilation * (len(block.taps) // 2)


def _spans(start: int, stop: int, length: int) -> list[tuple[int, int]]:
    return [(first, min(first + length, stop)) for first in range(start, stop, length)]
