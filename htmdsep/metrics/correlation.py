"""Correlations at a few lags and their least-squares filters, by short transforms.

The Gram matrix of delayed references is block-Toeplitz: block (i, j) holds at row p and column q
the correlation r_ij[p - q]. So a few hundred correlations a pair of signals, which transforms of
short blocks add up exactly, stand for a matrix of millions; it is factored once for all estimates,
and the factor of its leading block is the leading block of its factor.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import fft, linalg

TRANSFORM_LENGTH = 8192  # samples; of the shorter ones more of each block is overlap
TOGETHER = 64  # blocks transformed at once


def correlate(signals: np.ndarray, others: np.ndarray, lags: int) -> np.ndarray:
    """Return sum_n signals[a, n] others[b, n + l] as (a, b, l), for l from 0 to lags - 1.

    Both are (rows, frames) of the same frames. Blocks of `signals` meet blocks of `others` that
    are `lags` - 1 longer, so that nothing wraps around, and all blocks share one inverse transform.
    """
    length = max(TRANSFORM_LENGTH, int(fft.next_fast_len(4 * lags, real=True)))
    hop = length - lags + 1
    total = np.zeros((len(signals), len(others), length // 2 + 1), np.complex128)
    for short, long in _blocks(signals, others, hop, length):
        ours, theirs = np.conj(fft.rfft(short, length)), fft.rfft(long, length)
        for row, spectra in enumerate(ours):
            for column, against in enumerate(theirs):
                total[row, column] += (spectra * against).sum(axis=0)
    return np.asarray(fft.irfft(total, length)[..., :lags])


def _blocks(
    signals: np.ndarray, others: np.ndarray, hop: int, length: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (rows, blocks, hop) of the signals beside (rows, blocks, length) of the others."""
    frames = signals.shape[1]
    for first in range(0, frames, hop * TOGETHER):
        count = min(TOGETHER, -(-(frames - first) // hop))
        last = first + count * hop
        short = _padded(signals[:, first:last], count * hop).reshape(len(signals), count, hop)
        long = _padded(others[:, first : last + length - hop], count * hop + length - hop)
        windows = np.lib.stride_tricks.sliding_window_view(long, length, axis=1)
        yield short, windows[:, ::hop]


def _padded(rows: np.ndarray, length: int) -> np.ndarray:
    padded = np.zeros((len(rows), length))
    padded[:, : rows.shape[1]] = rows
    return padded


def project(
    reference: np.ndarray, against: np.ndarray, channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the filters that best make estimates out of references delayed by 0 to lags - 1.

    `reference` is (rows, rows, lags), the correlations of the references with each other, whose
    rows are sources times `channels`; `against` is (rows, columns, lags), those with the
    estimates' channels. The first result is (rows, lags, columns), from all the references at
    once; the second is of the same shape, each source's rows solved for without the others.
    """
    rows, columns, lags = against.shape
    gram = _gram(reference)
    sides = against.transpose(0, 2, 1).reshape(rows * lags, columns)
    factor = _factor(gram)
    everything = _solve(gram, factor, sides)
    own = np.empty_like(everything)
    size = channels * lags
    for first in range(0, rows * lags, size):
        part = slice(first, first + size)
        block = gram[part, part]
        leading = None if factor is None or first else factor[part, part]
        own[part] = _solve(block, _factor(block) if leading is None else leading, sides[part])
    return everything.reshape(rows, lags, columns), own.reshape(rows, lags, columns)


def _gram(correlations: np.ndarray) -> np.ndarray:
    """Return the (rows * lags, rows * lags) matrix whose blocks are Toeplitz."""
    rows, _, lags = correlations.shape
    gram = np.empty((rows, lags, rows, lags))
    for row in range(rows):
        for column in range(row + 1):
            block = linalg.toeplitz(correlations[row, column], correlations[column, row])
            gram[row, :, column] = block
            gram[column, :, row] = block.T
    return gram.reshape(rows * lags, rows * lags)


def _factor(gram: np.ndarray) -> np.ndarray | None:
    """Return the lower Cholesky factor, or None where the matrix is singular in floats."""
    try:
        return np.asarray(linalg.cholesky(gram, lower=True, check_finite=False))
    except linalg.LinAlgError:
        return None


def _solve(gram: np.ndarray, factor: np.ndarray | None, sides: np.ndarray) -> np.ndarray:
    """Solve the normal equations, singular ones by the smallest solution; all project alike."""
    if factor is not None:
        return np.asarray(linalg.cho_solve((factor, True), sides, check_finite=False))
    values, vectors = linalg.eigh(gram, check_finite=False)
    kept = values > values[-1] * len(values) * np.finfo(float).eps
    inverse = np.where(kept, 1 / np.where(kept, values, 1.0), 0.0)
    return np.asarray(vectors @ (inverse[:, None] * (vectors.T @ sides)))
