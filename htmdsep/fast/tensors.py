"""A network's tensors by name, each checked against the shape that the config asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from htmdsep.errors import HtmdsepError


class Affine(NamedTuple):
    """Weight and bias of a convolution, in double precision."""

    weight: np.ndarray
    bias: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        """The weight as (outputs, all else)."""
        return self.weight.reshape(len(self.weight), -1)


class Tensors:
    """Gives out every tensor once; `origin` names them in messages."""

    def __init__(self, values: Mapping[str, np.ndarray], origin: str) -> None:
        self._left = dict(values)
        self._origin = origin

    def take(self, name: str, *shape: int) -> np.ndarray:
        """Return a tensor in double precision; raise HtmdsepError where it is not of the shape."""
        value = self._left.pop(name, None)
        if value is None or value.shape != shape:
            found = "missing" if value is None else f"of shape {value.shape}"
            raise HtmdsepError(
                f"{self._origin} do not fit the config: {name} is {found}, expected {shape}"
            )
        return value.astype(np.float64)

    def convolution(self, name: str, outputs: int, inputs: int, kernel: int = 1) -> Affine:
        """Return what a convolution is made of."""
        weight = self.take(f"{name}.weight", outputs, inputs, kernel)
        return Affine(weight, self.take(f"{name}.bias", outputs))

    def norm(self, name: str, channels: int, eps: float) -> tuple[np.ndarray, np.ndarray]:
        """Return scale and shift of a batch norm in evaluation mode."""
        weight, bias = self.take(f"{name}.weight", channels), self.take(f"{name}.bias", channels)
        mean = self.take(f"{name}.running_mean", channels)
        scale = weight / np.sqrt(self.take(f"{name}.running_var", channels) + eps)
        return scale, bias - mean * scale

    def finish(self) -> None:
        """Raise HtmdsepError for tensors that nobody took."""
        odd = [name for name in self._left if not name.endswith("num_batches_tracked")]
        if odd:
            raise HtmdsepError(f"{self._origin} do not fit the config: {odd[0]} has no place")
