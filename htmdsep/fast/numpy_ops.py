"""The fast network's operations in numpy: float32, without PyTorch's seconds of import."""

from __future__ import annotations

from math import gcd

import numpy as np

# Values in a row of constants, at least. Where one array is the same for every row, numpy handles
# rows of fewer values than this, its buffer's size, at half the speed (measured with 512).
LEAST_ROW = 8_192


class NumpyOps:
    """See `Ops`; holds an array for what is in between."""

    # A usual second-level cache: numpy passes over a tile once an operation (measured: with an
    # encoder of 512/128 twice as much is 3 % slower).
    tile_bytes = 1 << 19

    def __init__(self) -> None:
        self._spare = np.zeros(0, np.float32)

    def zeros(self, *shape: int, exact: bool = False) -> np.ndarray:
        del exact  # all is float32
        return np.zeros(shape, np.float32)

    def constant(self, values: np.ndarray, *, exact: bool = False) -> np.ndarray:
        del exact
        return np.ascontiguousarray(values, np.float32)

    def row(self, values: np.ndarray, *, exact: bool = False) -> np.ndarray:
        repeats = 1
        while repeats * len(values) < LEAST_ROW:
            repeats *= 2
        return np.tile(self.constant(values, exact=exact), repeats)

    def taken(self, waveform: np.ndarray) -> np.ndarray:
        return waveform

    def given(self, waveform: np.ndarray) -> np.ndarray:
        return waveform.copy()

    def strided(
        self, array: np.ndarray, shape: tuple[int, int], strides: tuple[int, int], offset: int
    ) -> np.ndarray:
        size = array.itemsize
        outer, inner = strides
        return np.ndarray(shape, array.dtype, array, offset * size, (outer * size, inner * size))

    def product(self, left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
        np.matmul(left, right, out=out)

    def affine(
        self, bias: np.ndarray, left: np.ndarray, right: np.ndarray, out: np.ndarray
    ) -> None:
        np.matmul(left, right, out=out)
        joined, bias = _joined(out, bias)
        np.add(joined, bias, out=joined)

    def add_product(self, target: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
        product = np.matmul(left, right, out=self._like(target))
        np.add(target, product, out=target)

    def scale(self, rows: np.ndarray, tap: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
        joined, tap = _joined(rows, tap)
        scaled, bias = _joined(out, bias)
        np.multiply(joined, tap, out=scaled)
        np.add(scaled, bias, out=scaled)

    def add_scaled(self, target: np.ndarray, rows: np.ndarray, tap: np.ndarray) -> None:
        scaled = self._like(rows)
        joined, tap = _joined(rows, tap)
        np.multiply(joined, tap, out=scaled.reshape(joined.shape))
        np.add(target, scaled, out=target)

    def add(self, left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
        np.add(left, right, out=out)

    def leaky_relu(self, values: np.ndarray, slope: float) -> None:
        scaled = np.multiply(values, np.float32(slope), out=self._like(values))
        np.maximum(values, scaled, out=values)

    def gate(self, values: np.ndarray, mask: np.ndarray) -> None:
        np.negative(mask, out=mask)
        with np.errstate(over="ignore"):  # values / (1 + infinity) is the 0 it should be
            np.exp(mask, out=mask)
        np.add(mask, np.float32(1), out=mask)
        np.divide(values, mask, out=values)

    def tanh(self, values: np.ndarray) -> None:
        np.tanh(values, out=values)

    def _like(self, array: np.ndarray) -> np.ndarray:
        """Return an array of the same shape, valid until the next call."""
        if len(self._spare) < array.size:
            self._spare = np.zeros(array.size, np.float32)
        return self._spare[: array.size].reshape(array.shape)


def _joined(rows: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lay rows end to end, as many as the row of constants repeats or as come out even.

    Returns both in shapes that numpy broadcasts.
    """
    count, width = rows.shape
    together = gcd(count, len(row) // width) * width
    return rows.reshape(-1, together), row[:together]
