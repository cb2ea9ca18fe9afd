"""The masking network over one waveform, tile by tile in buffers that stay in the cache.

Time-major: features lie as (frames, channels), so that a 1x1 convolution is a matrix product and
the depthwise convolution is a sum of shifted rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from htmdsep.fast.folding import BlockWeights, MaskingWeights, fold_masking
from htmdsep.model.masking import MaskingNetwork

TILE = 256  # frames; 512 channels of them are half a MiB, a usual second-level cache (measured)
CHUNK = 2_048  # frames of a block's wide features held at once, besides what the dilation needs


class FastMasking:
    """A masking network's weights, folded; shared by any number of threads."""

    def __init__(self, network: MaskingNetwork, slope: float, dtype: torch.dtype) -> None:
        self.weights: MaskingWeights = fold_masking(network, dtype)
        self.slope = slope
        self.kernel = int(network.encoder.kernel_size[0])
        self.stride = int(network.encoder.stride[0])
        self.padding = (self.kernel - self.stride) // 2
        self.dtype = dtype


class MaskingBuffers:
    """What one thread needs to run a masking network over waveforms of one length."""

    def __init__(self, network: FastMasking, time: int) -> None:
        weights = network.weights
        self.network = network
        self.frames = frames = time // network.stride
        narrow, wide = weights.blocks[0].expand.shape
        reach = max(_reach(block) for block in weights.blocks)
        rows = min(CHUNK, frames)
        tile = min(TILE, frames)

        def empty(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=network.dtype)

        self.waveform = torch.zeros(time + 2 * network.padding)
        self.features = empty(frames, 2 * narrow)  # residual stream, and the sum of the skips
        self.expanded = empty(rows + 2 * reach, wide)
        self.hidden = empty(tile, wide)
        self.windows = empty(tile, network.kernel)
        self.skips = empty(tile, narrow)
        self.mask = empty(tile, len(weights.encoder_bias))
        self.encoded = torch.zeros_like(self.mask)
        self.pieces = empty(tile, weights.decoder.shape[1])
        self.decoded = torch.zeros(
            frames + weights.decoder.shape[1] // network.stride - 1, network.stride
        )

    def run(self, waveform: Tensor) -> Tensor:
        """Map a waveform (time,) to the masked estimate (time,), which the next run reuses."""
        padding = self.network.padding
        self.waveform[padding : padding + len(waveform)] = waveform
        self._enter()
        for block in self.network.weights.blocks:
            self._block(block)
        self._decode()
        return self.decoded.view(-1)[padding : padding + len(waveform)]

    def _enter(self) -> None:
        entry = self.network.weights.entry
        narrow = entry.shape[1]
        for start, stop in _spans(0, self.frames, TILE):
            torch.mm(self._windowed(start, stop), entry, out=self.features[start:stop, :narrow])
        self.features[:, narrow:] = 0

    def _windowed(self, start: int, stop: int) -> Tensor:
        """Return the waveform's frames `start` to `stop` as rows of a matrix."""
        stride, kernel = self.network.stride, self.network.kernel
        windows = self.waveform.as_strided((stop - start, kernel), (stride, 1), start * stride)
        return self.windows[: stop - start].copy_(windows)

    def _block(self, block: BlockWeights) -> None:
        """Add a block's residual and skip to the features.

        The wide features are held for a chunk and for `reach` frames on both sides of it. Those
        of frames past the chunk are computed before the chunk's residual is added, and are kept
        for the next chunk, so every frame is expanded once, from features not yet changed.
        """
        reach, narrow = _reach(block), block.expand.shape[0]
        rows = len(self.expanded) - 2 * reach
        self.expanded[:reach] = block.padding
        known = 0  # frames expanded so far
        for start, stop in _spans(0, self.frames, rows):
            if start:
                self.expanded[: 2 * reach] = self.expanded[rows : rows + 2 * reach].clone()
            offset = reach - start  # of a frame's row
            ahead = min(stop + reach, self.frames)
            for first, last in _spans(known, ahead, TILE):
                expanded = self.expanded[first + offset : last + offset]
                torch.addmm(
                    block.expand_bias,
                    self.features[first:last, :narrow],
                    block.expand,
                    out=expanded,
                )
                F.leaky_relu_(expanded, self.network.slope)
            known = max(known, ahead)
            self.expanded[ahead + offset : stop + reach + offset] = block.padding
            target = self.features[:, narrow:] if block.last else self.features
            for first, last in _spans(start, stop, TILE):
                hidden = self._depthwise(block, first + offset - reach, last - first)
                target[first:last].addmm_(hidden, block.project)

    def _depthwise(self, block: BlockWeights, row: int, count: int) -> Tensor:
        """Return the activated depthwise convolution of `count` rows, its first tap from `row`."""
        hidden = self.hidden[:count]
        total = block.taps_bias
        for tap in block.taps:
            torch.addcmul(total, self.expanded[row : row + count], tap, out=hidden)
            total = hidden
            row += block.dilation
        return F.leaky_relu_(hidden, self.network.slope)

    def _decode(self) -> None:
        weights, stride = self.network.weights, self.network.stride
        narrow = weights.entry.shape[1]
        self.decoded[:] = weights.decoder_bias
        for start, stop in _spans(0, self.frames, TILE):
            count = stop - start
            skips = torch.add(
                self.features[start:stop, narrow:], weights.skip_bias, out=self.skips[:count]
            )
            F.leaky_relu_(skips, self.network.slope)
            mask = torch.addmm(weights.mask_bias, skips, weights.mask, out=self.mask[:count])
            encoded = torch.addmm(
                weights.encoder_bias,
                self._windowed(start, stop),
                weights.encoder,
                out=self.encoded[:count],
            )
            pieces = torch.mm(
                encoded.mul_(mask.sigmoid_()), weights.decoder, out=self.pieces[:count]
            )
            for shift in range(pieces.shape[1] // stride):
                piece = pieces[:, shift * stride : (shift + 1) * stride]
                self.decoded[start + shift : stop + shift] += piece


def _reach(block: BlockWeights) -> int:
    """Return how many frames to either side a block's depthwise convolution reaches."""
    return block.dilation * (len(block.taps) // 2)


def _spans(start: int, stop: int, length: int) -> list[tuple[int, int]]:
    return [(first, min(first + length, stop)) for first in range(start, stop, length)]
