"""The denoising network's convolutions as products of windows of time-major rows and matrices.

A window is `span` rows of a (time, channels) signal, laid end to end. One product yields `block`
outputs of a window at once: with few channels that costs some products with zeros, and more than
pays by a wider matrix. Upsampling by repetition and the convolution after it are one product with
the rows at the low rate, and the concatenated skip connection is one more, in the same matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
    matrix: Tensor  # (sum of spans times channels, block * outputs)
    bias: Tensor  # (block * outputs,)

    def to(self, dtype: torch.dtype) -> Convolution:
        """Return the same on the CPU, as `dtype`."""
        matrix = self.matrix.to("cpu", dtype).contiguous()
        return Convolution(self.sources, matrix, self.bias.to("cpu", dtype))


def down_convolution(convolution: nn.Conv1d, gain: float, time_multiple: int) -> Convolution:
    """Return a convolution of one source, its weights times `gain`."""
    taps = _taps(convolution) * gain  # (kernel, channels, outputs)
    block = _block(taps.shape[2], DOWN_COLUMNS, time_multiple)
    return Convolution((_plain(len(taps), block),), _banded(taps, block), _bias(convolution, block))


def up_convolution(convolution: nn.Conv1d, below: int, time_multiple: int) -> Convolution:
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
    low_matrix = taps.new_zeros(low.span, below, block, outputs)
    for position in range(block):
        for tap in range(kernel):
            row = before + (position + tap - half) // 2
            low_matrix[row, :, position] += taps[tap, :below]
    return Convolution(
        (low, _plain(kernel, block)),
        torch.cat([low_matrix.reshape(-1, block * outputs), _banded(taps[:, below:], block)]),
        _bias(convolution, block),
    )


def output_convolution(convolution: nn.Conv1d, width: int, time_multiple: int) -> Convolution:
    """Return the last convolution; sources: the topmost features, and the masked estimate."""
    taps = _taps(convolution)
    block = _block(taps.shape[2], OUTPUT_BLOCK, time_multiple)
    matrices = [_banded(part, block) for part in (taps[:, :width], taps[:, width:])]
    sources = (_plain(len(taps), block),) * 2
    return Convolution(sources, torch.cat(matrices), _bias(convolution, block))


def _plain(kernel: int, block: int) -> Source:
    return Source(block, kernel // 2, block + kernel - 1)


def _banded(taps: Tensor, block: int) -> Tensor:
    """Return the matrix of a convolution's `block` outputs: its taps, one row further for each."""
    kernel, channels, outputs = taps.shape
    matrix = taps.new_zeros(block + kernel - 1, channels, block, outputs)
    for position in range(block):
        matrix[position : position + kernel, :, position] = taps
    return matrix.reshape(-1, block * outputs)


def _block(outputs: int, least_columns: int, time_multiple: int) -> int:
    """Return how many outputs to compute at once: a power of two that divides every length."""
    block = 1
    while block * outputs < least_columns and time_multiple % (2 * block) == 0:
        block *= 2
    return block


def _taps(convolution: nn.Conv1d) -> Tensor:
    return convolution.weight.detach().double().permute(2, 1, 0)  # (kernel, channels, outputs)


def _bias(convolution: nn.Conv1d, block: int) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias.detach().double().repeat(block)
