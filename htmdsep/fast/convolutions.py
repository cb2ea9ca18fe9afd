"""The denoising network's convolutions as products of windows of time-major rows and matrices.

A window is `span` rows of a (time, channels) signal, laid end to end. One product yields `block`
outputs of a window at once: with few channels that costs some products with zeros, and more than
pays by a wider matrix. Upsampling by repetition and the convolution after it are one product with
the rows at the low rate, and the concatenated skip connection is one more, in the same matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from htmdsep.fast.ops import Array, Ops
from htmdsep.fast.tensors import Affine

# Columns of a matrix, at least: narrower ones are slower by more than the zeros cost (measured).
DOWN_COLUMNS = 96
UP_COLUMNS = 48
OUTPUT_BLOCK = 16  # samples of the last convolution's one channel


@dataclass(frozen=True)
class Source:
    """How windows of one source lie: `span` rows, from `before` rows ahead, every `stride` rows."""

    stride: int
    before: int
    span: int


@dataclass(frozen=True)
class Convolution:
    """A matrix that maps windows of all sources, side by side, to `block` rows of outputs."""

    sources: tuple[Source, ...]
    matrix: Array  # (sum of spans times channels, block * outputs)
    bias: Array  # (block * outputs,)
    exact: bool  # whether it is computed in float32 whatever the precision

    def made_by(self, ops: Ops, *, exact: bool = False) -> Convolution:
        """Return the same with matrix and bias as arrays of the operations' library."""
        matrix, bias = ops.constant(self.matrix, exact=exact), ops.row(self.bias, exact=exact)
        return Convolution(self.sources, matrix, bias, exact)


def down_convolution(convolution: Affine, gain: float, time_multiple: int) -> Convolution:
    """Return a convolution of one source, its weights times `gain`."""
    taps = _taps(convolution) * gain  # (kernel, channels, outputs)
    block = _block(taps.shape[2], DOWN_COLUMNS, time_multiple)
    sources = (_plain(len(taps), block),)
    return _convolution(sources, [_banded(taps, block)], convolution.bias, block)


def up_convolution(convolution: Affine, below: int, time_multiple: int) -> Convolution:
    """Return upsampling, concatenation and convolution; sources: the level below, and the skip.

    Output t takes, by tap j, the upsampled row t + j - kernel // 2, which repeats the row at the
    low rate of half that number, rounded down.
    """
    taps = _taps(convolution)
    kernel, _, outputs = taps.shape
    half = kernel // 2
    block = 2 * _block(2 * outputs, UP_COLUMNS, time_multiple // 2)
    before = (half + 1) // 2
    low = Source(block // 2, before, block // 2 + 2 * before)
    low_matrix = np.zeros((low.span, below, block, outputs))
    for position in range(block):
        for tap in range(kernel):
            row = before + (position + tap - half) // 2
            low_matrix[row, :, position] += taps[tap, :below]
    matrices = [low_matrix.reshape(-1, block * outputs), _banded(taps[:, below:], block)]
    return _convolution((low, _plain(kernel, block)), matrices, convolution.bias, block)


def output_convolution(convolution: Affine, width: int, time_multiple: int) -> Convolution:
    """Return the last convolution; sources: the topmost features, and the masked estimate."""
    taps = _taps(convolution)
    block = _block(taps.shape[2], OUTPUT_BLOCK, time_multiple)
    matrices = [_banded(part, block) for part in (taps[:, :width], taps[:, width:])]
    sources = (_plain(len(taps), block),) * 2
    return _convolution(sources, matrices, convolution.bias, block)


def _convolution(
    sources: tuple[Source, ...], matrices: list[np.ndarray], bias: np.ndarray, block: int
) -> Convolution:
    return Convolution(sources, np.concatenate(matrices), np.tile(bias, block), exact=True)


def _plain(kernel: int, block: int) -> Source:
    return Source(block, kernel // 2, block + kernel - 1)


def _banded(taps: np.ndarray, block: int) -> np.ndarray:
    """Return the matrix of a convolution's `block` outputs: its taps, one row further for each."""
    kernel, channels, outputs = taps.shape
    matrix = np.zeros((block + kernel - 1, channels, block, outputs))
    for position in range(block):
        matrix[position : position + kernel, :, position] = taps
    return matrix.reshape(-1, block * outputs)


def _block(outputs: int, least_columns: int, time_multiple: int) -> int:
    """Return how many outputs to compute at once: a power of two that divides every length."""
    block = 1
    while block * outputs < least_columns and time_multiple % (2 * block) == 0:
        block *= 2
    return block


def _taps(convolution: Affine) -> np.ndarray:
    return convolution.weight.transpose(2, 1, 0)  # (kernel, channels, outputs)
