"""The few array operations that the fast network is made of."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from htmdsep.options import Library, Precision

# Of numpy or of PyTorch; both are sliced, assigned and reshaped in the same words.
Array = Any


class Ops(Protocol):
    """Operations on arrays of one library, for one thread at a time.

    Features and weights have the precision that the object was made for; `exact` asks for
    float32 whatever that is.
    """

    tile_bytes: int  # of the masking network's wide features, that are best worked on at once

    def zeros(self, *shape: int, exact: bool = False) -> Array:
        """Return a new array of zeros."""

    def constant(self, values: np.ndarray, *, exact: bool = False) -> Array:
        """Return float64 values as an array."""

    def row(self, values: np.ndarray, *, exact: bool = False) -> Array:
        """Return float64 values (width,) for use on rows of that width, and for nothing else."""

    def taken(self, waveform: np.ndarray) -> Array:
        """Return a float32 waveform (time,) as an array, which may share its memory."""

    def given(self, waveform: Array) -> np.ndarray:
        """Return a copy of a float32 array for numpy."""

    def strided(
        self, array: Array, shape: tuple[int, int], strides: tuple[int, int], offset: int
    ) -> Array:
        """Return a view of a contiguous array; strides and offset count values."""

    def product(self, left: Array, right: Array, out: Array) -> None:
        """Compute out = left @ right."""

    def affine(self, bias: Array, left: Array, right: Array, out: Array) -> None:
        """Compute out = bias + left @ right, with a bias made by `row`."""

    def add_product(self, target: Array, left: Array, right: Array) -> None:
        """Compute target += left @ right."""

    def scale(self, rows: Array, tap: Array, bias: Array, out: Array) -> None:
        """Compute out = bias + rows * tap, with contiguous rows, tap and bias made by `row`."""

    def add_scaled(self, target: Array, rows: Array, tap: Array) -> None:
        """Compute target += rows * tap, with contiguous rows and a tap made by `row`."""

    def add(self, left: Array, right: Array, out: Array) -> None:
        """Compute out = left + right."""

    def leaky_relu(self, values: Array, slope: float) -> None:
        """Multiply what is negative by a slope between 0 and 1, in place."""

    def gate(self, values: Array, mask: Array) -> None:
        """Compute values *= sigmoid(mask); the mask is used up."""

    def tanh(self, values: Array) -> None:
        """Take the hyperbolic tangent, in place."""


def make_ops(precision: Precision, library: Library) -> Ops:
    """Return a library's operations; numpy's are fp32."""
    if library == "numpy":
        assert precision == "fp32", precision
        from htmdsep.fast.numpy_ops import NumpyOps

        return NumpyOps()
    from htmdsep.fast.torch_ops import TorchOps

    return TorchOps(precision)
