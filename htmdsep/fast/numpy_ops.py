"""The fast network's operations in numpy: float32, without PyTorch's seconds of import."""

from __future__ import annotations

import numpy as np


class NumpyOps:
    """See `Ops`; holds an array for what is in between."""

    def __init__(self) -> None:
        self._spare = np.zeros(0, np.float32)

    def zeros(self, *shape: int, exact: bool = False) -> np.ndarray:
        del exact  # all is float32
        return np.zeros(shape, np.float32)

    def constant(self, values: np.ndarray, *, exact: bool = False) -> np.ndarray:
        del exact
        return np.ascontiguousarray(values, np.float32)

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
        np.add(out, bias, out=out)

    def add_product(self, target: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
        product = np.matmul(left, right, out=self._like(target))
        np.add(target, product, out=target)

    def add_scaled(
        self, total: np.ndarray, rows: np.ndarray, tap: np.ndarray, out: np.ndarray
    ) -> None:
        scaled = np.multiply(rows, tap, out=self._like(out))
        np.add(total, scaled, out=out)

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
